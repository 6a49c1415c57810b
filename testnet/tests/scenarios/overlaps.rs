//! Faults that hold at the same time.

use crate::passes;

/// Everybody's ways are 100 ms longer for two seconds, and 200 ms from the second second on: what ends
/// first takes nothing of the other along, and healing leaves nothing behind.
#[test]
fn faults_that_overlap_end_one_by_one() {
    let longer = r#"
        [[fault]]
        kind = "latency"
        at = "1s"
        for = "2s"
        delay = "100ms"

        [[fault]]
        kind = "latency"
        at = "2s"
        for = "3s"
        delay = "200ms"
    "#;
    let p50 = |at: &str, length: &str| {
        let set = [
            format!("workload.0.at={at}"),
            format!("workload.0.for={length}"),
        ];
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        passes(longer, &set).groups["news"].latency_ms.p50
    };
    // Both ends of a way are slower.
    assert!(p50("3500ms", "1s") > 400.0, "the second one lasts");
    assert!(p50("5500ms", "500ms") < 200.0, "all is over");
}

#[test]
fn a_partition_outlasts_one_that_ends_within_it() {
    let parted = r#"
        [[fault]]
        kind = "partition"
        at = "1s"
        sets = ["share:0.5", "rest"]

        [[fault]]
        kind = "partition"
        at = "2s"
        for = "1s"
        one_way = true
        sets = ["share:0.5", "rest"]
    "#;
    let set = ["workload.0.at=4s", "workload.0.for=1s"];
    let results = passes(parted, &set);
    let max = results.groups["news"].latency_ms.max;
    assert!(
        max > 1_000.0,
        "{max} ms: what was published was cut off until healing"
    );
}

/// What is published while faults hold comes late to these nodes: the median, ms.
fn late_at(nodes: &str, faults: &str, published: [&str; 2]) -> f64 {
    let more = format!(
        "{faults}\n[[assert]]\nmetric = \"latency_ms.p50\"\nnodes = \"{nodes}\"\n\
         op = \">\"\nvalue = 0\n"
    );
    let [at, length] = published;
    let set = [
        "workload.0.publishers=peer[0]",
        "scenario.quiet=20s",
        &format!("workload.0.at={at}"),
        &format!("workload.0.for={length}"),
    ];
    passes(&more, &set).asserts[1]
        .observed
        .expect("something came")
}

#[test]
fn partitions_that_overlap_cut_what_each_of_them_cuts() {
    let parted = r#"
        [[fault]]
        kind = "partition"
        at = "1s"
        sets = ["peer[0..6]", "rest"]

        [[fault]]
        kind = "partition"
        at = "2s"
        sets = ["peer[0..3] + peer[6..9]", "rest"]
    "#;
    // Only the first stands between peer 0 and those.
    let late = late_at("peer[6..9]", parted, ["4s", "1s"]);
    assert!(late > 1_000.0, "{late} ms: the second one lifted the first");
}

#[test]
fn who_sleeps_for_two_reasons_sleeps_until_both_are_gone() {
    let asleep = r#"
        [[fault]]
        kind = "pause"
        at = "1s"
        for = "3s"
        target = "peer[1]"

        [[fault]]
        kind = "pause"
        at = "2s"
        for = "1s"
        target = "peer[1] + peer[2]"
    "#;
    let late = late_at("peer[1]", asleep, ["3100ms", "300ms"]);
    assert!(late > 500.0, "{late} ms: the shorter one woke it");
}
