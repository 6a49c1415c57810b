//! All groups' rings, and the bound over them.

use super::Ring;
use super::ring::{Item, size};
use crate::options::DeliveryConfig;
use hedgerow_protocol::{Delivery, GroupName};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The rings of the groups this node is in, or that somebody waits for.
#[derive(Debug)]
pub(crate) struct Rings {
    limits: DeliveryConfig,
    /// Bytes kept over all groups ([`hedgerow_protocol::Config::memory`]).
    total_bytes_max: usize,
    by_group: HashMap<GroupName, Arc<Ring>>,
    /// Items of one group that come next into its ring: many at once cost little more than one.
    held: Vec<Item>,
    held_for: Option<GroupName>,
    /// Bytes pushed since the total was last counted; counting on every push would cost more
    /// than it bounds.
    pushed: usize,
    overtaken: Arc<AtomicU64>,
}

impl Rings {
    pub(crate) fn new(limits: DeliveryConfig, total_bytes_max: usize) -> Self {
        Self {
            limits,
            total_bytes_max,
            by_group: HashMap::new(),
            held: Vec::new(),
            held_for: None,
            pushed: 0,
            overtaken: Arc::default(),
        }
    }

    pub(crate) fn get(&self, group: &GroupName) -> Option<&Arc<Ring>> {
        self.by_group.get(group)
    }

    pub(crate) fn get_or_create(&mut self, group: &GroupName) -> &Arc<Ring> {
        self.by_group
            .entry(group.clone())
            .or_insert_with(|| Arc::new(Ring::new(self.overtaken.clone())))
    }

    /// Closes a group's ring: its subscribers end.
    pub(crate) fn close(&mut self, group: &GroupName) {
        if let Some(ring) = self.by_group.remove(group) {
            ring.close();
        }
    }

    /// Closes all rings; dropping does so too, whatever the reason.
    pub(crate) fn close_all(&mut self) {
        self.by_group.drain().for_each(|(_, ring)| ring.close());
    }

    /// Takes a message for its group's subscribers.
    pub(crate) fn deliver(&mut self, delivery: Delivery, now: Instant) {
        let group = delivery.group.clone();
        self.push(&group, Ok(delivery), now);
    }

    /// Takes an item for the group's subscribers; [`Rings::flush`] puts it before them.
    pub(crate) fn push(&mut self, group: &GroupName, item: Item, now: Instant) {
        if self.held_for.as_ref() != Some(group) {
            self.flush(now);
            self.held_for = Some(group.clone());
        }
        self.pushed += size(&item);
        self.held.push(item);
    }

    /// Puts what was pushed before its subscribers.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.held.is_empty() {
            return;
        }
        let ring = (self.held_for.as_ref()).and_then(|group| self.by_group.get(group));
        match ring {
            Some(ring) => ring.push(self.held.drain(..), now, &self.limits),
            // Nobody is there for it.
            None => self.held.clear(),
        }
        if self.pushed > self.total_bytes_max / 16 {
            self.pushed = 0;
            self.enforce_total();
        }
    }

    /// Drops what is too old, and rings that nobody needs: `is_member` says which groups this
    /// node is in.
    pub(crate) fn sweep(&mut self, now: Instant, is_member: impl Fn(&GroupName) -> bool) {
        if let Some(before) = now.checked_sub(Duration::from_millis(self.limits.keep_ms)) {
            self.by_group.values().for_each(|ring| ring.expire(before));
        }
        self.by_group
            .retain(|group, ring| is_member(group) || ring.subscribers() > 0);
        self.enforce_total();
    }

    /// Bytes kept over all groups.
    pub(crate) fn bytes(&self) -> usize {
        self.by_group.values().map(|ring| ring.bytes()).sum()
    }

    /// Subscribers over all groups.
    pub(crate) fn subscribers(&self) -> usize {
        self.by_group.values().map(|ring| ring.subscribers()).sum()
    }

    /// Messages and gaps that subscribers were overtaken by, since the start.
    pub(crate) fn overtaken(&self) -> u64 {
        self.overtaken.load(Ordering::Relaxed)
    }

    /// Over the total, every group gives up the same share of its oldest items, down to 7/8 of
    /// the limit so that this is rare; each group's newest item stays.
    fn enforce_total(&mut self) {
        let bytes = self.bytes();
        let most = self.total_bytes_max;
        if bytes > most {
            let share = most as f64 / bytes as f64 * 0.875;
            self.by_group.values().for_each(|ring| {
                ring.shrink_to((ring.bytes() as f64 * share) as usize);
            });
        }
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        self.close_all();
    }
}
