//! Connections that are reset from the middle: a packet that passes tells the numbers that a
//! reset must bear to be believed (RFC 5961: exactly what the receiver expects next).

use bytes::Bytes;
use etherparse::{Ipv4HeaderSlice, PacketBuilder, TcpHeaderSlice};
use hedgerow_protocol::Micros;

/// How long connections are reset after it was asked for: peers that are idle send a heartbeat
/// every second.
const LASTS: Micros = Micros::from_millis(3_000);
const HOPS: u8 = 64;

/// Who learns that a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Both ends.
    Both,
    /// This host alone: the other learns it from the answer to what it sends next.
    Only(usize),
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    pair: (usize, usize),
    which: Which,
    until: Micros,
}

/// Resets that were asked for.
#[derive(Debug, Default)]
pub(super) struct Resets {
    armed: Vec<Armed>,
}

impl Resets {
    pub(super) fn arm(&mut self, now: Micros, a: usize, b: usize, which: Which) {
        let (pair, until) = ((a.min(b), a.max(b)), now + LASTS);
        self.armed.retain(|armed| armed.pair != pair);
        self.armed.push(Armed { pair, which, until });
    }

    /// What takes the place of a packet between two hosts, if anything does.
    pub(super) fn on_packet(
        &mut self,
        now: Micros,
        (from, to): (usize, usize),
        packet: &[u8],
    ) -> Option<Vec<(usize, Bytes)>> {
        self.armed.retain(|armed| now < armed.until);
        let pair = (from.min(to), from.max(to));
        let at = self.armed.iter().position(|armed| armed.pair == pair)?;
        let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
        let tcp = TcpHeaderSlice::from_slice(packet.get(ip.slice().len()..)?).ok()?;
        // A new connection is none of those that were meant; that the old one is gone may be said.
        if tcp.syn() {
            self.armed.swap_remove(at);
            return None;
        }
        if tcp.rst() {
            return None;
        }
        let (source, destination) = (ip.source(), ip.destination());
        let to_receiver = forge(
            source,
            destination,
            (tcp.source_port(), tcp.destination_port()),
            tcp.sequence_number(),
        );
        let to_sender = forge(
            destination,
            source,
            (tcp.destination_port(), tcp.source_port()),
            tcp.acknowledgment_number(),
        );
        Some(match self.armed[at].which {
            Which::Both => vec![(to, to_receiver), (from, to_sender)],
            Which::Only(host) if host == to => vec![(to, to_receiver)],
            Which::Only(_) => vec![(from, to_sender)],
        })
    }
}

/// A TCP segment that resets a connection.
fn forge(source: [u8; 4], destination: [u8; 4], ports: (u16, u16), sequence: u32) -> Bytes {
    let builder = PacketBuilder::ipv4(source, destination, HOPS)
        .tcp(ports.0, ports.1, sequence, 0)
        .rst();
    let mut packet = Vec::with_capacity(builder.size(0));
    // Writing to memory fails only for payloads that are too long; there is none.
    let _ = builder.write(&mut packet, &[]);
    Bytes::from(packet)
}
