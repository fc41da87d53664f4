//! The session with a cache of VRPs: bytes in, bytes to answer with and the VRPs out (RFC 8210; version
//! 0: RFC 6810). It does no IO and reads no clock.
//!
//! Nothing of an answer counts before its end: VRPs change from one whole set to the next. What the cache
//! says against the rules ends the connection with an error report; what is held stays until it
//! expires ([`Timers`]), which is the source's matter.

use std::collections::{BTreeMap, BTreeSet};

use schemas::reference::Vrp;

use crate::decode::DecodeError;
use crate::decode::rtr::{HEADER_BYTES, Pdu, Timers, VERSION, code, decode, frame};
use crate::encode::rtr::{encode, reset_query};

/// VRPs of one cache at most: many times all that exist.
pub const VRPS_MAX: usize = 10_000_000;
/// Octets of a PDU that an error report sends back.
const REPORTED_BYTES_MAX: usize = 64;
/// Octets of a cache's words that are repeated.
const TEXT_BYTES_MAX: usize = 200;

/// Why a connection ends. One variant per remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RtrError {
    /// Bytes that are no PDU.
    #[error("not understood: {0}")]
    Malformed(#[from] DecodeError),
    /// A PDU that a cache does not send now.
    #[error("a PDU of type {kind} where none belongs")]
    Unexpected {
        /// Its type.
        kind: u8,
    },
    /// Another version than the session has.
    #[error("a PDU of version {found} in a session of version {expected}")]
    Version {
        /// The PDU's.
        found: u8,
        /// The session's.
        expected: u8,
    },
    /// The cache speaks the older version: the next connection will too.
    #[error("the cache speaks version 0 only")]
    Downgraded,
    /// The cache was started anew: the next connection asks for everything.
    #[error("the cache began another session")]
    OtherSession,
    /// The cache has nothing yet.
    #[error("the cache has no data yet")]
    NoData,
    /// The cache says that something is wrong.
    #[error("the cache reports error {code}: {text}")]
    Reported {
        /// RFC 8210 §12.
        code: u16,
        /// In its words.
        text: String,
    },
    /// The cache does not know the session or serial that we know (StayRTR reports that as an error, where
    /// RFC 8210 §5.8 has a Cache Reset): the next connection asks for everything.
    #[error("the cache does not tell what is new, error {code}: {text}")]
    Refused {
        /// RFC 8210 §12.
        code: u16,
        /// In its words.
        text: String,
    },
    /// A VRP that is there comes again.
    #[error("{} to /{} by {} is announced twice", .0.prefix, .0.max_length, .0.asn)]
    Duplicate(Vrp),
    /// A VRP goes that was never there.
    #[error("{} to /{} by {} is withdrawn and was never announced", .0.prefix, .0.max_length, .0.asn)]
    Unknown(Vrp),
    /// More than any cache has.
    #[error("more than {VRPS_MAX} VRPs")]
    TooMany,
}

impl RtrError {
    /// The code of the report that the cache gets; none where it gets none.
    const fn code(&self) -> Option<u16> {
        match self {
            Self::Malformed(_) | Self::Unexpected { .. } => Some(code::CORRUPT_DATA),
            Self::Version { .. } => Some(code::UNEXPECTED_VERSION),
            Self::Duplicate(_) => Some(code::DUPLICATE_ANNOUNCEMENT),
            Self::Unknown(_) => Some(code::WITHDRAWAL_OF_UNKNOWN),
            Self::TooMany => Some(code::INTERNAL_ERROR),
            Self::Downgraded
            | Self::OtherSession
            | Self::NoData
            | Self::Reported { .. }
            | Self::Refused { .. } => None,
        }
    }

    /// Whether the next connection may follow at once: it will do something else.
    #[must_use]
    pub const fn is_retried_at_once(&self) -> bool {
        matches!(self, Self::Downgraded | Self::OtherSession | Self::Refused { .. })
    }
}

/// An answer under way.
#[derive(Debug)]
struct Answer {
    session: u16,
    /// Whether it is everything, or what is new.
    is_whole: bool,
    /// What comes (true) and what goes.
    changes: BTreeMap<Vrp, bool>,
}

/// What was asked and is not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Nothing,
    Everything,
    WhatIsNew,
}

