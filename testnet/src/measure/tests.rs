use super::*;
use bytes::Bytes;
use hedgerow_protocol::{Delivery, Headers, MessageId, PeerKey};

#[test]
fn percentiles_are_of_the_nearest_rank() {
    let spread = Spread::of((1..=100).rev().map(Micros).collect());
    assert_eq!(
        spread,
        Spread {
            count: 100,
            p50: Micros(50),
            p90: Micros(90),
            p99: Micros(99),
            max: Micros(100)
        }
    );
    assert_eq!(Spread::of(Vec::new()), Spread::default());
    assert_eq!(Spread::of(vec![Micros(7)]).p50, Micros(7));
}

#[test]
fn latency_stretch_and_repair_of_one_message() {
    let group = GroupName::new("news").expect("valid");
    let id = MessageId {
        origin: PeerKey([1; 32]),
        epoch: 1,
        seq: 1,
    };
    let mut journal = Journal::default();
    (0..4).for_each(|_| journal.add_node());
    journal.published(Micros(1_000), 0, &group, id, Bytes::new());
    let deliveries = [
        (1_000, 0, 0, Arrival::Local),
        (1_010, 1, 1, Arrival::Pushed),
        (1_040, 2, 2, Arrival::Pushed),
        (1_100, 3, 3, Arrival::Pulled),
    ];
    for (at, node, hops, arrival) in deliveries {
        let (payload, group) = (Bytes::new(), group.clone());
        let delivery = Delivery {
            group,
            id,
            published_at: 0,
            payload,
            headers: Headers::default(),
            hops,
            arrival,
        };
        journal.delivered(Micros(at), node, &delivery);
    }
    let measures = measure(&journal, &Scope::all(&group), |_, node| {
        Micros(node as u64 * 10)
    });
    assert_eq!(measures.published, 1);
    assert_eq!(measures.expected, 0, "nobody was told that it has joined");
    assert_eq!(measures.last_at, Micros(1_100));
    assert_eq!(measures.latency.max, Micros(100));
    assert_eq!(measures.latency.count, 3);
    assert!((measures.stretch_mean - 150.0 / 60.0).abs() < 1e-9);
    assert!((measures.stretch_last - 100.0 / 30.0).abs() < 1e-9);
    assert!((measures.rdp_median - 2.0).abs() < 1e-9);
    assert_eq!((measures.ldh_max, measures.repaired), (3, 1));
    assert_eq!(measures.repair.max, Micros(60));
}

#[test]
fn what_no_link_joins_is_not_asked_of_the_links() {
    let group = GroupName::new("news").expect("valid");
    let origin = PeerKey([1; 32]);
    let id = MessageId {
        origin,
        epoch: 1,
        seq: 1,
    };
    let mut journal = Journal::default();
    for node in 0..4 {
        journal.add_node();
        let joined = hedgerow_protocol::Event::Joined {
            group: group.clone(),
            from_neighbour: true,
        };
        journal.event(Micros(1), node, joined);
    }
    journal.published(Micros(1_000), 0, &group, id, Bytes::new());
    for (node, arrival) in [(0, Arrival::Local), (1, Arrival::Pushed)] {
        let delivery = Delivery {
            group: group.clone(),
            id,
            published_at: 0,
            payload: Bytes::new(),
            headers: Headers::default(),
            hops: 1,
            arrival,
        };
        journal.delivered(Micros(1_010), node, &delivery);
    }
    // Node 3 is cut off; node 2 is not, and lacks the message.
    let parts = [0, 0, 0, 1];
    let mut scope = Scope::all(&group);
    let counts = |scope: &Scope<'_>| {
        let measures = measure(&journal, scope, |_, _| Micros(1));
        (
            measures.expected,
            measures.joined,
            measures.joined_delivered,
        )
    };
    assert_eq!(counts(&scope), (4, 0, 0), "nothing is known of links");
    scope.parts = Some(&parts);
    assert_eq!(counts(&scope), (4, 3, 2));
}

#[test]
fn what_came_before_the_first_pull_is_reach_and_what_came_late_is_nothing() {
    let group = GroupName::new("news").expect("valid");
    let id = MessageId {
        origin: PeerKey([1; 32]),
        epoch: 1,
        seq: 1,
    };
    let mut journal = Journal::default();
    for node in 0..5 {
        journal.add_node();
        let joined = hedgerow_protocol::Event::Joined {
            group: group.clone(),
            from_neighbour: true,
        };
        journal.event(Micros(1), node, joined);
    }
    journal.published(Micros(1_000), 0, &group, id, Bytes::new());
    let deliveries = [
        (1_000, 0, Arrival::Local),
        (1_010, 1, Arrival::Pushed),
        (1_040, 2, Arrival::Pulled),
        // Pushed on by whom it had been pulled.
        (1_050, 3, Arrival::Pushed),
    ];
    for (at, node, arrival) in deliveries {
        let delivery = Delivery {
            group: group.clone(),
            id,
            published_at: 0,
            payload: Bytes::new(),
            headers: Headers::default(),
            hops: 1,
            arrival,
        };
        journal.delivered(Micros(at), node, &delivery);
    }
    let mut scope = Scope::all(&group);
    let measures = measure(&journal, &scope, |_, _| Micros(1));
    let counts = (measures.expected, measures.delivered, measures.reached);
    assert_eq!(counts, (5, 4, 2));
    scope.within = Some(Micros(40));
    let measures = measure(&journal, &scope, |_, _| Micros(1));
    let counts = (measures.expected, measures.delivered, measures.reached);
    assert_eq!(counts, (5, 3, 2));
    assert_eq!(measures.latency.max, Micros(40));
}

#[test]
fn messages_are_due_to_those_who_lived_on_for_a_while_though_they_died_later() {
    let group = GroupName::new("news").expect("valid");
    let second = |at: u64| Micros::from_millis(at * 1_000);
    let mut journal = Journal::default();
    for node in 0..3 {
        journal.add_node();
        let joined = hedgerow_protocol::Event::Joined {
            group: group.clone(),
            from_neighbour: true,
        };
        journal.event(Micros(1), node, joined);
    }
    let id = |seq| MessageId {
        origin: PeerKey([1; 32]),
        epoch: 1,
        seq,
    };
    // Node 1 gets the first and dies long after it, and soon after the second; node 0 dies
    // with its third on its lips.
    for (at, seq) in [(1, 1), (35, 2), (50, 3)] {
        journal.published(second(at), 0, &group, id(seq), Bytes::new());
    }
    for (node, seq) in [(0, 1), (0, 2), (0, 3), (1, 1), (2, 2)] {
        let delivery = Delivery {
            group: group.clone(),
            id: id(seq),
            published_at: 0,
            payload: Bytes::new(),
            headers: Headers::default(),
            hops: 1,
            arrival: Arrival::Pushed,
        };
        journal.delivered(second(51), node, &delivery);
    }
    journal.change(second(40), 1, Change::Stopped);
    journal.change(second(50), 0, Change::Stopped);
    let mut scope = Scope::all(&group);
    scope.survived = Some(second(30));
    let measures = measure(&journal, &scope, |_, _| Micros(1));
    // The first: all three, of whom node 2 lacks it. The second: node 2 alone. The third: nobody.
    assert_eq!((measures.expected, measures.delivered), (4, 3));
    scope.survived = None;
    let measures = measure(&journal, &scope, |_, _| Micros(1));
    assert_eq!(
        (measures.expected, measures.delivered),
        (3, 1),
        "to the end"
    );
}
