//! Measures a mesh.

use std::time::Instant;

use hedgerow_topology::metrics::{Delivery, Pair, StretchTotal, deliver, shape_of};
use hedgerow_topology::model::{Effort as ModelEffort, InTurn, Model, Newcomer};
use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::{Class, LinkGraph, Mesh, Tree, redundant_mesh, shortest_path_tree};
use rand::seq::index::sample;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::matrix::Matrix;

#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) tree: TreeReport,
    pub(crate) mesh2: MeshReport,
    pub(crate) mesh3: MeshReport,
    pub(crate) degree_mean: f64,
    pub(crate) degree_max: usize,
    pub(crate) ring_links_missing: usize,
    pub(crate) rounds_to_quiet: usize,
    pub(crate) compute_us_per_tree: f64,
    pub(crate) coordinate_error_median: f64,
}

#[derive(Serialize)]
pub(crate) struct TreeReport {
    pub(crate) stretch_mean: f64,
    pub(crate) stretch_last: f64,
    pub(crate) rdp_median: f64,
    pub(crate) depth_max: u32,
    pub(crate) children_max: usize,
}

#[derive(Serialize)]
pub(crate) struct MeshReport {
    pub(crate) stretch_mean: f64,
    pub(crate) rmr: f64,
    pub(crate) reach_1pct: f64,
    pub(crate) reach_5pct: f64,
    pub(crate) reach_10pct: f64,
}

/// How much to measure.
pub(crate) struct Effort {
    pub(crate) origins: usize,
    pub(crate) trials: usize,
    pub(crate) seed: u64,
}

/// Peers over a matrix, with places on the ring and random links by lot.
pub(crate) fn model_of(
    matrix: &Matrix,
    seed: u64,
) -> Model<impl Fn(usize, usize) -> u32 + Sync + '_, impl FnMut() -> u64 + Sync> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let newcomers: Vec<Newcomer> = (0..matrix.peers())
        .map(|_| Newcomer {
            ring: rng.random(),
            seed: rng.random(),
        })
        .collect();
    Model::new(
        &newcomers,
        ModelEffort::default(),
        |a, b| matrix.rtt_us(a, b),
        move || rng.random(),
    )
}

pub(crate) fn measure(matrix: &Matrix, effort: &Effort) -> Report {
    let mut model = model_of(matrix, effort.seed);
    let rounds_to_quiet = model.settle(&InTurn);
    let graph = model.graph();
    let peers = graph.node_count();
    let count = effort.origins.clamp(1, peers);
    // Spread evenly over all peers.
    let origins: Vec<NodeIndex> = (0..count)
        .map(|index| NodeIndex::new(index * peers / count))
        .collect();
    #[allow(clippy::disallowed_methods)] // Measuring time is what it is for.
    let started = Instant::now();
    let trees: Vec<Tree> = origins
        .iter()
        .map(|&origin| shortest_path_tree(&graph, origin, Class::Normal))
        .collect();
    let compute_us_per_tree = started.elapsed().as_secs_f64() * 1e6 / trees.len() as f64;
    let shape = shape_of(&graph);
    Report {
        tree: measure_tree(matrix, &graph, &trees),
        mesh2: measure_mesh(matrix, &graph, &trees, 2, effort),
        mesh3: measure_mesh(matrix, &graph, &trees, 3, effort),
        degree_mean: shape.degree_mean,
        degree_max: shape.degree_max,
        ring_links_missing: model.ring_links_missing(),
        rounds_to_quiet,
        compute_us_per_tree,
        coordinate_error_median: model.coordinate_error_median(),
    }
}

fn pairs(matrix: &Matrix, origin: NodeIndex, delivery: &Delivery) -> Vec<Pair> {
    let arrivals = delivery.at_us.iter().enumerate();
    arrivals
        .filter(|&(peer, _)| peer != origin.index())
        .filter_map(|(peer, at)| {
            let direct_us = matrix.direct_us(origin.index(), peer);
            at.map(|delivery_us| Pair {
                delivery_us,
                direct_us,
            })
        })
        .collect()
}

fn measure_tree(matrix: &Matrix, graph: &LinkGraph, trees: &[Tree]) -> TreeReport {
    let mut stretch = StretchTotal::default();
    for tree in trees {
        let delivery = deliver(graph, &redundant_mesh(graph, tree.clone(), 1), |_| false);
        stretch.add_message(&pairs(matrix, tree.origin(), &delivery));
    }
    TreeReport {
        stretch_mean: stretch.mean(),
        stretch_last: stretch.last(),
        rdp_median: stretch.rdp_median(),
        depth_max: trees.iter().map(Tree::depth_max).max().unwrap_or(0),
        children_max: trees.iter().map(Tree::children_max).max().unwrap_or(0),
    }
}

fn measure_mesh(
    matrix: &Matrix,
    graph: &LinkGraph,
    trees: &[Tree],
    redundancy: u8,
    effort: &Effort,
) -> MeshReport {
    let meshes: Vec<Mesh> = trees
        .iter()
        .map(|tree| redundant_mesh(graph, tree.clone(), redundancy))
        .collect();
    let mut stretch = StretchTotal::default();
    let mut rmr = 0.0;
    for mesh in &meshes {
        let delivery = deliver(graph, mesh, |_| false);
        stretch.add_message(&pairs(matrix, mesh.tree().origin(), &delivery));
        rmr += delivery.rmr() / meshes.len() as f64;
    }
    MeshReport {
        stretch_mean: stretch.mean(),
        rmr,
        reach_1pct: reach(graph, &meshes, 0.01, effort),
        reach_5pct: reach(graph, &meshes, 0.05, effort),
        reach_10pct: reach(graph, &meshes, 0.10, effort),
    }
}

/// Share of living peers, the origin not counted, that get a message without any repair while
/// `share` of all others, drawn anew for every trial, are silently dead. Mean of trials, which go
/// round the origins.
pub(crate) fn reach(graph: &LinkGraph, meshes: &[Mesh], share: f64, effort: &Effort) -> f64 {
    let mut rng = ChaCha8Rng::seed_from_u64(effort.seed ^ 0xDEAD);
    let others = graph.node_count() - 1;
    let dead_count = ((others as f64 * share).round() as usize)
        .max(1)
        .min(others - 1);
    let mut total = 0.0;
    for trial in 0..effort.trials.max(1) {
        let mesh = &meshes[trial % meshes.len()];
        let mut is_dead = vec![false; graph.node_count()];
        for index in sample(&mut rng, others, dead_count) {
            // Skips the origin, which lives.
            let index = index + usize::from(index >= mesh.tree().origin().index());
            is_dead[index] = true;
        }
        let delivery = deliver(graph, mesh, |node| is_dead[node.index()]);
        let living = (others - dead_count).max(1);
        total += (delivery.reached - 1) as f64 / living as f64;
    }
    total / effort.trials.max(1) as f64
}