/// The session with one cache, over all its connections.
#[derive(Debug)]
pub struct RtrSession {
    version: u8,
    /// Whether a PDU of this connection was read.
    is_heard: bool,
    /// Session and serial of what is held.
    known: Option<(u16, u32)>,
    vrps: BTreeSet<Vrp>,
    asked: Asked,
    answer: Option<Answer>,
    /// How long to wait for what, as the cache says.
    pub timers: Timers,
    buffer: Vec<u8>,
    /// Keys of BGPsec and PDUs of unknown types that were passed over.
    pub passed_over: u64,
}

impl Default for RtrSession {
    fn default() -> Self {
        Self {
            version: VERSION,
            is_heard: false,
            known: None,
            vrps: BTreeSet::new(),
            asked: Asked::Nothing,
            answer: None,
            timers: Timers::default(),
            buffer: Vec::new(),
            passed_over: 0,
        }
    }
}

impl RtrSession {
    /// A connection begins: what is to be sent first.
    pub fn connected(&mut self) -> Vec<u8> {
        self.is_heard = false;
        self.answer = None;
        self.buffer.clear();
        self.ask()
    }

    /// The question for what is new, or for everything.
    pub fn ask(&mut self) -> Vec<u8> {
        let Some((session, serial)) = self.known else {
            self.asked = Asked::Everything;
            return reset_query(self.version);
        };
        self.asked = Asked::WhatIsNew;
        let mut bytes = Vec::new();
        encode(&mut bytes, self.version, &Pdu::SerialQuery { session, serial });
        bytes
    }

