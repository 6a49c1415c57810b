//! The network: nodes, latencies, lines, clocks, and how it starts.

use super::draw::{Draw, Toml};
use super::faults::{Faults, GAP_TIMEOUT_MS};
use super::groups::Groups;
use super::hostile::Hostile;

/// Nodes of all classes.
const NODES_MAX: usize = 30;
/// Honest nodes besides the core where some are hostile: enough to have ways around these, and keys
/// to copy.
const PEERS_BESIDE_HOSTILE: usize = 7;

/// The network of one seed. `core` nodes are never stopped for good; `peer` nodes may be; `late`
/// nodes do not run from the beginning.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    pub(super) core: usize,
    pub(super) peers: usize,
    pub(super) late: usize,
    /// How many of the nodes have lines of their own, narrower than those of the others.
    slow: usize,
    pub(super) warm: bool,
    pub(super) warmup_ms: usize,
    pub(super) duration_ms: usize,
    latency: &'static str,
    jitter_ms: usize,
    loss: f64,
    /// Mbit/s out and in, of everybody.
    pub(super) line: Option<(usize, usize)>,
    clock_skew: &'static str,
    start: &'static str,
    start_within_ms: usize,
}

/// Latencies, from one room to a world.
const LATENCIES: [&str; 6] = [
    "constant = \"1ms\"",
    "constant = \"30ms\"",
    "uniform = [\"1ms\", \"20ms\"]",
    "uniform = [\"5ms\", \"150ms\"]",
    "hop_count = true",
    "regions = true",
];
/// Wall clocks of one network, from disciplined ones to those that nobody has ever set.
const CLOCK_SKEWS: [&str; 4] = ["1s", "10s", "60s", "1h"];
/// Access lines, Mbit/s out and in.
const LINES: [(usize, usize); 4] = [(5, 20), (10, 10), (50, 100), (500, 500)];
/// Those of slow nodes.
const SLOW_LINE: (usize, usize) = (2, 8);

impl Topology {
    pub(super) fn draw(seed: u64, hostile: &Hostile) -> Self {
        let mut draw = Draw::new(seed, "topology");
        let core = draw.between(1, 2);
        let fewest = if hostile.count() > 0 {
            PEERS_BESIDE_HOSTILE
        } else {
            1
        };
        let late = if draw.chance(30) {
            draw.between(1, 6)
        } else {
            0
        };
        let slow = if draw.chance(20) {
            draw.between(1, 3)
        } else {
            0
        };
        let room = NODES_MAX - core - late - slow - hostile.count();
        // Small networks are as common as large ones.
        let most = if draw.chance(50) { 10 } else { room };
        let peers = draw.between(fewest, most.min(room));
        let loss = if draw.chance(30) {
            draw.one_of(&[0.001, 0.01, 0.03])
        } else {
            0.0
        };
        let jitter_ms = if draw.chance(40) {
            draw.one_of(&[1, 10, 50])
        } else {
            0
        };
        let line = draw.chance(25).then(|| draw.one_of(&LINES));
        let clock_skew = if draw.chance(30) {
            draw.one_of(&CLOCK_SKEWS)
        } else {
            "0s"
        };
        let mut topology = Self {
            core,
            peers,
            late,
            slow,
            warm: draw.chance(30),
            warmup_ms: draw.one_of(&[2_000, 5_000, 15_000]),
            duration_ms: draw.between(8, 25) * 1_000,
            latency: draw.one_of(&LATENCIES),
            jitter_ms,
            loss,
            line,
            clock_skew,
            start: draw.one_of(&["random:1", "random:2", "random:3", "hub", "chain", "ring"]),
            start_within_ms: if draw.chance(40) {
                draw.ms(100, 5_000)
            } else {
                0
            },
        };
        if hostile.copies_keys() && topology.start != "hub" {
            // A peer whose key is copied may stop at once, so it must not be the only way to others. The hub
            // publishes, and keys of publishers are not copied.
            topology.start = "random:3";
        }
        topology
    }

    /// The slowest line out or in, Mbit/s; nothing where all are unlimited.
    pub(super) fn narrowest_mbit(&self) -> Option<usize> {
        let lines = self.line.into_iter();
        let lines = lines.chain((self.slow > 0).then_some(SLOW_LINE));
        lines.map(|(up, down)| up.min(down)).min()
    }

    pub(super) fn write(&self, seed: u64, groups: &Groups, faults: &Faults, toml: &mut Toml) {
        let run = toml.table("[scenario]");
        run.text("name", format_args!("swarm-{seed}"));
        run.text("about", format_args!("Drawn from seed {seed}"));
        run.plain("seed", seed).ms("warmup", self.warmup_ms);
        run.ms("duration", self.duration_ms)
            .ms("quiet", faults.quiet_ms(groups));
        if self.warm {
            run.plain("warm_start", true);
        }
        if groups.lose_old_messages() {
            let config = toml.table("[config]");
            config.plain("groups.gap_timeout_ms", GAP_TIMEOUT_MS);
        }
        let topology = toml.table("[topology]");
        // A node that starts anew must know somebody who is there in the end.
        let start = if faults.stop_for_good() || self.late > 0 {
            "hub"
        } else {
            self.start
        };
        topology.text("start", start);
        if self.start_within_ms > 0 {
            topology.ms("start_within", self.start_within_ms);
        }
        if self.jitter_ms > 0 {
            topology.ms("jitter", self.jitter_ms);
        }
        if self.loss > 0.0 {
            topology.plain("loss", self.loss);
        }
        if self.clock_skew != "0s" {
            topology.text("clock_skew", self.clock_skew);
        }
        toml.table("[topology.latency]");
        let (kind, value) = self.latency.split_once(" = ").unwrap_or_default();
        toml.plain(kind, value);
        if let Some(line) = self.line {
            write_line("[topology.bandwidth]", line, toml);
        }
        for (id, count) in [
            ("core", self.core),
            ("peer", self.peers),
            ("slow", self.slow),
            ("late", self.late),
        ] {
            if count == 0 {
                continue;
            }
            let nodes = toml.table("[[nodes]]");
            nodes.text("id", id).plain("count", count);
            match id {
                "slow" => write_line("[nodes.bandwidth]", SLOW_LINE, toml),
                "late" => {
                    nodes.plain("started", false);
                }
                _ => {}
            }
        }
    }
}

fn write_line(head: &str, (up, down): (usize, usize), toml: &mut Toml) {
    let line = toml.table(head);
    line.plain("up_mbit", up).plain("down_mbit", down);
}
