//! The linear part of a layer: its product with the weights, and the gradients of both.
//!
//! Layers of pictures' few channels are products of another shape: what a pixel meets is laid
//! side by side, since a term of their sums would be too small to be a product of its own.

use crate::geometry::{Geometry, Links};
use crate::parallel::{self, Disjoint};
use crate::product::{Matrices, Unit, product};
use crate::simd::vectorized;

/// Activations are [pixel][batch][channel], weights [tap][channel in][channel out].
#[derive(Clone, Copy)]
pub(crate) struct Linear<'a> {
    pub(crate) geometry: &'a Geometry,
    pub(crate) batch: usize,
    /// In, out.
    pub(crate) channels: (usize, usize),
}

impl Linear<'_> {
    /// The product; `finish` as in [`product`].
    pub(crate) fn forward(
        self,
        x: &[f32],
        weight: &[f32],
        finish: impl Fn(usize, usize, &mut [f32]) + Sync + Send,
    ) -> Vec<f32> {
        let weight = Matrices::of_columns(weight, self.channels.0, self.channels.1);
        along_links(&self.geometry.forward, x, weight, self.batch, finish)
    }

    /// The gradient of the input.
    pub(crate) fn input_gradient(self, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
        let weight = Matrices::of_rows(weight, self.channels.0, self.channels.1);
        along_links(&self.geometry.backward, gradient, weight, self.batch, |_, _, _| {})
    }

    /// The gradient of the weights: for each tap the sum over its pairs of pixels of the input's
    /// matrix, transposed, times the gradient's.
    pub(crate) fn weight_gradient(self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let Self { geometry, batch, channels: (c_in, c_out) } = self;
        let taps = geometry.taps();
        let columns = |data, width| Matrices::of_columns(data, batch, width);
        if is_few(c_in, taps) {
            // What each output pixel meets side by side: one product of (taps x channels in) rows.
            let patches = patches(&geometry.forward, x, batch, (taps, c_in));
            let patches = Matrices::of_rows(&patches, taps * c_in, batch);
            return sum_of_products(patches, columns(gradient, c_out));
        }
        if is_few(c_out, taps) && geometry.backward.results() < geometry.forward.results() {
            let patches = patches(&geometry.backward, gradient, batch, (taps, c_out));
            let patches = Matrices::of_rows(&patches, taps * c_out, batch);
            let rows = sum_of_products(patches, columns(x, c_in));
            // [tap][channel out][channel in] -> [tap][channel in][channel out]
            return rearranged(&rows, (taps, c_in, c_out), (c_out * c_in, 1, c_in));
        }
        let (left, right) = (columns(x, c_in), columns(gradient, c_out));
        let unit = Unit::of_weights(c_in, c_out);
        product(&geometry.weights, (left, right), unit, |_, _, _| {})
    }
}

/// Layers with fewer channels than this on one side (pictures: 1 or 3) go another way: their
/// taps are laid side by side as the columns of one product.
const FEW_CHANNELS: usize = 8;

fn is_few(channels: usize, taps: usize) -> bool {
    channels < FEW_CHANNELS && taps > 1
}

/// The product of activations with the weights of their taps, along `links`.
fn along_links(
    links: &Links,
    source: &[f32],
    weight: Matrices,
    batch: usize,
    finish: impl Fn(usize, usize, &mut [f32]) + Sync + Send,
) -> Vec<f32> {
    let Matrices { count: taps, depth, outer: width, strides, .. } = weight;
    // Where most places of a patch would be empty, links are better followed one by one.
    let is_dense = 2 * links.len() >= links.results() * taps;
    if is_few(depth, taps) && is_dense {
        // What each pixel meets, tap beside tap, times one matrix of (tap, depth) by column.
        let strides = (strides.matrix, strides.depth, strides.outer);
        let matrix = rearranged(weight.data, (taps, depth, width), strides);
        let patches = patches(links, source, batch, (taps, depth));
        return product(
            &Links::one_right(links.results()),
            (
                Matrices::of_columns(&patches, taps * depth, batch),
                Matrices::of_columns(&matrix, taps * depth, width),
            ),
            Unit::of_weights(taps * depth, width),
            finish,
        );
    }
    let activations = Matrices::of_rows(source, batch, depth);
    // Side by side, every source pixel meets all taps; one by one, a tile's width for each link.
    let tile = 32;
    let side_by_side = activations.count * (taps * width).next_multiple_of(tile);
    if is_few(width, taps) && side_by_side < links.len() * width.next_multiple_of(tile) {
        // One matrix of (tap, column) by depth, then the sums along the links.
        let strides = (strides.matrix, strides.outer, strides.depth);
        let matrix = rearranged(weight.data, (taps, width, depth), strides);
        let left = Matrices::of_rows(&matrix, taps * width, depth);
        let each = Links::one_left(activations.count);
        let unit = Unit::of_weights(taps * width, depth);
        let patches = product(&each, (left, activations), unit, |_, _, _| {});
        return gather(links, &patches, batch, (taps, width), finish);
    }
    product(links, (activations, weight), Unit::of_weights(depth, width), finish)
}

