//! Looks at all peers, about once a second.

use super::Real;
use super::ingest::News;
use super::node::{Metrics, Node, State};
use crate::process::ProcessError;
use crate::run::memory::peak_rss_mib;
use hedgerow_protocol::GroupName;
use hedgerow_protocol::status::OverlayStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// How often ended processes are looked for.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// So many of those ticks lie between two looks at all peers.
const TICKS_A_LOOK: u64 = 5;
/// How long a peer's answer is waited for: one that was paused over the question gives none.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long the overlay is waited for.
const OVERLAY_WITHIN: Duration = Duration::from_secs(1);
/// Peers that are asked at the same time.
pub(super) const ASKING_MAX: usize = 8;

impl Real {
    pub(super) fn on_tick(&mut self) {
        self.reap();
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS_A_LOOK) {
            self.look();
        }
    }

    /// Asks every peer that can answer and has answered.
    fn look(&mut self) {
        for (node, at) in self.nodes.iter_mut().enumerate() {
            let (State::Running | State::Leaving, Some(peer)) = (at.state, &at.peer) else {
                continue;
            };
            if std::mem::replace(&mut at.is_asked, true) {
                continue;
            }
            if let Some(process) = peer.process() {
                let held = peak_rss_mib(&process.pid.to_string());
                self.peak_rss_mib = self.peak_rss_mib.max(held);
            }
            self.looking += 1;
            let (api, life) = (peer.api(), at.life);
            let (asking, sender) = (Arc::clone(&self.asking), self.sender.clone());
            self.runtime.spawn(async move {
                let _turn = asking.acquire_owned().await;
                let metrics: Result<Metrics, ProcessError> =
                    api.get_within("/v1/metrics", ANSWER_WITHIN).await;
                let metrics = metrics.map(Box::new);
                let _ = sender.send(News::Seen {
                    node,
                    life,
                    metrics,
                });
            });
        }
    }

    /// An answer. One that fails is of a peer that was just killed or paused; of one that hangs
    /// while it should run the judge is told.
    pub(super) fn on_seen(
        &mut self,
        node: usize,
        life: u64,
        seen: Result<Box<Metrics>, ProcessError>,
    ) {
        self.looking -= 1;
        self.nodes[node].is_asked = false;
        if self.nodes[node].life != life {
            return;
        }
        self.nodes[node].answers = seen.is_ok();
        match seen {
            Ok(seen) => self.nodes[node].see(seen),
            // Another version of the program, say; once is enough.
            Err(error @ ProcessError::BadOutput { .. }) if self.troubles.is_empty() => {
                self.trouble(format!("node {node}: {error}"));
            }
            Err(_) => {}
        }
    }

    /// Looks, and waits for all answers.
    pub(super) async fn look_now(&mut self) {
        self.pump(None, |world| world.looking == 0).await;
        self.look();
        self.pump(None, |world| world.looking == 0).await;
    }
}

/// The overlay from a node's peer, as that computes it; the agenda waits for it.
pub(super) async fn overlay(node: &Node, group: &GroupName) -> Option<OverlayStatus> {
    if node.state != State::Running {
        return None;
    }
    let api = node.peer.as_ref()?.api();
    let asked = timeout(OVERLAY_WITHIN, api.overlay(group.as_str()));
    asked.await.ok()?.ok()
}
