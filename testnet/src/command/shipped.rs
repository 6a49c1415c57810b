//! The scenarios that come with the program, and `hedgerow-testnet list`.

use super::{print, wrong};
use crate::terminal::{Align, table};
use hedgerow_testnet::scenario::{Overrides, Scenario};
use std::path::Path;
use std::process::ExitCode;

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*]
    };
}

/// Name and text of every shipped scenario.
const SHIPPED: &[(&str, &str)] = shipped![
    "burst",
    "churn",
    "clock-skew",
    "flapping",
    "flash-crowd",
    "hostile-aged-records",
    "hostile-all",
    "hostile-bad-signature",
    "hostile-copied-key",
    "hostile-data-flood",
    "hostile-delay",
    "hostile-digest-flood",
    "hostile-drop",
    "hostile-epoch-abuse",
    "hostile-equivocate",
    "hostile-forged-acknowledgements",
    "hostile-forged-origin",
    "hostile-framing",
    "hostile-holes",
    "hostile-linked-record-flood",
    "hostile-lying-coordinates",
    "hostile-lying-digests",
    "hostile-malformed",
    "hostile-one-address",
    "hostile-origin-flood",
    "hostile-oversized",
    "hostile-record-flood",
    "hostile-replay",
    "hostile-settings-war",
    "hostile-slow-hello",
    "hyparview",
    "large",
    "large-gossipsub",
    "many-groups",
    "partition-heal",
    "partition-one-way",
    "partition-three-way",
    "plumtree",
    "plumtree-crash",
    "scale",
    "scale-crash",
    "silent-crash-10",
    "silent-crash-30",
    "silent-crash-50",
    "silent-crash-70",
    "silent-crash-90",
    "simsub",
    "slow-peers",
    "soak",
    "steady-mesh",
    "steady-tree",
    "wan-processes",
];

/// The names of all shipped scenarios.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The text of the shipped scenario `name`.
pub(super) fn text(name: &str) -> Option<&'static str> {
    let found = SHIPPED.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

/// The name of a shipped scenario most like `name`.
pub(super) fn nearest(name: &str) -> &'static str {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(name, known);
    let names = SHIPPED.iter().map(|(known, _)| *known);
    names
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .unwrap_or_default()
}

#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(crate) fn list(arguments: &Arguments) -> ExitCode {
    let mut rows = Vec::new();
    let mut values = Vec::new();
    for (name, text) in SHIPPED {
        let scenario = match Scenario::parse(text, Path::new(name), &Overrides::default()) {
            Ok(scenario) => scenario,
            Err(error) => return wrong(&error),
        };
        let (nodes, about) = (scenario.nodes(), scenario.file.scenario.about.clone());
        let ci = text.lines().any(|line| line.trim() == "[ci]");
        rows.push(vec![
            (*name).to_owned(),
            nodes.to_string(),
            if ci { "yes" } else { "" }.to_owned(),
            about.clone(),
        ]);
        let backend = scenario.file.scenario.backend.as_str();
        values.push(serde_json::json!({
            "name": name,
            "backend": backend,
            "nodes": nodes,
            "ci": ci,
            "about": about,
        }));
    }
    if arguments.json {
        return print(&format!("{}\n", serde_json::Value::from(values)));
    }
    let head = [
        ("SCENARIO", Align::Left),
        ("NODES", Align::Right),
        ("CI", Align::Left),
        ("ABOUT", Align::Left),
    ];
    print(&table(&head, &rows))
}

#[cfg(test)]
mod tests {
    use hedgerow_testnet::scenario::{Overrides, Scenario};
    use std::path::Path;

    #[test]
    fn every_file_is_shipped() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        for entry in std::fs::read_dir(dir).expect("scenarios") {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            let name = name.expect("a name");
            assert!(super::text(name).is_some(), "{name} is not in SHIPPED");
        }
        assert!(super::SHIPPED.is_sorted());
    }

    #[test]
    fn every_scenario_has_a_size_for_the_gate() {
        let ci = Overrides {
            ci: true,
            set: Vec::new(),
        };
        for (name, text) in super::SHIPPED {
            let has_one = text.lines().any(|line| line.trim() == "[ci]");
            assert!(has_one, "{name} has no [ci] table");
            let scenario = Scenario::parse(text, Path::new(name), &ci);
            assert!(scenario.is_ok(), "{name}: {scenario:?}");
        }
    }
}
