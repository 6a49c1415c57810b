//! Network coordinates: where a peer lies in a space in which distance predicts round-trip time.
//!
//! Vivaldi (Dabek, Cox, Kaashoek, Morris, "Vivaldi: A Decentralized Network Coordinate System",
//! SIGCOMM 2004), three dimensions and a height, with the paper's adaptive time step. Every link's
//! round-trip time is a spring; each sample moves the peer a little towards its rest length.
//!
//! Coordinates arrive from other peers, so every function here bears any bit pattern: what is not
//! finite or out of bounds is not valid and moves nothing.

use serde::{Deserialize, Serialize};

/// Share of the way to the spring's rest length that one sample may move a peer, and share of
/// its error estimate that one sample may replace: `c_c` and `c_e`, both 0.25 in the paper.
const STEP: f32 = 0.25;
/// Smallest height, ms: a peer's access link never costs nothing, and a height of zero could not grow.
const HEIGHT_MIN_MS: f32 = 0.01;
/// Largest absolute value of a component, ms. Half a minute is beyond any network worth joining.
const COMPONENT_MAX_MS: f32 = 30_000.0;
/// Largest relative error; also a newcomer's weight against a settled peer is set by 1.0.
const ERROR_MAX: f32 = 2.0;
/// Smallest relative error: keeps the sum of two errors a divisor.
const ERROR_MIN: f32 = 0.01;
/// A move that others need to know of, ms.
const MOVED_MS: f32 = 5.0;
/// Share of its way to the current place by which a steady place follows each sample. With a
/// sample a second from each of eight neighbours it lags four seconds behind.
const FOLLOW_SHARE: f32 = 1.0 / 32.0;
/// So far off, ms, a steady place does not follow but jumps: what springs at odds with each other
/// shake is less.
const JUMP_MS: f32 = 30.0;
/// Below this distance two positions coincide and a direction has to be made up, ms.
const COINCIDE_MS: f32 = 0.001;

/// A peer's place: a point in three dimensions, a height above it (the access link, which every
/// path crosses) and how much the peer trusts it. Milliseconds of round-trip time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coordinate {
    /// Position in ms.
    pub position: [f32; 3],
    /// Height in ms; added on both ends of every distance.
    pub height: f32,
    /// Estimated relative error, 1.0 for a newcomer, falling as samples confirm the place.
    pub error: f32,
}

impl Default for Coordinate {
    fn default() -> Self {
        Self::origin()
    }
}

impl Coordinate {
    /// Where a peer without samples stands.
    pub fn origin() -> Self {
        Self {
            position: [0.0; 3],
            height: HEIGHT_MIN_MS,
            error: 1.0,
        }
    }

    /// Whether all values are finite and within bounds. Check this on what a record states before
    /// relying on it.
    pub fn is_valid(&self) -> bool {
        let bounded = |value: f32| value.is_finite() && value.abs() <= COMPONENT_MAX_MS;
        self.position.iter().all(|&value| bounded(value))
            && bounded(self.height)
            && self.height >= 0.0
            && self.error.is_finite()
            && (0.0..=ERROR_MAX).contains(&self.error)
    }

    /// Predicted round-trip time in ms. An invalid coordinate is as far away as can be.
    pub fn distance_ms(&self, other: &Self) -> f32 {
        if !self.is_valid() || !other.is_valid() {
            return COMPONENT_MAX_MS * 4.0;
        }
        length(self.offset_from(other)) + self.height + other.height
    }

    /// Predicted round-trip time in whole microseconds.
    pub fn distance_us(&self, other: &Self) -> u32 {
        // At most 120 s, which fits.
        (self.distance_ms(other) * 1_000.0) as u32
    }

    /// Takes one sample: the round-trip time to a peer at `remote`. `nudge` is seeded bits that
    /// choose a direction while both stand on the same spot. An invalid sample, of either kind,
    /// changes nothing; an invalid `self` starts again from the origin.
    pub fn update(&mut self, remote: &Self, rtt_ms: f32, nudge: u64) {
        if !remote.is_valid() || !rtt_ms.is_finite() || rtt_ms <= 0.0 {
            return;
        }
        if !self.is_valid() {
            *self = Self::origin();
        }
        let rtt = rtt_ms.clamp(0.01, COMPONENT_MAX_MS);
        let own_error = self.error.max(ERROR_MIN);
        // "The sample's weight balances local and remote error."
        let weight = own_error / (own_error + remote.error.max(ERROR_MIN));
        let distance = self.distance_ms(remote);
        let sample_error = (distance - rtt).abs() / rtt;
        self.error = (sample_error * STEP * weight + own_error * (1.0 - STEP * weight))
            .clamp(ERROR_MIN, ERROR_MAX);

        let force = STEP * weight * (rtt - distance);
        let offset = self.offset_from(remote);
        let apart = length(offset);
        let (direction, plane_share) = if apart > COINCIDE_MS {
            (offset.map(|value| value / apart), apart)
        } else {
            (direction_from(nudge), COINCIDE_MS)
        };
        // In a height vector space the unit vector splits between plane and height, and heights
        // add where positions subtract: too long a spring sinks both peers, too short lifts them.
        let heights = self.height + remote.height;
        // While positions coincide the plane has to open up first.
        let plane = if apart > COINCIDE_MS {
            plane_share / (plane_share + heights)
        } else {
            1.0
        };
        for (value, unit) in self.position.iter_mut().zip(direction) {
            *value = (*value + force * plane * unit).clamp(-COMPONENT_MAX_MS, COMPONENT_MAX_MS);
        }
        let rise = force * (1.0 - plane);
        self.height = (self.height + rise).clamp(HEIGHT_MIN_MS, COMPONENT_MAX_MS);
    }

