//! Peers as processes in temporary directories, and commands to them.

use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A first member waits for others no longer than this machine needs.
const QUICK: &str = "--set groups.baseline_ms=300";

/// Nothing here takes longer on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The program with nothing of this process's own configuration.
pub(crate) fn hedgerow(data_dir: &Path, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hedgerow"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HEDGEROW_")) {
        command.env_remove(name);
    }
    command
        .arg("--data-dir")
        .arg(data_dir)
        .args(line.split_whitespace());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Done {
    fn new(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("text")
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}{}", self.text(), self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(self) -> Value {
        let done = self.ok();
        serde_json::from_slice(&done.stdout).expect("one JSON value")
    }
}

/// Runs a command to its end.
pub(crate) fn run(data_dir: &Path, line: &str) -> Done {
    let child = hedgerow(data_dir, line).spawn().expect("starts");
    let _watch = Watch::over(&child);
    Done::new(child.wait_with_output().expect("ends"))
}

/// Runs a command with this on stdin.
pub(crate) fn feed(data_dir: &Path, line: &str, input: &[u8]) -> Done {
    let mut command = hedgerow(data_dir, line);
    let mut child = command.stdin(Stdio::piped()).spawn().expect("starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input)
        .expect("is read");
    Done::new(child.wait_with_output().expect("ends"))
}

/// Kills a process that hangs, so that its test fails instead of waiting for ever.
struct Watch(#[allow(dead_code)] mpsc::Sender<()>); // dropping it ends the watch

impl Watch {
    fn over(child: &Child) -> Self {
        let (alive, ended) = mpsc::channel::<()>();
        let pid = child.id().to_string();
        std::thread::spawn(move || {
            if ended.recv_timeout(2 * PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = Command::new("kill").args(["-KILL", &pid]).status();
            }
        });
        Self(alive)
    }
}

/// A process that is not left behind.
pub(crate) struct Process {
    pub(crate) child: Child,
    pub(crate) stdout: Option<BufReader<ChildStdout>>,
    _watch: Watch,
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("starts");
        let stdout = child.stdout.take().map(BufReader::new);
        let watch = Watch::over(&child);
        Self {
            child,
            stdout,
            _watch: watch,
        }
    }

    /// The next line of its stdout.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self
            .stdout
            .as_mut()
            .expect("piped")
            .read_line(&mut line)
            .expect("text");
        assert!(read > 0, "ended: {}", self.stderr());
        line.trim_end_matches('\n').to_owned()
    }

    /// Waits until this stands on its stderr.
    pub(crate) fn await_notice(&mut self, notice: &str) {
        let stderr = self.child.stderr.as_mut().expect("piped");
        let mut lines = BufReader::new(stderr).lines();
        let found = lines.any(|line| line.expect("text").contains(notice));
        assert!(found, "ended without {notice:?}");
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            let _ = std::io::Read::read_to_string(stderr, &mut text);
        }
        text
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill")
            .args([&format!("-{name}"), &pid])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits for its end; its exit code.
    pub(crate) fn code(&mut self) -> i32 {
        self.child.wait().expect("waits").code().unwrap_or(-1)
    }

    /// Waits for its end; what it did.
    pub(crate) fn done(mut self) -> Done {
        let mut stdout = Vec::new();
        if let Some(mut reader) = self.stdout.take() {
            std::io::Read::read_to_end(&mut reader, &mut stdout).expect("reads");
        }
        let stderr = self.stderr();
        Done {
            code: self.code(),
            stdout,
            stderr,
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running peer.
pub(crate) struct Peer {
    pub(crate) process: Process,
    pub(crate) ready: Value,
    pub(crate) dir: PathBuf,
    pub(crate) id: String,
    pub(crate) address: String,
    _home: Option<TempDir>,
}

impl Peer {
    /// A peer in a directory of its own.
    pub(crate) fn start(line: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let dir = home.path().join("peer");
        Self {
            _home: Some(home),
            ..Self::start_in(&dir, line)
        }
    }

    /// A peer in this directory.
    pub(crate) fn start_in(dir: &Path, line: &str) -> Self {
        Self::start_with(dir, line, |command| command)
    }

    /// A peer in this directory, started by what `prepare` makes of the command.
    pub(crate) fn start_with(
        dir: &Path,
        line: &str,
        prepare: impl FnOnce(Command) -> Command,
    ) -> Self {
        let line = format!("run --listen /ip4/127.0.0.1/tcp/0 --no-mdns {QUICK} {line}");
        let mut command = prepare(hedgerow(dir, &line));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // Kept when something fails, and never a full pipe that would stop the peer.
        // Whatever the umask is: a directory that others can write is refused.
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(dir).expect("a directory");
        let private = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(dir, private).expect("ours");
        let log = std::fs::File::create(dir.join("log")).expect("a log");
        command.stderr(log);
        let mut process = Process::spawn(command);
        let mut line = String::new();
        process
            .stdout
            .as_mut()
            .expect("piped")
            .read_line(&mut line)
            .expect("text");
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
            let log = std::fs::read_to_string(dir.join("log")).unwrap_or_default();
            panic!("no line of JSON ({error}): {line}{log}")
        });
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        Self {
            process,
            dir: dir.to_owned(),
            id: text(&ready["peer"]),
            address: text(&ready["listen"][0]),
            ready,
            _home: None,
        }
    }

    /// Two peers with a link between them, both in the group `news`.
    pub(crate) fn pair() -> (Self, Self) {
        let first = Self::start("--join news");
        let second = Self::start(&format!("--join news --connect {}", first.address));
        first.await_members("news", 2);
        second.await_members("news", 2);
        (first, second)
    }

    pub(crate) fn run(&self, line: &str) -> Done {
        run(&self.dir, line)
    }

    pub(crate) fn feed(&self, line: &str, input: &[u8]) -> Done {
        feed(&self.dir, line, input)
    }

    /// `hedgerow join` that has joined.
    pub(crate) fn join(&self, line: &str) -> Process {
        let mut process = Process::spawn(hedgerow(&self.dir, &format!("join {line}")));
        process.await_notice("joined ");
        process
    }

    /// Waits until the group has this many live members and this peer has joined.
    #[track_caller]
    pub(crate) fn await_members(&self, group: &str, count: usize) {
        until(|| {
            let groups = self.run("groups --json").json();
            let mut groups = groups["groups"].as_array().expect("a list").iter();
            let here = groups.find(|status| status["group"] == group);
            let joined = here.is_some_and(|status| status["joined"] == true);
            joined && self.live_members(group) == count
        });
    }

    pub(crate) fn live_members(&self, group: &str) -> usize {
        let done = self.run(&format!("members {group} --json"));
        if done.code != 0 {
            return 0;
        }
        let members = done.json();
        let members = members["members"].as_array().expect("a list").clone();
        let live = |member: &&Value| member["state"] == "live" && member["role"] == "member";
        members.iter().filter(live).count()
    }
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "does not come true");
        std::thread::sleep(Duration::from_millis(20));
    }
}
