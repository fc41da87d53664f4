//! Streams: what a live source sends on one of them, and the session that reads it.

use std::net::SocketAddr;
use std::sync::Arc;

use schemas::batch::{Account, PeerState};
use schemas::log::LogError;
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::file::FileStream;
use crate::batcher::Outlet;
use crate::decode::mapping::Mapping;
use crate::intake::Intake;
use crate::samples::{SampleFeed, SampleSet};
use crate::session::openbmp::OpenBmpSession;
use crate::session::ris_live::RisSession;
use crate::session::{BmpOptions, BmpSession, RouteSink as _, SessionEvent};
use crate::source::live::Message;
use crate::source::rtt_body;

/// What an input's streams are.
#[derive(Clone)]
pub enum Format {
    /// BMP from routers, a stream a TCP session.
    Bmp(BmpOptions),
    /// OpenBMP messages, a stream a partition of a topic.
    OpenBmp(BmpOptions),
    /// RIS Live messages.
    RisLive,
    /// Files, told by their content, a stream a file.
    Files(FileOptions),
    /// Messages of RTT samples, a stream a partition of a topic.
    RttMessages,
    /// Matched RTT samples, without streams.
    Samples,
}

impl Format {
    /// Whether a stream has a position of its own, where it goes on after a restart.
    pub(super) const fn has_positions(&self) -> bool {
        self.is_topic() || matches!(self, Self::Files(_))
    }

    /// Whether its streams are partitions of topics.
    pub(super) const fn is_topic(&self) -> bool {
        matches!(self, Self::OpenBmp(_) | Self::RttMessages)
    }

    /// The word in metrics: a closed set.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Bmp(_) => "bmp",
            Self::OpenBmp(_) => "openbmp",
            Self::RisLive => "ris_live",
            Self::Files(_) => "files",
            Self::RttMessages | Self::Samples => "rtt",
        }
    }
}

/// How files are read.
#[derive(Clone, Default)]
pub struct FileOptions {
    /// Those of BMP streams.
    pub bmp: BmpOptions,
    /// Where samples of another form lie.
    pub mapping: Option<Arc<Mapping>>,
}

/// The session of one stream.
pub(super) enum Session {
    Bmp(Box<BmpSession>),
    OpenBmp(Box<OpenBmpSession>),
    RisLive(Box<RisSession>),
    File(Box<FileStream>),
    /// Nothing is kept between messages of samples.
    Rtt,
}

/// Why a stream cannot be followed any further, in words.
pub(super) type Fatal = String;

/// Where what a stream says goes: one step of it.
pub(super) struct Step<'s, O> {
    pub(super) intake: &'s mut Intake<O>,
    pub(super) account: &'s mut Account,
    pub(super) source: &'s Text,
    /// Number of the input: windows close by its progress.
    pub(super) input: u32,
    /// Record of the source that comes next.
    pub(super) next_offset: &'s mut u64,
    pub(super) now: Timestamp,
}

impl Session {
    /// The session of a new stream. `state` is what one before it left.
    pub(super) fn open(format: &Format, collector: &Text, remote: &str, state: &[u8]) -> Self {
        match format {
            Format::Bmp(options) => {
                let router = address_of(remote);
                let session = BmpSession::new(Arc::clone(collector), &router, options.clone());
                Self::Bmp(Box::new(session))
            }
            Format::OpenBmp(options) => {
                let mut session = OpenBmpSession::new(options.clone());
                if let Ok(state) = postcard::from_bytes(state) {
                    session.restore(&state);
                }
                Self::OpenBmp(Box::new(session))
            }
            Format::RisLive => Self::RisLive(Box::default()),
            Format::RttMessages | Format::Samples => Self::Rtt,
            Format::Files(options) => {
                let collector = Arc::clone(collector);
                Self::File(Box::new(FileStream::new(collector, options.clone(), state)))
            }
        }
    }

    /// Takes bytes of a stream without positions of its own.
    pub(super) fn feed<O: Outlet>(
        &mut self,
        bytes: &[u8],
        step: &mut Step<'_, O>,
    ) -> Result<Result<(), Fatal>, LogError> {
        match self {
            Self::Bmp(session) => {
                let before = refused(session.counts().refused.values());
                let offset = *step.next_offset;
                let mut sink = step.intake.record(step.source, offset, step.now, step.account);
                let fed = session.feed(bytes, step.now, &mut sink);
                *step.next_offset += sink.finish()?;
                step.refuse(refused(session.counts().refused.values()) - before);
                Ok(fed.map_err(|error| error.to_string()))
            }
            Self::File(file) => file.feed(bytes, step).map(Ok),
            Self::OpenBmp(_) | Self::RisLive(_) | Self::Rtt => {
                Ok(Err("bytes without a message".to_owned()))
            }
        }
    }

