//! A followed folder: plain bytes of its files go to the intake, one stream a file.
//!
//! A file is read when it has settled, in the order of names, once; one that grew since goes on where
//! it was left, one that another file replaced is read anew ([`known`]). Growing files ([`tail`]) are
//! read as they grow. What a file says is read by the session behind the intake. It blocks: give it a
//! thread of its own.

pub mod config;
mod known;
mod tail;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::counter::{Counter, Seldom};
use super::live::{CHUNK_BYTES_MAX, Outbox, Stop, Stopped, Word};
use super::open::{Compression, open};
use super::pattern::fits;
pub use config::FollowedFolder;
pub use known::{FileBook, FileIdentity, FilePosition};
use known::{Known, Seen, Verdict};
use tail::{Tail, Tailed};

/// How often growing files are looked at.
const TAIL_POLL: Duration = Duration::from_millis(250);
/// How often a wait looks for the stop.
const STOP_POLL: Duration = Duration::from_millis(50);
/// How often the same trouble is told.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Ends of names that belong to files under construction.
const UNFINISHED: [&str; 3] = [".tmp", ".part", ".inflight"];

/// What was read, and what went wrong.
#[derive(Debug, Default)]
pub struct FolderCounts {
    /// Files opened.
    pub opened: Counter,
    /// Files read to their end.
    pub done: Counter,
    /// Plain bytes handed on.
    pub bytes: Counter,
    /// Files given up in the middle: damaged compression, an error of the disk.
    pub damaged: Counter,
    /// Tries to open a file that failed.
    pub open_failed: Counter,
    /// Looks into the folder that failed.
    pub look_failed: Counter,
    /// Files whose place another one took, or that were cut.
    pub replaced: Counter,
    /// Growing files held open.
    pub tails: Counter,
}

/// A follower that is ready to [`run`](Self::run).
pub struct FolderSource {
    config: FollowedFolder,
    counts: Arc<FolderCounts>,
    book: Arc<FileBook>,
    known: Known,
    /// Since when a file looks as it does.
    settling: HashMap<String, (Seen, Instant)>,
    tails: Vec<Tail>,
    next_stream: u64,
    told_look: Seldom,
    told_open: Seldom,
}

/// What came of reading a file.
enum Outcome {
    End,
    Damaged(io::Error),
    Stop,
}

impl FolderSource {
    /// A follower. `positions` says what was read before; streams are numbered from `first_stream`.
    #[must_use]
    pub fn new(config: FollowedFolder, positions: Vec<FilePosition>, first_stream: u64) -> Self {
        Self {
            config,
            counts: Arc::default(),
            book: Arc::default(),
            known: Known::new(positions),
            settling: HashMap::new(),
            tails: Vec::new(),
            next_stream: first_stream,
            told_look: Seldom::new(TELL_EVERY),
            told_open: Seldom::new(TELL_EVERY),
        }
    }

    /// Counts on where another one stopped.
    #[must_use]
    pub fn counting(mut self, counts: Arc<FolderCounts>) -> Self {
        self.counts = counts;
        self
    }

    /// What is counted.
    #[must_use]
    pub fn counts(&self) -> Arc<FolderCounts> {
        Arc::clone(&self.counts)
    }

    /// Notes in this book which stream is which file.
    #[must_use]
    pub fn noting(mut self, book: Arc<FileBook>) -> Self {
        self.book = book;
        self
    }

    /// Which stream is which file.
    #[must_use]
    pub fn book(&self) -> Arc<FileBook> {
        Arc::clone(&self.book)
    }

    /// Reads until the service stops, or until all named files are read if there is no folder.
    pub fn run(mut self, outbox: &Outbox, stop: &Stop) {
        // Whoever does not listen any more is not told anything either.
        let _ = self.follow(outbox, stop);
        for tail in self.tails {
            let reason = "the service stops".to_owned();
            let _ = outbox.tell_blocking(tail.stream, Word::Closed { reason, is_gap: false });
        }
    }

    fn follow(&mut self, outbox: &Outbox, stop: &Stop) -> Result<(), Stopped> {
        let mut named = self.config.paths.clone();
        let poll = Duration::from_secs(u64::from(self.config.poll_secs));
        let mut look_at = Instant::now();
        while !*stop.borrow() {
            if look_at <= Instant::now() {
                look_at = Instant::now() + poll;
                let mut later = Vec::new();
                for path in named {
                    if !self.read_named(&path, outbox, stop)? {
                        later.push(path);
                    }
                }
                named = later;
                match self.config.folder.clone() {
                    Some(folder) => self.look(&folder, outbox, stop)?,
                    None if named.is_empty() => return Ok(()),
                    None => {}
                }
            }
            self.read_tails(outbox, stop)?;
            let until = if self.tails.is_empty() {
                look_at
            } else {
                look_at.min(Instant::now() + TAIL_POLL)
            };
            wait_until(until, stop);
        }
        Ok(())
    }

