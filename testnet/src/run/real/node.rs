//! One node: what it is given, and what is known of the peer that runs there.

use super::place::Places;
use crate::check::Snapshot;
use crate::process::Peer;
use crate::run::{Cast, setup};
use crate::scenario::Scenario;
use crate::sim::{Copies, Counted, RECORD_FRAMES, Random, Tally, Traffic};
use hedgerow_protocol::status::{GroupStatus, LinkStatus, Status};
use hedgerow_protocol::{Config, GroupName, Keypair, PeerKey, SettingsPatch};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    /// The process is on its way to where its API accepts calls.
    Starting,
    Running,
    Paused,
    /// It was asked to leave.
    Leaving,
    /// The host is silent.
    Down,
}

/// Answer of `GET /v1/metrics`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Metrics {
    pub(super) status: Status,
    pub(super) counters: Counters,
    pub(super) links: Vec<LinkStatus>,
    pub(super) groups: Vec<GroupStatus>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Counters {
    values: BTreeMap<String, u64>,
    frames_sent: BTreeMap<String, u64>,
}

/// One node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) key: PeerKey,
    secret: [u8; 32],
    pub(super) config: Config,
    /// `config.toml` of its data directory.
    settings: String,
    pub(super) data_dir: PathBuf,
    pub(super) listen: String,
    pub(super) connect: Vec<String>,
    pub(super) state: State,
    /// Counts starts and stops, so that news of a dead process is told from that of a live one.
    pub(super) life: u64,
    pub(super) peer: Option<Peer>,
    pub(super) start: Option<AbortHandle>,
    /// Groups to be in, and how they are asked for.
    pub(super) joins: BTreeMap<GroupName, SettingsPatch>,
    /// Who reads the streams of those it is in.
    pub(super) streams: BTreeMap<GroupName, AbortHandle>,
    /// Whether its application reads nothing.
    pub(super) deaf: watch::Sender<bool>,
    /// Whether its disk is full.
    pub(super) disk_full: bool,
    /// Those whose messages are not due yet.
    pub(super) joining: BTreeSet<GroupName>,
    /// Publications that the peer has not taken yet.
    pub(super) posts: usize,
    /// Whether it is being asked how it is.
    pub(super) is_asked: bool,
    /// Whether it answered when it was asked last.
    pub(super) answers: bool,
    /// What it said last in this life.
    pub(super) seen: Option<Box<Metrics>>,
    /// What was counted in earlier lives.
    before: (Traffic, BTreeMap<String, u64>),
    /// What was counted in groups, in all lives.
    counted: Counted,
}

/// All nodes of a scenario, none of them started.
pub(super) fn all(scenario: &Scenario, cast: &Cast, dir: &Path, places: &Places) -> Vec<Node> {
    let seed = scenario.file.scenario.seed;
    let contacts = setup::start_graph(scenario).contacts(seed, cast.len());
    let mut nodes = Vec::with_capacity(cast.len());
    for (class, (_, range)) in cast.classes.iter().enumerate() {
        let table = scenario.engine_table(class);
        let settings = toml::to_string(&table).unwrap_or_default();
        for node in range.clone() {
            let secret = Random::key(seed, "identity", node as u64);
            let connect = contacts[node].iter().map(|&other| places.address(other));
            nodes.push(Node {
                key: Keypair::from_secret(secret).peer(),
                secret,
                config: scenario.configs[class].clone(),
                settings: settings.clone(),
                data_dir: dir.join(name(node)),
                listen: places.address(node),
                connect: connect.collect(),
                state: State::Idle,
                life: 0,
                peer: None,
                start: None,
                joins: BTreeMap::new(),
                streams: BTreeMap::new(),
                deaf: watch::Sender::new(false),
                disk_full: false,
                joining: BTreeSet::new(),
                posts: 0,
                is_asked: false,
                answers: false,
                seen: None,
                before: Default::default(),
                counted: Counted::default(),
            });
        }
    }
    nodes
}

/// What people call a node.
pub(super) fn name(node: usize) -> String {
    format!("node-{node:03}")
}

impl Node {
    /// What its data directory holds before the first start.
    pub(super) fn files(&self) -> Files {
        Files {
            dir: self.data_dir.clone(),
            settings: self.settings.clone(),
            identity: identity_file(&self.secret, &self.key),
        }
    }

    /// Whether its peer runs and is joined to all that it is to be in.
    pub(super) fn is_up(&self) -> bool {
        self.state == State::Running && self.joining.is_empty()
    }

    /// Takes what its peer said.
    pub(super) fn see(&mut self, seen: Box<Metrics>) {
        self.counted.see(seen.tally());
        self.seen = Some(seen);
    }

    /// Counts what the last life sent, which has ended.
    pub(super) fn settle_counts(&mut self) {
        self.before = (self.traffic(), self.counters());
        self.counted.settle();
        self.seen = None;
        self.answers = false;
        self.posts = 0;
    }

