//! How long trees, meshes and the choice of neighbours take at 1,000 and 10,000 peers.
//!
//! Goals: a tree in under 1 ms at 1,000 and under 10 ms at 10,000.

use criterion::{Criterion, criterion_group, criterion_main};
use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::{
    Candidate, Class, Coordinate, Cuts, LinkGraph, PeerNode, Situation, link_weight_us,
    redundant_mesh, shortest_path_tree, wants,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::hint::black_box;

/// Peers on a plane 100 ms wide, and their links: a ring, so that all are connected, and random
/// links up to 8 a peer.
fn field(peers: usize) -> (LinkGraph, Vec<Candidate>) {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut graph = LinkGraph::default();
    let mut candidates = Vec::new();
    for _ in 0..peers {
        graph.add_node(PeerNode { capacity: 12 });
        candidates.push(Candidate {
            ring: rng.random(),
            coordinate: Coordinate {
                position: [
                    rng.random_range(0.0..100.0),
                    rng.random_range(0.0..100.0),
                    0.0,
                ],
                height: 1.0,
                error: 0.2,
            },
            ..Candidate::default()
        });
    }
    let link = |graph: &mut LinkGraph, a: usize, b: usize| {
        let rtt = candidates[a]
            .coordinate
            .distance_us(&candidates[b].coordinate);
        let (a, b) = (NodeIndex::new(a), NodeIndex::new(b));
        if a != b && !graph.contains_edge(a, b) {
            graph.add_edge(a, b, link_weight_us(rtt, rtt));
        }
    };
    for peer in 0..peers {
        link(&mut graph, peer, (peer + 1) % peers);
        for _ in 0..3 {
            link(&mut graph, peer, rng.random_range(0..peers));
        }
    }
    for neighbour in graph.neighbors(NodeIndex::new(0)) {
        candidates[neighbour.index()].linked = Some(50_000);
    }
    (graph, candidates)
}

fn bench(criterion: &mut Criterion) {
    for peers in [1_000, 10_000] {
        let (graph, candidates) = field(peers);
        let origin = NodeIndex::new(peers / 2);
        for class in [Class::Normal, Class::Bulk] {
            let name = format!("tree_{class:?}/{peers}").to_lowercase();
            criterion.bench_function(&name, |bencher| {
                bencher.iter(|| shortest_path_tree(black_box(&graph), origin, class));
            });
        }
        let tree = shortest_path_tree(&graph, origin, Class::Normal);
        for redundancy in [2, 3] {
            let name = format!("mesh{redundancy}/{peers}");
            criterion.bench_function(&name, |bencher| {
                bencher.iter(|| redundant_mesh(black_box(&graph), tree.clone(), redundancy));
            });
        }
        let cuts = Cuts::of(&graph);
        criterion.bench_function(&format!("cuts/{peers}"), |bencher| {
            bencher.iter(|| Cuts::of(black_box(&graph)));
        });
        let situation = Situation {
            me: 0,
            candidates: &candidates,
            graph: Some(&graph),
            cuts: Some(&cuts),
            degree: 8,
            random_seed: 7,
        };
        criterion.bench_function(&format!("wants/{peers}"), |bencher| {
            bencher.iter(|| wants(black_box(&situation)));
        });
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
