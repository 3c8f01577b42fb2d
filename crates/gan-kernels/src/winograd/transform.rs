//! Small matrices on both sides of a square of vectors.

use crate::isa::arch;
use pulp::{Simd, WithSimd};
use std::mem::MaybeUninit;
use std::{array, ptr, slice};

/// The number of points, and the most vectors of a transform along each axis.
pub(super) const POINTS: usize = 4;

/// A value for each pair of a row and a column.
pub(super) type Square<T> = [[T; POINTS]; POINTS];

/// A matrix of up to four rows and columns, filled up with zeros.
pub(super) type Matrix = Square<f32>;

/// Returns a value for each pair of a row and a column.
pub(super) fn square<T>(value: impl Fn(usize, usize) -> T) -> Square<T> {
    array::from_fn(|i| array::from_fn(|j| value(i, j)))
}

/// Floats of each vector that are computed at once: the first-level cache holds those of all vectors.
const STRIP: usize = 128;

type Strip = [f32; STRIP];

/// The product `left source right^T` for vectors: the vector (i, j) of the result is the sum of
/// `left[i][k] right[j][l] source[k][l]`.
pub(super) struct Transform<'a> {
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

impl Transform<'_> {
    /// Computes the product.
    ///
    /// # Safety
    /// Each target is valid for writes of `len` floats, by nobody else. They are initialised where `add` is
    /// true.
    pub(super) unsafe fn compute(&self) {
        arch().dispatch(Compute(self));
    }

    /// Computes some elements of each vector. `half` is memory for `left source`.
    ///
    /// # Safety
    /// As [`Self::compute`].
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "the indices are those of the formula")]
    unsafe fn strip<S: Simd>(&self, simd: S, first: usize, half: &mut Square<MaybeUninit<Strip>>) {
        let len = STRIP.min(self.len - first);
        // By columns: the vectors of a column may have the same place in the cache.
        for l in 0..POINTS {
            for i in 0..POINTS {
                let mut terms = Terms::new();
                for k in 0..POINTS {
                    if let Some(vector) = self.source[k][l] {
                        terms.push(self.left[i][k], &vector[first..first + len]);
                    }
                }
                // SAFETY: a strip has at least `len` floats.
                unsafe { terms.sum::<S, false>(simd, half[i][l].as_mut_ptr().cast(), len) };
            }
        }
        for i in 0..POINTS {
            for j in 0..POINTS {
                let Some(target) = self.target[i][j] else { continue };
                let mut terms = Terms::new();
                for l in 0..POINTS {
                    let start = half[i][l].as_ptr().cast::<f32>();
                    // SAFETY: the first `len` floats are initialised above.
                    terms.push(self.right[j][l], unsafe { slice::from_raw_parts(start, len) });
                }
                // SAFETY: the contract.
                unsafe {
                    match self.add {
                        true => terms.sum::<S, true>(simd, target.add(first), len),
                        false => terms.sum::<S, false>(simd, target.add(first), len),
                    }
                }
            }
        }
    }
}

struct Compute<'a>(&'a Transform<'a>);

impl WithSimd for Compute<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut half = [[MaybeUninit::uninit(); POINTS]; POINTS];
        for first in (0..self.0.len).step_by(STRIP) {
            // SAFETY: `Transform::compute` is the only caller.
            unsafe { self.0.strip(simd, first, &mut half) };
        }
    }
}

/// Vectors of one length and their factors.
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
    ///
    /// # Safety
    /// The target is valid for writes of `len` floats, and initialised if they are added to. The vectors have
    /// `len` elements.
    #[inline(always)]
    unsafe fn sum<S: Simd, const ADD: bool>(&self, simd: S, target: *mut f32, len: usize) {
        // SAFETY: the contract. The number of vectors is known in each loop, so that the factors stay in
        // registers.
        unsafe {
            match self.count {
                0 if ADD => {}
                0 => target.write_bytes(0, len),
                1 => self.sum_of::<S, 1, ADD>(simd, target, len),
                2 => self.sum_of::<S, 2, ADD>(simd, target, len),
                3 => self.sum_of::<S, 3, ADD>(simd, target, len),
                _ => self.sum_of::<S, POINTS, ADD>(simd, target, len),
            }
        }
    }

    /// # Safety
    /// As [`Self::sum`].
    #[inline(always)]
    unsafe fn sum_of<S: Simd, const COUNT: usize, const ADD: bool>(
        &self,
        simd: S,
        target: *mut f32,
        len: usize,
    ) {
        let whole = len / S::F32_LANES * S::F32_LANES;
        let vectors: [_; COUNT] = array::from_fn(|i| {
            let (factor, vector) = self.terms[i];
            (simd.splat_f32s(factor), &vector[..len])
        });
        // SAFETY: within `len` floats; vector reads and writes are unaligned.
        unsafe {
            for start in (0..whole).step_by(S::F32_LANES) {
                let read = |i: usize| ptr::read_unaligned(vectors[i].1.as_ptr().add(start).cast());
                let target = target.add(start).cast::<S::f32s>();
                let mut sum = match ADD {
                    true => simd.mul_add_e_f32s(vectors[0].0, read(0), target.read_unaligned()),
                    false => simd.mul_f32s(vectors[0].0, read(0)),
                };
                for (i, (factor, _)) in vectors.iter().enumerate().skip(1) {
                    sum = simd.mul_add_e_f32s(*factor, read(i), sum);
                }
                target.write_unaligned(sum);
            }
            // The same operations in the same order.
            for n in whole..len {
                let (factor, vector) = self.terms[0];
                let mut sum = match ADD {
                    true => factor.mul_add(vector[n], target.add(n).read()),
                    false => factor * vector[n],
                };
                for (factor, vector) in &self.terms[1..COUNT] {
                    sum = factor.mul_add(vector[n], sum);
                }
                target.add(n).write(sum);
            }
        }
    }
}
