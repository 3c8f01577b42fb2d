//! Winograd's algorithm for convolutions with short kernels (Winograd 1980, "Arithmetic complexity of
//! computations"; Lavin and Gray 2016, "Fast algorithms for convolutional neural networks").
//!
//! Along one axis, `m` outputs of a convolution with `r` taps are computed from the values of polynomials at
//! `m + r - 1` points, with one multiplication each instead of `m r`. Here the multiplications are matrix
//! products over channels, as in the rest of this crate. Additions bring input and weights to the points, and
//! the products back.
//!
//! A layer of stride `s` is along each axis a sum of `s` layers of stride 1, one for each tap index modulo `s`. They
//! share the points, so that their products are summed there. At large maps a 4x4 layer of stride 2 takes 0.47 of the
//! direct products, a 3x3 layer of stride 1 takes 0.45.
//!
//! The points are 0, 1, -1 and infinity alone. With them the errors in f32 are about those of direct sums, while a
//! further point, 2 or 1/2, would make them 2.4 to 4.5 times as large.

mod axis;
mod map;
#[cfg(test)]
mod tests;
mod transform;

use crate::gemm::{PackedOperand, gemm};
use crate::isa::Isa;
use crate::matrix::MatrixBatch;
use crate::parallel::{self, COPY_WORK};
use crate::rulebook::Rulebook;
use crate::unsafe_slice::UnsafeSlice;
use axis::Axis;
use map::{Map, Span};
use std::sync::OnceLock;
use transform::{POINTS, Square, square};

/// The algorithm for layers of one geometry, between a large map and a small one. Its plan is made when a
/// layer uses it.
#[derive(Debug)]
pub(crate) struct Winograd {
    rows: Axis,
    columns: Axis,
    plan: OnceLock<Plan>,
}

#[derive(Debug)]
struct Plan {
    /// The pairs of a point of each axis.
    points: Square<Point>,
    large: Map,
    small: Map,
    kernel: Map,
}

/// The products at a point of each axis.
#[derive(Debug)]
struct Point {
    tiles: usize,
    /// Pairs of taps.
    taps: usize,
    /// The sum over taps, for the small map.
    sum: Rulebook,
    /// Each of the taps: for the large map, and for the weights with the small map on the left.
    each: Rulebook,
    /// Each of the taps, for the weights with the large map on the left.
    weights: Rulebook,
}

/// A layer's weights at the points, packed.
pub(crate) struct TransformedWeights {
    /// Channels that are summed up, and those of the result.
    channels: (usize, usize),
    packed: Square<Option<PackedOperand>>,
}

impl Winograd {
    /// The algorithm for a convolution from a large map to a small one.
    pub(crate) fn new(
        kernel: (usize, usize),
        (stride, padding): (usize, (usize, usize)),
        large: (usize, usize),
        small: (usize, usize),
    ) -> Self {
        let rows = Axis::new((kernel.0, stride, padding.0), (large.0, small.0));
        let columns = Axis::new((kernel.1, stride, padding.1), (large.1, small.1));
        Self { rows, columns, plan: OnceLock::new() }
    }

    /// Whether the algorithm is faster than `direct` products, for channels of the large map and of the small
    /// one. The batch has no influence, so that an image's result is the same in every one.
    pub(crate) fn is_faster(&self, direct: usize, (large, small): (usize, usize)) -> bool {
        /// Multiply-adds in the time of an element's transform, measured.
        const ELEMENT: usize = 40;
        /// Images that share the transformed weights, in a small batch.
        const IMAGES: usize = 16;
        let sum = |count: fn((usize, usize)) -> usize| {
            let along = |axis: &Axis| (0..POINTS).map(|i| count(axis.counts(i))).sum::<usize>();
            along(&self.rows) * along(&self.columns)
        };
        let products = sum(|(tiles, taps)| tiles * taps);
        let weights = sum(|(_, taps)| taps) * large * small;
        let elements = products * large + sum(|(tiles, _)| tiles) * small + weights / IMAGES;
        // At least 1.2 times as fast.
        6 * (products * large * small + ELEMENT * elements) < 5 * direct * large * small
    }

    fn plan(&self) -> &Plan {
        self.plan.get_or_init(|| Plan::new(&self.rows, &self.columns))
    }

    /// Transforms weights: (k, n) matrices of taps, where the output of a convolution has n channels.
    pub(crate) fn weights(&self, weight: MatrixBatch, isa: Isa) -> TransformedWeights {
        self.plan().weights(weight, isa)
    }

    /// Returns the output of a convolution (`down`) or of its transpose. `finish` is as in [`gemm`].
    ///
    /// # Shapes
    /// `x`: [pixel][batch][k]; result: [pixel][batch][n].
    pub(crate) fn forward(
        &self,
        x: (&[f32], usize),
        down: bool,
        weights: &TransformedWeights,
        finish: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) -> Vec<f32> {
        self.plan().forward(x, down, weights, finish)
    }

