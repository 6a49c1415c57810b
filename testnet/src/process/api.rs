//! A peer's local API: HTTP/1.1 over its Unix socket, one connection a request.

use super::error::{ProcessError, Result};
use super::stream::MessageStream;
use bytes::Bytes;
use futures::TryStreamExt as _;
use hedgerow_protocol::MessageId;
use hedgerow_protocol::status::OverlayStatus;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::io::StreamReader;

/// How long an answer may take on a machine full of peers.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How much of unreadable output an error shows.
const EXCERPT_BYTES: usize = 200;

/// Where a peer's API is.
#[derive(Clone, Debug)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// The API at `address`: `unix:` and the socket's path, as a peer's ready line has it.
    pub fn new(address: &str) -> Self {
        Self {
            socket: address.strip_prefix("unix:").unwrap_or(address).into(),
        }
    }

    /// The socket's path.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What is at `path`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// What is at `path`, if that is said soon enough.
    pub async fn get_within<T: DeserializeOwned>(&self, path: &str, limit: Duration) -> Result<T> {
        self.call_within(Method::GET, path, Bytes::new(), limit)
            .await
    }

    /// Sends `body` to `path`, and reads the answer.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<T> {
        self.call_within(method, path, body, ANSWER_WITHIN).await
    }

    async fn call_within<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        limit: Duration,
    ) -> Result<T> {
        let whole = async {
            let response = self.send(method, path, body).await?;
            collect(response)
                .await
                .map_err(|why| self.failed(path, why))
        };
        let bytes = timeout(limit, whole)
            .await
            .map_err(|_| self.failed(path, format!("no answer within {limit:?}")))??;
        serde_json::from_slice(&bytes).map_err(|error| ProcessError::BadOutput {
            command: self.named(path),
            text: String::from_utf8_lossy(&bytes[..bytes.len().min(EXCERPT_BYTES)]).into_owned(),
            why: error.to_string(),
        })
    }

    /// Publishes `payload` in `group`; gives the message's name.
    pub async fn publish(&self, group: &str, payload: Bytes) -> Result<MessageId> {
        #[derive(Deserialize)]
        struct Published {
            first: MessageId,
        }
        let path = format!("/v1/groups/{}/messages", segment(group));
        let published: Published = self.call(Method::POST, &path, payload).await?;
        Ok(published.first)
    }

    /// The overlay of `group` from the peer itself, as it computes it.
    pub async fn overlay(&self, group: &str) -> Result<OverlayStatus> {
        let path = format!("/v1/groups/{}/overlay", segment(group));
        self.get(&path).await
    }

    /// Joins `group`, as `query` says (`overlay=mesh`, `last=10`), and streams its messages.
    pub async fn join(&self, group: &str, query: &str) -> Result<MessageStream> {
        let mark = if query.is_empty() { "" } else { "?" };
        let path = format!("/v1/groups/{}/messages{mark}{query}", segment(group));
        let response = self.send(Method::GET, &path, Bytes::new()).await?;
        let chunks = response
            .into_body()
            .into_data_stream()
            .map_err(std::io::Error::other);
        Ok(MessageStream::of_api(
            self.named(&path),
            StreamReader::new(chunks),
        ))
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<Response<Incoming>> {
        let stream = UnixStream::connect(&self.socket)
            .await
            .map_err(|error| self.failed(path, error.to_string()))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.failed(path, error.to_string()))?;
        // It ends with the answer, or when the answer is dropped; how it ended shows there.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "hedgerow")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| self.failed(path, error.to_string()))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.failed(path, error.to_string()))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = collect(response).await.unwrap_or_default();
        let why = String::from_utf8_lossy(&body[..body.len().min(EXCERPT_BYTES)]).into_owned();
        let call = self.named(path);
        Err(ProcessError::Refused { call, status, why })
    }

    fn named(&self, path: &str) -> String {
        format!("{path} at {}", self.socket.display())
    }

    fn failed(&self, path: &str, why: String) -> ProcessError {
        ProcessError::Call {
            call: self.named(path),
            why,
        }
    }
}

async fn collect(response: Response<Incoming>) -> std::result::Result<Bytes, String> {
    let body = response.into_body().collect().await;
    body.map(http_body_util::Collected::to_bytes)
        .map_err(|error| error.to_string())
}

/// A name as it stands in a path: everything but plain letters and digits is escaped.
fn segment(name: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_fits_into_a_path() {
        assert_eq!(segment("news-1.a_b~c"), "news-1.a_b~c");
        assert_eq!(segment("a/b ?ü"), "a%2Fb%20%3F%C3%BC");
    }

    #[tokio::test]
    async fn nobody_at_the_socket_is_an_error_that_names_it() {
        let api = Api::new("unix:/nowhere/api.sock");
        let error = api
            .get::<u32>("/v1/groups")
            .await
            .expect_err("nobody there");
        assert!(error.to_string().contains("/nowhere/api.sock"), "{error}");
    }
}
