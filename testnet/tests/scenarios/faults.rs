//! Faults of each kind, one after the other.

use crate::{passes, scenario};
use hedgerow_protocol::Config;
use hedgerow_testnet::results::FaultTime;
use hedgerow_testnet::run::{Options, run};
use hedgerow_testnet::scenario::{Overrides, Scenario};
use std::path::Path;

#[test]
fn a_third_dies_in_silence() {
    let results = passes(
        "[[fault]]\nkind = \"crash\"\nat = \"1s\"\ntarget = \"share:0.34\"\n",
        &[],
    );
    let news = &results.groups["news"];
    assert_eq!(results.faults[0].hit, 4);
    assert_eq!(news.expected, 60 * 8, "what is due to the dead is not");
}

/// All views are one in the instant of the crash, too, and for three seconds more: the dead are in it.
#[test]
fn views_converge_when_the_dead_are_gone_from_them() {
    let fault = "[[fault]]\nkind = \"crash\"\nat = \"1s\"\ntarget = \"share:0.34\"\n";
    let view_ms = passes(fault, &[]).convergence.view_ms;
    let silence_ms = Config::default().links.silence_ms as f64;
    assert!(view_ms >= Some(silence_ms), "{view_ms:?}");
}

#[test]
fn a_partition_heals() {
    let fault = "[[fault]]\nkind = \"partition\"\nsets = [\"peer[0..7]\", \"rest\"]\nat = \"1s\"\nfor = \"4s\"\n\
        [[assert]]\nmetric = \"settled_ms\"\nop = \"<=\"\nvalue = 10000\n";
    let results = passes(fault, &["workload.0.publishers=all", "scenario.quiet=20s"]);
    assert!(
        results.groups["news"].repaired > 0,
        "both sides had something to catch up on"
    );
}

#[test]
fn the_network_bears_every_kind_of_fault() {
    let faults = r#"
[[fault]]
kind = "pause"
target = "peer[1]"
for = "2s"
[[fault]]
kind = "restart"
target = "peer[2]"
at = "500ms"
for = "1s"
wipe = true
[[fault]]
kind = "term"
target = "peer[3]"
at = "1s"
[[fault]]
kind = "loss"
share = 0.05
run = 2
at = "1s"
for = "1s"
[[fault]]
kind = "latency"
target = "peer[4..6]"
delay = "50ms"
jitter = "20ms"
at = "1s"
for = "2s"
[[fault]]
kind = "duplicate"
share = 0.1
for = "2s"
[[fault]]
kind = "corrupt"
share = 0.02
at = "3s"
for = "1s"
[[fault]]
kind = "reorder"
share = 0.1
jitter = "30ms"
at = "2s"
for = "1s"
[[fault]]
kind = "bandwidth"
target = "peer[6]"
up_mbit = 0.5
down_mbit = 0.5
for = "3s"
[[fault]]
kind = "reset"
links = 3
at = "2s"
every = "1s"
until = "4s"
[[fault]]
kind = "half-open"
links = 2
at = "2500ms"
[[fault]]
kind = "slow-reader"
target = "peer[7]"
for = "2s"
[[fault]]
kind = "clock"
target = "peer[8]"
ahead = "1h"
at = "1s"
[[fault]]
kind = "disk-full"
target = "peer[9]"
for = "3s"
[[fault]]
kind = "restart"
target = "peer[9]"
at = "1s"
for = "500ms"
[[fault]]
kind = "flap"
links = 2
period = "1s"
at = "1s"
for = "3s"
[[fault]]
kind = "leave"
group = "news"
target = "peer[10]"
at = "1s"
for = "2s"
[[fault]]
kind = "partition"
sets = ["peer[0..3]", "rest"]
delay = "100ms"
at = "4s"
for = "1s"
"#;
    let publishers = "workload.0.publishers=peer[0] + peer[11]";
    let results = passes(faults, &[publishers, "scenario.quiet=40s"]);
    assert!(results.faults.len() >= 18);
}