    /// Returns the gradient of the weights, given a map and its channels, or the gradient of one: [tap][channel
    /// of the large map][channel of the small one], or with the channels exchanged if `small_first`.
    pub(crate) fn weight_gradient(
        &self,
        large: (&[f32], usize),
        small: (&[f32], usize),
        batch: (usize, bool),
        isa: Isa,
    ) -> Vec<f32> {
        self.plan().weight_gradient(large, small, batch, isa)
    }
}

impl Plan {
    fn new(rows: &Axis, columns: &Axis) -> Self {
        let points = square(|i, j| {
            let (of_row, of_column) = (rows.counts(i), columns.counts(j));
            let (tiles, taps) = (of_row.0 * of_column.0, of_row.1 * of_column.1);
            let sum = Rulebook::partial_sums(taps, 1);
            Point { tiles, taps, sum, each: Rulebook::one_a(taps), weights: Rulebook::one_b(taps) }
        });
        // The place of a pair of taps, and that of a tile for them.
        let of_taps = |(_, j): (usize, usize), row: (usize, usize), column: (usize, usize)| {
            row.1 * columns.counts(j).1 + column.1
        };
        let of_tile = |(i, j): (usize, usize), row: (usize, usize), column: (usize, usize)| {
            let tile = row.0 * columns.counts(j).0 + column.0;
            of_taps((i, j), row, column) * points[i][j].tiles + tile
        };
        let size = |of: fn(&Axis) -> usize| (of(rows), of(columns));
        let (large, small, kernel) = (
            Map::new(size(|axis| axis.large), (&rows.large(), &columns.large()), of_tile),
            Map::new(size(|axis| axis.small), (&rows.small(), &columns.small()), of_tile),
            Map::new(size(|axis| axis.kernel), (&rows.kernel(), &columns.kernel()), of_taps),
        );
        Self { points, large, small, kernel }
    }

    fn weights(&self, weight: MatrixBatch, isa: Isa) -> TransformedWeights {
        let len = weight.k * weight.mn;
        let fill = |target: &Square<UnsafeSlice>| {
            for_parts(len, |part| {
                // SAFETY: tasks have different parts, and `buffers` memory for all.
                unsafe { self.kernel.transform((weight.data, part), (target, part)) };
            });
        };
        // SAFETY: each tap of a pair is in the patch of that pair.
        let values = unsafe { self.buffers(|point| point.taps * len, fill) };
        let packed = square(|i, j| {
            let point = &self.points[i][j];
            let weight = MatrixBatch { data: &values[i][j], count: point.taps, ..weight };
            // Packed for several rows, which a panel for one row is too wide for.
            (point.tiles > 0).then(|| PackedOperand::new(weight, 2, isa))
        });
        TransformedWeights { channels: (weight.k, weight.mn), packed }
    }

    fn forward(
        &self,
        (x, batch): (&[f32], usize),
        down: bool,
        weights: &TransformedWeights,
        finish: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) -> Vec<f32> {
        let (from, to) = if down { (&self.large, &self.small) } else { (&self.small, &self.large) };
        // At each point the small map has one matrix for each tile, and the large map one for each of the taps.
        let matrices = |point: &Point| if down { point.taps } else { 1 };
        let (k, n) = weights.channels;
        let parts = self.parts(batch, (k, n));
        let run = |part: usize, result: &UnsafeSlice| {
            let [source, target] = [k, n].map(|channels| images(part, parts, batch, channels));
            let rows = |point: &Point| point.tiles * source.count;
            // SAFETY: the patches of the map are those of all tiles and taps.
            let a = unsafe {
                self.buffers(
                    |point| matrices(point) * rows(point) * k,
                    |a| from.transform((x, source), (a, source.alone())),
                )
            };
            let mut c = Square::<Vec<f32>>::default();
            for (i, j, point) in self.used() {
                if let Some(weight) = &weights.packed[i][j] {
                    let a = MatrixBatch::k_inside(&a[i][j], rows(point), k);
                    let rulebook = if down { &point.sum } else { &point.each };
                    let mut product = || weight.gemm(rulebook, a, &mut c[i][j], |_, _, _| {});
                    match parts < rayon::current_num_threads() {
                        true => product(),
                        false => parallel::on_this_thread(product),
                    }
                }
            }
            // SAFETY: tasks have different images.
            unsafe { to.transform_back((&c, target.alone()), (result, target)) };
            for pixel in 0..to.len {
                let range = target.range(pixel);
                // SAFETY: as above, and all pixels of these images are initialised.
                finish(pixel * batch + target.first, 0, unsafe {
                    result.part(range.start, range.len())
                });
            }
        };
        let mut result = Vec::new();
        // SAFETY: the parts are all images, and each computes all pixels of its own.
        unsafe {
            parallel::refill(&mut result, to.len * batch * n, |result| {
                let work = self.work(batch, (k, n));
                parallel::for_each(parts, work, |part| run(part, result));
            });
        }
        result
    }

