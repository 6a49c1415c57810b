//! Real nodes in one process, on loopback, with ephemeral ports and without multicast.

mod common;
mod life;
mod many;
mod messages;
mod subscribers;
