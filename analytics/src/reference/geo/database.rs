//! Databases: an MMDB file as bytes in, the place of a prefix out (MaxMind DB format 2.0).
//!
//! GeoLite2 and GeoIP2 and whatever else has their records: which file is which is read from its own
//! metadata. It is kept in memory as it is, so that a file that is replaced under us does no harm,
//! and is swapped whole. Nothing in it is believed: a record that does not hold together is a
//! [`DatabaseError`] for its prefix.
//!
//! A prefix may span several networks of the database. A value then counts if more than half of the
//! addresses of the prefix have it.

use std::fmt;

use maxminddb::{MaxMindDbError, Reader, WithinOptions, path};
use schemas::bgp::{Asn, Family, Prefix};
use schemas::time::Timestamp;

use super::distance::Point;

/// Networks of one prefix that are looked at; what has more of them has no place.
const NETWORKS_MAX: usize = 4096;
/// Stands before the metadata, at the end of a file.
const METADATA_MARKER: &[u8] = b"\xab\xcd\xefMaxMind.com";
const METADATA_BYTES_MAX: usize = 128 * 1024;
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// Why a database is refused: one variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// As it is downloaded.
    #[error("it is compressed: unpack the archive and name the .mmdb file in it")]
    Compressed,
    /// Something else, or its end is missing.
    #[error("no MMDB metadata in {bytes} bytes: it is another format, or its end is cut off")]
    NotMmdb {
        /// Size of the file.
        bytes: usize,
    },
    /// An MMDB of something else.
    #[error(
        "an MMDB of type {found:?}: City, Country and ASN databases are read (also Enterprise, ISP)"
    )]
    WrongType {
        /// What its metadata say.
        found: String,
    },
    /// It does not hold together.
    #[error("damaged, download it again: {0}")]
    Damaged(#[from] MaxMindDbError),
}

/// What a database knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Country, subdivision, location.
    City,
    /// Country.
    Country,
    /// AS number.
    Asn,
}

impl Kind {
    /// All, the one that knows more before the other.
    pub const ALL: [Self; 3] = [Self::City, Self::Country, Self::Asn];

    /// By the type that its metadata state: `GeoLite2-City`, `GeoIP2-ISP`, `DBIP-Country-Lite`, ...
    fn of(database_type: &str) -> Option<Self> {
        let says = |word: &str| database_type.split(['-', ' ', '_']).any(|part| part == word);
        match () {
            () if says("City") || says("Enterprise") => Some(Self::City),
            () if says("Country") => Some(Self::Country),
            () if says("ASN") || says("ISP") => Some(Self::Asn),
            () => None,
        }
    }
}

/// What a database says of a prefix.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Place {
    /// ISO 3166-1, two letters.
    pub country: Option<String>,
    /// ISO 3166-2: `US-WA`.
    pub subdivision: Option<String>,
    /// AS number.
    pub asn: Option<Asn>,
    /// Where it is, and by how many kilometres that may be wrong.
    pub at: Option<(Point, f64)>,
}

impl Place {
    /// This, and what it lacks from another.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        // A subdivision is of its country: it never comes from another database than that.
        let (country, subdivision) = match self.country {
            Some(country) => (Some(country), self.subdivision),
            None => (other.country, other.subdivision),
        };
        Self { country, subdivision, asn: self.asn.or(other.asn), at: self.at.or(other.at) }
    }
}

/// One MMDB in memory.
pub struct Database {
    reader: Reader<Vec<u8>>,
    /// What it knows.
    pub kind: Kind,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Database {
    /// Takes the bytes of a file.
    ///
    /// # Errors
    /// [`DatabaseError`] with a remedy.
    pub fn read(bytes: Vec<u8>) -> Result<Self, DatabaseError> {
        if bytes.starts_with(GZIP_MAGIC) {
            return Err(DatabaseError::Compressed);
        }
        let tail = bytes.get(bytes.len().saturating_sub(METADATA_BYTES_MAX)..).unwrap_or_default();
        if !tail.windows(METADATA_MARKER.len()).any(|at| at == METADATA_MARKER) {
            return Err(DatabaseError::NotMmdb { bytes: bytes.len() });
        }
        let reader = Reader::from_source(bytes)?;
        let found = &reader.metadata().database_type;
        let kind = Kind::of(found)
            .ok_or_else(|| DatabaseError::WrongType { found: found.chars().take(80).collect() })?;
        Ok(Self { reader, kind })
    }

    /// When it was built, by its metadata.
    #[must_use]
    pub fn built_at(&self) -> Option<Timestamp> {
        let secs = i64::try_from(self.reader.metadata().build_epoch).ok()?;
        // Beyond the year 9999 it is no time that anything else could show.
        (1..253_402_300_800).contains(&secs).then(|| Timestamp::from_secs(secs))
    }

    /// The type that its metadata state.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.reader.metadata().database_type
    }

