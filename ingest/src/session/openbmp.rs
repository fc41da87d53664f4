//! OpenBMP session: values of `bmp_raw` topics in, route events out. One [`BmpSession`] for each
//! router of each collector.
//!
//! The time of an event is when the collector received it, as the header says: a topic keeps days,
//! and the time at which we read it tells nothing. A collector is named by the router group, which
//! RouteViews fills with its collector's name, unless that is empty or `default`; then by its
//! administrative name. RouteViews' collectors run FRR, which puts their own AS number in front of
//! every path; it is taken away again (`docs/decisions/0011-bmp-sessions.md`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::RouteSink;
use super::bmp::{BmpError, BmpOptions, BmpSession, BmpState, sanitised};
use crate::decode::DecodeError;
use crate::decode::bmp::{self, FrameError};
use crate::decode::openbmp::{BMP_RAW, Frame, OpenBmpHeader, frame};

/// Routers followed at once.
const ROUTERS_MAX: usize = 10_000;

/// Why a value, or a part of it, was refused. The next value is not touched by it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenBmpError {
    /// The header does not hold together.
    #[error(transparent)]
    Header(#[from] DecodeError),
    /// What follows the header is no BMP.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A BMP message was refused.
    #[error(transparent)]
    Message(#[from] BmpError),
    /// One router more than the session keeps.
    #[error("more than {ROUTERS_MAX} routers")]
    TooManyRouters,
}

impl OpenBmpError {
    /// The `reason` label of `peerscope_ingest_decode_errors_total`: a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Header(error) => error.reason(),
            Self::Frame(error) => error.reason(),
            Self::Message(error) => error.reason(),
            Self::TooManyRouters => "too_many_routers",
        }
    }
}

/// What was met besides what each [`BmpSession`] counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenBmpCounts {
    /// Values given.
    pub values: u64,
    /// Values that hold no BMP, by object type.
    pub skipped: BTreeMap<u8, u64>,
    /// Refused, by reason; refusals of messages included.
    pub refused: BTreeMap<&'static str, u64>,
    /// Bytes behind the last whole message of a value.
    pub trailing_bytes: u64,
}

/// The memory of all routers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenBmpState {
    /// Collector, router's address and what is known of it.
    pub routers: Vec<(String, IpAddr, BmpState)>,
}

/// The state of all topics of one input.
#[derive(Debug)]
pub struct OpenBmpSession {
    options: BmpOptions,
    routers: HashMap<(Arc<str>, IpAddr), BmpSession>,
    counts: OpenBmpCounts,
}

impl OpenBmpSession {
    /// A session that has met nothing. An Initiation always begins a router's session anew here, as
    /// nothing else tells that its TCP session ended.
    #[must_use]
    pub fn new(options: BmpOptions) -> Self {
        let options = BmpOptions { restarts_on_initiation: true, ..options };
        Self { options, routers: HashMap::new(), counts: OpenBmpCounts::default() }
    }

    /// What was met.
    #[must_use]
    pub const fn counts(&self) -> &OpenBmpCounts {
        &self.counts
    }

    /// The routers met, in no order.
    pub fn routers(&self) -> impl Iterator<Item = &BmpSession> {
        self.routers.values()
    }

    /// Takes one value. The collector's time in it counts; `received` where it has none. All whole
    /// messages in it are told; the error is the first one, and is counted already.
    ///
    /// # Errors
    /// [`OpenBmpError`]: what could not be read.
    pub fn value(
        &mut self,
        value: &[u8],
        received: Timestamp,
        sink: &mut impl RouteSink,
    ) -> Result<(), OpenBmpError> {
        self.counts.values += 1;
        match frame(value) {
            Ok(Frame::Whole { header, payload, bytes }) => {
                self.counts.trailing_bytes += value.len().saturating_sub(bytes) as u64;
                self.payload(&header, payload, received, sink)
            }
            Ok(Frame::NeedMore { bytes }) => {
                let (field, offset, left_bytes) = ("OpenBMP value", 0, value.len());
                let needed_bytes = bytes;
                let error = DecodeError::Truncated { field, offset, needed_bytes, left_bytes };
                Err(self.refuse(error.into()))
            }
            Err(error) => Err(self.refuse(error.into())),
        }
    }

