//! The linear map of a layer, and the gradients of its input and its weights.
//!
//! Products with few channels, such as those of images, are too small on their own. There all taps
//! of a pixel form one matrix, as in [`im2col`]. Groups of channels are columns of the same matrices.
//! Layers of many channels with short kernels use [`Winograd`]'s algorithm.

use crate::gemm::{gemm, gemm_columns};
use crate::geometry::Geometry;
use crate::im2col::{col2im, im2col, permute};
use crate::isa::Isa;
use crate::matrix::MatrixBatch;
use crate::precision::gemm_isa;
use crate::rulebook::Rulebook;
use crate::winograd::Winograd;

/// A linear map. Activations are [pixel][batch][channel], weights [tap][channel in][channel out], where
/// channels in are those of one group and channels out those of all.
#[derive(Clone, Copy)]
pub(crate) struct Linear<'a> {
    pub(crate) geometry: &'a Geometry,
    pub(crate) batch: usize,
    /// In, out.
    pub(crate) channels: (usize, usize),
}

/// How direct products of activations with weights are grouped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    /// One product for each pair of an activation and a tap.
    Pairs,
    /// One product for each result, with a patch of all taps.
    Im2col,
    /// One product for each activation with all taps, then sums of patches.
    Col2im,
    /// For each pair one product of each group of channels.
    Groups,
}

impl Linear<'_> {
    /// The method of [`Linear::forward`] where it does not use Winograd's algorithm.
    pub(crate) fn forward_method(self) -> Method {
        let Self { geometry, channels, .. } = self;
        match geometry.groups {
            1 => method(&geometry.forward, geometry.taps(), channels, geometry.inputs()),
            _ => Method::Groups,
        }
    }

    /// Returns the output. `finish` is as in [`gemm`].
    pub(crate) fn forward(
        self,
        x: &[f32],
        weight: &[f32],
        finish: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) -> Vec<f32> {
        let Self { geometry, batch, channels: (c_in, c_out) } = self;
        let weight = MatrixBatch::k_outside(weight, c_in / geometry.groups, c_out);
        if geometry.groups > 1 {
            let x = MatrixBatch::k_inside(x, batch, c_in);
            return self.grouped(&geometry.forward, (x, weight), finish);
        }
        if let Some((winograd, is_large)) = self.winograd() {
            let weights = winograd.weights(weight, gemm_isa(c_in, c_out));
            return winograd.forward((x, batch), is_large, &weights, finish);
        }
        convolve(&geometry.forward, x, weight, batch, finish)
    }

    /// Winograd's algorithm where it is faster, and whether the input is its large map.
    pub(crate) fn winograd(&self) -> Option<(&Winograd, bool)> {
        let Self { geometry, channels: (c_in, c_out), .. } = self;
        let (winograd, input_is_large) = geometry.winograd.as_ref()?;
        let channels = if *input_is_large { (*c_in, *c_out) } else { (*c_out, *c_in) };
        // AMX multiplies so fast that the additions would cost more than the products that they save.
        let is_faster = gemm_isa(*c_in, *c_out) != Isa::Amx
            && geometry.groups == 1
            && winograd.is_faster(geometry.multiply_adds(), channels);
        is_faster.then_some((winograd, *input_is_large))
    }

    /// Returns the gradient of the input.
    pub(crate) fn input_gradient(self, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
        let Self { geometry, batch, channels: (c_in, c_out) } = self;
        let weight = MatrixBatch::k_inside(weight, c_in / geometry.groups, c_out);
        if geometry.groups > 1 {
            let gradient = MatrixBatch::k_inside(gradient, batch, c_out);
            return self.grouped(&geometry.backward, (gradient, weight), |_, _, _| {});
        }
        if let Some((winograd, is_large)) = self.winograd() {
            let weights = winograd.weights(weight, gemm_isa(c_in, c_out));
            return winograd.forward((gradient, batch), !is_large, &weights, |_, _, _| {});
        }
        convolve(&geometry.backward, gradient, weight, batch, |_, _, _| {})
    }

    /// Returns the gradient of the weights: for each tap, the sum over its pairs of pixels of the
    /// input's transposed matrix times the gradient's.
    pub(crate) fn weight_gradient(self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let Self { geometry, batch, channels: (c_in, c_out) } = self;
        let taps = geometry.taps();
        let matrices = |data, channels| MatrixBatch::k_outside(data, batch, channels);
        if geometry.groups > 1 {
            let operands = (matrices(x, c_in), matrices(gradient, c_out));
            return self.grouped(&geometry.weights, operands, |_, _, _| {});
        }
        if let Some((winograd, is_large)) = self.winograd() {
            let isa = gemm_isa(c_in, c_out);
            let (x, gradient) = ((x, c_in), (gradient, c_out));
            return match is_large {
                true => winograd.weight_gradient(x, gradient, (batch, false), isa),
                false => winograd.weight_gradient(gradient, x, (batch, true), isa),
            };
        }
        if is_few(c_in, taps) {
            // One product of (taps x channels in) rows for each output pixel.
            let patches = im2col(&geometry.forward, x, batch, (taps, c_in));
            let patches = MatrixBatch::k_inside(&patches, taps * c_in, batch);
            return sum_of_products(patches, matrices(gradient, c_out));
        }
        if is_few(c_out, taps) && geometry.backward.outputs() < geometry.forward.outputs() {
            let patches = im2col(&geometry.backward, gradient, batch, (taps, c_out));
            let patches = MatrixBatch::k_inside(&patches, taps * c_out, batch);
            let sum = sum_of_products(patches, matrices(x, c_in));
            // [tap][channel out][channel in] -> [tap][channel in][channel out]
            return permute(&sum, (taps, c_in, c_out), (c_out * c_in, 1, c_in));
        }
        let operands = (matrices(x, c_in), matrices(gradient, c_out));
        gemm(&geometry.weights, operands, gemm_isa(c_in, c_out), |_, _, _| {})
    }

    /// The products of each group's columns of A with its columns of B. `finish` is as in [`gemm`].
    fn grouped(
        self,
        rulebook: &Rulebook,
        (a, b): (MatrixBatch, MatrixBatch),
        finish: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) -> Vec<f32> {
        let groups = self.geometry.groups;
        let isa = gemm_isa(self.channels.0 / groups, self.channels.1 / groups);
        gemm_columns(rulebook, (&a.split(groups), &b.split(groups)), isa, finish)
    }
}

