//! How connections end: closed by a peer, gone with its process, reset by packets that find nobody.

use super::connection::{EndRef, EndState};
use super::node::NodeState;
use super::peer::Peer;
use super::world::{Happening, World};
use hedgerow_protocol::{Input, LinkId};

impl<P: Peer> World<P> {
    pub(crate) fn set_closed(&mut self, end: EndRef) {
        if let Some(at) = self.connections.get(end) {
            at.state = EndState::Closed;
            at.drop_output();
        }
    }

    /// A peer closes a connection: what was sent is written, then the other end hears of it.
    pub(crate) fn close(&mut self, node: usize, link: LinkId) {
        let Some(end) = self.nodes[node].end_of(link) else {
            return;
        };
        self.nodes[node].remove_link(link);
        let Some(at) = self.connections.get(end) else {
            return;
        };
        at.state = EndState::Closing;
        at.fin = true;
        self.touched.push(end);
        self.queue
            .push(self.now + self.network.linger, Happening::Linger { end });
    }

    pub(crate) fn on_linger(&mut self, end: EndRef) {
        let Some(at) = self.connections.get(end) else {
            return;
        };
        if at.state == EndState::Closing {
            let node = at.node;
            self.abandon(end, node);
        }
    }

    /// An end vanishes without writing the rest; the other end is told if packets get there.
    pub(crate) fn abandon(&mut self, end: EndRef, node: usize) {
        self.set_closed(end);
        self.send_reset(end.other(), node);
        self.connections.free_if_closed(end);
    }

    /// Tells `to` that the end at `from` is gone.
    pub(crate) fn send_reset(&mut self, to: EndRef, from: usize) {
        let Some(at) = self.connections.get(to) else {
            return;
        };
        let (target, state) = (at.node, at.state);
        if state == EndState::Closed || self.is_cut(from, target) {
            return;
        }
        let due = self.now + self.delay(from, target);
        self.queue.push(due, Happening::Reset { end: to });
    }

    pub(crate) fn on_reset(&mut self, end: EndRef) {
        let Some(at) = self.connections.get(end) else {
            return;
        };
        if self.nodes[at.node].state == NodeState::Down {
            return;
        }
        self.set_closed(end.other());
        self.lose(end);
    }

    /// Closes an end and tells its peer.
    pub(crate) fn lose(&mut self, end: EndRef) {
        let Some(at) = self.connections.get(end) else {
            return;
        };
        let (node, link, state) = (at.node, at.link, at.state);
        self.set_closed(end);
        self.connections.free_if_closed(end);
        if state == EndState::Open {
            self.nodes[node].remove_link(link);
            self.feed(node, Input::LinkLost { link });
        }
    }
}
