//! From the engine to local subscribers: a bounded ring per group, read by cursor.

mod ring;
mod rings;
mod subscription;

#[cfg(feature = "cli")]
pub(crate) use ring::Membership;
pub(crate) use ring::Ring;
pub(crate) use rings::Rings;
pub use subscription::{Gap, Subscription};

#[cfg(test)]
mod tests;
