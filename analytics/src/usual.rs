//! What is usual: the baselines of a shard, asked and taught by its closed windows.

use schemas::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::latency::baseline::{Baselines, Expected, SeriesName};
use crate::latency::window::{LatencyOptions, LatencyWindow, WINDOW_SECS};
use crate::rows::ConnectionTexts;

/// Baselines by names: they outlive a version of the registry, whose numbers do not.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Usual {
    baselines: Baselines,
    /// Refusals that were told.
    told: u64,
}

impl Usual {
    pub(crate) fn new(options: &LatencyOptions) -> Self {
        Self { baselines: Baselines::new(options.series_max as usize), told: 0 }
    }

    pub(crate) const fn configure(&mut self, options: &LatencyOptions) {
        self.baselines.limit(options.series_max as usize);
    }

    /// What is usual for a window; a minute that is told for the first time is learnt, unless it is of
    /// a backfill.
    pub(crate) fn of(
        &mut self,
        window: &LatencyWindow,
        texts: &[ConnectionTexts],
        is_backfill: bool,
    ) -> Option<Expected> {
        let series = SeriesName {
            connection: texts.get(window.series.connection as usize)?.name.clone(),
            prefix: window.series.prefix,
            source: window.source.clone(),
            statistic: window.series.statistic,
        };
        let expected = self.baselines.expected(&series, window.window.start);
        let is_first = window.secs() == WINDOW_SECS && window.revision == 0;
        if let Some(figures) = window.summary.percentiles.filter(|_| is_first && !is_backfill) {
            let samples = window.summary.figures.samples;
            let start = window.window.start;
            self.baselines.learn(&series, start, figures.p50, figures.p95, samples);
        }
        expected
    }

    /// An hour of log time has passed: series that were not heard for two weeks go.
    pub(crate) fn forget(&mut self, hour: Timestamp) {
        self.baselines.forget(hour);
    }

    /// Minutes that were not learnt since the last time, because there were too many series.
    pub(crate) const fn take_refused(&mut self) -> u64 {
        let refused = self.baselines.refused();
        let more = refused - self.told;
        self.told = refused;
        more
    }
}
