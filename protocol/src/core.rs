//! What every part of a peer needs: who it is, the time, randomness, and the way out.

pub mod config;
#[macro_use]
mod counts;
mod growth;
pub(crate) mod storage;

use crate::access::{Decision, Policy, Resource, Subject, Verb};
use crate::base::identity::{Keypair, PeerKey};
use crate::base::interface::{Action, Event, VerifyId};
use crate::base::time::{Micros, Time};
use crate::core::config::Config;
pub(crate) use counts::Counter;
use counts::Counts;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::VecDeque;
use storage::Storage;

/// The common ground of all parts.
pub(crate) struct Core {
    pub(crate) me: PeerKey,
    pub(crate) keypair: Keypair,
    pub(crate) config: Config,
    /// Who may do what.
    pub(crate) access: Policy,
    pub(crate) network_hash: [u8; 16],
    pub(crate) rng: ChaCha12Rng,
    pub(crate) now: Time,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) counts: Counts,
    pub(crate) stopping: Option<Stopping>,
    /// When `handle_timeout` is due.
    pub(crate) deadline: Option<Micros>,
    pub(crate) storage: Storage,
    next_verify: u64,
}

/// What a signature is checked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checked {
    Bundle,
    Record,
    Acknowledgement,
    Equivocation,
    Proof,
    Baseline,
}

impl Checked {
    /// It stands in so many bits of a check's name.
    const BITS: u32 = 3;
    const ALL: [Self; 6] = [
        Self::Bundle,
        Self::Record,
        Self::Acknowledgement,
        Self::Equivocation,
        Self::Proof,
        Self::Baseline,
    ];

    pub(crate) fn of(id: VerifyId) -> Option<Self> {
        let number = id.0 & ((1 << Self::BITS) - 1);
        Self::ALL.into_iter().find(|what| *what as u64 == number)
    }
}

/// How far leaving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stopping {
    /// Forwarding on until neighbours confirm, at most until then.
    Leaving(Micros),
    /// Done.
    Stopped,
}

impl Core {
    pub(crate) fn new(identity: Keypair, config: Config, rng_seed: [u8; 32], now: Time) -> Self {
        Self {
            me: identity.peer(),
            keypair: identity,
            access: Policy::default(),
            network_hash: config.network.hash(),
            rng: ChaCha12Rng::from_seed(rng_seed),
            now,
            actions: VecDeque::new(),
            counts: Counts::default(),
            stopping: None,
            deadline: Some(now.mono),
            next_verify: 0,
            storage: Storage::default(),
            config,
        }
    }

    /// Sees to it that `handle_timeout` is due no later than `at`.
    pub(crate) fn wake_at(&mut self, at: Micros) {
        self.deadline = Some(self.deadline.map_or(at, |deadline| deadline.min(at)));
    }

    /// So many milliseconds from now.
    pub(crate) fn in_ms(&self, ms: u64) -> Micros {
        self.now.mono + Micros::from_millis(ms)
    }

    /// A random time between `low_ms` and `high_ms` from now.
    pub(crate) fn in_random_ms(&mut self, low_ms: u64, high_ms: u64) -> Micros {
        let span = high_ms.saturating_sub(low_ms).saturating_mul(1_000).max(1);
        let offset = self.rng.next_u64() % span;
        self.now.mono + Micros(low_ms.saturating_mul(1_000) + offset)
    }

    /// Whether a peer may do this, where its groups do not matter.
    #[inline]
    pub(crate) fn allows(&self, peer: PeerKey, verb: Verb, resource: Resource) -> bool {
        let subject = Subject::new(peer, self.me);
        match self.access.decide(subject, verb, resource) {
            Decision::Allowed => true,
            Decision::Denied(reason) => {
                tracing::debug!(%peer, ?verb, ?resource, ?reason, "denied");
                false
            }
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.actions.push_back(Action::Event(event));
    }

    /// Names a check. The name says what is checked, so that the answer finds its way.
    pub(crate) fn next_verify_id(&mut self, what: Checked) -> VerifyId {
        self.next_verify += 1;
        VerifyId(self.next_verify << Checked::BITS | what as u64)
    }
}
