//! The target of `peerscope_fuzz::rtr`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerscope_fuzz::rtr::check(bytes));
