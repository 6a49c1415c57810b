//! Round-trip times of a link: smoothed for timers, a quantised minimum for the record.

use crate::base::time::Micros;
use std::collections::VecDeque;

/// Advertised RTTs are multiples of this, microseconds, below 10 ms; a tenth above.
const QUANTUM_US: u64 = 250;

/// What is known of a link's RTT.
#[derive(Debug, Default)]
pub(crate) struct RttEstimator {
    /// Exponentially smoothed, as in TCP (RFC 6298, alpha 1/8).
    smoothed_us: Option<u64>,
    /// Candidates for the minimum of the window, ascending by value and time.
    minima: VecDeque<(Micros, u64)>,
    stated_us: Option<u32>,
}

impl RttEstimator {
    /// Takes in one measurement; says whether the stated value changed.
    pub(crate) fn measure(&mut self, now: Micros, rtt_us: u64, window: Micros) -> bool {
        // A minute is no RTT: a clock jumped.
        let rtt_us = rtt_us.clamp(1, 60_000_000);
        self.smoothed_us = Some(match self.smoothed_us {
            Some(smoothed) => (smoothed * 7 + rtt_us) / 8,
            None => rtt_us,
        });
        while self
            .minima
            .back()
            .is_some_and(|&(_, value)| value >= rtt_us)
        {
            self.minima.pop_back();
        }
        self.minima.push_back((now, rtt_us));
        while self.minima.len() > 1
            && self
                .minima
                .front()
                .is_some_and(|&(at, _)| now.since(at) > window)
        {
            self.minima.pop_front();
        }
        self.restate()
    }

    fn restate(&mut self) -> bool {
        let Some(&(_, minimum)) = self.minima.front() else {
            return false;
        };
        let quantised = quantise(minimum);
        // Hysteresis: a new statement only when it lies outside a tenth (or two quanta) of the
        // old, so that noise at a boundary moves no tree.
        let moved = self.stated_us.is_none_or(|stated| {
            let stated = u64::from(stated);
            stated.abs_diff(minimum) > (stated / 10).max(2 * QUANTUM_US)
        });
        if moved {
            self.stated_us = Some(quantised as u32);
        }
        moved
    }

    /// Smoothed, microseconds.
    pub(crate) fn smoothed_us(&self) -> Option<u64> {
        self.smoothed_us
    }

    /// What the record says, microseconds.
    pub(crate) fn stated_us(&self) -> Option<u32> {
        self.stated_us
    }

    /// How much longer the last measurement was than the shortest of the window, microseconds.
    pub(crate) fn late_us(&self) -> u64 {
        // The last candidate is the last measurement, for it makes all longer ones superfluous.
        let last = self.minima.back().map_or(0, |&(_, value)| value);
        last - self.minimum_us().unwrap_or(last)
    }

    /// The minimum of the window, microseconds.
    pub(crate) fn minimum_us(&self) -> Option<u64> {
        self.minima.front().map(|&(_, value)| value)
    }
}

fn quantise(rtt_us: u64) -> u64 {
    let step = if rtt_us < 10_000 { QUANTUM_US } else { 1_000 };
    (rtt_us.div_ceil(step) * step).max(QUANTUM_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Micros = Micros::from_millis(60_000);

    #[test]
    fn the_first_measurement_is_stated_quantised() {
        let mut rtt = RttEstimator::default();
        assert!(rtt.measure(Micros(0), 20_100, WINDOW));
        assert_eq!(rtt.stated_us(), Some(21_000));
    }

    #[test]
    fn load_does_not_move_the_statement_and_noise_neither() {
        let mut rtt = RttEstimator::default();
        rtt.measure(Micros(0), 20_000, WINDOW);
        for second in 1..50 {
            assert!(!rtt.measure(Micros(second * 1_000_000), 20_000 + second * 900, WINDOW));
        }
        assert!(!rtt.measure(Micros(50_000_000), 19_500, WINDOW));
    }

    #[test]
    fn a_longer_path_is_stated_once_the_window_has_passed() {
        let mut rtt = RttEstimator::default();
        rtt.measure(Micros(0), 20_000, WINDOW);
        let mut changes = 0;
        for second in 1..200 {
            changes += usize::from(rtt.measure(Micros(second * 1_000_000), 50_000, WINDOW));
        }
        assert_eq!(changes, 1);
        assert_eq!(rtt.stated_us(), Some(50_000));
    }
}
