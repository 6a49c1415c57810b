//! How a command can fail, and the exit code of each way.

use super::client::ClientError;
use crate::NodeError;
use crate::api::SocketError;
use crate::config::{ConfigFileError, PathError};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The call itself makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigFileError),
    /// No place for the peer's files.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Nobody listens.
    #[error(
        "no running peer in {} ({why}); start one with `hedgerow run`, or name its directory with \
         --data-dir or HEDGEROW_DATA_DIR",
        data_dir.display()
    )]
    NoPeer {
        /// Where one was looked for.
        data_dir: PathBuf,
        /// What was found.
        why: String,
    },
    /// The peer refuses, or the connection to it broke.
    #[error(transparent)]
    Client(ClientError),
    /// The peer cannot run.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The API cannot listen.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A file or a stream.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        error: io::Error,
    },
    /// Not everything was reached.
    #[error("{0}")]
    Partial(String),
    /// It took too long.
    #[error("{what} within {}", humantime::format_duration(*after))]
    Timeout {
        /// What did not happen.
        what: String,
        /// The time given.
        after: Duration,
    },
    /// The peer waited too long for members.
    #[error("{0}")]
    Unacknowledged(String),
    /// The peer ended.
    #[error("{0}")]
    Ended(String),
    /// Whoever reads our output has gone: nothing to say and nobody to say it to.
    #[error("broken pipe")]
    BrokenPipe,
    /// Said already.
    #[error("failed")]
    Reported,
}

impl CliError {
    pub(super) fn io(what: impl Into<String>, error: io::Error) -> Self {
        Self::Io {
            what: what.into(),
            error,
        }
    }

    /// An error of writing to stdout.
    pub(super) fn stdout(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::io("cannot write to stdout", error),
        }
    }

    /// See the table in `docs/cli.md`.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::BrokenPipe => 0,
            Self::Usage(_) | Self::Config(_) => 2,
            Self::NoPeer { .. } => 3,
            Self::Partial(_) => 4,
            Self::Timeout { .. } | Self::Unacknowledged(_) => 124,
            Self::Path(_)
            | Self::Client(_)
            | Self::Node(_)
            | Self::Socket(_)
            | Self::Io { .. }
            | Self::Ended(_)
            | Self::Reported => 1,
        }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::NoPeer { data_dir, why } => Self::NoPeer { data_dir, why },
            error => Self::Client(error),
        }
    }
}
