//! A network in one queue: real IP packets between ports, with the delays, losses and cuts of a
//! scenario.
//!
//! A [`Switch`] is pure: packets and the time go in, packets and the time at which there is
//! something to do come out. [`Switch::send`] takes what a host sends; [`Switch::poll`] gives what
//! is to be handed to a host by now, and [`Switch::next_due`] says when to ask again.

mod line;
mod reset;
#[cfg(test)]
mod tests;

use crate::sim::{Bandwidth, Latency, Loss, Random, Sides, Way, either};
use bytes::Bytes;
use hedgerow_protocol::Micros;
use line::Line;
use reset::Resets;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::net::Ipv4Addr;

pub use reset::Which;

/// The largest packet that hosts send, bytes.
pub const MTU: u16 = 1_500;
/// Packets that wait in all; beyond, new ones are dropped. 64 Ki of the largest are 96 MiB.
const WAITING_MAX: usize = 1 << 16;

/// How the network between access lines behaves.
#[derive(Clone, Debug)]
pub struct Ways {
    /// One-way delays.
    pub latency: Latency,
    /// Decides the delays that are drawn, and everything random.
    pub seed: u64,
    /// Up to so much is added to a delay, anew for every packet; their order stays.
    pub jitter: Micros,
    /// How many of a million packets get lost.
    pub loss_ppm: u32,
}

/// Joins hosts.
#[derive(Debug)]
pub struct Switch {
    ways: Ways,
    ports: Vec<Port>,
    // Looked up, never iterated.
    by_address: HashMap<Ipv4Addr, usize>,
    cuts: Vec<(Vec<bool>, Vec<bool>)>,
    cut_pairs: BTreeSet<(usize, usize)>,
    partitions: Vec<Sides>,
    slow: Vec<(Sides, Micros)>,
    resets: Resets,
    waiting: BinaryHeap<Reverse<Waiting>>,
    numbered: u64,
    /// When the last packet of a pair arrives: those after it come later.
    last: HashMap<(usize, usize), Micros>,
    random: Random,
    dropped: u64,
}

/// A host's connection to the switch.
#[derive(Debug)]
struct Port {
    up: Line,
    down: Line,
    way: Way,
    silent: bool,
    /// Whether the last packet that left here got lost.
    losing: bool,
}

/// A packet on its way, ordered by time and then as they came.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at: Micros,
    number: u64,
    to: usize,
    /// Whether it has the receiver's line behind it.
    is_here: bool,
    packet: Bytes,
}

impl Switch {
    /// A switch for hosts with these addresses.
    pub fn new(ways: Ways, addresses: &[Ipv4Addr]) -> Self {
        let port = |_: &Ipv4Addr| Port {
            up: Line::default(),
            down: Line::default(),
            way: Way::default(),
            silent: false,
            losing: false,
        };
        let random = Random::new(ways.seed, "switch");
        Self {
            ports: addresses.iter().map(port).collect(),
            by_address: addresses.iter().copied().zip(0..).collect(),
            ways,
            cuts: Vec::new(),
            cut_pairs: BTreeSet::new(),
            partitions: Vec::new(),
            slow: Vec::new(),
            resets: Resets::default(),
            waiting: BinaryHeap::new(),
            numbered: 0,
            last: HashMap::new(),
            random,
            dropped: 0,
        }
    }

    /// Takes a packet that a host sends.
    pub fn send(&mut self, now: Micros, from: usize, packet: &[u8]) {
        let Some(&to) = destination(packet).and_then(|address| self.by_address.get(&address))
        else {
            // To nobody: multicast, say.
            return;
        };
        if self.ports[from].silent || self.ports[to].silent {
            self.dropped += 1;
            return;
        }
        if let Some(forged) = self.resets.on_packet(now, (from, to), packet) {
            for (to, reset) in forged {
                self.push(now, to, true, reset);
            }
            return;
        }
        if self.is_cut(from, to) || self.waiting.len() >= WAITING_MAX {
            self.dropped += 1;
            return;
        }
        // A packet that gets lost has used the line.
        let Some(left) = self.ports[from].up.admit(now, packet.len()) else {
            self.dropped += 1;
            return;
        };
        if self.is_lost(from, to) {
            self.dropped += 1;
            return;
        }
        let mut packet = packet.to_vec();
        if self.happens(from, to, |way| way.altered_ppm) {
            self.alter(&mut packet);
        }
        let packet = Bytes::from(packet);
        let at = self.arrival(left, from, to);
        if self.happens(from, to, |way| way.twice_ppm) {
            self.push(at, to, false, packet.clone());
        }
        self.push(at, to, false, packet);
    }

    /// The next packet to hand to a host by `now`, and the host.
    pub fn poll(&mut self, now: Micros) -> Option<(usize, Bytes)> {
        loop {
            let due = self.next_due()?;
            if due > now {
                return None;
            }
            let Reverse(waiting) = self.waiting.pop()?;
            let port = &mut self.ports[waiting.to];
            if port.silent {
                self.dropped += 1;
                continue;
            }
            if waiting.is_here {
                return Some((waiting.to, waiting.packet));
            }
            match port.down.admit(due, waiting.packet.len()) {
                None => self.dropped += 1,
                Some(at) if at <= now => return Some((waiting.to, waiting.packet)),
                Some(at) => self.push(at, waiting.to, true, waiting.packet),
            }
        }
    }

    /// When [`Switch::poll`] has something to give.
    pub fn next_due(&self) -> Option<Micros> {
        self.waiting.peek().map(|Reverse(waiting)| waiting.at)
    }

