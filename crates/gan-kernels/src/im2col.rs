//! Patch matrices of convolutions: im2col, col2im and the permutation of weights that goes with
//! them.

use crate::parallel;
use crate::rulebook::Rulebook;
use crate::simd::vectorized;

/// Returns the elements in the order of their three indices, given the number of each index and its
/// stride in `source`.
pub(crate) fn permute(
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

/// Returns a patch for each output of the rulebook: its matrices of A, transposed, at the places of
/// their matrices of B, with zeros elsewhere.
///
/// # Shapes
/// `source`: [A][row][column], `rows` by `columns`; result: [output][B][column][row], with `b`
/// places.
pub(crate) fn im2col(
    rulebook: &Rulebook,
    source: &[f32],
    rows: usize,
    (b, columns): (usize, usize),
) -> Vec<f32> {
    let len = b * columns * rows;
    let work = rulebook.len() * rows * columns;
    parallel::init_equal_parts(rulebook.outputs(), len, work, |output, patch| {
        let patch = parallel::zeroed(patch);
        for pair in rulebook.pairs(output) {
            let source = &source[pair.a as usize * rows * columns..][..rows * columns];
            let target = &mut patch[pair.b as usize * columns * rows..][..columns * rows];
            for (column, target) in target.chunks_exact_mut(rows).enumerate() {
                let values = source[column..].iter().step_by(columns);
                target.iter_mut().zip(values).for_each(|(target, value)| *target = *value);
            }
        }
        patch
    })
}

/// The reverse of [`im2col`]: returns for each output of the rulebook the sum of what the patches
/// of its matrices of A hold at the places of their matrices of B. `finish` is as in
/// [`crate::gemm::gemm`].
///
/// # Shapes
/// `patches`: [A][B][column][row]; result: [output][row][column].
pub(crate) fn col2im(
    rulebook: &Rulebook,
    patches: &[f32],
    rows: usize,
    (b, columns): (usize, usize),
    finish: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let work = rulebook.len() * rows * columns;
    parallel::init_equal_parts(rulebook.outputs(), rows * columns, work, |output, sum| {
        let sum = parallel::zeroed(sum);
        vectorized!({
            for pair in rulebook.pairs(output) {
                let first = (pair.a as usize * b + pair.b as usize) * columns * rows;
                let patch = &patches[first..][..columns * rows];
                for (column, values) in patch.chunks_exact(rows).enumerate() {
                    let sum = sum[column..].iter_mut().step_by(columns);
                    sum.zip(values).for_each(|(sum, value)| *sum += value);
                }
            }
        });
        finish(output * rows, 0, sum);
        sum
    })
}

/// As [`col2im`] for one image, on this thread, into a vector that is used again.
///
/// # Shapes
/// `patches`: [A][B][column]; `sums`: [output][column].
pub(crate) fn sum_patches(
    rulebook: &Rulebook,
    patches: &[f32],
    (b, columns): (usize, usize),
    sums: &mut Vec<f32>,
) {
    sums.clear();
    sums.resize(rulebook.outputs() * columns, 0.0);
    for (output, sums) in sums.chunks_exact_mut(columns).enumerate() {
        for pair in rulebook.pairs(output) {
            let patch = &patches[(pair.a as usize * b + pair.b as usize) * columns..][..columns];
            sums.iter_mut().zip(patch).for_each(|(sum, value)| *sum += value);
        }
    }
}
