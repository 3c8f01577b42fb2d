//! The one inner loop of all products: a tile of the result held in registers.
//!
//! Every product of this crate has the form `C[i][j] (+)= sum over segments s, sum over k of
//! A_s[i][k] * B_s[k][j]`. A convolution's output pixel is such a sum with one segment per kernel
//! tap, a weight gradient one with a segment per pair of pixels, a dense layer one with a single
//! segment.

use pulp::Simd;
use std::ptr;

/// One term of the sum: where its part of `A` (first row, first k) and of `B` (first k) begin.
#[derive(Clone, Copy)]
pub(crate) struct Segment {
    pub(crate) a: *const f32,
    pub(crate) b: *const f32,
}

/// Distances, in elements, shared by all segments.
#[derive(Clone, Copy)]
pub(crate) struct Strides {
    /// From one row of `A` to the next.
    pub(crate) a_row: usize,
    /// From one k of `A` to the next.
    pub(crate) a_step: usize,
    /// From one k of `B` to the next.
    pub(crate) b_step: usize,
    /// From one row of `C` to the next.
    pub(crate) c_row: usize,
}

/// Most columns of a tile: two vectors of AVX-512.
const MAX_COLUMNS: usize = 32;

/// Vector registers side by side in a tile's row, for a result of `width` columns.
pub(crate) fn vectors_per_row<S: Simd>(width: usize) -> usize {
    if width <= S::F32_LANES { 1 } else { 2 }
}

/// Columns of a tile: what the `B` operands are packed and padded to.
pub(crate) fn tile_columns<S: Simd>(width: usize) -> usize {
    S::F32_LANES * vectors_per_row::<S>(width)
}

/// Computes `rows` x `columns` of `C`; `vectors` is [`vectors_per_row`].
///
/// # Safety
/// For every segment, `A` must be readable at `rows` x `depth` and `B` at `depth` rows of
/// `vectors * S::F32_LANES` elements; `C` must be writable at `rows` x `columns`, by no one else,
/// and, with `accumulate`, initialised. `columns` is at most `vectors * S::F32_LANES`.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the inner loop's registers, passed by name")]
pub(crate) unsafe fn product<S: Simd>(
    simd: S,
    vectors: usize,
    segments: &[Segment],
    strides: Strides,
    depth: usize,
    c: *mut f32,
    rows: usize,
    columns: usize,
    accumulate: bool,
) {
    let block = Block { segments, strides, depth, c, columns, accumulate };
    // SAFETY: forwarded from this function's contract.
    unsafe {
        match vectors {
            1 => block.rows::<S, 1>(simd, rows),
            _ => block.rows::<S, 2>(simd, rows),
        }
    }
}

struct Block<'a> {
    segments: &'a [Segment],
    strides: Strides,
    depth: usize,
    c: *mut f32,
    columns: usize,
    accumulate: bool,
}

impl Block<'_> {
    #[inline(always)]
    unsafe fn rows<S: Simd, const NV: usize>(&self, simd: S, rows: usize) {
        let mut row = 0;
        // SAFETY: each tile stays within the `rows` rows of the contract of `product`.
        unsafe {
            if S::REGISTER_COUNT >= 32 {
                while rows - row >= 8 {
                    self.tile::<S, 8, NV>(simd, row);
                    row += 8;
                }
            }
            while rows - row >= 4 {
                self.tile::<S, 4, NV>(simd, row);
                row += 4;
            }
            if rows - row >= 2 {
                self.tile::<S, 2, NV>(simd, row);
                row += 2;
            }
            if rows - row == 1 {
                self.tile::<S, 1, NV>(simd, row);
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(&self, simd: S, row: usize) {
        let Strides { a_row, a_step, b_step, c_row } = self.strides;
        let lanes = S::F32_LANES;
        let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
        // A tile that is narrower than its vectors is computed in a copy of full width.
        let mut copy = [[0.0f32; MAX_COLUMNS]; MR];
        let edge = self.columns < NV * lanes;
        // SAFETY: all offsets lie in the ranges that `product` requires of its caller, or in the
        // copy; vector reads and writes need no alignment.
        unsafe {
            let c = self.c.add(row * c_row);
            let (to, to_row) =
                if edge { (copy.as_mut_ptr().cast::<f32>(), MAX_COLUMNS) } else { (c, c_row) };
            if self.accumulate {
                if edge {
                    for i in 0..MR {
                        ptr::copy_nonoverlapping(
                            c.add(i * c_row),
                            to.add(i * to_row),
                            self.columns,
                        );
                    }
                }
                for (i, acc) in acc.iter_mut().enumerate() {
                    for (j, acc) in acc.iter_mut().enumerate() {
                        *acc = ptr::read_unaligned(to.add(i * to_row + j * lanes).cast());
                    }
                }
            }
            for segment in self.segments {
                let a = segment.a.add(row * a_row);
                let b = segment.b;
                for k in 0..self.depth {
                    let b = b.add(k * b_step);
                    let mut bs = [simd.splat_f32s(0.0); NV];
                    for (j, bs) in bs.iter_mut().enumerate() {
                        *bs = ptr::read_unaligned(b.add(j * lanes).cast());
                    }
                    for (i, acc) in acc.iter_mut().enumerate() {
                        let a = simd.splat_f32s(*a.add(i * a_row + k * a_step));
                        for (acc, b) in acc.iter_mut().zip(bs) {
                            *acc = simd.mul_add_e_f32s(a, b, *acc);
                        }
                    }
                }
            }
            for (i, acc) in acc.iter().enumerate() {
                for (j, acc) in acc.iter().enumerate() {
                    ptr::write_unaligned(to.add(i * to_row + j * lanes).cast(), *acc);
                }
            }
            if edge {
                for i in 0..MR {
                    ptr::copy_nonoverlapping(to.add(i * to_row), c.add(i * c_row), self.columns);
                }
            }
        }
    }
}
