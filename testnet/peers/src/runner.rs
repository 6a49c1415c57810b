//! Runs cells in processes of their own.

use crate::spec::{Load, Outcome, Shape, Spec, Standing};
use crate::stand::AROUND;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A process that runs one cell; ended when dropped.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(spec: &Spec) -> Result<Self> {
        let program = std::env::current_exe().context("this program's own path")?;
        let mut child = Command::new(program)
            .arg("cell")
            .arg(serde_json::to_string(spec)?)
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
        Ok(Self { child, output })
    }

    fn read<T: serde::de::DeserializeOwned>(&mut self, what: &str) -> Result<T> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "the measurement ended before {what}");
        serde_json::from_str(&line).with_context(|| format!("{what}: {line}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Measures `spec`, in one process or two.
pub fn run(spec: &Spec) -> Result<Outcome> {
    match spec.shape {
        Shape::PairOrigin => pair(spec),
        Shape::Centre => centre(spec),
        _ => {
            let mut process = Process::start(spec)?;
            let _: Standing = process.read("its peers stood")?;
            process.read("its end")
        }
    }
}

/// The receiver listens and measures; the origin connects and publishes. What is to be known
/// of both is added up.
fn pair(spec: &Spec) -> Result<Outcome> {
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
    let standing: Standing = receiver.read("its peer stood")?;
    let origin_spec = Spec {
        connect: Some(standing.address),
        tell: receiver_spec.tell,
        ..spec.clone()
    };
    let mut origin = Process::start(&origin_spec)?;
    let _: Standing = origin.read("its peer stood")?;
    let received: Outcome = receiver.read("the receiver's end")?;
    let sent: Outcome = origin.read("the origin's end")?;
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
    let around = Spec {
        shape: Shape::Around(AROUND),
        ..spec.clone()
    };
    let mut around = Process::start(&around)?;
    let standing: Standing = around.read("its peers stood")?;
    let mut centre = Process::start(&Spec {
        connect: Some(standing.address),
        ..spec.clone()
    })?;
    let _: Standing = centre.read("its peer stood")?;
    centre.read("its end")
}
