//! stdout: data, written whole and flushed line by line. stderr: everything else.

use super::client::ClientError;
use super::error::CliError;
use crate::api::types::{ErrorBody, ErrorDetail};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// How this call prints.
#[derive(Clone, Debug)]
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether JSON was asked for.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes data as it is.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        self.parts(&[bytes])
    }

    /// Writes data that lies in several places, one behind the other.
    #[allow(clippy::unused_self)] // whoever prints shows that it may
    pub(super) fn parts(&self, parts: &[&[u8]]) -> Result<(), CliError> {
        let mut stdout = io::stdout().lock();
        parts
            .iter()
            .try_for_each(|part| stdout.write_all(part))
            .and_then(|()| stdout.flush())
            .map_err(CliError::stdout)
    }

    /// Writes a line.
    pub(super) fn line(&self, text: impl std::fmt::Display) -> Result<(), CliError> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Writes a value as a line of JSON.
    pub(super) fn value(&self, value: &impl Serialize) -> Result<(), CliError> {
        let mut line = serde_json::to_vec(value)
            .map_err(|error| CliError::io("cannot write JSON", error.into()))?;
        line.push(b'\n');
        self.bytes(&line)
    }

    /// Says something to the person at the terminal.
    #[allow(clippy::unused_self)] // as above
    pub(super) fn notice(&self, text: impl std::fmt::Display) {
        // Nobody to hear it is no reason to fail.
        let _ = writeln!(io::stderr(), "hedgerow: {text}");
    }

    /// Says why the command failed.
    pub(super) fn error(&self, error: &CliError) {
        if matches!(error, CliError::BrokenPipe | CliError::Reported) {
            return;
        }
        if !self.json {
            let red = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let (on, off) = if red {
                ("\x1b[1;31m", "\x1b[0m")
            } else {
                ("", "")
            };
            let _ = writeln!(io::stderr(), "{on}error:{off} {error}");
            return;
        }
        let body = match error {
            CliError::Client(ClientError::Refused {
                detail, messages, ..
            }) => ErrorBody {
                error: detail.clone(),
                messages: *messages,
            },
            error => ErrorBody {
                error: ErrorDetail {
                    code: code(error).to_owned(),
                    message: error.to_string(),
                    remedy: String::new(),
                },
                messages: None,
            },
        };
        if let Ok(text) = serde_json::to_string(&body) {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}

fn code(error: &CliError) -> &'static str {
    match error.exit_code() {
        2 => "usage",
        3 => "no_peer",
        4 => "partial",
        124 => "timeout",
        _ => "failure",
    }
}
