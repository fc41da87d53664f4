//! Files in a running service: plain bytes in, as a source hands them on, told by their content.
//!
//! MRT and BMP are read as they come. RTT samples are held until the file is whole, sorted by event
//! time and then appended, as `replay` does, so that the order of lines changes nothing.

use std::sync::Arc;

use bytes::Bytes;
use schemas::log::LogError;
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::stream::{FileOptions, Step, refused};
use crate::batcher::Outlet;
use crate::decode::mapping::Mapping;
use crate::decode::mrt::{Frame, frame, resync};
use crate::samples::{self, Body, Collector, RttFormat, Scope};
use crate::session::mrt::{MrtSession, MrtState};
use crate::session::ris_live::RisSession;
use crate::session::{BmpOptions, BmpSession, BmpState};
use crate::source::discover::{FileKind, kind_of};

/// Plain bytes by which a file is told.
const HEAD_BYTES: usize = 64 * 1024;
/// Bytes of one file of samples at most.
const SAMPLE_BYTES_MAX: usize = 1 << 30;
/// Samples of one file at most: they are one append, which is bounded (16 bytes each of 256 MiB).
const SAMPLES_MAX: usize = 12_000_000;
/// Longest line of RIS Live.
const LINE_BYTES_MAX: usize = 1 << 20;

/// A file being read.
pub(super) struct FileStream {
    collector: Text,
    options: BmpOptions,
    /// Where samples of another form lie.
    mapping: Option<Arc<Mapping>>,
    buffer: Vec<u8>,
    content: Content,
    /// Latest event time seen of its samples.
    pub(super) latest: Option<Timestamp>,
    /// The first thing that was wrong, in words.
    pub(super) problem: Option<String>,
    is_lost: bool,
}

enum Content {
    Unknown,
    Mrt(Box<MrtSession>),
    Bmp(Box<BmpSession>),
    RisLive(Box<RisSession>),
    Rtt(RttFormat),
    Other,
}

/// What a half-read file needs to go on.
#[derive(Serialize, Deserialize)]
enum Saved {
    Mrt(MrtState),
    Bmp(BmpState),
}

impl FileStream {
    pub(super) fn new(collector: Text, options: FileOptions, state: &[u8]) -> Self {
        let FileOptions { bmp, mapping } = options;
        let options = BmpOptions { restarts_on_initiation: true, ..bmp };
        let content = match postcard::from_bytes(state) {
            Ok(Saved::Mrt(state)) => {
                Content::Mrt(Box::new(MrtSession::restored(Arc::clone(&collector), &state)))
            }
            Ok(Saved::Bmp(state)) => {
                let mut session = BmpSession::new(Arc::clone(&collector), "file", options.clone());
                session.restore(&state);
                Content::Bmp(Box::new(session))
            }
            Err(_) => Content::Unknown,
        };
        Self {
            collector,
            mapping,
            options,
            buffer: Vec::new(),
            content,
            latest: None,
            problem: None,
            is_lost: false,
        }
    }

    /// Bytes that were taken and are not yet part of the log.
    pub(super) const fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    pub(super) fn state(&self) -> Vec<u8> {
        let saved = match &self.content {
            Content::Mrt(session) => Saved::Mrt(session.state()),
            Content::Bmp(session) => Saved::Bmp(session.state()),
            _ => return Vec::new(),
        };
        postcard::to_stdvec(&saved).unwrap_or_default()
    }

    pub(super) fn feed<O: Outlet>(
        &mut self,
        bytes: &[u8],
        step: &mut Step<'_, O>,
    ) -> Result<(), LogError> {
        self.buffer.extend_from_slice(bytes);
        if matches!(self.content, Content::Unknown) {
            if !self.has_head() {
                return Ok(());
            }
            self.recognise();
        }
        self.drain(step, false)
    }

