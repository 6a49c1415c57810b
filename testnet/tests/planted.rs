//! Old faults are found again: for each, a seed whose drawn scenario catches it, and is clean without.

use hedgerow_testnet::results::{Failure, Results};
use hedgerow_testnet::run::{Options, run};
use hedgerow_testnet::scenario::Overrides;
use hedgerow_testnet::swarm;

fn drawn(seed: u64, planted: &str) -> Results {
    let overrides = Overrides {
        ci: false,
        set: vec![format!("config.planted={planted}")],
    };
    let scenario = swarm::scenario(seed, &overrides).unwrap_or_else(|error| panic!("{error}"));
    let outcome = run(&scenario, Options::default(), |_| {}).expect("the simulator can");
    outcome.results
}

/// `hedgerow-testnet swarm --seed SEED --set config.planted=PLANTED`
fn is_found(planted: &str, seed: u64, failure: Failure, says: &str) {
    let clean = drawn(seed, "none");
    assert!(clean.passed, "seed {seed}: {:#?}", clean.findings);
    let found = drawn(seed, planted);
    assert_eq!(found.failure, Some(failure), "{planted}, seed {seed}");
    let said = found.findings.iter().any(|finding| finding.contains(says));
    assert!(said, "{planted}, seed {seed}: {:#?}", found.findings);
}

#[test]
fn a_frame_over_the_limit_that_ends_the_process() {
    is_found(
        "frame-over-limit",
        1,
        Failure::Crash,
        "frame over the limit",
    );
}

#[test]
fn a_publisher_with_a_slow_clock_that_is_dropped() {
    is_found("wall-clock", 1, Failure::Liveness, "deliveries are missing");
}

#[test]
fn lives_that_make_way_without_a_word() {
    is_found("two-lives", 1, Failure::Liveness, "deliveries are missing");
}

#[test]
fn totals_that_shrink_when_a_group_is_left() {
    is_found("forgotten-group", 1, Failure::Crash, "overflow");
}
