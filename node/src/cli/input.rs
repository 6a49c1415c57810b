//! What `pub` publishes: an argument, a file, or stdin, as a body that is read as it is sent.

use super::args::PublishArgs;
use super::client::{ClientError, full};
use super::error::CliError;
use crate::api::types::Split;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, IsTerminal};
use std::sync::{Arc, OnceLock};
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
    pub(super) failure: Failure,
}

/// Why reading what is published failed, if it did.
#[derive(Clone)]
pub(super) struct Failure {
    what: String,
    why: Arc<OnceLock<String>>,
}

impl Failure {
    fn of(what: &str) -> Self {
        Self {
            what: what.to_owned(),
            why: Arc::default(),
        }
    }

    /// What to say instead of `error`, which may only be its consequence.
    pub(super) fn or(&self, error: ClientError) -> ClientError {
        match self.why.get() {
            Some(why) => ClientError::Input {
                what: self.what.clone(),
                why: why.clone(),
            },
            None => error,
        }
    }
}

impl Input {
    pub(super) async fn open(args: &PublishArgs) -> Result<Self, CliError> {
        let (body, default, progress, failure) = match (&args.file, args.text.as_deref()) {
            (Some(path), _) => {
                let error = |error| CliError::io(format!("cannot read {}", path.display()), error);
                let file = tokio::fs::File::open(path).await.map_err(error)?;
                let metadata = file.metadata().await.map_err(error)?;
                if metadata.is_dir() {
                    return Err(error(io::ErrorKind::IsADirectory.into()));
                }
                let progress = progress(metadata.len());
                let failure = Failure::of(&path.display().to_string());
                let body = stream(file, &progress, &failure);
                (body, Split::None, progress, failure)
            }
            (None, None | Some("-")) => {
                let error = |error| CliError::io("cannot read standard input", error);
                let stat = rustix::fs::fstat(io::stdin()).map_err(|errno| error(errno.into()))?;
                if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
                    return Err(error(io::ErrorKind::IsADirectory.into()));
                }
                let hidden = ProgressBar::hidden();
                let failure = Failure::of("standard input");
                let body = stream(tokio::io::stdin(), &hidden, &failure);
                (body, Split::Lines, hidden, failure)
            }
            (None, Some(text)) => {
                let body = full(text.to_owned());
                (
                    body,
                    Split::None,
                    ProgressBar::hidden(),
                    Failure::of("the text"),
                )
            }
        };
        Ok(Self {
            body,
            split: args.split.unwrap_or(default),
            progress,
            failure,
        })
    }
}

fn stream(
    reader: impl AsyncRead + Send + Sync + 'static,
    progress: &ProgressBar,
    failure: &Failure,
) -> BoxBody<Bytes, io::Error> {
    let (progress, why) = (progress.clone(), failure.why.clone());
    let chunks = ReaderStream::with_capacity(reader, CHUNK_BYTES)
        .inspect_ok(move |chunk| progress.inc(chunk.len() as u64))
        .inspect_err(move |error| {
            // Only the first says why.
            let _ = why.set(error.to_string());
        })
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
