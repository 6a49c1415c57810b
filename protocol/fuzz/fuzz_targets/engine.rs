//! One engine among hostile peers: no panic, and memory within the configuration.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hedgerow_fuzz::engine(data));
