//! What a data set holds: copies, images that show nothing, and a number that tells sets apart.

use std::collections::HashSet;

use crate::{Dataset, ImageShape};

/// An image whose values of each channel differ by no more than this shows nothing.
const EVEN: u8 = 8;

/// Counts of a data set's images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contents {
    /// Images that are the same as an earlier one.
    pub copies: usize,
    /// Images of one colour alone: the values of no channel differ by more than 8.
    pub even: usize,
}

impl Dataset {
    /// Counts copies and images that show nothing.
    pub fn contents(&self) -> Contents {
        let shape = self.shape();
        let images = || self.pixels().chunks_exact(shape.len());
        let distinct = images().collect::<HashSet<_>>().len();
        let is_even = |image: &&[u8]| image.chunks_exact(shape.height * shape.width).all(is_even);
        Contents { copies: self.len() - distinct, even: images().filter(is_even).count() }
    }

    /// Returns a hash of shape, classes, labels and pixels, the same in every process. The name of the
    /// data set does not count.
    pub fn fingerprint(&self) -> u64 {
        let ImageShape { channels, height, width } = self.shape();
        let numbers = [channels, height, width, self.classes().len()].map(|number| number as u64);
        let mut hash =
            numbers.iter().fold(FNV_BASIS, |hash, number| fnv(hash, &number.to_le_bytes()));
        for class in self.classes() {
            // No class contains the byte that ends it.
            hash = fnv(fnv(hash, class.as_bytes()), &[u8::MAX]);
        }
        for label in self.labels() {
            hash = fnv(hash, &label.to_le_bytes());
        }
        fnv(hash, self.pixels())
    }
}

/// The hash of nothing, which [`fnv`] continues.
pub const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// Continues a hash with more bytes (Fowler, Noll and Vo: FNV-1a, 64 bits).
pub fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether the values of a channel are nearly the same.
fn is_even(plane: &[u8]) -> bool {
    let range = (u8::MAX, 0);
    let (low, high) =
        plane.iter().fold(range, |(low, high), &value| (low.min(value), high.max(value)));
    high.saturating_sub(low) <= EVEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_its_authors() {
        // The first of their test vectors.
        assert_eq!(fnv(FNV_BASIS, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(FNV_BASIS, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(FNV_BASIS, b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn everything_but_the_name_counts() {
        let of = |name: &str, width, pixels: [u8; 4], labels: [u32; 2], classes: [&str; 2]| {
            let shape = ImageShape { channels: 1, height: 2 / width, width };
            let classes = classes.map(String::from).into();
            Dataset::new(name, shape, pixels.into(), labels.into(), classes).unwrap().fingerprint()
        };
        let set = of("a", 1, [1, 2, 3, 4], [0, 1], ["a", "bc"]);
        assert_eq!(of("b", 1, [1, 2, 3, 4], [0, 1], ["a", "bc"]), set);
        for other in [
            of("a", 2, [1, 2, 3, 4], [0, 1], ["a", "bc"]),
            of("a", 1, [1, 2, 3, 5], [0, 1], ["a", "bc"]),
            of("a", 1, [1, 2, 3, 4], [1, 1], ["a", "bc"]),
            of("a", 1, [1, 2, 3, 4], [0, 1], ["ab", "c"]),
        ] {
            assert_ne!(other, set);
        }
    }
}
