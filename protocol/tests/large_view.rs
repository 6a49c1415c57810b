//! What a peer states when, where the view is so large that views rest between changes.

use hedgerow_protocol::{
    Action, Config, Engine, Input, Keypair, LinkId, Micros, PeerKey, Time, WarmChoice,
    WarmDatabase, WarmLink,
};
use hedgerow_topology::Coordinate;

/// The links of each peer in the ring: to the one before it, and to the one after it.
const BEFORE: LinkId = LinkId(0);
const AFTER: LinkId = LinkId(1);

/// One of a ring of peers that have known each other for long.
struct One {
    engine: Engine,
    now: Time,
}

impl One {
    fn of_a_ring(count: usize) -> Self {
        let now = Time {
            mono: Micros(100_000_000),
            wall_ms: 1_700_000_000_000,
        };
        let secret = |index: usize| {
            let mut secret = [7; 32];
            secret[..8].copy_from_slice(&(index as u64).to_le_bytes());
            secret
        };
        let keypairs: Vec<Keypair> = (0..count)
            .map(|index| Keypair::from_secret(secret(index)))
            .collect();
        let keys: Vec<PeerKey> = keypairs.iter().map(Keypair::peer).collect();
        let mut engines: Vec<Engine> = (keypairs.into_iter().enumerate())
            .map(|(index, keypair)| Engine::new(keypair, Config::default(), secret(index), now))
            .collect();
        let choice = WarmChoice {
            measured: Vec::new(),
            cooling: Vec::new(),
        };
        for index in 0..count {
            let others = [(BEFORE, index + count - 1), (AFTER, index + 1)];
            let links = others.map(|(link, other)| WarmLink {
                link,
                peer: keys[other % count],
                epoch: engines[other % count].epoch(),
                address: None,
                dialled: link == AFTER,
                rtt_us: 20_000,
                mine: None,
                theirs: None,
            });
            engines[index].begin_with_links(now, Coordinate::origin(), &links, &choice);
        }
        let database = WarmDatabase::of(&engines).expect("there are peers");
        let mut engine = engines.swap_remove(0);
        engine.begin_with_database(now, &database);
        let mut one = Self { engine, now };
        // What it said of itself to begin with is past; neighbours that say nothing are lost later.
        one.run_ms(600);
        one
    }

    fn drain(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            if let Action::Dial { dial, .. } = action {
                let failed = Input::DialFailed { dial };
                self.engine.handle_input(self.now, failed);
            }
        }
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now.mono = self.now.mono + Micros::from_millis(1);
            self.now.wall_ms += 1;
            let due = self.engine.poll_timeout();
            if due.is_some_and(|due| due.mono <= self.now.mono) {
                self.engine.handle_timeout(self.now);
            }
            self.drain();
        }
    }

    fn lose(&mut self, link: LinkId) {
        self.engine.handle_input(self.now, Input::LinkLost { link });
        self.drain();
    }

    fn issued(&self) -> u64 {
        let counters = self.engine.counters();
        counters.values.get("records_issued").copied().unwrap_or(0)
    }
}

#[test]
fn a_loss_is_stated_at_once_where_views_do_not_rest() {
    let mut one = One::of_a_ring(900);
    let before = one.issued();
    one.lose(AFTER);
    one.run_ms(1);
    assert_eq!(one.issued(), before + 1);
}

/// 1,800 peers: views rest for 400 ms.
#[test]
fn in_a_large_view_a_loss_waits_for_what_replaces_it_and_another_as_long_as_views_rest() {
    let mut one = One::of_a_ring(1_800);
    let before = one.issued();
    one.lose(AFTER);
    one.run_ms(198);
    assert_eq!(one.issued(), before, "half of the rest is not over");
    one.run_ms(4);
    assert_eq!(one.issued(), before + 1);
    one.lose(BEFORE);
    one.run_ms(390);
    assert_eq!(one.issued(), before + 1, "views rest");
    one.run_ms(20);
    assert_eq!(one.issued(), before + 2);
}
