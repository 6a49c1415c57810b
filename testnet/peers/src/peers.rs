//! The programs under comparison, one a file.

pub mod gossipsub;
pub mod hedgerow;
pub mod iroh_gossip;
pub mod nats;
pub mod stream;
pub mod tcp;
pub mod zeromq;
