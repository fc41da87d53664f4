//! Metros: where networks live and where the cloud has an edge, and how far apart they are.
//!
//! A short fixed list; no map data. A distance is rounded to whole kilometres, so that no digit of
//! a platform's trigonometry reaches the output. Who lives where is [`super::topology`]'s and
//! [`super::story`]'s matter.

/// A metropolitan area.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metro {
    /// Short code; the cloud's edge there is this with `01` behind it.
    pub code: &'static str,
    /// Its name.
    pub name: &'static str,
    /// ISO 3166-1 country.
    pub country: &'static str,
    /// ISO 3166-2 region; given for the United States.
    pub region: Option<&'static str>,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

macro_rules! metros {
    ($($ident:ident $code:literal $name:literal $country:literal $region:expr, $latitude:literal, $longitude:literal;)*) => {
        $(
            #[doc = concat!("The metro ", $name, ".")]
            pub static $ident: Metro = Metro {
                code: $code,
                name: $name,
                country: $country,
                region: $region,
                latitude: $latitude,
                longitude: $longitude,
            };
        )*
        /// All metros, each with an edge of the cloud.
        pub static METROS: &[&Metro] = &[$(&$ident),*];
    };
}

metros! {
    SEATTLE "sea" "Seattle" "US" Some("US-WA"), 47.61, -122.33;
    PORTLAND "pdx" "Portland" "US" Some("US-OR"), 45.52, -122.68;
    LOS_ANGELES "lax" "Los Angeles" "US" Some("US-CA"), 34.05, -118.24;
    DALLAS "dfw" "Dallas" "US" Some("US-TX"), 32.78, -96.8;
    CHICAGO "chi" "Chicago" "US" Some("US-IL"), 41.88, -87.63;
    DENVER "den" "Denver" "US" Some("US-CO"), 39.74, -104.99;
    ASHBURN "iad" "Ashburn" "US" Some("US-VA"), 39.04, -77.49;
    SAO_PAULO "gru" "Sao Paulo" "BR" None, -23.55, -46.63;
    LONDON "lon" "London" "GB" None, 51.51, -0.13;
    PARIS "par" "Paris" "FR" None, 48.86, 2.35;
    MADRID "mad" "Madrid" "ES" None, 40.42, -3.7;
    FRANKFURT "fra" "Frankfurt" "DE" None, 50.11, 8.68;
    OSLO "osl" "Oslo" "NO" None, 59.91, 10.75;
    JOHANNESBURG "jnb" "Johannesburg" "ZA" None, -26.2, 28.05;
    MUMBAI "bom" "Mumbai" "IN" None, 19.08, 72.88;
    SINGAPORE "sin" "Singapore" "SG" None, 1.35, 103.82;
    SEOUL "sel" "Seoul" "KR" None, 37.57, 126.98;
    TOKYO "tyo" "Tokyo" "JP" None, 35.68, 139.69;
    SYDNEY "syd" "Sydney" "AU" None, -33.87, 151.21;
}

/// A point on the globe, degrees north and east.
pub type Point = (f64, f64);

impl Metro {
    /// Its centre.
    #[must_use]
    pub const fn point(&self) -> Point {
        (self.latitude, self.longitude)
    }

    /// The name of the cloud's edge there.
    #[must_use]
    pub fn edge(&self) -> String {
        format!("{}01", self.code)
    }

    /// Its number in [`METROS`], counted from 1: the last field of the edge's community.
    #[must_use]
    pub fn number(&self) -> u32 {
        let place = METROS.iter().position(|metro| metro.code == self.code);
        u32::try_from(place.map_or(0, |place| place + 1)).unwrap_or(0)
    }
}

/// The great circle between two points in whole kilometres (haversine, a sphere of 6371 km).
#[must_use]
pub fn distance_km(from: Point, to: Point) -> u32 {
    let (from_lat, to_lat) = (from.0.to_radians(), to.0.to_radians());
    let half_lat = (to_lat - from_lat) / 2.0;
    let half_lon = (to.1 - from.1).to_radians() / 2.0;
    let square = half_lat.sin().powi(2) + from_lat.cos() * to_lat.cos() * half_lon.sin().powi(2);
    (2.0 * 6371.0 * square.sqrt().min(1.0).asin()).round() as u32
}

/// Round-trip microseconds of a distance: a millisecond for each 100 km.
#[must_use]
pub const fn round_trip_us(km: u32) -> u32 {
    km.saturating_mul(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_distances_are_met_within_one_percent() {
        for (from, to, km) in
            [(&LONDON, &PARIS, 344), (&SEATTLE, &TOKYO, 7_700), (&SINGAPORE, &SEOUL, 4_680)]
        {
            let found = distance_km(from.point(), to.point());
            assert!(found.abs_diff(km) * 100 <= km, "{} {} {found}", from.name, to.name);
        }
        assert_eq!(distance_km(OSLO.point(), OSLO.point()), 0);
    }

    #[test]
    fn codes_and_numbers_are_unique() {
        for (index, metro) in METROS.iter().enumerate() {
            assert_eq!(metro.number() as usize, index + 1, "{}", metro.code);
        }
    }
}
