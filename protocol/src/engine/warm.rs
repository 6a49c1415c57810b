//! Beginning in the middle of a life: links that are up, a settled coordinate, a full database.
//!
//! For simulations of many peers, whose first minute would cost more than what is to be seen.
//! Nothing a real peer may do: what is given here is taken without a check. So it takes the
//! feature `warm`, which no build for users has.

use super::Engine;
use crate::base::identity::PeerKey;
use crate::base::time::{Micros, Time};
pub use crate::overlay::links::WarmChoice;
use crate::overlay::records::{Database, Standing};
pub use crate::overlay::warm::WarmLink;
use crate::wire::SignedRecord;
use hedgerow_topology::Coordinate;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::sync::Arc;

/// A database that many peers begin with.
#[derive(Debug)]
pub struct WarmDatabase {
    database: Database,
}

impl WarmDatabase {
    /// What these peers say of themselves.
    pub fn of<'a>(peers: impl IntoIterator<Item = &'a Engine>) -> Option<Self> {
        let mut peers = peers.into_iter().peekable();
        let mut database = Database::new(&peers.peek()?.core.config, Micros(0));
        for engine in peers {
            if let Some(record) = engine.net.record(engine.core.me) {
                let all = |_| true;
                let _ = database.replace(record.clone(), 0, Micros(0), Standing::Inside, all);
            }
        }
        Some(Self { database })
    }

    /// Adds records of peers that no engine stands behind; whether all of them had room.
    pub fn add(&mut self, records: impl IntoIterator<Item = Arc<SignedRecord>>) -> bool {
        let standing = Standing::Inside;
        let mut records = records.into_iter();
        records.all(|record| {
            let put = self
                .database
                .replace(record, 0, Micros(0), standing, |_| true);
            put.is_ok()
        })
    }
}

impl Engine {
    /// What decides the random links of a peer that is made with this seed.
    pub fn choice_seed(rng_seed: [u8; 32]) -> u64 {
        ChaCha12Rng::from_seed(rng_seed).next_u64()
    }

    /// States links to these in its record from now on, besides its own: for peers that do not run.
    pub fn state_links(&mut self, peers: Vec<PeerKey>) {
        self.net.state_besides(peers);
    }

    /// Takes these links as its own, up and measured, and states them in its record, which goes
    /// nowhere. To be called before anything else but [`Engine::join`].
    pub fn begin_with_links(
        &mut self,
        now: Time,
        coordinate: Coordinate,
        links: &[WarmLink],
        choice: &WarmChoice,
    ) {
        self.advance(now);
        self.net
            .begin_with_links(&mut self.core, coordinate, links, choice);
        self.refresh_adverts();
        self.net.issue_record(&mut self.core);
        self.net.forget_record_pushes();
        for warm in links {
            self.multicast
                .on_link_up_for_groups(&mut cx!(self), warm.link);
        }
        self.settle();
    }

    /// Takes this database, in which its own record stands, as its own, and computes its view.
    pub fn begin_with_database(&mut self, now: Time, warm: &WarmDatabase) {
        self.advance(now);
        self.net.begin_with_database(&self.core, &warm.database);
        self.multicast.adopt_all_settings(&mut cx!(self));
        self.net.refresh_view(&mut self.core);
        self.net.begin_idle(&mut self.core);
        self.settle();
    }
}