    pub(super) fn traffic(&self) -> Traffic {
        let mut traffic = self.before.0;
        if let Some(seen) = &self.seen {
            let value = |name: &str| seen.counters.values.get(name).copied().unwrap_or(0);
            traffic.bytes_sent += value("node_sent_bytes");
            traffic.control_frames += value("node_control_frames");
            traffic.control_bytes += value("node_control_bytes");
        }
        traffic
    }

    pub(super) fn tally(&self) -> Tally {
        self.counted.sum()
    }

    /// Counters of all lives by name.
    pub(super) fn counters(&self) -> BTreeMap<String, u64> {
        let mut counters = self.before.1.clone();
        for (name, value) in self.seen.iter().flat_map(|seen| &seen.counters.values) {
            *counters.entry(name.clone()).or_default() += value;
        }
        counters
    }

    pub(super) fn snapshot(&self, node: usize) -> Option<Snapshot> {
        let seen = self.seen.as_ref()?;
        Some(Snapshot {
            node,
            status: seen.status.clone(),
            links: seen.links.clone(),
            groups: seen.groups.clone(),
            config: self.config.clone(),
        })
    }
}

impl Metrics {
    fn tally(&self) -> Tally {
        let groups = self.groups.iter().filter_map(|group| {
            let copies = Copies {
                copies: group.copies,
                firsts: group.firsts,
                repaired: group.repaired,
            };
            Some((group.group.clone()?, copies))
        });
        let frames = &self.counters.frames_sent;
        let records = RECORD_FRAMES.iter().filter_map(|kind| frames.get(*kind));
        Tally {
            groups: groups.collect(),
            record_frames: records.sum(),
        }
    }
}

/// What stands in a data directory from the beginning.
#[derive(Clone, Debug)]
pub(super) struct Files {
    dir: PathBuf,
    settings: String,
    identity: Vec<u8>,
}

impl Files {
    /// Writes what is missing; `wiped`, after everything else has been removed.
    pub(super) fn write(&self, wiped: bool) -> std::io::Result<()> {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        if wiped && self.dir.exists() {
            std::fs::remove_dir_all(&self.dir)?;
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)?;
        for (name, bytes) in [
            ("config.toml", self.settings.as_bytes()),
            ("identity.key", &self.identity),
        ] {
            let path = self.dir.join(name);
            if !path.exists() {
                let mut options = std::fs::OpenOptions::new();
                let mut file = options
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(path)?;
                std::io::Write::write_all(&mut file, bytes)?;
            }
        }
        Ok(())
    }
}

/// A key as libp2p stores it: a protobuf message of the kind (field 1: ed25519 is 1) and the
/// secret followed by the public key (field 2, 64 bytes).
fn identity_file(secret: &[u8; 32], public: &PeerKey) -> Vec<u8> {
    let head: &[u8] = &[0x08, 0x01, 0x12, 0x40];
    [head, secret, &public.0].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hedgerow_protocol::{Engine, JoinOptions, Micros, Time};

    /// What a peer answers that has received so many copies in a group, or is in none.
    fn metrics(copies: Option<u64>) -> Box<Metrics> {
        let keypair = Keypair::from_secret([1; 32]);
        let now = Time {
            mono: Micros(0),
            wall_ms: 1,
        };
        let mut engine = Engine::new(keypair, Config::default(), [1; 32], now);
        let group = GroupName::new("news").expect("valid");
        let joined = engine.join(now, group.clone(), JoinOptions::default());
        joined.expect("joins");
        let mut groups = engine.groups();
        groups.retain(|known| known.group.as_ref() == Some(&group) && copies.is_some());
        for group in &mut groups {
            (group.copies, group.firsts) = (copies.unwrap_or(0), 1);
        }
        let answer = serde_json::json!({
            "status": engine.status(),
            "counters": {
                "values": {"node_sent_bytes": 7}, "frames_sent": {"Records": 2, "Bundles": 3}
            },
            "links": engine.links(),
            "groups": groups,
        });
        Box::new(serde_json::from_value(answer).expect("metrics"))
    }

    #[test]
    fn counts_only_grow_whatever_becomes_of_groups_and_lives() {
        let text = "[scenario]\n[[nodes]]\nid = \"a\"\ncount = 1\n";
        let overrides = crate::scenario::Overrides::default();
        let scenario = Scenario::parse(text, Path::new("t.toml"), &overrides).expect("valid");
        let places = Places::new(&scenario, &Cast::new(&scenario)).expect("loopback");
        let mut nodes = all(&scenario, &Cast::new(&scenario), Path::new("/tmp"), &places);
        let node = &mut nodes[0];
        let group = GroupName::new("news").expect("valid");
        let mut sums = Vec::new();
        for copies in [Some(5), None, Some(2), Some(4)] {
            node.see(metrics(copies));
            sums.push(node.tally().groups[&group].copies);
        }
        assert_eq!(sums, [5, 5, 7, 9]);
        assert!(node.snapshot(0).is_some());
        node.settle_counts();
        node.see(metrics(Some(1)));
        assert_eq!(node.tally().groups[&group].copies, 10);
        assert_eq!(node.tally().record_frames, 4);
        assert_eq!(node.traffic().bytes_sent, 14);
        assert_eq!(node.counters()["node_sent_bytes"], 14);
    }
}
