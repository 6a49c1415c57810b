//! A client of the local API: HTTP/1.1 over the peer's Unix socket, a connection a request.

use crate::api::types::{ErrorBody, ErrorDetail};
use crate::config::Paths;
use bytes::Bytes;
use futures::TryStreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio_util::io::StreamReader;

/// Room that a reader of lines keeps after a long one.
const LINE_BYTES_KEPT: usize = 1 << 20;

/// What stands in a path segment as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nobody listens.
    #[error("no running peer ({why})")]
    NoPeer {
        /// Where one was looked for.
        data_dir: PathBuf,
        /// What was found.
        why: String,
    },
    /// The peer says no.
    #[error(
        "{}{}{}{}",
        detail.message,
        if detail.remedy.is_empty() { "" } else { "; " },
        detail.remedy,
        accepted_before(*messages)
    )]
    Refused {
        /// The status of the answer.
        status: StatusCode,
        /// What it says.
        detail: ErrorDetail,
        /// Messages accepted before, for uploads.
        messages: Option<u64>,
    },
    /// The socket is another user's.
    #[error(
        "no permission for {}{}; run as the user that runs the peer",
        socket.display(),
        owner.as_ref().map_or_else(String::new, |owner| format!(", which belongs to {owner}"))
    )]
    Denied {
        /// The socket, or the directory above it that cannot be entered.
        socket: PathBuf,
        /// Whose it is.
        owner: Option<String>,
    },
    /// What was to be sent could not be read.
    #[error("cannot read {what}: {why}")]
    Input {
        /// The file, or stdin.
        what: String,
        /// What the system says.
        why: String,
    },
    /// The connection ended before the answer did.
    #[error("the connection to the peer broke: {0}")]
    Broken(String),
    /// An answer that does not mean what it should.
    #[error("the peer's answer makes no sense ({0}); do both have the same version?")]
    Nonsense(String),
}

type Body = BoxBody<Bytes, io::Error>;

/// A body of these bytes.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// Where the running peer is reached.
#[derive(Clone, Debug)]
pub(super) struct Client {
    paths: Paths,
}

/// `/v1/groups/GROUP/` and what follows.
pub(super) fn group_path(group: &hedgerow_protocol::GroupName, rest: &str) -> String {
    let name = utf8_percent_encode(group.as_str(), SEGMENT);
    if rest.is_empty() {
        format!("/v1/groups/{name}")
    } else {
        format!("/v1/groups/{name}/{rest}")
    }
}

/// `path` with `query` behind it.
pub(super) fn with_query(path: &str, query: &impl Serialize) -> Result<String, ClientError> {
    let query = serde_urlencoded::to_string(query)
        .map_err(|error| ClientError::Nonsense(error.to_string()))?;
    Ok(if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{query}")
    })
}

impl Client {
    pub(super) fn new(paths: &Paths) -> Self {
        Self {
            paths: paths.clone(),
        }
    }

    /// Whether a peer answers; looks only, creates nothing.
    pub(super) async fn is_peer_running(&self) -> Result<bool, ClientError> {
        match self.connect().await {
            Ok(_) => Ok(true),
            Err(ClientError::NoPeer { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let data_dir = self.paths.data_dir().to_owned();
        let socket = self.paths.socket_of_running_peer();
        UnixStream::connect(&socket)
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound if !data_dir.exists() => ClientError::NoPeer {
                    data_dir,
                    why: "the directory does not exist".to_owned(),
                },
                io::ErrorKind::NotFound => ClientError::NoPeer {
                    data_dir,
                    why: "there is no socket".to_owned(),
                },
                io::ErrorKind::NotADirectory => ClientError::NoPeer {
                    data_dir,
                    why: "it is not a directory".to_owned(),
                },
                io::ErrorKind::ConnectionRefused => ClientError::NoPeer {
                    data_dir,
                    why: "its socket is stale: the peer died without cleaning up".to_owned(),
                },
                io::ErrorKind::PermissionDenied => denied(&socket),
                _ => ClientError::Broken(format!("{}: {error}", socket.display())),
            })
    }

    /// Sends a request; an answer that is no success is an error.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Body,
    ) -> Result<Response<Incoming>, ClientError> {
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let stream = TokioIo::new(self.connect().await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
            .await
            .map_err(broken)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the API's connection ended");
            }
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "hedgerow")
            .header(header::CONTENT_TYPE, content_type)
            .body(body)
            .map_err(|error| ClientError::Nonsense(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(broken)?
            .to_bytes();
        match serde_json::from_slice::<ErrorBody>(&body) {
            Ok(ErrorBody { error, messages }) => Err(ClientError::Refused {
                status,
                detail: error,
                messages,
            }),
            Err(_) => Err(ClientError::Nonsense(format!("status {status}"))),
        }
    }

    async fn whole(&self, method: Method, path: &str, body: Body) -> Result<Bytes, ClientError> {
        let response = self.send(method, path, "application/json", body).await?;
        let body = response.into_body().collect().await;
        Ok(body
            .map_err(|error| ClientError::Broken(error.to_string()))?
            .to_bytes())
    }

    /// The text at `path`.
    pub(super) async fn text(&self, path: &str) -> Result<String, ClientError> {
        let bytes = self.whole(Method::GET, path, full("")).await?;
        String::from_utf8(bytes.into()).map_err(|error| ClientError::Nonsense(error.to_string()))
    }

    /// What is at `path`.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        parse(&self.whole(Method::GET, path, full("")).await?)
    }

