//! Any bytes on a link: decoded without panic, and what decodes encodes to what decodes to the same.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hedgerow_fuzz::frame(data));
