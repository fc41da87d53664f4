//! BGP-4: one message in, its borrowed parts out (RFC 4271).
//!
//! [`message`] finds the parts of an UPDATE, [`attributes`] walks its attributes once and judges
//! them (RFC 7606), [`as_path`] reads paths of both widths (RFC 6793), [`nlri`] the prefix lists.
//! A list with or without path identifiers (RFC 7911) looks alike: the caller says which it is.
//!
//! [`open`] reads what BMP copies of OPENs and NOTIFICATIONs.
//!
//! Not decoded: the bodies of KEEPALIVE and ROUTE-REFRESH.

pub mod as_path;
pub mod attributes;
pub mod code;
pub mod message;
pub mod nlri;
pub mod open;
mod rules;
mod values;

pub use as_path::{AsnWidth, PathView, Segment};
pub use attributes::{Attributes, MpList, RawAttribute, Walk};
pub use message::{Message, UpdateBody};
pub use nlri::{NlriFacts, NlriList};