    /// Takes one whole message of a stream with positions of its own. A bad one costs itself.
    pub(super) fn message<O: Outlet>(
        &mut self,
        offset: u64,
        payload: &[u8],
        step: &mut Step<'_, O>,
    ) -> Result<Result<(), Fatal>, LogError> {
        if matches!(self, Self::Rtt) {
            *step.next_offset = offset + 1;
            return step.message_of_samples(payload);
        }
        let mut sink = step.intake.record(step.source, offset, step.now, step.account);
        let refusal = match self {
            Self::OpenBmp(session) => {
                session.value(payload, step.now, &mut sink).err().map(|error| error.to_string())
            }
            Self::RisLive(session) => {
                session.text(payload, &mut sink).err().map(|error| error.to_string())
            }
            Self::Bmp(_) | Self::File(_) | Self::Rtt => {
                Some("a message where bytes should be".to_owned())
            }
        };
        sink.finish()?;
        *step.next_offset = offset + 1;
        Ok(match refusal {
            Some(words) => {
                step.refuse(1);
                Err(words)
            }
            None => Ok(()),
        })
    }

    /// The stream is over.
    pub(super) fn close<O: Outlet>(
        &mut self,
        reason: &str,
        step: &mut Step<'_, O>,
    ) -> Result<(), LogError> {
        if let Self::File(file) = self {
            return file.close(step);
        }
        let offset = step.next_offset.saturating_sub(1);
        let mut sink = step.intake.record(step.source, offset, step.now, step.account);
        match self {
            Self::Bmp(session) => session.close(step.now, reason, &mut sink),
            Self::OpenBmp(session) => session.close(step.now, reason, &mut sink),
            Self::RisLive(session) => {
                for (peer, header) in (0..).zip(session.peers().iter()) {
                    sink.session(&SessionEvent {
                        time: step.now,
                        peer,
                        header,
                        state: PeerState::Stale,
                        codes: None,
                        local_ip: None,
                        reason: Some(reason),
                        prefixes_accepted: None,
                    });
                }
            }
            Self::File(_) | Self::Rtt => {}
        }
        sink.finish().map(|_| ())
    }

    /// What the next bytes of this stream need, after a restart.
    pub(super) fn state(&self) -> Vec<u8> {
        match self {
            Self::OpenBmp(session) => postcard::to_stdvec(&session.state()).unwrap_or_default(),
            Self::File(file) => file.state(),
            // A router tells its table anew, RIS Live begins anew.
            Self::Bmp(_) | Self::RisLive(_) | Self::Rtt => Vec::new(),
        }
    }
}

impl<O: Outlet> Step<'_, O> {
    /// Appends samples that arrived together, and counts what became of all that were read.
    pub(super) fn samples(&mut self, set: SampleSet) -> Result<(), LogError> {
        *self.next_offset += set.account.read;
        let account = append(set, self.input, self.now, self.intake)?;
        self.account.take(&account);
        Ok(())
    }

    /// Takes messages that are lines of samples, as one body.
    pub(super) fn lines_of_samples(
        &mut self,
        messages: &[Message],
    ) -> Result<Result<(), Fatal>, LogError> {
        let bytes = messages.iter().map(|message| message.payload.len() + 1).sum();
        let mut body = Vec::with_capacity(bytes);
        for message in messages {
            body.extend_from_slice(&message.payload);
            body.push(b'\n');
            *self.next_offset = message.offset + 1;
        }
        self.message_of_samples(&body)
    }

    /// Takes a message of samples.
    fn message_of_samples(&mut self, payload: &[u8]) -> Result<Result<(), Fatal>, LogError> {
        let owners = self.intake.owners();
        match rtt_body::read(payload, None, &owners, None) {
            Ok(set) => {
                let told = set.refusals.first().cloned();
                let account = append(set, self.input, self.now, self.intake)?;
                self.account.take(&account);
                // A message of which something was read is told by its counts alone.
                let is_lost = account.read > 0 && account.refused == account.read;
                Ok(told.filter(|_| is_lost).map_or(Ok(()), Err))
            }
            Err(error) => {
                self.refuse_for(error.reason(), 1);
                Ok(Err(error.to_string()))
            }
        }
    }
}

/// Appends samples that arrived together, all at one log time; what became of them.
pub(super) fn append<O: Outlet>(
    mut set: SampleSet,
    input: u32,
    now: Timestamp,
    intake: &mut Intake<O>,
) -> Result<Account, LogError> {
    let registry = Arc::clone(intake.registry());
    set.settle(now, &registry);
    let account = std::mem::take(&mut set.account);
    let batcher = &mut intake.batcher;
    let mut feed = SampleFeed::new(set, input, &registry, batcher.partitions());
    feed.append_all(now, batcher)?;
    Ok(account)
}

impl<O> Step<'_, O> {
    pub(super) fn refuse(&mut self, records: u64) {
        self.refuse_for("refused", records);
    }

    fn refuse_for(&mut self, reason: &str, records: u64) {
        if records > 0 {
            self.account.read += records;
            self.account.refused += records;
            self.account.note(reason, records);
        }
    }
}

pub(super) fn refused<'c>(counts: impl Iterator<Item = &'c u64>) -> u64 {
    counts.sum()
}

/// The router behind a TCP session: its address without the port, which changes.
pub(super) fn address_of(remote: &str) -> String {
    match remote.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_canonical().to_string(),
        Err(_) => remote.to_owned(),
    }
}
