//! Tallies: which series were slow in one minute in, whose fault it is out.
//!
//! The order is that of BlameIt (Jin et al., SIGCOMM 2019): four fifths of an edge's series are
//! slow, then it is the edge; else four fifths of a path's, then the route; else the client. Fewer than
//! five series say nothing. A route change of one's own at the beginning is the route; where all series of
//! one partner and no others are slow it is the partner.

use std::collections::BTreeMap;

use schemas::bgp::Asn;
use schemas::finding::{Blame, RouteCost};
use schemas::tables::Text;
use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Series that a share is taken of, at least.
const SERIES_MIN: u32 = 5;
/// Minutes that are remembered.
const MINUTES_MAX: usize = 64;

/// What a series shares with others.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    pub(crate) edge: Option<Text>,
    pub(crate) path: Option<Text>,
    pub(crate) partner: Option<Asn>,
}

impl Series {
    /// Says where a cost was seen.
    pub(crate) fn put_into(&self, cost: Option<&mut RouteCost>) {
        let Some(cost) = cost else { return };
        cost.edge.clone_from(&self.edge);
        cost.path.clone_from(&self.path);
        cost.partner = self.partner;
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Shared {
    All,
    Edge(Text),
    Path(Text),
    Partner(Asn),
}

/// Series, and how many of them were slow.
type Count = (u32, u32);

/// One minute, as one shard saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Its start.
    minute: Timestamp,
    /// Log time at which it was known.
    pub(crate) log_time: Timestamp,
    counts: BTreeMap<Shared, Count>,
}

impl Tally {
    pub(crate) const fn new(minute: Timestamp, log_time: Timestamp) -> Self {
        Self { minute, log_time, counts: BTreeMap::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    pub(crate) fn count(&mut self, series: &Series, is_slow: bool) {
        let Series { edge, path, partner } = series;
        let shared = [
            Some(Shared::All),
            edge.clone().map(Shared::Edge),
            path.clone().map(Shared::Path),
            partner.map(Shared::Partner),
        ];
        for shared in shared.into_iter().flatten() {
            let (series, slow) = self.counts.entry(shared).or_default();
            *series += 1;
            *slow += u32::from(is_slow);
        }
    }
}

/// The last minutes, as all shards saw them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tallies {
    by_minute: BTreeMap<Timestamp, BTreeMap<Shared, Count>>,
}

impl Tallies {
    /// Adds what one shard saw.
    pub(crate) fn add(&mut self, tally: Tally) {
        let all = self.by_minute.entry(tally.minute).or_default();
        for (shared, (series, slow)) in tally.counts {
            let count = all.entry(shared).or_default();
            *count = (count.0 + series, count.1 + slow);
        }
        while self.by_minute.len() > MINUTES_MAX {
            self.by_minute.pop_first();
        }
    }

    /// Whose fault a cost is; none where there is none.
    pub(crate) fn blame(&self, cost: &RouteCost) -> Option<Blame> {
        if !cost.is_slower {
            return None;
        }
        let none = BTreeMap::new();
        let minute = self.by_minute.get(&cost.minute).unwrap_or(&none);
        let of = |shared: Option<Shared>| -> Count {
            shared.and_then(|shared| minute.get(&shared)).copied().unwrap_or_default()
        };
        let most = |(series, slow): Count| series >= SERIES_MIN && slow * 5 >= series * 4;
        let edge = of(cost.edge.clone().map(Shared::Edge));
        let path = of(cost.path.clone().map(Shared::Path));
        let partner = of(cost.partner.map(Shared::Partner));
        let (_, slow) = of(Some(Shared::All));
        Some(if most(edge) {
            Blame::Edge
        } else if cost.is_own_route || most(path) {
            Blame::Route
        } else if partner.0 > 1 && partner.0 == partner.1 && partner.1 == slow {
            Blame::Partner
        } else if edge.0.max(path.0) >= SERIES_MIN {
            Blame::Client
        } else {
            Blame::Unknown
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(edge: &str, path: &str, partner: u32) -> Series {
        let partner = Some(Asn(partner));
        Series { edge: Some(edge.into()), path: Some(path.into()), partner }
    }

    fn blame(all: &[(Series, bool)], is_own_route: bool) -> Blame {
        let minute = Timestamp::from_secs(60);
        let mut tallies = Tallies::default();
        // Two shards saw a part each.
        for part in [0, 1] {
            let mut tally = Tally::new(minute, minute);
            let mine = all.iter().enumerate().filter(|(i, _)| i % 2 == part);
            mine.for_each(|(_, (series, is_slow))| tally.count(series, *is_slow));
            tallies.add(tally);
        }
        let mut cost = RouteCost {
            before_p50_us: 1,
            after_p50_us: 2,
            before_p95_us: 1,
            after_p95_us: 2,
            shift_low_us: 1,
            shift_high_us: 1,
            samples: 1,
            is_slower: true,
            minute,
            edge: None,
            path: None,
            partner: None,
            is_own_route,
        };
        all[0].0.put_into(Some(&mut cost));
        let blame = tallies.blame(&cost).unwrap();
        cost.is_slower = false;
        assert_eq!(tallies.blame(&cost), None, "nobody is to blame for nothing");
        blame
    }

    #[test]
    fn four_fifths_of_an_edge_are_the_edge_and_of_a_path_the_route() {
        let of = |slow: usize, edge: &str, path: &str| -> Vec<(Series, bool)> {
            (0..10).map(|i| (series(edge, path, 64_500 + i as u32), i < slow)).collect()
        };
        assert_eq!(blame(&of(8, "sea01", "1 2"), true), Blame::Edge, "before all else");
        assert_eq!(blame(&of(7, "sea01", "1 2"), true), Blame::Route, "its own route changed");
        assert_eq!(blame(&of(7, "sea01", "1 2"), false), Blame::Client);
        // The path crosses edges: at each of them most are well.
        let mut two = of(9, "sea01", "1 2");
        two.extend((0..10).map(|_| (series("sea01", "3 4", 64_600), false)));
        assert_eq!(blame(&two, false), Blame::Route);
    }

    #[test]
    fn few_series_say_nothing_unless_they_are_all_of_one_partner() {
        let four: Vec<_> = (0..4).map(|i| (series("sea01", "1 2", 64_500), i < 1)).collect();
        assert_eq!(blame(&four, false), Blame::Unknown);
        let mut mixed: Vec<_> =
            (0..3).map(|i| (series(&format!("e{i}"), "1", 64_500), true)).collect();
        mixed.push((series("e9", "1", 64_501), false));
        assert_eq!(blame(&mixed, false), Blame::Partner);
        mixed.push((series("e9", "2", 64_501), true));
        assert_eq!(blame(&mixed, false), Blame::Unknown, "others are slow too");
    }

    #[test]
    fn minutes_are_bounded() {
        let mut tallies = Tallies::default();
        for minute in 0..200 {
            tallies.add(Tally::new(Timestamp::from_secs(60 * minute), Timestamp::MIN));
        }
        assert_eq!(tallies.by_minute.len(), MINUTES_MAX);
    }
}
