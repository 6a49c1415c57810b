//! Scenarios drawn from a seed: what nobody has thought of.
//!
//! In the manner of TigerBeetle's VOPR: each seed has a few kinds of trouble and lacks the others
//! (swarm testing; Groce and others, ISSTA 2012), because faults that are always together hide
//! each other. A draw is the text of a scenario that `hedgerow-testnet run` takes, so that there
//! is one way from a scenario to a run. What must hold is what must hold in every run: nothing foreign,
//! nothing twice, nothing out of order, limits kept; after the healing everything that is due,
//! views that are one, no loss without a word. In addition no honest peer is wronged.

use crate::sim::Random;
use std::fmt::{Display, Write as _};

/// What can be part of a draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Feature {
    ColdStart,
    ClockSkew,
    ClockJumps,
    PublisherRestarts,
    MemberRestarts,
    Deaths,
    Pauses,
    Leaves,
    Newcomers,
    FullDisks,
    SlowReaders,
    Partition,
    BadLines,
    BrokenLinks,
    NarrowLines,
    LargeMessages,
    Bursts,
    CopiedKeys,
    Hostile,
}

const FEATURES: [Feature; 19] = [
    Feature::ColdStart,
    Feature::ClockSkew,
    Feature::ClockJumps,
    Feature::PublisherRestarts,
    Feature::MemberRestarts,
    Feature::Deaths,
    Feature::Pauses,
    Feature::Leaves,
    Feature::Newcomers,
    Feature::FullDisks,
    Feature::SlowReaders,
    Feature::Partition,
    Feature::BadLines,
    Feature::BrokenLinks,
    Feature::NarrowLines,
    Feature::LargeMessages,
    Feature::Bursts,
    Feature::CopiedKeys,
    Feature::Hostile,
];

/// Behaviours of hostile nodes in a draw. Floods are left to scenarios of their own: a draw is to
/// take a second or two.
const BEHAVIOURS: [&str; 10] = [
    "drop",
    "delay",
    "replay",
    "forged-origin",
    "bad-signature",
    "lying-coordinates",
    "lying-digests",
    "equivocate",
    "oversized",
    "malformed",
];

/// The share of features that a draw has, of a million: each seed has its own.
const SHARES_PPM: [u32; 3] = [150_000, 300_000, 500_000];

/// The scenario of a seed, as text.
pub fn draw(seed: u64) -> String {
    let mut random = Random::new(seed, "swarm");
    let share = SHARES_PPM[random.index(SHARES_PPM.len())];
    let features = FEATURES.into_iter();
    let features: Vec<Feature> = features.filter(|_| random.chance_ppm(share)).collect();
    let draw = Draw {
        core: random.between(1, 6),
        members: random.between(2, 14),
        duration_ms: random.between(8, 20) * 1_000,
        features,
        random,
        text: String::new(),
    };
    draw.write(seed)
}

/// A draw under way. Nodes are `core`, who publish, `member`, `late`, who come later, and hostile
/// ones.
struct Draw {
    random: Random,
    features: Vec<Feature>,
    core: u64,
    members: u64,
    duration_ms: u64,
    text: String,
}

