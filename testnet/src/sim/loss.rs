//! Which packets get lost: each by itself, or in runs.

/// How many of a million packets get lost next on a way that loses `share_ppm` of all, where a lost
/// one is followed by another with `again_ppm` (Gilbert, "Capacity of a burst-noise channel", Bell
/// System Technical Journal 39, 1960): after one that came, so many that the share stays.
pub(crate) fn lost_next_ppm(share_ppm: u32, again_ppm: u32, losing: bool) -> u32 {
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
    use super::lost_next_ppm;
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
