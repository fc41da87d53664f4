//! Inputs of one process among others: they are given and taken, and have numbers made of names.

use std::collections::{BTreeMap, BTreeSet};

use schemas::log::{LogError, Position};
use schemas::tables::Text;
use schemas::time::Timestamp;

use super::{Input, Inputs, Stream, positions_under};
use crate::live::LiveIntake;
use crate::live::known::{self, Known};
use crate::live::settings::{BETWEEN, InputSettings};
use crate::live::stream::Format;
use crate::log::kafka::shares::stable_hash;

impl Inputs {
    /// Numbers are made of names, and nothing but listeners is ours before it is given.
    pub(super) fn among(
        settings: Vec<InputSettings>,
        positions: &BTreeMap<Text, Position>,
        followed: &BTreeMap<String, u64>,
    ) -> Self {
        let mut inputs: Vec<Input> =
            settings.into_iter().map(|settings| input_among(settings, positions)).collect();
        inputs.iter_mut().for_each(|input| input.count_followed(followed));
        Self(inputs)
    }

    /// These are ours now, and these are the positions of their streams.
    pub(in crate::live) fn give(
        &mut self,
        inputs: &[Text],
        positions: BTreeMap<Text, Position>,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<(), LogError> {
        let known = known::inputs(&positions);
        let (prefixes, followed) = known::followed(&positions);
        intake.interest().follow(prefixes);
        for input in &mut self.0 {
            input.count_followed(&followed);
            if inputs.contains(&input.settings.name) {
                let name = &*input.settings.name;
                input.known.passed = known.get(name).and_then(|known| known.passed);
            }
        }
        let given: BTreeSet<Text> = positions.keys().cloned().collect();
        for (key, position) in positions {
            let owner = self.0.iter_mut().find(|input| input.owns(&key));
            if let Some(input) = owner {
                input.positions.insert(key, position);
            }
        }
        for input in self.0.iter_mut().filter(|input| inputs.contains(&input.settings.name)) {
            input.is_ours = true;
            input.stale(now, intake)?;
        }
        let given = |key: &Text| given.contains(key);
        self.0.iter_mut().try_for_each(|input| input.tell_left_accounts(&given, now, intake, moved))
    }

    /// Notes where these streams are, and what became of what they said; they are another's soon.
    pub(in crate::live) fn hand_over(
        &mut self,
        keys: &dyn Fn(&str) -> bool,
        now: Timestamp,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) -> Result<(), LogError> {
        for input in &mut self.0 {
            let going = |(number, stream): (&u64, &Stream)| keys(&stream.key).then_some(*number);
            let going: Vec<u64> = input.streams.iter().filter_map(going).collect();
            input.tell_accounts(now, intake, moved)?;
            for number in going {
                input.settle(number, false, moved);
                input.streams.remove(&number);
            }
        }
        Ok(())
    }

    /// These are another's.
    pub(in crate::live) fn take_away(&mut self, inputs: &[Text], keys: &dyn Fn(&str) -> bool) {
        for input in &mut self.0 {
            input.positions.retain(|key, _| !keys(key));
            input.followed.retain(|key, _| !keys(&known::followed_key(key, 0)));
            input.is_ours &= !inputs.contains(&input.settings.name);
        }
    }
}

impl Input {
    /// What was followed before for its sake is counted on.
    fn count_followed(&mut self, followed: &BTreeMap<String, u64>) {
        for (key, count) in followed {
            if self.owns(key) {
                self.followed.insert(key.clone(), *count);
            }
        }
    }

    /// Under which key is kept what a stream makes us follow: that of the stream, where it may become
    /// another's, else the name of the input.
    pub(super) fn followed_under(&self, number: u64) -> Option<Text> {
        match self.is_among {
            true => self.streams.get(&number).map(|stream| Text::clone(&stream.key)),
            false => Some(Text::clone(&self.settings.name)),
        }
    }

    /// What it made us follow becomes part of the log, so that the end of a leak is heard whatever
    /// happens to us.
    pub(super) fn note_followed(
        &mut self,
        key: Option<Text>,
        number: u64,
        intake: &mut LiveIntake,
        moved: &mut Vec<(Text, Position)>,
    ) {
        let news = intake.interest().take_news();
        if news.is_empty() {
            return;
        }
        let Some(key) = key.or_else(|| self.followed_under(number)) else { return };
        let count = self.followed.entry(key.to_string()).or_default();
        known::note_followed(&key, *count, &news, moved);
        *count += news.len() as u64;
    }

    /// Whether a key is of one of its streams.
    fn owns(&self, key: &str) -> bool {
        key.strip_prefix(&*self.settings.name).is_some_and(|rest| rest.starts_with(BETWEEN))
    }
}

/// An input of a log that has other writers too.
fn input_among(settings: InputSettings, positions: &BTreeMap<Text, Position>) -> Input {
    let by_stream = matches!(settings.format, Format::RttMessages);
    let is_ours = settings.format.is_topic() || settings.belongs_to_process;
    let known = Known { id: number_of(&settings.name), passed: None };
    let own = positions_under(&settings.name, positions);
    let input = Input::new(settings, known, own);
    Input { is_known: true, is_among: true, is_ours, by_stream, ..input }
}

/// The number that a name has in every process.
pub(super) fn number_of(name: &str) -> u32 {
    u32::try_from(stable_hash(name) >> 32).unwrap_or(u32::MAX)
}
