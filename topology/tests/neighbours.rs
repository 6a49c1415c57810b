//! Whom a peer wants links to.

use std::collections::BTreeSet;

use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::{
    Admission, Candidate, Coordinate, Limits, LinkGraph, LinkUse, PeerNode, Reason, Side,
    Situation, admit, confirms_ring, group_wants, is_closable, ring_walk, shed, wants,
};
use proptest::prelude::*;

fn situation(me: usize, candidates: &[Candidate]) -> Situation<'_> {
    Situation {
        me,
        candidates,
        graph: None,
        cuts: None,
        degree: 8,
        random_seed: 3,
    }
}

/// Candidates on a line, `gap_ms` apart, ring positions in order of index.
fn on_a_line(peers: usize, gap_ms: f32) -> Vec<Candidate> {
    (0..peers)
        .map(|index| Candidate {
            ring: index as u64 * 1_000,
            coordinate: Coordinate {
                position: [index as f32 * gap_ms, 0.0, 0.0],
                height: 0.1,
                error: 0.1,
            },
            ..Candidate::default()
        })
        .collect()
}

fn wanted_for(situation: &Situation<'_>, reason: Reason) -> Option<usize> {
    wants(situation)
        .into_iter()
        .find(|want| want.reason == reason)
        .map(|want| want.peer)
}

#[test]
fn the_ring_walks_outward_over_the_unreachable() {
    let mut candidates = on_a_line(10, 5.0);
    let walk = |candidates: &[Candidate], side| -> Vec<usize> {
        ring_walk(&situation(7, candidates), side).collect()
    };
    assert_eq!(
        walk(&candidates, Side::Successor),
        [8, 9, 0, 1, 2, 3, 4, 5, 6]
    );
    assert_eq!(
        walk(&candidates, Side::Predecessor),
        [6, 5, 4, 3, 2, 1, 0, 9, 8]
    );
    for dead in [8, 9, 6] {
        candidates[dead].reachable = false;
    }
    assert_eq!(
        wanted_for(&situation(7, &candidates), Reason::RingSuccessor),
        Some(0)
    );
    assert_eq!(
        wanted_for(&situation(7, &candidates), Reason::RingPredecessor),
        Some(5)
    );
    // A live link counts even while dials back off; the lost count for the ring and nothing else.
    candidates[9].linked = Some(1_000);
    candidates[5].in_view = false;
    assert_eq!(
        wanted_for(&situation(7, &candidates), Reason::RingSuccessor),
        Some(9)
    );
    assert_eq!(
        wanted_for(&situation(7, &candidates), Reason::RingPredecessor),
        Some(5)
    );
}

#[test]
fn equal_ring_positions_stand_in_order_of_key() {
    let mut candidates = on_a_line(5, 5.0);
    for candidate in &mut candidates {
        candidate.ring = 4;
    }
    let walk: Vec<usize> = ring_walk(&situation(2, &candidates), Side::Successor).collect();
    assert_eq!(walk, [3, 4, 0, 1]);
    let walk: Vec<usize> = ring_walk(&situation(2, &candidates), Side::Predecessor).collect();
    assert_eq!(walk, [1, 0, 4, 3]);
}

#[test]
fn a_ring_claim_is_confirmed_up_to_the_first_link() {
    let mut candidates = on_a_line(10, 5.0);
    candidates[5].linked = Some(1);
    candidates[0].linked = Some(1);
    let confirmed: Vec<usize> = (0..10)
        .filter(|&peer| confirms_ring(&situation(2, &candidates), peer))
        .collect();
    assert_eq!(confirmed, [0, 1, 3, 4, 5]);
    assert!(!confirms_ring(&situation(2, &candidates), 99));
}

#[test]
fn two_peers_want_one_link() {
    let candidates = on_a_line(2, 5.0);
    let wants = wants(&situation(0, &candidates));
    assert_eq!(wants.len(), 1);
    assert_eq!((wants[0].peer, wants[0].reason), (1, Reason::RingSuccessor));
}

