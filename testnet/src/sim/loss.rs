//! Which packets get lost: each by itself, or in runs; and for several reasons at once.

use super::node::Way;

/// How many of a million packets get lost, and how many of those that are lost are followed by
/// another lost one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) share_ppm: u32,
    pub(crate) again_ppm: u32,
}

impl Loss {
    /// Every packet by itself.
    pub(crate) fn alone(share_ppm: u32) -> Self {
        Self {
            share_ppm,
            again_ppm: 0,
        }
    }

    /// What a way loses.
    pub(crate) fn on(way: &Way) -> Self {
        Self {
            share_ppm: way.loss_ppm,
            again_ppm: way.loss_again_ppm,
        }
    }

    /// Both, each of what the other leaves; runs are as long as those of most losses.
    pub(crate) fn or(self, other: Self) -> Self {
        let weighed = |loss: Self| (loss.again_ppm, loss.share_ppm);
        Self {
            share_ppm: either(self.share_ppm, other.share_ppm),
            again_ppm: mean(weighed(self), weighed(other)),
        }
    }

    /// How many of a million packets get lost after one that did, or did not.
    pub(crate) fn next_ppm(self, losing: bool) -> u32 {
        lost_next_ppm(self.share_ppm, self.again_ppm, losing)
    }
}

/// How many of a million things happen for one of two causes that do not know of each other.
pub(crate) fn either(a: u32, b: u32) -> u32 {
    const ALL: u64 = 1_000_000;
    let (a, b) = (u64::from(a).min(ALL), u64::from(b).min(ALL));
    // No more than a million.
    (a + b - a * b / ALL) as u32
}

/// The mean of two numbers, each with its weight.
fn mean((a, of_a): (u32, u32), (b, of_b): (u32, u32)) -> u32 {
    let sum = u64::from(a) * u64::from(of_a) + u64::from(b) * u64::from(of_b);
    let weights = u64::from(of_a) + u64::from(of_b);
    sum.checked_div(weights).map_or(0, |mean| mean as u32)
}

/// How many of a million packets get lost next on a way that loses `share_ppm` of all, where a lost
/// one is followed by another with `again_ppm` (Gilbert, "Capacity of a burst-noise channel", Bell
/// System Technical Journal 39, 1960): after one that came, so many that the share stays.
fn lost_next_ppm(share_ppm: u32, again_ppm: u32, losing: bool) -> u32 {
    const ALL: u64 = 1_000_000;
    let share = u64::from(share_ppm).min(ALL);
    let again = u64::from(again_ppm).clamp(share, ALL);
    let ppm = if losing || share == ALL {
        again
    } else {
        share * (ALL - again) / (ALL - share)
    };
    // No more than a million.
    ppm as u32
}

#[cfg(test)]
mod tests {
    use super::{Loss, either, lost_next_ppm};
    use crate::sim::Random;

    #[test]
    fn runs_are_as_long_as_said_and_the_share_stays() {
        for (share, run) in [(20_000, 1.0), (20_000, 8.0), (200_000, 3.0)] {
            let again = ((1.0 - 1.0 / run) * 1e6) as u32;
            let mut random = Random::new(1, "loss");
            let (mut losing, mut lost, mut runs) = (false, 0, 0);
            for _ in 0..400_000 {
                let before = losing;
                losing = random.chance_ppm(lost_next_ppm(share, again, losing));
                lost += u32::from(losing);
                runs += u32::from(losing && !before);
            }
            let observed = f64::from(lost) / 0.4;
            assert!(
                (observed / f64::from(share) - 1.0).abs() < 0.1,
                "{observed}"
            );
            let length = f64::from(lost) / f64::from(runs);
            assert!((length / run - 1.0).abs() < 0.3, "{length} of {run}");
        }
    }

    #[test]
    fn losses_for_several_reasons_are_of_what_the_others_leave() {
        let in_runs = |share_ppm, again_ppm| Loss {
            share_ppm,
            again_ppm,
        };
        let both = in_runs(500_000, 500_000).or(in_runs(250_000, 800_000));
        // Twice as many losses are in runs of 2 as in runs of 5.
        assert_eq!(both, in_runs(625_000, 600_000));
        let one = in_runs(20_000, 875_000);
        assert_eq!(one.or(Loss::default()), one);
        assert_eq!(Loss::default().or(one), one);
        let all = Loss::alone(1_000_000).or(one);
        assert_eq!(all.next_ppm(false), 1_000_000);
        assert_eq!(either(0, 12_345), 12_345);
        assert_eq!(either(u32::MAX, u32::MAX), 1_000_000);
    }

    #[test]
    fn without_runs_and_at_the_limits_it_is_the_share() {
        for losing in [false, true] {
            assert_eq!(lost_next_ppm(12_345, 0, losing), 12_345);
            assert_eq!(lost_next_ppm(0, 0, losing), 0);
        }
        for losing in [false, true] {
            assert_eq!(lost_next_ppm(1_000_000, 0, losing), 1_000_000);
            assert_eq!(lost_next_ppm(u32::MAX, u32::MAX, losing), 1_000_000);
        }
    }
}
