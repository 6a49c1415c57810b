//! What goes wrong, when and to whom.

use super::draw::{Draw, Toml};
use super::groups::Groups;
use super::topology::Topology;
use crate::scenario::FaultKind;
use std::fmt::Display;

const FAULTS_MAX: usize = 6;
/// Percent of the seeds that have each kind.
const KIND_PERCENT: u32 = 30;
/// How long everything is left alone after the healing: as a rule; where links flap, which are not
/// stated for up to 60 s then (`links.flap_max_ms`), and a peer without a stated link is in no view;
/// and where messages are not retained, whose losses are told one range after another, each after
/// [`GAP_TIMEOUT_MS`] if a neighbour does not say that it has let them go.
const QUIET_MS: usize = 45_000;
const LONG_QUIET_MS: usize = 75_000;
const GAPS_QUIET_MS: usize = 150_000;
/// `groups.gap_timeout_ms` in such runs: longer than all faults together, so that nothing is given up
/// that comes back with the healing, and half of the default.
pub(super) const GAP_TIMEOUT_MS: usize = 30_000;
/// How far a wall clock jumps.
const JUMPS: [&str; 5] = ["2s", "30s", "10m", "1h", "2days"];

/// One `[[fault]]`: its keys in order, written as they stand in the file.
#[derive(Clone, Debug)]
struct Fault {
    kind: FaultKind,
    keys: Vec<(&'static str, String)>,
    /// Whether whom it stops is gone for good.
    for_good: bool,
    repeats: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn draw(seed: u64, topology: &Topology, groups: &Groups) -> Self {
        let mut draw = Draw::new(seed, "faults");
        let mut kinds = draw.some_of(&FaultKind::ALL, KIND_PERCENT);
        kinds.retain(|kind| *kind != FaultKind::Start);
        let mut faults = Vec::new();
        let count = if kinds.is_empty() {
            0
        } else {
            draw.between(0, FAULTS_MAX)
        };
        for _ in 0..count {
            let kind = draw.one_of(&kinds);
            let mut fault = Drawing {
                draw: &mut draw,
                topology,
                groups,
                fault: Fault::new(kind),
            };
            fault.keys();
            faults.push(fault.fault);
        }
        if topology.late > 0 {
            let mut start = Fault::new(FaultKind::Start);
            start.ms("at", draw.ms(0, topology.duration_ms - 100));
            start.text("target", "late");
            if draw.chance(50) {
                start.ms("within", draw.ms(100, 5_000));
            }
            faults.push(start);
        }
        Self(faults)
    }

    /// Whether somebody is stopped, for a while or for good, or sleeps.
    pub(super) fn stop_peers(&self) -> bool {
        self.have(&[
            FaultKind::Crash,
            FaultKind::Kill,
            FaultKind::Term,
            FaultKind::Pause,
            FaultKind::Restart,
            FaultKind::Churn,
        ])
    }

    /// Whether somebody leaves a group or joins one.
    pub(super) fn change_members(&self) -> bool {
        self.have(&[FaultKind::Leave, FaultKind::Join])
    }

    /// Whether somebody that knows others is gone in the end.
    pub(super) fn stop_for_good(&self) -> bool {
        self.0.iter().any(|fault| fault.for_good)
    }

    pub(super) fn quiet_ms(&self, groups: &Groups) -> usize {
        let flaps = self.have(&[
            FaultKind::Flap,
            FaultKind::Reset,
            FaultKind::HalfOpen,
            FaultKind::Churn,
        ]);
        let repeats = self.0.iter().any(|fault| fault.repeats);
        if groups.lose_old_messages() {
            GAPS_QUIET_MS
        } else if flaps || repeats {
            LONG_QUIET_MS
        } else {
            QUIET_MS
        }
    }

    fn have(&self, kinds: &[FaultKind]) -> bool {
        self.0.iter().any(|fault| kinds.contains(&fault.kind))
    }

    pub(super) fn write(&self, toml: &mut Toml) {
        for fault in &self.0 {
            let table = toml.table("[[fault]]");
            table.text("kind", fault.kind.as_str());
            for (key, value) in &fault.keys {
                table.plain(key, value);
            }
        }
    }
}

impl Fault {
    fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            keys: Vec::new(),
            for_good: false,
            repeats: false,
        }
    }

    fn plain(&mut self, key: &'static str, value: impl Display) {
        self.keys.push((key, format!("{value}")));
    }

    fn text(&mut self, key: &'static str, value: &str) {
        self.plain(key, format!("\"{value}\""));
    }

    fn ms(&mut self, key: &'static str, ms: usize) {
        self.text(key, &format!("{ms}ms"));
    }
}

