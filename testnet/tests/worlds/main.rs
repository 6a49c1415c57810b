//! The worlds of real processes, through the program. They need `hedgerow` beside it:
//! `cargo build -p hedgerow`, or `cargo test --workspace`.

mod verdicts;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const SMALL: &str = r#"
[scenario]
warmup = "3s"
duration = "8s"
quiet = "8s"

[[nodes]]
id = "core"
count = 3

[[nodes]]
id = "guest"
count = 2

[[group]]
name = "news"
overlay = "mesh"

[[workload]]
group = "news"
publishers = "core"
rate = 10

[[assert]]
metric = "delivery_ratio"
op = "=="
value = 1.0

[[assert]]
metric = "control.bytes_per_node_s"
op = ">"
value = 0
"#;

/// Far above what anything here takes, on any machine.
const LIMIT: Duration = Duration::from_secs(60);

/// The program in a directory, in which it also leaves what it cannot remove when it is killed.
fn program(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hedgerow-testnet"));
    command
        .stdin(Stdio::null())
        .current_dir(dir)
        .env("TMPDIR", dir);
    command
}

fn with_file(text: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("small.toml"), text).expect("written");
    dir
}

fn run(text: &str, world: &str, more: &[&str]) -> Output {
    let dir = with_file(text);
    program(dir.path())
        .args(["run", "small.toml", "--json", "--backend", world])
        .args(more)
        .output()
        .expect("the program runs")
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{err}\n{out}")
}

