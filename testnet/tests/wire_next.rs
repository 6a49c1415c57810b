//! Peers of today beside peers that speak as a later version may, half and half in one network.

use hedgerow_testnet::results::Results;
use hedgerow_testnet::run::{Options, run};
use hedgerow_testnet::scenario::{Overrides, Scenario};
use std::path::Path;

/// The results of a shipped scenario at the gate's size in which every second peer speaks a later
/// version.
fn mixed(name: &str) -> Results {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
    let overrides = Overrides {
        ci: true,
        set: vec!["config.wire_next=true".to_owned()],
    };
    let scenario = Scenario::load(&path, &overrides).expect("a scenario");
    let outcome = run(&scenario, Options::default(), |_| {}).expect("the simulator can");
    outcome.results
}

/// Everything that the scenario asserts holds, views are equal in the end, nobody was banned, and
/// those of today did meet what they do not know.
fn understand_each_other(name: &str) {
    let results = mixed(name);
    assert!(
        results.passed,
        "{:#?}\n{:#?}",
        results.findings, results.asserts
    );
    for (group, result) in &results.groups {
        assert!(
            result.delivery_ratio >= 1.0,
            "{group}: {}",
            result.delivery_ratio
        );
    }
    let counted = |name: &str| results.counted.get(name).copied().unwrap_or(0);
    for never in ["frames_malformed", "peers_banned", "groups_unsupported"] {
        assert_eq!(counted(never), 0, "{never}");
    }
    for met in ["fields_unknown", "frames_unknown", "roles_unknown"] {
        assert!(counted(met) > 0, "{met}");
    }
}

#[test]
fn two_versions_in_a_quiet_network() {
    understand_each_other("steady-tree");
}

#[test]
fn two_versions_where_peers_come_and_go() {
    understand_each_other("churn");
}

#[test]
fn two_versions_where_peers_crash() {
    understand_each_other("silent-crash-10");
}
