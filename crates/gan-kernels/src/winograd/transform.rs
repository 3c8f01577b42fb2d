//! Small matrices on both sides of a square of vectors.

use super::axis::POINTS;
use crate::isa::arch;
use pulp::{Simd, WithSimd};
use std::array;

/// A value for each pair of a row and a column.
pub(super) type Square<T> = [[T; POINTS]; POINTS];

/// Rows that the rest does not fill are zeros, and so are columns.
pub(super) type Matrix = Square<f32>;

/// Returns a value for each pair of a row and a column.
pub(super) fn square<T>(value: impl Fn(usize, usize) -> T) -> Square<T> {
    array::from_fn(|i| array::from_fn(|j| value(i, j)))
}

/// Floats of each vector that are computed at once: the first-level cache holds those of all vectors.
const STRIP: usize = 128;

/// The product `left source right^T` for vectors: the vector (i, j) of the result is the sum of
/// `left[i][k] right[j][l] source[k][l]`.
pub(super) struct Sandwich<'a> {
    pub(super) left: &'a Matrix,
    pub(super) right: &'a Matrix,
    /// Vectors of `len` elements. Those that are missing are zeros.
    pub(super) source: Square<Option<&'a [f32]>>,
    /// Where to write the result, as far as it is wanted.
    pub(super) target: Square<Option<*mut f32>>,
    pub(super) len: usize,
    /// Whether to add to the target.
    pub(super) add: bool,
}

impl Sandwich<'_> {
    /// Computes the product.
    ///
    /// # Safety
    /// Each target is valid for writes of `len` floats, by nobody else. They are initialised where `add` is
    /// true.
    pub(super) unsafe fn compute(&self) {
        arch().dispatch(Compute(self));
    }

    /// Computes some elements of each vector.
    ///
    /// # Safety
    /// As [`Self::compute`].
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "the indices are those of the formula")]
    unsafe fn strip<S: Simd>(&self, simd: S, first: usize, half: &mut Square<[f32; STRIP]>) {
        let len = STRIP.min(self.len - first);
        // `left source`, by columns: the vectors of a column may have the same place in the cache.
        for l in 0..POINTS {
            for i in 0..POINTS {
                let mut terms = Terms::new();
                for k in 0..POINTS {
                    if let Some(vector) = self.source[k][l] {
                        terms.push(self.left[i][k], &vector[first..first + len]);
                    }
                }
                terms.sum::<S, false>(simd, &mut half[i][l][..len]);
            }
        }
        for i in 0..POINTS {
            for j in 0..POINTS {
                let Some(target) = self.target[i][j] else { continue };
                let mut terms = Terms::new();
                for l in 0..POINTS {
                    terms.push(self.right[j][l], &half[i][l][..len]);
                }
                // SAFETY: the contract.
                let target = unsafe { std::slice::from_raw_parts_mut(target.add(first), len) };
                match self.add {
                    true => terms.sum::<S, true>(simd, target),
                    false => terms.sum::<S, false>(simd, target),
                }
            }
        }
    }
}

struct Compute<'a>(&'a Sandwich<'a>);

impl WithSimd for Compute<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut half = [[[0.0; STRIP]; POINTS]; POINTS];
        for first in (0..self.0.len).step_by(STRIP) {
            // SAFETY: `Sandwich::compute` is the only caller.
            unsafe { self.0.strip(simd, first, &mut half) };
        }
    }
}

/// Vectors and their factors.
struct Terms<'a> {
    terms: [(f32, &'a [f32]); POINTS],
    count: usize,
}

impl<'a> Terms<'a> {
    #[inline(always)]
    fn new() -> Self {
        Self { terms: [(0.0, &[]); POINTS], count: 0 }
    }

    #[inline(always)]
    fn push(&mut self, factor: f32, vector: &'a [f32]) {
        if factor != 0.0 {
            self.terms[self.count] = (factor, vector);
            self.count += 1;
        }
    }

    /// Writes the sum, or adds it.
    #[inline(always)]
    fn sum<S: Simd, const ADD: bool>(&self, simd: S, target: &mut [f32]) {
        // The number of vectors is known in each loop, so that their elements stay in registers.
        match self.count {
            0 if ADD => {}
            0 => target.fill(0.0),
            1 => self.sum_of::<S, 1, ADD>(simd, target),
            2 => self.sum_of::<S, 2, ADD>(simd, target),
            3 => self.sum_of::<S, 3, ADD>(simd, target),
            _ => self.sum_of::<S, POINTS, ADD>(simd, target),
        }
    }

    #[inline(always)]
    fn sum_of<S: Simd, const COUNT: usize, const ADD: bool>(&self, simd: S, target: &mut [f32]) {
        let (target, rest) = S::as_mut_simd_f32s(target);
        let start = target.len() * S::F32_LANES;
        let vectors: [_; COUNT] = array::from_fn(|i| {
            let (factor, vector) = self.terms[i];
            (simd.splat_f32s(factor), &S::as_simd_f32s(vector).0[..target.len()])
        });
        for (n, target) in target.iter_mut().enumerate() {
            let (factor, vector) = vectors[0];
            let mut sum = match ADD {
                true => simd.mul_add_e_f32s(factor, vector[n], *target),
                false => simd.mul_f32s(factor, vector[n]),
            };
            for (factor, vector) in &vectors[1..] {
                sum = simd.mul_add_e_f32s(*factor, vector[n], sum);
            }
            *target = sum;
        }
        // The same operations in the same order.
        for (n, target) in rest.iter_mut().enumerate() {
            let (factor, vector) = self.terms[0];
            let value = vector[start + n];
            let mut sum = if ADD { factor.mul_add(value, *target) } else { factor * value };
            for (factor, vector) in &self.terms[1..COUNT] {
                sum = factor.mul_add(vector[start + n], sum);
            }
            *target = sum;
        }
    }
}
