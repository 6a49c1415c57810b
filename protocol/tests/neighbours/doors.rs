//! Where an engine knocks because somebody's record says so.

use super::{EPOCH, LINK, Pair, key};
use hedgerow_protocol::wire::frame::{Heartbeat, Records};
use hedgerow_protocol::wire::record::RecordExt;
use hedgerow_protocol::wire::record::{ALGORITHM_VERSION, WireRecord};
use hedgerow_protocol::wire::{Frame, Record, RecordLink, SignedRecord};
use hedgerow_protocol::{Action, Address, Config, Input, Keypair, PeerKey};

/// The neighbour of the engine, and how many peers its record says are linked to it.
const INVENTED: u8 = 40;

fn address(text: &str) -> Address {
    Address::new(text).expect("valid")
}

fn invented(number: u8) -> Keypair {
    key(100 + number)
}

fn record(keypair: &Keypair, links: &[PeerKey], addresses: Vec<Address>) -> SignedRecord {
    let mut links = links.to_vec();
    links.sort();
    let record = Record {
        network: Config::default().network.hash(),
        peer: keypair.peer(),
        epoch: EPOCH,
        version: 1,
        left: false,
        algorithm: ALGORITHM_VERSION,
        capacity: 8,
        coordinate: [1.0, 0.0, 0.0, 5.0, 0.5],
        addresses,
        groups: Vec::new(),
        links: links
            .into_iter()
            .map(|peer| RecordLink {
                peer,
                rtt_us: 40_000,
            })
            .collect(),
        capabilities: 0,
        ext: RecordExt::default(),
    };
    SignedRecord::sign(record, keypair)
}

/// Where an engine at `own` dials within five minutes that the peers behind its neighbour state to be
/// at `stated`; nobody is there.
fn dialled(own: &[&str], stated: &[&str]) -> Vec<Address> {
    let config = Config {
        addresses: own.iter().map(|text| address(text)).collect(),
        ..Config::default()
    };
    let mut pair = Pair::with(0, config);
    let (me, neighbour) = (key(1).peer(), key(2).peer());
    let behind: Vec<PeerKey> = (0..INVENTED)
        .map(|number| invented(number).peer())
        .collect();
    let around: Vec<PeerKey> = behind.iter().copied().chain([me]).collect();
    let mut records = vec![record(&key(2), &around, Vec::new())];
    for number in 0..INVENTED {
        let stated = stated.iter().map(|text| address(text)).collect();
        records.push(record(&invented(number), &[neighbour], stated));
    }
    let records = records.iter();
    pair.say(&Frame::Records(Records {
        records: records
            .map(|record| WireRecord::new(record.signed.clone(), record.signature, 0))
            .collect(),
    }));
    let mut dialled = Vec::new();
    for _ in 0..600 {
        let stamp_us = pair.now.mono.0 + 1;
        pair.say(&Frame::Heartbeat(Heartbeat {
            stamp_us,
            echo_us: stamp_us,
            held_us: 0,
            ask: false,
            coordinate: [0.0, 0.0, 0.0, 1.0, 1.0],
            database: 0,
            wall_ms: pair.now.wall_ms,
            groups: Vec::new(),
        }));
        pair.wait_ms(500);
        for action in std::mem::take(&mut pair.dials) {
            let Action::Dial {
                dial, addresses, ..
            } = action
            else {
                continue;
            };
            dialled.extend(addresses);
            pair.feed(Input::DialFailed { dial });
        }
    }
    assert_eq!(pair.engine.status().view_peers, 2 + usize::from(INVENTED));
    assert!(!pair.has_closed(LINK));
    dialled
}

#[test]
fn whoever_lives_in_the_open_dials_no_private_network_and_not_itself() {
    let private = [
        "/ip4/10.0.0.1/tcp/80",
        "/ip4/127.0.0.1/tcp/6379",
        "/ip4/169.254.169.254/tcp/80",
        "/ip6/::1/tcp/22",
    ];
    assert_eq!(dialled(&["/ip4/198.51.100.1/tcp/1"], &private), []);
    // A peer that listens everywhere states its own host, too.
    let all = ["/ip4/198.51.100.1/tcp/1", "/ip4/127.0.0.1/tcp/1"];
    assert_eq!(dialled(&all, &private), []);
}

#[test]
fn whoever_lives_in_a_private_network_dials_it() {
    let own = ["/ip4/10.3.2.1/tcp/1", "/ip4/127.0.0.1/tcp/1"];
    let stated = ["/ip4/10.0.0.1/tcp/80", "/ip4/192.168.0.1/tcp/80"];
    let dialled = dialled(&own, &stated);
    assert!(!dialled.is_empty());
    assert!(dialled.iter().all(|at| at.as_str() == stated[0]));
}

#[test]
fn peers_of_one_host_dial_each_other() {
    let stated = ["/ip4/127.0.0.1/tcp/2"];
    assert!(!dialled(&["/ip4/127.0.0.1/tcp/1"], &stated).is_empty());
    let own = ["/ip4/198.51.100.1/tcp/1", "/ip4/127.0.0.1/tcp/1"];
    let stated = ["/ip4/198.51.100.1/tcp/2", "/ip4/127.0.0.1/tcp/2"];
    let dialled = dialled(&own, &stated);
    assert!(dialled.iter().any(|at| at.as_str() == stated[1]));
}

/// Forty peers are said to be at one address.
#[test]
fn one_address_that_many_state_is_dialled_rarely() {
    let dials = dialled(&["/ip4/198.51.100.1/tcp/1"], &["/ip4/203.0.113.9/tcp/443"]).len();
    // As many as are dialled at once, then after 5, 10, 20, 40 s, and once a minute.
    assert!((3..24).contains(&dials), "{dials} dials in five minutes");
}
