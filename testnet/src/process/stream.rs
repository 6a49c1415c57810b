//! A stream of message lines, as `hedgerow join GROUP --jsonl` prints them.

use super::error::{ProcessError, Result};
use base64::Engine as _;
use serde::Deserialize;
use std::time::Instant;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::task::JoinHandle;

/// Read-ahead of a stream; a large message comes in one line.
const READ_BYTES: usize = 256 << 10;
/// How much of an unreadable line an error shows.
const EXCERPT_BYTES: usize = 200;

/// A message that came out of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The group.
    pub group: String,
    /// Who published it.
    pub origin: String,
    /// Which life of the origin.
    pub epoch: u64,
    /// Its number.
    pub seq: u64,
    /// When it was published, ms since the Unix epoch, by the origin's clock.
    pub published_at: u64,
    /// Its content.
    pub payload: Vec<u8>,
    /// Links it crossed; 0 where the peer does not tell.
    pub hops: u16,
    /// Whether the peer had to ask for it.
    pub pulled: bool,
    /// When its line was read here.
    pub at: Instant,
}

#[derive(Deserialize)]
struct Line {
    group: String,
    origin: String,
    epoch: u64,
    seq: u64,
    published_at: u64,
    encoding: Encoding,
    payload: String,
    #[serde(default)]
    hops: u16,
    #[serde(default)]
    arrival: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Utf8,
    Base64,
}

/// Reads one message line.
pub(super) fn parse(line: &[u8], at: Instant) -> std::result::Result<Received, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let payload = match line.encoding {
        Encoding::Utf8 => line.payload.into_bytes(),
        Encoding::Base64 => base64::engine::general_purpose::STANDARD
            .decode(line.payload)
            .map_err(|error| error.to_string())?,
    };
    Ok(Received {
        group: line.group,
        origin: line.origin,
        epoch: line.epoch,
        seq: line.seq,
        published_at: line.published_at,
        payload,
        hops: line.hops,
        pulled: line.arrival == "pulled",
        at,
    })
}

/// The messages of one group at one peer, as long as this value lives.
#[derive(Debug)]
pub struct MessageStream {
    command: String,
    child: Child,
    lines: Option<BufReader<ChildStdout>>,
    partial: Vec<u8>,
    talk: Option<JoinHandle<String>>,
}

impl MessageStream {
    /// Takes over a started command whose stdout and stderr are pipes.
    pub(super) fn new(command: String, mut child: Child) -> Self {
        let lines = child
            .stdout
            .take()
            .map(|out| BufReader::with_capacity(READ_BYTES, out));
        let talk = child.stderr.take().map(|err| tokio::spawn(read_talk(err)));
        Self {
            command,
            child,
            lines,
            partial: Vec::new(),
            talk,
        }
    }

    /// The next message; `None` once the stream has ended well. May be dropped and called again
    /// without losing anything.
    pub async fn next(&mut self) -> Result<Option<Received>> {
        let Some(lines) = &mut self.lines else {
            return Ok(None);
        };
        let read = lines.read_until(b'\n', &mut self.partial).await;
        let at = Instant::now();
        let bytes = read.map_err(|error| self.unreadable(&error.to_string()))?;
        if bytes == 0 && self.partial.is_empty() {
            self.lines = None;
            return self.end().await.map(|()| None);
        }
        let message = parse(&self.partial, at).map_err(|why| self.unreadable(&why))?;
        self.partial.clear();
        Ok(Some(message))
    }

    async fn end(&mut self) -> Result<()> {
        let status = self.child.wait().await;
        let status = status.map_err(|error| self.unreadable(&error.to_string()))?;
        let stderr = match self.talk.take() {
            Some(talk) => talk.await.unwrap_or_default(),
            None => String::new(),
        };
        if status.success() {
            return Ok(());
        }
        Err(ProcessError::Command {
            command: self.command.clone(),
            status,
            stderr,
        })
    }

    fn unreadable(&self, why: &str) -> ProcessError {
        let excerpt = &self.partial[..self.partial.len().min(EXCERPT_BYTES)];
        ProcessError::BadOutput {
            command: self.command.clone(),
            text: String::from_utf8_lossy(excerpt).into_owned(),
            why: why.to_owned(),
        }
    }
}

/// Reads stderr to its end, so that the command never waits for a reader; keeps the beginning.
async fn read_talk(mut err: ChildStderr) -> String {
    const KEEP: usize = 16 << 10;
    let mut kept = Vec::new();
    let mut buffer = vec![0; 4 << 10];
    while let Ok(bytes) = err.read(&mut buffer).await {
        if bytes == 0 {
            break;
        }
        let room = KEEP.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..bytes.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
