//! The simulated network itself, with peers that only write down what they get.

mod losses;
mod net;
mod same_run;

use bytes::Bytes;
use hedgerow_protocol::{Action, Address, BatchId, DialId, Input, Namespace, StoreOp, Time};
use hedgerow_testnet::sim::{Bandwidth, NodeState};
use net::{Net, key, ms};

fn numbered(count: u32) -> Vec<u8> {
    (0..count).flat_map(u32::to_be_bytes).collect()
}

#[test]
fn a_dial_takes_two_round_trips_and_the_other_end_hears_after_half_of_one_more() {
    let mut net = Net::plain(2);
    net.dial(0, 1);
    net.world.run_for(1_000);
    let (at, linked) = &net.seen(0)[0];
    assert_eq!(*at, ms(200));
    assert!(matches!(linked, Input::Linked { peer, dial: Some(DialId(1)), .. } if *peer == key(1)));
    let (at, linked) = &net.seen(1)[0];
    assert_eq!(*at, ms(250));
    assert!(matches!(linked, Input::Linked { peer, dial: None, .. } if *peer == key(0)));
}

#[test]
fn bytes_arrive_after_one_latency() {
    let mut net = Net::plain(2);
    let (here, there) = net.connect(0, 1);
    let start = net.world.now();
    net.send(0, here, "hello");
    net.world.run_for(1_000);
    assert_eq!(
        net.received(1, there),
        [(start + ms(50), Bytes::from("hello"))]
    );
}

#[test]
fn an_uplink_takes_its_time() {
    let mut net = Net::plain(2);
    net.world.set_bandwidth(0, Bandwidth::mbit(8, 8));
    let (here, there) = net.connect(0, 1);
    let start = net.world.now();
    net.send(0, here, vec![7; 1_000_000]);
    net.world.run_for(10_000);
    let last = net.received(1, there).last().expect("arrived").0;
    assert_eq!(
        last.since(start),
        ms(1_000 + 50),
        "1 MB at 1 MB/s and 50 ms"
    );
    net.send(0, here, "x");
    net.world.run_for(1_000);
    assert_eq!(net.received_bytes(1, there).len(), 1_000_001);
    assert!(net.sent(0) >= 1_000_000, "what was written is reported");
}

#[test]
fn a_downlink_takes_its_time() {
    let mut net = Net::plain(3);
    net.world.set_bandwidth(2, Bandwidth::mbit(8, 8));
    let (a, from_a) = net.connect(0, 2);
    let (b, from_b) = net.connect(1, 2);
    let start = net.world.now();
    net.send(0, a, vec![1; 500_000]);
    net.send(1, b, vec![2; 500_000]);
    net.world.run_for(10_000);
    let last = |link| {
        net.received(2, link)
            .last()
            .expect("arrived")
            .0
            .since(start)
    };
    assert_eq!(
        last(from_a).max(last(from_b)),
        ms(1_000 + 50),
        "1 MB in all at 1 MB/s"
    );
    assert!(
        last(from_a).min(last(from_b)) > ms(1_000),
        "both had their share all along"
    );
}

#[test]
fn a_small_flow_does_not_wait_behind_a_large_one() {
    let mut net = Net::plain(3);
    net.world.set_bandwidth(0, Bandwidth::mbit(1, 1));
    let (large, _) = net.connect(0, 1);
    let (small, at_2) = net.connect(0, 2);
    let start = net.world.now();
    net.send(0, large, vec![0; 250_000]);
    net.world.run_for(100);
    net.send(0, small, "beat");
    net.world.run_for(5_000);
    let arrived = net.received(2, at_2)[0].0.since(start);
    assert!(
        arrived < ms(100 + 50 + 30),
        "{arrived}: two packets' time at most behind the other"
    );
}

