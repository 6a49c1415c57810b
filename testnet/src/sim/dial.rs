//! How connections come to be: a packet there and back for the transport, the same for the keys.

use super::connection::EndState;
use super::node::NodeState;
use super::peer::Peer;
use super::world::{Happening, World};
use hedgerow_protocol::{Address, DialId, Input, Micros, PeerKey};

/// What a dial does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The first packet reaches the target.
    Knock,
    /// Transport and keys are agreed.
    Establish,
    /// It came to nothing.
    Fail,
}

#[derive(Debug)]
struct Dial {
    node: usize,
    incarnation: u32,
    id: DialId,
    expected: Option<PeerKey>,
    target: usize,
    address: Address,
    started: Micros,
    /// When whoever dials gives up.
    ends: Micros,
    step: Step,
}

/// Dials under way.
#[derive(Debug, Default)]
pub(crate) struct Dials {
    slots: Vec<Option<Dial>>,
    free: Vec<u32>,
}

impl Dials {
    fn insert(&mut self, dial: Dial) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(dial);
            return slot;
        }
        self.slots.push(Some(dial));
        self.slots.len() as u32 - 1
    }

    /// Who dials.
    pub(crate) fn node(&self, slot: u32) -> Option<usize> {
        Some(self.slots.get(slot as usize)?.as_ref()?.node)
    }

    fn take(&mut self, slot: u32) -> Option<Dial> {
        let dial = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        Some(dial)
    }
}

const SCHEME: &str = "/memory/";
/// What failing to resolve or refusing to dial oneself takes.
const LOCAL_FAILURE: Micros = Micros::from_millis(1);

/// The address of a node.
pub(crate) fn address_of(node: usize) -> Address {
    Address::new(&format!("{SCHEME}{node}")).expect("short and printable")
}

/// The node at an address.
pub(crate) fn node_at(address: &Address) -> Option<usize> {
    address.as_str().strip_prefix(SCHEME)?.parse().ok()
}

impl<P: Peer> World<P> {
    pub(crate) fn begin_dial(
        &mut self,
        (node, id): (usize, DialId),
        expected: Option<PeerKey>,
        addresses: &[Address],
        timeout: Micros,
    ) {
        let known = || {
            addresses.iter().filter_map(|address| {
                let target = node_at(address)?;
                (target < self.nodes.len() && target != node).then_some((target, address))
            })
        };
        // Addresses are tried at once; the first that answers wins, and one that cannot answer
        // only counts when none can.
        let found = known()
            .find(|&(target, _)| self.is_alive(target))
            .or_else(|| known().next());
        let (target, address, step, wait) = match found {
            Some((target, address)) => (
                target,
                address.clone(),
                Step::Knock,
                self.delay(node, target),
            ),
            None => (node, address_of(node), Step::Fail, LOCAL_FAILURE),
        };
        let (started, incarnation) = (self.now, self.nodes[node].incarnation);
        let dial = Dial {
            node,
            incarnation,
            id,
            expected,
            target,
            address,
            started,
            ends: started + timeout.min(self.network.dial_timeout),
            step,
        };
        self.dial_next(dial, started + wait);
    }

    /// Goes on with a dial at `at`, or now if that is over: its way may have become shorter since it
    /// set out, or be longer than the dial may take.
    fn dial_next(&mut self, dial: Dial, at: Micros) {
        let dial = self.dials.insert(dial);
        let at = at.max(self.now);
        self.queue.push(at, Happening::Dial { dial });
    }

    /// Tells a peer of another's address.
    pub fn introduce(&mut self, node: usize, other: usize) {
        self.feed(node, Input::Discovered(vec![address_of(other)]));
    }

    pub(crate) fn on_dial(&mut self, slot: u32) {
        let Some(dial) = self.dials.take(slot) else {
            return;
        };
        if self.nodes[dial.node].incarnation != dial.incarnation {
            return;
        }
        let delay = self.delay(dial.node, dial.target);
        let timed_out = dial.ends;
        let cut = self.is_cut(dial.node, dial.target) || self.is_cut(dial.target, dial.node);
        let fail = |dial| Dial {
            step: Step::Fail,
            ..dial
        };
        match (dial.step, self.nodes[dial.target].state) {
            (Step::Fail, _) => self.feed(dial.node, Input::DialFailed { dial: dial.id }),
            // Silence: only time ends it.
            (_, NodeState::Down) => self.dial_next(fail(dial), timed_out),
            _ if cut => self.dial_next(fail(dial), timed_out),
            // The host says that nobody listens.
            (Step::Knock, NodeState::Idle) => self.dial_next(fail(dial), self.now + delay),
            (Step::Establish, NodeState::Idle) => self.dial_next(fail(dial), self.now),
            (Step::Knock, _) => {
                let at = dial.started + delay.times(4);
                if at > dial.ends {
                    return self.dial_next(fail(dial), timed_out);
                }
                self.dial_next(
                    Dial {
                        step: Step::Establish,
                        ..dial
                    },
                    at,
                );
            }
            // The host took the connection, but the process does not answer with its key.
            (Step::Establish, NodeState::Paused) => self.dial_next(fail(dial), timed_out),
            (Step::Establish, NodeState::Running) => {
                let key = self.nodes[dial.target].key;
                if dial.expected.is_some_and(|expected| expected != key) {
                    self.dial_next(fail(dial), self.now);
                } else {
                    self.establish(dial);
                }
            }
        }
    }

    fn establish(&mut self, dial: Dial) {
        let link = self.nodes[dial.node].link_number();
        let end = self.connections.insert(dial.node, link, dial.target);
        self.nodes[dial.node].links.push((link, end));
        let accepted = self.now + self.delay(dial.node, dial.target);
        if let Some(at) = self.connections.get(end) {
            at.last_arrival = accepted;
        }
        self.queue
            .push(accepted, Happening::Accept { end: end.other() });
        let peer = self.nodes[dial.target].key;
        let (dial_id, address) = (Some(dial.id), Some(dial.address));
        self.feed(
            dial.node,
            Input::Linked {
                link,
                peer,
                dial: dial_id,
                address,
            },
        );
    }

    pub(crate) fn on_accept(&mut self, end: super::connection::EndRef) {
        let Some(dialler) = self.connections.get(end.other()).map(|other| other.node) else {
            return;
        };
        let Some(at) = self.connections.get(end) else {
            return;
        };
        if at.state != EndState::Pending {
            return;
        }
        let node = at.node;
        let link = self.nodes[node].link_number();
        at.link = link;
        at.state = EndState::Open;
        self.nodes[node].links.push((link, end));
        let peer = self.nodes[dialler].key;
        // Where it came from is no address to dial.
        let host = self.nodes[dialler].host.unwrap_or(dialler);
        let address = Address::new(&format!("{SCHEME}{host}/outbound")).ok();
        self.feed(
            node,
            Input::Linked {
                link,
                peer,
                dial: None,
                address,
            },
        );
    }
}
