//! Sources: the only files that touch the disk and the network.
//!
//! [`discover`] finds and recognises what the user named, [`open`] decompresses it, [`mrt_file`] reads
//! it record by record, [`elements`] the formats of BMP and RIS Live, [`crate::samples`] those of RTT.
//!
//! [`live`] is what live sources tell the intake. There are five: [`bmp_listener`], into which routers
//! dial; [`ris_live`], a websocket; [`kafka`], topics; [`folder`], files as they appear and grow;
//! [`prometheus`], pages of exporters. [`rtt_body`] and
//! [`remote_write`] read what a request or a message says of samples.
//! [`rtr`] asks a cache for VRPs, which are reference data and no part of the intake.
//! [`counter`], [`pattern`], [`tcp_md5`] and [`tls`] are what they share.

mod bmp_file;
pub mod bmp_listener;
mod buffered;
mod bz2;
pub mod counter;
pub mod discover;
pub mod elements;
pub mod folder;
pub mod kafka;
pub mod live;
pub mod mrt_file;
pub mod open;
pub mod pattern;
mod pcap_file;
pub mod prometheus;
pub mod remote_write;
mod ris_file;
pub mod ris_live;
pub mod rtr;
pub mod rtt_body;
pub mod tcp_md5;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
