use super::*;
use crate::base::interface::Action;
use crate::multicast::Multicast;
use crate::unicast::tests::{Network, Peer, TestLink};

/// 0 - 1 - 2 - 3 in a row, and 0 - 4 - 3 as a longer way.
const RING: [TestLink; 5] = [
    (0, 1, 2_000),
    (1, 2, 2_000),
    (2, 3, 2_000),
    (0, 4, 90_000),
    (4, 3, 90_000),
];

struct Echoing {
    network: Network,
    echoes: Vec<Echoes>,
    /// A relay that keeps what it should pass on.
    hole: Option<usize>,
}

impl Echoing {
    fn new(nodes: usize, links: &[TestLink]) -> Self {
        Self {
            network: Network::new(nodes, links),
            echoes: (0..nodes).map(|_| Echoes::default()).collect(),
            hole: None,
        }
    }

    fn at<T>(&mut self, node: usize, what: impl FnOnce(&mut Echoes, &mut Cx<'_>) -> T) -> T {
        let Peer { core, net, unicast } = &mut self.network.peers[node];
        let mut cx = Cx {
            core,
            net,
            multicast: &mut Multicast::default(),
            unicast,
        };
        what(&mut self.echoes[node], &mut cx)
    }

    fn ping(&mut self, to: usize) -> Result<u64, PingError> {
        let peer = self.network.key(to);
        self.at(0, |echoes, cx| echoes.begin(cx, peer))
    }

    /// Carries everything, answers included; gives the links crossed.
    fn carry(&mut self) -> Vec<(usize, usize)> {
        let mut crossed = Vec::new();
        loop {
            let before = crossed.len();
            for from in 0..self.echoes.len() {
                for (to, frame) in self.network.sent(from) {
                    crossed.push((from, to));
                    if self.hole == Some(to) {
                        continue;
                    }
                    if let Some(arrived) = self.network.receive(to, from, frame) {
                        self.at(to, |echoes, cx| echoes.on_arrived(cx, arrived));
                    }
                }
            }
            if crossed.len() == before {
                return crossed;
            }
        }
    }

    /// A second passes, and what is due is done.
    fn second(&mut self) {
        for node in 0..self.echoes.len() {
            let now = &mut self.network.peers[node].core.now;
            now.mono = now.mono + Micros::from_millis(RESEND_MS);
            self.at(node, Echoes::on_timeout);
        }
    }

    fn events(&mut self) -> Vec<Event> {
        let actions = &mut self.network.peers[0].core.actions;
        let mut events = Vec::new();
        for action in std::mem::take(actions) {
            match action {
                Action::Event(event) => events.push(event),
                action => actions.push_back(action),
            }
        }
        events
    }
}

#[test]
fn a_ping_is_answered_once() {
    let mut echoing = Echoing::new(5, &RING);
    let ping = echoing.ping(3).expect("in the view");
    for peer in &mut echoing.network.peers {
        peer.core.now.mono = peer.core.now.mono + Micros(70);
    }
    let crossed = echoing.carry();
    assert_eq!(crossed.len(), 6, "{crossed:?}");
    let peer = echoing.network.key(3);
    let pong = Event::Pong {
        ping,
        peer,
        round_trip_us: 70,
        hops: 3,
    };
    assert_eq!(echoing.events(), [pong]);
    echoing.second();
    assert!(echoing.carry().is_empty(), "nothing is sent again");
    assert_eq!(echoing.echoes[0].next_timeout(), None);
}

#[test]
fn a_relay_that_keeps_pings_is_avoided_after_two_resends() {
    let mut echoing = Echoing::new(5, &RING);
    echoing.hole = Some(2);
    let ping = echoing.ping(3).expect("in the view");
    for _ in 0..2 {
        assert_eq!(echoing.carry(), [(0, 1), (1, 2)]);
        echoing.second();
    }
    assert_eq!(echoing.carry(), [(0, 1), (1, 2)]);
    assert!(echoing.events().is_empty());
    echoing.second();
    assert_eq!(echoing.carry(), [(0, 4), (4, 3), (3, 4), (4, 0)]);
    let events = echoing.events();
    let [
        Event::Pong {
            ping: answered,
            hops: 2,
            ..
        },
    ] = events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!(answered, ping);
}

#[test]
fn one_path_after_another_is_avoided() {
    // Three ways of one relay each, and one of five.
    let short = [1, 2, 3].map(|relay| {
        let rtt = relay as u32 * 2_000;
        [(0, relay, rtt), (relay, 4, rtt)]
    });
    let row = [(0, 5), (5, 6), (6, 7), (7, 8), (8, 9), (9, 4)].map(|(a, b)| (a, b, 90_000));
    let mut echoing = Echoing::new(10, &[short.as_flattened(), &row].concat());
    echoing.hole = Some(4);
    echoing.ping(4).expect("in the view");
    let mut first = Vec::new();
    for _ in 0..SENDS {
        first.push(echoing.carry()[0].1);
        echoing.second();
    }
    assert_eq!(first, [1, 1, 1, 2, 1, 2, 1, 2]);
}

#[test]
fn a_peer_that_never_answers_is_told_as_lost() {
    let mut echoing = Echoing::new(5, &RING);
    echoing.hole = Some(3);
    let ping = echoing.ping(3).expect("in the view");
    for _ in 0..SENDS {
        assert!(echoing.events().is_empty());
        assert!(!echoing.carry().is_empty());
        echoing.second();
    }
    let peer = echoing.network.key(3);
    assert_eq!(echoing.events(), [Event::PingLost { ping, peer }]);
    assert_eq!(
        echoing.network.count(0, "echoes_repeated"),
        SENDS as u64 - 1
    );
    assert!(echoing.carry().is_empty());
}

#[test]
fn only_peers_of_the_view_are_pinged_and_not_too_many() {
    let mut echoing = Echoing::new(5, &RING);
    assert_eq!(echoing.ping(0), Err(PingError::OwnPeer));
    let stranger = PeerKey([9; 32]);
    let refused = echoing.at(0, |echoes, cx| echoes.begin(cx, stranger));
    assert_eq!(refused, Err(PingError::UnknownPeer(stranger)));
    let taken = (0..OWN_MAX + 5).filter(|_| echoing.ping(3).is_ok()).count();
    assert_eq!(taken, OWN_MAX);
    assert_eq!(echoing.ping(3), Err(PingError::TooMany));
}

#[test]
fn requests_are_answered_so_often_for_each_link_and_answers_never() {
    let mut echoing = Echoing::new(5, &RING);
    let from = echoing.network.key(0);
    let arrived = |link: u64, answer: bool| Arrived {
        from,
        link: LinkId(link),
        hops: 3,
        class: Class::Normal,
        avoid: Vec::new(),
        protocol: 1,
        body: Echo { answer, number: 7 }.encode(),
    };
    let mut take = |link: u64, answer: bool| {
        let arrived = arrived(link, answer);
        echoing.at(3, |echoes, cx| echoes.on_arrived(cx, arrived));
        echoing.network.sent(3).len()
    };
    assert_eq!(take(2, true), 0, "nobody asked");
    let answered: usize = (0..500).map(|_| take(2, false)).sum();
    assert_eq!(answered, ANSWERS_PER_SECOND as usize);
    assert_eq!(take(4, false), 1, "one link takes nothing from another");
    let count = |name| echoing.network.count(3, name);
    assert_eq!(count("echoes_unasked"), 1);
    assert_eq!(count("echoes_dropped"), 400);
}

#[test]
fn an_answer_of_another_peer_or_with_a_guessed_number_is_none() {
    let mut echoing = Echoing::new(5, &RING);
    echoing.ping(3).expect("in the view");
    let sent = echoing.network.sent(0);
    let (asked, _) = Echo::decode_with(&sent[0].1.body).expect("an echo");
    let mut take = |from: usize, number: u64, body: Option<&'static [u8]>| {
        let echo = Echo {
            answer: true,
            number,
        };
        let arrived = Arrived {
            from: echoing.network.key(from),
            link: LinkId(1),
            hops: 3,
            class: Class::Normal,
            avoid: Vec::new(),
            protocol: 1,
            body: body.map_or_else(|| echo.encode(), Into::into),
        };
        echoing.at(0, |echoes, cx| echoes.on_arrived(cx, arrived));
        echoing.events().len()
    };
    assert_eq!(take(4, asked.number, None), 0);
    assert_eq!(take(3, asked.number ^ 1, None), 0);
    assert_eq!(take(3, 0, Some(b"no echo")), 0);
    assert_eq!(take(3, asked.number, None), 1);
    assert_eq!(take(3, asked.number, None), 0, "told once");
    assert_eq!(echoing.network.count(0, "echoes_unreadable"), 1);
}
