//! What the images of a data set are worth: copies and images that show nothing.

use std::collections::HashSet;

use crate::Dataset;

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
}

/// Whether the values of a channel are nearly the same.
fn is_even(plane: &[u8]) -> bool {
    let range = (u8::MAX, 0);
    let (low, high) =
        plane.iter().fold(range, |(low, high), &value| (low.min(value), high.max(value)));
    high.saturating_sub(low) <= EVEN
}
