//! A running service: a transition is numbered as it comes, so that a shard that lags delays nobody
//! else. Blame and group need what all shards told: they follow as an `updated` row when the marks of
//! all shards have passed.

use std::collections::HashMap;
use std::sync::Arc;

use schemas::finding::{Phase, Transition};
use schemas::tables::{FindingRow, Text};
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Correlate, finding_row, row};
use crate::state::sorted;

/// What was told before it passed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Live {
    /// The last row of each finding that is open, or of which a transition has not passed yet.
    #[serde(with = "sorted")]
    latest: HashMap<Text, Latest>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Latest {
    #[serde(with = "row::one")]
    row: FindingRow,
    /// Transitions of it that have not passed.
    waiting: u32,
}

impl Correlate {
    /// A fold that numbers what comes as it comes.
    #[must_use]
    pub fn live(partitions: u32) -> Self {
        Self { live: Some(Live::default()), ..Self::new(partitions) }
    }

    /// A transition came: it is told with the group and the blame that its finding has by now.
    pub(super) fn arrive(&mut self, transition: &Transition, config_hash: &Text) {
        let Some(live) = &mut self.live else { return };
        let id: Text = transition.finding.id.to_string().into();
        let mut row = finding_row(transition, &id, config_hash);
        let latest = live.latest.remove(&id);
        if let Some(Latest { row: before, .. }) = &latest {
            row.group_id.clone_from(&before.group_id);
            row.group_size = before.group_size;
            row.blame.clone_from(&before.blame);
        }
        let waiting = latest.map_or(0, |latest| latest.waiting) + 1;
        live.latest.insert(id, Latest { row: row.clone(), waiting });
        self.tell(transition, row);
    }

    /// A transition passed: what that adds to its finding, and to others of its group, is told.
    pub(super) fn follow(&mut self, transition: &Transition, config_hash: &Text) {
        let id: Text = transition.finding.id.to_string().into();
        let mut row = finding_row(transition, &id, config_hash);
        row.blame = self.blame(transition).map(|blame| blame.as_str().into());
        let further = self.groups.take(&mut row, transition.finding.rule);
        self.add(&row, transition.log_time);
        for mut row in further {
            // It stood aside: only its group is news.
            row.blame = None;
            self.add(&row, transition.log_time);
        }
        let Some(live) = &mut self.live else { return };
        if let Some(latest) = live.latest.get_mut(&id) {
            latest.waiting = latest.waiting.saturating_sub(1);
            if latest.waiting == 0 && latest.row.closed_at.is_some() {
                live.latest.remove(&id);
            }
        }
    }

    /// Tells the last row of a finding again if group or blame are news.
    fn add(&mut self, news: &FindingRow, log_time: Timestamp) {
        let Some(latest) =
            self.live.as_mut().and_then(|live| live.latest.get_mut(&news.finding_id))
        else {
            return;
        };
        let row = &mut latest.row;
        let is_grouped = news.group_id.is_some()
            && (&news.group_id, news.group_size) != (&row.group_id, row.group_size);
        let is_blamed = news.blame.is_some() && news.blame != row.blame;
        if !is_grouped && !is_blamed {
            return;
        }
        if is_grouped {
            row.group_id.clone_from(&news.group_id);
            row.group_size = news.group_size;
        }
        if is_blamed {
            row.blame.clone_from(&news.blame);
        }
        let told = FindingRow {
            time: row.time.max(news.time),
            phase: Phase::Updated.as_str(),
            azure_event: None,
            finding_id: Arc::clone(&row.finding_id),
            ..row.clone()
        };
        self.push(log_time, told, Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use super::super::groups::tests::opened;
    use super::super::{Numbered, Summary};
    use super::*;

    fn tell(correlate: &mut Correlate, shard: u32, transition: Transition) {
        correlate.apply(shard, Summary::Transition(Box::new(transition), "x".into()));
    }

    fn pass(correlate: &mut Correlate, shard: u32, secs: i64) {
        correlate.apply(shard, Summary::Mark(Timestamp::from_secs(secs)));
    }

    /// First digits, number and phase of what was told, and whether it is in a group.
    fn told(correlate: &mut Correlate) -> Vec<(String, u32, &'static str, bool)> {
        let rows = correlate.numbered.drain(..);
        rows.map(|Numbered { finding: row, .. }| {
            (row.finding_id[..4].to_owned(), row.sequence, row.phase, row.group_id.is_some())
        })
        .collect()
    }

    /// A shard that has not passed holds up the group and nothing else.
    #[test]
    fn an_opening_is_told_at_once_and_its_group_when_all_have_passed() {
        let mut correlate = Correlate::live(2);
        for number in 1..=3 {
            tell(&mut correlate, 0, opened(number, i64::from(number)));
            let row = (format!("{number:04x}"), 1, "opened", false);
            assert_eq!(told(&mut correlate), [row]);
        }
        pass(&mut correlate, 0, 60);
        assert_eq!(told(&mut correlate), [], "the other shard may know more");
        pass(&mut correlate, 1, 60);
        let grouped = |number: u16| (format!("{number:04x}"), 2, "updated", true);
        assert_eq!(told(&mut correlate), [1, 2, 3].map(grouped));
        pass(&mut correlate, 0, 120);
        pass(&mut correlate, 1, 120);
        assert_eq!(told(&mut correlate), [], "nothing is told twice");
    }

    #[test]
    fn what_ended_before_its_group_was_known_stays_over() {
        let mut correlate = Correlate::live(1);
        (1..=3).for_each(|number| tell(&mut correlate, 0, opened(number, 1)));
        let over = Transition {
            phase: Phase::Resolved,
            log_time: Timestamp::from_secs(9),
            ..opened(2, 1)
        };
        let mut over = Transition { time: Timestamp::from_secs(9), ..over };
        over.finding.closed_at = Some(over.time);
        tell(&mut correlate, 0, over);
        pass(&mut correlate, 0, 60);
        let last =
            correlate.numbered.iter().rev().find(|row| row.finding.finding_id.starts_with("0002"));
        let last = &last.unwrap().finding;
        assert_eq!((last.phase, last.sequence), ("updated", 3));
        assert!(last.group_id.is_some() && last.closed_at.is_some());
        assert_eq!(correlate.live.unwrap().latest.len(), 2, "what is over is forgotten");
    }
}
