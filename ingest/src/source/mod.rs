//! Sources: the only files that touch the disk and the network.
//!
//! [`discover`] finds and recognises what the user named, [`open`] decompresses it, [`mrt_file`] and
//! [`rtt_file`] read it record by record.

pub mod discover;
pub mod mrt_file;
pub mod open;
pub mod rtt_file;
