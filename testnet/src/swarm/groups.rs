//! Groups and who publishes what in them.

use super::draw::{Draw, Toml};
use super::hostile::Hostile;
use super::topology::Topology;

const GROUPS_MAX: usize = 4;
/// Bytes of payload that all workloads publish where lines have no limit: what a run of a second or
/// two of one processor can carry to 30 nodes.
const BYTES_MAX: usize = 6_000_000;
/// What is published must pass the narrowest line, several times where that is a relay's, in a
/// few seconds of the quiet time: so many bytes for each Mbit/s of it.
const BYTES_PER_MBIT: usize = 300_000;
/// Messages of one workload.
const MESSAGES_MAX: usize = 500;
/// From what only tells messages apart to what goes in many fragments.
const SIZES: [usize; 7] = [8, 100, 100, 1_000, 10_000, 64 << 10, 100_000];
const LARGE: [usize; 3] = [400_000, 1 << 20, 3_000_000];

/// One `[[group]]`.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) members: &'static str,
    mesh: Option<usize>,
    unordered: bool,
    copies: Option<usize>,
    retention_ms: Option<usize>,
    retention_size: Option<&'static str>,
}

/// One `[[workload]]`.
#[derive(Clone, Debug)]
struct Workload {
    group: String,
    publishers: &'static str,
    at_ms: usize,
    /// Messages a second, or so many at once, and again after so many ms.
    rate: Rate,
    size: usize,
    total: usize,
}

#[derive(Clone, Copy, Debug)]
enum Rate {
    PerSecond(f64),
    Burst(usize, Option<usize>),
}

#[derive(Clone, Debug)]
pub(super) struct Groups {
    pub(super) groups: Vec<Group>,
    workloads: Vec<Workload>,
}

/// Who is in a group. `core` alone publishes to a group of `peer` nodes without being a member.
const MEMBERS: [&str; 6] = [
    "all",
    "all",
    "peer",
    "peer/share:0.6",
    "core + peer/share:0.3",
    "share:0.7",
];
const PUBLISHERS: [&str; 6] = [
    "all",
    "core",
    "peer/random:1",
    "random:2",
    "core + peer/random:2",
    "peer/share:0.5",
];
/// The same where keys are copied: of nodes that publish nothing, of which `peer` has enough.
const FEW_PUBLISHERS: [&str; 3] = ["core", "core + peer/first:1", "core + peer/first:3"];

impl Group {
    fn limits_retention(&self) -> bool {
        self.retention_ms.is_some() || self.retention_size.is_some()
    }
}

impl Groups {
    pub(super) fn draw(seed: u64, topology: &Topology, hostile: &Hostile) -> Self {
        let mut draw = Draw::new(seed, "groups");
        let limits_retention = draw.chance(25);
        let mut groups = Vec::new();
        for at in 0..draw.between(1, GROUPS_MAX) {
            let limited = limits_retention && draw.chance(60);
            let by_time = draw.chance(50);
            groups.push(Group {
                name: format!("group{at}"),
                members: draw.one_of(&MEMBERS),
                mesh: draw.chance(40).then(|| draw.between(2, 4)),
                unordered: draw.chance(25),
                copies: draw.chance(10).then(|| draw.between(2, 4)),
                retention_ms: (limited && by_time).then(|| draw.one_of(&[2_000, 6_000, 15_000])),
                retention_size: (limited && !by_time)
                    .then(|| draw.one_of(&["16KiB", "256KiB", "1MiB"])),
            });
        }
        let count = draw.between(1, 3);
        let most = topology
            .narrowest_mbit()
            .map_or(BYTES_MAX, |mbit| (mbit * BYTES_PER_MBIT).min(BYTES_MAX));
        let mut workloads = Vec::new();
        for _ in 0..count {
            let publishers: &[&str] = if hostile.copies_keys() {
                &FEW_PUBLISHERS
            } else {
                &PUBLISHERS
            };
            let group = if draw.chance(10) {
                "broadcast".to_owned()
            } else {
                groups[draw.between(0, groups.len() - 1)].name.clone()
            };
            let duration_ms = topology.duration_ms;
            let mut workload = Workload {
                group,
                publishers: draw.one_of(publishers),
                at_ms: draw.ms(0, duration_ms / 2),
                rate: if draw.chance(70) {
                    Rate::PerSecond(draw.one_of(&[0.5, 2.0, 5.0, 10.0, 20.0]))
                } else {
                    let every = draw.chance(60).then(|| draw.ms(500, 5_000));
                    Rate::Burst(draw.one_of(&[2, 10, 50, 200]), every)
                },
                size: draw.one_of(&SIZES),
                total: MESSAGES_MAX,
            };
            if draw.chance(10) {
                workload.size = draw.one_of(&LARGE);
                workload.rate = Rate::Burst(1, Some(draw.ms(1_000, 5_000)));
            }
            workload.size = workload.size.min(most / count / 2);
            workload.total = (most / count / workload.size).clamp(1, MESSAGES_MAX);
            workloads.push(workload);
        }
        Self { groups, workloads }
    }

