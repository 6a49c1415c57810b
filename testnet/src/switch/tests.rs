//! The switch as a queue: packets in, packets out, time given.

use super::*;
use etherparse::{Ipv4HeaderSlice, PacketBuilder, TcpHeaderSlice};

const MS: u64 = 1_000;

fn address(host: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 1, 1 + host as u8)
}

fn switch(latency_ms: u64) -> Switch {
    switch_with(|ways| ways.latency = Latency::constant_ms(latency_ms))
}

fn switch_with(change: impl FnOnce(&mut Ways)) -> Switch {
    let mut ways = Ways {
        latency: Latency::constant_ms(10),
        seed: 7,
        jitter: Micros(0),
        loss_ppm: 0,
    };
    change(&mut ways);
    Switch::new(ways, &[0, 1, 2, 3].map(address))
}

/// A datagram that says which it is.
fn packet(from: usize, to: usize, number: u32) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(address(from).octets(), address(to).octets(), 64).udp(1, 2);
    let mut packet = Vec::new();
    builder
        .write(&mut packet, &number.to_be_bytes())
        .expect("fits");
    packet
}

fn number(packet: &[u8]) -> u32 {
    let tail = packet[packet.len() - 4..].try_into().expect("four bytes");
    u32::from_be_bytes(tail)
}

/// All that comes out, with its time.
fn drain(switch: &mut Switch) -> Vec<(u64, usize, u32)> {
    let mut all = Vec::new();
    while let Some(due) = switch.next_due() {
        while let Some((to, packet)) = switch.poll(due) {
            all.push((due.0, to, number(&packet)));
        }
    }
    all
}

#[test]
fn a_packet_comes_after_its_delay_to_whom_it_names() {
    let mut switch = switch(10);
    switch.send(Micros(0), 0, &packet(0, 2, 1));
    switch.send(Micros(500), 1, &packet(1, 0, 2));
    assert_eq!(switch.poll(Micros(9_999)), None);
    assert_eq!(drain(&mut switch), [(10 * MS, 2, 1), (10 * MS + 500, 0, 2)]);
    let unknown = packet(0, 99, 3);
    switch.send(Micros(0), 0, &unknown);
    switch.send(Micros(0), 0, &[0x60, 1, 2]);
    switch.send(Micros(0), 0, &[]);
    assert_eq!(switch.next_due(), None);
}

#[test]
fn jitter_keeps_the_order_and_reordering_does_not() {
    let mut jittery = switch_with(|ways| ways.jitter = Micros(20 * MS));
    for number in 0..200 {
        jittery.send(Micros(u64::from(number) * 100), 0, &packet(0, 1, number));
    }
    let came: Vec<u32> = drain(&mut jittery)
        .iter()
        .map(|(.., number)| *number)
        .collect();
    assert!(came.is_sorted());
    let mut reordering = switch(10);
    let way = Way {
        late_ppm: 300_000,
        late: Micros(50 * MS),
        ..Way::default()
    };
    reordering.set_way(1, way);
    for number in 0..200 {
        reordering.send(Micros(u64::from(number) * 100), 0, &packet(0, 1, number));
    }
    let came: Vec<u32> = drain(&mut reordering)
        .iter()
        .map(|(.., number)| *number)
        .collect();
    assert_eq!(came.len(), 200);
    assert!(!came.is_sorted());
}

/// Lengths of runs of lost packets among `sent` from host 0 to 1.
fn runs_of_losses(switch: &mut Switch, sent: u32) -> Vec<u32> {
    for number in 0..sent {
        switch.send(Micros(0), 0, &packet(0, 1, number));
    }
    let mut got = vec![false; sent as usize];
    for (.., number) in drain(switch) {
        got[number as usize] = true;
    }
    let runs = got.chunk_by(|a, b| a == b).filter(|run| !run[0]);
    runs.map(|run| run.len() as u32).collect()
}

