//! The engine's dials as libp2p's: which connection answers which, and what is tried next.

use super::address::peer_in;
use crate::Multiaddr;
use hedgerow_protocol::{Address, DialId, PeerKey};
use libp2p::swarm::ConnectionId;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use std::collections::{HashMap, VecDeque};
use tokio::time::Instant;

/// A dial under way.
#[derive(Debug)]
pub(super) struct Pending {
    dial: DialId,
    /// When it has failed, unless it is `over`.
    ends: Instant,
    /// Told to have failed: nothing further is tried, but a link that stands after all is its.
    over: bool,
    /// What to try when the present attempt fails: addresses of unknown peers, one by one.
    rest: VecDeque<Multiaddr>,
}

/// All dials whose link does not stand yet.
#[derive(Debug, Default)]
pub(super) struct Dials(HashMap<ConnectionId, Pending>);

/// What to do after a dial was asked for or has failed.
pub(super) enum Step {
    /// Dial this, and report a failure to do so with [`Dials::on_failed`].
    Try(ConnectionId, DialOpts),
    /// Nothing is left to try.
    GiveUp(DialId),
}

impl Dials {
    /// Begins a dial.
    pub(super) fn begin(
        &mut self,
        dial: DialId,
        peer: Option<PeerKey>,
        addresses: &[Address],
        ends: Instant,
    ) -> Step {
        let addresses = addresses
            .iter()
            .filter_map(|address| address.as_str().parse().ok());
        let Some(peer) = peer else {
            return self.next(Pending {
                dial,
                ends,
                over: false,
                rest: addresses.collect(),
            });
        };
        let Some(peer) = peer.to_peer_id() else {
            return Step::GiveUp(dial);
        };
        let addresses: Vec<Multiaddr> = addresses
            .filter(|address| peer_in(address).is_none_or(|named| named == peer))
            .collect();
        if addresses.is_empty() {
            return Step::GiveUp(dial);
        }
        // The addresses of one peer are tried side by side.
        let options = DialOpts::peer_id(peer)
            .addresses(addresses)
            .condition(PeerCondition::Always)
            .allocate_new_port()
            .build();
        self.attempt(
            options,
            Pending {
                dial,
                ends,
                over: false,
                rest: VecDeque::new(),
            },
        )
    }

    fn next(&mut self, mut pending: Pending) -> Step {
        let Some(address) = pending.rest.pop_front() else {
            return Step::GiveUp(pending.dial);
        };
        let options = match peer_in(&address) {
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(vec![address])
                .condition(PeerCondition::Always)
                .allocate_new_port()
                .build(),
            None => DialOpts::unknown_peer_id()
                .address(address)
                .allocate_new_port()
                .build(),
        };
        self.attempt(options, pending)
    }

    fn attempt(&mut self, options: DialOpts, pending: Pending) -> Step {
        let connection = options.connection_id();
        self.0.insert(connection, pending);
        Step::Try(connection, options)
    }

    /// A connection failed or ended before its link stood; `None` when it was no dial, or one whose
    /// failure has been told.
    pub(super) fn on_failed(&mut self, connection: ConnectionId) -> Option<Step> {
        let pending = self.0.remove(&connection)?;
        (!pending.over).then(|| self.next(pending))
    }

    /// When the next dial will have taken its time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.0.values().filter(|pending| !pending.over);
        waiting.map(|pending| pending.ends).min()
    }

    /// A dial that has taken its time: it has failed.
    pub(super) fn take_overdue(&mut self, now: Instant) -> Option<DialId> {
        let mut waiting = self.0.values_mut();
        let overdue = waiting.find(|pending| !pending.over && pending.ends <= now)?;
        overdue.over = true;
        overdue.rest.clear();
        Some(overdue.dial)
    }

    /// A connection's link stands: which dial it answers.
    pub(super) fn on_linked(&mut self, connection: ConnectionId) -> Option<DialId> {
        self.0.remove(&connection).map(|pending| pending.dial)
    }
}
