//! The log over Kafka, as values of metrics.

use ingest::log::kafka::clients::LogCounts;

use super::{Values, shown};

/// Values of one metric.
pub(super) fn values(metric: &str, counts: &LogCounts) -> Values {
    let labelled = |pairs: &[(&str, f64)]| {
        pairs.iter().map(|(label, value)| (vec![(*label).to_owned()], *value)).collect()
    };
    let one = |value: f64| vec![(Vec::new(), value)];
    match metric {
        "peerscope_log_transactions" => labelled(&[
            ("committed", shown(&counts.transactions)),
            ("aborted", shown(&counts.aborted)),
        ]),
        "peerscope_log_batches" => {
            labelled(&[("written", shown(&counts.batches)), ("read", shown(&counts.batches_read))])
        }
        "peerscope_log_bytes" => {
            labelled(&[("written", shown(&counts.bytes)), ("read", shown(&counts.bytes_read))])
        }
        "peerscope_log_lag_messages" => one(shown(&counts.lag)),
        "peerscope_log_partitions" => one(shown(&counts.partitions)),
        "peerscope_log_rebalances" => one(shown(&counts.rebalances)),
        "peerscope_log_errors" => labelled(&[
            ("quarantined", shown(&counts.quarantined)),
            ("overtaken", shown(&counts.overtaken)),
            ("stalled", shown(&counts.stalled)),
            ("fold_stalled", shown(&counts.fold_stalled)),
            ("brokers_down", shown(&counts.brokers_down)),
            ("login", shown(&counts.refused_login)),
            ("client", shown(&counts.errors)),
        ]),
        _ => Values::new(),
    }
}
