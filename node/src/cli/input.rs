//! What `pub` publishes: an argument, a file, or stdin, as a body that is read as it is sent.

use super::args::PublishArgs;
use super::client::full;
use super::error::CliError;
use crate::api::types::Split;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

/// A file shorter than this needs no progress bar.
const PROGRESS_BYTES: u64 = 4 << 20;
/// Read at once.
const CHUNK_BYTES: usize = 128 << 10;

/// What is published, and how it is cut.
pub(super) struct Input {
    pub(super) body: BoxBody<Bytes, io::Error>,
    pub(super) split: Split,
    pub(super) progress: ProgressBar,
}

impl Input {
    pub(super) async fn open(args: &PublishArgs) -> Result<Self, CliError> {
        let (body, default, progress) = match (&args.file, args.text.as_deref()) {
            (Some(path), _) => {
                let error = |error| CliError::io(format!("cannot read {}", path.display()), error);
                let file = tokio::fs::File::open(path).await.map_err(error)?;
                let metadata = file.metadata().await.map_err(error)?;
                if metadata.is_dir() {
                    return Err(error(io::ErrorKind::IsADirectory.into()));
                }
                let progress = progress(metadata.len());
                (stream(file, &progress), Split::None, progress)
            }
            (None, None | Some("-")) => {
                let hidden = ProgressBar::hidden();
                (stream(tokio::io::stdin(), &hidden), Split::Lines, hidden)
            }
            (None, Some(text)) => (full(text.to_owned()), Split::None, ProgressBar::hidden()),
        };
        Ok(Self {
            body,
            split: args.split.unwrap_or(default),
            progress,
        })
    }
}

fn stream(
    reader: impl AsyncRead + Send + Sync + 'static,
    progress: &ProgressBar,
) -> BoxBody<Bytes, io::Error> {
    let progress = progress.clone();
    let chunks = ReaderStream::with_capacity(reader, CHUNK_BYTES)
        .inspect_ok(move |chunk| progress.inc(chunk.len() as u64))
        .map(|chunk| chunk.map(Frame::data));
    BodyExt::boxed(StreamBody::new(chunks))
}

fn progress(bytes: u64) -> ProgressBar {
    if bytes < PROGRESS_BYTES || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(bytes);
    let template = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
