//! What can go wrong when a node starts or is asked for something, and what to do about it.

use crate::Multiaddr;
use hedgerow_protocol::{ConfigError, JoinError, PeerKey, PingError, PublishError};
use std::io;
use std::path::PathBuf;

/// Why a node did not start or refused a call. A refused call changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// A configured value cannot work.
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    /// The data directory cannot be created, read or written.
    #[error("data directory {}: {source}", path.display())]
    DataDir {
        /// The file or directory at fault.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process holds the data directory.
    #[error(
        "data directory {} is in use by {}; stop that peer or choose another directory",
        path.display(),
        pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
        /// Who holds it, if it said so.
        pid: Option<u32>,
    },
    /// A stored file does not hold what it should.
    #[error("{} is damaged: {why}; restore it or move it away", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The data directory has been used, and its key is gone: a secret that was not mounted, say.
    #[error(
        "{} is missing, but a peer has used this directory before ({} is there): mount or restore \
         the key, or start once with --new-identity to go on as another peer",
        path.display(),
        state
    )]
    IdentityMissing {
        /// Where the key should be.
        path: PathBuf,
        /// A file that shows that there was one.
        state: String,
    },
    /// The kept groups cannot be read, so nobody knows which groups this peer should be in.
    #[error(
        "{} {why}: the groups that this peer should be in are unknown; restore the file, or start \
         once with --forget-groups to go on without them",
        path.display()
    )]
    GroupsLost {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Other users can write into the data directory.
    #[error(
        "other users can write into {} (mode {mode:o}), and so take over the peer; run `chmod \
         go-w` on it",
        path.display()
    )]
    OpenToOthers {
        /// The data directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// An address to listen on could not be had.
    #[error("cannot listen on {address}: {why}")]
    Listen {
        /// The address as it was asked for.
        address: Multiaddr,
        /// What the system says, and what to do.
        why: String,
    },
    /// Something that every peer needs could not be set up.
    #[error("cannot start: {0}")]
    Setup(String),
    /// An address is of no use.
    #[error("address {address}: {why}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// A membership call was refused.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// A message was not accepted.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Too many probes are under way.
    #[error("already waiting for the answers to {max} probes; try again when some have ended")]
    TooManyProbes {
        /// The limit.
        max: usize,
    },
    /// A ping was not sent.
    #[error(transparent)]
    Ping(#[from] PingError),
    /// A ping was sent again and again, and not answered.
    #[error("{peer} does not answer")]
    PingLost {
        /// Who.
        peer: PeerKey,
    },
    /// The node has stopped.
    #[error("the peer has stopped")]
    Stopped,
}

impl NodeError {
    pub(crate) fn data_dir(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::DataDir { path, source }
    }
}
