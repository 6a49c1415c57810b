//! Old faults are found again: for each, a run that catches it, and that is clean without.

use hedgerow_testnet::results::{Failure, Results};
use hedgerow_testnet::run::{Options, run};
use hedgerow_testnet::scenario::{Overrides, Scenario};
use hedgerow_testnet::swarm;
use std::path::Path;

fn with(planted: &str) -> Overrides {
    Overrides {
        ci: false,
        set: vec![format!("config.planted={planted}")],
    }
}

fn results(scenario: &Scenario) -> Results {
    let outcome = run(scenario, Options::default(), |_| {}).expect("the simulator can");
    outcome.results
}

/// `hedgerow-testnet swarm --seed 11 --set config.planted=wall-clock`
#[test]
fn a_message_that_a_wrong_clock_calls_old() {
    let drawn = |planted| swarm::scenario(11, &with(planted)).expect("a scenario");
    let clean = results(&drawn("none"));
    assert!(clean.passed, "{:#?}", clean.findings);
    let found = results(&drawn("wall-clock"));
    assert_eq!(found.failure, Some(Failure::Liveness));
}

#[test]
fn totals_that_shrink_when_a_group_is_left() {
    let text = "[scenario]\nwarmup = \"8s\"\nduration = \"6s\"\nquiet = \"12s\"\n\
        [[nodes]]\nid = \"publisher\"\ncount = 1\n[[nodes]]\nid = \"member\"\ncount = 3\n\
        [[group]]\nname = \"news\"\n\
        [[workload]]\ngroup = \"news\"\npublishers = \"publisher\"\nrate = 20\n\
        [[fault]]\nkind = \"leave\"\ngroup = \"news\"\ntarget = \"member[0..2]\"\nat = \"3s\"\n";
    let scenario = |planted| {
        let scenario = Scenario::parse(text, Path::new("leave.toml"), &with(planted));
        scenario.expect("a scenario")
    };
    let clean = results(&scenario("none"));
    assert!(clean.passed, "{:#?}", clean.findings);
    let found = results(&scenario("forgotten-group"));
    assert_eq!(found.failure, Some(Failure::Crash));
}