#[test]
fn losses_have_their_share_alone_or_in_runs() {
    let mut independent = switch_with(|ways| ways.loss_ppm = 100_000);
    let runs = runs_of_losses(&mut independent, 20_000);
    let lost: u32 = runs.iter().sum();
    assert!((1_800..2_200).contains(&lost), "{lost}");
    let mut bursty = switch(10);
    let way = Way {
        loss_ppm: 100_000,
        loss_again_ppm: 900_000,
        ..Way::default()
    };
    bursty.set_way(0, way);
    let runs = runs_of_losses(&mut bursty, 20_000);
    let lost: u32 = runs.iter().sum();
    let mean = f64::from(lost) / runs.len() as f64;
    assert!((1_500..2_500).contains(&lost), "{lost}");
    assert!((8.0..12.0).contains(&mean), "{mean}");
}

/// 20 % each for the network and for both ends are 49 %, and not 20.
#[test]
fn what_the_network_and_both_ends_lose_adds_up() {
    let mut switch = switch_with(|ways| ways.loss_ppm = 200_000);
    let way = Way {
        loss_ppm: 200_000,
        ..Way::default()
    };
    switch.set_way(0, way);
    switch.set_way(1, way);
    let lost: u32 = runs_of_losses(&mut switch, 20_000).iter().sum();
    assert!((9_400..10_100).contains(&lost), "{lost}");
}

#[test]
fn packets_come_twice_or_altered() {
    let mut switch = switch(10);
    let way = Way {
        twice_ppm: 1_000_000,
        altered_ppm: 1_000_000,
        ..Way::default()
    };
    switch.set_way(0, way);
    let sent = packet(0, 1, 5);
    switch.send(Micros(0), 0, &sent);
    let copies: Vec<(usize, Bytes)> = std::iter::from_fn(|| switch.poll(Micros(10 * MS))).collect();
    assert_eq!(copies.len(), 2);
    let differing = sent.iter().zip(&copies[0].1).filter(|(a, b)| a != b);
    assert_eq!(differing.count(), 1);
    assert_eq!(copies[0].1[..20], sent[..20], "the IP header stays");
}

#[test]
fn lines_carry_so_much_let_little_wait_and_drop_the_rest() {
    let mut switch = switch(0);
    // A packet of 32 bytes takes 32 ms.
    let line = Bandwidth {
        up: Some(1_000),
        down: None,
    };
    switch.set_bandwidth(0, line);
    switch.send(Micros(0), 0, &packet(0, 1, 0));
    switch.send(Micros(0), 0, &packet(0, 2, 1));
    switch.send(Micros(0), 3, &packet(3, 2, 2));
    assert_eq!(
        drain(&mut switch),
        [(0, 2, 2), (32 * MS, 1, 0), (64 * MS, 2, 1)]
    );
    let narrow = Bandwidth {
        up: None,
        down: Some(1_000_000),
    };
    switch.set_bandwidth(3, narrow);
    let start = Micros(1_000_000);
    for number in 0..20_000 {
        switch.send(start, 1, &packet(1, 3, number));
    }
    let came = drain(&mut switch);
    // 200 ms of waiting, at 32 us each.
    assert!((6_200..6_300).contains(&came.len()), "{}", came.len());
    assert_eq!(switch.dropped() + came.len() as u64, 20_000);
    assert!(
        came.last()
            .is_some_and(|(at, ..)| *at <= start.0 + 201 * MS)
    );
}

