//! One axis of Winograd's algorithm: tiles of outputs, taps, points, and the matrices between them.

use super::transform::{Matrix, POINTS};
use std::ops::Range;

/// The points are the finite ones and infinity.
const INFINITY: usize = POINTS - 1;
const FINITE: [f32; INFINITY] = [0.0, 1.0, -1.0];

/// For each number of points the transposed inverse of [`evaluation`]: a row for each point, a column for
/// each input. Points that are not in use have zeros.
const INTERPOLATION: [Matrix; POINTS] = [
    [[0.0; 4], [0.0; 4], [0.0; 4], [1.0, 0.0, 0.0, 0.0]],
    [[1.0, 0.0, 0.0, 0.0], [0.0; 4], [0.0; 4], [0.0, 1.0, 0.0, 0.0]],
    [[1.0, -1.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0; 4], [0.0, -1.0, 1.0, 0.0]],
    [[1.0, 0.0, -1.0, 0.0], [0.0, 0.5, 0.5, 0.0], [0.0, -0.5, 0.5, 0.0], [0.0, -1.0, 0.0, 1.0]],
];

/// The values at all points of a polynomial with so many coefficients. At infinity it is the last one.
fn evaluation(coefficients: usize) -> Matrix {
    let mut matrix = [[0.0; POINTS]; POINTS];
    for (row, point) in matrix.iter_mut().zip(FINITE) {
        for (power, value) in row[..coefficients].iter_mut().enumerate() {
            *value = point.powi(power as i32);
        }
    }
    matrix[INFINITY][coefficients - 1] = 1.0;
    matrix
}

/// The axis of a convolution from a large map to a small one.
#[derive(Debug)]
pub(super) struct Axis {
    /// Pixels of the maps, and taps.
    pub(super) large: usize,
    pub(super) small: usize,
    pub(super) kernel: usize,
    stride: usize,
    padding: usize,
    /// Pixels of the small map that are computed together.
    tiles: Vec<Range<usize>>,
    taps: Vec<Taps>,
    /// For each point the tiles that use it, and the taps.
    tiles_at: [Vec<usize>; POINTS],
    taps_at: [Vec<usize>; POINTS],
}

/// Taps that are a kernel of stride 1 of their own: some of every `stride`-th.
#[derive(Clone, Copy, Debug)]
struct Taps {
    first: usize,
    count: usize,
}

/// Vectors before and after a transform along an axis, and its matrix: a row for each point.
pub(super) struct Part {
    /// Pixels or taps of the kernel. Those that are missing are padding.
    pub(super) vectors: [Option<usize>; POINTS],
    /// At each point that is in use, the place among the tiles and that among the taps.
    pub(super) places: [Option<(usize, usize)>; POINTS],
    pub(super) matrix: Matrix,
}

impl Axis {
    pub(super) fn new(
        (kernel, stride, padding): (usize, usize, usize),
        (large, small): (usize, usize),
    ) -> Self {
        // More taps at once would leave one output a tile.
        let most = POINTS - 1;
        let of_remainder = |first: usize| {
            let count = (kernel - first).div_ceil(stride);
            let parts = (0..count).step_by(most);
            parts.map(move |i| Taps { first: first + i * stride, count: most.min(count - i) })
        };
        let taps: Vec<_> = (0..stride.min(kernel)).flat_map(of_remainder).collect();
        let longest = taps.iter().map(|taps| taps.count).max().unwrap_or(1);
        let count = small.div_ceil(POINTS + 1 - longest);
        let tiles: Vec<_> =
            (0..count).map(|i| i * small / count..(i + 1) * small / count).collect();
        let uses = |point: usize, tile: &Range<usize>, taps: &Taps| {
            point == INFINITY || point + 2 < tile.len() + taps.count
        };
        let tiles_at = std::array::from_fn(|point| {
            let is_used = |i: &usize| taps.iter().any(|taps| uses(point, &tiles[*i], taps));
            (0..tiles.len()).filter(is_used).collect()
        });
        let taps_at = std::array::from_fn(|point| {
            let is_used = |i: &usize| tiles.iter().any(|tile| uses(point, tile, &taps[*i]));
            (0..taps.len()).filter(is_used).collect()
        });
        Self { large, small, kernel, stride, padding, tiles, taps, tiles_at, taps_at }
    }

    /// The numbers of tiles and of taps that use a point.
    pub(super) fn counts(&self, point: usize) -> (usize, usize) {
        (self.tiles_at[point].len(), self.taps_at[point].len())
    }

    /// The transform of the large map, of each tile for each of the taps.
    pub(super) fn large(&self) -> Vec<Part> {
        let part = |tile: usize, index: usize| {
            let (outputs, taps) = (&self.tiles[tile], self.taps[index]);
            let inputs = outputs.len() + taps.count - 1;
            let pixel = |i: usize| {
                let padded = (outputs.start + i) * self.stride + taps.first;
                let pixel = padded.checked_sub(self.padding)?;
                (i < inputs && pixel < self.large).then_some(pixel)
            };
            self.part(pixel, Some(tile), Some(index), INTERPOLATION[inputs - 1])
        };
        let taps = 0..self.taps.len();
        (0..self.tiles.len())
            .flat_map(|tile| taps.clone().map(move |index| part(tile, index)))
            .collect()
    }

    /// The transform of the small map, of each tile.
    pub(super) fn small(&self) -> Vec<Part> {
        let part = |(tile, outputs): (usize, &Range<usize>)| {
            self.part(|i| outputs.clone().nth(i), Some(tile), None, evaluation(outputs.len()))
        };
        self.tiles.iter().enumerate().map(part).collect()
    }

    /// The filter transform.
    pub(super) fn kernel(&self) -> Vec<Part> {
        let part = |(index, taps): (usize, &Taps)| {
            let tap = |i: usize| (i < taps.count).then_some(taps.first + i * self.stride);
            self.part(tap, None, Some(index), evaluation(taps.count))
        };
        self.taps.iter().enumerate().map(part).collect()
    }

    fn part(
        &self,
        vector: impl Fn(usize) -> Option<usize>,
        tile: Option<usize>,
        taps: Option<usize>,
        matrix: Matrix,
    ) -> Part {
        let rank =
            |all: &[usize], of: Option<usize>| of.map_or(Some(0), |of| all.binary_search(&of).ok());
        let place = |point: usize| {
            Some((rank(&self.tiles_at[point], tile)?, rank(&self.taps_at[point], taps)?))
        };
        Part { vectors: std::array::from_fn(vector), places: std::array::from_fn(place), matrix }
    }
}
