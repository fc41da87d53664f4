//! Latency gauges: closed windows in, the quantiles of the newest one of each connection out.
//!
//! A window of a connection is all its rows of one minute: prefixes and sources. Their histograms are
//! merged, so a quantile is nearest rank over all samples, within the width of a bucket; where there is
//! one row only, its own exact percentiles are shown. Statistics other than single probes are left out:
//! they are never mixed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use analytics::fold::Watch;
use schemas::sample::Statistic;
use schemas::tables::{LatencyRow, Text};
use schemas::time::{MICROS_PER_SEC, Timestamp};

use super::Values;

/// What is shown; the same as the columns of `latency`.
const QUANTILES: [(&str, f64); 4] = [("0.5", 0.5), ("0.9", 0.9), ("0.95", 0.95), ("0.99", 0.99)];
/// A window that ended longer ago than this is not shown.
const AGE_SECS_MAX: i64 = 600;

/// The newest windows.
#[derive(Debug, Default)]
pub struct LatencyGauges {
    connections: Mutex<BTreeMap<Text, Newest>>,
    connections_max: AtomicUsize,
}

/// The newest window of a connection.
#[derive(Clone, Debug)]
struct Newest {
    tenant: Text,
    start: Timestamp,
    end: Timestamp,
    answered: u64,
    lost: u64,
    /// Percentiles of its only row.
    exact: Option<[Option<u32>; 4]>,
    histogram: BTreeMap<u32, u64>,
}

impl Watch for LatencyGauges {
    fn closed(&self, rows: &[LatencyRow]) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        for row in rows.iter().filter(|row| row.statistic == Statistic::Sample.as_str()) {
            match connections.get_mut(&row.connection) {
                Some(newest) if newest.start > row.window_start => {}
                Some(newest) if newest.start == row.window_start => newest.add(row),
                Some(newest) => *newest = Newest::of(row),
                None => {
                    connections.insert(row.connection.clone(), Newest::of(row));
                }
            }
        }
    }
}

impl LatencyGauges {
    /// Shows so many connections at most.
    pub fn limit(&self, connections_max: usize) {
        self.connections_max.store(connections_max, Ordering::Relaxed);
    }

    /// Values of one metric at a time. With a tenant, those of its connections.
    pub(super) fn values(&self, metric: &str, tenant: Option<&str>, now: Timestamp) -> Values {
        let connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let is_shown = |newest: &Newest| {
            now.secs_since(newest.end) <= AGE_SECS_MAX
                && tenant.is_none_or(|tenant| *newest.tenant == *tenant)
        };
        let fresh = connections.iter().filter(|(_, newest)| is_shown(newest));
        let max = self.connections_max.load(Ordering::Relaxed);
        if metric == "peerscope_rtt_connections_omitted" {
            return vec![(Vec::new(), fresh.count().saturating_sub(max) as f64)];
        }
        fresh.take(max).flat_map(|(name, newest)| newest.values(metric, name)).collect()
    }
}

impl Newest {
    fn of(row: &LatencyRow) -> Self {
        let mut newest = Self {
            tenant: row.tenant.clone(),
            start: row.window_start,
            end: row.window_start.plus_secs(row.window_secs.into()),
            answered: 0,
            lost: 0,
            exact: None,
            histogram: BTreeMap::new(),
        };
        newest.add(row);
        newest
    }

    fn add(&mut self, row: &LatencyRow) {
        // A row without an answer changes no percentile.
        if row.samples > 0 {
            let is_first = self.answered == 0;
            let percentiles = [row.rtt_p50_us, row.rtt_p90_us, row.rtt_p95_us, row.rtt_p99_us];
            self.exact = is_first.then_some(percentiles);
        }
        self.answered += u64::from(row.samples);
        self.lost += u64::from(row.lost);
        for (bucket, count) in row.hist_bucket.iter().zip(&row.hist_count) {
            *self.histogram.entry(*bucket).or_default() += u64::from(*count);
        }
    }

    fn values(&self, metric: &str, name: &Text) -> Values {
        let name = name.to_string();
        match metric {
            "peerscope_rtt_seconds" => {
                let quantiles = self.quantiles().into_iter();
                quantiles
                    .map(|(quantile, us)| (vec![name.clone(), quantile.to_owned()], secs(us)))
                    .collect()
            }
            "peerscope_rtt_samples" => vec![
                (vec![name.clone(), "answered".to_owned()], self.answered as f64),
                (vec![name, "lost".to_owned()], self.lost as f64),
            ],
            "peerscope_rtt_window_end_timestamp_seconds" => {
                vec![(vec![name], self.end.secs() as f64)]
            }
            _ => Values::new(),
        }
    }