/// One fault that is being drawn.
struct Drawing<'a> {
    draw: &'a mut Draw,
    topology: &'a Topology,
    groups: &'a Groups,
    fault: Fault,
}

impl Drawing<'_> {
    fn keys(&mut self) {
        let at = self.draw.ms(0, self.topology.duration_ms - 100);
        self.fault.ms("at", at);
        match self.fault.kind {
            FaultKind::Crash | FaultKind::Kill | FaultKind::Term | FaultKind::Restart => {
                self.stop();
            }
            FaultKind::Pause | FaultKind::SlowReader | FaultKind::DiskFull => {
                self.target();
                self.lasts(15_000);
                self.again(30);
            }
            FaultKind::Start => {}
            FaultKind::Leave | FaultKind::Join => self.membership(),
            FaultKind::Churn => self.churn(),
            FaultKind::Partition => self.partition(),
            FaultKind::Latency
            | FaultKind::Loss
            | FaultKind::Duplicate
            | FaultKind::Reorder
            | FaultKind::Corrupt => self.ways(),
            FaultKind::Bandwidth => self.bandwidth(),
            FaultKind::Reset | FaultKind::HalfOpen => {
                self.some_target();
                let links = self.draw.between(1, 4);
                self.fault.plain("links", links);
                self.again(60);
            }
            FaultKind::Flap => {
                self.some_target();
                let (links, period) = (self.draw.between(1, 3), self.draw.ms(500, 6_000));
                self.fault.plain("links", links);
                self.fault.ms("period", period);
                let lasts = self.draw.ms(1_000, 15_000);
                self.fault.ms("for", lasts);
                if self.draw.chance(40) {
                    self.fault.plain("again", true);
                }
            }
            FaultKind::Clock => self.clock(),
        }
    }

    /// Peers die or leave the network, for a while or for good, once or again and again.
    fn stop(&mut self) {
        let is_restart = self.fault.kind == FaultKind::Restart;
        if !is_restart && self.draw.chance(30) {
            // `core` stays: somebody must be there in the end.
            let target = ["peer/random:1", "peer/share:0.3", "peer/share:0.5"];
            let target = self.draw.one_of(&target);
            self.fault.text("target", target);
            self.fault.for_good = true;
            return;
        }
        if is_restart && self.draw.chance(30) {
            return self.short_lives();
        }
        self.target();
        if !is_restart || self.draw.chance(70) {
            let lasts = self.draw.ms(200, 10_000);
            self.fault.ms("for", lasts);
        }
        self.again(40);
        // In a warm start nobody has the address of the first peer but from its link, and whoever
        // leaves in peace is not dialled again: with nothing stored it would be alone for good.
        if self.draw.chance(25) && !self.topology.warm {
            self.fault.plain("wipe", true);
        }
    }

    /// Publishers live for a few seconds only, one life after the other, as a job does that runs again and
    /// again.
    fn short_lives(&mut self) {
        let target = self.draw.one_of(&["publishers", "publishers/random:1"]);
        self.fault.text("target", target);
        let (away, every) = (self.draw.ms(100, 800), self.draw.ms(1_200, 4_000));
        self.fault.ms("for", away);
        self.fault.ms("every", every);
        self.fault.repeats = true;
    }

    fn membership(&mut self) {
        let group = self.draw.between(0, self.groups.groups.len() - 1);
        let group = &self.groups.groups[group].name;
        let target = match self.fault.kind {
            FaultKind::Join => self.draw.one_of(&["all/random:2", "all/share:0.3", "core"]),
            _ => self
                .draw
                .one_of(&["peer/random:1", "peer/share:0.3", "honest/random:2"]),
        };
        self.fault.text("group", group);
        self.fault.text("target", target);
        if self.draw.chance(60) {
            let lasts = self.draw.ms(500, 8_000);
            self.fault.ms("for", lasts);
            self.again(40);
        }
    }

    /// Peers come and go. Whoever is gone when it ends stays gone.
    fn churn(&mut self) {
        self.fault.for_good = true;
        let target = if self.topology.late > 0 {
            "peer/share:0.4 + late"
        } else {
            "peer/share:0.5"
        };
        self.fault.text("target", target);
        if self.draw.chance(50) {
            let leave = self.draw.one_of(&[0.02, 0.1, 0.2]);
            self.fault.plain("leave", leave);
        } else {
            let session = self.draw.ms(2_000, 10_000);
            self.fault.ms("session", session);
            let lengths = self.draw.one_of(&["exponential", "weibull", "fixed"]);
            self.fault.text("lengths", lengths);
        }
        let (join, crash) = (
            self.draw.one_of(&[0.05, 0.2]),
            self.draw.one_of(&["0.0", "0.5", "1.0"]),
        );
        self.fault.plain("join", join);
        self.fault.plain("crash", crash);
        let lasts = self.draw.ms(2_000, 15_000);
        self.fault.ms("for", lasts);
        if self.draw.chance(30) {
            self.fault.plain("wipe", true);
        }
    }

    fn partition(&mut self) {
        let sets = [
            "[\"share:0.5\", \"rest\"]",
            "[\"peer/random:1\", \"rest\"]",
            "[\"core\", \"rest\"]",
            "[\"peer/share:0.3\", \"core\", \"rest\"]",
            "[\"publishers\", \"rest\"]",
        ];
        let sets = self.draw.one_of(&sets);
        self.fault.plain("sets", sets);
        match self.draw.between(0, 9) {
            0..=2 => self.fault.plain("one_way", true),
            3 => self.fault.text("bridge", "peer/random:1"),
            4 => self.fault.text("delay", "400ms"),
            _ => {}
        }
        self.lasts(15_000);
        self.again(30);
    }

    /// What happens to packets on their way.
    fn ways(&mut self) {
        let kind = self.fault.kind;
        self.some_target();
        if kind == FaultKind::Latency {
            let delay = self.draw.one_of(&["20ms", "100ms", "400ms"]);
            self.fault.text("delay", delay);
        } else {
            // Altered packets end connections; of the others a network bears many.
            let shares: &[f64] = if kind == FaultKind::Corrupt {
                &[0.001, 0.01]
            } else {
                &[0.01, 0.05, 0.2]
            };
            let share = self.draw.one_of(shares);
            self.fault.plain("share", share);
        }
        if kind == FaultKind::Reorder || (kind == FaultKind::Latency && self.draw.chance(50)) {
            let jitter = self.draw.one_of(&["10ms", "100ms"]);
            self.fault.text("jitter", jitter);
        }
        if kind == FaultKind::Loss && self.draw.chance(40) {
            let run = self.draw.between(2, 10);
            self.fault.plain("run", run);
        }
        self.lasts(15_000);
        self.again(20);
    }

    fn bandwidth(&mut self) {
        self.target();
        if self.topology.line.is_some() && self.draw.chance(50) {
            self.fault.plain("factor", "0.5");
        } else {
            let mbit = self.draw.one_of(&[1, 5]);
            self.fault.plain("up_mbit", mbit);
            self.fault.plain("down_mbit", mbit);
        }
        self.lasts(10_000);
    }

    fn clock(&mut self) {
        self.target();
        let way = self.draw.one_of(&["ahead", "back"]);
        let jump = self.draw.one_of(&JUMPS);
        self.fault.text(way, jump);
        if self.draw.chance(40) {
            self.lasts(10_000);
        }
        self.again(20);
    }

    /// Whom it hits.
    fn target(&mut self) {
        let group = self.groups.heard();
        let group = self.draw.one_of(&group);
        let members = format!("members:{group}/random:2");
        let targets = [
            "peer/random:1",
            "peer/random:2",
            "peer/share:0.3",
            "publishers/random:1",
            "publishers",
            "core",
            "honest/share:0.2",
            "relay/one",
            "leaf/random:1",
            "articulation/one",
            "nearest-to-origin/first:2",
            &members,
        ];
        let target = self.draw.one_of(&targets).to_owned();
        self.fault.text("target", &target);
    }

    /// The same, or everybody.
    fn some_target(&mut self) {
        if self.draw.chance(60) {
            self.target();
        }
    }

    /// For a while, or until everything is healed.
    fn lasts(&mut self, most_ms: usize) {
        if self.draw.chance(80) {
            let lasts = self.draw.ms(300, most_ms);
            self.fault.ms("for", lasts);
        }
    }

    /// Again after a while, in so many of 100 cases.
    fn again(&mut self, percent: u32) {
        if self.draw.chance(percent) {
            let every = self.draw.ms(500, 8_000);
            self.fault.ms("every", every);
            if self.draw.chance(20) {
                let until = self.draw.ms(1_000, self.topology.duration_ms);
                self.fault.ms("until", until);
            }
            self.fault.repeats = true;
        }
    }
}