/// Layers with fewer channels than this on one side use patches of all taps.
const FEW_CHANNELS: usize = 8;

fn is_few(channels: usize, taps: usize) -> bool {
    channels < FEW_CHANNELS && taps > 1
}

/// Chooses the method for `activations` matrices A that are multiplied with the (k, n) weights of taps.
fn method(rulebook: &Rulebook, taps: usize, (k, n): (usize, usize), activations: usize) -> Method {
    // Patches that would be mostly zeros are not worth their products.
    let is_dense = 2 * rulebook.len() >= rulebook.outputs() * taps;
    if is_few(k, taps) && is_dense {
        return Method::Im2col;
    }
    // Compare columns of products: with patches every pixel has all taps, without them each index
    // pair fills whole tiles.
    let tile = 32;
    let patch_columns = activations * (taps * n).next_multiple_of(tile);
    if is_few(n, taps) && patch_columns < rulebook.len() * n.next_multiple_of(tile) {
        return Method::Col2im;
    }
    Method::Pairs
}

/// Multiplies activations with the weights of their taps, and sums up as the rulebook says.
/// `finish` is as in [`gemm`].
fn convolve(
    rulebook: &Rulebook,
    source: &[f32],
    weight: MatrixBatch,
    batch: usize,
    finish: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let MatrixBatch { count: taps, k, mn: n, strides, .. } = weight;
    let activations = MatrixBatch::k_inside(source, batch, k);
    match method(rulebook, taps, (k, n), activations.count) {
        Method::Im2col => {
            // A patch for each output, times one matrix of (tap, k) by n.
            let strides = (strides.matrix, strides.k, strides.mn);
            let matrix = permute(weight.data, (taps, k, n), strides);
            let patches = im2col(rulebook, source, batch, (taps, k));
            let patches = MatrixBatch::k_outside(&patches, taps * k, batch);
            let matrix = MatrixBatch::k_outside(&matrix, taps * k, n);
            let each = Rulebook::one_b(rulebook.outputs());
            gemm(&each, (patches, matrix), gemm_isa(taps * k, n), finish)
        }
        Method::Col2im => {
            // One matrix of (tap, n) by k times each activation, then sums of patches.
            let strides = (strides.matrix, strides.mn, strides.k);
            let matrix = permute(weight.data, (taps, n, k), strides);
            let a = MatrixBatch::k_inside(&matrix, taps * n, k);
            let each = Rulebook::one_a(activations.count);
            let patches = gemm(&each, (a, activations), gemm_isa(taps * n, k), |_, _, _| {});
            col2im(rulebook, &patches, batch, (taps, n), finish)
        }
        // `method` knows one group alone.
        Method::Pairs | Method::Groups => {
            gemm(rulebook, (activations, weight), gemm_isa(k, n), finish)
        }
    }
}

/// Returns the sum over all matrices of A times B, computed as partial sums that threads share.
fn sum_of_products(a: MatrixBatch, b: MatrixBatch) -> Vec<f32> {
    let parts = a.count.min(16);
    let rulebook = Rulebook::partial_sums(a.count, parts);
    let parts = gemm(&rulebook, (a, b), gemm_isa(a.mn, b.mn), |_, _, _| {});
    let mut parts = parts.chunks_exact(a.mn * b.mn);
    let mut sum = parts.next().map(<[f32]>::to_vec).unwrap_or_default();
    for part in parts {
        sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Window;
    use candle_core::Result;

    /// Measured: with 256 channels a 3x3 layer is 1.6 times as fast, with 64 it is slower.
    #[test]
    fn layers_of_many_channels_with_short_kernels_use_winograd_s_algorithm() -> Result<()> {
        for (kernel, stride, side, channels, want) in [
            (3, 1, 16, (256, 256), true),
            (3, 1, 16, (64, 64), false),
            (3, 1, 8, (256, 256), true),
            (1, 1, 16, (256, 256), false),
            (4, 2, 24, (128, 128), true),
            (4, 2, 16, (64, 128), false),
            (4, 2, 32, (32, 64), false),
            (5, 1, 7, (256, 128), false),
        ] {
            let (large, small) = ((side, side), (side / stride, side / stride));
            let window = Window::same((kernel, kernel), stride, large);
            let conv = Geometry::conv(window, large, small)?;
            let transposed = Geometry::transposed(window, small, large)?;
            let uses = |geometry: &Geometry, channels: (usize, usize)| {
                let linear = Linear { geometry, batch: 1, channels };
                linear.winograd().is_some()
            };
            let want = want && gemm_isa(channels.0, channels.1) != Isa::Amx;
            let name = format!("{kernel}x{kernel}, stride {stride}, {side} pixels, {channels:?}");
            assert_eq!(uses(&conv, channels), want, "{name}");
            assert_eq!(uses(&transposed, (channels.1, channels.0)), want, "{name}, transposed");
            assert!(!uses(&conv.with_groups(2)?, channels), "{name}, groups");
        }
        Ok(())
    }
}
