//! The target of `peerscope_fuzz::bmp`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerscope_fuzz::bmp::check(bytes));
