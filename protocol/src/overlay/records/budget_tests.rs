//! Which peers give way to which.

use super::*;
use crate::base::identity::Keypair;
use crate::base::name::NetworkName;
use crate::core::config::DatabaseConfig;
use crate::wire::record::ALGORITHM_VERSION;
use crate::wire::record::RecordExt;
use crate::wire::{Record, RecordLink};
use std::sync::Arc;

const HOUR_MS: u64 = 3_600_000;

fn at(ms: u64) -> Micros {
    Micros::from_millis(ms)
}

fn keypair(number: u16) -> Keypair {
    let mut secret = [3; 32];
    secret[..2].copy_from_slice(&number.to_le_bytes());
    Keypair::from_secret(secret)
}

fn peer(number: u16) -> PeerKey {
    keypair(number).peer()
}

fn record(number: u16, version: u64, links: u8) -> Arc<SignedRecord> {
    let keypair = keypair(number);
    let links = (0..links).map(|link| RecordLink {
        peer: PeerKey([link; 32]),
        rtt_us: 1_000,
    });
    let record = Record {
        network: [7; 16],
        peer: keypair.peer(),
        epoch: 1,
        version,
        left: false,
        algorithm: ALGORITHM_VERSION,
        capacity: 8,
        coordinate: [0.0, 0.0, 0.0, 1.0, 1.0],
        addresses: Vec::new(),
        groups: Vec::new(),
        links: links.collect(),
        capabilities: 0,
        ext: RecordExt::default(),
    };
    Arc::new(SignedRecord::sign(record, &keypair))
}

/// A database of which nothing expires.
struct Budget {
    database: Database,
    now: Micros,
}

impl Budget {
    fn new(records_max: usize, bytes_max: usize) -> Self {
        let config = DatabaseConfig {
            records_max,
            refresh_ms: 100 * HOUR_MS,
            ..DatabaseConfig::default()
        };
        Self {
            database: Database::with(config, NetworkName::default(), bytes_max, at(0)),
            now: at(0),
        }
    }

    fn wait_ms(&mut self, ms: u64) {
        self.now = self.now + at(ms);
        self.database.expire(PeerKey([0; 32]), self.now);
    }

    fn put(&mut self, number: u16, standing: Standing) -> Offer {
        self.put_version(number, 1, 2, standing)
    }

    fn put_version(&mut self, number: u16, version: u64, links: u8, standing: Standing) -> Offer {
        let record = record(number, version, links);
        match self
            .database
            .replace(record, 0, self.now, standing, |_| false)
        {
            Ok(_) => Offer::Newer,
            Err(offer) => offer,
        }
    }

    fn holds(&self, numbers: impl IntoIterator<Item = u16>) -> usize {
        let held = |number: &u16| self.database.get(peer(*number)).is_some();
        numbers.into_iter().filter(held).count()
    }
}

#[test]
fn number_and_bytes_are_bounded_when_a_record_comes() {
    let one = record(1, 1, 2).memory_bytes;
    for mut room in [Budget::new(10, usize::MAX), Budget::new(1_000, 10 * one)] {
        for number in 0..10 {
            assert_eq!(room.put(number, Standing::Inside), Offer::Newer);
        }
        assert_eq!(room.put(10, Standing::Inside), Offer::NoRoom);
        assert_eq!(room.database.len(), 10);
        assert!(room.database.bytes() <= 10 * one);
        // What is held may be replaced, as far as bytes go.
        assert_eq!(room.put_version(3, 2, 2, Standing::Inside), Offer::Newer);
        room.database.expire(peer(0), room.now);
        assert_eq!(room.holds(0..10), 10);
    }
}

#[test]
fn a_record_that_grows_beyond_the_room_is_not_taken() {
    let one = record(1, 1, 2).memory_bytes;
    let mut room = Budget::new(1_000, 10 * one);
    for number in 0..10 {
        room.put(number, Standing::Inside);
    }
    assert_eq!(room.put_version(3, 2, 200, Standing::Inside), Offer::NoRoom);
    assert_eq!(room.database.get(peer(3)).map(|r| r.order()), Some((1, 1)));
}

