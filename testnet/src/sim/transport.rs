//! How bytes travel: out of a socket buffer, over two access lines and the way between them.
//!
//! A connection behaves as TCP does seen from above: ordered and reliable. Lost packets show as
//! delay of everything behind them; a way that is cut shows as silence until it heals; a receiver
//! that does not read fills the window and then the sender's buffer.

use super::connection::{EndRef, EndState, Segment};
use super::loss::Loss;
use super::node::NodeState;
use super::peer::Peer;
use super::world::{Happening, World};
use bytes::Bytes;
use hedgerow_protocol::{Input, LinkId, Micros};

/// Payload of a packet on an Ethernet path.
const PACKET_BYTES: usize = 1_448;
/// The least time before an unanswered packet is sent again (Linux; RFC 6298 says 1 s).
pub(crate) const RTO_MIN: Micros = Micros::from_millis(200);
/// The most (Linux).
pub(crate) const RTO_MAX: Micros = Micros::from_millis(120_000);
/// With so many packets behind it, a lost one is missed after a round trip (RFC 5681).
const FAST_RETRANSMIT_BYTES: usize = 3 * PACKET_BYTES;
/// The largest window (Linux's default receive buffer limit is 6 MiB, two thirds usable).
const WINDOW_MAX: u64 = 4 << 20;

impl<P: Peer> World<P> {
    /// Takes what a peer sends into its socket buffer.
    pub(crate) fn enqueue(&mut self, node: usize, link: LinkId, chunks: [Bytes; 2]) {
        let Some(end) = self.nodes[node].end_of(link) else {
            return;
        };
        let Some(at) = self.connections.get(end) else {
            return;
        };
        if chunks[1].is_empty() {
            let traffic = &mut self.nodes[node].traffic;
            traffic.control_frames += 1;
            traffic.control_bytes += chunks[0].len() as u64;
        }
        for chunk in chunks {
            if !chunk.is_empty() {
                at.out_bytes += chunk.len();
                at.out.push_back(chunk);
            }
        }
        if self.touched.last() != Some(&end) {
            self.touched.push(end);
        }
    }

    /// Lets an end write what it has: at once over an unlimited line, else in turn.
    pub(crate) fn offer(&mut self, end: EndRef) {
        let Some(at) = self.connections.get(end) else {
            return;
        };
        if at.in_line_up || !at.has_output() {
            return;
        }
        let node = at.node;
        if self.nodes[node].uplink.is_free() {
            let most = self.nodes[node].uplink.quantum();
            while let Some(segment) = self.cut(end, most) {
                self.launch(end, segment);
            }
            return;
        }
        at.in_line_up = true;
        self.nodes[node].uplink.waiting.push_back(end);
        self.start_uplink(node);
    }

    /// The next segment of an end, as far as its window allows.
    fn cut(&mut self, end: EndRef, most: usize) -> Option<Segment> {
        let now = self.now;
        let other = self.connections.get(end.other())?.node;
        let node = self.connections.get(end)?.node;
        let window = self.window(node, other);
        let at = self.connections.get(end)?;
        if at.out_bytes == 0 {
            return std::mem::take(&mut at.fin).then_some(Segment::Fin);
        }
        at.take_releases(now);
        let room = window.saturating_sub(at.outstanding);
        if room == 0 {
            at.starved = true;
            self.schedule_wake(end);
            return None;
        }
        at.starved = false;
        Some(Segment::Bytes(at.cut(most.min(room))))
    }

    /// How many bytes may be on their way or unread: the socket's, and what the path holds (a
    /// congestion window that has found its size).
    fn window(&self, a: usize, b: usize) -> usize {
        let rate = match (self.nodes[a].uplink.rate(), self.nodes[b].downlink.rate()) {
            (None, None) => return WINDOW_MAX as usize,
            (up, down) => up.unwrap_or(u64::MAX).min(down.unwrap_or(u64::MAX)),
        };
        let round_trip_us = 2 * self.delay(a, b).0;
        let path = rate.saturating_mul(round_trip_us) / 1_000_000;
        (self.network.socket_bytes as u64 + path).min(WINDOW_MAX) as usize
    }

    fn start_uplink(&mut self, node: usize) {
        while self.nodes[node].uplink.busy.is_none() {
            let Some(end) = self.nodes[node].uplink.waiting.pop_front() else {
                return;
            };
            let Some(at) = self.connections.get(end) else {
                continue;
            };
            at.in_line_up = false;
            let most = self.nodes[node].uplink.quantum();
            let Some(segment) = self.cut(end, most) else {
                continue;
            };
            let at = &mut self.nodes[node];
            let (due, line) = (self.now + at.uplink.time_for(segment.len()), at.line);
            at.uplink.busy = Some((end, segment));
            self.queue.push(
                due,
                Happening::Uplink {
                    node: node as u32,
                    line,
                },
            );
        }
    }

