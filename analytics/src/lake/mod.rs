//! The lake: rows become Parquet files that appear whole or not at all.
//!
//! - [`layout`]: names; a pure function of table, log, partition and START offset.
//! - [`store`]: one create-if-absent put is the commit.
//! - [`encode`]: sorted rows to the bytes of a file, the same bytes for the same rows.
//! - [`chain`]: one table's files of one partition, each starting where the one before ended.
//! - [`identity`]: which log feeds a lake, and whether it is at its end.
//! - [`marks`]: what people say of findings, the one thing that no log feeds.

pub mod chain;
pub mod encode;
pub mod identity;
pub mod layout;
pub mod marks;
pub mod store;

pub use store::{LakeError, LocalStore};