    fn weight_gradient(
        &self,
        (large, c_large): (&[f32], usize),
        (small, c_small): (&[f32], usize),
        (batch, small_first): (usize, bool),
        isa: Isa,
    ) -> Vec<f32> {
        let parts = self.parts(batch, (c_large, c_small));
        let fill = |map: &Map, values: &[f32], channels: usize, target: &Square<UnsafeSlice>| {
            parallel::for_each(parts, COPY_WORK * values.len(), |part| {
                let images = images(part, parts, batch, channels);
                // SAFETY: tasks have different images, and `buffers` memory for all.
                unsafe { map.transform((values, images), (target, images)) };
            });
        };
        // SAFETY: the patches of a map are those of all its tiles and taps.
        let (large, small) = unsafe {
            let len = |point: &Point| point.taps * point.tiles * batch * c_large;
            let large = self.buffers(len, |target| fill(&self.large, large, c_large, target));
            let len = |point: &Point| point.tiles * batch * c_small;
            (large, self.buffers(len, |target| fill(&self.small, small, c_small, target)))
        };
        let work = self.work(batch, (c_large, c_small));
        let of_points = parallel::map(self.used(), work, |_, (i, j, point)| {
            let rows = point.tiles * batch;
            let large = MatrixBatch::k_outside(&large[i][j], rows, c_large);
            let small = MatrixBatch::k_outside(&small[i][j], rows, c_small);
            let (rulebook, operands) = match small_first {
                true => (&point.each, (small, large)),
                false => (&point.weights, (large, small)),
            };
            (i, j, gemm(rulebook, operands, isa, |_, _, _| {}))
        });
        let mut gradients = Square::<Vec<f32>>::default();
        of_points.into_iter().for_each(|(i, j, values)| gradients[i][j] = values);
        let len = c_large * c_small;
        let mut result = Vec::new();
        // SAFETY: the parts are all elements of each tap, and each tap is in one patch.
        unsafe {
            parallel::refill(&mut result, self.kernel.len * len, |result| {
                for_parts(len, |part| {
                    self.kernel.transform_back((&gradients, part), (result, part))
                });
            });
        }
        result
    }

    /// The points that have products.
    fn used(&self) -> impl Iterator<Item = (usize, usize, &Point)> {
        let all = (0..POINTS).flat_map(|i| (0..POINTS).map(move |j| (i, j)));
        all.map(|(i, j)| (i, j, &self.points[i][j])).filter(|(.., point)| point.tiles > 0)
    }

    /// Multiply-adds.
    fn work(&self, batch: usize, channels: (usize, usize)) -> usize {
        let products: usize = self.used().map(|(.., point)| point.tiles * point.taps).sum();
        products * batch * channels.0 * channels.1
    }

    /// Into how many parts to cut a batch: small enough for the caches, but with vectors that are worth
    /// fetching.
    fn parts(&self, batch: usize, (k, n): (usize, usize)) -> usize {
        const CACHED: usize = 256 * 1024;
        const VECTOR: usize = 128;
        let of_image =
            |(.., point): (_, _, &Point)| point.tiles * (point.taps * k.max(n) + k.min(n));
        let floats = batch * self.used().map(of_image).sum::<usize>();
        let most = (batch * k.min(n) / VECTOR).clamp(1, batch);
        floats.div_ceil(CACHED).max(rayon::current_num_threads()).min(most)
    }

    /// Returns vectors of so many elements for each point, which `fill` writes.
    ///
    /// # Safety
    /// `fill` must write all elements.
    unsafe fn buffers(
        &self,
        len: impl Fn(&Point) -> usize,
        fill: impl FnOnce(&Square<UnsafeSlice>),
    ) -> Square<Vec<f32>> {
        let mut vectors = Square::<Vec<f32>>::default();
        self.used().for_each(|(i, j, point)| vectors[i][j].reserve_exact(len(point)));
        let slice = |vector| UnsafeSlice::new(Vec::spare_capacity_mut(vector));
        fill(&vectors.each_mut().map(|row| row.each_mut().map(slice)));
        for (i, j, point) in self.used() {
            // SAFETY: the capacity suffices, and the caller promises that all elements are written.
            unsafe { vectors[i][j].set_len(len(point)) };
        }
        vectors
    }
}

/// One of the parts of a batch.
fn images(part: usize, parts: usize, batch: usize, channels: usize) -> Span {
    let (first, end) = (part * batch / parts, (part + 1) * batch / parts);
    Span { all: batch, first, count: end - first, channels }
}

/// Runs a task for each part of the `len` elements of matrices.
fn for_parts(len: usize, task: impl Fn(Span) + Sync) {
    const LEN: usize = 4096;
    parallel::for_each(len.div_ceil(LEN), COPY_WORK * POINTS * len, |part| {
        let first = part * LEN;
        task(Span { all: len, first, count: LEN.min(len - first), channels: 1 });
    });
}
