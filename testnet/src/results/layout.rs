//! Where nodes are drawn: springs as long as delays, as Vivaldi places peers, but in the plane and
//! seen from outside; then whoever stands on another's feet is pushed aside.

use crate::sim::Random;

/// Rounds in which every node is pulled by some others.
const ROUNDS: u32 = 60;
/// Others that pull a node in one round.
const PULLS: usize = 8;
/// Up to so many nodes are pushed apart; beyond, the drawing is a cloud anyway.
const PUSHED_MAX: usize = 2_000;
/// Rounds of pushing.
const PUSHES: usize = 24;
/// Of the nodes, so many at each end of an axis may lie outside and are pulled in.
const OUTSIDE: f32 = 0.01;

/// Places in a square of side 1 for `nodes` nodes that are `delay` apart. Equal delays, equal
/// places.
pub fn places(nodes: usize, delay: impl Fn(usize, usize) -> f32) -> Vec<[f32; 2]> {
    let mut random = Random::new(nodes as u64, "layout");
    let unit = |random: &mut Random| random.below(1 << 20) as f32 / (1 << 20) as f32;
    let mut places: Vec<[f32; 2]> = (0..nodes)
        .map(|_| [unit(&mut random), unit(&mut random)])
        .collect();
    if nodes < 2 {
        return vec![[0.5, 0.5]; nodes];
    }
    let mean = mean_delay(nodes, &delay, &mut random);
    for round in 0..ROUNDS {
        // The first rounds find the shape, the last ones let it come to rest.
        let rate = 0.5 * (1.0 - round as f32 / ROUNDS as f32) + 0.02;
        for a in 0..nodes {
            for _ in 0..PULLS {
                let b = random.index(nodes);
                if a != b {
                    pull(&mut places, a, b, delay(a, b) / mean, rate);
                }
            }
        }
    }
    fit(&mut places);
    if nodes <= PUSHED_MAX {
        push_apart(&mut places);
        fit(&mut places);
    }
    places
}

fn mean_delay(nodes: usize, delay: &impl Fn(usize, usize) -> f32, random: &mut Random) -> f32 {
    let pairs = (0..256).map(|_| (random.index(nodes), random.index(nodes)));
    let some: Vec<f32> = pairs
        .filter(|(a, b)| a != b)
        .map(|(a, b)| delay(a, b))
        .collect();
    let mean = some.iter().sum::<f32>() / some.len().max(1) as f32;
    if mean > 0.0 { mean } else { 1.0 }
}

fn pull(places: &mut [[f32; 2]], a: usize, b: usize, length: f32, rate: f32) {
    let way = [places[b][0] - places[a][0], places[b][1] - places[a][1]];
    let distance = (way[0] * way[0] + way[1] * way[1]).sqrt().max(1e-6);
    let by = (distance - length) / distance * rate / 2.0;
    for axis in 0..2 {
        places[a][axis] += way[axis] * by;
        places[b][axis] -= way[axis] * by;
    }
}

fn push_apart(places: &mut [[f32; 2]]) {
    let room = 0.55 / (places.len() as f32).sqrt();
    for _ in 0..PUSHES {
        for a in 0..places.len() {
            for b in a + 1..places.len() {
                let way = [places[b][0] - places[a][0], places[b][1] - places[a][1]];
                if way[0].abs() >= room || way[1].abs() >= room {
                    continue;
                }
                let distance = (way[0] * way[0] + way[1] * way[1]).sqrt();
                if distance < room {
                    // Two at one point part in the direction that their numbers say.
                    let toward = if distance > 1e-6 {
                        [way[0] / distance, way[1] / distance]
                    } else {
                        let turn = (a + b) as f32;
                        [turn.cos(), turn.sin()]
                    };
                    let by = (room - distance) / 2.0;
                    for axis in 0..2 {
                        places[a][axis] -= toward[axis] * by;
                        places[b][axis] += toward[axis] * by;
                    }
                }
            }
        }
    }
}

/// Stretches each axis to the square; what lies far outside comes to its edge.
fn fit(places: &mut [[f32; 2]]) {
    for axis in 0..2 {
        let mut sorted: Vec<f32> = places.iter().map(|place| place[axis]).collect();
        sorted.sort_unstable_by(f32::total_cmp);
        let outside = (sorted.len() as f32 * OUTSIDE) as usize;
        let (low, high) = (sorted[outside], sorted[sorted.len() - 1 - outside]);
        let span = (high - low).max(1e-6);
        for place in places.iter_mut() {
            place[axis] = ((place[axis] - low) / span).clamp(0.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_regions_lie_apart_and_nobody_on_another() {
        let region = |node: usize| node % 2;
        let delay = |a, b| if region(a) == region(b) { 5.0 } else { 80.0 };
        let places = places(40, delay);
        let distance = |a: usize, b: usize| {
            let (a, b) = (places[a], places[b]);
            ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2)).sqrt()
        };
        let mean = |wanted: &dyn Fn(usize, usize) -> bool| {
            let pairs = (0..40).flat_map(|a| (0..40).map(move |b| (a, b)));
            let some: Vec<f32> = pairs
                .filter(|&(a, b)| a != b && wanted(a, b))
                .map(|(a, b)| distance(a, b))
                .collect();
            some.iter().sum::<f32>() / some.len() as f32
        };
        let near = mean(&|a, b| region(a) == region(b));
        let far = mean(&|a, b| region(a) != region(b));
        assert!(far > 1.5 * near, "{far} {near}");
        let closest = (0..40)
            .flat_map(|a| (0..a).map(move |b| (a, b)))
            .map(|(a, b)| distance(a, b))
            .fold(f32::MAX, f32::min);
        assert!(closest > 0.01, "{closest}");
    }

    #[test]
    fn few_nodes_and_no_delays_have_places_too() {
        assert!(places(0, |_, _| 1.0).is_empty());
        assert_eq!(places(1, |_, _| 1.0), [[0.5, 0.5]]);
        let all = places(5, |_, _| 0.0);
        assert!(all.iter().flatten().all(|at| (0.0..=1.0).contains(at)));
    }
}