    /// Whether members of a group keep messages for less than a run.
    pub(super) fn limit_retention(&self, name: &str) -> bool {
        let mut groups = self.groups.iter().filter(|group| group.name == name);
        groups.any(Group::limits_retention)
    }

    /// The same of some group in which something is published.
    pub(super) fn lose_old_messages(&self) -> bool {
        self.heard()
            .into_iter()
            .any(|name| self.limit_retention(name))
    }

    /// Names of the groups in which something is published, each once.
    pub(super) fn heard(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .workloads
            .iter()
            .map(|one| one.group.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether something is published in a group for long enough that it is due to somebody,
    /// unless nodes stop or leave: a ratio of nothing is none.
    pub(super) fn is_due(&self, name: &str) -> bool {
        let to_all = |group: &Group| group.name == name && group.members == "all";
        let soon = |workload: &Workload| match workload.rate {
            Rate::PerSecond(rate) => {
                let lasts = workload.total as f64 / rate >= 8.0;
                // Random members may all be hostile, and these publish nothing.
                let honest = workload.publishers != "random:2";
                rate >= 2.0 && workload.at_ms <= 2_000 && lasts && honest
            }
            Rate::Burst(..) => false,
        };
        let here = |workload: &&Workload| workload.group == name;
        let to_all = name == "broadcast" || self.groups.iter().any(to_all);
        to_all && self.workloads.iter().filter(here).any(soon)
    }

    pub(super) fn write(&self, toml: &mut Toml) {
        for group in &self.groups {
            let table = toml.table("[[group]]");
            table.text("name", &group.name);
            if let Some(redundancy) = group.mesh {
                table
                    .text("overlay", "mesh")
                    .plain("redundancy", redundancy);
            }
            if group.members != "all" {
                table.text("members", group.members);
            }
            if group.unordered {
                table.text("order", "unordered");
            }
            if let Some(copies) = group.copies {
                table.plain("copies", copies);
            }
            if let Some(ms) = group.retention_ms {
                table.ms("retention", ms);
            }
            if let Some(size) = group.retention_size {
                table.text("retention_size", size);
            }
        }
        for workload in &self.workloads {
            let table = toml.table("[[workload]]");
            table.text("group", &workload.group);
            table.text("publishers", workload.publishers);
            table.ms("at", workload.at_ms);
            match workload.rate {
                Rate::PerSecond(rate) => {
                    table.plain("rate", rate);
                }
                Rate::Burst(burst, every) => {
                    table.plain("burst", burst);
                    if let Some(every) = every {
                        table.ms("every", every);
                    }
                }
            }
            table.plain("size", workload.size);
            table.plain("total", workload.total);
        }
    }
}
