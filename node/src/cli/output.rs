//! stdout: data, written whole and flushed line by line. stderr: everything else.
//!
//! On a terminal nothing is written that could control it (see [`safe`]): every way to print but
//! [`Output::bytes`] escapes. Pipes and files get what there is, byte for byte.

use super::client::ClientError;
use super::error::CliError;
use super::safe;
use crate::api::types::{ErrorBody, ErrorDetail};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// How this call prints.
#[derive(Clone, Debug)]
pub(super) struct Output {
    json: bool,
    /// Whether stdout is a terminal.
    terminal: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self {
            json,
            terminal: io::stdout().is_terminal(),
        }
    }

    /// Whether JSON was asked for.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Writes bytes as they are, to a terminal as well: for what is asked for so, or comes from
    /// this program.
    #[allow(clippy::unused_self)] // whoever prints shows that it may
    pub(super) fn bytes(&self, bytes: &[u8]) -> Result<(), CliError> {
        write(&[bytes])
    }

    /// Writes a payload and what follows it.
    pub(super) fn payload(&self, payload: &[u8], end: &[u8]) -> Result<(), CliError> {
        if self.terminal {
            return write(&[safe::bytes(payload).as_bytes(), end]);
        }
        write(&[payload, end])
    }

    /// Writes text as it is.
    pub(super) fn text(&self, text: &str) -> Result<(), CliError> {
        self.payload(text.as_bytes(), b"")
    }

    /// Writes JSON that lies in several places, one behind the other.
    pub(super) fn json(&self, parts: &[&[u8]]) -> Result<(), CliError> {
        if self.terminal {
            return write(&[&safe::json(&parts.concat())]);
        }
        write(parts)
    }

    /// Writes a line.
    pub(super) fn line(&self, text: impl std::fmt::Display) -> Result<(), CliError> {
        self.text(&format!("{text}\n"))
    }

    /// Writes a value as a line of JSON.
    pub(super) fn value(&self, value: &impl Serialize) -> Result<(), CliError> {
        let mut line = serde_json::to_vec(value)
            .map_err(|error| CliError::io("cannot write JSON", error.into()))?;
        line.push(b'\n');
        self.json(&[&line])
    }

    /// Says something to the person at the terminal.
    #[allow(clippy::unused_self)] // as above
    pub(super) fn notice(&self, text: impl std::fmt::Display) {
        say(&format!("hedgerow: {text}"));
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
            let _ = write!(io::stderr(), "{on}error:{off} ");
            say(&error.to_string());
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
        if let Ok(mut text) = serde_json::to_vec(&body) {
            text.push(b'\n');
            let mut stderr = io::stderr();
            let _ = if stderr.is_terminal() {
                stderr.write_all(&safe::json(&text))
            } else {
                stderr.write_all(&text)
            };
        }
    }
}

/// Writes to stdout what lies in several places, one behind the other.
fn write(parts: &[&[u8]]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    parts
        .iter()
        .try_for_each(|part| stdout.write_all(part))
        .and_then(|()| stdout.flush())
        .map_err(CliError::stdout)
}

/// Writes a line to stderr.
fn say(text: &str) {
    let mut stderr = io::stderr();
    // Nobody to hear it is no reason to fail.
    let _ = if stderr.is_terminal() {
        writeln!(stderr, "{}", safe::text(text))
    } else {
        writeln!(stderr, "{text}")
    };
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
