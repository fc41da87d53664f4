//! The lake: rows become Parquet files that appear whole or not at all.
//!
//! - [`layout`]: names; a pure function of table, log, partition and START offset.
//! - [`place`]: where a lake lies: a folder, or a prefix of a bucket.
//! - [`purge`]: retention by table.
//! - [`store`]: one create-if-absent put is the commit, on disk and in object stores.
//! - [`verify`]: every chain held against what must be true of it.
//! - [`encode`]: sorted rows to the bytes of a file, the same bytes for the same rows.
//! - [`chain`]: one table's files of one partition, each starting where the one before ended.
//! - [`heads`]: where the files of a chain end.
//! - [`snapshot`]: the state of a fold, so that it may begin there.
//! - [`catalog`]: the files of the tables by what their names say.
//! - [`compact`]: the many files of a sealed day into few.
//! - [`cover`]: which files count while a compaction replaces some of them.
//! - [`footer`]: what a file says of itself.
//! - [`identity`]: which log feeds a lake, and whether it is at its end.
//! - [`mod@reference`]: contents of reference data by hash.
//! - [`marks`]: what people say of findings, the one thing that no log feeds.

pub mod catalog;
pub mod chain;
pub mod compact;
pub mod cover;
pub mod encode;
pub mod footer;
pub mod heads;
pub mod identity;
pub mod layout;
pub mod marks;
pub mod place;
pub mod purge;
pub mod reference;
pub mod snapshot;
pub mod store;
#[cfg(test)]
mod testing;
pub mod verify;

pub use place::LakeRoot;
pub use reference::LakeShelf;
pub use store::{LakeError, Store};
