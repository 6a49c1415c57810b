//! One `hedgerow run` process: its plan, its start, signals to it, its end.

use super::api::Api;
use super::cli::Cli;
use super::error::{ProcessError, Result, at};
use super::pid::ProcessId;
use super::spawn::{bear_full_disks, detach, tie_to_parent};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How often the output of a starting peer is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long a dropped peer is waited for after SIGKILL.
const DROP_WAIT: Duration = Duration::from_secs(1);
/// How much of a log an error shows.
const LOG_TAIL_BYTES: usize = 2_000;

/// Who ends a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It dies with the value that holds it, and with the thread that started it.
    Owned,
    /// It has a session of its own, and outlives the harness once it is released; before, it
    /// dies with the value that holds it.
    Detached,
}

/// How a peer is to be run.
#[derive(Clone, Debug)]
pub struct PeerPlan {
    /// What people call it; its log is `NAME.log`.
    pub name: String,
    /// Its data directory; made when missing.
    pub data_dir: PathBuf,
    /// Where its log and output go; made when missing.
    pub log_dir: PathBuf,
    /// The network's name.
    pub network: String,
    /// Addresses to listen on.
    pub listen: Vec<String>,
    /// Addresses to bootstrap from.
    pub connect: Vec<String>,
    /// Groups to be in from the start.
    pub join: Vec<String>,
    /// Further arguments of `hedgerow run`.
    pub more: Vec<OsString>,
    /// Who ends it.
    pub lifetime: Lifetime,
    /// How long it may take until its API accepts calls.
    pub ready_within: Duration,
}

impl PeerPlan {
    /// Where it says what happens.
    pub fn log_file(&self) -> PathBuf {
        self.log_dir.join(format!("{}.log", self.name))
    }
}

/// The line that `hedgerow run` prints once its API accepts calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Who it is.
    pub peer: String,
    /// Its addresses with the real ports, in the order of `--listen`.
    pub listen: Vec<String>,
    /// Where its API is: `unix:` and a path.
    pub api: String,
}

/// Where processes are started.
pub trait Place: std::fmt::Debug + Send + Sync {
    /// Starts a command there. Called inside the runtime that will wait for the process.
    fn spawn(&self, command: Command) -> std::io::Result<Child>;
}

/// Where this program runs itself.
#[derive(Clone, Copy, Debug)]
pub struct Here;

impl Place for Here {
    fn spawn(&self, mut command: Command) -> std::io::Result<Child> {
        command.spawn()
    }
}

/// A running, paused or ended peer.
#[derive(Debug)]
pub struct Peer {
    plan: PeerPlan,
    binary: PathBuf,
    child: Option<Guarded>,
    process: Option<ProcessId>,
    ready: Ready,
}

/// A child that is killed, and waited for, when it is dropped: whoever drops it may then take
/// away its files.
#[derive(Debug)]
struct Guarded(Option<Child>);

impl Peer {
    /// Starts a peer and waits until its API accepts calls.
    pub async fn start(binary: &Path, plan: PeerPlan) -> Result<Self> {
        Self::start_in(&Here, binary, plan).await
    }

    /// The same at another place.
    pub async fn start_in(place: &dyn Place, binary: &Path, plan: PeerPlan) -> Result<Self> {
        let mut child = Guarded(Some(spawn(place, binary, &plan)?));
        let process = child.0.as_ref().and_then(Child::id).map(ProcessId::of);
        let ready = until_ready(&plan, &mut child).await?;
        Ok(Self {
            plan,
            binary: binary.to_owned(),
            child: Some(child),
            process,
            ready,
        })
    }

    /// Starts it again as it was planned, after it has ended; its data directory is as it left it.
    pub async fn restart(&mut self) -> Result<()> {
        self.stop(Duration::from_secs(5)).await?;
        *self = Self::start(&self.binary, self.plan.clone()).await?;
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Its plan.
    pub fn plan(&self) -> &PeerPlan {
        &self.plan
    }

    /// What it said when it became ready.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Its process, as long as it runs.
    pub fn process(&self) -> Option<ProcessId> {
        self.process.filter(|process| process.is_alive())
    }

    /// Whether it runs (or is paused).
    pub fn is_alive(&self) -> bool {
        self.process().is_some()
    }

    /// The CLI, speaking to this peer.
    pub fn cli(&self) -> Cli {
        Cli::new(&self.binary, &self.plan.data_dir)
    }

    /// Its API.
    pub fn api(&self) -> Api {
        Api::new(&self.ready.api)
    }

    /// Its log.
    pub fn log_file(&self) -> PathBuf {
        self.plan.log_file()
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        tail_of(&self.log_file())
    }

    /// Kills it with SIGKILL: it gets no chance to say goodbye.
    pub async fn kill(&mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.wait().await.map(drop)
    }

    /// Halts it with SIGSTOP.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`Peer::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to leave with SIGTERM; does not wait.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERM)
    }

