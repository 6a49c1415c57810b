//! Connections that take places from others: without a word, or many from one address.

use super::{Out, after, believe_sent, frame_of, send};
use crate::sim::Mask;
use hedgerow_protocol::wire::Frame;
use hedgerow_protocol::{Action, Address, DialId, Engine, Micros, Time};

/// How often a mask dials on its own, ms.
const SILENT_DIAL_MS: u64 = 100;
const CROWD_DIAL_MS: u64 = 500;
/// How long such a dial may take.
const DIAL_TIMEOUT: Micros = Micros::from_millis(2_000);
/// Numbers that no engine gives to its dials.
const DIALS_FROM: u64 = 1 << 48;
/// Addresses that a mask knows.
const ADDRESSES_MAX: usize = 1_024;
/// The reason "ring successor" as it stands on the wire: such a link is taken even by a full peer.
const RING_SUCCESSOR: u16 = 1;

/// Dials of a mask.
#[derive(Default)]
struct Dials(u64);

impl Dials {
    fn dial(&mut self, address: Address) -> Action {
        self.0 += 1;
        Action::Dial {
            dial: DialId(DIALS_FROM + self.0),
            peer: None,
            addresses: vec![address],
            timeout: DIAL_TIMEOUT,
        }
    }
}

/// Where others are, in an order that all share.
fn addresses(engine: &Engine) -> Vec<Address> {
    let known = engine.known_addresses(ADDRESSES_MAX);
    let mut addresses: Vec<Address> = known.into_iter().flat_map(|(_, all)| all).collect();
    addresses.sort_by_key(|address| (address.as_str().len(), address.clone()));
    addresses
}

/// Connects to everybody in turn, again and again, says nothing and ends nothing.
#[derive(Default)]
pub(super) struct SlowHello(Dials);

impl Mask for SlowHello {
    fn action(&mut self, now: Time, engine: &mut Engine, action: Action, out: &mut Out) {
        match action {
            Action::Send { .. } => believe_sent(engine, now, &action),
            Action::Close { .. } => {}
            action => out.push_back(action),
        }
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        let addresses = addresses(engine);
        if !addresses.is_empty() {
            let turn = (self.0.0 % addresses.len() as u64) as usize;
            out.push_back(self.0.dial(addresses[turn].clone()));
        }
        Some(after(now, SILENT_DIAL_MS))
    }
}

/// One of many peers at one address that all connect to the same peer and say that they are its
/// neighbours on the ring.
#[derive(Default)]
pub(super) struct OneAddress(Dials);

impl Mask for OneAddress {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        let Action::Send { link, chunks } = &action else {
            return out.push_back(action);
        };
        match frame_of(chunks) {
            Some(Frame::Hello(mut hello)) => {
                hello.wants = RING_SUCCESSOR;
                out.push_back(send(*link, &Frame::Hello(hello)));
            }
            Some(Frame::Wants(mut wants)) => {
                wants.wants = RING_SUCCESSOR;
                out.push_back(send(*link, &Frame::Wants(wants)));
            }
            _ => out.push_back(action),
        }
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        if let Some(first) = addresses(engine).into_iter().next() {
            out.push_back(self.0.dial(first));
        }
        Some(after(now, CROWD_DIAL_MS))
    }
}
