//! The target of `peerscope_fuzz::bgp_update`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerscope_fuzz::bgp_update::check(bytes));
