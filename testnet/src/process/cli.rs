//! The `hedgerow` command, speaking to one peer the way a user does.

use super::error::{ProcessError, Result};
use super::spawn::tie_to_parent;
use super::stream::MessageStream;
use serde::de::DeserializeOwned;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// How long a command that answers at once may take on a machine full of peers.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How much of unreadable output an error shows.
const EXCERPT_CHARS: usize = 200;

/// Runs commands against the peer of one data directory.
#[derive(Clone, Debug)]
pub struct Cli {
    binary: PathBuf,
    data_dir: PathBuf,
}

impl Cli {
    /// The command `binary` for the peer of `data_dir`.
    pub fn new(binary: &Path, data_dir: &Path) -> Self {
        Self {
            binary: binary.to_owned(),
            data_dir: data_dir.to_owned(),
        }
    }

    /// A command with these arguments, not started. It dies with its handle and with the harness.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(arguments)
            .stdin(Stdio::null());
        tie_to_parent(command.as_std_mut());
        command.kill_on_drop(true);
        command
    }

    /// Runs a command to its end, which must be exit code 0, and returns what it printed.
    pub async fn text<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        let output = self.output(arguments, ANSWER_WITHIN).await?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a command with `--json` to its end and reads what it printed.
    pub async fn json<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        let text = self.text(&arguments).await?;
        serde_json::from_str(&text).map_err(|error| ProcessError::BadOutput {
            command: line(&arguments),
            text: text.chars().take(EXCERPT_CHARS).collect(),
            why: error.to_string(),
        })
    }

    /// Runs a command to its end within `limit`; any exit code but 0 is an error.
    pub async fn output<S: AsRef<OsStr>>(
        &self,
        arguments: &[S],
        limit: Duration,
    ) -> Result<Output> {
        let spawned = self
            .command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let child = spawned.map_err(|error| self.not_started(error))?;
        let Ok(ended) = timeout(limit, child.wait_with_output()).await else {
            let command = line(arguments);
            return Err(ProcessError::CommandTimeout {
                command,
                after: limit,
            });
        };
        let output = ended.map_err(|error| self.not_started(error))?;
        if output.status.success() {
            return Ok(output);
        }
        Err(ProcessError::Command {
            command: line(arguments),
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Joins `group` with these further arguments and streams its messages.
    pub fn join(&self, group: &str, more: &[&str]) -> Result<MessageStream> {
        let arguments: Vec<&str> = ["join", group, "--jsonl"]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        let child = self
            .command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| self.not_started(error))?;
        Ok(MessageStream::of_command(line(&arguments), child))
    }

    fn not_started(&self, source: std::io::Error) -> ProcessError {
        ProcessError::Spawn {
            program: self.binary.clone(),
            source,
        }
    }
}

fn line<S: AsRef<OsStr>>(arguments: &[S]) -> String {
    let words = arguments.iter().map(|word| word.as_ref().to_string_lossy());
    std::iter::once("hedgerow".into())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}