/// The results of a run that passed.
fn passed(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", said(output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Whether this system has no network namespaces for us; says so.
fn has_no_namespaces(output: &Output) -> bool {
    let missing = output.status.code() == Some(2) && said(output).contains("no netns world here");
    if missing {
        eprintln!("skipped: {}", said(output));
    }
    missing
}

#[test]
fn processes_are_killed_paused_restarted_join_and_leave_and_nothing_is_lost() {
    let faults = r#"
        [[nodes]]
        id = "late"
        count = 1
        started = false

        [[fault]]
        kind = "kill"
        at = "1s"
        target = "guest[0]"

        [[fault]]
        kind = "pause"
        at = "1s"
        for = "4s"
        target = "guest[1]"

        [[fault]]
        kind = "restart"
        at = "2s"
        wipe = true
        target = "core[2]"

        [[fault]]
        kind = "start"
        at = "3s"
        target = "late"

        [[fault]]
        kind = "leave"
        at = "5s"
        for = "1s"
        group = "news"
        target = "late"

        [[fault]]
        kind = "term"
        at = "6s"
        for = "1s"
        target = "guest[1]"
    "#;
    let set = ["--set", "workload.0.publishers=core[0..2]"];
    let results = passed(&run(&format!("{SMALL}\n{faults}"), "process", &set));
    assert_eq!(results["backend"], "process");
    assert_eq!(results["trace_hash"], Value::Null);
    assert_eq!(results["faults"].as_array().map(Vec::len), Some(6));
    let news = &results["groups"]["news"];
    assert!(news["payload_copies"].as_u64() > Some(0), "{news}");
    // The two publishers stay from beginning to end.
    assert!(news["expected"].as_u64() >= Some(160), "{news}");
    assert!(results["overlay"]["degree_mean"].as_f64() > Some(1.0));
    assert!(results["peak_rss_mib"].as_f64() > Some(1.0));
}

#[test]
fn full_disks_and_applications_that_do_not_read_are_survived_and_nothing_is_lost() {
    // A peer says much to its log, which cannot grow either, when links come and go.
    let faults = r#"
        [[fault]]
        kind = "disk-full"
        at = "1s"
        for = "6s"
        target = "guest[0] + core[1]"

        [[fault]]
        kind = "kill"
        at = "2s"
        for = "1s"
        target = "core[2]"

        [[fault]]
        kind = "slow-reader"
        at = "1s"
        for = "5s"
        target = "guest[1]"

        [[assert]]
        metric = "latency_ms.max"
        nodes = "guest[1]"
        op = ">="
        value = 3000
    "#;
    let results = passed(&run(
        &format!("{SMALL}\n{faults}"),
        "process",
        &["--set", "workload.0.publishers=core[0..2]"],
    ));
    let news = &results["groups"]["news"];
    assert_eq!(news["published"], 80);
    assert_eq!(news["gaps"], 0);
}

#[test]
fn a_run_is_compared_with_one_without_faults() {
    let more = r#"
        [[fault]]
        kind = "pause"
        at = "1s"
        for = "1s"
        target = "guest[0]"

        [[assert]]
        metric = "delivered"
        op = "=="
        value = 1.0
        relative_to = "baseline"
    "#;
    let set = [
        "--set",
        "scenario.duration=3s",
        "--set",
        "workload.0.total=20",
    ];
    let results = passed(&run(&format!("{SMALL}\n{more}"), "process", &set));
    assert_eq!(results["asserts"][2]["observed"], 1.0);
}

#[test]
fn what_a_world_cannot_do_it_refuses_by_name_before_anything_starts() {
    let fault = |keys: &str| format!("{SMALL}\n[[fault]]\n{keys}\n");
    let assert = "[[assert]]\nmetric = \"stretch_mean\"\nop = \"<\"\nvalue = 2";
    let cases = [
        (
            "process",
            fault("kind = \"crash\"\ntarget = \"guest\""),
            "kind = \"crash\"",
        ),
        (
            "process",
            fault("kind = \"loss\"\nshare = 0.1"),
            "kind = \"loss\"",
        ),
        (
            "process",
            fault("kind = \"partition\"\nsets = [\"core\", \"rest\"]"),
            "kind = \"partition\"",
        ),
        (
            "process",
            fault("kind = \"churn\"\nleave = 0.1"),
            "crash = 0",
        ),
        (
            "process",
            format!("{SMALL}\n[topology]\nloss = 0.1"),
            "topology.loss",
        ),
        (
            "process",
            format!("{SMALL}\n[topology.latency]\nconstant = \"5ms\""),
            "topology.latency",
        ),
        (
            "process",
            format!("{SMALL}\n{assert}"),
            "metric = \"stretch_mean\"",
        ),
        (
            "netns",
            fault("kind = \"clock\"\nahead = \"1h\"\ntarget = \"guest\""),
            "kind = \"clock\"",
        ),
        (
            "netns",
            SMALL.replace("count = 2", "count = 2\nbehaviour = \"drop\""),
            "nodes.behaviour",
        ),
        (
            "netns",
            format!("{SMALL}\n[topology]\nclock_skew = \"1s\""),
            "topology.clock_skew",
        ),
    ];
    for (world, text, name) in cases {
        let began = Instant::now();
        let output = run(&text, world, &[]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", said(&output));
        let said = said(&output);
        assert!(
            said.contains(&format!("the {world} world cannot")) && said.contains(name),
            "{said}"
        );
        assert!(began.elapsed() < LIMIT);
    }
}

#[test]
fn where_peers_are_real_a_warm_start_waits_for_one_view() {
    let text = SMALL.replace("[scenario]", "[scenario]\nwarm_start = true");
    let results = passed(&run(&text, "process", &[]));
    let notes = results["notes"].as_array().expect("notes");
    let noted = notes.iter().filter_map(|note| note.as_str());
    let noted: Vec<&str> = noted.filter(|note| note.contains("warm_start")).collect();
    assert_eq!(noted.len(), 1, "{notes:?}");
    assert!(noted[0].contains("views were one after"), "{noted:?}");
}

/// Processes of `hedgerow` that a run has started, by the network's name in their arguments.
fn peers_of(runner: u32) -> Vec<u32> {
    let network = format!("\0testnet-{runner}-");
    let entries = std::fs::read_dir("/proc").expect("/proc");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&network)
        })
        .collect()
}

/// Network namespaces of these processes.
fn namespaces(processes: &[u32]) -> BTreeSet<PathBuf> {
    let links = processes.iter().map(|pid| format!("/proc/{pid}/ns/net"));
    links
        .filter_map(|link| std::fs::read_link(link).ok())
        .collect()
}

