//! The target of `peerscope_fuzz::rtt`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerscope_fuzz::rtt::check(bytes));
