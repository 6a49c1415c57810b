//! What can go wrong with processes.

use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// Why a process could not be started, signalled or understood.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program is nowhere to be found.
    #[error("no `{name}` in {} nor in PATH; build it with `cargo build -p hedgerow`", beside.display())]
    BinaryMissing {
        /// The program's name.
        name: String,
        /// Where it was looked for first.
        beside: PathBuf,
    },
    /// A file or directory could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The program could not be started.
    #[error("cannot start {}: {source}", program.display())]
    Spawn {
        /// Which program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A peer ended before it was ready.
    #[error("{peer} ended before it was ready ({status}){}", tail(log_tail))]
    EndedEarly {
        /// The peer's name.
        peer: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log_tail: String,
    },
    /// A peer did not become ready in time.
    #[error("{peer} was not ready after {after:?}{}", tail(log_tail))]
    NotReady {
        /// The peer's name.
        peer: String,
        /// How long it had.
        after: Duration,
        /// The last lines of its log.
        log_tail: String,
    },
    /// A peer's first line was not what `hedgerow run` promises.
    #[error("{peer} said {line:?} where its ready line was due: {source}")]
    BadReadyLine {
        /// The peer's name.
        peer: String,
        /// What it said.
        line: String,
        /// Why that cannot be read.
        source: serde_json::Error,
    },
    /// The peer is not running.
    #[error("{peer} is not running")]
    NotRunning {
        /// The peer's name.
        peer: String,
    },
    /// A signal could not be sent.
    #[error("cannot signal process {pid}: {source}")]
    Signal {
        /// The process.
        pid: u32,
        /// Why.
        source: std::io::Error,
    },
    /// A limit could not be set.
    #[error("cannot limit the files of process {pid}: {source}")]
    Limit {
        /// The process.
        pid: u32,
        /// Why.
        source: std::io::Error,
    },
    /// A process outlived every signal.
    #[error("process {pid} is still there {after:?} after SIGKILL")]
    Unkillable {
        /// The process.
        pid: u32,
        /// How long it was waited for.
        after: Duration,
    },
    /// A command of the CLI failed.
    #[error("`{command}` failed ({status}){}", tail(stderr))]
    Command {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it said on stderr.
        stderr: String,
    },
    /// A command of the CLI did not end in time.
    #[error("`{command}` did not end within {after:?}")]
    CommandTimeout {
        /// The command line.
        command: String,
        /// How long it had.
        after: Duration,
    },
    /// A peer's API refused a call.
    #[error("{call}: {status} {why}")]
    Refused {
        /// Which call, where.
        call: String,
        /// The status of the answer.
        status: u16,
        /// What the answer says.
        why: String,
    },
    /// A call of a peer's API came to nothing.
    #[error("{call}: {why}")]
    Call {
        /// Which call, where.
        call: String,
        /// Why.
        why: String,
    },
    /// Output that is not what the API or the CLI promises.
    #[error("`{command}` gave what cannot be read: {why}: {text:?}")]
    BadOutput {
        /// The command line, or the call.
        command: String,
        /// The beginning of the output.
        text: String,
        /// What is wrong with it.
        why: String,
    },
    /// Something that was waited for did not come about.
    #[error("{what} did not come about within {after:?}; last seen: {seen}")]
    Condition {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// The last state seen.
        seen: String,
    },
}

/// The same, as most functions return it.
pub(super) type Result<T, E = ProcessError> = std::result::Result<T, E>;

impl ProcessError {
    /// Whether a peer said no, and not that it is busy.
    pub fn is_refusal(&self) -> bool {
        const BUSY: u16 = 429;
        matches!(self, Self::Refused { status, .. } if *status != BUSY)
    }
}

/// Names the file that an I/O error is about.
pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> ProcessError {
    let path = path.into();
    move |source| ProcessError::Io { path, source }
}

fn tail(text: &str) -> String {
    if text.trim().is_empty() {
        String::new()
    } else {
        format!(":\n{}", text.trim_end())
    }
}
