//! Contents of reference files: plain bytes in; out they come checked, and in the one form under which
//! a lake keeps them.
//!
//! VRPs and attestations are written anew, sorted, so that an export that says the same in another
//! order, or at another time, is the same contents. The others are kept as they are.

use std::sync::Arc;

use schemas::reference::{ReferenceKind, ReferenceVersion};
use schemas::tables::Text;
use schemas::time::Timestamp;
use sha2::{Digest as _, Sha256};

use super::geo::database::Database;
use super::geo::edges::Edges;
use super::vrps::{ROA_EXPIRY_SECS, ReadVrps};
use super::{AsRelationships, Aspas, Organisations, ReferenceError, Vrps};

/// Plain bytes of one contents at most.
pub const CONTENTS_BYTES_MAX: usize = 2 << 30;

/// What contents say, ready to be asked.
#[derive(Clone, Debug)]
pub enum Part {
    /// AS relationships.
    AsRelationships(Arc<AsRelationships>),
    /// Organisations.
    Organisations(Arc<Organisations>),
    /// VRPs.
    Vrps(Arc<Vrps>),
    /// Attestations.
    Aspas(Arc<Aspas>),
    /// The edge catalogue.
    Edges(Arc<Edges>),
    /// A database of places.
    Geoip(Arc<Database>),
}

/// When contents were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It does not matter: they count whenever.
    Whenever,
    /// Then, whatever they say.
    At(Timestamp),
    /// When they say, or then if they do not say.
    ByOwnWord(Timestamp),
}

impl Made {
    /// As the log says it.
    #[must_use]
    pub fn known(date: Option<Timestamp>) -> Self {
        date.map_or(Self::Whenever, Self::At)
    }

    fn date(self, own: Option<Timestamp>) -> Option<Timestamp> {
        match self {
            Self::Whenever => None,
            Self::At(date) => Some(date),
            Self::ByOwnWord(or) => Some(own.unwrap_or(or)),
        }
    }
}

/// Checked contents of one kind.
#[derive(Clone, Debug)]
pub struct Contents {
    /// What the log calls them.
    pub version: ReferenceVersion,
    /// What is kept.
    pub bytes: Vec<u8>,
    /// What they say.
    pub part: Part,
}

impl Contents {
    /// Reads plain bytes.
    ///
    /// # Errors
    /// [`ReferenceError`] with the line.
    pub fn read(kind: ReferenceKind, bytes: Vec<u8>, made: Made) -> Result<Self, ReferenceError> {
        if bytes.len() > CONTENTS_BYTES_MAX {
            return Err(ReferenceError::TooLarge { bytes: bytes.len() });
        }
        let mut date = made.date(None);
        let (part, bytes) = match kind {
            ReferenceKind::AsRelationships => {
                let read = AsRelationships::read(bytes.as_slice())?;
                (Part::AsRelationships(Arc::new(read)), bytes)
            }
            ReferenceKind::Organisations => {
                let read = Organisations::read(bytes.as_slice())?;
                (Part::Organisations(Arc::new(read)), bytes)
            }
            ReferenceKind::Vrps => {
                let read = ReadVrps::read(bytes.as_slice())?;
                date = made.date(read.date);
                drop(bytes);
                let kept = read.vrps.to_csv();
                (Part::Vrps(Arc::new(dated(read.vrps, date))), kept)
            }
            ReferenceKind::Aspas => {
                let read = Aspas::read(bytes.as_slice())?;
                let kept = read.to_json();
                (Part::Aspas(Arc::new(read)), kept)
            }
            ReferenceKind::Edges => (Part::Edges(Arc::new(Edges::read(bytes.as_slice())?)), bytes),
            ReferenceKind::Geoip => {
                let database = Database::read(bytes.clone())?;
                date = made.date(database.built_at());
                (Part::Geoip(Arc::new(database)), bytes)
            }
        };
        Ok(Self { version: ReferenceVersion { kind, hash: hash(&bytes), date }, bytes, part })
    }

    /// VRPs that came without a file.
    #[must_use]
    pub fn of_vrps(vrps: Vrps, date: Timestamp) -> Self {
        let bytes = vrps.to_csv();
        let (kind, date) = (ReferenceKind::Vrps, Some(date));
        let part = Part::Vrps(Arc::new(dated(vrps, date)));
        Self { version: ReferenceVersion { kind, hash: hash(&bytes), date }, bytes, part }
    }
}

/// What expires soon after the date is not told anew in time, if it is not told in this set.
fn dated(vrps: Vrps, date: Option<Timestamp>) -> Vrps {
    vrps.expiring_until(date.map(|date| date.plus_secs(ROA_EXPIRY_SECS)))
}

/// The name of contents: SHA-256 in hexadecimal.
#[must_use]
pub fn hash(bytes: &[u8]) -> Text {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|octet| format!("{octet:02x}")).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Made = Made::ByOwnWord(Timestamp(0));

    #[test]
    fn an_export_that_says_the_same_is_the_same_contents() {
        let read = |text: &str| {
            Contents::read(ReferenceKind::Vrps, text.as_bytes().to_vec(), ANY).unwrap().version
        };
        let one = read(
            r#"{"metadata":{"generated":100},"roas":[{"asn":"AS1","prefix":"192.0.2.0/24","maxLength":24},
               {"asn":"AS2","prefix":"198.51.100.0/24","maxLength":24}]}"#,
        );
        let two = read(
            r#"{"metadata":{"generated":700},"roas":[{"asn":2,"prefix":"198.51.100.0/24","maxLength":24},
               {"asn":1,"prefix":"192.0.2.0/24","maxLength":24}]}"#,
        );
        assert_eq!(one.hash, two.hash);
        assert_eq!(two.date, Some(Timestamp::from_secs(700)));
        assert_eq!(Made::At(Timestamp(1)).date(two.date), Some(Timestamp(1)));
        assert_eq!(Made::Whenever.date(two.date), None);
        let other = read(r#"[{"asn":1,"prefix":"192.0.2.0/24","maxLength":24}]"#);
        assert_ne!(one.hash, other.hash);
    }

    /// What is kept is read again as what it was.
    #[test]
    fn kept_contents_have_the_same_hash_again() {
        let texts = [
            (ReferenceKind::AsRelationships, "1|2|-1\n"),
            (ReferenceKind::Organisations, "asn,organisation\n1,X\n"),
            (ReferenceKind::Vrps, "64510,203.0.113.0/24,25\n"),
            (ReferenceKind::Aspas, r#"{"aspas":[{"customer":"AS1","providers":["AS3","AS2"]}]}"#),
            (
                ReferenceKind::Edges,
                "edge_id,metro,latitude,longitude,communities,next_hops\nsea01,Seattle,47.6,-122.3,,\n",
            ),
        ];
        for (kind, text) in texts {
            let contents = Contents::read(kind, text.as_bytes().to_vec(), ANY).unwrap();
            let again = Contents::read(kind, contents.bytes.clone(), ANY).unwrap();
            assert_eq!(again.version, contents.version, "{kind:?}");
            let refused = Contents::read(kind, b"no such thing\n".to_vec(), ANY);
            assert!(refused.is_err(), "{kind:?}");
        }
    }
}
