//! Accounts: what became of what was read, told as rows of `ledger`.
//!
//! What is not told yet lies beside the position that it led to, and becomes durable with it: a process
//! that is killed leaves it to whoever goes on there.

use schemas::batch::{Account, Control};
use schemas::log::{LogError, Position};
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::super::LiveIntake;
use super::super::known;
use super::super::settings::{BETWEEN, Kept};
use super::super::stream::Format;
use super::{Input, Inputs};

impl Inputs {
    /// Appends what became of what was read since the last time.
    pub(in super::super) fn accounts(
        &mut self,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<(), LogError> {
        self.0.iter_mut().try_for_each(|input| input.tell_accounts(now, intake, moved))
    }

    /// Appends what was counted before a restart and not told.
    pub(in super::super) fn left_accounts(
        &mut self,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<(), LogError> {
        let all = |_: &Text| true;
        self.0.iter_mut().try_for_each(|input| input.tell_left_accounts(&all, now, intake, moved))
    }
}

impl Input {
    /// What became of what was read and is not told yet.
    pub(super) fn untold(&self) -> Account {
        let mut untold = self.account.clone();
        let accounts = self.streams.values().filter_map(|stream| stream.account.as_ref());
        accounts.for_each(|account| untold.take(account));
        untold
    }

    /// Counts what came without a stream; how much that was so far is its position.
    pub(super) fn count(&mut self, more: &Account, moved: &mut Vec<(Text, Position)>) {
        let key = self.key("");
        let mut position = self.positions.get(&key).cloned().unwrap_or_default();
        if self.account.read == 0 {
            self.account.first_offset = position.next_offset;
        }
        position.next_offset += more.read;
        self.account.take(more);
        self.keep_account(key, position, moved);
    }

    /// Tells all accounts.
    pub(super) fn tell_accounts(
        &mut self,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<(), LogError> {
        let has_news = |account: &Option<Account>| account.as_ref().is_some_and(|a| a.read > 0);
        let streams = self.streams.iter().filter(|(_, stream)| has_news(&stream.account));
        let mut numbers: Vec<u64> = streams.map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        for number in numbers {
            self.tell_account_of(number, now, intake)?;
            self.settle(number, false, moved);
        }
        if self.account.read > 0 {
            let account = std::mem::take(&mut self.account);
            let key = self.key("");
            let position = self.positions.get(&key).cloned().unwrap_or_default();
            self.total.take(&account);
            let name = &self.settings.name;
            append(name, account, position.next_offset, now, intake)?;
            self.keep_account(key, position, moved);
        }
        Ok(())
    }

    /// Tells the account of a stream, if it has one of its own; its position is to be noted next.
    pub(super) fn tell_account_of(
        &mut self,
        number: u64,
        now: Timestamp,
        intake: &mut LiveIntake,
    ) -> Result<(), LogError> {
        let Some(stream) = self.streams.get_mut(&number) else { return Ok(()) };
        let account = stream.account.as_mut().filter(|account| account.read > 0);
        let Some(mut account) = account.map(std::mem::take) else { return Ok(()) };
        self.total.take(&account);
        account.partition = partition_of(&self.settings.format, &stream.remote);
        append(&stream.source, account, stream.position.next_offset, now, intake)
    }

    /// Tells what lies beside these positions: nobody lives any more who would.
    pub(super) fn tell_left_accounts(
        &mut self,
        keys: &dyn Fn(&Text) -> bool,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<(), LogError> {
        for (key, position) in self.positions.iter_mut().filter(|(key, _)| keys(key)) {
            let mut kept = Kept::of(position);
            if kept.account.read == 0 {
                continue;
            }
            let mut account = std::mem::take(&mut kept.account);
            let stream = key.split_once(BETWEEN).map_or("", |(_, stream)| stream);
            account.partition = partition_of(&self.settings.format, stream);
            let source = match stream {
                "" => Text::clone(&self.settings.name),
                stream => source_of(stream),
            };
            append(&source, account, position.next_offset, now, intake)?;
            position.session = kept.bytes();
            known::note(moved, Text::clone(key), position.clone());
        }
        Ok(())
    }

    /// Notes a position of what has no streams, or shares one among them, with what is not told yet.
    fn keep_account(
        &mut self,
        key: Text,
        mut position: Position,
        moved: &mut Vec<(Text, Position)>,
    ) {
        position.session = Kept { account: self.account.clone(), ..Kept::default() }.bytes();
        self.positions.insert(Text::clone(&key), position.clone());
        known::note(moved, key, position);
    }
}

/// What rows call a stream: a file goes by its name, whatever folder it lies in, as in a replay.
pub(super) fn source_of(stream: &str) -> Text {
    stream.rsplit('/').next().unwrap_or(stream).into()
}

/// Partition of a topic, out of `topic-partition`.
fn partition_of(format: &Format, stream: &str) -> u32 {
    let partition = stream.rsplit_once('-').filter(|_| format.is_topic());
    partition.and_then(|(_, number)| number.parse().ok()).unwrap_or_default()
}

fn append(
    source: &Text,
    mut account: Account,
    next_offset: u64,
    now: Timestamp,
    intake: &mut LiveIntake,
) -> Result<(), LogError> {
    account.last_offset = next_offset.saturating_sub(1).max(account.first_offset);
    account.reasons.sort();
    intake.batcher.append(0, now, |place| {
        let source = place.source(source);
        place.control(Control::Ledger { source, account: account.clone(), event_time: now })
    })
}