    pub(super) fn close<O: Outlet>(&mut self, step: &mut Step<'_, O>) -> Result<(), LogError> {
        if matches!(self.content, Content::Unknown) {
            self.recognise();
        }
        self.drain(step, true)?;
        if let Content::Bmp(session) = &mut self.content {
            let offset = step.next_offset.saturating_sub(1);
            let mut sink = step.intake.record(step.source, offset, step.now, step.account);
            session.close(step.now, "the file ends", &mut sink);
            sink.finish()?;
        }
        Ok(())
    }

    /// Whether enough is there to tell what it is: a whole head, or a first record of what is read as it
    /// comes. A growing file may not have more for long.
    fn has_head(&self) -> bool {
        if self.buffer.len() >= HEAD_BYTES || self.mapping.is_some() {
            return self.buffer.len() >= HEAD_BYTES;
        }
        match kind_of(&self.buffer) {
            Some(FileKind::RisLive) => self.buffer.contains(&b'\n'),
            Some(FileKind::Mrt { .. }) => matches!(frame(&self.buffer), Ok(Frame::Whole { .. })),
            // A common header says its length (RFC 7854 §4.1).
            Some(FileKind::Bmp) => match self.buffer.split_first_chunk::<5>() {
                Some(([_, length @ ..], _)) => {
                    self.buffer.len() >= u32::from_be_bytes(*length) as usize
                }
                None => false,
            },
            _ => false,
        }
    }

    fn recognise(&mut self) {
        let head = self.buffer.get(..HEAD_BYTES).unwrap_or(&self.buffer);
        let collector = Arc::clone(&self.collector);
        let kind = match &self.mapping {
            Some(_) => Some(FileKind::Rtt(RttFormat::of_mapped(head))),
            None => kind_of(head),
        };
        self.content = match kind {
            Some(FileKind::Mrt { .. }) => Content::Mrt(Box::new(MrtSession::new(collector))),
            Some(FileKind::Bmp) => {
                Content::Bmp(Box::new(BmpSession::new(collector, "file", self.options.clone())))
            }
            Some(FileKind::RisLive) => Content::RisLive(Box::default()),
            Some(FileKind::Rtt(format)) => Content::Rtt(format),
            Some(FileKind::Capture | FileKind::OpenBmp) | None => {
                self.note(|| "nothing that a followed file can hold".to_owned());
                Content::Other
            }
        };
    }

    fn note(&mut self, words: impl FnOnce() -> String) {
        self.problem.get_or_insert_with(words);
    }

    /// Hands on what is whole; at the end of the file what is left is not.
    fn drain<O: Outlet>(&mut self, step: &mut Step<'_, O>, is_end: bool) -> Result<(), LogError> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut content = std::mem::replace(&mut self.content, Content::Other);
        let used = match &mut content {
            Content::Unknown | Content::Other => buffer.len(),
            Content::Mrt(session) => self.mrt(session, &buffer, step)?,
            Content::Bmp(session) => self.bmp(session, &buffer, step)?,
            Content::RisLive(session) => self.ris_live(session, &buffer, is_end, step)?,
            Content::Rtt(_) if buffer.len() > SAMPLE_BYTES_MAX => {
                self.note(|| "more than 1 GiB of samples in one file; split it".to_owned());
                step.refuse(1);
                content = Content::Other;
                buffer.len()
            }
            Content::Rtt(format) => self.rtt(*format, &buffer, is_end, step)?,
        };
        self.content = content;
        self.buffer = buffer;
        self.buffer.drain(..used.min(self.buffer.len()));
        if is_end && !self.buffer.is_empty() {
            let left = self.buffer.len();
            self.note(|| format!("cut off: {left} bytes at its end are no whole record"));
            step.refuse(1);
            self.buffer.clear();
        }
        Ok(())
    }