    /// Lets its disk be full, or have room again.
    pub fn fill_disk(&self, full: bool) -> Result<()> {
        match self.process() {
            Some(process) => process.limit_files(full),
            None => Ok(()),
        }
    }

    /// Sends it any signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match self.process() {
            Some(process) => process.signal(signal),
            None => Err(ProcessError::NotRunning {
                peer: self.plan.name.clone(),
            }),
        }
    }

    /// Waits until it has ended; `None` when that was known already.
    pub async fn wait(&mut self) -> Result<Option<ExitStatus>> {
        let Some(mut child) = self.child.take() else {
            return Ok(None);
        };
        let Some(running) = &mut child.0 else {
            return Ok(None);
        };
        let status = running.wait().await.map_err(at(&self.binary))?;
        self.process = None;
        Ok(Some(status))
    }

    /// Asks it to leave, and kills it when it has not after `grace`. Tells whether it left by itself.
    pub async fn stop(&mut self, grace: Duration) -> Result<bool> {
        let Some(process) = self.process else {
            return Ok(true);
        };
        let left = process.stop(grace).await?;
        self.wait().await?;
        Ok(left)
    }

    /// Lets go of a detached peer: it runs on, known by this number.
    pub fn release(mut self) -> Option<ProcessId> {
        if let Some(child) = &mut self.child {
            child.0.take();
        }
        self.process()
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let Some(child) = &mut self.0 else { return };
        if child.start_kill().is_err() {
            return;
        }
        let deadline = std::time::Instant::now() + DROP_WAIT;
        while matches!(child.try_wait(), Ok(None)) && std::time::Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn output_file(plan: &PeerPlan) -> PathBuf {
    plan.log_dir.join(format!("{}.out", plan.name))
}

fn spawn(place: &dyn Place, binary: &Path, plan: &PeerPlan) -> Result<Child> {
    // Whatever the umask is: a peer refuses a directory that others can write.
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    for dir in [&plan.data_dir, &plan.log_dir] {
        builder.create(dir).map_err(at(dir))?;
    }
    // Output goes to files rather than pipes, so that a peer can outlive whoever started it.
    let output = File::create(output_file(plan)).map_err(at(output_file(plan)))?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(plan.log_file())
        .map_err(at(plan.log_file()))?;
    let mut command = Command::new(binary);
    command
        .arg("--data-dir")
        .arg(&plan.data_dir)
        .arg("run")
        .arg("--network")
        .arg(&plan.network);
    // Peers of a testnet find each other by the addresses they are given, nobody else by chance.
    command.arg("--no-mdns");
    for (flag, values) in [
        ("--listen", &plan.listen),
        ("--connect", &plan.connect),
        ("--join", &plan.join),
    ] {
        for value in values {
            command.arg(flag).arg(value);
        }
    }
    command
        .args(&plan.more)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(log);
    match plan.lifetime {
        Lifetime::Owned => {
            tie_to_parent(command.as_std_mut());
            bear_full_disks(command.as_std_mut());
        }
        Lifetime::Detached => detach(command.as_std_mut()),
    }
    place.spawn(command).map_err(|source| ProcessError::Spawn {
        program: binary.to_owned(),
        source,
    })
}

async fn until_ready(plan: &PeerPlan, child: &mut Guarded) -> Result<Ready> {
    let deadline = Instant::now() + plan.ready_within;
    loop {
        let ended = match &mut child.0 {
            Some(child) => child.try_wait().map_err(at(output_file(plan)))?,
            None => None,
        };
        let output = std::fs::read_to_string(output_file(plan)).unwrap_or_default();
        if let Some((line, _)) = output.split_once('\n') {
            return serde_json::from_str(line).map_err(|source| ProcessError::BadReadyLine {
                peer: plan.name.clone(),
                line: line.to_owned(),
                source,
            });
        }
        if let Some(status) = ended {
            let log_tail = tail_of(&plan.log_file());
            return Err(ProcessError::EndedEarly {
                peer: plan.name.clone(),
                status,
                log_tail,
            });
        }
        if Instant::now() >= deadline {
            return Err(ProcessError::NotReady {
                peer: plan.name.clone(),
                after: plan.ready_within,
                log_tail: tail_of(&plan.log_file()),
            });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The last lines of a file, whole ones where there are any.
pub(super) fn tail_of(file: &Path) -> String {
    let bytes = std::fs::read(file).unwrap_or_default();
    let cut = bytes.len().saturating_sub(LOG_TAIL_BYTES);
    let text = String::from_utf8_lossy(&bytes[cut..]).into_owned();
    match text.split_once('\n') {
        Some((_, whole)) if cut > 0 => whole.to_owned(),
        _ => text,
    }
}
