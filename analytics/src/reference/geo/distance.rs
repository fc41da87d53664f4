//! Distances: two points in, kilometres on the globe and the least possible round trip out. Pure.

use schemas::connection::PeeringLocation;

/// Mean radius of the earth (IUGG): the error of a sphere is below 0.6 %.
const EARTH_RADIUS_KM: f64 = 6_371.008_8;
/// Light in fibre goes 200 km in a millisecond, hence a round trip takes 10 us a kilometre.
const ROUND_TRIP_US_PER_KM: f64 = 10.0;
/// A round trip below this share of the bound is impossible, whatever the sphere hides.
const BOUND_SHARE: f64 = 0.95;

/// A place on the globe, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    latitude: f64,
    longitude: f64,
}

impl Point {
    /// None outside 90 degrees north and south, and 180 west and east.
    #[must_use]
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let is_on_earth = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
        is_on_earth.then_some(Self { latitude, longitude })
    }

    /// The registered location, where one is given.
    #[must_use]
    pub fn registered(location: &PeeringLocation) -> Option<Self> {
        Self::new(location.latitude?, location.longitude?)
    }

    /// Kilometres along the great circle, by the haversine formula (Sinnott, Sky and Telescope 68, 1984).
    #[must_use]
    pub fn distance_km(self, other: Self) -> f64 {
        let half_sine = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
        let cosines = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let chord = half_sine(self.latitude, other.latitude)
            + cosines * half_sine(self.longitude, other.longitude);
        2.0 * EARTH_RADIUS_KM * chord.clamp(0.0, 1.0).sqrt().asin()
    }
}

/// The shortest possible round trip over a distance, in microseconds.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
pub fn rtt_floor_us(distance_km: f64) -> u32 {
    (distance_km * ROUND_TRIP_US_PER_KM) as u32
}

/// Whether a round trip is faster than light: below 0.95 of the bound.
#[must_use]
pub fn is_mismatch(rtt_us: u32, floor_us: u32) -> bool {
    f64::from(rtt_us) < BOUND_SHARE * f64::from(floor_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(latitude: f64, longitude: f64) -> Point {
        Point::new(latitude, longitude).unwrap()
    }

    #[test]
    fn known_distances_are_right_to_half_a_percent() {
        let (seattle, london, sydney) =
            (point(47.6, -122.3), point(51.5, -0.1), point(-33.87, 151.21));
        // Ellipsoid distances (GeographicLib): 7,732 km and 16,993 km.
        assert!((seattle.distance_km(london) / 7_732.0 - 1.0).abs() < 0.005);
        assert!((london.distance_km(sydney) / 16_993.0 - 1.0).abs() < 0.005);
        assert_eq!(seattle.distance_km(seattle), 0.0);
        let half_way = point(0.0, -90.0).distance_km(point(0.0, 90.0));
        assert!((half_way - 20_015.1).abs() < 0.1, "{half_way}");
        let poles = point(90.0, 17.0).distance_km(point(-90.0, 123.0));
        assert!((poles - half_way).abs() < 1e-6);
        assert!(point(10.0, 180.0).distance_km(point(10.0, -180.0)) < 1e-6, "one meridian");
    }

    #[test]
    fn a_point_off_the_globe_is_none() {
        for (latitude, longitude) in
            [(90.1, 0.0), (0.0, -180.1), (f64::NAN, 0.0), (0.0, f64::INFINITY)]
        {
            assert_eq!(Point::new(latitude, longitude), None);
        }
    }

    #[test]
    fn a_thousand_kilometres_are_ten_milliseconds_and_nothing_is_faster() {
        assert_eq!(rtt_floor_us(1_000.0), 10_000);
        assert!(is_mismatch(9_499, 10_000) && !is_mismatch(9_500, 10_000));
        assert!(!is_mismatch(0, 0), "beside the edge everything is possible");
        assert_eq!(rtt_floor_us(-1.0), 0);
    }

    proptest! {
        #[test]
        fn a_distance_is_the_same_both_ways_and_never_more_than_half_the_globe(
            a in (-90.0..=90.0_f64, -180.0..=180.0_f64),
            b in (-90.0..=90.0_f64, -180.0..=180.0_f64),
        ) {
            let (a, b) = (point(a.0, a.1), point(b.0, b.1));
            let there = a.distance_km(b);
            prop_assert!((0.0..=20_015.2).contains(&there));
            prop_assert!((there - b.distance_km(a)).abs() < 1e-6);
        }
    }
}