    /// Reads a file that is named; says whether that is over and done with.
    fn read_named(&mut self, path: &Path, outbox: &Outbox, stop: &Stop) -> Result<bool, Stopped> {
        match fs::metadata(path) {
            Ok(metadata) => {
                let seen = Seen::new(path.to_string_lossy().into_owned(), &metadata);
                self.read(&seen, path, outbox, stop)
            }
            Err(error) => {
                self.not_opened(path, &error);
                Ok(false)
            }
        }
    }

    /// Looks into the folder and reads what has settled.
    fn look(&mut self, folder: &Path, outbox: &Outbox, stop: &Stop) -> Result<(), Stopped> {
        let files = match self.list(folder) {
            Ok(files) => files,
            Err(error) => {
                self.counts.look_failed.one();
                if let Some(kept_back) = self.told_look.now() {
                    let folder = folder.display();
                    tracing::error!(%folder, %error, kept_back, "folder not read, will be tried again");
                }
                return Ok(());
            }
        };
        let names: HashSet<&str> = files.iter().map(|seen| seen.name.as_str()).collect();
        self.settling.retain(|name, _| names.contains(name.as_str()));
        for seen in files {
            if *stop.borrow() {
                break;
            }
            let is_open = self.tails.iter().any(|tail| tail.identity.name == seen.name);
            if is_open || seen.size_bytes == 0 || self.known.is_done(&seen) {
                continue;
            }
            let path = folder.join(&seen.name);
            let has_settled = self.has_settled(&seen);
            if self.config.tail && self.tails.len() < usize::from(self.config.tails_max) {
                self.open_tail(&seen, &path, has_settled, outbox, stop)?;
            } else if has_settled {
                self.read(&seen, &path, outbox, stop)?;
            }
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Seen>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_unfinished =
                name.starts_with('.') || UNFINISHED.iter().any(|e| name.ends_with(e));
            if is_unfinished || !fits(&self.config.files, &name) {
                continue;
            }
            // A file that goes between the two calls is no trouble.
            if let Some(metadata) = fs::metadata(entry.path()).ok().filter(Metadata::is_file) {
                files.push(Seen::new(name, &metadata));
            }
        }
        files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    /// Whether a file looks the same for long enough: since it was written, or since we watch it.
    fn has_settled(&mut self, seen: &Seen) -> bool {
        let settle = Duration::from_secs(u64::from(self.config.settle_secs));
        let now = Instant::now();
        let (last, since) =
            self.settling.entry(seen.name.clone()).or_insert_with(|| (seen.clone(), now));
        if last != seen {
            (*last, *since) = (seen.clone(), now);
        }
        now.duration_since(*since) >= settle || age(seen).is_some_and(|age| age >= settle)
    }

    /// Reads a whole file; says whether that is over and done with.
    fn read(
        &mut self,
        seen: &Seen,
        path: &Path,
        outbox: &Outbox,
        stop: &Stop,
    ) -> Result<bool, Stopped> {
        let opened = self.known.judge(seen, path).and_then(|verdict| {
            let (identity, _) = seen.identify(path)?;
            Ok((verdict, identity, open(path)?))
        });
        let (verdict, identity, mut reader) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.not_opened(path, &error);
                return Ok(false);
            }
        };
        let Some(resume) = self.resume(verdict, path) else {
            self.remember(identity, None, true);
            return Ok(true);
        };
        let stream = self.open_stream(&identity, resume, path, outbox)?;
        let (outcome, plain_bytes) = self.hand_on(&mut reader, resume, stream, outbox, stop)?;
        let (reason, is_gap) = match &outcome {
            Outcome::End => ("end".to_owned(), false),
            Outcome::Damaged(error) => (error.to_string(), true),
            Outcome::Stop => ("the service stops".to_owned(), false),
        };
        match &outcome {
            Outcome::End => {
                self.counts.done.one();
                outbox.tell_blocking(stream, Word::CaughtUp)?;
            }
            Outcome::Damaged(error) => {
                self.counts.damaged.one();
                let path = path.display();
                tracing::error!(%path, plain_bytes, %error, "file damaged, the rest of it is lost");
            }
            Outcome::Stop => {}
        }
        outbox.tell_blocking(stream, Word::Closed { reason, is_gap })?;
        self.remember(identity, Some(plain_bytes), !matches!(outcome, Outcome::Stop));
        Ok(true)
    }

    /// Where to begin, unless all was read.
    fn resume(&self, verdict: Verdict, path: &Path) -> Option<u64> {
        match verdict {
            Verdict::Done => None,
            Verdict::Read { resume } => Some(resume),
            Verdict::Replaced => {
                self.counts.replaced.one();
                tracing::warn!(path = %path.display(), "another file took this name, read from its start");
                Some(0)
            }
        }
    }

    fn remember(&mut self, identity: FileIdentity, plain_bytes: Option<u64>, is_done: bool) {
        let plain_bytes = plain_bytes.unwrap_or_else(|| self.known.plain_bytes(&identity.name));
        self.known.set(FilePosition { identity, plain_bytes, is_done });
    }

    fn open_stream(
        &mut self,
        identity: &FileIdentity,
        resume: u64,
        path: &Path,
        outbox: &Outbox,
    ) -> Result<u64, Stopped> {
        let stream = self.next_stream;
        self.next_stream += 1;
        self.counts.opened.one();
        self.book.put(stream, identity.clone(), resume);
        tracing::debug!(path = %path.display(), stream, resume, "file opened");
        let remote = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        outbox.tell_blocking(stream, Word::Opened { remote })?;
        Ok(stream)
    }

    /// Hands a reader's bytes on, without the first ones; says how many plain bytes there were.
    fn hand_on(
        &self,
        reader: &mut dyn Read,
        resume: u64,
        stream: u64,
        outbox: &Outbox,
        stop: &Stop,
    ) -> Result<(Outcome, u64), Stopped> {
        let mut buffer = vec![0; CHUNK_BYTES_MAX];
        let mut plain_bytes = 0;
        while !*stop.borrow() {
            let bytes = match reader.read(&mut buffer) {
                Ok(0) => return Ok((Outcome::End, plain_bytes)),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok((Outcome::Damaged(error), plain_bytes)),
            };
            let known = usize::try_from(resume.saturating_sub(plain_bytes)).unwrap_or(usize::MAX);
            plain_bytes += bytes as u64;
            if let Some(news) = buffer.get(known.min(bytes)..bytes).filter(|news| !news.is_empty())
            {
                self.counts.bytes.add(news.len() as u64);
                outbox.tell_blocking(stream, Word::Bytes(news.to_vec()))?;
            }
        }
        Ok((Outcome::Stop, plain_bytes.max(resume)))
    }

    fn not_opened(&mut self, path: &Path, error: &io::Error) {
        self.counts.open_failed.one();
        if let Some(kept_back) = self.told_open.now() {
            let path = path.display();
            tracing::error!(%path, %error, kept_back, "file not opened, will be tried again");
        }
    }

    /// Begins to follow a file that grows; a compressed one is read whole when it has settled.
    fn open_tail(
        &mut self,
        seen: &Seen,
        path: &Path,
        has_settled: bool,
        outbox: &Outbox,
        stop: &Stop,
    ) -> Result<(), Stopped> {
        let opened = self
            .known
            .judge(seen, path)
            .and_then(|verdict| Ok((verdict, seen.identify(path)?, fs::File::open(path)?)));
        let (verdict, (identity, compression), file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.not_opened(path, &error);
                return Ok(());
            }
        };
        if compression != Compression::None {
            return if has_settled {
                self.read(seen, path, outbox, stop).map(drop)
            } else {
                Ok(())
            };
        }
        let Some(resume) = self.resume(verdict, path) else {
            self.remember(identity, None, true);
            return Ok(());
        };
        let stream = self.open_stream(&identity, resume, path, outbox)?;
        match Tail::new(file, path.to_owned(), identity, stream, resume) {
            Ok(tail) => self.tails.push(tail),
            Err(error) => {
                self.counts.damaged.one();
                let reason = error.to_string();
                outbox.tell_blocking(stream, Word::Closed { reason, is_gap: true })?;
            }
        }
        self.counts.tails.set(self.tails.len() as u64);
        Ok(())
    }

    /// Reads what was appended to growing files.
    fn read_tails(&mut self, outbox: &Outbox, stop: &Stop) -> Result<(), Stopped> {
        let idle = Duration::from_secs(u64::from(self.config.tail_idle_secs));
        for mut tail in std::mem::take(&mut self.tails) {
            if *stop.borrow() {
                self.tails.push(tail);
                continue;
            }
            let (reason, is_gap) = match tail.read(idle, &self.counts, outbox)? {
                Tailed::Open => {
                    self.tails.push(tail);
                    continue;
                }
                Tailed::Idle => ("end".to_owned(), false),
                Tailed::Gone => ("the file was removed".to_owned(), false),
                Tailed::Replaced => ("another file took its name".to_owned(), false),
                Tailed::Cut => ("the file was cut".to_owned(), true),
                Tailed::Damaged(error) => (error.to_string(), true),
            };
            self.counts.done.one();
            tracing::debug!(path = %tail.path.display(), reason, "growing file closed");
            let is_cut = is_gap || reason.starts_with("another");
            outbox.tell_blocking(tail.stream, Word::Closed { reason, is_gap })?;
            if is_cut {
                self.counts.replaced.one();
                self.known.forget(&tail.identity.name);
            } else {
                self.known.set(tail.into_position());
            }
        }
        self.counts.tails.set(self.tails.len() as u64);
        Ok(())
    }
}

/// Time since a file was written, by the wall clock.
#[allow(clippy::disallowed_methods, reason = "a source may read the wall clock")]
fn age(seen: &Seen) -> Option<Duration> {
    let modified = UNIX_EPOCH + Duration::from_micros(u64::try_from(seen.modified_us).ok()?);
    SystemTime::now().duration_since(modified).ok()
}

fn wait_until(at: Instant, stop: &Stop) {
    while !*stop.borrow() {
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        std::thread::sleep(left.min(STOP_POLL));
    }
}