#[test]
fn a_long_fat_path_is_filled() {
    // 50 Mbit/s with a round trip of 100 ms holds 625 kB, more than a socket buffer.
    let mut net = Net::plain(2);
    net.world.set_bandwidth(0, Bandwidth::mbit(50, 50));
    net.world.set_bandwidth(1, Bandwidth::mbit(50, 50));
    let (here, there) = net.connect(0, 1);
    let start = net.world.now();
    net.send(0, here, vec![7; 5_000_000]);
    net.world.run_for(5_000);
    let last = net
        .received(1, there)
        .last()
        .expect("arrived")
        .0
        .since(start);
    assert!(
        last < ms(800 + 50 + 10),
        "{last}: 5 MB need 800 ms and a latency"
    );
}

#[test]
fn jitter_keeps_the_order() {
    let mut net = Net::new(2, 3, |network| network.jitter = ms(40));
    let (here, there) = net.connect(0, 1);
    for number in 0..500_u32 {
        net.send(0, here, number.to_be_bytes().to_vec());
        net.world.run_for(1);
    }
    net.world.run_for(1_000);
    assert_eq!(net.received_bytes(1, there), numbered(500));
}

#[test]
fn a_killed_process_is_heard_of_and_a_crashed_host_is_not() {
    let mut net = Net::plain(3);
    let (to_killed, _) = net.connect(0, 1);
    let (to_crashed, _) = net.connect(0, 2);
    let start = net.world.now();
    net.world.kill(1);
    net.world.crash(2);
    net.world.run_for(600_000);
    assert_eq!(net.lost_at(0, to_killed), Some(start + ms(50)));
    assert_eq!(net.lost_at(0, to_crashed), None);
}

#[test]
fn dials_are_refused_by_hosts_and_time_out_on_silence() {
    let mut net = Net::plain(3);
    net.world.kill(1);
    net.world.crash(2);
    let start = net.world.now();
    let (refused, silent) = (net.dial(0, 1), net.dial(0, 2));
    let nowhere = net.dial(0, 77);
    net.world.run_for(10_000);
    assert_eq!(net.failed_at(0, refused), Some(start + ms(100)));
    assert_eq!(net.failed_at(0, silent), Some(start + ms(5_000)));
    assert_eq!(net.failed_at(0, nowhere), Some(start + ms(1)));
}

#[test]
fn a_dial_to_another_key_fails() {
    let mut net = Net::plain(2);
    let addresses = vec![Address::new("/memory/1").expect("valid")];
    net.act(
        0,
        Action::Dial {
            dial: DialId(9),
            peer: Some(key(5)),
            addresses,
            timeout: ms(5_000),
        },
    );
    net.world.run_for(1_000);
    assert_eq!(net.failed_at(0, DialId(9)), Some(ms(200)));
    assert!(net.seen(1).is_empty());
}

#[test]
fn what_is_sent_across_a_partition_comes_after_it_heals() {
    let mut net = Net::plain(3);
    let (here, there) = net.connect(0, 1);
    let (within, at_2) = net.connect(0, 2);
    net.world.partition(&[vec![0, 2], vec![1]]);
    let start = net.world.now();
    for number in 0..20_u32 {
        net.send(0, here, number.to_be_bytes().to_vec());
        net.world.run_for(100);
    }
    net.send(0, within, "same side");
    let dial = net.dial(2, 1);
    net.world.run_for(6_000);
    assert_eq!(net.received_bytes(1, there), b"");
    assert_eq!(net.received_bytes(2, at_2), b"same side");
    assert!(net.failed_at(2, dial).is_some());
    net.world.heal();
    let healed = net.world.now();
    net.send(0, here, 20_u32.to_be_bytes().to_vec());
    net.world.run_for(20_000);
    assert_eq!(net.received_bytes(1, there), numbered(21));
    let first = net.received(1, there)[0].0;
    assert!(
        first > healed && first < healed + healed.since(start) + ms(100),
        "{first}"
    );
}