#[test]
fn a_swap_for_a_nearer_peer_keeps_the_old_link_until_the_new_one_lives() {
    let mut candidates = on_a_line(40, 10.0);
    candidates[30].linked = Some(100_000);
    candidates[19].linked = Some(10_000);
    candidates[21].linked = Some(10_000);
    // 19 and 21 are of the ring, 22 is held as the nearest beside them.
    let mine = situation(20, &candidates);
    assert!(wants(&mine).iter().all(|want| want.swap_for.is_none()));

    let mut candidates = on_a_line(40, 10.0);
    candidates[30].linked = Some(100_000);
    candidates
        .iter_mut()
        .enumerate()
        .for_each(|(i, c)| c.ring = (i as u64 * 7 % 40) * 100);
    let chosen = wants(&situation(20, &candidates));
    let swap = chosen
        .iter()
        .find(|want| want.swap_for.is_some())
        .expect("a nearer one is known");
    assert_eq!((swap.peer, swap.swap_for), (19, Some(30)));
    assert!(
        chosen
            .iter()
            .any(|want| want.peer == 30 && want.swap_for.is_none())
    );
    // Having measured that it is not nearer after all ends the search there.
    candidates[19].measured = Some(99_000);
    let chosen = wants(&situation(20, &candidates));
    assert!(
        chosen
            .iter()
            .all(|want| (want.peer, want.swap_for) != (19, Some(30)))
    );
}

#[test]
fn a_live_link_satisfies_its_shell() {
    let candidates = on_a_line(100, 3.0);
    let all = wants(&situation(50, &candidates));
    let mut linked = candidates.clone();
    for want in &all {
        linked[want.peer].linked = Some(
            candidates[50]
                .coordinate
                .distance_us(&candidates[want.peer].coordinate),
        );
    }
    let again = wants(&situation(50, &linked));
    assert!(
        again.iter().all(|want| linked[want.peer].linked.is_some()),
        "{again:?}"
    );
}

#[test]
fn group_wants_prefer_links_that_exist() {
    let mut candidates = on_a_line(60, 5.0);
    candidates[24].linked = Some(30_000);
    let members: Vec<bool> = (0..60).map(|peer| peer % 2 == 0).collect();
    let chosen = group_wants(&situation(30, &candidates), &members);
    let peers: Vec<(usize, Reason)> = chosen.iter().map(|want| (want.peer, want.reason)).collect();
    let expected = [
        (32, Reason::RingSuccessor),
        (28, Reason::RingPredecessor),
        (24, Reason::Nearest),
    ];
    assert_eq!(peers, expected);
}

/// In one room all are some microseconds away: coordinates say 0 to 200, links 250, for RTTs are
/// stated in steps.
#[test]
fn where_all_are_equally_near_a_group_wants_no_other_links() {
    let mut candidates = on_a_line(20, 0.01);
    for peer in [12, 14, 17, 19] {
        candidates[peer].linked = Some(250);
    }
    for peer in [4, 6] {
        // The ring's.
        candidates[peer].linked = Some(250);
    }
    let members = vec![true; 20];
    let dialled = |candidates: &[Candidate]| -> Vec<usize> {
        let wants = group_wants(&situation(5, candidates), &members);
        let peers = wants.into_iter().map(|want| want.peer);
        peers
            .filter(|&peer| candidates[peer].linked.is_none())
            .collect()
    };
    assert_eq!(dialled(&candidates), []);
    candidates[4].linked = Some(1_500);
    candidates[6].linked = Some(1_500);
    for peer in [12, 14, 17, 19] {
        candidates[peer].linked = Some(1_500);
    }
    assert_ne!(dialled(&candidates), [], "a hop's worth further away");
}