impl Draw {
    fn has(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.random.index(all.len())]
    }

    fn ms(&mut self, min: u64, max: u64) -> String {
        format!("{}ms", self.random.between(min, max))
    }

    /// A share between 0 and 1, in thousandths.
    fn share(&mut self, min: u64, max: u64) -> f64 {
        self.random.between(min, max) as f64 / 1_000.0
    }

    // Writing to a string cannot fail, here and below.
    fn table(&mut self, name: &str) {
        let _ = writeln!(self.text, "\n{name}");
    }

    fn number(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.text, "{key} = {value}");
    }

    fn word(&mut self, key: &str, value: impl Display) {
        let _ = writeln!(self.text, "{key} = \"{value}\"");
    }

    fn write(mut self, seed: u64) -> String {
        let names = self.features.iter().map(|feature| format!("{feature:?}"));
        let names: Vec<String> = names.collect();
        let _ = writeln!(self.text, "# Drawn from seed {seed}: {}.", names.join(", "));
        self.write_scenario(seed);
        self.write_nodes();
        let groups = self.write_groups();
        for at in 0..groups {
            self.write_workloads(at);
        }
        self.write_process_faults(groups);
        self.write_network_faults();
        self.table("[[assert]]");
        self.word("metric", "hostile.wronged");
        self.word("op", "==");
        self.number("value", 0);
        self.text
    }

    fn write_scenario(&mut self, seed: u64) {
        let cold = self.has(Feature::ColdStart);
        self.table("[scenario]");
        self.word("name", format!("swarm-{seed}"));
        self.number("seed", seed);
        self.word("warmup", if cold { "15s" } else { "5s" });
        self.word("duration", format!("{}ms", self.duration_ms));
        self.word("quiet", "45s");
        self.number("warm_start", !cold);
        self.table("[topology]");
        let start = self.one_of(&["random:2", "hub", "chain", "ring"]);
        self.word("start", start);
        if cold {
            let within = self.ms(0, 4_000);
            self.word("start_within", within);
        }
        if self.has(Feature::ClockSkew) {
            let skew = self.one_of(&["2s", "20s", "60s", "10m", "2h"]);
            self.word("clock_skew", skew);
        }
        if self.has(Feature::BadLines) {
            let (loss, jitter) = (self.share(0, 30), self.ms(0, 20));
            self.number("loss", loss);
            self.word("jitter", jitter);
        }
        if self.has(Feature::NarrowLines) {
            let mbit = self.random.between(5, 50);
            self.table("[topology.bandwidth]");
            self.number("up_mbit", mbit);
            self.number("down_mbit", mbit);
        }
        self.table("[topology.latency]");
        match self.random.below(4) {
            0 => {
                let delay = self.ms(1, 60);
                self.word("constant", delay);
            }
            1 => self.number("hop_count", true),
            2 => self.number("regions", true),
            _ => {
                let (least, most) = (self.ms(1, 20), self.ms(30, 120));
                self.number("uniform", format!("[\"{least}\", \"{most}\"]"));
            }
        }
    }

    fn write_nodes(&mut self) {
        self.nodes("core", self.core, None, true);
        self.nodes("member", self.members, None, true);
        if self.has(Feature::Newcomers) {
            let count = self.random.between(1, 5);
            self.nodes("late", count, None, false);
        }
        // At most a quarter, so that those that behave stay connected without the others.
        let mut room = (self.core + self.members) / 4;
        if self.has(Feature::CopiedKeys) && room > 0 {
            self.nodes("copied-key", 1, Some("copied-key"), true);
            room -= 1;
        }
        if self.has(Feature::Hostile) && room > 0 {
            let kinds = self.random.between(1, room.min(3)) as usize;
            for at in self.random.sample(BEHAVIOURS.len(), kinds) {
                let kind = BEHAVIOURS[at];
                self.nodes(kind, 1, Some(kind), true);
            }
        }
    }

    fn nodes(&mut self, id: &str, count: u64, behaviour: Option<&str>, started: bool) {
        self.table("[[nodes]]");
        self.word("id", id);
        self.number("count", count);
        if let Some(behaviour) = behaviour {
            self.word("behaviour", behaviour);
        }
        if !started {
            self.number("started", false);
        }
    }

    /// Gives how many there are; the core is in all of them.
    fn write_groups(&mut self) -> u64 {
        let groups = self.random.between(1, 3);
        for at in 0..groups {
            let overlay = self.one_of(&["tree", "tree", "mesh"]);
            let order = self.one_of(&["fifo", "fifo", "unordered"]);
            let members = match at {
                0 => "all",
                _ => self.one_of(&["all", "core + member", "core + share:0.5"]),
            };
            self.table("[[group]]");
            self.word("name", format!("g{at}"));
            self.word("overlay", overlay);
            self.word("order", order);
            self.word("members", members);
        }
        groups
    }

    fn write_workloads(&mut self, group: u64) {
        let publishers = self.one_of(&["core", "core", "core/one", "core/random:2"]);
        let (rate, size) = (self.random.between(1, 20), self.random.between(8, 2_000));
        let at = self.ms(0, 2_000);
        self.workload(group, publishers, &at);
        self.number("rate", rate);
        self.number("size", size);
        if self.has(Feature::LargeMessages) && group == 0 {
            let size = self.random.between(20_000, 1_500_000);
            let every = self.ms(1_500, 6_000);
            self.workload(group, publishers, &at);
            self.number("burst", 1);
            self.word("every", every);
            self.number("total", 3);
            self.number("size", size);
        }
        if self.has(Feature::Bursts) && group == 0 {
            let (burst, every) = (self.random.between(50, 400), self.ms(2_000, 6_000));
            self.workload(group, publishers, &at);
            self.number("burst", burst);
            self.word("every", every);
            self.number("size", 100);
        }
    }

    fn workload(&mut self, group: u64, publishers: &str, at: &str) {
        self.table("[[workload]]");
        self.word("group", format!("g{group}"));
        self.word("publishers", publishers);
        self.word("at", at);
    }

    /// A fault that begins at a moment in the first two thirds.
    fn fault(&mut self, kind: &str, target: Option<&str>) {
        let at = self.ms(500, self.duration_ms * 2 / 3);
        self.table("[[fault]]");
        self.word("kind", kind);
        self.word("at", at);
        if let Some(target) = target {
            self.word("target", target);
        }
    }

    fn lasts(&mut self, min: u64, max: u64) {
        let lasts = self.ms(min, max);
        self.word("for", lasts);
    }

    fn again(&mut self, min: u64, max: u64) {
        let every = self.ms(min, max);
        self.word("every", every);
    }

    fn write_process_faults(&mut self, groups: u64) {
        if self.has(Feature::PublisherRestarts) {
            let target = self.one_of(&["core/one", "core/random:2"]);
            self.fault("restart", Some(target));
            self.lasts(100, 1_500);
            self.again(1_600, 5_000);
        }
        if self.has(Feature::MemberRestarts) {
            let kind = self.one_of(&["restart", "crash", "kill", "term"]);
            self.fault(kind, Some("member/random:2"));
            self.lasts(200, 6_000);
            if self.random.chance_ppm(250_000) {
                self.number("wipe", true);
            }
        }
        if self.has(Feature::Deaths) {
            let kind = self.one_of(&["crash", "kill", "term"]);
            self.fault(kind, Some("member/share:0.25"));
        }
        if self.has(Feature::Pauses) {
            let target = self.one_of(&["member/one", "member/random:3", "core/one"]);
            self.fault("pause", Some(target));
            self.lasts(1_000, 12_000);
        }
        if self.has(Feature::Leaves) {
            let group = self.random.below(groups);
            let target = self.one_of(&["member/one", "member/random:2", "member/share:0.5"]);
            self.fault("leave", Some(target));
            self.word("group", format!("g{group}"));
            if self.random.chance_ppm(700_000) {
                self.lasts(100, 5_000);
            }
        }
        if self.has(Feature::Newcomers) {
            self.fault("start", Some("late"));
            let within = self.ms(0, 3_000);
            self.word("within", within);
        }
        if self.has(Feature::FullDisks) {
            let target = self.one_of(&["core/one", "member/random:3"]);
            self.fault("disk-full", Some(target));
            self.lasts(2_000, 10_000);
        }
        if self.has(Feature::SlowReaders) {
            self.fault("slow-reader", Some("member/one"));
            self.lasts(1_000, 8_000);
        }
        if self.has(Feature::ClockJumps) {
            let target = self.one_of(&["core/one", "core", "member/random:2"]);
            let way = self.one_of(&["ahead", "back"]);
            let by = self.one_of(&["1s", "10s", "70s", "15m", "3h"]);
            self.fault("clock", Some(target));
            self.word(way, by);
            if self.random.chance_ppm(300_000) {
                self.lasts(1_000, 5_000);
            }
        }
    }

    fn write_network_faults(&mut self) {
        if self.has(Feature::Partition) {
            let part = self.share(100, 600);
            self.fault("partition", None);
            self.lasts(1_000, 12_000);
            self.number("sets", format!("[\"share:{part}\", \"rest\"]"));
            match self.random.below(4) {
                0 => self.number("one_way", true),
                1 => {
                    let delay = self.ms(200, 2_000);
                    self.word("delay", delay);
                }
                _ => {}
            }
        }
        if self.has(Feature::BadLines) {
            let kind = self.one_of(&["loss", "reorder", "duplicate", "corrupt", "latency"]);
            let share = self.share(5, 100);
            let jitter = self.ms(1, 100);
            self.fault(kind, Some("random:5"));
            self.lasts(1_000, 6_000);
            match kind {
                "latency" => self.word("jitter", jitter),
                "reorder" => {
                    self.number("share", share);
                    self.word("jitter", jitter);
                }
                _ => self.number("share", share),
            }
        }
        if self.has(Feature::BrokenLinks) {
            let kind = self.one_of(&["reset", "half-open", "flap"]);
            let links = self.random.between(1, 5);
            self.fault(kind, None);
            self.number("links", links);
            if kind == "flap" {
                let period = self.ms(500, 3_000);
                self.word("period", period);
                self.lasts(2_000, 8_000);
            } else {
                self.again(500, 4_000);
            }
        }
        if self.has(Feature::NarrowLines) {
            self.fault("bandwidth", Some("member/one"));
            self.number("factor", 0.1);
            self.lasts(1_000, 8_000);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run;
    use crate::scenario::{Overrides, Scenario};
    use std::path::Path;

    #[test]
    fn every_draw_is_a_small_scenario_that_the_simulator_can_run() {
        for seed in 0..2_000 {
            let text = draw(seed);
            let scenario = Scenario::parse(&text, Path::new("swarm.toml"), &Overrides::default());
            let scenario = scenario.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
            run::check(&scenario).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
            assert!(scenario.nodes() <= 30, "seed {seed}");
        }
    }

    #[test]
    fn draws_differ_and_every_feature_is_drawn() {
        let all: Vec<String> = (0..200).map(draw).collect();
        assert_eq!(draw(7), all[7]);
        for feature in FEATURES {
            let name = format!("{feature:?}");
            let with = all.iter().filter(|text| {
                let head = text.lines().next().unwrap_or_default();
                head.contains(&name)
            });
            let with = with.count();
            assert!((10..190).contains(&with), "{name} in {with} of 200");
        }
    }
}
