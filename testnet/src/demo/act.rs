//! What happens in the demo, from the first peer to the last message.

use super::cast::Cast;
use super::collector::Collector;
use super::feed::{Content, send_file, stream_lines};
use super::ledger::{Ledger, Subscriber};
use super::look;
use super::report::{GroupResult, Report};
use super::story::Story;
use crate::terminal::{counted, listed, thousands};
use anyhow::{Context as _, bail};
use hedgerow_testnet::process::Fleet;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The group that a tree carries.
pub(crate) const TREE_GROUP: &str = "orchard";
/// The group that a mesh carries.
pub(crate) const MESH_GROUP: &str = "meadow";
/// The group of every peer.
const BROADCAST: &str = "broadcast";

/// How long all may take until everyone knows everyone.
const JOINED_WITHIN: Duration = Duration::from_secs(30);
/// How long the streams may take.
const STREAMS_WITHIN: Duration = Duration::from_secs(80);
/// How long nothing may come before something is lost: as long as a peer may look for a message.
const PATIENCE: Duration = Duration::from_secs(30);
/// The share of lines that have come, in percent, when peers are killed.
const KILL_AT_PERCENT: u64 = 35;
/// How long the killed peer that comes back is away.
const AWAY: Duration = Duration::from_secs(2);
/// How long is listened on after the last message, for any that comes twice.
const LISTEN_ON: Duration = Duration::from_secs(1);
/// Waits beyond the median that would be noticed.
const NOTICEABLE: Duration = Duration::from_millis(100);
/// Who comes back asks for all there is.
const ALL_THERE_IS: &str = "since=1d";

/// What is under way: the books, and the commands that publish.
struct Stage<'a> {
    fleet: &'a mut Fleet,
    content: &'a Content,
    story: &'a Story,
    cast: Cast,
    collector: Collector,
    feeds: JoinSet<anyhow::Result<()>>,
    /// The ledger's publications, by group.
    tree: Vec<usize>,
    mesh: Vec<usize>,
    broadcast: Vec<usize>,
}

/// Plays the demo with `nodes` peers and tells it as it goes.
pub(crate) async fn play(
    fleet: &mut Fleet,
    nodes: usize,
    content: &Content,
    story: &Story,
) -> anyhow::Result<Report> {
    let mut stage = Stage {
        fleet,
        content,
        story,
        cast: Cast::new(nodes),
        collector: Collector::new(),
        feeds: JoinSet::new(),
        tree: Vec::new(),
        mesh: Vec::new(),
        broadcast: Vec::new(),
    };
    stage.gather(nodes).await?;
    stage.publish().await?;
    let killed_at = stage.kill_in_the_middle().await?;
    let complete = stage.finish().await?;
    stage.report(nodes, killed_at, complete).await
}