    /// Packets dropped so far, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn push(&mut self, at: Micros, to: usize, is_here: bool, packet: Bytes) {
        self.numbered += 1;
        self.waiting.push(Reverse(Waiting {
            at,
            number: self.numbered,
            to,
            is_here,
            packet,
        }));
    }

    /// When a packet that left at `left` comes to the receiver's line.
    fn arrival(&mut self, left: Micros, from: usize, to: usize) -> Micros {
        let [a, b] = [self.ports[from].way, self.ports[to].way];
        let direct = self.ways.latency.delay(self.ways.seed, from, to);
        let mut delay = direct + a.delay + b.delay;
        for (_, more) in self
            .slow
            .iter()
            .filter(|(sides, _)| sides.are_apart(from, to))
        {
            delay = delay + *more;
        }
        let jitter = self.ways.jitter + a.jitter + b.jitter;
        let at = left + delay + self.below(jitter);
        if self.happens(from, to, |way| way.late_ppm) {
            // Those behind it do not wait for it.
            return at + self.below(Micros(a.late.0.max(b.late.0)));
        }
        let last = self.last.entry((from, to)).or_insert(at);
        *last = at.max(*last);
        *last
    }

    fn below(&mut self, bound: Micros) -> Micros {
        match bound.0 {
            0 => Micros(0),
            bound => Micros(self.random.below(bound)),
        }
    }

    fn happens(&mut self, from: usize, to: usize, ppm: impl Fn(&Way) -> u32) -> bool {
        let [a, b] = [from, to].map(|node| ppm(&self.ports[node].way));
        let ppm = either(a, b);
        ppm > 0 && self.random.chance_ppm(ppm)
    }

    /// The network loses packets, and both ends do, in runs where a way says so.
    fn is_lost(&mut self, from: usize, to: usize) -> bool {
        let [a, b] = [from, to].map(|node| Loss::on(&self.ports[node].way));
        let loss = Loss::alone(self.ways.loss_ppm).or(a).or(b);
        if loss.share_ppm == 0 {
            return false;
        }
        let ppm = loss.next_ppm(self.ports[from].losing);
        self.ports[from].losing = self.random.chance_ppm(ppm);
        self.ports[from].losing
    }

    /// Flips a bit behind the IP header, where a checksum of TCP or UDP finds it.
    fn alter(&mut self, packet: &mut [u8]) {
        let header = usize::from(packet[0] & 0x0f) * 4;
        if let Some(rest) = packet.len().checked_sub(header).filter(|rest| *rest > 0) {
            let bit = self.random.index(rest * 8);
            packet[header + bit / 8] ^= 1 << (bit % 8);
        }
    }

    fn is_cut(&self, from: usize, to: usize) -> bool {
        let apart = |sides: &Sides| sides.are_apart(from, to);
        self.partitions.iter().any(apart)
            || self.cut_pairs.contains(&(from.min(to), from.max(to)))
            || self.cuts.iter().any(|(a, b)| a[from] && b[to])
    }
}

/// What goes wrong.
impl Switch {
    /// Cuts the network into sets of hosts that reach each other only within. What earlier
    /// partitions cut stays cut.
    pub fn partition(&mut self, sets: &[Vec<usize>]) {
        self.partitions.push(Sides::new(self.ports.len(), sets));
    }

    /// Cuts all ways from `from` to `to`; the other direction stays.
    pub fn cut_one_way(&mut self, from: &[usize], to: &[usize]) {
        let mask = |hosts: &[usize]| {
            let mut mask = vec![false; self.ports.len()];
            for &host in hosts {
                mask[host] = true;
            }
            mask
        };
        self.cuts.push((mask(from), mask(to)));
    }

    /// Cuts the way between two hosts in both directions, or opens it again.
    pub fn cut_pair(&mut self, a: usize, b: usize, cut: bool) {
        let pair = (a.min(b), a.max(b));
        if cut {
            self.cut_pairs.insert(pair);
        } else {
            self.cut_pairs.remove(&pair);
        }
    }

    /// Makes ways between hosts of different sets longer, beyond what they are already; `None` ends
    /// all of that.
    pub fn slow_between(&mut self, sets: Option<(&[Vec<usize>], Micros)>) {
        match sets {
            Some((sets, more)) => self.slow.push((Sides::new(self.ports.len(), sets), more)),
            None => self.slow.clear(),
        }
    }

    /// Ends all partitions and cuts.
    pub fn heal(&mut self) {
        self.partitions.clear();
        self.cuts.clear();
        self.cut_pairs.clear();
    }

    /// Takes a host off the network, or lets it back in.
    pub fn silence(&mut self, host: usize, silent: bool) {
        self.ports[host].silent = silent;
    }

    /// What is wrong with the ways from and to a host, in place of what was.
    pub fn set_way(&mut self, host: usize, way: Way) {
        self.ports[host].way = way;
    }

    /// A host's access line.
    pub fn bandwidth(&self, host: usize) -> Bandwidth {
        let port = &self.ports[host];
        Bandwidth {
            up: port.up.rate(),
            down: port.down.rate(),
        }
    }

    /// Changes it; what waits in it goes on at the old speed.
    pub fn set_bandwidth(&mut self, host: usize, bandwidth: Bandwidth) {
        self.ports[host].up.set_rate(bandwidth.up);
        self.ports[host].down.set_rate(bandwidth.down);
    }

    /// Resets the TCP connections between two hosts as their next packets pass.
    pub fn reset(&mut self, now: Micros, a: usize, b: usize, which: Which) {
        self.resets.arm(now, a, b, which);
    }
}

/// Where an IPv4 packet is to go; anything else goes nowhere.
fn destination(packet: &[u8]) -> Option<Ipv4Addr> {
    let header = etherparse::Ipv4HeaderSlice::from_slice(packet).ok()?;
    Some(header.destination_addr())
}
