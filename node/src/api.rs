//! The local API: HTTP/1.1 with JSON on a Unix socket, for this user's programs only.
//!
//! `docs/api.md` documents every endpoint. The command line is one client of it; whatever that
//! does, `curl --unix-socket` can do. Streams are JSON objects, one a line.

mod accept;
mod bare;
mod body;
mod config;
mod doctor;
mod error;
mod extract;
mod groups;
mod held;
mod membership;
mod metrics;
mod overlay;
mod peer;
mod pieces;
mod publish;
mod server;
mod socket;
mod stream;
mod subscribe;
mod trace;
pub mod types;

pub use error::ApiError;
pub use overlay::OverlayFormat;
pub use peer::await_end;
pub use server::{Api, Server, Shutdown};
pub use socket::{ApiSocket, SocketError};

#[cfg(test)]
mod tests;
