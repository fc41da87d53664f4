//! The target of `peerscope_fuzz::ris_live`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| peerscope_fuzz::ris_live::check(bytes));
