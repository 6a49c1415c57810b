//! Words that everything else is said in: time, names, identities, what goes in and comes out.
//!
//! Knows nobody.

pub mod headers;
pub mod identity;
pub mod interface;
pub mod message;
pub mod name;
pub mod ranges;
pub(crate) mod shares;
pub mod source;
pub mod status;
pub mod store;
pub mod time;
pub mod verify;