#[test]
fn partitions_cut_and_slow_what_each_of_them_does() {
    let mut net = Net::plain(4);
    let ways = [1, 2, 3].map(|other| net.connect(0, other));
    net.world.partition(&[vec![0, 1], vec![2, 3]]);
    net.world.partition(&[vec![0, 2], vec![1, 3]]);
    for (here, _) in ways {
        net.send(0, here, "cut");
    }
    net.world.run_for(5_000);
    for (other, (_, there)) in (1..).zip(ways) {
        assert_eq!(net.received_bytes(other, there), b"", "node {other}");
    }
    net.world.heal();
    net.world.run_for(60_000);
    let slow = |net: &mut Net, sets: [Vec<usize>; 2], more| {
        net.world.slow_between(Some((&sets, ms(more))));
    };
    slow(&mut net, [vec![0, 1], vec![2, 3]], 100);
    slow(&mut net, [vec![0, 2], vec![1, 3]], 1_000);
    let delays = |net: &Net| [1, 2, 3].map(|other| net.world.delay(0, other));
    assert_eq!(delays(&net), [ms(1_050), ms(150), ms(1_150)]);
    net.world.slow_between(None);
    assert_eq!(delays(&net), [ms(50); 3]);
}

#[test]
fn a_one_way_cut_lets_the_other_way_pass() {
    let mut net = Net::plain(2);
    let (here, there) = net.connect(0, 1);
    net.world.cut_one_way(&[0], &[1]);
    net.send(0, here, "lost");
    net.send(1, there, "heard");
    net.world.run_for(1_000);
    assert_eq!(net.received_bytes(1, there), b"");
    assert_eq!(net.received_bytes(0, here), b"heard");
    net.world.heal();
    net.world.run_for(10_000);
    assert_eq!(net.received_bytes(1, there), b"lost");
}

#[test]
fn a_suspended_process_pushes_back_and_reads_all_when_it_goes_on() {
    let mut net = Net::plain(2);
    net.world.set_bandwidth(0, Bandwidth::mbit(8, 8));
    let (here, there) = net.connect(0, 1);
    net.world.pause(1);
    assert_eq!(net.world.state(1), NodeState::Paused);
    net.send(0, here, vec![9; 2_000_000]);
    net.world.run_for(60_000);
    let written = net.sent(0);
    assert!(
        (256 << 10..600_000).contains(&written),
        "{written}: a window, not all"
    );
    assert!(net.received(1, there).is_empty());
    net.world.resume(1);
    net.world.run_for(10_000);
    assert_eq!(net.received_bytes(1, there).len(), 2_000_000);
    assert_eq!(net.lost_at(0, here), None);
}

#[test]
fn a_suspended_process_answers_no_dial() {
    let mut net = Net::plain(2);
    net.world.pause(1);
    let start = net.world.now();
    let dial = net.dial(0, 1);
    net.world.run_for(10_000);
    assert_eq!(net.failed_at(0, dial), Some(start + ms(5_000)));
}

#[test]
fn closing_writes_what_was_sent() {
    let mut net = Net::plain(2);
    net.world.set_bandwidth(0, Bandwidth::mbit(8, 8));
    let (here, there) = net.connect(0, 1);
    let start = net.world.now();
    net.send(0, here, vec![3; 200_000]);
    net.act(0, Action::Close { link: here });
    net.world.run_for(20_000);
    assert_eq!(net.received_bytes(1, there).len(), 200_000);
    assert_eq!(net.lost_at(1, there), Some(start + ms(200 + 50)));
    assert!(net.world.connections(0).is_empty() && net.world.connections(1).is_empty());
}

#[test]
fn a_restarted_host_resets_connections_of_its_former_life() {
    let mut net = Net::plain(2);
    let (here, _) = net.connect(0, 1);
    net.world.crash(1);
    net.world.run_for(1_000);
    net.start(1);
    net.world.run_for(1_000);
    assert_eq!(
        net.lost_at(0, here),
        None,
        "nothing was sent, nothing is known"
    );
    let start = net.world.now();
    net.send(0, here, "there?");
    net.world.run_for(1_000);
    assert_eq!(net.lost_at(0, here), Some(start + ms(100)));
    assert!(net.seen(1).is_empty());
}