#[test]
fn a_random_link_stays_while_others_are_full_now_and_then() {
    let mut candidates = on_a_line(400, 5.0);
    let first = wanted_for(&situation(50, &candidates), Reason::Random(0)).expect("somebody");
    candidates[first].full = true;
    let second = wanted_for(&situation(50, &candidates), Reason::Random(0)).expect("somebody");
    assert_ne!(second, first, "a full peer would refuse");
    candidates[second].linked = Some(50_000);
    candidates[first].full = false;
    let is_wanted = |candidates: &[Candidate], peer: usize| {
        let wants = wants(&situation(50, candidates));
        wants.iter().any(|want| want.peer == peer)
    };
    assert!(is_wanted(&candidates, second) && !is_wanted(&candidates, first));
    // But not any link will do.
    candidates[second].linked = None;
    let near = [48, 49, 51, 52];
    for peer in near {
        candidates[peer].linked = Some(10_000);
    }
    assert!(is_wanted(&candidates, first));
}

/// A search that is still to be made costs no link: what it finds may be no better.
#[test]
fn a_live_link_keeps_its_place_until_another_takes_it() {
    let mut candidates = on_a_line(60, 10.0);
    let links = [2, 29, 31, 55, 5];
    for peer in links {
        candidates[peer].linked = Some(10_000 * (peer.abs_diff(30)) as u32);
    }
    let mut graph = LinkGraph::default();
    for _ in &candidates {
        graph.add_node(PeerNode { capacity: 12 });
    }
    for peer in links {
        graph.add_edge(NodeIndex::new(30), NodeIndex::new(peer), 51_000);
    }
    let mut situation = situation(30, &candidates);
    situation.graph = Some(&graph);
    situation.degree = links.len();
    let wants = wants(&situation);
    assert!(
        wants
            .iter()
            .any(|want| candidates[want.peer].linked.is_none())
    );
    for peer in links {
        assert!(
            wants.iter().any(|want| want.peer == peer),
            "{peer}: {wants:?}"
        );
    }
}

fn link(peer: usize, mine: Option<Reason>, theirs: Option<Reason>, rtt_us: u32) -> LinkUse {
    LinkUse {
        peer,
        mine,
        theirs,
        is_bridge: false,
        is_long_known: false,
        crowd: 0,
        own_dial: false,
        rtt_us,
    }
}

#[test]
fn a_full_peer_sheds_the_weakest_but_no_ring_link_and_no_bridge() {
    let ring = Some(Reason::RingPredecessor);
    let mut links = vec![
        link(0, ring, None, 900),
        link(1, None, ring, 900),
        link(2, Some(Reason::Path), Some(Reason::Random(0)), 900),
        link(3, None, Some(Reason::Shell(1)), 500),
        link(4, Some(Reason::Shell(2)), None, 700),
        LinkUse {
            is_bridge: true,
            ..link(5, None, None, 900)
        },
    ];
    assert_eq!(shed(&links), Some(4));
    links[4].own_dial = true;
    assert_eq!(
        shed(&links),
        Some(3),
        "own dials stay while they are at most half"
    );
    links.push(link(6, None, None, 1));
    assert_eq!(shed(&links), Some(6));
    assert!(is_closable(&links[6]) && !is_closable(&links[5]) && !is_closable(&links[1]));
    assert_eq!(shed(&links[..2]), None);
}

#[test]
fn a_full_peer_sheds_a_crowd_first_and_no_link_of_a_peer_known_for_long() {
    let ring = Some(Reason::RingSuccessor);
    let of_crowd = |peer| LinkUse {
        crowd: 2,
        ..link(peer, None, ring, 1)
    };
    let links = [
        LinkUse {
            is_long_known: true,
            ..link(0, None, None, 900)
        },
        link(1, Some(Reason::Path), None, 900),
        link(2, None, ring, 900),
        of_crowd(3),
        of_crowd(4),
        of_crowd(5),
    ];
    assert_eq!(shed(&links), Some(3), "what it says of the ring is nothing");
    assert_eq!(shed(&links[..3]), Some(1));
    assert_eq!(shed(&links[..1]), None);
    assert!(is_closable(&links[0]), "it ends when nobody wants it");
}

