//! What is published, and how it gets into a peer: through the `hedgerow` command, as by hand.

use anyhow::{Context as _, ensure};
use hedgerow_testnet::process::Cli;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{MissedTickBehavior, interval};

/// How long a stream takes at least: long enough to be in the middle of when peers die.
const STREAM_SECONDS: u64 = 8;
/// How often a few lines are written.
const WRITE_EVERY: Duration = Duration::from_millis(10);
/// How long the publishing of one large file may take.
const FILE_WITHIN: Duration = Duration::from_secs(90);

/// What is published.
#[derive(Debug)]
pub(crate) struct Content {
    /// A text, to be streamed line by line.
    pub(crate) text: Arc<[u8]>,
    /// Its file's name.
    pub(crate) text_name: String,
    /// A file, to be sent as one message.
    pub(crate) binary: Vec<u8>,
    /// Where it is.
    pub(crate) binary_file: PathBuf,
}

impl Content {
    /// Reads both files.
    pub(crate) fn read(text: &Path, binary: &Path) -> anyhow::Result<Self> {
        let read = |file: &Path| std::fs::read(file).with_context(|| file.display().to_string());
        let text_name = text
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let content = Self {
            text: read(text)?.into(),
            text_name,
            binary: read(binary)?,
            binary_file: binary.to_owned(),
        };
        let bytes = &content.text;
        ensure!(
            bytes.ends_with(b"\n"),
            "{} does not end with a line's end",
            text.display()
        );
        Ok(content)
    }

    /// The lines of the text, without their ends.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.text[..self.text.len() - 1].split(|byte| *byte == b'\n')
    }
}

/// Streams a text into a group through `hedgerow pub GROUP -`, a few lines at a time.
pub(crate) async fn stream_lines(
    cli: Cli,
    group: &'static str,
    text: Arc<[u8]>,
) -> anyhow::Result<()> {
    let mut child = cli
        .command(&["pub", group, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("hedgerow pub")?;
    let mut input = child.stdin.take().context("a pipe into hedgerow pub")?;
    let rounds = STREAM_SECONDS * 1000 / WRITE_EVERY.as_millis() as u64;
    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let per_round = lines.len().div_ceil(rounds as usize).max(1);
    let mut ticks = interval(WRITE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for some in lines.chunks(per_round) {
        ticks.tick().await;
        if input.write_all(&some.concat()).await.is_err() {
            // It has ended; its exit code and words follow.
            break;
        }
    }
    drop(input);
    let output = child.wait_with_output().await.context("hedgerow pub")?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "hedgerow pub {group} - failed ({}): {words}",
        output.status
    );
    Ok(())
}

/// Sends a file as one message through `hedgerow pub GROUP --file FILE`.
pub(crate) async fn send_file(cli: Cli, group: &'static str, file: PathBuf) -> anyhow::Result<()> {
    let arguments = [
        "pub".as_ref(),
        group.as_ref(),
        "--file".as_ref(),
        file.as_os_str(),
    ];
    cli.output(&arguments, FILE_WITHIN).await?;
    Ok(())
}