    /// Lets a steady place follow this current one, which its springs never let rest: where round
    /// trips break triangles, every sample pulls elsewhere. What others are told is the middle of
    /// it (as Ledlie, Gardner, Seltzer, "Network Coordinates in the Wild", NSDI 2007, tell
    /// applications the centroid of a window). To be called after every [`Self::update`].
    pub fn steady(&self, steady: &mut Self) {
        if !steady.is_valid() || steady.apart_ms(self) > JUMP_MS {
            *steady = *self;
            return;
        }
        let follow = |value: &mut f32, to: f32| *value += (to - *value) * FOLLOW_SHARE;
        for (value, to) in steady.position.iter_mut().zip(self.position) {
            follow(value, to);
        }
        follow(&mut steady.height, self.height);
        follow(&mut steady.error, self.error);
    }

    /// How far two places are from each other, as one moves from one to the other, ms.
    fn apart_ms(&self, other: &Self) -> f32 {
        length(self.offset_from(other)) + (self.height - other.height).abs()
    }

    /// Whether the place has moved materially since `stated`: worth stating anew, and not worth it
    /// below, because every restatement makes others reconsider their links.
    pub fn has_moved(&self, stated: &Self) -> bool {
        let moved = self.apart_ms(stated);
        moved > MOVED_MS || moved.is_nan()
    }

    fn offset_from(&self, other: &Self) -> [f32; 3] {
        let mut offset = self.position;
        for (value, base) in offset.iter_mut().zip(other.position) {
            *value -= base;
        }
        offset
    }
}

fn length(vector: [f32; 3]) -> f32 {
    // At most 3 * (2 * 30_000)^2: far below f32::MAX.
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

/// A unit vector from 63 seeded bits, without trigonometry (which differs between machines).
fn direction_from(bits: u64) -> [f32; 3] {
    let mut vector = [0u32, 21, 42].map(|shift| {
        let part = (bits >> shift) & 0x1F_FFFF;
        part as f32 / 1_048_576.0 - 1.0
    });
    let mut norm = length(vector);
    if norm < 0.001 {
        vector = [1.0, 0.0, 0.0];
        norm = 1.0;
    }
    vector.map(|value| value / norm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_peers_settle_at_their_round_trip_time() {
        let mut one = Coordinate::origin();
        let mut other = Coordinate::origin();
        for round in 0..200 {
            one.update(&other, 80.0, round);
            other.update(&one, 80.0, round + 77);
        }
        assert!((one.distance_ms(&other) - 80.0).abs() < 2.0);
        assert!(one.error < 0.1);
    }

    #[test]
    fn a_steady_place_does_not_shake_with_springs_at_odds() {
        let there = Coordinate {
            position: [80.0, 0.0, 0.0],
            ..Coordinate::origin()
        };
        let mut mine = Coordinate::origin();
        let mut steady = mine;
        let mut farthest: (f32, f32) = (0.0, 0.0);
        for sample in 0..3_000 {
            let before = (mine, steady);
            let rtt_ms = if sample % 2 == 0 { 60.0 } else { 120.0 };
            mine.update(&there, rtt_ms, sample);
            mine.steady(&mut steady);
            if sample >= 1_000 {
                farthest.0 = farthest.0.max(mine.apart_ms(&before.0));
                farthest.1 = farthest.1.max(steady.apart_ms(&before.1));
            }
        }
        assert!(farthest.0 > 2.0, "the springs agree: {}", farthest.0);
        assert!(farthest.1 < 0.5, "{}", farthest.1);
        assert!(steady.apart_ms(&mine) < 10.0, "it follows");
    }

    #[test]
    fn a_steady_place_jumps_to_where_it_is_far_from() {
        let far = Coordinate {
            position: [100.0, 0.0, 0.0],
            ..Coordinate::origin()
        };
        let mut steady = Coordinate::origin();
        far.steady(&mut steady);
        assert_eq!(steady, far);
    }

    #[test]
    fn hostile_samples_change_nothing() {
        let mut mine = Coordinate::origin();
        let before = mine;
        let bad = Coordinate {
            position: [f32::NAN, 0.0, 0.0],
            ..before
        };
        mine.update(&bad, 10.0, 1);
        mine.update(&before, f32::INFINITY, 1);
        mine.update(&before, f32::NAN, 1);
        mine.update(&before, -4.0, 1);
        mine.update(
            &Coordinate {
                height: f32::INFINITY,
                ..before
            },
            10.0,
            1,
        );
        assert_eq!(mine, before);
        assert!(mine.distance_ms(&bad) > 100_000.0);
    }

    #[test]
    fn extreme_samples_stay_valid() {
        let mut mine = Coordinate::origin();
        let far = Coordinate {
            position: [COMPONENT_MAX_MS; 3],
            height: COMPONENT_MAX_MS,
            error: 0.0,
        };
        for nudge in 0..1_000 {
            mine.update(&far, f32::MAX, nudge);
            assert!(mine.is_valid());
            mine.update(&far, f32::MIN_POSITIVE, nudge);
            assert!(mine.is_valid());
        }
    }

    #[test]
    fn directions_are_unit_vectors() {
        for bits in [
            0,
            u64::MAX,
            0x10_0000 | 0x10_0000 << 21 | 0x10_0000 << 42,
            12345,
        ] {
            assert!((length(direction_from(bits)) - 1.0).abs() < 1e-4);
        }
    }
}
