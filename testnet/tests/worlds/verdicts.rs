//! What fails a run of real peers.

use crate::{SMALL, peers_of, program, run, said, until, with_file};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

/// The findings of a run that failed.
fn findings(output: &Output) -> Vec<String> {
    assert_eq!(output.status.code(), Some(1), "{}", said(output));
    let results: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = results["findings"].as_array().expect("findings").iter();
    let words = findings.filter_map(|finding| finding.as_str());
    words.map(str::to_owned).collect()
}

const FULL: &str = r#"
[scenario]
backend = "process"
warmup = "2s"
duration = "2s"
quiet = "4s"

[[nodes]]
id = "peer"
count = 2

[[nodes]]
id = "full"
count = 1
config.groups.groups_max = 1

[[group]]
name = "news"

[[group]]
name = "chat"
members = "peer"

[[workload]]
group = "chat"
publishers = "full"
rate = 5
"#;

/// It is in one group, and may be in no other.
#[test]
fn a_peer_that_runs_and_refuses_a_message_fails_the_run() {
    let output = run(FULL, "process", &[]);
    let found = findings(&output);
    let refused: Vec<&String> = (found.iter())
        .filter(|finding| finding.contains("node 2 refused a message"))
        .collect();
    assert_eq!(refused.len(), 1, "once for all of its messages: {found:?}");
    assert!(refused[0].contains("too_many_groups"), "{refused:?}");
    let words = String::from_utf8_lossy(&output.stdout);
    let note = "workload[0]: 10 messages were given to peers that did not take them";
    assert!(words.contains(note), "{words}");
}

/// What a peer has published, by its own word; nothing while it has none to say.
fn published(peer: u32) -> u64 {
    let line = std::fs::read(format!("/proc/{peer}/cmdline")).unwrap_or_default();
    let mut words = line
        .split(|byte| *byte == 0)
        .skip_while(|word| *word != b"--data-dir");
    let Some(dir) = words.nth(1) else { return 0 };
    let output = Command::new(format!("/proc/{peer}/exe"))
        .args([OsStr::new("--data-dir"), OsStr::from_bytes(dir)])
        .args(["groups", "--json"])
        .output()
        .expect("the program runs");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let groups = said["groups"].as_array().or(said.as_array());
    let groups = groups.into_iter().flatten();
    groups.filter_map(|group| group["published"].as_u64()).sum()
}

/// All of them hang after the last message: what they said before would be as it should.
#[test]
fn peers_that_hang_when_all_should_be_well_fail_the_run() {
    let dir = with_file(SMALL);
    let runner = program(dir.path())
        .args(["run", "small.toml", "--json", "--backend", "process"])
        .args([
            "--set",
            "scenario.warmup=1s",
            "--set",
            "scenario.duration=2s",
        ])
        .args(["--set", "scenario.quiet=20s"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    until("5 peers", || peers_of(runner.id()).len() == 5);
    // Peers are looked at in the last ten seconds, which begin long after.
    until("20 messages, all that there are", || {
        peers_of(runner.id())
            .into_iter()
            .map(published)
            .sum::<u64>()
            == 20
    });
    for peer in peers_of(runner.id()) {
        let pid = Pid::from_raw(peer.cast_signed()).expect("a process");
        kill_process(pid, Signal::STOP).expect("signalled");
    }
    let output = runner.wait_with_output().expect("ends");
    let found = findings(&output).join("\n");
    assert!(found.contains("node 0 does not answer any more"), "{found}");
}
