//! `picture.json`: what the report draws, beyond the figures.

use serde::{Deserialize, Serialize};

/// Values kept of a distribution: every half percent of it, both ends included.
pub const QUANTILES: usize = 201;

/// What a run looked like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    /// Where each node is drawn, in a square of side 1: far apart where delays are long.
    pub places: Vec<[f32; 2]>,
    /// Nodes that do not behave.
    pub hostile: Vec<usize>,
    /// The overlay at some moments, in the order of time.
    pub moments: Vec<Moment>,
    /// How times are distributed, by group.
    pub curves: Vec<Curves>,
}

/// Which moment it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// Before anything is broken.
    Before,
    /// While the first fault is at work.
    During,
    /// At the end.
    After,
}

/// The overlay at one moment. Nodes go by number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Which.
    pub when: When,
    /// From moment 0, s.
    pub at_s: f64,
    /// Nodes with a peer.
    pub running: Vec<usize>,
    /// Nodes whose peer is gone.
    pub gone: Vec<usize>,
    /// Links that are up at both ends.
    pub links: Vec<[usize; 2]>,
    /// Whose tree is shown, and in which group.
    pub origin: Option<usize>,
    /// See `origin`.
    pub group: String,
    /// The links of that tree or mesh, as its origin computes it: who feeds, who is fed.
    pub feeds: Vec<[usize; 2]>,
    /// How many peers have 0, 1, 2 ... links.
    pub degrees: Vec<usize>,
    /// How many peers lie 0, 1, 2 ... links below that origin.
    pub depths: Vec<usize>,
}

/// Distributions of one group, each as [`QUANTILES`] ascending values at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// The group.
    pub group: String,
    /// From publication to delivery, ms.
    pub latency_ms: Vec<f64>,
    /// The direct one-way delay of the same pairs, ms.
    pub direct_ms: Vec<f64>,
    /// One over the other.
    pub stretch: Vec<f64>,
    /// How much later than a message's median delivery what was pulled came, ms.
    pub repair_ms: Vec<f64>,
}

/// Every half percent of ascending values.
pub fn quantiles<T: Copy>(values: &[T], of: impl Fn(T) -> f64) -> Vec<f64> {
    if values.len() <= QUANTILES {
        return values.iter().map(|value| of(*value)).collect();
    }
    (0..QUANTILES)
        .map(|step| of(values[step * (values.len() - 1) / (QUANTILES - 1)]))
        .collect()
}

/// How many of `sizes` are 0, 1, 2 ...
pub fn histogram(sizes: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut counts = Vec::new();
    for size in sizes {
        if counts.len() <= size {
            counts.resize(size + 1, 0);
        }
        counts[size] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_keep_both_ends() {
        let many: Vec<u32> = (0..10_000).collect();
        let kept = quantiles(&many, f64::from);
        assert_eq!(kept.len(), QUANTILES);
        assert_eq!((kept[0], kept[100], kept[200]), (0.0, 4_999.0, 9_999.0));
        assert_eq!(quantiles(&[3u32, 4], f64::from), [3.0, 4.0]);
    }

    #[test]
    fn a_histogram_counts_sizes() {
        assert_eq!(histogram([2, 0, 2, 3]), [1, 0, 2, 1]);
        assert!(histogram([]).is_empty());
    }
}
