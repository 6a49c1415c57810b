//! What a message costs a peer that passes it on, in things that can be counted: signatures,
//! bytes, writes, allocations. Counts do not depend on the machine; a bound that breaks says that
//! the data path has become more expensive by a fifth.

use bytes::Bytes;
use hedgerow_protocol::{
    Action, Config, Engine, GroupName, Input, JoinOptions, Keypair, LinkId, Micros, Time,
};
use std::collections::VecDeque;

/// Three peers in a row: who publishes, who passes on, who receives.
const PEERS: usize = 3;
const MIDDLE: usize = 1;
/// A peer's link to the one before it, and to the one after it.
const BEFORE: LinkId = LinkId(0);
const AFTER: LinkId = LinkId(1);

struct Row {
    engines: Vec<Engine>,
    now: Time,
    /// Bytes under way: to whom, on which of its links.
    wire: VecDeque<(usize, LinkId, Bytes)>,
    delivered: [u64; PEERS],
    counts: Counts,
    /// What the middle peer's transport does not write to the last, while it writes nothing.
    stuck: Option<usize>,
    /// Whether the middle peer wants to be given less.
    slowed: bool,
}

/// What the middle peer did.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    verifies: u64,
    sends: u64,
    sent_bytes: u64,
    allocations: u64,
    allocated_bytes: u64,
}

fn news() -> GroupName {
    GroupName::new("news").expect("valid")
}

impl Row {
    fn new() -> Self {
        let now = Time {
            mono: Micros(1_000_000),
            wall_ms: 1_700_000_000_000,
        };
        let identity = |index: usize| Keypair::from_secret([index as u8 + 1; 32]);
        let engine =
            |index: usize| Engine::new(identity(index), Config::default(), [index as u8; 32], now);
        let mut row = Self {
            engines: (0..PEERS).map(engine).collect(),
            now,
            wire: VecDeque::new(),
            delivered: [0; PEERS],
            counts: Counts::default(),
            stuck: None,
            slowed: false,
        };
        for index in 0..PEERS - 1 {
            for (at, link, other) in [(index, AFTER, index + 1), (index + 1, BEFORE, index)] {
                let linked = Input::Linked {
                    link,
                    peer: identity(other).peer(),
                    dial: None,
                    address: None,
                };
                row.feed(at, linked);
            }
        }
        for index in 0..PEERS {
            let joined = row.engines[index].join(row.now, news(), JoinOptions::default());
            joined.expect("joins");
            row.drain(index);
        }
        row.run_ms(10_000);
        row
    }

    fn feed(&mut self, at: usize, input: Input) {
        self.engines[at].handle_input(self.now, input);
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        while let Some(action) = self.engines[at].poll_action() {
            match action {
                Action::Send { link, chunks } => {
                    let bytes = chunks.iter().map(Bytes::len).sum();
                    if at == MIDDLE {
                        self.counts.sends += 1;
                        self.counts.sent_bytes += bytes as u64;
                    }
                    let (to, their_link) = if link == AFTER {
                        (at + 1, BEFORE)
                    } else {
                        (at - 1, AFTER)
                    };
                    let chunks = chunks.into_iter().filter(|chunk| !chunk.is_empty());
                    self.wire
                        .extend(chunks.map(|chunk| (to, their_link, chunk)));
                    match &mut self.stuck {
                        Some(unwritten) if (at, link) == (MIDDLE, AFTER) => *unwritten += bytes,
                        _ => self.engines[at].handle_input(self.now, Input::Sent { link, bytes }),
                    }
                }
                Action::Verify { id, job } => {
                    self.counts.verifies += u64::from(at == MIDDLE);
                    let valid = job.run();
                    let verified = Input::Verified { id, valid };
                    self.engines[at].handle_input(self.now, verified);
                }
                Action::Dial { dial, .. } => {
                    self.engines[at].handle_input(self.now, Input::DialFailed { dial });
                }
                Action::Deliver(_) => self.delivered[at] += 1,
                Action::Close { link } => panic!("peer {at} closes {link:?}"),
                Action::Slow { link, .. } => {
                    assert_eq!((at, link), (MIDDLE, BEFORE));
                    self.slowed = true;
                }
                Action::Resume { link } => {
                    assert_eq!((at, link), (MIDDLE, BEFORE));
                    self.slowed = false;
                }
                Action::Store { batch, .. } => {
                    self.engines[at].handle_input(
                        self.now,
                        Input::Stored {
                            batch,
                            result: Ok(()),
                        },
                    );
                }
                // All that is sent is written at once.
                Action::Event(_) | Action::AwaitWritten { .. } => {}
            }
        }
    }

