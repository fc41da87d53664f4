//! The target of `peerscope_fuzz::pcap`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerscope_fuzz::pcap::check(bytes));