#[test]
fn a_full_peer_takes_confirmed_ring_links_only() {
    let limits = Limits {
        accepted: 2,
        max_links: 3,
    };
    let path = Some(Reason::Path);
    let links = [
        link(0, path, None, 1),
        link(1, None, path, 9),
        link(2, path, path, 3),
    ];
    let ring = Reason::RingSuccessor;
    assert_eq!(
        admit(&links[..1], Reason::Path, false, limits),
        Admission::Accept
    );
    assert_eq!(
        admit(&links[..2], Reason::Path, true, limits),
        Admission::Refuse
    );
    assert_eq!(admit(&links[..2], ring, false, limits), Admission::Refuse);
    assert_eq!(
        admit(&links[..2], ring, true, limits),
        Admission::AcceptAndShed(1)
    );
    assert_eq!(admit(&links, ring, true, limits), Admission::Refuse);
}

/// Any bit pattern, as a record could carry it.
fn any_candidate() -> impl Strategy<Value = Candidate> {
    let coordinate =
        (any::<[f32; 3]>(), any::<f32>(), any::<f32>()).prop_map(|(position, height, error)| {
            Coordinate {
                position,
                height,
                error,
            }
        });
    let tame = (0f32..300.0, 0f32..300.0, 0f32..9.0).prop_map(|(x, y, height)| Coordinate {
        position: [x, y, 0.0],
        height,
        error: 0.3,
    });
    let place = prop_oneof![1 => coordinate, 4 => tame];
    let flags = (
        any::<bool>(),
        prop::bool::weighted(0.9),
        any::<bool>(),
        prop::bool::weighted(0.9),
    );
    let rtt = prop::option::weighted(0.2, any::<u32>());
    (
        0u64..50,
        place,
        rtt,
        prop::option::weighted(0.1, any::<u32>()),
        flags,
    )
        .prop_map(
            |(ring, coordinate, linked, measured, (wants_me, reachable, cooling, in_view))| {
                Candidate {
                    ring,
                    coordinate,
                    linked,
                    measured,
                    wants_me,
                    reachable,
                    cooling,
                    full: false,
                    busy: false,
                    in_view,
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn wants_bear_anything_and_stay_bounded(
        candidates in prop::collection::vec(any_candidate(), 0..60),
        links in prop::collection::vec((0usize..60, 0usize..60, any::<u32>()), 0..150),
        me in 0usize..60,
        degree in 0usize..14,
        random_seed: u64,
    ) {
        let mut graph = LinkGraph::default();
        for _ in &candidates {
            graph.add_node(PeerNode { capacity: 8 });
        }
        for (a, b, weight) in links {
            let ends = (NodeIndex::new(a), NodeIndex::new(b));
            if a != b && a.max(b) < candidates.len() && !graph.contains_edge(ends.0, ends.1) {
                graph.add_edge(ends.0, ends.1, weight);
            }
        }
        let mine = Situation { me, candidates: &candidates, graph: Some(&graph), cuts: None, degree, random_seed };
        let chosen = wants(&mine);
        prop_assert_eq!(&chosen, &wants(&mine));
        let peers: BTreeSet<usize> = chosen.iter().map(|want| want.peer).collect();
        prop_assert_eq!(peers.len(), chosen.len());
        prop_assert!(!peers.contains(&me));
        let dials = chosen.iter().filter(|want| {
            candidates[want.peer].linked.is_none() && want.reason != Reason::Repair
        });
        prop_assert!(dials.count() <= 2 + 2 + 4 + 2 + 1);
        for want in &chosen {
            let candidate = &candidates[want.peer];
            prop_assert!(candidate.linked.is_some() || candidate.reachable);
            let searched = candidate.linked.is_none() && want.reason.is_search();
            prop_assert!(!searched || (candidate.in_view && !candidate.cooling), "{want:?} {candidate:?}");
            if let Some(old) = want.swap_for {
                prop_assert!(peers.contains(&old) && candidates[old].linked.is_some());
            }
        }
        let members: Vec<bool> = candidates.iter().map(|candidate| candidate.ring % 2 == 0).collect();
        for want in group_wants(&mine, &members) {
            prop_assert!(members[want.peer]);
        }
    }
}
