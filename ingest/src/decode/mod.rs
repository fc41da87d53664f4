//! Decoding: bytes in, borrowed messages out. Nothing is kept from one message to the next.
//!
//! [`cursor`] is the only door to raw bytes: every read is checked and a refusal names the field
//! and the offset. [`bgp`] takes UPDATEs apart (RFC 4271, 4760, 7606, 7911), [`mrt`] and
//! [`tables`] frame and open archive records (RFC 6396, 8050). Nothing here does IO, allocates per message or panics.
//!
//! Which peer a message belongs to, and whether its lists carry path identifiers, is a matter of
//! memory: see [`crate::session`]. What is decoded and what is not: `docs/reference/formats.md`.

pub mod atlas;
pub mod bgp;
pub mod bmp;
pub mod bmp_stats;
pub mod cursor;
pub mod mapping;
pub mod mrt;
pub mod openbmp;
pub mod packet;
pub mod prometheus;
pub mod ris_live;
pub mod rtr;
pub mod rtt;
pub mod tables;

pub use cursor::{Cursor, DecodeError};
