//! What fails a run, and what is only said.

use crate::{passes, results, scenario};
use hedgerow_testnet::results::Failure;
use hedgerow_testnet::run::{Options, run};
use std::time::Instant;

#[test]
fn an_assert_that_does_not_hold_fails_the_run_and_a_goal_does_not() {
    let short = ["scenario.duration=2s", "scenario.quiet=5s"];
    let strict = "[[assert]]\nmetric = \"stretch_mean\"\nop = \"<\"\nvalue = 0.5\n";
    let failed = results(strict, &short);
    assert_eq!(failed.failure, Some(Failure::Assert));
    let goal = results(&format!("{strict}goal = true\n"), &short);
    assert!(goal.passed);
    assert_eq!(goal.short(), 1);
    let nothing = results("", &[short[0], short[1], "workload.0.at=1m"]);
    assert_eq!(
        nothing.failure,
        Some(Failure::Assert),
        "nothing to measure is no success"
    );
    assert_eq!(nothing.asserts[0].observed, None);
}

/// With nobody else there, and no fault: what a bound from above would be glad to hear.
#[test]
fn what_cannot_be_measured_fails_its_assert() {
    let of_nothing = [
        "latency_ms.max",
        "ldh_mean",
        "ldh_max",
        "stretch_mean",
        "stretch_last",
        "rdp_median",
        "repair_ms.max",
        "rmr",
        "settled_ms",
        "traffic.wire_amplification",
        "control.bytes_per_node_s",
    ];
    let asserts = of_nothing.map(|metric| {
        let window = if metric.starts_with("control") {
            "window = \"fault\"\n"
        } else {
            ""
        };
        format!("[[assert]]\nmetric = \"{metric}\"\nop = \"<=\"\nvalue = 1000\n{window}")
    });
    let set = ["nodes.0.count=1", "workload.0.publishers=all"];
    let results = results(&asserts.concat(), &set);
    assert_eq!(results.groups["news"].delivered, 60, "its own");
    for verdict in &results.asserts[1..] {
        assert_eq!(
            (verdict.observed, verdict.passed),
            (None, false),
            "{verdict:?}"
        );
    }
    assert_eq!(results.asserts.len(), 1 + of_nothing.len());
}

/// Nothing is due to who is not in a group: no figure shows that it should be.
#[test]
fn who_cannot_join_its_group_fails_the_run() {
    let full = "[[nodes]]\nid = \"full\"\ncount = 2\nconfig.groups.groups_max = 1\n\
        [[group]]\nname = \"chat\"\n\
        [[workload]]\ngroup = \"chat\"\npublishers = \"one\"\nrate = 5\n";
    let results = results(full, &["assert.0.group=chat"]);
    assert!(results.asserts[0].passed, "{results:#?}");
    assert_eq!(results.failure, Some(Failure::Liveness), "{results:#?}");
    let said = [
        "2 joins came to nothing",
        "node 12 was to join chat and is not in it",
        "node 13 was to join chat and is not in it",
    ];
    assert_eq!(results.findings, said);
}

#[test]
fn what_nobody_counted_is_none() {
    let never = "[[assert]]\nmetric = \"counted.bundles_forged\"\nop = \"==\"\nvalue = 0\n\
        [[assert]]\nmetric = \"counted.records_accepted\"\nop = \">\"\nvalue = 0\n";
    passes(never, &["scenario.duration=2s", "scenario.quiet=5s"]);
}

/// Its publisher dies after two seconds of six.
#[test]
fn messages_that_find_nobody_to_publish_them_are_said() {
    let dies = "[[fault]]\nkind = \"kill\"\nat = \"2s\"\ntarget = \"peer[1]\"\n";
    let results = passes(dies, &["workload.0.publishers=peer[1]"]);
    assert_eq!(results.groups["news"].published, 20);
    let said = "workload[0]: 40 messages found nobody to publish them";
    assert_eq!(results.notes, [said]);
}

