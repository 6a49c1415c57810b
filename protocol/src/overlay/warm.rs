//! Links, a coordinate and a database as they are after a long life; see `engine/warm.rs`.

use super::Overlay;
use super::links::{Link, Stage, WarmChoice, reason_to_wire};
use super::records::{Candidates, Database};
use crate::base::identity::PeerKey;
use crate::base::interface::{Event, LinkId};
use crate::base::name::Address;
use crate::base::time::Micros;
use crate::core::Core;
use crate::wire::CAPABILITIES;
use hedgerow_topology::{Coordinate, Reason};

/// A link as it is when it has been up for long.
#[derive(Clone, Debug)]
pub struct WarmLink {
    /// Names the connection.
    pub link: LinkId,
    /// The neighbour.
    pub peer: PeerKey,
    /// The neighbour's epoch, [`Engine::epoch`](crate::Engine::epoch).
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

impl Overlay {
    /// States links to these in the record from now on, besides the own ones.
    pub(crate) fn state_besides(&mut self, peers: Vec<PeerKey>) {
        self.own.besides = peers;
    }

    /// Takes these links as its own, up and measured, and a choice that rests on them.
    pub(crate) fn begin_with_links(
        &mut self,
        core: &mut Core,
        coordinate: Coordinate,
        links: &[WarmLink],
        choice: &WarmChoice,
    ) {
        self.own.coordinate = coordinate;
        self.own.steady = coordinate;
        for warm in links {
            self.begin_link(core, warm);
        }
        self.chooser.begin_calm(choice, core.now.mono);
    }

    fn begin_link(&mut self, core: &mut Core, warm: &WarmLink) {
        let now = core.now.mono;
        let window = Micros::from_millis(core.config.links.rtt_window_ms);
        let heartbeat_ms = core.config.links.heartbeat_ms;
        let address = warm.address.clone();
        let config = &core.config;
        let mut link = Link::new(warm.link, warm.peer, address, warm.dialled, config, now);
        link.stage = Stage::Up;
        link.stage_ends = None;
        link.epoch = warm.epoch;
        link.capabilities = CAPABILITIES;
        link.wants = warm.mine;
        link.told_wants = reason_to_wire(warm.mine);
        link.their_wants = warm.theirs;
        link.rtt.measure(now, warm.rtt_us, window);
        // The ends of a link beat in turn, each at its own moment.
        link.next_heartbeat = core.in_random_ms(0, heartbeat_ms);
        core.wake_at(link.next_heartbeat);
        self.links.insert(warm.link, link);
        self.up.insert(warm.peer, warm.link);
        let (link, peer) = (warm.link, warm.peer);
        core.event(Event::LinkUp { link, peer });
    }

    /// Takes this database as its own.
    pub(crate) fn begin_with_database(&mut self, core: &Core, database: &Database) {
        self.database = database.begun_at(core.now.mono);
    }

    /// Nothing has happened for long.
    pub(crate) fn begin_idle(&mut self, core: &mut Core) {
        self.candidates = Candidates::default();
        self.schedule_candidates(core);
        // Not all look at their links in the same moment.
        self.chooser.begin_idle();
        let first = core.in_random_ms(0, self.idle_choice_ms(core));
        self.chooser.look_first(first);
    }
}