#[test]
fn both_ends_hear_of_a_reset_link() {
    let mut net = Net::plain(2);
    let (here, there) = net.connect(0, 1);
    net.world.reset_link(0, here);
    assert!(net.lost_at(0, here).is_some() && net.lost_at(1, there).is_some());
}

#[test]
fn a_half_open_link_is_found_out_by_sending() {
    let mut net = Net::plain(2);
    let (here, there) = net.connect(0, 1);
    net.world.half_open(1, there);
    net.world.run_for(5_000);
    assert!(net.lost_at(1, there).is_some() && net.lost_at(0, here).is_none());
    net.send(0, here, "still there?");
    let start = net.world.now();
    net.world.run_for(1_000);
    assert_eq!(net.lost_at(0, here), Some(start + ms(100)));
}

/// Has a node's peer store a value under a key that begins with it, and delete one.
fn store(net: &mut Net, batch: u64, value: u8) {
    let put = StoreOp::Put {
        key: Bytes::copy_from_slice(&[value]),
        value: Bytes::copy_from_slice(&[value]),
    };
    let key = Bytes::copy_from_slice(&[value - 1]);
    let store = Action::Store {
        batch: BatchId(batch),
        namespace: Namespace::Overlay,
        ops: vec![put, StoreOp::Delete { key }],
    };
    net.act(0, store);
}

/// The values that are stored, of those below 16.
fn stored(net: &Net) -> Vec<u8> {
    let stored = net.world.stored(0);
    let has = |key: &u8| stored.get(Namespace::Overlay, &[*key]).is_some();
    (0..16).filter(has).collect()
}

#[test]
fn a_full_disk_takes_nothing_and_says_so() {
    let mut net = Net::plain(1);
    store(&mut net, 1, 7);
    assert!(stored(&net).is_empty(), "it takes a while");
    net.world.run_for(1_000);
    assert_eq!((stored(&net), net.seen(0).len()), (vec![7], 1));
    net.world.set_disk_full(0, true);
    store(&mut net, 2, 8);
    net.world.run_for(1_000);
    assert_eq!((stored(&net), net.seen(0).len()), (vec![7], 2));
    net.world.set_disk_full(0, false);
    net.world.run_for(1_000);
    assert_eq!(stored(&net), [7], "it is asked for again, or not at all");
    store(&mut net, 2, 8);
    net.world.run_for(1_000);
    assert_eq!((stored(&net), net.seen(0).len()), (vec![8], 3));
    let results = net
        .seen(0)
        .into_iter()
        .filter_map(|(_, input)| match input {
            Input::Stored { result, .. } => Some(result.is_ok()),
            _ => None,
        });
    assert_eq!(results.collect::<Vec<_>>(), [true, false, true]);
}

#[test]
fn a_process_that_dies_keeps_what_was_answered_and_nothing_else() {
    type Death = fn(&mut Net);
    let deaths: [Death; 2] = [|net| net.world.kill(0), |net| net.world.crash(0)];
    for dies in deaths {
        let mut net = Net::plain(1);
        store(&mut net, 1, 7);
        net.world.run_for(1_000);
        store(&mut net, 2, 9);
        dies(&mut net);
        net.start(0);
        net.world.run_for(1_000);
        assert_eq!((stored(&net), net.seen(0).len()), (vec![7], 0));
        net.world.kill(0);
        net.world.wipe(0);
        assert!(stored(&net).is_empty());
    }
}

#[test]
fn a_deadline_that_moves_is_kept_once() {
    let mut net = Net::plain(1);
    let deadline = |net: &mut Net, in_ms: u64| {
        net.world.call(0, |peer, now| {
            peer.deadline = Some(Time {
                mono: now.mono + ms(in_ms),
                ..now
            });
        });
    };
    deadline(&mut net, 500);
    deadline(&mut net, 100);
    deadline(&mut net, 300);
    net.world.run_for(1_000);
    let timeouts = &net.world.peer(0).expect("runs").timeouts;
    assert_eq!(
        timeouts
            .iter()
            .map(|at| at.since(net.zero[0]))
            .collect::<Vec<_>>(),
        [ms(300)]
    );
}
