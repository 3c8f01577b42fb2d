//! Random orders, the same in every version.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Returns the order of the images 0 to `count` - 1 in an epoch.
pub(crate) fn order(count: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    shuffle(&mut order, &mut epoch_random(seed, epoch));
    order
}

/// Returns the random numbers that the order of an epoch is drawn from.
pub(crate) fn epoch_random(seed: u64, epoch: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(epoch);
    random
}

/// Shuffles items as Fisher and Yates do.
///
/// `rand`'s distributions are not used because their values change between versions. A draw from
/// 0..n is the upper half of a 64-bit random number times n; its bias is below n / 2^64.
pub(crate) fn shuffle<T>(items: &mut [T], random: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        let product = u128::from(random.next_u64()) * (last as u128 + 1);
        items.swap(last, (product >> 64) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_never_changes() {
        // From a separate implementation of ChaCha8 and of `seed_from_u64`.
        assert_eq!(order(10, 42, 0), [9, 7, 2, 5, 0, 1, 4, 3, 8, 6]);
        assert_eq!(order(10, 42, 1), [8, 2, 4, 6, 9, 0, 5, 3, 1, 7]);
        assert_eq!(order(10, 42, 1 << 40), [4, 6, 2, 5, 9, 8, 1, 3, 7, 0]);
    }
}
