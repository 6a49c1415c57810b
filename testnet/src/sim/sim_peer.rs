//! An engine, and what may stand between it and the network.

use super::peer::{Peer, Tally};
use hedgerow_protocol::{Action, Engine, GroupName, Input, MessageId, Micros, PeerKey, Time};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Alters what an engine does: how a hostile peer is made. It sees every action before the
/// network does, may put others in its place, and acts at times of its own.
pub trait Mask: Send {
    /// Takes an action of the engine and gives what is done instead.
    fn action(
        &mut self,
        now: Time,
        engine: &mut Engine,
        action: Action,
        out: &mut VecDeque<Action>,
    );
    /// Does what is due, and says when it wants to be called again.
    fn timeout(
        &mut self,
        now: Time,
        engine: &mut Engine,
        out: &mut VecDeque<Action>,
    ) -> Option<Time>;
    /// What it has sent so far that proves it hostile to whoever reads it.
    fn offences(&self) -> &[Offence] {
        &[]
    }
}

/// Something that no honest peer sends, and that its receiver can tell from what an honest peer
/// sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// When it was sent: by a mask's own monotonic clock, or in the simulation's time
    /// ([`Sim::offences`](super::Sim::offences)).
    pub at: Micros,
    /// To whom.
    pub to: PeerKey,
    /// The message that is broken in it: a peer that holds that message reads no more of it.
    pub message: Option<(GroupName, MessageId)>,
}

/// What runs at a node of a simulation.
pub struct SimPeer {
    engine: Engine,
    masked: Option<Masked>,
}

struct Masked {
    mask: Box<dyn Mask>,
    out: VecDeque<Action>,
    due: Option<Time>,
    now: Time,
}

impl SimPeer {
    /// An engine that does as it should.
    pub fn honest(engine: Engine) -> Self {
        Self {
            engine,
            masked: None,
        }
    }

    /// An engine behind a mask, which is called at once.
    pub fn masked(engine: Engine, mask: Box<dyn Mask>, now: Time) -> Self {
        let masked = Some(Masked {
            mask,
            out: VecDeque::new(),
            due: Some(now),
            now,
        });
        Self { engine, masked }
    }

    /// What the mask has sent that proves it hostile.
    pub fn offences(&self) -> &[Offence] {
        let masked = self.masked.as_ref();
        masked.map_or(&[], |masked| masked.mask.offences())
    }
}

impl fmt::Debug for SimPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let masked = self.masked.is_some();
        write!(f, "SimPeer({}, masked: {masked})", self.engine.peer())
    }
}

impl Deref for SimPeer {
    type Target = Engine;
    fn deref(&self) -> &Engine {
        &self.engine
    }
}

impl DerefMut for SimPeer {
    fn deref_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }
}

impl Peer for SimPeer {
    fn handle_input(&mut self, now: Time, input: Input) {
        if let Some(masked) = &mut self.masked {
            masked.now = now;
        }
        self.engine.handle_input(now, input);
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Some(masked) = &mut self.masked {
            masked.now = now;
            if masked.due.is_some_and(|due| due.mono <= now.mono) {
                masked.due = masked.mask.timeout(now, &mut self.engine, &mut masked.out);
            }
        }
        self.engine.handle_timeout(now);
    }

    fn poll_action(&mut self) -> Option<Action> {
        let Some(masked) = &mut self.masked else {
            return self.engine.poll_action();
        };
        loop {
            if let Some(action) = masked.out.pop_front() {
                return Some(action);
            }
            let action = self.engine.poll_action()?;
            let now = masked.now;
            masked
                .mask
                .action(now, &mut self.engine, action, &mut masked.out);
        }
    }

    fn poll_timeout(&self) -> Option<Time> {
        let own = self.engine.poll_timeout();
        let due = self.masked.as_ref().and_then(|masked| masked.due);
        match (own, due) {
            (Some(own), Some(due)) if due.mono < own.mono => Some(due),
            (own, due) => own.or(due),
        }
    }

    fn tally(&self) -> Tally {
        Tally::of(&self.engine)
    }

    fn counted(&self) -> BTreeMap<&'static str, u64> {
        self.engine.counters().values
    }
}
