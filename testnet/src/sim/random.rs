//! Random numbers that are the same on every machine and in every release.

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// A stream of random numbers, one per purpose, so that using more of one changes no other.
///
/// The range reduction is written out here: that of the `rand` crate may change between releases,
/// and a recorded seed must replay for ever.
#[derive(Clone, Debug)]
pub struct Random(ChaCha8Rng);

impl Random {
    /// The stream of `seed` for `purpose`.
    pub fn new(seed: u64, purpose: &str) -> Self {
        Self(ChaCha8Rng::from_seed(Self::key(seed, purpose, 0)))
    }

    /// The stream of such 32 bytes.
    pub fn from_key(key: [u8; 32]) -> Self {
        Self(ChaCha8Rng::from_seed(key))
    }

    /// 32 bytes for `purpose` and `index`, such as a peer's secret.
    pub fn key(seed: u64, purpose: &str, index: u64) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("hedgerow testnet random v1");
        hasher.update(&seed.to_le_bytes());
        hasher.update(&index.to_le_bytes());
        hasher.update(purpose.as_bytes());
        *hasher.finalize().as_bytes()
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which must not be 0 (Lemire's multiplication, without the
    /// rejection: the bias of at most `bound` / 2^64 does not matter here).
    pub fn below(&mut self, bound: u64) -> u64 {
        debug_assert!(bound > 0, "nothing is below 0");
        ((u128::from(self.bits()) * u128::from(bound)) >> 64) as u64
    }

    /// An index into something of length `len`, which must not be 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// A number from `min` to `max`, both included.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max.saturating_sub(min).saturating_add(1))
    }

    /// True in `ppm` of a million cases.
    pub fn chance_ppm(&mut self, ppm: u32) -> bool {
        self.below(1_000_000) < u64::from(ppm)
    }

    /// `count` different numbers below `of`, in random order (all of them if there are fewer).
    pub fn sample(&mut self, of: usize, count: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..of).collect();
        let count = count.min(of);
        for i in 0..count {
            let j = i + self.index(of - i);
            all.swap(i, j);
        }
        all.truncate(count);
        all
    }
}

/// A hash of three numbers, for what must not depend on the order of questions (the latency of a
/// pair): the finaliser of `SplitMix64` (Steele, Lea, Flood, 2014).
pub(crate) fn mix(seed: u64, a: u64, b: u64) -> u64 {
    let step = |x: u64| {
        let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    step(step(step(seed) ^ a) ^ b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes_do_not_share_numbers() {
        assert_ne!(Random::new(1, "a").bits(), Random::new(1, "b").bits());
        assert_eq!(Random::new(1, "a").bits(), Random::new(1, "a").bits());
    }

    #[test]
    fn a_recorded_seed_replays_for_ever() {
        // Changing this number changes every recorded trace: it needs a new version in `key`.
        assert_eq!(Random::new(7, "fixed").bits(), 17_872_399_055_538_344_269);
    }

    #[test]
    fn a_sample_has_no_number_twice() {
        let mut sample = Random::new(3, "sample").sample(50, 20);
        sample.sort_unstable();
        sample.dedup();
        assert_eq!(sample.len(), 20);
        assert!(sample.iter().all(|&i| i < 50));
    }
}