/// The sum over all pixels of `left` times `right`, as a sum of sums that threads can share.
fn sum_of_products(left: Matrices, right: Matrices) -> Vec<f32> {
    let parts = left.count.min(16);
    let links = Links::sums(left.count, parts);
    let unit = Unit::of_weights(left.outer, right.outer);
    let parts = product(&links, (left, right), unit, |_, _, _| {});
    let mut parts = parts.chunks_exact(left.outer * right.outer);
    let mut sum = parts.next().map(<[f32]>::to_vec).unwrap_or_default();
    for part in parts {
        sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    sum
}

/// Elements in the order of their three indices, given how many there are of each and how far
/// apart they lie in `source`.
fn rearranged(
    source: &[f32],
    counts: (usize, usize, usize),
    strides: (usize, usize, usize),
) -> Vec<f32> {
    let mut result = Vec::with_capacity(source.len());
    for i in 0..counts.0 {
        for j in 0..counts.1 {
            let start = i * strides.0 + j * strides.1;
            result.extend((0..counts.2).map(|l| source[start + l * strides.2]));
        }
    }
    result
}

/// Left matrices of `rows` by `width` for each result of `links`, side by side in the places of
/// their right ones and transposed: [result][right][column][row], zeros where there is no link.
fn patches(
    links: &Links,
    source: &[f32],
    rows: usize,
    (rights, width): (usize, usize),
) -> Vec<f32> {
    let size = rights * width * rows;
    let run = |target: &Disjoint, result: usize| {
        // SAFETY: every task writes its own result.
        let patch = unsafe { target.zeroed(result * size, size) };
        for link in links.of(result) {
            let source = &source[link.left as usize * rows * width..][..rows * width];
            let target = &mut patch[link.right as usize * width * rows..][..width * rows];
            for (column, target) in target.chunks_exact_mut(rows).enumerate() {
                let values = source[column..].iter().step_by(width);
                target.iter_mut().zip(values).for_each(|(target, value)| *target = *value);
            }
        }
    };
    let work = links.len() * rows * width;
    // SAFETY: the tasks write all results.
    unsafe { parallel::filled_by(links.results() * size, links.results(), work, run) }
}

/// The way back from [`patches`]: for each result of `links`, [row][column], the sum of what its
/// left matrices, laid out as patches are, hold in the places of their right ones. `finish` as in
/// [`product`].
fn gather(
    links: &Links,
    patches: &[f32],
    rows: usize,
    (rights, width): (usize, usize),
    finish: impl Fn(usize, usize, &mut [f32]) + Sync + Send,
) -> Vec<f32> {
    let run = |target: &Disjoint, result: usize| {
        // SAFETY: every task writes its own result.
        let output = unsafe { target.zeroed(result * rows * width, rows * width) };
        vectorized!({
            for link in links.of(result) {
                let first = (link.left as usize * rights + link.right as usize) * width * rows;
                let patch = &patches[first..][..width * rows];
                for (column, values) in patch.chunks_exact(rows).enumerate() {
                    let output = output[column..].iter_mut().step_by(width);
                    output.zip(values).for_each(|(output, value)| *output += value);
                }
            }
        });
        finish(result * rows, 0, output);
    };
    let work = links.len() * rows * width;
    // SAFETY: the tasks write all results.
    unsafe { parallel::filled_by(links.results() * rows * width, links.results(), work, run) }
}
