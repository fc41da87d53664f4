//! Sources: the only files that touch the disk and the network.
//!
//! [`discover`] finds and recognises what the user named, [`open`] decompresses it, [`mrt_file`] and
//! [`rtt_file`] read it record by record, [`elements`] the formats of BMP and RIS Live. [`live`] is what live sources tell the intake.

mod bmp_file;
mod buffered;
pub mod discover;
pub mod elements;
pub mod live;
pub mod mrt_file;
pub mod open;
mod pcap_file;
mod ris_file;
pub mod rtt_file;
