//! Any bytes as a signed record or bundle: refused or taken, never a panic, and never beyond the limits.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hedgerow_fuzz::record(data));
