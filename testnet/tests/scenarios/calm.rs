//! What a run gives where nothing goes wrong.

use crate::{passes, results, scenario};
use hedgerow_testnet::run::{Options, run};

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

/// Nobody has to be told to listen to what a workload says by default.
#[test]
fn what_is_published_in_no_group_of_its_own_is_handed_to_everybody() {
    let everywhere = "[[workload]]\nrate = 10\n";
    for warm in ["scenario.warm_start=false", "scenario.warm_start=true"] {
        let results = passes(everywhere, &["assert.0.group=broadcast", warm]);
        let broadcast = &results.groups["broadcast"];
        assert_eq!(broadcast.published, 60, "{warm}");
        assert_eq!(
            (broadcast.expected, broadcast.delivered),
            (720, 720),
            "{warm}"
        );
    }
}