/// Network namespaces of all threads on this machine.
fn all_namespaces() -> BTreeSet<PathBuf> {
    let numbers = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).into_iter().flatten();
        entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.bytes().all(|digit| digit.is_ascii_digit()))
            .collect()
    };
    let mut all = BTreeSet::new();
    for pid in numbers(Path::new("/proc")) {
        let tasks = PathBuf::from(format!("/proc/{pid}/task"));
        for task in numbers(&tasks) {
            all.extend(std::fs::read_link(tasks.join(task).join("ns/net")));
        }
    }
    all
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a run of 5 peers, waits until all run, signals the runner, and sees everything go.
fn nothing_is_left_after(signal: Signal, world: &str) -> Option<i32> {
    let dir = with_file(SMALL);
    let mut runner: Child = program(dir.path())
        .args(["run", "small.toml", "--backend", world])
        .args(["--set", "scenario.duration=10m"])
        .stderr(Stdio::null())
        .spawn()
        .expect("the program runs");
    let mut missing = false;
    until("5 peers", || {
        missing = matches!(runner.try_wait(), Ok(Some(status)) if status.code() == Some(2));
        missing || peers_of(runner.id()).len() == 5
    });
    if missing {
        eprintln!("skipped: there is no {world} world here");
        return None;
    }
    let used = namespaces(&peers_of(runner.id()));
    if world == "netns" {
        assert_eq!(used.len(), 5);
    }
    let pid = Pid::from_raw(runner.id().cast_signed()).expect("a process");
    kill_process(pid, signal).expect("signalled");
    let status = runner.wait().expect("ends");
    until("no peer is left", || peers_of(runner.id()).is_empty());
    if world == "netns" {
        until("no namespace is left", || {
            used.is_disjoint(&all_namespaces())
        });
    }
    Some(status.code().unwrap_or(-1))
}

#[test]
fn interrupted_a_run_leaves_no_process() {
    assert_eq!(nothing_is_left_after(Signal::INT, "process"), Some(130));
}

#[test]
fn killed_a_run_leaves_no_process() {
    assert_eq!(nothing_is_left_after(Signal::KILL, "process"), Some(-1));
}

#[cfg(target_os = "linux")]
#[test]
fn interrupted_or_killed_a_run_leaves_no_namespace() {
    if let Some(code) = nothing_is_left_after(Signal::INT, "netns") {
        assert_eq!(code, 130);
        assert_eq!(nothing_is_left_after(Signal::KILL, "netns"), Some(-1));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn hosts_have_delays_and_losses_and_hosts_that_fall_silent_are_survived() {
    let more = r#"
        [topology]
        loss = 0.01
        jitter = "2ms"
        latency.constant = "20ms"

        [[fault]]
        kind = "crash"
        at = "1s"
        target = "guest[0]"

        [[fault]]
        kind = "bandwidth"
        at = "2s"
        for = "2s"
        up_mbit = 1.0
        target = "guest[1]"

        [[assert]]
        metric = "latency_ms.p50"
        op = ">="
        value = 20

        [[assert]]
        metric = "stretch_mean"
        op = ">="
        value = 1
    "#;
    let output = run(&format!("{SMALL}\n{more}"), "netns", &[]);
    if !has_no_namespaces(&output) {
        let results = passed(&output);
        assert_eq!(results["backend"], "netns");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_network_that_was_parted_has_everything_once_it_is_healed() {
    let more = r#"
        [topology.latency]
        constant = "5ms"

        [[fault]]
        kind = "partition"
        at = "1s"
        for = "5s"
        sets = ["core[0..2]", "rest"]
    "#;
    let set = ["--set", "scenario.quiet=30s"];
    let output = run(&format!("{SMALL}\n{more}"), "netns", &set);
    if !has_no_namespaces(&output) {
        passed(&output);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn connections_are_reset_at_one_end_or_both_and_come_back() {
    let more = r#"
        [[fault]]
        kind = "reset"
        at = "1s"
        target = "core[0]"

        [[fault]]
        kind = "half-open"
        at = "4s"
        target = "core[0]"
    "#;
    let dir = with_file(&format!("{SMALL}\n{more}"));
    let output = program(dir.path())
        .args([
            "run",
            "small.toml",
            "--json",
            "--backend",
            "netns",
            "--out",
            "out",
        ])
        .output()
        .expect("the program runs");
    if !has_no_namespaces(&output) {
        passed(&output);
        let log = std::fs::read_to_string(dir.path().join("out/logs/node-000.log"));
        let lost = log.expect("a log").matches("link down").count();
        assert!(lost >= 2, "{lost} links lost");
    }
}
