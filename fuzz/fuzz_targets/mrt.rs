//! The target of `peerscope_fuzz::mrt`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerscope_fuzz::mrt::check(bytes));
