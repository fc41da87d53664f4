//! Ingest: bytes become batches in the log.
//!
//! Three steps, three rooms: [`decode`] turns bytes into messages and keeps no state, [`session`]
//! turns messages into what a peer said and does no IO, [`source`] touches the disk. [`log`] merges
//! what they give into partitions; [`samples`] are round-trip times from any format to their owners; [`intake`] sifts it, [`batcher`] cuts it into batches.
//! [`live`] is the intake of a running service. [`encode`] is the way back, for the simulator, the tests and the fuzzers.

pub mod attribute_table;
pub mod batcher;
pub mod decode;
pub mod encode;
pub mod intake;
pub mod kafka;
pub mod live;
pub mod log;
pub mod samples;
pub mod session;
pub mod source;