#[test]
fn who_is_to_be_back_after_the_end_is_back_when_all_is_healed() {
    let gone = r#"
        [[nodes]]
        id = "late"
        count = 4
        started = false

        [[fault]]
        kind = "kill"
        at = "2s"
        for = "1m"
        target = "peer[1]"

        [[fault]]
        kind = "start"
        at = "1s"
        within = "10m"
        target = "late"
    "#;
    let set = ["workload.0.publishers=peer[0]"];
    let outcome = run(&scenario(gone, &set), Options::default(), |_| {}).expect("this world can");
    assert!(outcome.results.passed, "{:#?}", outcome.results);
    let last = outcome.ticks.last().expect("ticks");
    assert_eq!(last.alive, 16);
    let ends: Vec<f64> = (outcome.results.faults.iter())
        .map(|fault| fault.to_s)
        .collect();
    assert_eq!(ends, [6.0, 6.0]);
}

#[test]
fn nothing_goes_wrong_in_the_instant_of_healing() {
    let every = r#"
        [[fault]]
        kind = "kill"
        at = "2s"
        every = "2s"
        target = "random:1"
    "#;
    let results = passes(every, &["workload.0.publishers=peer[0]"]);
    let begins: Vec<f64> = results.faults.iter().map(|fault| fault.from_s).collect();
    assert_eq!(begins, [2.0, 4.0], "all is healed after 6 s");
}

/// Nothing of it is left until the healing: what comes later is after it.
#[test]
fn what_is_over_in_an_instant_does_not_last_until_all_is_healed() {
    let instants = r#"
        [[fault]]
        kind = "half-open"
        at = "1s"

        [[fault]]
        kind = "restart"
        at = "1s"
        target = "peer[1]"

        [[fault]]
        kind = "reset"
        at = "1s"
        every = "1s"
        until = "3s"
        links = 2

        [[assert]]
        metric = "published"
        window = "after"
        op = "=="
        value = 30

        [[assert]]
        metric = "control.bytes_per_node_s"
        window = "after"
        op = ">"
        value = 0
    "#;
    let results = passes(instants, &["workload.0.publishers=peer[0]"]);
    let times = |fault: &FaultTime| (fault.kind.as_str(), fault.from_s, fault.to_s);
    let mut times: Vec<_> = results.faults.iter().map(times).collect();
    times.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
    let expected = [
        ("half-open", 1.0, 1.0),
        ("reset", 1.0, 1.0),
        ("reset", 2.0, 2.0),
        ("reset", 3.0, 3.0),
        ("restart", 1.0, 2.0),
    ];
    assert_eq!(times, expected);
}

/// So that the windows of a run without faults are those of the run with them.
#[test]
fn a_calm_run_has_the_windows_of_the_faults_that_it_is_without() {
    let reset = r#"
        [[fault]]
        kind = "reset"
        at = "2s"

        [[assert]]
        metric = "published"
        window = "after"
        op = "=="
        value = 1
        relative_to = "baseline"
    "#;
    let results = passes(reset, &["workload.0.publishers=peer[0]"]);
    assert_eq!(results.asserts[1].observed, Some(1.0), "40 of 40");
}

#[test]
fn ways_that_flap_are_counted_and_end_links() {
    let flap = r#"
        [[fault]]
        kind = "flap"
        at = "1s"
        for = "4s"
        links = 3
        period = "1s"

        [[fault]]
        kind = "reset"
        at = "2s"
        links = 2
    "#;
    let results = passes(flap, &["scenario.quiet=20s"]);
    let hit: Vec<usize> = results.faults.iter().map(|fault| fault.hit).collect();
    assert_eq!(hit, [3, 2], "ways between two nodes, and links");
    let broken = results.overlay.links_broken;
    assert!((5..=14).contains(&broken), "{broken} of 4 times 3, and 2");
    assert_eq!(passes("", &[]).overlay.links_broken, 0);
}

