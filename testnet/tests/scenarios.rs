//! Small scenarios, run through the library.

use hedgerow_protocol::Config;
use hedgerow_testnet::results::{Failure, Results};
use hedgerow_testnet::run::{Options, run};
use hedgerow_testnet::scenario::{Overrides, Scenario};
use std::path::Path;

const BASE: &str = r#"
[scenario]
warmup = "8s"
duration = "6s"
quiet = "12s"
seed = 3

[topology.latency]
uniform = ["5ms", "40ms"]

[[nodes]]
id = "peer"
count = 12

[[group]]
name = "news"

[[workload]]
group = "news"
publishers = "not share:0.34"
rate = 10

[[assert]]
metric = "delivery_ratio"
op = "=="
value = 1.0
"#;

fn scenario(more: &str, set: &[&str]) -> Scenario {
    let set = set.iter().map(|set| (*set).to_owned()).collect();
    let overrides = Overrides { ci: false, set };
    Scenario::parse(
        &format!("{BASE}\n{more}"),
        Path::new("small.toml"),
        &overrides,
    )
    .unwrap_or_else(|error| panic!("{error}"))
}

fn results(more: &str, set: &[&str]) -> Results {
    let outcome = run(&scenario(more, set), Options::default(), |_| {}).expect("this world can");
    outcome.results
}

fn passes(more: &str, set: &[&str]) -> Results {
    let results = results(more, set);
    assert!(results.passed, "{results:#?}");
    results
}

#[test]
fn what_a_calm_network_gives() {
    let outcome = run(&scenario("", &[]), Options::default(), |_| {}).expect("this world can");
    let results = &outcome.results;
    assert!(results.passed, "{results:#?}");
    let news = &results.groups["news"];
    assert_eq!(news.published, 60);
    assert_eq!((news.expected, news.delivered), (720, 720));
    assert_eq!(news.payload_copies, 60 * 11, "a tree has no second copy");
    assert!(news.latency_ms.p50 > 5.0 && news.latency_ms.p50 < 200.0);
    // Delays drawn at random make detours that are shorter than the direct way.
    assert!(news.stretch_mean > 0.5 && news.stretch_mean < 2.0);
    assert!(results.overlay.degree_max <= 12);
    assert_eq!(
        outcome.ticks.len(),
        27,
        "a tick a second, both ends included"
    );
    let published: u64 = outcome.ticks.iter().map(|tick| tick.published).sum();
    assert_eq!(published, 60);
}

#[test]
fn the_results_have_the_agreed_fields() {
    let results = results("", &["scenario.duration=2s", "scenario.quiet=2s"]);
    let json = serde_json::to_value(&results).expect("JSON");
    let fields = [
        "/schema",
        "/scenario",
        "/backend",
        "/seed",
        "/nodes",
        "/passed",
        "/failure",
        "/trace_hash",
        "/asserts/0/metric",
        "/asserts/0/group",
        "/asserts/0/window",
        "/asserts/0/op",
        "/asserts/0/value",
        "/asserts/0/observed",
        "/asserts/0/passed",
        "/asserts/0/goal",
        "/control/bytes_per_node_s",
        "/control/frames_per_node_s",
        "/overlay/degree_mean",
        "/overlay/degree_max",
        "/overlay/diameter_hops",
        "/overlay/articulation_points",
        "/virtual_s",
        "/wall_s",
        "/peak_rss_mib",
    ];
    for field in fields {
        assert!(json.pointer(field).is_some(), "{field} is missing");
    }
    let of_a_group = [
        "published",
        "expected",
        "delivered",
        "delivery_ratio",
        "app_duplicates",
        "order_violations",
        "gaps",
        "payload_copies",
        "rmr",
        "ldh_max",
        "ldh_mean",
        "latency_ms/p50",
        "latency_ms/p90",
        "latency_ms/p99",
        "latency_ms/max",
        "stretch_mean",
        "stretch_last",
        "rdp_median",
        "repaired",
        "repair_ms/p50",
        "repair_ms/p99",
        "repair_ms/max",
    ];
    for field in of_a_group {
        let field = format!("/groups/news/{field}");
        assert!(
            json.pointer(&field)
                .is_some_and(serde_json::Value::is_number),
            "{field}"
        );
    }
    assert_eq!(json["schema"], 1);
    assert_eq!(json["backend"], "sim");
    for metric in hedgerow_testnet::scenario::OF_THE_RUN {
        let path = format!("/{}", metric.replace('.', "/"));
        assert!(json.pointer(&path).is_some(), "{metric}");
    }
}

