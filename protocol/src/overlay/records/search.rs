//! Finding a key among ascending ones.
//!
//! Keys are curve points, as good as random: where one stands follows from its first bytes to
//! within a few places. Keys that somebody has chosen to crowd together cost a binary search.

use std::cmp::Ordering;

/// Where among `len` ascending keys the one stands that begins with `prefix`, or would stand.
/// `order` says how the key at a place compares to it.
pub(super) fn search(
    len: usize,
    prefix: u64,
    order: impl Fn(usize) -> Ordering,
) -> Result<usize, usize> {
    if len == 0 {
        return Err(0);
    }
    // The product's upper half: less than `len`.
    let guess = ((u128::from(prefix) * len as u128) >> 64) as usize;
    let (mut low, mut high) = (0, len);
    let mut step = 1;
    match order(guess) {
        Ordering::Equal => return Ok(guess),
        Ordering::Less => {
            low = guess + 1;
            while let Some(probe) = low.checked_add(step).filter(|probe| *probe < len) {
                match order(probe) {
                    Ordering::Equal => return Ok(probe),
                    Ordering::Less => low = probe + 1,
                    Ordering::Greater => {
                        high = probe;
                        break;
                    }
                }
                step *= 2;
            }
        }
        Ordering::Greater => {
            high = guess;
            while let Some(probe) = high.checked_sub(step) {
                match order(probe) {
                    Ordering::Equal => return Ok(probe),
                    Ordering::Greater => high = probe,
                    Ordering::Less => {
                        low = probe + 1;
                        break;
                    }
                }
                step *= 2;
            }
        }
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match order(middle) {
            Ordering::Equal => return Ok(middle),
            Ordering::Less => low = middle + 1,
            Ordering::Greater => high = middle,
        }
    }
    Err(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_binary_search_finds(
            mut keys in proptest::collection::btree_set(any::<u64>(), 0..80),
            crowded in proptest::collection::btree_set(0_u64..300, 0..80),
            wanted in prop_oneof![any::<u64>(), 0_u64..300],
        ) {
            keys.extend(crowded);
            let keys: Vec<u64> = keys.into_iter().collect();
            for wanted in keys.iter().copied().chain([wanted, 0, u64::MAX]) {
                let found = search(keys.len(), wanted, |at| keys[at].cmp(&wanted));
                prop_assert_eq!(found, keys.binary_search(&wanted));
            }
        }
    }
}
