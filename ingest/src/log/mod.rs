//! The logs: the merged archive of `replay`, and the embedded log of `run` on local disk.

pub mod archive;
pub mod embedded;
mod input;
mod stream_input;