    pub(crate) fn on_uplink(&mut self, node: usize, line: u32) {
        if self.nodes[node].line != line {
            return;
        }
        let Some((end, segment)) = self.nodes[node].uplink.busy.take() else {
            return;
        };
        self.launch(end, segment);
        if let Some(at) = self.connections.get(end)
            && at.has_output()
            && !at.in_line_up
        {
            at.in_line_up = true;
            self.nodes[node].uplink.waiting.push_back(end);
        }
        self.start_uplink(node);
        if self.nodes[node].state == NodeState::Running {
            self.settle(node);
        }
    }

    /// Sends a segment on its way; it left the sender's buffer.
    fn launch(&mut self, end: EndRef, segment: Segment) {
        let Some(other) = self.connections.get(end.other()).map(|other| other.node) else {
            return;
        };
        let Some(at) = self.connections.get(end) else {
            return;
        };
        let (node, len) = (at.node, segment.len());
        let in_flight_bytes = at.outstanding;
        let late = self.lateness(node, other, len, in_flight_bytes);
        let due = self.now + self.delay(node, other) + late;
        self.nodes[node].traffic.bytes_sent += len as u64;
        let Some(at) = self.connections.get(end) else {
            return;
        };
        at.outstanding += len;
        at.unreported += len;
        at.last_arrival = at.last_arrival.max(due);
        at.in_flight.push_back(segment);
        let due = at.last_arrival;
        if len > 0 && !at.report_listed {
            at.report_listed = true;
            self.nodes[node].reports.push(end);
        }
        self.queue.push(due, Happening::Arrive { end });
    }

    /// Jitter, and the time that lost packets take to be missed and sent again.
    fn lateness(&mut self, a: usize, b: usize, bytes: usize, in_flight: usize) -> Micros {
        let mut late = Micros(0);
        if self.network.jitter.0 > 0 {
            late = Micros(self.random.below(self.network.jitter.0 + 1));
        }
        let ways = [self.nodes[a].way, self.nodes[b].way];
        for way in ways {
            if way.jitter.0 > 0 {
                late = late + Micros(self.random.below(way.jitter.0 + 1));
            }
            if way.late_ppm > 0 && self.random.chance_ppm(way.late_ppm) {
                late = late + Micros(self.random.below(way.late.0 + 1));
            }
            if way.twice_ppm > 0 && self.random.chance_ppm(way.twice_ppm) {
                self.nodes[a].traffic.bytes_sent += bytes as u64;
            }
        }
        // The network's, those of both ends, and what a checksum finds altered.
        let mut loss = Loss::alone(self.network.loss_ppm);
        for way in &ways {
            loss = loss.or(Loss::on(way)).or(Loss::alone(way.altered_ppm));
        }
        if loss.share_ppm == 0 {
            return late;
        }
        let mut lost = false;
        for _ in 0..bytes.div_ceil(PACKET_BYTES).max(1) {
            let next_ppm = loss.next_ppm(self.nodes[a].losing);
            self.nodes[a].losing = self.random.chance_ppm(next_ppm);
            lost |= self.nodes[a].losing;
        }
        if !lost {
            return late;
        }
        let round_trip = self.delay(a, b).times(2);
        let followed = in_flight + bytes > FAST_RETRANSMIT_BYTES;
        let mut wait = if followed {
            round_trip
        } else {
            RTO_MIN.max(round_trip.times(2))
        };
        late = late + wait;
        // What is sent again may be lost again; then only the timer helps, twice as long each.
        let again_ppm = loss.next_ppm(true);
        while self.random.chance_ppm(again_ppm) && wait < RTO_MAX {
            wait = RTO_MIN.max(wait.times(2));
            late = late + wait;
        }
        late
    }

    pub(crate) fn on_arrive(&mut self, end: EndRef) {
        let now = self.now;
        let Some(other) = self.connections.get(end.other()).map(|other| other.node) else {
            return;
        };
        let Some(node) = self.connections.get(end).map(|at| at.node) else {
            return;
        };
        let cut = self.is_cut(node, other);
        let Some(at) = self.connections.get(end) else {
            return;
        };
        let Some(segment) = at.in_flight.pop_front() else {
            return;
        };
        if cut || !at.stalled.is_empty() {
            if at.stalled.is_empty() {
                at.stalled_since = now;
            }
            at.stalled.push_back(segment);
            return;
        }
        self.reach(end, segment);
    }

