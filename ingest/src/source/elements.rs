//! Elements of a file that is no MRT: BMP streams, OpenBMP values, captures, RIS Live texts. Loaded
//! one record at a time, with the time from which it counts, and handed to a sink when asked.
//!
//! A record is a BMP message, an OpenBMP value, a packet with a TCP segment, a text. Damage to the
//! framing ends a file; every whole record before it counts.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use schemas::time::Timestamp;

use super::bmp_file::{BmpFile, OpenBmpFile};
use super::discover::FileKind;
use super::pcap_file::CaptureFile;
use super::ris_file::RisFile;
use crate::decode::DecodeError;
use crate::decode::bmp::FrameError;
use crate::session::RouteSink;
use crate::session::bmp::{BmpOptions, BmpSession};
use crate::session::update::UpdateCounts;

/// Why a file ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum StreamDamage {
    /// Bytes that are no BMP message.
    #[error("damaged at offset {offset}: {error}")]
    Bmp {
        /// Offset in the plain bytes.
        offset: u64,
        /// What is wrong.
        error: FrameError,
    },
    /// Bytes that are no OpenBMP value.
    #[error("damaged at offset {offset}: {error}")]
    OpenBmp {
        /// Offset in the plain bytes.
        offset: u64,
        /// What is wrong.
        error: DecodeError,
    },
    /// Bytes that are no block of a capture.
    #[error("damaged at offset {offset}: {what}")]
    Capture {
        /// Offset in the plain bytes.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The file ends inside a record.
    #[error("cut off at offset {offset}: a record of {wanted} bytes has only {left}")]
    Truncated {
        /// Offset in the plain bytes.
        offset: u64,
        /// Bytes it should have.
        wanted: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// The compressed stream is damaged.
    #[error("the compressed data is damaged after {offset} plain bytes: {error}")]
    Compression {
        /// Plain bytes that came out before.
        offset: u64,
        /// What the decompressor said.
        error: io::Error,
    },
}

impl StreamDamage {
    /// The reason in `ledger`: a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Bmp { .. } | Self::OpenBmp { .. } | Self::Capture { .. } => "damaged",
            Self::Truncated { .. } => "truncated",
            Self::Compression { .. } => "compression",
        }
    }
}

/// What the records of a file were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ElementCounts {
    /// Records handed over.
    pub records: u64,
    /// What the UPDATEs in them were.
    pub updates: UpdateCounts,
    /// What was refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

type Reader = Box<dyn Read + Send>;

enum Inner {
    Bmp(Box<BmpFile<Reader>>),
    OpenBmp(Box<OpenBmpFile<Reader>>),
    Capture(Box<CaptureFile>),
    RisLive(Box<RisFile<Reader>>),
}

/// A file being read.
pub struct Elements {
    inner: Inner,
    records: u64,
}

impl Elements {
    /// Opens plain bytes of this kind; none for kinds that have readers of their own. `collector`
    /// names who collected, where the format does not tell, `router` a router that does not say its
    /// name.
    ///
    /// # Errors
    /// What the reader says, if it says so before the first record.
    pub fn open(
        kind: FileKind,
        reader: Reader,
        collector: Arc<str>,
        router: &str,
        options: BmpOptions,
    ) -> io::Result<Option<Self>> {
        let inner = match kind {
            FileKind::Bmp => Inner::Bmp(Box::new(BmpFile::new(reader, collector, router, options))),
            FileKind::OpenBmp => Inner::OpenBmp(Box::new(OpenBmpFile::new(reader, options))),
            FileKind::Capture => {
                Inner::Capture(Box::new(CaptureFile::new(reader, collector, options)?))
            }
            FileKind::RisLive => Inner::RisLive(Box::new(RisFile::new(reader))),
            FileKind::Mrt { .. } | FileKind::Rtt(_) => return Ok(None),
        };
        Ok(Some(Self { inner, records: 0 }))
    }

    /// Offset of the next record in the plain bytes.
    #[must_use]
    pub fn offset(&self) -> u64 {
        match &self.inner {
            Inner::Bmp(file) => file.offset(),
            Inner::OpenBmp(file) => file.offset(),
            Inner::Capture(file) => file.offset(),
            Inner::RisLive(file) => file.offset(),
        }
    }

    /// Records handed over.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Loads the next record; when it counts. None at the end of the file.
    ///
    /// # Errors
    /// [`StreamDamage`]: there is nothing more to be had from this file.
    pub fn load(&mut self) -> Result<Option<Timestamp>, StreamDamage> {
        match &mut self.inner {
            Inner::Bmp(file) => file.load(),
            Inner::OpenBmp(file) => file.load(),
            Inner::Capture(file) => file.load(),
            Inner::RisLive(file) => file.load(),
        }
    }

    /// Hands over what [`Self::load`] brought. What is refused is counted; the first refusal of the
    /// record is given in words.
    pub fn hand_over(&mut self, sink: &mut impl RouteSink) -> Option<String> {
        self.records += 1;
        match &mut self.inner {
            Inner::Bmp(file) => file.hand_over(sink),
            Inner::OpenBmp(file) => file.hand_over(sink),
            Inner::Capture(file) => file.hand_over(sink),
            Inner::RisLive(file) => file.hand_over(sink),
        }
    }

    /// The BMP sessions in it, in no order.
    #[must_use]
    pub fn bmp_sessions(&self) -> Vec<&BmpSession> {
        match &self.inner {
            Inner::Bmp(file) => vec![&file.session],
            Inner::OpenBmp(file) => file.session.routers().collect(),
            Inner::Capture(file) => file.session.sessions().collect(),
            Inner::RisLive(_) => Vec::new(),
        }
    }

    /// What its records were until now.
    #[must_use]
    pub fn counts(&self) -> ElementCounts {
        let mut counts = ElementCounts { records: self.records, ..ElementCounts::default() };
        for session in self.bmp_sessions() {
            counts.updates.add(&session.counts().updates);
        }
        match &self.inner {
            Inner::Bmp(file) => counts.refused = file.session.counts().refused.clone(),
            Inner::OpenBmp(file) => counts.refused = file.session.counts().refused.clone(),
            Inner::Capture(file) => counts.refused = file.session.refused(),
            Inner::RisLive(file) => {
                let met = file.session.counts();
                counts.updates = met.updates.clone();
                counts.refused = met.refused.clone();
                if file.too_long > 0 {
                    *counts.refused.entry("text_too_long").or_default() += file.too_long;
                }
            }
        }
        counts
    }
}
