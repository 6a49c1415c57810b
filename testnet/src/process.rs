//! Real `hedgerow` processes on this machine: started, talked to, signalled, and never left behind.
//!
//! A [`Peer`] is one `hedgerow run` with a data directory and log of its own; a [`Fleet`] is many
//! in one run directory, of which the first bootstraps the rest. What a user can do at a shell goes
//! through [`Cli`]; [`Api`] is what the CLI speaks, for whoever asks and listens much.
//!
//! A peer's [`Lifetime`] says who ends it. [`Lifetime::Owned`] ones die with the harness: with the
//! value that holds them, and by the kernel's hand when the harness itself is killed.
//! [`Lifetime::Detached`] ones have a session of their own and, once released, live until somebody
//! stops them.

mod api;
mod binary;
mod cli;
mod error;
mod fleet;
mod peer;
mod pid;
mod spawn;
mod stream;
#[cfg(test)]
mod tests;

pub use api::Api;
pub use binary::find_binary;
pub use cli::Cli;
pub use error::ProcessError;
pub use fleet::{Fleet, FleetPlan};
pub use peer::{Here, Lifetime, Peer, PeerPlan, Place, Ready};
pub use pid::ProcessId;
pub use stream::{Heard, MessageStream, Received};
