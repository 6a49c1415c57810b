//! Runs cells in processes of their own.

use crate::spec::{Load, Outcome, Said, Shape, Spec, Standing};
use crate::stand::AROUND;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What a run may take at most, besides the time that is measured: twice 90 s until peers are
/// connected and have their links, two minutes until they are calm, 20 s idle, and then what is
/// under way.
const CELL_WITHIN: Duration = Duration::from_secs(360);

/// A run that did not end, and was ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Hung {
    waited_for: &'static str,
    within: Duration,
}

impl std::error::Error for Hung {}

impl std::fmt::Display for Hung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (what, within) = (self.waited_for, self.within.as_secs());
        write!(f, "hung: killed after {within} s before {what}")
    }
}

/// A process that runs one cell; ended when dropped.
struct Process {
    child: Child,
    lines: Receiver<std::io::Result<String>>,
}

/// When a run must have ended.
#[derive(Clone, Copy)]
struct Limit {
    end: Instant,
    within: Duration,
}

impl Limit {
    fn of(spec: &Spec) -> Self {
        let within = CELL_WITHIN + Duration::from_secs_f64(spec.seconds);
        let end = Instant::now() + within;
        Self { end, within }
    }
}

impl Process {
    fn start(spec: &Spec) -> Result<Self> {
        let program = std::env::current_exe().context("this program's own path")?;
        let mut command = Command::new(program);
        command.arg("cell").arg(serde_json::to_string(spec)?);
        Self::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(if std::env::var_os("PEERS_LOG").is_some() {
                Stdio::inherit()
            } else {
                Stdio::null()
            })
            .spawn()
            .context("a process for a measurement")?;
        let output = BufReader::new(child.stdout.take().context("its output")?);
        let (sender, lines) = std::sync::mpsc::channel();
        // Ends with the process: a pipe cannot be read with a limit.
        std::thread::spawn(move || {
            output.lines().try_for_each(|line| sender.send(line).ok());
        });
        Ok(Self { child, lines })
    }

    fn read<T: serde::de::DeserializeOwned>(
        &mut self,
        what: &'static str,
        limit: Limit,
    ) -> Result<T> {
        let left = limit.end.saturating_duration_since(Instant::now());
        let line = match self.lines.recv_timeout(left) {
            Ok(line) => line?,
            Err(RecvTimeoutError::Timeout) => {
                return Err(anyhow::Error::new(Hung {
                    waited_for: what,
                    within: limit.within,
                }));
            }
            Err(RecvTimeoutError::Disconnected) => {
                anyhow::bail!("the measurement ended before {what}")
            }
        };
        match serde_json::from_str(&line).with_context(|| format!("{what}: {line}"))? {
            Said::Done(said) => Ok(said),
            Said::Failed { error } => anyhow::bail!("before {what}: {error}"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures `spec`, in one process or two. [`Hung`] where that does not end.
pub fn run(spec: &Spec) -> Result<Outcome> {
    match spec.shape {
        Shape::PairOrigin => pair(spec),
        Shape::Centre => centre(spec),
        _ => {
            let limit = Limit::of(spec);
            let mut process = Process::start(spec)?;
            let _: Standing = process.read("its peers stood", limit)?;
            process.read("its end", limit)
        }
    }
}

/// The receiver listens and measures; the origin connects and publishes. What is to be known
/// of both is added up.
fn pair(spec: &Spec) -> Result<Outcome> {
    let limit = Limit::of(spec);
    let mut receiver_spec = Spec {
        shape: Shape::PairReceiver,
        ..spec.clone()
    };
    // The origin keeps to its window by what it is told, whichever the program.
    if matches!(spec.load, Load::Window(_)) {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        // Free for the origin to bind in a moment.
        receiver_spec.tell = Some(socket.local_addr()?);
    }
    let mut receiver = Process::start(&receiver_spec)?;
    let standing: Standing = receiver.read("its peer stood", limit)?;
    let origin_spec = Spec {
        connect: Some(standing.address),
        tell: receiver_spec.tell,
        ..spec.clone()
    };
    let mut origin = Process::start(&origin_spec)?;
    let _: Standing = origin.read("its peer stood", limit)?;
    let received: Outcome = receiver.read("the receiver's end", limit)?;
    let sent: Outcome = origin.read("the origin's end", limit)?;
    Ok(Outcome {
        cpu_us: received.cpu_us + (sent.cpu_us as f64 / sent.seconds * received.seconds) as u64,
        private_kib: received.private_kib.max(sent.private_kib),
        published: sent.published,
        due_in_all: match spec.load {
            Load::Rate(_) => sent.published,
            _ => 0,
        },
        spread_us: sent.spread_us,
        links: sent.links,
        ..received
    })
}

/// A peer with eight links or more to peers of another process.
fn centre(spec: &Spec) -> Result<Outcome> {
    let limit = Limit::of(spec);
    let around = Spec {
        shape: Shape::Around(AROUND),
        ..spec.clone()
    };
    let mut around = Process::start(&around)?;
    let standing: Standing = around.read("its peers stood", limit)?;
    let mut centre = Process::start(&Spec {
        connect: Some(standing.address),
        ..spec.clone()
    })?;
    let _: Standing = centre.read("its peer stood", limit)?;
    centre.read("its end", limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(script: &str, within: Duration) -> Result<Standing> {
        let mut process = Process::spawn(Command::new("sh").args(["-c", script]))?;
        let end = Instant::now() + within;
        process.read("its peer stood", Limit { end, within })
    }

    #[test]
    fn a_process_that_says_nothing_is_ended() {
        let begin = Instant::now();
        let error = read("exec sleep 100", Duration::from_millis(50)).expect_err("hangs");
        assert!(error.is::<Hung>(), "{error:#}");
        assert!(begin.elapsed() < Duration::from_secs(50));
    }

    #[test]
    fn what_a_process_says_is_read_and_why_it_failed() {
        let long = Duration::from_secs(50);
        let standing = read(r#"echo '{"address":"here"}'"#, long).expect("stands");
        assert_eq!(standing.address, "here");
        let failed = read(r#"echo '{"error":"no links"}'"#, long).expect_err("failed");
        assert_eq!(failed.to_string(), "before its peer stood: no links");
        let ended = read("exit 1", long).expect_err("ended");
        assert!(ended.to_string().contains("ended before"), "{ended:#}");
    }
}
