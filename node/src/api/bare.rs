//! The HTTP library answers requests that it cannot parse with an empty body. [`WithBodies`]
//! replaces these answers: they get the JSON body that every other error has.

use super::types::{ErrorBody, ErrorDetail};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection to a client, on which an error without a body is replaced by one with a body.
#[derive(Debug)]
pub(super) struct WithBodies<T> {
    inner: T,
    /// What is written instead of what the library wrote, and how much of it is.
    instead: Option<(Vec<u8>, usize)>,
}

impl<T> WithBodies<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            instead: None,
        }
    }

    pub(super) fn into_inner(self) -> T {
        self.inner
    }
}

/// A whole answer that closes the connection.
pub(super) fn answer(status: &str, code: &str, message: &str, remedy: &str) -> Vec<u8> {
    let body = ErrorBody {
        error: ErrorDetail {
            code: code.to_owned(),
            message: message.to_owned(),
            remedy: remedy.to_owned(),
        },
        messages: None,
    };
    // Text always makes JSON.
    let body = serde_json::to_string(&body).unwrap_or_default();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// What to write instead of `written`, if that is an error without a body.
fn instead_of(written: &[u8]) -> Option<Vec<u8>> {
    if !written.starts_with(b"HTTP/1.1 4") {
        return None;
    }
    let head = std::str::from_utf8(written.strip_suffix(b"\r\n\r\n")?).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?;
    if !lines.any(|line| line == "content-length: 0") {
        return None;
    }
    let (code, message, remedy) = match status.get(..3)? {
        "400" => (
            "bad_request",
            "this is not an HTTP/1.1 request",
            "see docs/api.md, or use `curl --unix-socket`",
        ),
        "414" => (
            "path_too_long",
            "the request's path and query are too long",
            "send long values in the body",
        ),
        "431" => (
            "head_too_large",
            "the request's head has too many or too long headers",
            "send fewer headers; the API needs none but Content-Type and Content-Length",
        ),
        _ => return None,
    };
    Some(answer(status, code, message, remedy))
}

impl<T: AsyncWrite + Unpin> WithBodies<T> {
    /// Writes the replacement, if there is one; ready once nothing of it is left.
    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some((bytes, written)) = &mut self.instead {
            let rest = &bytes[*written..];
            if rest.is_empty() {
                self.instead = None;
                break;
            }
            match ready!(Pin::new(&mut self.inner).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *written += more,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WithBodies<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WithBodies<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            self.instead = instead_of(buffer).map(|bytes| (bytes, 0));
        }
        if self.instead.is_some() {
            ready!(self.poll_instead(context))?;
            return Poll::Ready(Ok(buffer.len()));
        }
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut full = buffers.iter().filter(|buffer| !buffer.is_empty());
        // An error without a body is a head and nothing else.
        if let (Some(head), None) = (full.next(), full.next()) {
            return self.poll_write(context, head);
        }
        Pin::new(&mut self.inner).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_errors_without_a_body_are_replaced() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                     content-length: 0\r\ndate: now\r\n\r\n";
        let instead = String::from_utf8(instead_of(bare).expect("replaced")).expect("text");
        assert!(instead.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"));
        assert!(instead.contains("\"head_too_large\""), "{instead}");
        for other in [
            &b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n",
            b"x\r\n\r\n",
            b"",
        ] {
            assert_eq!(instead_of(other), None);
        }
    }
}
