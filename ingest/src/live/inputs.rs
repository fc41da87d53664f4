//! Inputs: who speaks on which stream, how far each source is, and what became of what it said.
//!
//! [`accounts`]: what is told of what became of it; [`among`]: how they come and go where others write
//! the log too; [`feed`]: what streams say; [`reach`]: how far they are; [`stale`]: what a restart
//! leaves behind.

mod accounts;
mod among;
mod feed;
mod reach;
mod stale;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use schemas::batch::Account;
use schemas::log::{LogError, Position};
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::gaps::{Gaps, Heard};
use super::known::{self, Known};
use super::progress::{Passed, Reached, Stall};
use super::settings::{BETWEEN, InputReport, InputSettings, Kept};
use super::stream::{Session, Step, address_of, append};
use super::{Collected, LiveIntake};
use crate::kafka::topic_id::TopicId;
use crate::samples::SampleSet;
use crate::session::BmpSession;
use crate::source::counter::Seldom;
use crate::source::folder::FileIdentity;
use crate::source::live::{Arrival, Message, Receipt, Word};

/// Sessions of routers that went away, kept for their return, of one input at most.
const AWAY_MAX: usize = 1_024;
/// What a followed folder says of a file that was read to its end.
const END: &str = "end";

/// Problems of one input told in words.
const PROBLEMS_MAX: usize = 20;
/// How often what was refused is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// All inputs of a run.
pub(super) struct Inputs(Vec<Input>);

/// One input.
pub(super) struct Input {
    settings: InputSettings,
    /// Its number in the log, which stays; and the event time that the samples of a followed folder
    /// have passed: none before its first ones.
    pub(super) known: Known,
    /// Whether the log knows that number.
    is_known: bool,
    /// How many prefixes of others it made us follow, by the key under which they are kept.
    followed: BTreeMap<String, u64>,
    /// Whether it belongs to this process, as a whole or with some of its streams.
    is_ours: bool,
    /// Whether each stream has progress, and a number, of its own.
    by_stream: bool,
    /// Whether the log has other writers: what is kept of a stream goes with it.
    is_among: bool,
    streams: HashMap<u64, Stream>,
    /// BMP sessions of routers that went away.
    away: HashMap<String, Box<BmpSession>>,
    positions: BTreeMap<Text, Position>,
    gaps: Gaps,
    heard: Timestamp,
    /// Event time that messages of samples have passed.
    passed: Passed,
    stall: Stall,
    /// Who waits until the samples that were taken are durable.
    answers: Vec<(Receipt, Account)>,
    /// What became of what was read and is not told yet, where streams have no positions of their own.
    account: Account,
    /// What this process told of accounts already.
    total: Account,
    problems: Vec<String>,
    told_refused: Seldom,
}

/// One stream.
struct Stream {
    session: Session,
    /// What rows call the source.
    source: Text,
    /// Key of its position.
    key: Text,
    remote: String,
    identity: Option<FileIdentity>,
    /// Which topic of its name it reads.
    topic: Option<TopicId>,
    position: Position,
    /// What became of what was read and is not told yet, if it has positions of its own.
    account: Option<Account>,
    reached: Reached,
    /// Number under which its samples wait for progress: that of its input, or its own.
    id: u32,
    passed: Passed,
}

impl Stream {
    /// Its session, and what that needs to take something.
    fn step<'s>(
        &'s mut self,
        intake: &'s mut LiveIntake,
        shared: &'s mut Account,
        now: Timestamp,
    ) -> (&'s mut Session, Step<'s, Collected>) {
        let Self { session, source, id, position, account, .. } = self;
        let account = account.as_mut().unwrap_or(shared);
        let next_offset = &mut position.next_offset;
        if account.read == 0 {
            account.first_offset = *next_offset;
        }
        (session, Step { intake, account, source, input: *id, next_offset, now })
    }
}

impl Inputs {
    /// All inputs of a run. Where the log has other writers too, numbers are made of names, and nothing
    /// but listeners is ours before it is given.
    pub(super) fn new(
        settings: Vec<InputSettings>,
        positions: &BTreeMap<Text, Position>,
        is_alone: bool,
        intake: &mut LiveIntake,
    ) -> Self {
        let (prefixes, followed) = known::followed(positions);
        intake.interest().follow(prefixes);
        if !is_alone {
            return Self::among(settings, positions, &followed);
        }
        let mut known = known::inputs(positions);
        let mut inputs = Vec::new();
        for settings in settings {
            let name = settings.name.to_string();
            let next =
                known.values().map(|known| known.id).max().map_or(1, |id| id.saturating_add(1));
            let is_known = known.contains_key(&name);
            let new = Known { id: next, passed: None };
            let known = known.entry(name.clone()).or_insert(new).clone();
            let own = positions_under(&name, positions);
            let followed = followed.get(&name).map(|count| (name, *count)).into_iter().collect();
            inputs.push(Input { is_known, followed, ..Input::new(settings, known, own) });
        }
        Self(inputs)
    }

