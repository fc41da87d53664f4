//! The words of peerscope: what ingest and analytics say to each other, and what a reader finds in
//! the lake. No IO, no clock.
//!
//! - [`time`]: instants and windows.
//! - [`bgp`]: prefixes, paths, attributes, peers.
//! - [`connection`] and [`registry`]: what is ours, and which shard owns it.
//! - [`mod@reference`]: which slow facts count, by hash.
//! - [`sample`]: round-trip times.
//! - [`batch`] and [`log`]: columnar batches, and the traits of the log that carries them;
//!   [`batch_ipc`]: batches as bytes.
//! - [`finding`]: what the folds conclude; [`exception`]: what is known to be harmless.
//! - [`pool`]: texts that are read again and again lie once.
//! - [`tables`]: one file for each table of the lake.
//! - [`killpoint`]: where tests may make a process die.

pub mod batch;
pub mod batch_ipc;
pub mod bgp;
pub mod connection;
pub mod exception;
pub mod finding;
pub mod killpoint;
pub mod log;
mod open_enum;
pub mod pool;
pub mod reference;
pub mod registry;
pub mod sample;
pub mod tables;
pub mod time;
mod words;
