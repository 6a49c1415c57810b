//! What stands for a warm start where peers are real: they begin cold and are waited for.

use super::Real;
use crate::check;
use std::time::{Duration, Instant};

/// Peers have settled when all have had one and the same view for so long.
const STILL: Duration = Duration::from_secs(5);
/// They are not waited for any longer.
const LIMIT: Duration = Duration::from_secs(60);

impl Real {
    /// Waits until the peers that run know each other, and notes how long that took.
    pub(super) async fn settle(&mut self) {
        let began = Instant::now();
        let mut seen = None;
        let mut one: Option<(u64, Instant)> = None;
        let is_still =
            |one: Option<(u64, Instant)>| one.is_some_and(|(_, since)| since.elapsed() >= STILL);
        self.pump(Some(began + LIMIT), |world| {
            if seen.replace(world.ticks) != Some(world.ticks) {
                let hash = world.one_view();
                one = match (one, hash) {
                    (Some((known, since)), Some(hash)) if known == hash => Some((hash, since)),
                    (_, Some(hash)) => Some((hash, Instant::now())),
                    (_, None) => None,
                };
            }
            is_still(one)
        })
        .await;
        let since = one.map(|(_, since)| since);
        let took = since.unwrap_or_else(Instant::now) - began;
        let took = took.as_secs_f64();
        self.notes.push(if since.is_some() {
            format!("warm_start: real peers began cold; their views were one after {took:.0} s")
        } else {
            format!("warm_start: real peers began cold; after {took:.0} s views still differed")
        });
    }

    /// The hash of the view that all peers have, as they last told; `None` when they differ.
    fn one_view(&self) -> Option<u64> {
        let up: Vec<usize> = (0..self.nodes.len())
            .filter(|&node| self.nodes[node].is_up())
            .collect();
        let snapshots: Vec<_> = (up.iter())
            .filter_map(|&node| self.nodes[node].snapshot(node))
            .collect();
        let first = snapshots.first()?.status.view_hash;
        let is_one = snapshots.len() == up.len() && check::views(&snapshots).is_clean();
        is_one.then_some(first)
    }
}
