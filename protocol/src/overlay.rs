//! The overlay: links, records, and the view that follows from them.
//!
//! Knows nothing of groups and messages. What happens here is told by [`OverlayEvent`]s.

pub(crate) mod cache;
pub(crate) mod clocks;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod links;
mod outlook;
pub(crate) mod records;
pub(crate) mod view;
#[cfg(feature = "warm")]
pub(crate) mod warm;

use crate::base::identity::PeerKey;
use crate::base::interface::LinkId;
use crate::core::Core;
use cache::SharedCache;
use clocks::Clocks;
use links::{BanList, Chooser, Dialer, Guard, Link, OverlayEvent, Twins, Uplink};
use rand_chacha::rand_core::Rng;
use records::{Adverts, Candidates, Database, Epochs, OwnRecord, RecordSync};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use view::View;

/// The overlay as this peer knows it, and its own place in it.
pub(crate) struct Overlay {
    /// What is computed once for all that ask for it.
    cache: SharedCache,
    links: BTreeMap<LinkId, Link>,
    /// The link that is up to each neighbour.
    up: BTreeMap<PeerKey, LinkId>,
    dialer: Dialer,
    chooser: Chooser,
    uplink: Uplink,
    bans: BanList,
    clocks: Clocks,
    twins: Twins,
    guard: Guard,
    database: Database,
    own: OwnRecord,
    epochs: Epochs,
    sync: RecordSync,
    candidates: Candidates,
    view: View,
    /// What the record is to say of groups, and whether that has changed.
    adverts: Adverts,
    adverts_changed: bool,
    /// By how many steps the cost of links to peers is raised, where it is.
    surcharges: BTreeMap<PeerKey, u32>,
    /// Links that are to be read slowly, for what comes on them cannot be passed on as fast.
    slowed: BTreeSet<LinkId>,
    /// Origins proven to equivocate, with the epoch.
    cut_off: BTreeMap<PeerKey, u64>,
    /// What has happened and was not told yet.
    events: VecDeque<OverlayEvent>,
}

impl Overlay {
    /// The overlay of a peer that knows nobody yet, in this epoch.
    pub(crate) fn new(core: &mut Core, cache: SharedCache, epoch: u64) -> Self {
        let config = &core.config;
        let now = core.now.mono;
        Self {
            cache,
            links: BTreeMap::new(),
            up: BTreeMap::new(),
            dialer: Dialer::new(config.bootstrap.clone()),
            chooser: Chooser::new(core.rng.next_u64()),
            uplink: Uplink::new(&config.links),
            bans: BanList::default(),
            clocks: Clocks::default(),
            twins: Twins::default(),
            guard: Guard::default(),
            database: Database::new(config, now),
            own: OwnRecord::new(epoch, config.addresses.clone(), config.links.capacity, now),
            epochs: Epochs::default(),
            sync: RecordSync::default(),
            candidates: Candidates::default(),
            view: View::default(),
            adverts: Adverts::default(),
            adverts_changed: false,
            surcharges: BTreeMap::new(),
            slowed: BTreeSet::new(),
            cut_off: BTreeMap::new(),
            events: VecDeque::new(),
        }
    }
}
