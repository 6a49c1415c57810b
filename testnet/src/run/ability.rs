//! Which world can do what. What a scenario asks for and its world cannot do is refused by name
//! before anything starts; nothing is ever left out in silence.

use super::{Cast, RunError};
use crate::scenario::{
    Backend, Bandwidth, Behaviour, Fault, FaultKind, File, Latency, Scenario, Share, Span,
};
use std::fmt::Write as _;

/// Something that scenarios ask of worlds.
#[derive(Clone, Copy, Debug)]
pub struct Ability {
    /// What, in the words of a scenario.
    pub what: &'static str,
    asked: Asked,
    worlds: Worlds,
    /// What to do where it cannot be done.
    remedy: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Fault(FaultKind),
    /// An assert on one of these.
    Metric(&'static [&'static str]),
    Key(fn(&File) -> bool),
}

/// Worlds that can do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worlds {
    All,
    /// Where the network is ours.
    Modelled,
    Simulated,
}

const FAULTS: [(FaultKind, Worlds, &str); 22] = [
    (
        FaultKind::Crash,
        Worlds::Modelled,
        "the system says for a dead process that it is gone; use kind = \"kill\"",
    ),
    (FaultKind::Kill, Worlds::All, ""),
    (FaultKind::Term, Worlds::All, ""),
    (FaultKind::Pause, Worlds::All, ""),
    (FaultKind::Restart, Worlds::All, ""),
    (FaultKind::Start, Worlds::All, ""),
    (FaultKind::Leave, Worlds::All, ""),
    (FaultKind::Join, Worlds::All, ""),
    (FaultKind::Churn, Worlds::All, ""),
    (FaultKind::Partition, Worlds::Modelled, NO_SWITCH),
    (FaultKind::Latency, Worlds::Modelled, NO_SWITCH),
    (FaultKind::Loss, Worlds::Modelled, NO_SWITCH),
    (FaultKind::Duplicate, Worlds::Modelled, NO_SWITCH),
    (FaultKind::Reorder, Worlds::Modelled, NO_SWITCH),
    (FaultKind::Corrupt, Worlds::Modelled, NO_SWITCH),
    (FaultKind::Bandwidth, Worlds::Modelled, NO_SWITCH),
    (FaultKind::Reset, Worlds::Modelled, NO_SWITCH),
    (FaultKind::HalfOpen, Worlds::Modelled, NO_SWITCH),
    (FaultKind::Flap, Worlds::Modelled, NO_SWITCH),
    (FaultKind::SlowReader, Worlds::All, ""),
    (FaultKind::Clock, Worlds::Simulated, ONE_MACHINE),
    (FaultKind::DiskFull, Worlds::All, ""),
];

const NO_SWITCH: &str = "nothing stands between the peers on loopback; use --backend netns";
const ONE_MACHINE: &str = "all peers share this machine's; use --backend sim";
const ONLY_SIM: &str = "use --backend sim";

const OTHERS: [Ability; 8] = [
    Ability {
        what: "`crash` above 0 in a churn fault",
        asked: Asked::Key(|file| {
            let crashes = |fault: &Fault| {
                let goes = fault.leave.is_some() || fault.session.is_some();
                goes && fault.crash.is_none_or(|Share(share)| share > 0.0)
            };
            let churn = |fault: &&Fault| fault.kind == FaultKind::Churn;
            file.fault.iter().filter(churn).any(crashes)
        }),
        worlds: Worlds::Modelled,
        remedy: "the system says for a dead process that it is gone; give `crash = 0`",
    },
    Ability {
        what: "`topology.latency`, `topology.jitter`",
        asked: Asked::Key(|file| {
            let topology = &file.topology;
            topology.latency != Latency::default() || topology.jitter != Span::default()
        }),
        worlds: Worlds::Modelled,
        remedy: NO_SWITCH,
    },
    Ability {
        what: "`topology.loss`",
        asked: Asked::Key(|file| file.topology.loss != Share::default()),
        worlds: Worlds::Modelled,
        remedy: NO_SWITCH,
    },
    Ability {
        what: "`topology.bandwidth`, `nodes.bandwidth`",
        asked: Asked::Key(|file| {
            let limited = |line: Bandwidth| line != Bandwidth::default();
            let lines = file.nodes.iter().filter_map(|class| class.bandwidth);
            lines.chain([file.topology.bandwidth]).any(limited)
        }),
        worlds: Worlds::Modelled,
        remedy: NO_SWITCH,
    },
    Ability {
        what: "`topology.clock_skew`",
        asked: Asked::Key(|file| file.topology.clock_skew != Span::default()),
        worlds: Worlds::Simulated,
        remedy: ONE_MACHINE,
    },
    Ability {
        what: "`nodes.behaviour` other than honest",
        asked: Asked::Key(|file| {
            let behaviours = file.nodes.iter().map(|class| class.behaviour);
            behaviours.into_iter().any(|kind| kind != Behaviour::Honest)
        }),
        worlds: Worlds::Simulated,
        remedy: ONLY_SIM,
    },
    Ability {
        what: "asserts on `stretch_mean`, `stretch_last`, `rdp_median`",
        asked: Asked::Metric(&["stretch_mean", "stretch_last", "rdp_median"]),
        worlds: Worlds::Modelled,
        remedy: "there is no direct delay to compare with on loopback; use --backend netns",
    },
    Ability {
        what: "asserts on what hostile nodes do, `virtual_s`",
        asked: Asked::Metric(&[
            "hostile.offenders",
            "hostile.cut_off_ratio",
            "hostile.banned_ratio",
            "hostile.wronged",
            "hostile.twins",
            "hostile.reports",
            "virtual_s",
        ]),
        worlds: Worlds::Simulated,
        remedy: ONLY_SIM,
    },
];