/// Every peer carries broadcast: who leaves it is handed nothing, and passes everything on.
#[test]
fn broadcast_is_left_and_joined_again() {
    let left = r#"
        [[workload]]
        publishers = "peer[0]"
        rate = 10

        [[fault]]
        kind = "leave"
        group = "broadcast"
        at = "1s"
        for = "2s"
        target = "peer[10]"

        [[fault]]
        kind = "leave"
        group = "broadcast"
        at = "2s"
        target = "peer[11]"

        [[assert]]
        group = "broadcast"
        metric = "expected"
        nodes = "peer[10]"
        op = "<="
        value = 31

        [[assert]]
        group = "broadcast"
        metric = "expected"
        nodes = "peer[11]"
        op = "=="
        value = 0
    "#;
    let results = passes(left, &["assert.0.group=broadcast"]);
    let back = results.asserts[1].observed;
    assert!(back >= Some(25.0), "{back:?} of the 30 after it came back");
}

/// Where nobody listens to broadcast there is nobody to leave it.
#[test]
fn who_is_not_in_a_group_can_be_told_to_leave_it() {
    let left = r#"
        [[fault]]
        kind = "leave"
        group = "broadcast"
        at = "1s"
        for = "1s"
        target = "peer[10]"
    "#;
    passes(left, &["scenario.duration=3s"]);
}

/// A peer goes on until others have what it published, here longer than it is to be gone.
#[test]
fn who_is_still_leaving_when_it_is_to_be_back_comes_back() {
    let gone = r#"
        [[fault]]
        kind = "term"
        at = "2s"
        for = "5ms"
        target = "peer[0]"

        [[fault]]
        kind = "term"
        at = "5999ms"
        for = "1m"
        target = "peer[1]"

        [[assert]]
        metric = "expected"
        nodes = "peer[0]"
        window = "all"
        op = ">"
        value = 20
    "#;
    let set = ["workload.0.publishers=peer[0..3]", "workload.0.rate=30"];
    let outcome = run(&scenario(gone, &set), Options::default(), |_| {}).expect("this world can");
    assert!(outcome.results.passed, "{:#?}", outcome.results);
    let alive: Vec<usize> = outcome.ticks.iter().map(|tick| tick.alive).collect();
    assert_eq!(alive.last(), Some(&12), "{alive:?}");
}

/// Four times three, where links that have just been cut come back only now and then.
#[test]
fn ways_that_are_drawn_again_at_every_cut_are_those_of_links() {
    let broken = |again: &str| {
        let flap = format!(
            "[[fault]]\nkind = \"flap\"\nat = \"1s\"\nfor = \"4s\"\nlinks = 3\nperiod = \"1s\"\n{again}"
        );
        let results = passes(&flap, &["scenario.quiet=20s"]);
        (results.faults[0].hit, results.overlay.links_broken)
    };
    assert_eq!(broken("again = true\n"), (12, 12));
    let (hit, broken) = broken("");
    assert!(hit == 3 && broken < 12, "{broken} of {hit} ways");
}

/// A peer forgets a group that it has left, and what it has counted in it.
#[test]
fn two_members_leave_a_group_together() {
    let text = r#"
[scenario]
warmup = "8s"
duration = "6s"
quiet = "12s"
[[nodes]]
id = "publisher"
count = 1
[[nodes]]
id = "member"
count = 3
[[group]]
name = "news"
[[workload]]
group = "news"
publishers = "publisher"
rate = 20
[[fault]]
kind = "leave"
group = "news"
target = "member[0..2]"
at = "3s"
"#;
    let overrides = Overrides::default();
    let scenario = Scenario::parse(text, Path::new("leave.toml"), &overrides).expect("valid");
    let outcome = run(&scenario, Options::default(), |_| {}).expect("this world can");
    assert!(outcome.results.passed, "{:#?}", outcome.results);
    let news = &outcome.results.groups["news"];
    // The member that stays, and the two that had half of it.
    assert!(news.payload_copies >= 120 + 2 * 55, "{news:#?}");
}