impl Stage<'_> {
    /// Starts the peers and makes the groups.
    async fn gather(&mut self, nodes: usize) -> anyhow::Result<()> {
        self.fleet.grow(nodes, |_| ()).await?;
        let first = self
            .fleet
            .peers()
            .first()
            .context("at least one peer")?
            .ready()
            .clone();
        let address = first.listen.first().map(String::as_str).unwrap_or_default();
        self.story.tell(&format!(
            "{} run as processes of their own; all came in through the first, {}",
            counted(nodes, "peer"),
            address.split("/p2p/").next().unwrap_or_default(),
        ));
        for (index, peer) in self.fleet.peers().iter().enumerate() {
            let at = Subscriber {
                peer: index,
                life: 0,
            };
            self.collector.ledger.subscribe(at);
            // The first creates the groups, the others learn from it how they work.
            let (tree, mesh) = if index == 0 {
                ("overlay=tree", "overlay=mesh")
            } else {
                ("", "")
            };
            for (group, query) in [(TREE_GROUP, tree), (MESH_GROUP, mesh), (BROADCAST, "")] {
                self.collector.listen(at, &peer.api(), group, query).await?;
            }
        }
        let groups = [TREE_GROUP, MESH_GROUP, BROADCAST];
        self.fleet
            .until_joined(&groups, nodes, JOINED_WITHIN)
            .await?;
        self.story.tell(&format!(
            "all are members of {TREE_GROUP} (a tree: each message comes once) and {MESH_GROUP} \
             (a mesh: everyone has 2 parents)"
        ));
        Ok(())
    }

    /// Books what will be published and sets the publishers going.
    async fn publish(&mut self) -> anyhow::Result<()> {
        let Cast {
            tree,
            mesh,
            sender,
            crier,
            ..
        } = self.cast;
        let streams = [(TREE_GROUP, tree), (MESH_GROUP, mesh)];
        for (group, peers) in streams {
            for peer in peers {
                self.open(group, peer, "a line", b"\n");
                let publication = self.last_opened(group);
                for line in self.content.lines() {
                    self.collector.ledger.publish(publication, line);
                }
                let cli = self.fleet.peers()[peer].cli();
                self.feeds
                    .spawn(stream_lines(cli, group, self.content.text.clone()));
            }
        }
        for group in [TREE_GROUP, MESH_GROUP] {
            self.open(group, sender, "the program", b"");
            let publication = self.last_opened(group);
            self.collector
                .ledger
                .publish(publication, &self.content.binary);
            let cli = self.fleet.peers()[sender].cli();
            self.feeds
                .spawn(send_file(cli, group, self.content.binary_file.clone()));
        }
        self.open(BROADCAST, crier, "a broadcast", b"\n");
        self.story.tell(&format!(
            "{} stream {} ({}) into {TREE_GROUP}, {} into {MESH_GROUP}, all at once;",
            name_all(&tree),
            self.content.text_name,
            counted(self.content.lines().count(), "line"),
            name_all(&mesh),
        ));
        self.story.tell(&format!(
            "{} sends a program of {:.1} MB into both as one message, and broadcasts",
            name(sender),
            self.content.binary.len() as f64 / 1e6,
        ));
        self.broadcast("the streams have begun").await
    }

    /// Kills a quarter of the peers while the streams are on their way, and restarts one.
    async fn kill_in_the_middle(&mut self) -> anyhow::Result<Instant> {
        let children = look::children(self.fleet.peers(), self.cast.tree[0], TREE_GROUP).await?;
        let victims = self.cast.victims(&children);
        let lines = self.content.lines().count() as u64 * 4;
        let streams: Vec<usize> = self.tree.iter().chain(&self.mesh).copied().collect();
        let due = lines * self.fleet.peers().len() as u64 * KILL_AT_PERCENT / 100;
        let limit = STREAMS_WITHIN;
        let reached = self
            .collector
            .until(limit, PATIENCE, |ledger| {
                ledger.totals(&streams).delivered >= due
            })
            .await?;
        if !reached {
            bail!("the streams came to a halt before any peer was killed");
        }
        let killed_at = Instant::now();
        for victim in &victims {
            self.fleet.peers()[*victim].signal(rustix::process::Signal::KILL)?;
            self.collector.ledger.dismiss(Subscriber {
                peer: *victim,
                life: 0,
            });
        }
        for victim in &victims {
            self.fleet.peers_mut()[*victim].wait().await?;
        }
        let orphans: usize = victims
            .iter()
            .filter_map(|victim| children.get(victim))
            .sum();
        self.story.tell(&format!(
            "SIGKILL to {} in the middle of it all: {} of the others lose their parent in the \
             tree of {}",
            name_all(&victims),
            thousands(orphans as u64),
            name(self.cast.tree[0]),
        ));
        self.broadcast("some of us have died").await?;
        self.collector.pause(AWAY).await?;
        if let Some(back) = victims.last().copied() {
            self.bring_back(back).await?;
        }
        Ok(killed_at)
    }

    /// Restarts a killed peer; everything is due to it, as far as it is still retained.
    async fn bring_back(&mut self, index: usize) -> anyhow::Result<()> {
        let peer = &mut self.fleet.peers_mut()[index];
        let before = peer.ready().peer.clone();
        peer.restart().await?;
        anyhow::ensure!(
            peer.ready().peer == before,
            "{} came back as another peer",
            name(index)
        );
        let api = peer.api();
        let at = Subscriber {
            peer: index,
            life: 1,
        };
        self.collector.ledger.subscribe(at);
        for group in [TREE_GROUP, MESH_GROUP] {
            self.collector.listen(at, &api, group, ALL_THERE_IS).await?;
        }
        // In the group of every peer it was from its start, without asking for the past.
        self.collector.ledger.excuse(at, &self.broadcast);
        self.collector.listen(at, &api, BROADCAST, "").await?;
        let living = self
            .fleet
            .peers()
            .iter()
            .filter(|peer| peer.is_alive())
            .count();
        let groups = [TREE_GROUP, MESH_GROUP, BROADCAST];
        self.fleet
            .until_joined(&groups, living, JOINED_WITHIN)
            .await?;
        self.story.tell(&format!(
            "{} is back among the {living} that live, and asks for all it has missed",
            name(index)
        ));
        Ok(())
    }

    /// Waits until all publishers are done and everyone has everything; `false` when that stalls.
    async fn finish(&mut self) -> anyhow::Result<bool> {
        let deadline = Instant::now() + STREAMS_WITHIN;
        while let Some(ended) = self.feeds.try_join_next() {
            ended??;
        }
        while !self.feeds.is_empty() {
            if Instant::now() >= deadline {
                bail!(
                    "{} still publishing after {STREAMS_WITHIN:?}",
                    counted(self.feeds.len(), "command")
                );
            }
            self.collector.pause(Duration::from_millis(50)).await?;
            while let Some(ended) = self.feeds.try_join_next() {
                ended??;
            }
        }
        self.story.tell("everything is published");
        self.broadcast("all is said").await?;
        let complete = self
            .collector
            .until(STREAMS_WITHIN, PATIENCE, Ledger::is_complete)
            .await?;
        if complete {
            self.story.tell("everyone alive has everything");
        }
        self.collector.pause(LISTEN_ON).await?;
        Ok(complete)
    }

    async fn report(
        &mut self,
        nodes: usize,
        killed_at: Instant,
        complete: bool,
    ) -> anyhow::Result<Report> {
        let mut redundancy = BTreeMap::new();
        for group in [TREE_GROUP, MESH_GROUP] {
            redundancy.insert(group, look::redundancy(self.fleet.peers(), group).await?);
        }
        let ledger = &self.collector.ledger;
        let waits = ledger.waits(killed_at, NOTICEABLE);
        let result =
            |group: &'static str, overlay: &'static str, publications: &[usize]| GroupResult {
                group,
                overlay,
                totals: ledger.totals(publications),
            };
        let totals = ledger.grand_total();
        let clean = ledger.duplicates == 0 && ledger.disordered == 0 && ledger.wrong == 0;
        Ok(Report {
            passed: complete && clean && totals.different == 0 && ledger.complaints.is_empty(),
            nodes,
            killed: self.cast.killed,
            totals,
            app_duplicates: ledger.duplicates,
            order_violations: ledger.disordered,
            wrong: ledger.wrong,
            pulled: ledger.pulled,
            hops_max: ledger.hops_max,
            rmr_tree: redundancy[TREE_GROUP],
            rmr_mesh: redundancy[MESH_GROUP],
            waits,
            noticeable: NOTICEABLE,
            complaints: ledger.complaints.clone(),
            groups: vec![
                result(TREE_GROUP, "tree", &self.tree),
                result(MESH_GROUP, "mesh", &self.mesh),
                result(BROADCAST, "everyone", &self.broadcast),
            ],
        })
    }

    fn open(&mut self, group: &'static str, peer: usize, what: &str, terminator: &'static [u8]) {
        let origin = self.fleet.peers()[peer].ready().peer.clone();
        let id = self.collector.ledger.open(group, &origin, what, terminator);
        self.publications(group).push(id);
    }

    fn last_opened(&mut self, group: &str) -> usize {
        self.publications(group).last().copied().unwrap_or_default()
    }

    fn publications(&mut self, group: &str) -> &mut Vec<usize> {
        match group {
            TREE_GROUP => &mut self.tree,
            MESH_GROUP => &mut self.mesh,
            _ => &mut self.broadcast,
        }
    }

    async fn broadcast(&mut self, text: &str) -> anyhow::Result<()> {
        let publication = self.last_opened(BROADCAST);
        self.collector.ledger.publish(publication, text.as_bytes());
        self.fleet.peers()[self.cast.crier]
            .cli()
            .text(&["broadcast", text])
            .await?;
        Ok(())
    }
}

fn name(peer: usize) -> String {
    format!("peer {}", peer + 1)
}

fn name_all(peers: &[usize]) -> String {
    let numbers: Vec<String> = peers.iter().map(|peer| (peer + 1).to_string()).collect();
    let noun = if peers.len() == 1 { "peer" } else { "peers" };
    format!("{noun} {}", listed(&numbers))
}