    fn mrt<O: Outlet>(
        &mut self,
        session: &mut MrtSession,
        buffer: &[u8],
        step: &mut Step<'_, O>,
    ) -> Result<usize, LogError> {
        let mut used = 0;
        loop {
            let rest = buffer.get(used..).unwrap_or_default();
            match frame(rest) {
                Ok(Frame::Whole { record, bytes }) => {
                    let offset = *step.next_offset;
                    let mut sink = step.intake.record(step.source, offset, step.now, step.account);
                    let read = session.record(&record, &mut sink);
                    sink.finish()?;
                    if let Err(error) = read {
                        self.note(|| format!("record {offset}: {error}"));
                        step.refuse(1);
                    }
                    *step.next_offset += 1;
                    used += bytes;
                    self.is_lost = false;
                }
                Ok(Frame::NeedMore { .. }) => return Ok(used),
                Err(error) => {
                    let offset = *step.next_offset;
                    if !std::mem::replace(&mut self.is_lost, true) {
                        self.note(|| format!("damaged before record {offset}: {error}"));
                        step.refuse(1);
                    }
                    match resync(rest) {
                        Some(skipped) => used += skipped,
                        // What may be half a header stays.
                        None => return Ok(buffer.len().saturating_sub(HEAD_BYTES).max(used)),
                    }
                }
            }
        }
    }

    fn bmp<O: Outlet>(
        &mut self,
        session: &mut BmpSession,
        buffer: &[u8],
        step: &mut Step<'_, O>,
    ) -> Result<usize, LogError> {
        let before = refused(session.counts().refused.values());
        let offset = *step.next_offset;
        let mut sink = step.intake.record(step.source, offset, step.now, step.account);
        let fed = if self.is_lost { Ok(()) } else { session.feed(buffer, step.now, &mut sink) };
        *step.next_offset += sink.finish()?;
        step.refuse(refused(session.counts().refused.values()) - before);
        if let Err(error) = fed {
            self.is_lost = true;
            self.note(|| error.to_string());
        }
        // Half a message stays here, for the position is before it.
        let half = session.buffered_bytes();
        session.forget_partial();
        Ok(buffer.len() - half)
    }

    fn ris_live<O: Outlet>(
        &mut self,
        session: &mut RisSession,
        buffer: &[u8],
        is_end: bool,
        step: &mut Step<'_, O>,
    ) -> Result<usize, LogError> {
        let mut used = 0;
        loop {
            let rest = buffer.get(used..).unwrap_or_default();
            let (line, bytes) = match memchr::memchr(b'\n', rest) {
                Some(end) => (rest.get(..end).unwrap_or_default(), end + 1),
                None if is_end && !rest.is_empty() => (rest, rest.len()),
                None if rest.len() > LINE_BYTES_MAX => {
                    step.refuse(1);
                    self.note(|| "a line longer than 1 MiB".to_owned());
                    return Ok(buffer.len());
                }
                None => return Ok(used),
            };
            let offset = *step.next_offset;
            let mut sink = step.intake.record(step.source, offset, step.now, step.account);
            let read = session.text(line, &mut sink);
            sink.finish()?;
            if let Err(error) = read {
                step.refuse(1);
                self.note(|| format!("line {}: {error}", offset + 1));
            }
            *step.next_offset += 1;
            used += bytes;
        }
    }

    fn rtt<O: Outlet>(
        &mut self,
        format: RttFormat,
        buffer: &[u8],
        is_end: bool,
        step: &mut Step<'_, O>,
    ) -> Result<usize, LogError> {
        if !is_end {
            return Ok(0);
        }
        let owners = step.intake.owners();
        let scope = Scope { is_live: true, tenant: None };
        let body = Body::Bytes(Bytes::copy_from_slice(buffer));
        let mapping = self.mapping.as_deref();
        let set = match samples::read(body, format, mapping, Collector::new(&owners, scope)) {
            Ok(set) => set,
            Err(error) => {
                self.note(|| error.to_string());
                step.refuse(1);
                return Ok(buffer.len());
            }
        };
        if set.rows.len() > SAMPLES_MAX {
            let samples = set.rows.len();
            self.note(|| {
                format!("{samples} samples in one file, {SAMPLES_MAX} are taken; split it")
            });
            step.refuse(samples as u64);
            return Ok(buffer.len());
        }
        let told = set.damage.iter().chain(&set.refusals).next().cloned();
        self.problem = self.problem.take().or(told);
        self.latest = self.latest.max(set.latest);
        step.samples(set)?;
        Ok(buffer.len())
    }
}
