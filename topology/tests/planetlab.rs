//! Meshes built by their peers over real and synthetic matrices reach the goals.

#[path = "../examples/planetlab/matrix.rs"]
mod matrix;
#[path = "../examples/planetlab/report.rs"]
mod report;

use std::path::Path;

use hedgerow_topology::model::{InTurn, Lookers};
use hedgerow_topology::petgraph::algo::articulation_points::articulation_points;
use hedgerow_topology::petgraph::graph::NodeIndex;
use hedgerow_topology::{
    Class, is_connected, metrics::deliver, redundant_mesh, shortest_path_tree,
};
use matrix::Matrix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use report::{Effort, Report, measure, model_of};

const EFFORT: Effort = Effort {
    origins: 50,
    trials: 100,
    seed: 1,
};

/// Peers in `regions` regions on a plane, a few ms apart inside.
fn clustered(peers: usize, regions: usize, seed: u64) -> Matrix {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let places: Vec<(f64, f64)> = (0..regions)
        .map(|_| (rng.random_range(0.0..250.0), rng.random_range(0.0..150.0)))
        .collect();
    let homes: Vec<(usize, f64)> = (0..peers)
        .map(|_| (rng.random_range(0..regions), rng.random_range(0.3..6.0)))
        .collect();
    Matrix::from_fn(peers, |a, b| {
        let ((home_a, access_a), (home_b, access_b)) = (homes[a], homes[b]);
        let ((xa, ya), (xb, yb)) = (places[home_a], places[home_b]);
        ((xa - xb).powi(2) + (ya - yb).powi(2)).sqrt() + access_a + access_b
    })
}

/// Peers anywhere on a plane 200 ms wide.
fn geometric(peers: usize, seed: u64) -> Matrix {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let places: Vec<(f64, f64)> = (0..peers)
        .map(|_| (rng.random_range(0.0..200.0), rng.random_range(0.0..200.0)))
        .collect();
    Matrix::from_fn(peers, |a, b| {
        let ((xa, ya), (xb, yb)) = (places[a], places[b]);
        ((xa - xb).powi(2) + (ya - yb).powi(2)).sqrt() + 1.0
    })
}

/// No geometry at all.
fn without_metric(peers: usize, seed: u64) -> Matrix {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Matrix::from_fn(peers, |_, _| rng.random_range(5.0..300.0))
}

/// What must hold on any matrix with more peers than links each.
fn check(name: &str, report: &Report, stretch_max: f64) {
    let line = serde_json::to_string(report).expect("a report serialises");
    println!("{name}: {line}");
    assert!(report.tree.stretch_mean <= stretch_max, "{name}: {line}");
    assert!(report.degree_max <= 12, "{name}: {line}");
    assert!(report.degree_mean <= 8.5, "{name}: {line}");
    assert_eq!(report.ring_links_missing, 0, "{name}: {line}");
    assert!(report.mesh2.rmr <= 1.0, "{name}: {line}");
    assert!(report.mesh2.reach_1pct >= 0.999, "{name}: {line}");
    assert!(report.mesh2.reach_5pct >= 0.99, "{name}: {line}");
    assert!(report.mesh3.rmr <= 2.0, "{name}: {line}");
    assert!(report.mesh3.reach_10pct >= 0.99, "{name}: {line}");
}

/// Where the environment names a matrix of real round-trip times. The bounds are those that the
/// matrix of `PlanetLab` meets (docs/performance.md); without one the test says so and checks nothing,
/// for no synthetic matrix has the same structure: see the tests below for those.
#[test]
fn the_goals_hold_on_a_real_matrix() {
    let Some(path) = std::env::var_os("HEDGEROW_MATRIX") else {
        println!("skipped: HEDGEROW_MATRIX names no matrix of round-trip times");
        return;
    };
    let matrix = Matrix::read(Path::new(&path)).expect("HEDGEROW_MATRIX is a matrix");
    let report = measure(&matrix, &EFFORT);
    check("real matrix", &report, 1.25);
    assert!(report.mesh2.stretch_mean <= 1.25);
    assert!(report.coordinate_error_median < 0.25);
}

#[test]
fn the_goals_hold_in_regions() {
    check("8 regions", &measure(&clustered(250, 8, 1), &EFFORT), 1.3);
    check(
        "60 regions",
        &measure(&clustered(250, 60, 2), &EFFORT),
        1.35,
    );
}

/// Nobody is near anybody in particular there, the mean way is 52 ms, and every hop costs one: no
/// eight links a peer come near 1.25.
#[test]
fn the_goals_hold_on_a_plane() {
    check("plane", &measure(&geometric(250, 3), &EFFORT), 1.4);
}

