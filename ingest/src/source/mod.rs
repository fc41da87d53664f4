//! Sources: the only files that touch the disk and the network.
//!
//! [`discover`] finds and recognises what the user named, [`open`] decompresses it, [`mrt_file`] and
//! [`rtt_file`] read it record by record. [`live`] is what live sources tell the intake.

mod bz2;
pub mod discover;
pub mod live;
pub mod mrt_file;
pub mod open;
pub mod rtt_file;
