//! Fuzz targets: any bytes in, a panic out if the decoder of a wire format breaks a promise.
//!
//! Each module is one format and one function, `check`. The same functions run over the kept corpus
//! in every test run (`ingest/tests/fuzz_corpus.rs`), so they use nothing but `ingest` and `schemas`.

pub mod bgp_update;
pub mod bmp;
pub mod mrt;
pub mod openbmp;
pub mod pcap;
pub mod ris_live;
pub mod rtr;
pub mod rtt;