#[test]
fn the_goals_hold_without_a_metric() {
    check("no metric", &measure(&without_metric(200, 4), &EFFORT), 1.3);
}

#[test]
fn a_handful_of_peers_forms_a_mesh() {
    for peers in 2..=20 {
        for (kind, matrix) in [
            ("clustered", clustered(peers, 3, 5)),
            ("geometric", geometric(peers, 6)),
            ("without metric", without_metric(peers, 7)),
        ] {
            let mut model = model_of(&matrix, 9);
            let rounds = model.settle(&InTurn);
            let graph = model.graph();
            let name = format!("{peers} peers, {kind}, {rounds} rounds");
            assert!(rounds <= 20, "{name}");
            assert!(is_connected(&graph), "{name}");
            assert_eq!(model.ring_links_missing(), 0, "{name}");
            let degree_max = graph
                .node_indices()
                .map(|node| graph.neighbors(node).count())
                .max();
            assert!(degree_max <= Some(12), "{name}");
            assert!(articulation_points(&graph).is_empty(), "{name}");
            for origin in graph.node_indices() {
                let tree = shortest_path_tree(&graph, origin, Class::Normal);
                let mesh = redundant_mesh(&graph, tree, 2);
                for dead in graph.node_indices().filter(|&dead| dead != origin) {
                    let delivery = deliver(&graph, &mesh, |node| node == dead);
                    assert_eq!(delivery.reached, peers - 1, "{name}");
                }
            }
        }
    }
}

#[test]
fn no_single_death_cuts_off_anybody_on_a_settled_mesh() {
    let matrix = clustered(120, 20, 8);
    let mut model = model_of(&matrix, 2);
    model.settle(&InTurn);
    let graph = model.graph();
    assert!(articulation_points(&graph).is_empty());
    for origin in graph.node_indices().step_by(12) {
        let mesh = redundant_mesh(&graph, shortest_path_tree(&graph, origin, Class::Normal), 2);
        for dead in graph.node_indices().filter(|&dead| dead != origin) {
            assert_eq!(deliver(&graph, &mesh, |node| node == dead).reached, 119);
        }
    }
}

/// Looks at the last first.
struct Backwards;

impl Lookers for Backwards {
    fn all<T: Send>(&self, peers: &[usize], look: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let mut seen: Vec<T> = peers.iter().rev().map(|&peer| look(peer)).collect();
        seen.reverse();
        seen
    }
}

#[test]
fn whoever_looks_first_builds_the_same_mesh_and_what_has_come_to_rest_stays() {
    let matrix = geometric(200, 1);
    let (mut one, mut other) = (model_of(&matrix, 3), model_of(&matrix, 3));
    assert_eq!(one.settle(&InTurn), other.settle(&Backwards));
    assert_eq!(one.pairs(), other.pairs());
    one.rest(10, 50, &InTurn);
    other.rest(10, 50, &Backwards);
    assert_eq!(one.pairs(), other.pairs());
    let resting = one.pairs();
    one.rest(0, 50, &InTurn);
    assert_eq!(one.pairs(), resting);
}

#[test]
fn the_same_seed_builds_the_same_mesh() {
    let edges = |seed| {
        let matrix = geometric(60, 1);
        let mut model = model_of(&matrix, seed);
        model.settle(&InTurn);
        let graph = model.graph();
        let edges: Vec<(NodeIndex, NodeIndex)> = graph
            .edge_indices()
            .filter_map(|edge| graph.edge_endpoints(edge))
            .collect();
        edges
    };
    assert_eq!(edges(1), edges(1));
    assert_ne!(edges(1), edges(2));
}

#[test]
fn bad_matrices_are_refused_with_place_and_remedy() {
    let problem = |text: &str| Matrix::parse(text).err().map(|error| error.to_string());
    assert_eq!(problem("0\t1\n1\t0\n"), None);
    assert_eq!(problem("0,1\r\n1,0\r\n"), None);
    let is = |text: &str, place: &str, part: &str| {
        let message = problem(text).expect("it is refused");
        assert!(
            message.starts_with(place) && message.contains(part),
            "{message}"
        );
    };
    is("", "line 1, column 1", "0 rows");
    is("0,1\n1,x\n", "line 2, column 2", "`x` is not a number");
    is(
        "0,1,2\n1,0\n",
        "line 1, column 3",
        "3 numbers in a matrix of 2 rows",
    );
    is("0,1\n\n1\n", "line 3, column 2", "1 numbers");
    is("0,NaN\n1,0\n", "line 1, column 2", "NaN ms");
    is("0,-4\n1,0\n", "line 1, column 2", "between 0 and 60000");
    assert!(Matrix::read(Path::new("/nowhere/matrix.tsv")).is_err());
}