#[test]
fn equal_seeds_give_equal_traces() {
    let fault = "[[fault]]\nkind = \"churn\"\nleave = 0.2\nat = \"1s\"\nfor = \"3s\"\n";
    let hash = |seed: &str| results(fault, &[seed]).trace_hash;
    let first = hash("scenario.seed=5");
    assert_eq!(first, hash("scenario.seed=5"));
    assert_ne!(first, hash("scenario.seed=6"));
}

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
fn nodes_that_come_late_are_members_too() {
    let more = "[[nodes]]\nid = \"late\"\ncount = 6\nstarted = false\n\
        [[fault]]\nkind = \"start\"\ntarget = \"late\"\nat = \"1s\"\nwithin = \"1s\"\n\
        [[assert]]\nmetric = \"convergence.view_ms\"\nop = \"<=\"\nvalue = 15000\n\
        [[assert]]\nmetric = \"expected\"\nnodes = \"late\"\nop = \">\"\nvalue = 60\n";
    passes(more, &["workload.0.publishers=peer"]);
}

#[test]
fn what_is_slow_is_compared_with_a_calm_run() {
    let more = "[topology.bandwidth]\nup_mbit = 10\ndown_mbit = 10\n\
        [[fault]]\nkind = \"bandwidth\"\ntarget = \"peer[11]\"\nfactor = 0.05\n\
        [[assert]]\nmetric = \"latency_ms.p50\"\nnodes = \"not peer[11]\"\nop = \"<=\"\nvalue = 1.5\nrelative_to = \"baseline\"\n";
    let results = results(more, &["workload.0.publishers=peer[0..3]"]);
    let verdict = &results.asserts[1];
    assert!(
        verdict
            .observed
            .is_some_and(|observed| observed > 0.5 && observed < 1.5),
        "{verdict:?}"
    );
}

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

/// Offenders of one kind among honest peers; everybody honest gets everything from the honest.
fn withstands(kind: &str) -> Results {
    let more = format!(
        "[[nodes]]\nid = \"offender\"\ncount = 2\nbehaviour = \"{kind}\"\n\
         [[assert]]\nmetric = \"foreign\"\nop = \"==\"\nvalue = 0\n"
    );
    let set = ["workload.0.publishers=peer/first:4", "scenario.quiet=30s"];
    let results = results(&more, &set);
    assert!(results.passed, "{kind}: {results:#?}");
    assert_eq!(results.hostile.nodes, 2);
    results
}

/// Whether those that behave counted an offence, or what they did about it.
fn counts(results: &Results, counter: &str) -> bool {
    results.counted.get(counter).is_some_and(|times| *times > 0)
}

#[test]
fn forwarders_that_do_not_behave_are_withstood() {
    for (kind, counter) in [
        ("drop", "parents_questioned"),
        ("delay", "parents_questioned"),
        ("replay", "bundles_duplicate"),
    ] {
        let results = withstands(kind);
        assert!(counts(&results, counter), "{kind}: {:?}", results.counted);
    }
}

#[test]
fn what_is_forged_or_cannot_be_read_is_withstood_and_who_sends_it_shunned() {
    for (kind, counter, shunned) in [
        ("forged-origin", "bundles_forged", 1.0),
        // One of the two is a leaf of all trees: who passes nothing on breaks no signature.
        ("bad-signature", "bundles_forged", 0.5),
        ("oversized", "frames_malformed", 1.0),
        ("malformed", "frames_malformed", 1.0),
    ] {
        let results = withstands(kind);
        assert!(counts(&results, counter), "{kind}: {:?}", results.counted);
        assert!(counts(&results, "peers_shunned"), "{kind}");
        assert_eq!(results.hostile.shunned_ratio, Some(shunned), "{kind}");
    }
}

#[test]
fn liars_are_withstood() {
    withstands("lying-coordinates");
    for (kind, counter) in [
        ("lying-digests", "announcers_ignored"),
        ("copied-key", "outbid"),
    ] {
        let results = withstands(kind);
        assert!(counts(&results, counter), "{kind}: {:?}", results.counted);
    }
}

#[test]
fn floods_are_withstood() {
    let records = withstands("record-flood");
    assert!(counts(&records, "records_of_strangers"));
    // Of strangers 256 at once and one a second.
    let most = 14 + 256 + records.virtual_s as usize;
    assert!(records.memory.records_max <= most, "{:?}", records.memory);
    withstands("data-flood");
}

#[test]
fn what_nobody_counted_is_none() {
    let never = "[[assert]]\nmetric = \"counted.bundles_forged\"\nop = \"==\"\nvalue = 0\n\
        [[assert]]\nmetric = \"counted.records_accepted\"\nop = \">\"\nvalue = 0\n";
    passes(never, &["scenario.duration=2s", "scenario.quiet=5s"]);
}

#[test]
fn who_publishes_two_payloads_under_one_name_is_reported_and_cut_off() {
    let results = withstands("equivocate");
    assert!(results.hostile.reports > 0);
    assert_eq!(results.hostile.cut_off_ratio, Some(1.0), "{results:#?}");
}

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
