//! Packets that get lost: streams show it as delay.

use crate::net::{Net, ms};
use crate::numbered;
use hedgerow_testnet::sim::Way;

#[test]
fn loss_delays_and_neither_loses_nor_reorders() {
    let mut net = Net::new(2, 3, |network| network.loss_ppm = 50_000);
    let (here, there) = net.connect(0, 1);
    let start = net.world.now();
    for number in 0..1_000_u32 {
        net.send(0, here, number.to_be_bytes().to_vec());
        net.world.run_for(10);
    }
    net.world.run_for(10_000);
    assert_eq!(net.received_bytes(1, there), numbered(1_000));
    let sent = |number: usize| start + ms(10 * number as u64);
    let received = net.received(1, there);
    let late = received
        .iter()
        .enumerate()
        .filter(|(i, (at, _))| *at > sent(*i) + ms(50))
        .count();
    assert!(
        late > 30,
        "{late} of 1000 were late: lost ones and those behind them"
    );
    let longest = received
        .iter()
        .enumerate()
        .map(|(i, (at, _))| at.since(sent(i)))
        .max();
    assert!(
        longest >= Some(ms(250)),
        "{longest:?}: nothing followed, so a timer had to expire"
    );
}

/// 20 % each for the network, for losses at both ends and for what is altered at one are 59 %, and
/// not 20. Whatever gets lost is late; each packet has a way of its own.
#[test]
fn losses_of_the_network_and_of_both_ends_add_up() {
    let mut late = 0;
    for seed in 0..300 {
        let mut net = Net::new(2, seed, |_| {});
        let (here, there) = net.connect(0, 1);
        let way = Way {
            loss_ppm: 200_000,
            ..Way::default()
        };
        net.world.set_network(|network| network.loss_ppm = 200_000);
        net.world.set_way(0, way);
        net.world.set_way(
            1,
            Way {
                altered_ppm: 200_000,
                ..way
            },
        );
        let sent = net.world.now();
        net.send(0, here, b"x".to_vec());
        net.world.run_for(300_000);
        let received = net.received(1, there);
        late += u32::from(received[0].0 > sent + ms(50));
    }
    assert!((155..200).contains(&late), "{late} of 300");
}