/// 50 MB fall due in a second, for lines that carry 1.25.
#[test]
fn messages_that_wait_for_a_busy_publisher_until_the_end_are_said() {
    let set = [
        "workload.0.publishers=peer[0]",
        "workload.0.rate=50000",
        "workload.0.size=1000",
        "workload.0.for=1s",
        "topology.bandwidth.up_mbit=10",
        "scenario.quiet=90s",
    ];
    let results = passes("", &set);
    let published = results.groups["news"].published;
    assert!((1..50_000).contains(&published), "{published}");
    let left = 50_000 - published;
    let said =
        format!("workload[0]: {left} messages waited for publishers that were busy until it ended");
    assert_eq!(results.notes, [said]);
}

/// It is in one group, and may be in no other.
#[test]
fn a_peer_that_runs_and_refuses_a_message_fails_the_run() {
    let full = "[[nodes]]\nid = \"full\"\ncount = 1\nconfig.groups.groups_max = 1\n\
        [[group]]\nname = \"chat\"\nmembers = \"peer\"\n\
        [[workload]]\ngroup = \"chat\"\npublishers = \"full\"\nrate = 5\n";
    let results = results(full, &["assert.0.group=news"]);
    assert_eq!(results.failure, Some(Failure::Crash), "{results:#?}");
    let said = "workload[1]: node 12 refused a message: already in 1 groups";
    assert!(results.findings[0].starts_with(said), "{results:#?}");
    let said = "workload[1]: 30 messages found nobody to publish them";
    assert_eq!(results.notes, [said]);
}

#[test]
fn a_fault_that_hits_nobody_is_said() {
    let nobody = r#"
        [[fault]]
        kind = "kill"
        at = "1s"
        every = "1s"
        target = "peer[1..5]/share:0.1"

        [[fault]]
        kind = "partition"
        at = "1s"
        sets = ["all", "rest"]

        [[fault]]
        kind = "pause"
        at = "1s"
        every = "2s"
        for = "1s"
        target = "peer[1]"
    "#;
    let results = passes(nobody, &[]);
    let expected = [
        "fault[0], kill, has hit nobody",
        "fault[1], partition, has hit nobody",
    ];
    assert_eq!(results.notes, expected);
}

#[test]
fn a_factor_hits_lines_that_have_a_limit() {
    let factor = r#"
        [[nodes]]
        id = "narrow"
        count = 3
        bandwidth = { up_mbit = 20, down_mbit = 20 }

        [[fault]]
        kind = "bandwidth"
        target = "all"
        factor = 0.5
        for = "1s"

        [[fault]]
        kind = "bandwidth"
        target = "peer"
        factor = 0.5
        at = "2s"
        for = "1s"

        [[fault]]
        kind = "bandwidth"
        target = "peer[1..5]"
        up_mbit = 20
        at = "4s"
        for = "1s"
    "#;
    let results = passes(factor, &[]);
    let hit: Vec<usize> = results.faults.iter().map(|fault| fault.hit).collect();
    assert_eq!(hit, [3, 0, 4]);
    assert_eq!(results.notes, ["fault[1], bandwidth, has hit nobody"]);
}

#[test]
fn the_time_of_a_run_is_without_the_one_that_it_is_compared_with() {
    let more = "[[fault]]\nkind = \"pause\"\ntarget = \"peer[1]\"\nfor = \"1s\"\n\
        [[assert]]\nmetric = \"rmr\"\nop = \">=\"\nvalue = 0\nrelative_to = \"baseline\"\n\
        [[assert]]\nmetric = \"wall_s\"\nop = \">\"\nvalue = 0\n";
    let scenario = scenario(more, &["scenario.duration=2s", "scenario.quiet=5s"]);
    let mut calm = None;
    let outcome = run(&scenario, Options::default(), |progress| {
        if progress.baseline {
            calm = Some(Instant::now());
        }
    });
    let since = calm.expect("a baseline").elapsed().as_secs_f64();
    let results = outcome.expect("this world can").results;
    assert!(results.wall_s < since, "{} of {since} s", results.wall_s);
    assert_eq!(results.asserts[2].observed, Some(results.wall_s));
}
