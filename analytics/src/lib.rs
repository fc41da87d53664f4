//! Analytics: batches become rows and findings.
//!
//! [`shard`] is the spine: the fold of one partition, the one place that calls [`rib`], [`detect`]
//! and [`latency`] in order, [`state`] all that it holds as bytes. [`correlate`] folds what the shards tell each other into numbered
//! findings. [`lake`] commits rows as Parquet files, [`sql`] reads them. [`mod@reference`] holds slow
//! facts. `rib`, `detect`, `latency` and `correlate` are pure.

#[cfg(test)]
extern crate self as analytics;

pub mod correlate;
mod counts;
pub mod detect;
pub mod fold;
pub mod join;
pub mod lake;
pub mod latency;
pub mod reference;
pub mod rib;
mod route_rows;
pub mod rows;
pub mod shard;
pub mod sql;
pub mod state;
mod usual;