    /// Carries what is under way; what the middle peer does with it is counted.
    fn carry(&mut self) {
        while let Some((to, link, bytes)) = self.wire.pop_front() {
            let input = Input::Bytes { link, bytes };
            if to == MIDDLE {
                let mut used = Counts::default();
                let info = allocation_counter::measure(|| self.feed(to, input));
                used.allocations = info.count_total;
                used.allocated_bytes = info.bytes_total;
                self.counts.allocations += used.allocations;
                self.counts.allocated_bytes += used.allocated_bytes;
            } else {
                self.feed(to, input);
            }
        }
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now.mono = self.now.mono + Micros::from_millis(1);
            self.now.wall_ms += 1;
            for index in 0..PEERS {
                let due = self.engines[index].poll_timeout();
                if due.is_some_and(|due| due.mono <= self.now.mono) {
                    self.engines[index].handle_timeout(self.now);
                    self.drain(index);
                }
            }
            self.carry();
        }
    }

    /// Publishes `bundles` of `together` messages each; what one message cost the middle peer.
    fn cost(&mut self, bundles: u64, together: u64, bytes: usize) -> Cost {
        let (before, delivered) = (self.counts, self.delivered);
        for _ in 0..bundles {
            let messages: Vec<Bytes> = (0..together).map(|_| vec![7; bytes].into()).collect();
            let published = self.engines[0].publish_many(self.now, &news(), &messages);
            published.expect("is taken");
            self.drain(0);
            self.carry();
        }
        let messages = bundles * together;
        for (now, before) in self.delivered.iter().zip(delivered) {
            assert_eq!(now - before, messages, "everybody has everything");
        }
        let per = |now: u64, before: u64| (now - before) as f64 / messages as f64;
        Cost {
            verifies: per(self.counts.verifies, before.verifies),
            sends: per(self.counts.sends, before.sends),
            overhead: per(self.counts.sent_bytes, before.sent_bytes) - bytes as f64,
            allocations: per(self.counts.allocations, before.allocations),
            allocated: per(self.counts.allocated_bytes, before.allocated_bytes),
        }
    }
}

/// Per message, at the peer that passes it on.
#[derive(Clone, Copy, Debug)]
struct Cost {
    verifies: f64,
    sends: f64,
    /// Bytes sent besides the message.
    overhead: f64,
    allocations: f64,
    /// Bytes allocated, the harness's own few included.
    allocated: f64,
}

impl Cost {
    /// No more than a fifth above these.
    fn is_within(self, most: Self) {
        let pairs = [
            ("verifies", self.verifies, most.verifies),
            ("sends", self.sends, most.sends),
            ("overhead", self.overhead, most.overhead),
            ("allocations", self.allocations, most.allocations),
            ("allocated", self.allocated, most.allocated),
        ];
        for (name, now, most) in pairs {
            assert!(
                now <= most * 1.2,
                "{name}: {now:.2} now, {most:.2} before; {self:?}"
            );
        }
    }
}

#[test]
fn a_message_alone() {
    let mut row = Row::new();
    row.cost(50, 1, 1_024);
    row.cost(500, 1, 1_024).is_within(Cost {
        verifies: 1.0,
        sends: 1.0,
        overhead: 228.0,
        allocations: 14.2,
        allocated: 3_560.0,
    });
}

#[test]
fn messages_that_share_a_bundle() {
    let mut row = Row::new();
    row.cost(10, 50, 1_024);
    row.cost(50, 50, 1_024).is_within(Cost {
        verifies: 0.02,
        sends: 0.02,
        overhead: 7.5,
        allocations: 0.37,
        allocated: 1_223.0,
    });
}

#[test]
fn what_cannot_be_passed_on_is_read_slowly_until_it_can() {
    let mut row = Row::new();
    row.stuck = Some(0);
    let mut published = 0;
    let publish = |row: &mut Row| {
        let message = Bytes::from(vec![7; 60 << 10]);
        let published = row.engines[0].publish_many(row.now, &news(), &[message]);
        published.expect("is taken");
        row.drain(0);
        row.carry();
    };
    while !row.slowed {
        publish(&mut row);
        published += 1;
        assert!(published < 1_000, "nobody can pass on without end");
    }
    let bytes = row.stuck.take().expect("was set");
    let link = AFTER;
    row.feed(MIDDLE, Input::Sent { link, bytes });
    row.carry();
    assert!(!row.slowed);
    assert_eq!(row.delivered, [published; PEERS]);
    publish(&mut row);
    assert!(!row.slowed);
}
