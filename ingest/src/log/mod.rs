//! The logs: the merged archive of `replay`, the embedded log of `run` on local disk, and Kafka.

pub mod archive;
pub mod embedded;
mod input;
pub mod kafka;
mod stream_input;
