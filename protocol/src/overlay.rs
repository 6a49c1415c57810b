//! The overlay: links, records, and the view that follows from them.
//!
//! Knows nothing of groups and messages. What happens here is told by [`OverlayEvent`]s.

pub(crate) mod cache;
pub(crate) mod clocks;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod links;
pub(crate) mod records;
pub(crate) mod view;

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
    pub(crate) cache: SharedCache,
    pub(crate) links: BTreeMap<LinkId, Link>,
    /// The link that is up to each neighbour.
    pub(crate) up: BTreeMap<PeerKey, LinkId>,
    pub(crate) dialer: Dialer,
    pub(crate) chooser: Chooser,
    pub(crate) uplink: Uplink,
    pub(crate) bans: BanList,
    pub(crate) clocks: Clocks,
    pub(crate) twins: Twins,
    pub(crate) guard: Guard,
    pub(crate) database: Database,
    pub(crate) own: OwnRecord,
    pub(crate) epochs: Epochs,
    pub(crate) sync: RecordSync,
    pub(crate) candidates: Candidates,
    pub(crate) view: View,
    /// What the record is to say of groups, and whether that has changed.
    pub(crate) adverts: Adverts,
    pub(crate) adverts_changed: bool,
    /// By how many steps the cost of links to peers is raised, where it is.
    pub(crate) surcharges: BTreeMap<PeerKey, u32>,
    /// Links that are to be read slowly, for what comes on them cannot be passed on as fast.
    pub(crate) slowed: BTreeSet<LinkId>,
    /// Origins proven to equivocate, with the epoch.
    pub(crate) cut_off: BTreeMap<PeerKey, u64>,
    /// What has happened and was not told yet.
    pub(crate) events: VecDeque<OverlayEvent>,
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