    /// Sends `body` as JSON.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(body);
        let body = body.map_err(|error| ClientError::Nonsense(error.to_string()))?;
        let answer = self.whole(method, path, full(body)).await?;
        if answer.is_empty() {
            parse(b"null")
        } else {
            parse(&answer)
        }
    }

    /// The lines that come from `path`.
    pub(super) async fn lines(&self, method: Method, path: &str) -> Result<Lines, ClientError> {
        let response = self
            .send(method, path, "application/json", full(""))
            .await?;
        let chunks = response
            .into_body()
            .into_data_stream()
            .map_err(io::Error::other);
        let reader = BufReader::with_capacity(64 << 10, StreamReader::new(chunks));
        Ok(Lines {
            reader: Box::new(reader),
            line: Vec::new(),
        })
    }
}

/// How many messages of an upload were accepted before it was refused.
fn accepted_before(messages: Option<u64>) -> String {
    match messages {
        None | Some(0) => String::new(),
        Some(1) => "; 1 message was accepted before".to_owned(),
        Some(messages) => format!("; {messages} messages were accepted before"),
    }
}

/// The error for a socket that this user may not use: it, or the directory that hides it.
fn denied(socket: &Path) -> ClientError {
    let seen = socket
        .ancestors()
        .find_map(|path| Some((path, std::fs::metadata(path).ok()?)));
    let (path, owner) = match seen {
        Some((path, metadata)) => (path, Some(user(metadata.uid()))),
        None => (socket, None),
    };
    ClientError::Denied {
        socket: path.to_owned(),
        owner,
    }
}

/// A user by name, where the list of users has one.
fn user(id: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(id)).then_some(name)
    });
    named.map_or_else(|| format!("user {id}"), str::to_owned)
}

/// An answer to `send` as what it says.
pub(super) async fn read<T: DeserializeOwned>(
    response: Response<Incoming>,
) -> Result<T, ClientError> {
    let body = response.into_body().collect().await;
    parse(
        &body
            .map_err(|error| ClientError::Broken(error.to_string()))?
            .to_bytes(),
    )
}

/// JSON as what it says.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(bytes).map_err(|error| ClientError::Nonsense(error.to_string()))
}

/// A stream of JSON objects, one a line.
pub(super) struct Lines {
    reader: Box<dyn AsyncBufRead + Send + Unpin>,
    line: Vec<u8>,
}

impl Lines {
    /// The next line without its line feed; `None` when the stream has ended in good order.
    ///
    /// Not to be dropped half-way: a part of a line would be lost.
    pub(super) async fn next_bytes(&mut self) -> Result<Option<&[u8]>, ClientError> {
        self.line.clear();
        self.line.shrink_to(LINE_BYTES_KEPT);
        let read = self.reader.read_until(b'\n', &mut self.line).await;
        read.map_err(|error| ClientError::Broken(error.to_string()))?;
        Ok(self.line.strip_suffix(b"\n"))
    }

    /// The next line as what it says.
    pub(super) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        self.next_bytes().await?.map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_another_user_is_named_with_its_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let uid = std::fs::metadata(dir.path()).expect("is there").uid();
        // What cannot be seen is named by the directory that can.
        let error = denied(&dir.path().join("hidden/api.sock")).to_string();
        let expected = format!(
            "no permission for {}, which belongs to {}; run as the user that runs the peer",
            dir.path().display(),
            user(uid)
        );
        assert_eq!(error, expected);
        assert_eq!(user(0), "root");
        assert_eq!(user(u32::MAX), format!("user {}", u32::MAX));
    }

    #[test]
    fn an_upload_that_was_refused_says_how_much_was_accepted() {
        let error = |messages| ClientError::Refused {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            detail: ErrorDetail {
                code: String::new(),
                message: "too large".to_owned(),
                remedy: "cut it".to_owned(),
            },
            messages,
        };
        assert_eq!(error(None).to_string(), "too large; cut it");
        assert_eq!(
            error(Some(7)).to_string(),
            "too large; cut it; 7 messages were accepted before"
        );
    }
}
