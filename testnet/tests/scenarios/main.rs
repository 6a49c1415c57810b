//! Small scenarios, run through the library.

mod calm;
mod faults;
mod hostile;
mod overlaps;
mod verdicts;

use hedgerow_testnet::results::Results;
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
