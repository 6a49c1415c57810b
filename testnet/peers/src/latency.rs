//! Latencies: counted where messages come, passed between processes, pooled over rounds.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// For latencies in microseconds, to two digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000, 2).expect("valid bounds")
}

/// What a histogram has counted: latencies in microseconds, ascending, and how many each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latencies(Vec<(u64, u64)>);

impl From<&Histogram<u64>> for Latencies {
    fn from(histogram: &Histogram<u64>) -> Self {
        let recorded = histogram.iter_recorded();
        Self(
            recorded
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        )
    }
}

impl Latencies {
    /// Those of several runs together.
    pub fn pooled<'a>(runs: impl Iterator<Item = &'a Self>) -> Self {
        Self(runs.flat_map(|run| run.0.iter().copied()).collect())
    }

    /// The latency that this share of all does not exceed; `None` if there are none.
    pub fn quantile_us(&self, share: f64) -> Option<u64> {
        let mut histogram = histogram();
        for &(value, count) in &self.0 {
            histogram.saturating_record_n(value, count);
        }
        (!histogram.is_empty()).then(|| histogram.value_at_quantile(share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(values: impl IntoIterator<Item = u64>) -> Latencies {
        let mut histogram = histogram();
        for value in values {
            histogram.saturating_record(value);
        }
        Latencies::from(&histogram)
    }

    #[test]
    fn the_tail_of_pooled_runs_is_that_of_all_their_messages() {
        let calm = latencies(1..=100);
        let bad = latencies((1..=100).chain([127; 100]));
        assert_eq!(calm.quantile_us(0.5), Some(50));
        assert_eq!(
            Latencies::pooled([&calm, &calm, &calm, &bad].into_iter()).quantile_us(0.9),
            Some(127)
        );
        assert_eq!(Latencies::default().quantile_us(0.5), None);
    }

    #[test]
    fn what_is_passed_on_tells_the_same() {
        let values = (0..10_000).map(|number| number * number % 7_919 + 3);
        let mut histogram = histogram();
        values.for_each(|value| histogram.saturating_record(value));
        let json = serde_json::to_string(&Latencies::from(&histogram)).expect("JSON");
        let back: Latencies = serde_json::from_str(&json).expect("the same");
        for share in [0.5, 0.99, 0.999] {
            assert_eq!(
                back.quantile_us(share),
                Some(histogram.value_at_quantile(share))
            );
        }
    }
}
