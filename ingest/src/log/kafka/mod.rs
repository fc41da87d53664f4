//! The log over Kafka: batches of many processes in partitions that many processes fold.
//!
//! - [`config`]: the keys of `[kafka]`; [`topics`]: the four topics, made or checked.
//! - [`shares`]: which process owns an input; [`member`]: how it is told; [`membership`]: how it
//!   proves it.
//! - [`publisher`]: the writing end, with [`state`], what compacted topics hold, and [`record`], a
//!   batch as messages.
//! - [`reader`]: the reading end; what it reads goes through a [`lane`] to a fold, as [`records`];
//!   [`progress`] is how far folds are.
//! - [`summaries`]: what folds tell `correlate`; [`control`]: ticks, commits, versions.

pub mod clients;
pub mod config;
pub mod control;
mod lane;
pub mod member;
pub mod membership;
pub mod progress;
pub mod publisher;
pub mod reader;
mod record;
pub mod records;
pub mod shares;
mod state;
pub mod summaries;
#[cfg(test)]
mod tests;
pub mod topics;

use schemas::log::LogError;

use config::KafkaLogConfig;
pub use lane::Start;

/// An error of the brokers, with those that were asked.
fn brokers(config: &KafkaLogConfig, what: &dyn std::fmt::Display) -> LogError {
    LogError::Brokers { brokers: config.brokers.join(","), what: what.to_string() }
}
