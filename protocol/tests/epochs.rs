//! A peer learns in the middle of things that it had a later life than this one.

use bytes::Bytes;
use hedgerow_protocol::wire::frame::Records;
use hedgerow_protocol::wire::record::WireRecord;
use hedgerow_protocol::wire::{Frame, SignedRecord};
use hedgerow_protocol::{
    AckResult, Action, Config, Delivery, Engine, Event, GroupName, Input, JoinOptions, Keypair,
    LinkId, Micros, PublishOptions, Time,
};
use std::collections::VecDeque;

const LINK: LinkId = LinkId(0);

fn news() -> GroupName {
    GroupName::new("news").expect("valid")
}

fn key(index: usize) -> Keypair {
    Keypair::from_secret([index as u8 + 1; 32])
}

/// Who publishes, and another member.
struct Two {
    engines: [Engine; 2],
    now: Time,
    /// Bytes under way: to whom.
    wire: VecDeque<(usize, Bytes)>,
    delivered: [Vec<Delivery>; 2],
    events: Vec<Event>,
    /// What the first one's transport has not written, while it writes nothing.
    stuck: Option<usize>,
}

impl Two {
    fn new() -> Self {
        let now = Time {
            mono: Micros(1_000_000),
            wall_ms: 1_700_000_000_000,
        };
        let engine = |at: usize| Engine::new(key(at), Config::default(), [at as u8; 32], now);
        let mut two = Self {
            engines: [engine(0), engine(1)],
            now,
            wire: VecDeque::new(),
            delivered: [Vec::new(), Vec::new()],
            events: Vec::new(),
            stuck: None,
        };
        for at in 0..2 {
            let linked = Input::Linked {
                link: LINK,
                peer: key(1 - at).peer(),
                dial: None,
                address: None,
            };
            two.feed(at, linked);
        }
        for at in 0..2 {
            let joined = two.engines[at].join(two.now, news(), JoinOptions::default());
            joined.expect("joins");
            two.drain(at);
        }
        two.run_ms(10_000);
        two
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
                    self.wire.extend(chunks.map(|chunk| (1 - at, chunk)));
                    match &mut self.stuck {
                        Some(unwritten) if at == 0 => *unwritten += bytes,
                        _ => self.engines[at].handle_input(self.now, Input::Sent { link, bytes }),
                    }
                }
                Action::Verify { id, job } => {
                    let valid = job.run();
                    let verified = Input::Verified { id, valid };
                    self.engines[at].handle_input(self.now, verified);
                }
                Action::Dial { dial, .. } => {
                    self.engines[at].handle_input(self.now, Input::DialFailed { dial });
                }
                Action::Close { .. } => panic!("peer {at} ends the link"),
                Action::Store { batch, .. } => {
                    self.engines[at].handle_input(
                        self.now,
                        Input::Stored {
                            batch,
                            result: Ok(()),
                        },
                    );
                }
                Action::Deliver(delivery) => self.delivered[at].push(delivery),
                Action::Event(event) if at == 0 => self.events.push(event),
                _ => {}
            }
        }
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now.mono = self.now.mono + Micros::from_millis(1);
            self.now.wall_ms += 1;
            for at in 0..2 {
                let due = self.engines[at].poll_timeout();
                if due.is_some_and(|due| due.mono <= self.now.mono) {
                    self.engines[at].handle_timeout(self.now);
                    self.drain(at);
                }
            }
            while let Some((to, bytes)) = self.wire.pop_front() {
                self.feed(to, Input::Bytes { link: LINK, bytes });
            }
        }
    }

    /// The publisher comes to know its record of a later life.
    fn outbid(&mut self) {
        let own = self.engines[0].own_record().expect("has one");
        let mut record = own.record.clone();
        record.epoch += 60_000;
        let later = SignedRecord::sign(record, &key(0));
        let record = WireRecord::new(later.signed.clone(), later.signature, 0);
        let records = vec![record];
        for bytes in Frame::Records(Records { records }).encode() {
            self.feed(0, Input::Bytes { link: LINK, bytes });
        }
    }
}

#[test]
fn a_large_message_that_is_going_out_arrives_whole_in_the_new_epoch() {
    let mut two = Two::new();
    let payload: Bytes = (0..20 << 20).map(|at: u32| (at >> 10) as u8).collect();
    let options = PublishOptions {
        acknowledge: true,
        ..PublishOptions::default()
    };
    let small = Bytes::from_static(b"before it");
    let before = two.engines[0].publish(two.now, &news(), small, options.clone());
    two.drain(0);
    two.run_ms(5_000);
    two.stuck = Some(0);
    let id = two.engines[0].publish(two.now, &news(), payload.clone(), options);
    let id = id.expect("is taken");
    two.drain(0);
    two.run_ms(100);
    assert_eq!(two.delivered[1].len(), 1, "some of it waits");

    two.outbid();
    assert!(two.engines[0].epoch() > id.epoch);
    let bytes = two.stuck.take().expect("was set");
    two.feed(0, Input::Sent { link: LINK, bytes });
    two.run_ms(5_000);
    for delivered in &two.delivered {
        let [first, large] = &delivered[..] else {
            panic!("{} messages of two", delivered.len());
        };
        assert_eq!(first.id, before.clone().expect("is taken"));
        assert!(large.payload == payload, "it is whole");
        assert_eq!((large.id.epoch, large.id.seq), (two.engines[0].epoch(), 1));
    }
    let acknowledged = two.events.iter().filter_map(|event| match event {
        Event::Acknowledged {
            result: AckResult { id, have, .. },
            ..
        } => Some((*id, *have)),
        _ => None,
    });
    let expected = [(before.expect("is taken"), 1), (id, 1)];
    assert_eq!(acknowledged.collect::<Vec<_>>(), expected);
    let ahead = two.engines[0].status().ahead_bytes;
    assert_eq!(
        ahead, 0,
        "what went out in the former epoch waits for nothing"
    );
}

#[test]
fn what_is_published_next_begins_at_one() {
    let mut two = Two::new();
    let publish = |two: &mut Two| {
        let small = Bytes::from_static(b"small");
        let id = two.engines[0].publish(two.now, &news(), small, PublishOptions::default());
        two.drain(0);
        two.run_ms(100);
        id.expect("is taken")
    };
    let former = publish(&mut two);
    two.outbid();
    two.run_ms(100);
    let next = publish(&mut two);
    assert!(next.epoch > former.epoch && next.seq == 1);
    let ids: Vec<_> = two.delivered[1].iter().map(|got| got.id).collect();
    assert_eq!(ids, [former, next]);
}
