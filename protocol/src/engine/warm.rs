//! Beginning in the middle of a life: links that are up, a settled coordinate, a full database.
//!
//! For simulations of many peers, whose first minute would cost more than what is to be seen.
//! Nothing a real peer may do: what is given here is taken without a check. So it takes the
//! feature `warm`, which no build for users has.

use super::Engine;
use crate::base::identity::PeerKey;
use crate::base::interface::{Event, LinkId};
use crate::base::name::{Address, GroupId, GroupName};
use crate::base::time::{Micros, Time};
use crate::multicast::Multicast;
pub use crate::overlay::links::WarmChoice;
use crate::overlay::links::{Link, Stage, reason_to_wire};
use crate::overlay::records::{Candidates, Database, Standing};
use crate::wire::SignedRecord;
use hedgerow_topology::{Coordinate, Reason};
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::sync::Arc;

/// A link as it is when it has been up for long.
#[derive(Clone, Debug)]
pub struct WarmLink {
    /// Names the connection.
    pub link: LinkId,
    /// The neighbour.
    pub peer: PeerKey,
    /// The neighbour's epoch, [`Engine::epoch`].
    pub epoch: u64,
    /// Where it was dialled, or came from.
    pub address: Option<Address>,
    /// Whether this peer dialled.
    pub dialled: bool,
    /// Its round-trip time, microseconds.
    pub rtt_us: u64,
    /// Why this end wants it.
    pub mine: Option<Reason>,
    /// Why the other end does.
    pub theirs: Option<Reason>,
}

/// A database that many peers begin with.
#[derive(Debug)]
pub struct WarmDatabase {
    database: Database,
}

impl WarmDatabase {
    /// What these peers say of themselves.
    pub fn of<'a>(peers: impl IntoIterator<Item = &'a Engine>) -> Option<Self> {
        let mut peers = peers.into_iter().peekable();
        let mut database = Database::new(&peers.peek()?.core.config, Micros(0));
        for engine in peers {
            if let Some(record) = engine.net.database.get(engine.core.me) {
                let all = |_| true;
                let _ = database.replace(record.clone(), 0, Micros(0), Standing::Inside, all);
            }
        }
        Some(Self { database })
    }

    /// Adds records of peers that no engine stands behind; whether all of them had room.
    pub fn add(&mut self, records: impl IntoIterator<Item = Arc<SignedRecord>>) -> bool {
        let standing = Standing::Inside;
        let mut records = records.into_iter();
        records.all(|record| {
            let put = self
                .database
                .replace(record, 0, Micros(0), standing, |_| true);
            put.is_ok()
        })
    }
}

impl Engine {
    /// What decides the random links of a peer that is made with this seed.
    pub fn choice_seed(rng_seed: [u8; 32]) -> u64 {
        ChaCha12Rng::from_seed(rng_seed).next_u64()
    }

    /// States links to these in its record from now on, besides its own: for peers that do not run.
    pub fn state_links(&mut self, peers: Vec<PeerKey>) {
        self.net.own.besides = peers;
    }

    /// Takes these links as its own, up and measured, and states them in its record, which goes
    /// nowhere. To be called before anything else but [`Engine::join`].
    pub fn begin_with_links(
        &mut self,
        now: Time,
        coordinate: Coordinate,
        links: &[WarmLink],
        choice: &WarmChoice,
    ) {
        self.advance(now);
        self.net.own.coordinate = coordinate;
        self.net.own.steady = coordinate;
        for warm in links {
            self.begin_link(warm);
        }
        self.net.chooser.begin_calm(choice, self.core.now.mono);
        self.refresh_adverts();
        self.net.issue_record(&mut self.core);
        self.net.forget_record_pushes();
        for warm in links {
            self.multicast
                .on_link_up_for_groups(&mut cx!(self), warm.link);
        }
        self.settle();
    }

    fn begin_link(&mut self, warm: &WarmLink) {
        let now = self.core.now.mono;
        let window = Micros::from_millis(self.core.config.links.rtt_window_ms);
        let heartbeat_ms = self.core.config.links.heartbeat_ms;
        let address = warm.address.clone();
        let mut link = Link::new(
            warm.link,
            warm.peer,
            address,
            warm.dialled,
            &self.core.config,
            now,
        );
        link.stage = Stage::Up;
        link.stage_ends = None;
        link.epoch = warm.epoch;
        link.capabilities = crate::wire::CAPABILITIES;
        link.wants = warm.mine;
        link.told_wants = reason_to_wire(warm.mine);
        link.their_wants = warm.theirs;
        link.rtt.measure(now, warm.rtt_us, window);
        // The ends of a link beat in turn, each at its own moment.
        link.next_heartbeat = self.core.in_random_ms(0, heartbeat_ms);
        self.core.wake_at(link.next_heartbeat);
        self.net.links.insert(warm.link, link);
        self.net.up.insert(warm.peer, warm.link);
        let (link, peer) = (warm.link, warm.peer);
        self.core.event(Event::LinkUp { link, peer });
    }

    /// Takes this database, in which its own record stands, as its own, and computes its view.
    pub fn begin_with_database(&mut self, now: Time, warm: &WarmDatabase) {
        self.advance(now);
        self.net.database = warm.database.begun_at(self.core.now.mono);
        let names: Vec<(GroupId, GroupName)> = self
            .multicast
            .groups
            .iter()
            .filter_map(|(id, group)| Some((*id, group.name.clone()?)))
            .collect();
        for (id, name) in names {
            let best = Multicast::settings_in_records(cx_ref!(self), &name);
            let group = self.multicast.groups.get(&id);
            if group.is_some_and(|group| group.settings.loses_to(&best)) {
                self.multicast.adopt_settings(&mut cx!(self), id, best);
            }
        }
        self.net.refresh_view(&mut self.core);
        self.net.candidates = Candidates::default();
        self.net.schedule_candidates(&mut self.core);
        // Not all look at their links in the same moment.
        self.net.chooser.begin_idle();
        let first = self
            .core
            .in_random_ms(0, self.net.idle_choice_ms(&self.core));
        self.net.chooser.look_first(first);
        self.settle();
    }
}