    /// A segment reaches the receiver's access line.
    pub(crate) fn reach(&mut self, end: EndRef, segment: Segment) {
        let Some(other) = self.connections.get(end.other()) else {
            return;
        };
        let (receiver, state) = (other.node, other.state);
        match (self.nodes[receiver].state, state) {
            // A dead host says nothing.
            (NodeState::Down, _) => return,
            (_, EndState::Closed) => {
                self.send_reset(end, receiver);
                return;
            }
            _ => {}
        }
        if self.nodes[receiver].downlink.is_free() {
            self.take(end, segment);
            return;
        }
        let Some(at) = self.connections.get(end) else {
            return;
        };
        at.at_access.push_back(segment);
        if !at.in_line_down {
            at.in_line_down = true;
            self.nodes[receiver].downlink.waiting.push_back(end);
        }
        self.start_downlink(receiver);
    }

    fn start_downlink(&mut self, node: usize) {
        while self.nodes[node].downlink.busy.is_none() {
            let Some(end) = self.nodes[node].downlink.waiting.pop_front() else {
                return;
            };
            let Some(at) = self.connections.get(end) else {
                continue;
            };
            let Some(segment) = at.at_access.pop_front() else {
                at.in_line_down = false;
                continue;
            };
            let at = &mut self.nodes[node];
            let (due, line) = (self.now + at.downlink.time_for(segment.len()), at.line);
            at.downlink.busy = Some((end, segment));
            self.queue.push(
                due,
                Happening::Downlink {
                    node: node as u32,
                    line,
                },
            );
        }
    }

    pub(crate) fn on_downlink(&mut self, node: usize, line: u32) {
        if self.nodes[node].line != line {
            return;
        }
        let Some((end, segment)) = self.nodes[node].downlink.busy.take() else {
            return;
        };
        if let Some(at) = self.connections.get(end) {
            if at.at_access.is_empty() {
                at.in_line_down = false;
            } else {
                self.nodes[node].downlink.waiting.push_back(end);
            }
        }
        self.start_downlink(node);
        self.take(end, segment);
    }

    /// A segment is in the receiver's socket; read it unless the process sleeps.
    fn take(&mut self, end: EndRef, segment: Segment) {
        let Some(other) = self.connections.get(end.other()) else {
            return;
        };
        let (receiver, is_open) = (other.node, other.state == EndState::Open);
        self.nodes[receiver].traffic.bytes_received += segment.len() as u64;
        // What comes for a closed socket is the host's to throw away.
        let at = &self.nodes[receiver];
        if at.state == NodeState::Running && !at.deaf || !is_open {
            self.read(end, segment);
        } else if let Some(at) = self.connections.get(end) {
            at.unread.push_back(segment);
        }
    }

    /// The receiving process reads a segment.
    pub(crate) fn read(&mut self, end: EndRef, segment: Segment) {
        let Some(other) = self.connections.get(end.other()) else {
            return;
        };
        let (receiver, link, state) = (other.node, other.link, other.state);
        match segment {
            Segment::Bytes(bytes) => {
                self.release(end, receiver, bytes.len());
                if state == EndState::Open {
                    self.feed(receiver, Input::Bytes { link, bytes });
                }
            }
            Segment::Fin => {
                self.set_closed(end);
                self.lose(end.other());
            }
        }
    }

    /// Gives window back to the sender, who knows after the way back.
    pub(crate) fn release(&mut self, end: EndRef, receiver: usize, bytes: usize) {
        let now = self.now;
        let Some(sender) = self.connections.get(end).map(|at| at.node) else {
            return;
        };
        let (cut, delay) = (self.is_cut(receiver, sender), self.delay(receiver, sender));
        let Some(at) = self.connections.get(end) else {
            return;
        };
        if cut {
            at.unreleased += bytes;
            return;
        }
        at.releases.push_back((now + delay, bytes));
        if at.starved {
            self.schedule_wake(end);
        }
    }

    fn schedule_wake(&mut self, end: EndRef) {
        let Some(at) = self.connections.get(end) else {
            return;
        };
        if at.wake_scheduled {
            return;
        }
        if let Some(&(due, _)) = at.releases.front() {
            at.wake_scheduled = true;
            self.queue.push(due.max(self.now), Happening::Wake { end });
        }
    }

    pub(crate) fn on_wake(&mut self, end: EndRef) {
        let Some(at) = self.connections.get(end) else {
            return;
        };
        at.wake_scheduled = false;
        let node = at.node;
        self.offer(end);
        if self.nodes[node].state == NodeState::Running {
            self.settle(node);
        }
    }
}