    /// Whether a question is not answered yet.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.asked != Asked::Nothing
    }

    /// The VRPs after the last whole answer.
    #[must_use]
    pub const fn vrps(&self) -> &BTreeSet<Vrp> {
        &self.vrps
    }

    /// Session and serial of the last whole answer.
    #[must_use]
    pub const fn known(&self) -> Option<(u16, u32)> {
        self.known
    }

    /// Takes bytes. `answer` gets what is to be sent. True: an answer is whole.
    ///
    /// # Errors
    /// [`RtrError`]: the connection is to be closed after `answer` was sent.
    pub fn feed(&mut self, bytes: &[u8], answer: &mut Vec<u8>) -> Result<bool, RtrError> {
        self.buffer.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.buffer);
        let (mut rest, mut is_whole) = (buffer.as_slice(), false);
        loop {
            let length = frame(rest).map_err(|error| self.report(rest, error.into(), answer))?;
            let Some((pdu, behind)) = length.and_then(|length| rest.split_at_checked(length))
            else {
                break;
            };
            is_whole |= self.pdu(pdu, answer).map_err(|error| self.report(pdu, error, answer))?;
            rest = behind;
        }
        self.buffer = rest.to_vec();
        Ok(is_whole)
    }

    /// Adds the report of an error to what is sent.
    fn report(&self, pdu: &[u8], error: RtrError, answer: &mut Vec<u8>) -> RtrError {
        // Nobody reports an error about a report (RFC 8210 §5.11).
        let is_report =
            pdu.get(1).is_some_and(|kind| *kind == crate::decode::rtr::kind::ERROR_REPORT);
        if let Some(code) = error.code().filter(|_| !is_report) {
            let text = error.to_string();
            let about = pdu.get(..pdu.len().min(REPORTED_BYTES_MAX)).unwrap_or_default();
            let report = Pdu::ErrorReport { code, about, text: text.as_bytes() };
            encode(answer, self.version, &report);
        }
        error
    }

    fn pdu(&mut self, bytes: &[u8], answer: &mut Vec<u8>) -> Result<bool, RtrError> {
        let (version, pdu) = decode(bytes)?;
        self.check_version(version, &pdu)?;
        match pdu {
            Pdu::SerialNotify { serial, .. } => {
                let is_news = self.known.is_none_or(|(_, known)| known != serial);
                if is_news && !self.waits() {
                    answer.extend(self.ask());
                }
            }
            Pdu::CacheResponse { session } => self.begin(session)?,
            Pdu::Prefix { is_announced, vrp } => self.change(is_announced, vrp)?,
            Pdu::EndOfData { session, serial, timers } => {
                self.end(session, serial)?;
                self.timers = timers.unwrap_or_default();
                return Ok(true);
            }
            Pdu::CacheReset if self.asked == Asked::WhatIsNew && self.answer.is_none() => {
                self.known = None;
                answer.extend(self.ask());
            }
            Pdu::ErrorReport { code, text, .. } => return Err(self.reported(version, code, text)),
            Pdu::RouterKey | Pdu::Unknown { .. } => self.passed_over += 1,
            Pdu::CacheReset | Pdu::SerialQuery { .. } | Pdu::ResetQuery => {
                let kind = bytes.get(1).copied().unwrap_or_default();
                return Err(RtrError::Unexpected { kind });
            }
        }
        Ok(false)
    }

    /// The first PDU of a connection may be of the older version; from there on all are of one.
    fn check_version(&mut self, version: u8, pdu: &Pdu<'_>) -> Result<(), RtrError> {
        if matches!(pdu, Pdu::ErrorReport { .. }) {
            return Ok(());
        }
        if !std::mem::replace(&mut self.is_heard, true) && version < self.version {
            self.version = version;
        }
        if version == self.version {
            Ok(())
        } else {
            Err(RtrError::Version { found: version, expected: self.version })
        }
    }

    fn begin(&mut self, session: u16) -> Result<(), RtrError> {
        let is_whole = match (self.asked, self.known) {
            _ if self.answer.is_some() => None,
            (Asked::Everything, _) => Some(true),
            (Asked::WhatIsNew, Some((known, _))) if known == session => Some(false),
            (Asked::WhatIsNew, _) => {
                self.known = None;
                return Err(RtrError::OtherSession);
            }
            (Asked::Nothing, _) => None,
        };
        let kind = crate::decode::rtr::kind::CACHE_RESPONSE;
        let is_whole = is_whole.ok_or(RtrError::Unexpected { kind })?;
        self.answer = Some(Answer { session, is_whole, changes: BTreeMap::new() });
        Ok(())
    }

    fn change(&mut self, is_announced: bool, vrp: Vrp) -> Result<(), RtrError> {
        let kind = crate::decode::rtr::kind::IPV4_PREFIX;
        let answer = self.answer.as_mut().ok_or(RtrError::Unexpected { kind })?;
        let before = !answer.is_whole && self.vrps.contains(&vrp);
        let is_there = answer.changes.get(&vrp).copied().unwrap_or(before);
        match (is_announced, is_there) {
            (true, true) => return Err(RtrError::Duplicate(vrp)),
            (false, false) => return Err(RtrError::Unknown(vrp)),
            _ if answer.changes.len() >= VRPS_MAX => return Err(RtrError::TooMany),
            _ => answer.changes.insert(vrp, is_announced),
        };
        Ok(())
    }

    fn end(&mut self, session: u16, serial: u32) -> Result<(), RtrError> {
        let kind = crate::decode::rtr::kind::END_OF_DATA;
        let answer = self.answer.take().ok_or(RtrError::Unexpected { kind })?;
        if answer.session != session {
            self.known = None;
            return Err(RtrError::OtherSession);
        }
        if answer.is_whole {
            self.vrps.clear();
        }
        for (vrp, is_announced) in answer.changes {
            if is_announced {
                self.vrps.insert(vrp);
            } else {
                self.vrps.remove(&vrp);
            }
        }
        if self.vrps.len() > VRPS_MAX {
            self.vrps.clear();
            self.known = None;
            return Err(RtrError::TooMany);
        }
        self.known = Some((session, serial));
        self.asked = Asked::Nothing;
        Ok(())
    }

    fn reported(&mut self, version: u8, code: u16, text: &[u8]) -> RtrError {
        match code {
            code::NO_DATA_AVAILABLE => RtrError::NoData,
            code::UNSUPPORTED_VERSION if version < self.version || self.version > 0 => {
                self.version = 0;
                RtrError::Downgraded
            }
            code => {
                let text = text.get(..text.len().min(TEXT_BYTES_MAX)).unwrap_or_default();
                let text = String::from_utf8_lossy(text).replace(char::is_control, " ");
                if self.asked == Asked::WhatIsNew && self.answer.is_none() {
                    self.known = None;
                    return RtrError::Refused { code, text };
                }
                RtrError::Reported { code, text }
            }
        }
    }
}

const _: () = assert!(HEADER_BYTES == 8, "a report repeats a header and more");

#[cfg(test)]
mod tests;
