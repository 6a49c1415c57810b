//! From the engine to local subscribers: a bounded ring per group, read by cursor.

mod ring;
mod rings;
mod subscription;

pub(crate) use ring::{Membership, Ring};
pub(crate) use rings::Rings;
pub use subscription::{Gap, Subscription};

#[cfg(test)]
mod tests;
