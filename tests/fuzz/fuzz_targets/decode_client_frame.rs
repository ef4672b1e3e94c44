//! See `quoth_tests::fuzz::client_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| quoth_tests::fuzz::client_frame(data));
