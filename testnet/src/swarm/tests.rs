//! The drawer draws what can be run, and sooner or later everything there is.

use super::*;
use crate::run;
use crate::scenario::{Behaviour, Fault, FaultKind, File};
use schemars::schema_for;
use std::collections::BTreeSet;

const SEEDS: std::ops::RangeInclusive<u64> = 1..=2_000;

fn all() -> impl Iterator<Item = (u64, File)> {
    SEEDS.map(|seed| match scenario(seed, &Overrides::default()) {
        Ok(scenario) => {
            run::check(&scenario).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            (seed, scenario.file)
        }
        Err(error) => panic!("seed {seed}: {error}\n{}", text(seed)),
    })
}

#[test]
fn equal_seeds_are_equal_scenarios() {
    for seed in [0, 1, 77, u64::MAX >> 1] {
        assert_eq!(text(seed), text(seed));
    }
    assert_ne!(text(1), text(2));
}

#[test]
fn every_seed_is_a_scenario_that_can_be_run() {
    for (seed, file) in all() {
        let nodes: usize = file.nodes.iter().map(|class| class.count).sum();
        assert!((2..=30).contains(&nodes), "seed {seed}: {nodes} nodes");
        assert_eq!(file.scenario.seed, seed);
        assert!(!file.workload.is_empty(), "seed {seed} publishes nothing");
    }
}

#[test]
fn every_kind_of_fault_is_drawn_alone_and_beside_others() {
    let (mut drawn, mut beside) = (BTreeSet::new(), BTreeSet::new());
    let (mut calm, mut keys) = (0, BTreeSet::new());
    for (_, file) in all() {
        let kinds: BTreeSet<FaultKind> = file.fault.iter().map(|fault| fault.kind).collect();
        calm += u64::from(kinds.is_empty());
        if kinds.len() > 1 {
            beside.extend(kinds.iter().copied());
        }
        drawn.extend(kinds);
        keys.extend(file.fault.iter().flat_map(keys_of));
    }
    assert!(calm > 0);
    let wanted: BTreeSet<FaultKind> = FaultKind::ALL.into_iter().collect();
    assert_eq!((&drawn, &beside), (&wanted, &wanted));
    assert_eq!(keys, schema_names::<Fault>());
}

fn keys_of(fault: &Fault) -> Vec<String> {
    let table = toml::Table::try_from(fault).expect("a table");
    table.keys().cloned().collect()
}

fn schema_names<T: schemars::JsonSchema>() -> BTreeSet<String> {
    let schema = schema_for!(T);
    let properties = schema.get("properties").and_then(|it| it.as_object());
    properties.expect("keys").keys().cloned().collect()
}

#[test]
fn every_behaviour_is_drawn() {
    let drawn: BTreeSet<String> = all()
        .flat_map(|(_, file)| file.nodes)
        .filter_map(|class| toml::Value::try_from(class.behaviour).ok())
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let schema = serde_json::to_value(schema_for!(Behaviour)).expect("JSON");
    let kinds = schema["oneOf"].as_array().expect("kinds");
    let kinds = kinds.iter().filter_map(|kind| kind["const"].as_str());
    let mut wanted: BTreeSet<String> = kinds.map(str::to_owned).collect();
    // Honest nodes are in every scenario.
    wanted.retain(|kind| kind == "honest" || !hostile::LEFT_OUT.contains(&kind.as_str()));
    assert_eq!(drawn, wanted);
}

/// What a draw may have, and whether one has it.
type Feature = (&'static str, fn(&File) -> bool);

#[test]
fn every_feature_is_drawn_and_left_out() {
    let features: [Feature; 20] = [
        ("warm start", |file| file.scenario.warm_start),
        ("two nodes", |file| nodes(file) == 2),
        ("30 nodes", |file| nodes(file) == 30),
        ("late nodes", |file| {
            file.nodes.iter().any(|class| !class.started)
        }),
        ("hostile nodes", |file| {
            let mut classes = file.nodes.iter();
            classes.any(|class| class.behaviour != Behaviour::Honest)
        }),
        ("loss", |file| file.topology.loss.0 > 0.0),
        ("jitter", |file| file.topology.jitter.0.0 > 0),
        ("clock skew", |file| file.topology.clock_skew.0.0 > 0),
        ("lines", |file| file.topology.bandwidth.up_mbit.is_some()),
        ("slow nodes", |file| {
            file.nodes.iter().any(|class| class.bandwidth.is_some())
        }),
        ("four groups", |file| file.group.len() == 4),
        ("mesh", |file| {
            file.group.iter().any(|group| group.redundancy.is_some())
        }),
        ("unordered", |file| {
            let unordered = hedgerow_protocol::Order::Unordered;
            file.group.iter().any(|group| group.order == unordered)
        }),
        ("copies", |file| {
            file.group.iter().any(|group| group.copies.is_some())
        }),
        ("some members", |file| {
            file.group
                .iter()
                .any(|group| group.members.as_str() != "all")
        }),
        ("short retention", |file| {
            file.group.iter().any(|group| group.retention.is_some())
        }),
        ("small retention", |file| {
            file.group
                .iter()
                .any(|group| group.retention_size.is_some())
        }),
        ("bursts", |file| {
            file.workload
                .iter()
                .any(|workload| workload.burst.is_some())
        }),
        ("large messages", |file| {
            file.workload.iter().any(|one| one.size.0 >= 400_000)
        }),
        ("delivery ratio", |file| {
            let mut asserts = file.assert.iter();
            asserts.any(|assert| assert.metric.as_str() == "delivery_ratio")
        }),
    ];
    let files: Vec<File> = all().map(|(_, file)| file).collect();
    for (name, has) in features {
        let count = files.iter().filter(|file| has(file)).count();
        assert!((10..1_990).contains(&count), "{name}: {count} of 2000");
    }
}

fn nodes(file: &File) -> usize {
    file.nodes.iter().map(|class| class.count).sum()
}
