//! SQL: a lake in, a DataFusion session over it out.
//!
//! - [`Lake`]: the session: every table, also one without files, the views and our functions; whole
//!   for the operator, cut to one tenant's rows for a tenant.
//! - [`ddl`]: the same tables and views for engines with nothing of ours.
//!
//! Nothing is written here and nothing is printed: the shell is `src/command/sql`. While a compaction
//! replaces files, each row is seen once ([`live`]).

pub mod ddl;
mod functions;
mod hdr;
mod live;
mod rib_at;
mod session;
mod tenant;
#[cfg(test)]
mod tests;
mod views;

pub use live::is_overtaken;
pub use session::{Lake, OpenError, Options};

pub use crate::lake::LakeRoot;