#[test]
fn outside_the_view_a_quarter_of_the_room_is_taken() {
    let mut room = Budget::new(100, usize::MAX);
    let taken = (0..100).filter(|n| room.put(*n, Standing::Outside) == Offer::Newer);
    assert_eq!(taken.count(), 25);
    assert_eq!(room.put(100, Standing::Inside), Offer::Newer);
    // A newer one of somebody who is held takes no more room.
    assert_eq!(room.put_version(3, 2, 2, Standing::Outside), Offer::Newer);
    // The view grows, and they are inside.
    let inside: Vec<PeerKey> = room.database.records().map(|r| r.record.peer).collect();
    room.database.note_view(Some(inside.into_iter()));
    assert_eq!(room.put(50, Standing::Outside), Offer::Newer);
    assert!(!room.database.is_outside(peer(3)) && room.database.is_outside(peer(50)));
}

#[test]
fn whoever_is_inside_displaces_whoever_was_heard_of_last_outside() {
    let mut room = Budget::new(20, usize::MAX);
    for number in 0..5 {
        room.put(number, Standing::Outside);
        room.wait_ms(60_000);
    }
    for number in 10..25 {
        assert_eq!(room.put(number, Standing::Inside), Offer::Newer);
    }
    assert_eq!(room.put(30, Standing::Inside), Offer::Newer);
    assert_eq!((room.holds(0..4), room.holds([4])), (4, 0));
    assert_eq!(room.database.evicted, 1);
}

#[test]
fn whoever_is_known_for_an_hour_is_displaced_by_nobody_new() {
    let mut room = Budget::new(20, usize::MAX);
    for number in 0..5 {
        room.put(number, Standing::Outside);
    }
    for number in 10..25 {
        room.put(number, Standing::Inside);
    }
    room.wait_ms(HOUR_MS);
    assert_eq!(room.put(30, Standing::Inside), Offer::NoRoom);
    assert_eq!(room.holds((0..5).chain(10..25)), 20);
    // A neighbour has room whatever happens.
    assert_eq!(room.put(31, Standing::Linked), Offer::Newer);
}

#[test]
fn whoever_comes_back_displaces_whoever_came_meanwhile() {
    let mut room = Budget::new(3, usize::MAX);
    room.database.config.refresh_ms = HOUR_MS;
    room.put(1, Standing::Inside);
    room.put(2, Standing::Inside);
    // Its record expires, and two new peers come.
    room.wait_ms(2 * HOUR_MS);
    room.put_version(2, 2, 2, Standing::Inside);
    room.wait_ms(2 * HOUR_MS);
    assert_eq!((room.holds([1]), room.holds([2])), (0, 1));
    room.put(3, Standing::Inside);
    room.wait_ms(60_000);
    room.put(4, Standing::Inside);
    assert_eq!(room.put_version(1, 2, 2, Standing::Inside), Offer::Newer);
    assert_eq!((room.holds(1..4), room.holds([4])), (3, 0));
    // What was dropped for its age does not come back as it was.
    assert_eq!(room.put_version(1, 1, 2, Standing::Inside), Offer::Older);
}

#[test]
fn an_old_view_gets_few_new_peers_in_a_minute() {
    let mut room = Budget::new(1_000, usize::MAX);
    for number in 0..600 {
        room.put(number, Standing::Inside);
    }
    // Nobody is known for long yet: it is new itself.
    assert_eq!(room.put(600, Standing::Inside), Offer::Newer);
    room.wait_ms(HOUR_MS);
    let taken = (700..900).filter(|n| room.put(*n, Standing::Inside) == Offer::Newer);
    assert_eq!(taken.count(), NEW_MIN);
    assert_eq!(room.put(950, Standing::Inside), Offer::TooManyNew);
    assert_eq!(room.put(951, Standing::Linked), Offer::Newer);
    room.wait_ms(30_000);
    let taken = (700..900).filter(|n| room.put(*n, Standing::Inside) == Offer::Newer);
    assert_eq!(taken.count(), NEW_MIN / 2);
}

#[test]
fn hashes_tell_of_the_view_alone() {
    let mut room = Budget::new(100, usize::MAX);
    room.put(1, Standing::Inside);
    let (hash, buckets) = (room.database.hash(), *room.database.buckets());
    room.put(2, Standing::Outside);
    assert_eq!(
        (room.database.hash(), room.database.buckets()),
        (hash, &buckets)
    );
    room.put_version(2, 2, 2, Standing::Outside);
    assert_eq!(room.database.hash(), hash);
    let both = [peer(1), peer(2)];
    let mut both = both.to_vec();
    both.sort();
    room.database.note_view(Some(both.into_iter()));
    assert_ne!(room.database.hash(), hash);
    room.database.note_view(Some([peer(1)].into_iter()));
    assert_eq!(
        (room.database.hash(), room.database.buckets()),
        (hash, &buckets)
    );
}