    /// Quantiles with their values; none without an answer.
    fn quantiles(&self) -> Vec<(&'static str, u32)> {
        let names = QUANTILES.iter().map(|(name, _)| *name);
        let values: Vec<Option<u32>> = match self.exact {
            Some(exact) => exact.to_vec(),
            None => QUANTILES.iter().map(|(_, q)| self.nearest_rank(*q)).collect(),
        };
        names.zip(values).filter_map(|(name, us)| Some((name, us?))).collect()
    }

    fn nearest_rank(&self, quantile: f64) -> Option<u32> {
        let total: u64 = self.histogram.values().sum();
        let rank = (quantile * total as f64).ceil().max(1.0);
        let mut seen = 0;
        let mut buckets = self.histogram.iter();
        let bucket = buckets.find(|(_, count)| {
            seen += **count;
            seen as f64 >= rank
        });
        bucket.map(|(bucket, _)| *bucket)
    }
}

fn secs(us: u32) -> f64 {
    f64::from(us) / MICROS_PER_SEC as f64
}

#[cfg(test)]
mod tests {
    use schemas::tables::LatencySeries;
    use schemas::time::TimeWindow;

    use super::*;

    /// A window of a connection at this minute: samples of one millisecond each step from 1 ms.
    fn row(connection: &str, tenant: &str, minute: i64, samples: u32) -> LatencyRow {
        let all: Vec<u32> = (1..=samples).map(|ms| ms * 1_000).collect();
        let at = |q: f64| {
            let rank = (q * f64::from(samples)).ceil() as usize;
            all.get(rank.saturating_sub(1)).copied()
        };
        let series = LatencySeries {
            tenant: tenant.into(),
            connection: connection.into(),
            prefix: "192.0.2.0/24".parse().unwrap(),
            source: "p".into(),
        };
        let window = TimeWindow::containing(Timestamp::from_secs(minute * 60), 60);
        LatencyRow {
            samples,
            lost: 1,
            rtt_min_us: at(0.0),
            rtt_p50_us: at(0.5),
            rtt_p90_us: at(0.9),
            rtt_p95_us: at(0.95),
            rtt_p99_us: at(0.99),
            rtt_max_us: at(1.0),
            quality: "ok",
            hist_count: vec![1; all.len()],
            hist_bucket: all,
            ..LatencyRow::silent(window, series)
        }
    }

    fn shown(gauges: &LatencyGauges, tenant: Option<&str>, minute: i64) -> Vec<(String, f64)> {
        let values =
            gauges.values("peerscope_rtt_seconds", tenant, Timestamp::from_secs(minute * 60));
        values.into_iter().map(|(labels, value)| (labels.join(" "), value)).collect()
    }

    #[test]
    fn the_newest_window_is_shown_until_it_is_old() {
        let gauges = LatencyGauges::default();
        gauges.limit(10);
        gauges.closed(&[row("a", "contoso", 9, 100), row("a", "contoso", 8, 4)]);
        let quantiles = |ms: [f64; 4]| -> Vec<(String, f64)> {
            let names = QUANTILES.iter().map(|(name, _)| format!("a {name}"));
            names.zip(ms.map(|ms| ms / 1_000.0)).collect()
        };
        assert_eq!(shown(&gauges, None, 10), quantiles([50.0, 90.0, 95.0, 99.0]));
        gauges.closed(&[row("a", "contoso", 10, 1), row("a", "contoso", 10, 3)]);
        assert_eq!(shown(&gauges, None, 11), quantiles([1.0, 3.0, 3.0, 3.0]), "merged");
        assert!(shown(&gauges, None, 22).is_empty(), "old");
        gauges.closed(&[row("a", "contoso", 11, 0)]);
        assert!(shown(&gauges, None, 12).is_empty(), "silence has no percentile");
    }

    #[test]
    fn a_tenant_sees_its_own_and_the_number_is_bounded() {
        let gauges = LatencyGauges::default();
        gauges.limit(2);
        let rows = ["a", "b", "c"].map(|name| row(name, if name == "b" { "x" } else { "y" }, 9, 1));
        gauges.closed(&rows);
        assert_eq!(shown(&gauges, None, 10).len(), 8);
        assert_eq!(shown(&gauges, Some("x"), 10).len(), 4);
        let now = Timestamp::from_secs(600);
        let omitted = gauges.values("peerscope_rtt_connections_omitted", None, now);
        assert_eq!(omitted, [(Vec::new(), 1.0)]);
    }
}
