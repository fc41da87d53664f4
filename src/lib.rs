//! peerscope: what did that route change cost, and who did it?
//!
//! This crate is the thin top of the house. [`command`] holds one file for each subcommand,
//! [`config`] composes the settings, [`replay`] wires archives to folds and lake, [`run`] live
//! sources to the embedded log, both with what [`mod@reference`] files say; [`backtest`] judges what was found; [`http`] takes samples and shows [`metrics`];
//! [`simulator`] makes a small Internet for the demo, the tests and the benchmarks, and [`quality`] judges what the
//! detectors make of one. What happens to a BGP update and to a sample is told in `ingest` and `analytics`; README has
//! the trip.

pub mod backtest;
pub mod command;
pub mod config;
pub mod http;
mod killer;
pub mod metrics;
mod print;
pub mod quality;
pub mod reference;
pub mod replay;
pub mod run;
pub mod simulator;
pub mod telemetry;
