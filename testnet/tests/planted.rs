//! Old faults are found again: for each a drawn scenario that catches it, and that is clean without.
//!
//! What a seed draws changes with the drawer. A seed that no longer finds its fault is looked for anew:
//!
//! ```text
//! hedgerow-testnet swarm --seeds 1..1000 --no-shrink --set config.planted=two-lives
//! ```

use hedgerow_testnet::results::{Failure, Results};
use hedgerow_testnet::run::{Options, run};
use hedgerow_testnet::scenario::Overrides;
use hedgerow_testnet::swarm;

fn results(seed: u64, planted: &str) -> Results {
    let overrides = Overrides {
        ci: false,
        set: vec![format!("config.planted={planted}")],
    };
    let scenario = swarm::scenario(seed, &overrides).expect("a scenario");
    let outcome = run(&scenario, Options::default(), |_| {}).expect("the simulator can");
    outcome.results
}

fn is_found(planted: &str, seed: u64, as_a: Failure) {
    let clean = results(seed, "none");
    assert!(clean.passed, "{:#?}", clean.findings);
    let found = results(seed, planted);
    assert_eq!(found.failure, Some(as_a), "{:#?}", found.findings);
}

#[test]
fn a_frame_over_the_limit_ends_the_process() {
    is_found("frame-over-limit", 115, Failure::Crash);
}

#[test]
fn a_message_that_a_wrong_clock_calls_old() {
    is_found("wall-clock", 11, Failure::Liveness);
}

#[test]
fn what_a_publisher_said_in_lives_before_the_last_two() {
    is_found("two-lives", 991, Failure::Liveness);
}

#[test]
fn totals_that_shrink_when_a_group_is_left() {
    is_found("forgotten-group", 44, Failure::Crash);
}
