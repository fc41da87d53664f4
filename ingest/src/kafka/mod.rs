//! Kafka: what the source and the log over it share.
//!
//! [`access`] is how brokers are reached; [`topic_id`] tells a topic from another one of its name.

pub mod access;
#[cfg(test)]
pub(crate) mod testing;
pub mod topic_id;
