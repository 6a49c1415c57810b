//! A few engines on a network with faults: everything due is delivered once, in order.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| hedgerow_fuzz::network(data));
