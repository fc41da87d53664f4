//! Inputs: who speaks on which stream, how far each source is, and what became of what it said.

use std::collections::{BTreeMap, HashMap};

use schemas::batch::{Account, Control};
use schemas::log::{LogError, Position};
use schemas::tables::Text;
use schemas::time::Timestamp;
use tokio::sync::oneshot;

use super::LiveIntake;
use super::gaps::{Gaps, Heard, tell};
use super::progress::{Passed, Reached, Stall};
use super::settings::{BETWEEN, InputReport, InputSettings, Kept};
use super::stream::{Format, Session, Step, address_of, append};
use crate::samples::SampleSet;
use crate::session::BmpSession;
use crate::source::folder::FileIdentity;
use crate::source::live::{Arrival, Word};

/// Sessions of routers that went away, kept for their return, of one input at most.
const AWAY_MAX: usize = 1_024;
/// What a followed folder says of a file that was read to its end.
const END: &str = "end";

/// Problems of one input told in words.
const PROBLEMS_MAX: usize = 20;

/// All inputs of a run.
pub(super) struct Inputs(Vec<Input>);

/// One input.
pub(super) struct Input {
    settings: InputSettings,
    /// Its number in the log, which stays.
    pub(super) id: u32,
    /// Whether the log knows that number.
    is_known: bool,
    streams: HashMap<u64, Stream>,
    /// BMP sessions of routers that went away.
    away: HashMap<String, Box<BmpSession>>,
    positions: BTreeMap<Text, Position>,
    gaps: Gaps,
    heard: Timestamp,
    /// Event time that a followed folder has passed; none: it is at "now".
    behind: Option<Timestamp>,
    /// Event time that messages of samples have passed.
    passed: Passed,
    stall: Stall,
    /// Who waits until the samples that were taken are durable.
    answers: Vec<(oneshot::Sender<Account>, Account)>,
    account: Account,
    /// What was told of the account already.
    total: Account,
    problems: Vec<String>,
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
    position: Position,
    reached: Reached,
}

impl Inputs {
    pub(super) fn new(settings: Vec<InputSettings>, known: &BTreeMap<Text, Position>) -> Self {
        let mut ids: BTreeMap<String, u32> = BTreeMap::new();
        for (key, position) in known {
            if let Some(name) = key.strip_prefix("input\n") {
                let id = u32::try_from(position.next_offset).unwrap_or(u32::MAX);
                ids.insert(name.to_owned(), id);
            }
        }
        let mut inputs = Vec::new();
        for settings in settings {
            let next = ids.values().max().map_or(1, |id| id.saturating_add(1));
            let is_known = ids.contains_key(&*settings.name);
            let id = *ids.entry(settings.name.to_string()).or_insert(next);
            let prefix = format!("{}{BETWEEN}", settings.name);
            let own = known.iter().filter(|(key, _)| key.starts_with(&prefix));
            let positions =
                own.map(|(key, position)| (Text::clone(key), position.clone())).collect();
            inputs.push(Input { is_known, ..Input::new(settings, id, positions) });
        }
        Self(inputs)
    }

