//! A stream of message lines, from a peer's API or from `hedgerow join GROUP --jsonl`.

use super::error::{ProcessError, Result};
use base64::Engine as _;
use serde::Deserialize;
use std::borrow::Cow;
use std::time::Instant;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr};
use tokio::task::JoinHandle;

/// Read-ahead of a stream; a large message comes in one line.
const READ_BYTES: usize = 256 << 10;
/// How much of an unreadable line an error shows.
const EXCERPT_BYTES: usize = 200;
/// A buffer that has grown beyond this is given back after use.
const KEEP_BYTES: usize = 1 << 20;

/// What a stream tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A message.
    Message(Received),
    /// Messages published from now on are due (from the API only).
    Joined,
    /// Messages of an origin that can no longer be had (from the API only).
    Gap {
        /// Whose.
        origin: String,
        /// Which life of the origin.
        epoch: u64,
        /// The first lost seq.
        from: u64,
        /// The last lost seq.
        to: u64,
    },
    /// The stream was read too slowly and overtaken (from the API only).
    Lagged {
        /// Messages that it will not bring.
        messages: u64,
    },
    /// Something else, by its name.
    Other(String),
}

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

/// A line as it is written: the fields of all kinds of lines together, so that a large payload
/// is read once and in place.
#[derive(Deserialize)]
struct Line<'a> {
    /// The API's lines have one, `hedgerow join` prints messages only.
    #[serde(rename = "type", default)]
    kind: Option<String>,
    group: String,
    #[serde(default)]
    origin: String,
    #[serde(default)]
    epoch: u64,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    published_at: u64,
    #[serde(default)]
    encoding: Encoding,
    #[serde(borrow, default)]
    payload: Cow<'a, str>,
    #[serde(default)]
    hops: u16,
    #[serde(default)]
    arrival: String,
    #[serde(default)]
    from: u64,
    #[serde(default)]
    to: u64,
    #[serde(default)]
    messages: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Utf8,
    Base64,
}

/// Reads one line.
fn parse(line: &[u8], at: Instant) -> std::result::Result<Heard, String> {
    let line: Line<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let Line { origin, epoch, .. } = line;
    Ok(match line.kind.as_deref().unwrap_or("message") {
        "message" => {
            if origin.is_empty() || line.seq == 0 {
                return Err("a message without origin or seq".to_owned());
            }
            let payload = match line.encoding {
                Encoding::Utf8 => line.payload.into_owned().into_bytes(),
                Encoding::Base64 => base64::engine::general_purpose::STANDARD
                    .decode(line.payload.as_bytes())
                    .map_err(|error| error.to_string())?,
            };
            Heard::Message(Received {
                group: line.group,
                origin,
                epoch,
                seq: line.seq,
                published_at: line.published_at,
                payload,
                hops: line.hops,
                pulled: line.arrival == "pulled",
                at,
            })
        }
        "joined" => Heard::Joined,
        "gap" => Heard::Gap {
            origin,
            epoch,
            from: line.from,
            to: line.to,
        },
        "lagged" => Heard::Lagged {
            messages: line.messages,
        },
        other => Heard::Other(other.to_owned()),
    })
}

/// The messages of one group at one peer, as long as this value lives.
pub struct MessageStream {
    /// Where it comes from, for people.
    name: String,
    lines: Option<Box<dyn AsyncBufRead + Send + Unpin>>,
    partial: Vec<u8>,
    command: Option<Command>,
}

/// The command that a stream comes from.
struct Command {
    child: Child,
    talk: JoinHandle<String>,
}

impl std::fmt::Debug for MessageStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MessageStream").field(&self.name).finish()
    }
}

impl MessageStream {
    /// The lines of an answer of the API.
    pub(super) fn of_api(name: String, body: impl AsyncRead + Send + Unpin + 'static) -> Self {
        Self {
            name,
            lines: Some(buffered(body)),
            partial: Vec::new(),
            command: None,
        }
    }

    /// Takes over a started command whose stdout and stderr are pipes.
    pub(super) fn of_command(name: String, mut child: Child) -> Self {
        let lines = child.stdout.take().map(buffered);
        let talk = tokio::spawn(read_talk(child.stderr.take()));
        Self {
            name,
            lines,
            partial: Vec::new(),
            command: Some(Command { child, talk }),
        }
    }

    /// What comes next; `None` once the stream has ended well. May be dropped and called again
    /// without losing anything.
    pub async fn next(&mut self) -> Result<Option<Heard>> {
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
        let heard = parse(&self.partial, at).map_err(|why| self.unreadable(&why))?;
        self.partial.clear();
        self.partial.shrink_to(KEEP_BYTES);
        Ok(Some(heard))
    }

    async fn end(&mut self) -> Result<()> {
        let Some(Command { mut child, talk }) = self.command.take() else {
            return Ok(());
        };
        let status = child.wait().await;
        let status = status.map_err(|error| self.unreadable(&error.to_string()))?;
        let stderr = talk.await.unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        Err(ProcessError::Command {
            command: self.name.clone(),
            status,
            stderr,
        })
    }

    fn unreadable(&self, why: &str) -> ProcessError {
        let excerpt = &self.partial[..self.partial.len().min(EXCERPT_BYTES)];
        ProcessError::BadOutput {
            command: self.name.clone(),
            text: String::from_utf8_lossy(excerpt).into_owned(),
            why: why.to_owned(),
        }
    }
}

fn buffered(
    source: impl AsyncRead + Send + Unpin + 'static,
) -> Box<dyn AsyncBufRead + Send + Unpin> {
    Box::new(BufReader::with_capacity(READ_BYTES, source))
}

/// Reads stderr to its end, so that the command never waits for a reader; keeps the beginning.
async fn read_talk(err: Option<ChildStderr>) -> String {
    const KEEP: usize = 16 << 10;
    let Some(mut err) = err else {
        return String::new();
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_lines_of_the_api_are_told_apart() {
        let text = concat!(
            r#"{"type":"joined","group":"g"}"#,
            "\n",
            r#"{"type":"message","group":"g","origin":"o","epoch":7,"seq":1,"published_at":3,"encoding":"utf8","payload":"a\nb","hops":2,"arrival":"pulled"}"#,
            "\n",
            r#"{"type":"gap","group":"g","origin":"o","epoch":7,"from":2,"to":4}"#,
            "\n",
            r#"{"type":"lagged","group":"g","messages":9}"#,
            "\n",
            r#"{"type":"end","group":"g","reason":"left"}"#,
            "\n",
        );
        let mut stream = MessageStream::of_api("test".to_owned(), text.as_bytes());
        let mut heard = Vec::new();
        while let Some(line) = stream.next().await.expect("readable") {
            heard.push(line);
        }
        let [Heard::Joined, Heard::Message(message), rest @ ..] = heard.as_slice() else {
            panic!("{heard:?}");
        };
        assert_eq!(
            (message.payload.as_slice(), message.hops, message.pulled),
            (&b"a\nb"[..], 2, true)
        );
        let gap = Heard::Gap {
            origin: "o".to_owned(),
            epoch: 7,
            from: 2,
            to: 4,
        };
        assert_eq!(
            rest,
            [
                gap,
                Heard::Lagged { messages: 9 },
                Heard::Other("end".to_owned())
            ]
        );
    }

    #[tokio::test]
    async fn lines_that_are_no_messages_are_errors() {
        for line in ["{}", "not json", r#"{"group":"g","origin":"o","epoch":1}"#] {
            let mut stream = MessageStream::of_api("test".to_owned(), line.as_bytes());
            stream.next().await.expect_err("unreadable");
        }
    }
}
