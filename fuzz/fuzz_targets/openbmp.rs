//! The target of `peerscope_fuzz::openbmp`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerscope_fuzz::openbmp::check(bytes));