    /// Takes what follows a header.
    ///
    /// # Errors
    /// [`OpenBmpError`]: what could not be read.
    pub fn payload(
        &mut self,
        header: &OpenBmpHeader<'_>,
        mut payload: &[u8],
        received: Timestamp,
        sink: &mut impl RouteSink,
    ) -> Result<(), OpenBmpError> {
        if header.object_type != BMP_RAW {
            *self.counts.skipped.entry(header.object_type).or_default() += 1;
            return Ok(());
        }
        let time = header.time.unwrap_or(received);
        let message_bytes_max = self.options.message_bytes_max;
        let mut first = Ok(());
        let Some(session) = self.router(header) else {
            return Err(self.refuse(OpenBmpError::TooManyRouters));
        };
        let mut refused = Vec::new();
        loop {
            let error = match bmp::frame(payload, message_bytes_max) {
                Ok(bmp::Frame::Whole { message, bytes }) => {
                    payload = payload.get(bytes..).unwrap_or_default();
                    session.message(&message, time, sink).err().map(OpenBmpError::from)
                }
                Ok(bmp::Frame::NeedMore { .. }) => break,
                Err(error) => {
                    refused.push(OpenBmpError::from(error));
                    payload = &[];
                    break;
                }
            };
            refused.extend(error);
        }
        self.counts.trailing_bytes += payload.len() as u64;
        for error in refused {
            let error = self.refuse(error);
            first = first.and(Err(error));
        }
        first
    }

    fn refuse(&mut self, error: OpenBmpError) -> OpenBmpError {
        *self.counts.refused.entry(error.reason()).or_default() += 1;
        error
    }

    fn router(&mut self, header: &OpenBmpHeader<'_>) -> Option<&mut BmpSession> {
        let collector: Arc<str> = collector_name(header).into();
        let key = (collector, header.router_address);
        let is_full = self.routers.len() >= ROUTERS_MAX;
        match self.routers.entry(key) {
            hashbrown::hash_map::Entry::Occupied(entry) => Some(entry.into_mut()),
            hashbrown::hash_map::Entry::Vacant(_) if is_full => None,
            hashbrown::hash_map::Entry::Vacant(entry) => {
                let (collector, address) = entry.key();
                let router = address.to_string();
                let session = BmpSession::new(Arc::clone(collector), &router, self.options.clone());
                Some(entry.insert(session))
            }
        }
    }

    /// The topic fell silent, or its partition was taken away: all peers are stale.
    pub fn close(&mut self, received: Timestamp, reason: &str, sink: &mut impl RouteSink) {
        let mut all: Vec<_> = self.routers.iter_mut().collect();
        all.sort_by(|one, other| one.0.cmp(other.0));
        all.into_iter().for_each(|(_, session)| session.close(received, reason, sink));
    }

    /// What must be remembered, in an order of its own.
    #[must_use]
    pub fn state(&self) -> OpenBmpState {
        let states = self.routers.iter().map(|((collector, address), session)| {
            (collector.to_string(), *address, session.state())
        });
        let mut routers: Vec<_> = states.collect();
        routers.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        OpenBmpState { routers }
    }

    /// Takes up what was remembered.
    pub fn restore(&mut self, state: &OpenBmpState) {
        for (collector, address, saved) in state.routers.iter().take(ROUTERS_MAX) {
            let collector: Arc<str> = collector.as_str().into();
            let router = address.to_string();
            let mut session =
                BmpSession::new(Arc::clone(&collector), &router, self.options.clone());
            session.restore(saved);
            self.routers.insert((collector, *address), session);
        }
    }
}

/// Who collects, by the header.
fn collector_name(header: &OpenBmpHeader<'_>) -> String {
    let group = sanitised(header.router_group);
    if !group.is_empty() && group != "default" {
        return group;
    }
    let name = sanitised(header.admin_id);
    if name.is_empty() { "openbmp".to_owned() } else { name }
}