#[test]
fn partitions_cuts_and_silence_keep_packets_out_until_they_end() {
    let mut switch = switch(10);
    let reach = |switch: &mut Switch, from: usize, to: usize| {
        switch.send(Micros(0), from, &packet(from, to, 0));
        !drain(switch).is_empty()
    };
    switch.partition(&[vec![0], vec![1, 2]]);
    assert!(!reach(&mut switch, 0, 1) && !reach(&mut switch, 1, 0));
    assert!(reach(&mut switch, 1, 2) && reach(&mut switch, 0, 3) && reach(&mut switch, 3, 1));
    switch.partition(&[vec![0, 1], vec![2]]);
    assert!(!reach(&mut switch, 0, 1), "the first partition still holds");
    assert!(!reach(&mut switch, 1, 2), "and so does the second");
    switch.heal();
    assert!(reach(&mut switch, 0, 1) && reach(&mut switch, 1, 2));
    switch.cut_one_way(&[0], &[1]);
    assert!(!reach(&mut switch, 0, 1) && reach(&mut switch, 1, 0));
    switch.heal();
    switch.cut_pair(2, 1, true);
    assert!(!reach(&mut switch, 1, 2) && !reach(&mut switch, 2, 1));
    switch.cut_pair(1, 2, false);
    assert!(reach(&mut switch, 1, 2));
    // What is on its way to a host that falls silent does not come.
    switch.send(Micros(0), 0, &packet(0, 1, 0));
    switch.silence(1, true);
    assert!(drain(&mut switch).is_empty() && !reach(&mut switch, 1, 0));
    switch.silence(1, false);
    assert!(reach(&mut switch, 1, 0));
}

#[test]
fn ways_between_sets_become_longer() {
    let mut switch = switch(10);
    switch.slow_between(Some((&[vec![0], vec![1]], Micros(90 * MS))));
    switch.send(Micros(0), 0, &packet(0, 1, 1));
    switch.send(Micros(0), 0, &packet(0, 2, 2));
    assert_eq!(drain(&mut switch), [(10 * MS, 2, 2), (100 * MS, 1, 1)]);
    switch.slow_between(Some((&[vec![0, 2], vec![1]], Micros(20 * MS))));
    switch.send(Micros(0), 0, &packet(0, 1, 1));
    assert_eq!(drain(&mut switch), [(120 * MS, 1, 1)], "both of them");
    switch.slow_between(None);
    switch.send(Micros(MS), 1, &packet(1, 0, 3));
    assert_eq!(drain(&mut switch), [(11 * MS, 0, 3)]);
}

fn segment(from: usize, to: usize, sequence: u32, acknowledged: u32) -> Vec<u8> {
    let builder = PacketBuilder::ipv4(address(from).octets(), address(to).octets(), 64)
        .tcp(4001, 4002, sequence, 1_000)
        .ack(acknowledged);
    let mut packet = Vec::new();
    builder.write(&mut packet, b"data").expect("fits");
    packet
}

fn resets(switch: &mut Switch) -> Vec<(usize, u32)> {
    let mut all = Vec::new();
    while let Some((to, packet)) = switch.poll(Micros(0)) {
        let ip = Ipv4HeaderSlice::from_slice(&packet).expect("IPv4");
        let tcp = TcpHeaderSlice::from_slice(&packet[ip.slice().len()..]).expect("TCP");
        assert!(tcp.rst());
        assert_eq!(ip.destination_addr(), address(to));
        all.push((to, tcp.sequence_number()));
    }
    all
}

#[test]
fn a_connection_is_reset_with_the_numbers_that_its_ends_expect() {
    let mut switch = switch(10);
    switch.reset(Micros(0), 1, 0, Which::Both);
    switch.send(Micros(0), 0, &segment(0, 1, 77, 99));
    assert_eq!(resets(&mut switch), [(1, 77), (0, 99)]);
    assert_eq!(switch.next_due(), None, "the segment itself is gone");
    switch.send(Micros(0), 0, &segment(0, 2, 1, 1));
    assert_eq!(switch.next_due(), Some(Micros(10 * MS)), "others' are not");
    drain(&mut switch);
    switch.reset(Micros(0), 0, 1, Which::Only(0));
    switch.send(Micros(0), 0, &segment(0, 1, 5, 6));
    switch.send(Micros(0), 1, &segment(1, 0, 7, 8));
    assert_eq!(resets(&mut switch), [(0, 6), (0, 7)]);
    let later = Micros(3_000 * MS);
    switch.send(later, 1, &segment(1, 0, 7, 8));
    assert_eq!(
        switch.next_due(),
        Some(later + Micros(10 * MS)),
        "it is over"
    );
}