    /// Reads all of it: for `check`, since it takes a while.
    ///
    /// # Errors
    /// [`DatabaseError::Damaged`] with the place in the file.
    pub fn verify(&self) -> Result<(), DatabaseError> {
        Ok(self.reader.verify()?)
    }

    /// The place of a prefix.
    ///
    /// # Errors
    /// [`DatabaseError::Damaged`] if what leads there does not hold together.
    pub fn place(&self, prefix: &Prefix) -> Result<Place, DatabaseError> {
        let mut known = Known::default();
        let Ok(network) = prefix.to_string().parse() else { return Ok(Place::default()) };
        let networks = match self.reader.within(network, WithinOptions::default()) {
            // An IPv4 database knows nothing of IPv6.
            Err(MaxMindDbError::InvalidInput { .. }) => return Ok(Place::default()),
            networks => networks?,
        };
        for (seen, found) in networks.enumerate() {
            let found = found?;
            if seen >= NETWORKS_MAX {
                return Ok(Place::default());
            }
            let network = found.network()?;
            // In an IPv6 tree IPv4 lies in ::/96, and may be in one network with all around it.
            let is_inside = prefix.family() == Family::Ipv4 && network.is_ipv6();
            let length = network.prefix().saturating_sub(if is_inside { 96 } else { 0 });
            let share = 0.5_f64.powi(i32::from(length.max(prefix.length()) - prefix.length()));
            let text = |path: &[_]| found.decode_path::<String>(path);
            match self.kind {
                Kind::Asn => {
                    let asn: Option<u32> = found.decode_path(&path!["autonomous_system_number"])?;
                    known.asn.add(asn.filter(|asn| *asn > 0), share);
                }
                Kind::City | Kind::Country => {
                    let country =
                        text(&path!["country", "iso_code"])?.filter(|code| is_country(code));
                    let part =
                        text(&path!["subdivisions", 0, "iso_code"])?.filter(|code| is_part(code));
                    let part = country.as_ref().zip(part).map(|(of, part)| format!("{of}-{part}"));
                    let degrees = |name: &str| {
                        found.decode_path::<f64>(&[path_key("location"), path_key(name)])
                    };
                    let (latitude, longitude) = (degrees("latitude")?, degrees("longitude")?);
                    let radius: Option<u16> =
                        found.decode_path(&path!["location", "accuracy_radius"])?;
                    // Bits, so that places can be counted like words.
                    let at = latitude.zip(longitude).map(|(latitude, longitude)| {
                        (
                            latitude.to_bits(),
                            longitude.to_bits(),
                            radius.unwrap_or(RADIUS_UNKNOWN_KM),
                        )
                    });
                    known.country.add(country, share);
                    known.subdivision.add(part, share);
                    known.at.add(at, share);
                }
            }
        }
        Ok(known.place())
    }
}

/// Taken where a database gives a location without its accuracy: the largest that MaxMind gives.
const RADIUS_UNKNOWN_KM: u16 = 1000;

const fn path_key(name: &str) -> maxminddb::PathElement<'_> {
    maxminddb::PathElement::Key(name)
}

fn is_country(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn is_part(code: &str) -> bool {
    (1..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What was found, by share of the prefix.
#[derive(Default)]
struct Known {
    country: Votes<String>,
    subdivision: Votes<String>,
    asn: Votes<u32>,
    at: Votes<(u64, u64, u16)>,
}

impl Known {
    fn place(self) -> Place {
        let point = |(latitude, longitude, radius): (u64, u64, u16)| {
            let point = Point::new(f64::from_bits(latitude), f64::from_bits(longitude))?;
            Some((point, f64::from(radius)))
        };
        Place {
            country: self.country.winner(),
            subdivision: self.subdivision.winner(),
            asn: self.asn.winner().map(Asn),
            at: self.at.winner().and_then(point),
        }
    }
}

/// Values with the share of the prefix that has each.
struct Votes<T>(Vec<(Option<T>, f64)>);

impl<T> Default for Votes<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: PartialEq> Votes<T> {
    fn add(&mut self, value: Option<T>, share: f64) {
        match self.0.iter_mut().find(|(other, _)| *other == value) {
            Some((_, votes)) => *votes += share,
            None => self.0.push((value, share)),
        }
    }

    fn winner(self) -> Option<T> {
        self.0.into_iter().find(|(_, share)| *share > 0.5)?.0
    }
}