impl Worlds {
    fn has(self, world: Backend) -> bool {
        match self {
            Self::All => true,
            Self::Modelled => world != Backend::Process,
            Self::Simulated => world == Backend::Sim,
        }
    }
}

impl Ability {
    /// All that some world lacks or might lack.
    pub fn all() -> impl Iterator<Item = Self> {
        let faults = FAULTS.map(|(kind, worlds, remedy)| Self {
            what: kind.as_str(),
            asked: Asked::Fault(kind),
            worlds,
            remedy,
        });
        faults.into_iter().chain(OTHERS)
    }

    /// Whether a world can do it.
    pub fn is_of(&self, world: Backend) -> bool {
        self.worlds.has(world)
    }

    /// The place in a scenario that asks for it.
    fn asked_by(&self, file: &File) -> Option<String> {
        match self.asked {
            Asked::Fault(kind) => {
                let at = file.fault.iter().position(|fault| fault.kind == kind)?;
                Some(format!("fault[{at}]: kind = {:?}", self.what))
            }
            Asked::Metric(metrics) => {
                let measured =
                    |assert: &crate::scenario::Assert| metrics.contains(&assert.metric.as_str());
                let at = file.assert.iter().position(measured)?;
                let metric = file.assert[at].metric.as_str();
                Some(format!("assert[{at}]: metric = {metric:?}"))
            }
            Asked::Key(asks) => asks(file).then(|| self.what.to_owned()),
        }
    }
}

/// Whether the world that a scenario names can do all that it asks for.
pub fn check(scenario: &Scenario) -> Result<(), RunError> {
    let file = &scenario.file;
    let world = file.scenario.backend;
    let cannot = |what: String| {
        let world = world.as_str();
        Err(RunError::Cannot { world, what })
    };
    for ability in Ability::all().filter(|ability| !ability.is_of(world)) {
        if let Some(place) = ability.asked_by(file) {
            return cannot(format!("{place} ({})", ability.remedy));
        }
    }
    let unlimited = |fault: &Fault| {
        let bandwidths = file.nodes.iter().map(|class| class.bandwidth);
        fault.factor.is_some()
            && file.topology.bandwidth == Bandwidth::default()
            && bandwidths.into_iter().all(|line| line.is_none())
    };
    if file.fault.iter().any(unlimited) {
        let what = "a bandwidth fault takes a factor of unlimited lines; give topology.bandwidth";
        return cannot(what.to_owned());
    }
    too_few_keys(scenario).map_or(Ok(()), cannot)
}

/// What is wrong where more nodes are to run with somebody else's key than there are such keys.
fn too_few_keys(scenario: &Scenario) -> Option<String> {
    let classes = scenario.file.nodes.iter();
    let copies = classes.filter(|class| class.behaviour == Behaviour::CopiedKey);
    let copies: usize = copies.map(|class| class.count).sum();
    if copies == 0 {
        return None;
    }
    let keys = Cast::new(scenario).victims().len();
    (copies > keys).then(|| {
        format!(
            "{copies} nodes with behaviour = \"copied-key\" need as many honest ones that run from \
             the beginning and publish nothing, and there are {keys}; narrow workload.publishers, \
             or give more such nodes or fewer copies"
        )
    })
}

/// The table in `docs/scenarios.md`.
pub fn worlds_in_markdown() -> String {
    let mut text = String::from("| what | sim | process | netns |\n|---|---|---|---|\n");
    for ability in Ability::all() {
        let what = match ability.asked {
            Asked::Fault(_) => format!("`{}` faults", ability.what),
            Asked::Metric(_) | Asked::Key(_) => ability.what.to_owned(),
        };
        let worlds = [Backend::Sim, Backend::Process, Backend::Netns];
        let marks = worlds.map(|world| if ability.is_of(world) { "yes" } else { "no" });
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {what} | {} |", marks.join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_has_the_table_of_worlds() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scenarios.md");
        let text = std::fs::read_to_string(path).expect("docs/scenarios.md");
        let table = worlds_in_markdown();
        assert!(
            text.contains(&table),
            "docs/scenarios.md must have\n{table}"
        );
    }

    #[test]
    fn the_examples_in_the_documentation_are_taken() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let text = std::fs::read_to_string(format!("{root}/docs/scenarios.md")).expect("docs");
        let mut taken = 0;
        for line in text
            .lines()
            .filter(|line| line.starts_with("hedgerow-testnet run "))
        {
            let words: Vec<&str> = line.split(' ').skip(2).collect();
            let path = format!("{root}/testnet/scenarios/{}.toml", words[0]);
            let set = words[1..].chunks(2).map(|pair| match pair {
                ["--backend", world] => format!("scenario.backend={world}"),
                ["--set", change] => (*change).to_owned(),
                _ => panic!("{line}"),
            });
            let overrides = crate::scenario::Overrides {
                ci: false,
                set: set.collect(),
            };
            let scenario = Scenario::load(path.as_ref(), &overrides);
            let scenario = scenario.unwrap_or_else(|error| panic!("{line}: {error}"));
            check(&scenario).unwrap_or_else(|error| panic!("{line}: {error}"));
            taken += 1;
        }
        assert!(taken >= 4);
    }

    #[test]
    fn every_kind_of_fault_has_its_place() {
        let kinds = FAULTS.map(|(kind, ..)| kind);
        assert_eq!(kinds, FaultKind::ALL);
        for ability in Ability::all() {
            let everywhere = [Backend::Process, Backend::Netns]
                .iter()
                .all(|world| ability.is_of(*world));
            assert_eq!(ability.remedy.is_empty(), everywhere, "{}", ability.what);
        }
    }
}
