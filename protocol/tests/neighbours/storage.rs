//! What is stored before it is used, and what follows where that fails.

use super::deltas::whole;
use super::{LINK, Pair, key};
use bytes::Bytes;
use hedgerow_protocol::wire::{EPOCH_MAX, Frame};
use hedgerow_protocol::{
    Config, Engine, Event, Input, Namespace, SharedCache, StoreError, StoreOp, Stored, Time,
};

impl Pair {
    /// Answers what was asked for first.
    pub(super) fn store_next(&mut self, result: Result<(), StoreError>) {
        let (batch, _) = self.unstored.remove(0);
        self.feed(Input::Stored { batch, result });
    }

    fn fail_to_store(&mut self) {
        for _ in 0..self.unstored.len() {
            self.store_next(Err(full()));
        }
    }

    fn told_of_failures(&self) -> usize {
        let told = |event: &&Event| matches!(event, Event::StoreFailed { .. });
        self.events.iter().filter(told).count()
    }
}

fn full() -> StoreError {
    StoreError::NoRoom("full".to_owned())
}

/// A peer that has just begun and stores nothing unless it is told to.
fn begun() -> Pair {
    let mut pair = Pair::new();
    pair.stores = false;
    pair.engine = Engine::new(key(1), Config::default(), [1; 32], pair.now);
    pair.drain();
    pair.heard.clear();
    pair
}

#[test]
fn a_first_epoch_that_could_not_be_stored_is_asked_for_again_and_used_once_it_is() {
    let mut pair = begun();
    let asked = pair.unstored.clone();
    assert_eq!(asked.len(), 1);
    for failures in 1..=6 {
        pair.store_next(Err(full()));
        assert_eq!(pair.unstored, [], "it waits");
        pair.wait_ms(8_000);
        assert_eq!(pair.unstored, asked, "the same again");
        assert_eq!(pair.counted("stores_failed"), failures);
        assert_eq!(pair.told_of_failures(), failures as usize);
    }
    pair.link_up(LINK, 2);
    pair.store_next(Err(full()));
    assert_eq!(pair.heard, [], "it is not stored");
    pair.wait_ms(500);
    assert_eq!(pair.heard, []);
    let mut pair = begun();
    pair.link_up(LINK, 2);
    pair.store_next(Err(full()));
    pair.wait_ms(1_000);
    assert_eq!(pair.heard, []);
    pair.store_next(Ok(()));
    assert!(matches!(pair.heard.first(), Some(Frame::Hello(_))));
}

#[test]
fn a_higher_epoch_is_not_used_before_it_is_stored_and_only_the_highest_is() {
    let mut pair = Pair::new();
    let former = pair.engine.epoch();
    pair.stores = false;
    for (later, version) in [(1_000, 7), (3_000, 9)] {
        pair.say(&whole(&pair.own_of_life(former + later, version)));
        pair.fail_to_store();
        assert_eq!(pair.engine.epoch(), former);
    }
    pair.stay_ms(2_000);
    assert_eq!(pair.engine.epoch(), former);
    assert_eq!(pair.unstored.len(), 1, "one at a time");
    pair.store_next(Ok(()));
    assert_eq!(pair.engine.epoch(), former, "a higher one is known by now");
    pair.store_next(Ok(()));
    assert_eq!(pair.engine.epoch(), former + 3_001);
    assert_eq!(pair.unstored, []);
}

#[test]
fn an_answer_that_comes_twice_or_to_no_question_changes_nothing() {
    let mut pair = begun();
    pair.link_up(LINK, 2);
    let (batch, _) = pair.unstored[0].clone();
    pair.store_next(Err(full()));
    let result = Ok(());
    pair.feed(Input::Stored { batch, result });
    assert_eq!(pair.heard, [], "it was not asked for again yet");
    pair.feed(Input::Stored {
        batch: hedgerow_protocol::BatchId(u64::MAX),
        result: Ok(()),
    });
    assert_eq!(pair.heard, []);
}

#[test]
fn the_next_life_lies_above_what_is_stored_and_a_damaged_epoch_costs_nothing() {
    let pair = begun();
    let of_life = |stored: &Stored| {
        let (config, cache) = (Config::default(), SharedCache::default());
        // The clock has gone back.
        let now = Time {
            wall_ms: 1_000,
            ..pair.now
        };
        Engine::restored(key(1), config, [1; 32], now, stored, cache).epoch()
    };
    let mut stored = Stored::default();
    assert_eq!(of_life(&stored), 1_000);
    for (_, ops) in &pair.unstored {
        let entries = stored.entries_mut(Namespace::Overlay);
        entries.apply(ops.iter().cloned());
    }
    assert_eq!(Engine::last_epoch(&stored), pair.engine.epoch());
    assert_eq!(of_life(&stored), pair.engine.epoch() + 1);
    let damaged = [
        Bytes::from_static(b""),
        Bytes::from_static(b"1700000000000"),
        Bytes::copy_from_slice(&EPOCH_MAX.to_be_bytes()),
        Bytes::copy_from_slice(&u64::MAX.to_be_bytes()),
    ];
    for value in damaged {
        let key = Bytes::from_static(b"epoch");
        let put = StoreOp::Put { key, value };
        stored.entries_mut(Namespace::Overlay).apply([put]);
        assert_eq!(of_life(&stored), 1_000);
    }
}
