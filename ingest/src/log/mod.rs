//! The logs. Here: the merged archive of `replay`.

pub mod archive;
mod input;
mod stream_input;