    /// Takes one word; how many bytes it had.
    pub(super) fn take(
        &mut self,
        arrival: Arrival,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<usize, LogError> {
        match self.0.get_mut(arrival.input as usize) {
            Some(input) => {
                let key = input.followed_under(arrival.stream);
                let bytes = input.take(arrival.stream, arrival.word, now, intake, moved)?;
                input.note_followed(key, arrival.stream, intake, moved);
                Ok(bytes)
            }
            None => Ok(0),
        }
    }

    /// Inputs with the event time that they have passed: "now" for most. One that stands still is told
    /// as a gap.
    pub(super) fn progress(
        &mut self,
        now: Timestamp,
        timeout_secs: i64,
        intake: &mut LiveIntake,
    ) -> Result<BTreeMap<Timestamp, Vec<u32>>, LogError> {
        let mut by_time: BTreeMap<Timestamp, Vec<u32>> = BTreeMap::new();
        by_time.entry(now).or_default();
        for input in &mut self.0 {
            input.settings.counts.publish(&input.total, &input.untold());
            let has_streams = !input.streams.is_empty();
            if !input.is_ours || (input.by_stream && !has_streams) {
                continue;
            }
            input.progress(now, timeout_secs, &mut by_time);
            input.tell_stall(now, timeout_secs, intake)?;
        }
        Ok(by_time)
    }

    /// What was taken is durable: whoever waited for that is told.
    pub(super) fn answer(&mut self) {
        for (answer, account) in self.0.iter_mut().flat_map(|input| input.answers.drain(..)) {
            answer.confirm(account);
        }
    }

    /// The service stops: what is open is closed.
    pub(super) fn stop(
        &mut self,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<(), LogError> {
        for input in &mut self.0 {
            let mut open: Vec<u64> = input.streams.keys().copied().collect();
            open.sort_unstable();
            for stream in open {
                input.close(stream, ("the service stops", false), now, intake, moved)?;
            }
        }
        Ok(())
    }

    /// All of them were read to their end, for good.
    pub(super) fn end(&mut self) {
        for input in &mut self.0 {
            input.known.passed = None;
            input.streams.values_mut().for_each(|stream| stream.reached = Reached::Now);
        }
    }

    pub(super) fn reports(self) -> Vec<InputReport> {
        let report = |input: Input| InputReport {
            name: input.settings.name,
            account: input.total,
            problems: input.problems,
        };
        self.0.into_iter().map(report).collect()
    }
}

impl Input {
    fn new(settings: InputSettings, known: Known, positions: BTreeMap<Text, Position>) -> Self {
        Self {
            settings,
            known,
            is_known: false,
            followed: BTreeMap::new(),
            is_ours: true,
            by_stream: false,
            is_among: false,
            streams: HashMap::new(),
            away: HashMap::new(),
            positions,
            gaps: Gaps::default(),
            heard: Timestamp::MIN,
            passed: Passed::default(),
            stall: Stall::default(),
            answers: Vec::new(),
            account: Account::default(),
            total: Account::default(),
            problems: Vec::new(),
            told_refused: Seldom::new(TELL_EVERY),
        }
    }

    /// Key of the position of a stream; that of a listener is one for all its sessions.
    fn key(&self, stream: &str) -> Text {
        format!("{}{BETWEEN}{stream}", self.settings.name).into()
    }

    fn take(
        &mut self,
        number: u64,
        word: Word,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<usize, LogError> {
        self.heard = now;
        match word {
            Word::Opened { remote } => self.open(number, remote, now, intake, moved).map(|()| 64),
            Word::Begins { offset, topic } => {
                if let Some(stream) = self.streams.get_mut(&number) {
                    stream.position.next_offset = offset.unwrap_or(stream.position.next_offset);
                    stream.topic = topic;
                    self.settle(number, false, moved);
                }
                Ok(64)
            }
            Word::Bytes(bytes) => {
                self.feed(number, &bytes, now, intake, moved)?;
                Ok(bytes.len())
            }
            Word::Message { offset, payload, broker_time } => {
                let message = Message { offset, payload, broker_time };
                self.messages(number, &[message], now, intake, moved)
            }
            Word::Messages(messages) => self.messages(number, &messages, now, intake, moved),
            Word::Samples { samples, answer } => self.samples(*samples, answer, now, intake, moved),
            Word::CaughtUp => {
                self.reach(number, Reached::Now);
                Ok(64)
            }
            Word::Closed { reason, is_gap } => {
                self.close(number, (&reason, is_gap), now, intake, moved).map(|()| 64)
            }
        }
    }

    fn open(
        &mut self,
        number: u64,
        remote: String,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<(), LogError> {
        let settings = &self.settings;
        let has_positions = settings.format.has_positions();
        let key = if has_positions { self.key(&remote) } else { self.key("") };
        let source: Text =
            if has_positions { accounts::source_of(&remote) } else { Text::clone(&settings.name) };
        let mut position = self.positions.get(&key).cloned().unwrap_or_default();
        let mut kept = Kept::of(&position);
        let file = settings.book.as_ref().and_then(|book| book.take(number));
        if let Some((_, resume)) = &file
            && *resume != position.bytes
        {
            // Another file of that name: it begins anew.
            position = Position { bytes: *resume, ..Position::default() };
            kept = Kept::default();
        }
        let collector = settings.collector_of.as_ref().and_then(|named| named(&remote));
        let collector = collector.unwrap_or_else(|| Text::clone(&settings.collector));
        let who = address_of(&remote);
        let session = match self.away.remove(&who) {
            Some(session) => Session::Bmp(session),
            None => Session::open(&settings.format, &collector, &remote, &kept.state),
        };
        let heard = Heard { source: &settings.name, collector: Some(&collector), now };
        self.gaps.end(&who, &heard, intake)?;
        if !has_positions && !self.positions.contains_key(&key) {
            // From now on the log knows that this listener was heard.
            self.positions.insert(Text::clone(&key), position.clone());
            moved.push((Text::clone(&key), position.clone()));
        }
        self.know(moved);
        let identity = file.map(|(identity, _)| identity);
        let id = if self.by_stream { among::number_of(&key) } else { self.known.id };
        let (reached, passed) = (Reached::Nothing, Passed::default());
        let stream = Stream {
            session,
            source,
            key,
            remote,
            identity,
            topic: kept.topic,
            position,
            account: has_positions.then(Account::default),
            reached,
            id,
            passed,
        };
        self.streams.insert(number, stream);
        Ok(())
    }

    /// The number of the input becomes part of the log.
    fn know(&mut self, moved: &mut Vec<(Text, Position)>) {
        if !std::mem::replace(&mut self.is_known, true) {
            known::note_input(&self.settings.name, &self.known, moved);
        }
    }

    /// Takes matched samples, unless whoever brought them has given up.
    fn samples(
        &mut self,
        samples: SampleSet,
        answer: Option<Receipt>,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<usize, LogError> {
        if answer.as_ref().is_some_and(|answer| !answer.take()) {
            return Ok(64);
        }
        self.know(moved);
        let bytes = samples.rows.len() * 16 + 64;
        let account = append(samples, self.known.id, now, intake)?;
        self.count(&account, moved);
        self.answers.extend(answer.map(|answer| (answer, account)));
        Ok(bytes)
    }

    /// Notes the position of a stream.
    fn settle(&mut self, number: u64, is_done: bool, moved: &mut Vec<(Text, Position)>) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        stream.position.is_done = is_done;
        let mut position = stream.position.clone();
        let mut passed = self.known.passed;
        if let Session::File(file) = &stream.session {
            position.bytes = position.bytes.saturating_sub(file.buffered_bytes() as u64);
            // Samples are appended when the file is whole: until then it was not read.
            passed = passed.max(file.latest);
        }
        let kept = Kept {
            identity: stream.identity.clone(),
            topic: stream.topic,
            // What was read to its end needs no more than to be known.
            state: if is_done { Vec::new() } else { stream.session.state() },
            account: stream.account.as_ref().unwrap_or(&self.account).clone(),
        };
        position.session = kept.bytes();
        self.positions.insert(Text::clone(&stream.key), position.clone());
        known::note(moved, Text::clone(&stream.key), position);
        if passed != self.known.passed {
            self.known.passed = passed;
            known::note_input(&self.settings.name, &self.known, moved);
        }
    }

    fn close(
        &mut self,
        number: u64,
        (reason, is_gap): (&str, bool),
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<(), LogError> {
        let Some(stream) = self.streams.get_mut(&number) else { return Ok(()) };
        let is_whole = reason == END;
        let must_close = is_whole || !matches!(stream.session, Session::File(_));
        if must_close {
            let (session, mut step) = stream.step(intake, &mut self.account, now);
            session.close(reason, &mut step)?;
        }
        self.tell_account_of(number, now, intake)?;
        self.settle(number, is_whole, moved);
        let Some(mut stream) = self.streams.remove(&number) else { return Ok(()) };
        if let Session::File(file) = &mut stream.session
            && let Some(words) = file.problem.take()
        {
            tracing::warn!(input = %self.settings.name, file = stream.remote, error = words, "damaged");
            if self.problems.len() < PROBLEMS_MAX {
                self.problems.push(format!("{}: {words}", stream.remote));
            }
        }
        let who = address_of(&stream.remote);
        if is_gap {
            let collector = Some(&self.settings.collector);
            let heard = Heard { source: &self.settings.name, collector, now };
            let is_topic = self.settings.format.is_topic();
            let named = is_topic.then(|| format!("{}: {reason}", stream.remote));
            let reason = named.as_deref().unwrap_or(reason);
            self.gaps.begin(&who, self.heard, reason, &heard, intake)?;
        }
        if let Session::Bmp(session) = stream.session
            && self.away.len() < AWAY_MAX
        {
            self.away.insert(who, session);
        }
        Ok(())
    }
}

/// The positions of one input's streams.
fn positions_under(name: &str, known: &BTreeMap<Text, Position>) -> BTreeMap<Text, Position> {
    let prefix = format!("{name}{BETWEEN}");
    let own = known.iter().filter(|(key, _)| key.starts_with(&prefix));
    own.map(|(key, position)| (Text::clone(key), position.clone())).collect()
}