    /// The peers that listeners told of before the restart are stale.
    pub(super) fn stale(
        &mut self,
        now: Timestamp,
        intake: &mut LiveIntake,
    ) -> Result<(), LogError> {
        for input in &self.0 {
            let InputSettings { name, collector, format, .. } = &input.settings;
            let is_listener = matches!(format, Format::Bmp(_) | Format::RisLive);
            if !is_listener || !input.positions.contains_key(&input.key("")) {
                continue;
            }
            intake.batcher.broadcast(now, |_| Control::Stale {
                collector: Text::clone(collector),
                event_time: now,
            })?;
            let heard = Heard { source: name, collector: Some(collector), now };
            let reason = "the service was restarted; what was said meanwhile is not known".into();
            tell((now, Some(now)), &reason, &heard, intake)?;
        }
        Ok(())
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
            Some(input) => input.take(arrival.stream, arrival.word, now, intake, moved),
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
            input.settings.counts.publish(&input.total, &input.account);
            if let Some(until) = input.passed(now, timeout_secs) {
                by_time.entry(until).or_default().push(input.number());
            }
            input.tell_stall(now, timeout_secs, intake)?;
        }
        Ok(by_time)
    }

    /// What was taken is durable: whoever waited for that is told.
    pub(super) fn answer(&mut self) {
        for (answer, account) in self.0.iter_mut().flat_map(|input| input.answers.drain(..)) {
            // Who does not wait any more will send it again.
            let _ = answer.send(account);
        }
    }

    /// Appends what became of what was read since the last time.
    pub(super) fn accounts(
        &mut self,
        now: Timestamp,
        intake: &mut LiveIntake,
    ) -> Result<(), LogError> {
        self.0.iter_mut().try_for_each(|input| input.tell_account(now, intake))
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
            input.behind = None;
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
    fn new(settings: InputSettings, id: u32, positions: BTreeMap<Text, Position>) -> Self {
        Self {
            settings,
            id,
            is_known: false,
            streams: HashMap::new(),
            away: HashMap::new(),
            positions,
            gaps: Gaps::default(),
            heard: Timestamp::MIN,
            behind: None,
            passed: Passed::default(),
            stall: Stall::default(),
            answers: Vec::new(),
            account: Account::default(),
            total: Account::default(),
            problems: Vec::new(),
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
            Word::Bytes(bytes) => {
                self.feed(number, None, &bytes, now, intake, moved)?;
                Ok(bytes.len())
            }
            Word::Message { offset, payload, broker_time } => {
                self.feed(number, Some(offset), &payload, now, intake, moved)?;
                self.reach(number, broker_time.map_or(Reached::Now, Reached::Time));
                Ok(payload.len() + 64)
            }
            Word::Samples { samples, answer } => self.samples(*samples, answer, now, intake, moved),
            Word::CaughtUp => {
                self.behind = None;
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
        let source: Text = if has_positions {
            // A file goes by its name, whatever folder it lies in, as in a replay.
            remote.rsplit('/').next().unwrap_or(&remote).into()
        } else {
            Text::clone(&settings.name)
        };
        let mut position = self.positions.get(&key).cloned().unwrap_or_default();
        let mut kept = postcard::from_bytes::<Kept>(&position.session).ok();
        let file = settings.book.as_ref().and_then(|book| book.take(number));
        if let Some((_, resume)) = &file
            && *resume != position.bytes
        {
            // Another file of that name: it begins anew.
            position = Position { bytes: *resume, ..Position::default() };
            kept = None;
        }
        let collector = settings.collector_of.as_ref().and_then(|named| named(&remote));
        let collector = collector.unwrap_or_else(|| Text::clone(&settings.collector));
        let state = kept.map_or_else(Vec::new, |kept| kept.state);
        let who = address_of(&remote);
        let session = match self.away.remove(&who) {
            Some(session) => Session::Bmp(session),
            None => Session::open(&settings.format, &collector, &remote, &state),
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
        let reached = Reached::Nothing;
        let stream = Stream { session, source, key, remote, identity, position, reached };
        self.streams.insert(number, stream);
        Ok(())
    }

    /// The number of the input becomes part of the log.
    fn know(&mut self, moved: &mut Vec<(Text, Position)>) {
        if !std::mem::replace(&mut self.is_known, true) {
            let id = Position { next_offset: self.id.into(), ..Position::default() };
            moved.push((format!("input\n{}", self.settings.name).into(), id));
        }
    }

    /// Takes matched samples, unless whoever brought them has given up.
    fn samples(
        &mut self,
        samples: SampleSet,
        answer: Option<oneshot::Sender<Account>>,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<usize, LogError> {
        if answer.as_ref().is_some_and(oneshot::Sender::is_closed) {
            return Ok(64);
        }
        self.know(moved);
        let bytes = samples.rows.len() * 16 + 64;
        let account = append(samples, self.id, now, intake)?;
        self.account.take(&account);
        self.answers.extend(answer.map(|answer| (answer, account)));
        Ok(bytes)
    }

    /// Event time that the input has passed, if it is known.
    fn passed(&mut self, now: Timestamp, timeout_secs: i64) -> Option<Timestamp> {
        if matches!(self.settings.format, Format::RttMessages) {
            let streams = self.streams.values().map(|stream| stream.reached);
            self.passed.at(streams, now, timeout_secs)
        } else {
            Some(self.behind.map_or(now, |behind| behind.min(now)))
        }
    }

    /// A gap begins where the input makes no progress for too long, and ends with the next one.
    fn tell_stall(
        &mut self,
        now: Timestamp,
        timeout_secs: i64,
        intake: &mut LiveIntake,
    ) -> Result<(), LogError> {
        let reached = match self.settings.format {
            Format::RttMessages => self.passed.reached(),
            _ => Some(self.behind.map_or(now, |behind| behind.min(now))),
        };
        let heard = Heard { source: &self.settings.name, collector: None, now };
        self.stall.tell(reached, timeout_secs, &heard, &mut self.gaps, intake)
    }

    fn reach(&mut self, number: u64, reached: Reached) {
        if let Some(stream) = self.streams.get_mut(&number) {
            stream.reached = reached;
        }
    }

    fn feed(
        &mut self,
        number: u64,
        offset: Option<u64>,
        bytes: &[u8],
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<(), LogError> {
        let Some(stream) = self.streams.get_mut(&number) else { return Ok(()) };
        if matches!(stream.session, Session::Bmp(_) | Session::RisLive(_)) {
            // One counter for all sessions of a listener.
            stream.position.next_offset =
                self.positions.get(&stream.key).map_or(0, |position| position.next_offset);
        }
        let mut step = Step {
            intake,
            account: &mut self.account,
            source: &stream.source,
            input: self.id,
            next_offset: &mut stream.position.next_offset,
            now,
        };
        let fed = match (offset, &stream.session) {
            (Some(_), Session::RisLive(_)) => {
                let own = *step.next_offset;
                stream.session.message(own, bytes, &mut step)?
            }
            (Some(offset), _) => stream.session.message(offset, bytes, &mut step)?,
            (None, _) => stream.session.feed(bytes, &mut step)?,
        };
        stream.position.bytes += bytes.len() as u64;
        if let Err(words) = fed {
            let remote = &stream.remote;
            tracing::warn!(input = %self.settings.name, %remote, error = %words, "refused");
            if self.problems.len() < PROBLEMS_MAX {
                self.problems.push(format!("{remote}: {words}"));
            }
        }
        self.settle(number, false, moved);
        Ok(())
    }

    /// Notes the position of a stream.
    fn settle(&mut self, number: u64, is_done: bool, moved: &mut Vec<(Text, Position)>) {
        let Some(stream) = self.streams.get_mut(&number) else { return };
        stream.position.is_done = is_done;
        let mut position = stream.position.clone();
        if let Session::File(file) = &stream.session {
            position.bytes = position.bytes.saturating_sub(file.buffered_bytes() as u64);
            // Samples are appended when the file is whole: until then it was not read.
            self.behind = self.behind.max(file.latest);
        }
        let kept = Kept { identity: stream.identity.clone(), state: stream.session.state() };
        if kept.identity.is_some() || !kept.state.is_empty() {
            position.session = postcard::to_stdvec(&kept).unwrap_or_default();
        }
        self.positions.insert(Text::clone(&stream.key), position.clone());
        match moved.iter_mut().find(|(key, _)| *key == stream.key) {
            Some((_, there)) => *there = position,
            None => moved.push((Text::clone(&stream.key), position)),
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
            let mut step = Step {
                intake,
                account: &mut self.account,
                source: &stream.source,
                input: self.id,
                next_offset: &mut stream.position.next_offset,
                now,
            };
            stream.session.close(reason, &mut step)?;
        }
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
            self.gaps.begin(&who, self.heard, reason, &heard, intake)?;
        }
        if let Session::Bmp(session) = stream.session
            && self.away.len() < AWAY_MAX
        {
            self.away.insert(who, session);
        }
        Ok(())
    }

    fn tell_account(&mut self, now: Timestamp, intake: &mut LiveIntake) -> Result<(), LogError> {
        if self.account.read == 0 {
            return Ok(());
        }
        let mut account = std::mem::take(&mut self.account);
        let total = &mut self.total;
        total.take(&account);
        account.first_offset = total.read - account.read;
        account.last_offset = total.read.saturating_sub(1);
        account.reasons.sort();
        let name = &self.settings.name;
        intake.batcher.append(0, now, |place| {
            let source = place.source(name);
            place.control(Control::Ledger { source, account: account.clone(), event_time: now })
        })
    }
}
