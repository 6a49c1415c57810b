//! `hedgerow-testnet`.
fn main() {}
