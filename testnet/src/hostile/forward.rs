//! Offences of those who should pass on what others publish.

use super::{Out, after, believe_sent, bundle_of, links_up, note, send};
use crate::sim::{Mask, Offence, Random};
use hedgerow_protocol::wire::{Frame, frame::BundleFrame};
use hedgerow_protocol::{Action, Engine, Time};
use std::collections::VecDeque;

/// Passes on nothing of others: a black hole that looks alive.
pub(super) struct Drop;

impl Mask for Drop {
    fn action(&mut self, now: Time, engine: &mut Engine, action: Action, out: &mut Out) {
        let me = engine.peer();
        if bundle_of(&action).is_some_and(|(_, _, header, _)| header.origin != me) {
            believe_sent(engine, now, &action);
        } else {
            out.push_back(action);
        }
    }

    fn timeout(&mut self, _: Time, _: &mut Engine, _: &mut Out) -> Option<Time> {
        None
    }
}

/// How late payloads are passed on, ms.
const DELAY_MS: u64 = 2_000;
/// How often what is held back is looked at, ms.
const LOOK_MS: u64 = 50;

/// Passes everything of others on late.
#[derive(Default)]
pub(super) struct Delay {
    held: VecDeque<(Time, Action)>,
}

impl Mask for Delay {
    fn action(&mut self, now: Time, engine: &mut Engine, action: Action, out: &mut Out) {
        let me = engine.peer();
        if bundle_of(&action).is_some_and(|(_, _, header, _)| header.origin != me) {
            believe_sent(engine, now, &action);
            let due = after(now, DELAY_MS);
            self.held.push_back((due, action));
        } else {
            out.push_back(action);
        }
    }

    fn timeout(&mut self, now: Time, _: &mut Engine, out: &mut Out) -> Option<Time> {
        let held = self.held.partition_point(|(due, _)| due.mono <= now.mono);
        out.extend(self.held.drain(..held).map(|(_, action)| action));
        Some(after(now, LOOK_MS))
    }
}

/// Payloads remembered for sending again.
const REPLAYED: usize = 64;
/// How often an old one is sent, ms.
const REPLAY_MS: u64 = 50;

/// Sends old payloads again and again.
pub(super) struct Replay {
    random: Random,
    old: VecDeque<Frame>,
}

impl Replay {
    pub(super) fn new(random: Random) -> Self {
        let old = VecDeque::new();
        Self { random, old }
    }
}

impl Mask for Replay {
    fn action(&mut self, _: Time, _: &mut Engine, action: Action, out: &mut Out) {
        if let Some((_, frame, _, payload)) = bundle_of(&action) {
            if self.old.len() == REPLAYED {
                // Every other one stays, so that some are old indeed.
                let at = self.random.index(REPLAYED);
                self.old.remove(at);
            }
            self.old.push_back(Frame::Bundle(frame, payload));
        }
        out.push_back(action);
    }

    fn timeout(&mut self, now: Time, engine: &mut Engine, out: &mut Out) -> Option<Time> {
        let links = links_up(engine);
        if !links.is_empty() && !self.old.is_empty() {
            let link = links[self.random.index(links.len())];
            let frame = &self.old[self.random.index(self.old.len())];
            out.push_back(send(link, frame));
        }
        Some(after(now, REPLAY_MS))
    }
}

/// Passes payloads on with broken signatures.
#[derive(Default)]
pub(super) struct BadSignature {
    offences: Vec<Offence>,
}

impl Mask for BadSignature {
    fn action(&mut self, now: Time, engine: &mut Engine, action: Action, out: &mut Out) {
        let me = engine.peer();
        match bundle_of(&action) {
            Some((link, frame, header, payload)) if header.origin != me => {
                let to = (&*engine, link);
                note(&mut self.offences, now, to, Some(&header));
                let mut signature = frame.signature;
                signature[7] ^= 1;
                let frame = BundleFrame { signature, ..frame };
                out.push_back(send(link, &Frame::Bundle(frame, payload)));
            }
            _ => out.push_back(action),
        }
    }

    fn timeout(&mut self, _: Time, _: &mut Engine, _: &mut Out) -> Option<Time> {
        None
    }

    fn offences(&self) -> &[Offence] {
        &self.offences
    }
}
