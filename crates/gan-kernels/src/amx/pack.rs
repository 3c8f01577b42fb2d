//! The packed operands of the AMX kernel: f32 matrices as tiles of two bfloat16 parts.

use crate::aligned::Aligned;
use crate::matrix::MatrixBatch;
use crate::parallel::{self, COPY_WORK};
use crate::unsafe_slice::UnsafeSlice;
use std::arch::x86_64::*;
use std::ops::Range;

/// Rows of a tile, and its columns in units of 32 bits.
pub(super) const TILE: usize = 16;
/// Rows of A, or columns of B, of a panel: two tiles.
pub(super) const PANEL: usize = 2 * TILE;
/// What one tile covers of K: each unit holds a pair of bfloat16 numbers.
pub(super) const STEP: usize = 2 * TILE;
/// Units of a tile.
const TILE_LEN: usize = TILE * TILE;
/// Units of a panel for one step: two tiles of high parts, then two of low parts.
pub(super) const STEP_LEN: usize = 4 * TILE_LEN;

/// Which operand a tile belongs to.
#[derive(Clone, Copy)]
pub(super) enum Operand {
    /// The tile has this many rows of A, up to 16, each with 16 pairs along K.
    A { rows: usize },
    /// The tile has 16 pairs along K of B, each with 16 columns.
    B,
}

/// The operand A: [matrix][panel][step][tile], padded with zeros to whole steps of whole panels.
pub(super) struct TilePanels {
    data: Aligned,
    /// Rows of a tile, chosen so that the panels of a matrix are about equally full.
    pub(super) rows: usize,
    /// Panels of a matrix.
    panels: usize,
    /// Steps of a panel.
    steps: usize,
}

impl TilePanels {
    /// Packs all matrices. The caller has checked that AMX and AVX-512 are available.
    pub(super) fn new(a: MatrixBatch) -> Self {
        let (panels, steps) = (a.mn.div_ceil(PANEL), a.k.div_ceil(STEP));
        let rows = a.mn.div_ceil(2 * panels);
        let len = steps * STEP_LEN;
        // Neighbours in memory are packed together, but few of them, so that threads share even a
        // single matrix.
        let together = if a.strides.k == 1 { 1 } else { 8 };
        let parts = panels.div_ceil(together);
        let run = |target: &UnsafeSlice, task: usize| {
            let (matrix, first) = (task / parts, task % parts * together);
            let target = target.pointer((matrix * panels + first) * len);
            let panels = first..panels.min(first + together);
            // SAFETY: the processor has the features. Each task writes panels of its own.
            unsafe { pack(a, matrix, panels, 0..steps, Operand::A { rows }, target) };
        };
        // SAFETY: the tasks write all steps of all panels.
        let data = unsafe {
            Aligned::init_with(a.count * panels * len, |target| {
                let work = COPY_WORK * a.count * a.mn * a.k;
                parallel::for_each(a.count * parts, work, |task| run(target, task));
            })
        };
        Self { data, rows, panels, steps }
    }

    /// Returns a pointer to `steps` steps of a panel, from a step on.
    pub(super) fn steps(
        &self,
        matrix: usize,
        panel: usize,
        step: usize,
        steps: usize,
    ) -> *const f32 {
        let first = (matrix * self.panels + panel) * self.steps + step;
        self.data.as_slice()[first * STEP_LEN..][..steps * STEP_LEN].as_ptr()
    }
}

/// Packs some steps of some panels of a matrix: [panel][step].
///
/// # Safety
/// `target` is valid for writes of all these steps and begins at a cache line.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn pack(
    source: MatrixBatch,
    matrix: usize,
    panels: Range<usize>,
    steps: Range<usize>,
    operand: Operand,
    target: *mut f32,
) {
    let place = |panel: usize, step: usize| {
        let number = (panel - panels.start) * steps.len() + step - steps.start;
        target.wrapping_add(number * STEP_LEN)
    };
    // The inner loop follows contiguous memory, because the processor prefetches few rows at once.
    // SAFETY: within the steps of the contract.
    unsafe {
        if source.strides.k == 1 {
            for panel in panels.clone() {
                for step in steps.clone() {
                    pack_step(source, matrix, panel, step, operand, place(panel, step));
                }
            }
        } else {
            for step in steps.clone() {
                for panel in panels.clone() {
                    pack_step(source, matrix, panel, step, operand, place(panel, step));
                }
            }
        }
    }
}

type Tile = [__m512i; TILE];

/// Distance at which the values of the next panel or step are prefetched, in elements.
const PREFETCH: usize = 32;

/// Packs one step of one panel.
///
/// # Safety
/// `target` is valid for writes of a step and begins at a cache line.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn pack_step(
    source: MatrixBatch,
    matrix: usize,
    panel: usize,
    step: usize,
    operand: Operand,
    target: *mut f32,
) {
    let (rows, is_a) = match operand {
        Operand::A { rows } => (rows, true),
        Operand::B => (TILE, false),
    };
    for half in 0..2 {
        let first = (2 * panel + half) * rows;
        let mn = first..source.mn.clamp(first, first + rows);
        // SAFETY: two tiles of high parts and two of low parts make up the step.
        unsafe {
            let high = target.add(half * TILE_LEN).cast();
            let low = target.add((2 + half) * TILE_LEN).cast();
            split_tile(source, matrix, mn, step * STEP, high, low);
            let k_inside = source.strides.k == 1;
            if k_inside != is_a {
                transpose(&mut *high);
                transpose(&mut *low);
            }
        }
    }
}

/// Splits up to 16 rows of A, or columns of B, by 32 of K into a tile of high and one of low parts.
/// A row of a tile is a row of the source, or an interleaved pair of them. Missing values are 0.
///
/// # Safety
/// Both tiles are valid for writes and begin at cache lines.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn split_tile(
    source: MatrixBatch,
    matrix: usize,
    mn: Range<usize>,
    k: usize,
    high: *mut Tile,
    low: *mut Tile,
) {
    let (first, count) = (mn.start, mn.len());
    let k_count = (source.k - k).min(STEP);
    let k_inside = source.strides.k == 1;
    let rows = match count {
        0 => 0,
        _ if k_inside => count,
        _ => k_count.div_ceil(2),
    };
    for i in 0..rows {
        let (high_row, low_row) = if k_inside {
            let row = &source.from(matrix, first + i, k)[..k_count];
            let (left, right) = row.split_at(k_count.min(TILE));
            let (left, right) = (split_bf16(load(left)), split_bf16(load(right)));
            (concat(left.0, right.0), concat(left.1, right.1))
        } else {
            let even = &source.from(matrix, first, k + 2 * i)[..count];
            let odd = match 2 * i + 1 < k_count {
                true => &source.from(matrix, first, k + 2 * i + 1)[..count],
                false => &[],
            };
            let (even, odd) = (split_bf16(load(even)), split_bf16(load(odd)));
            (interleave(even.0, odd.0), interleave(even.1, odd.1))
        };
        // SAFETY: within the tiles.
        unsafe {
            (*high)[i] = high_row;
            (*low)[i] = low_row;
        }
    }
    for i in rows..TILE {
        // SAFETY: within the tiles.
        unsafe {
            (*high)[i] = _mm512_setzero_si512();
            (*low)[i] = _mm512_setzero_si512();
        }
    }
}

/// Loads up to 16 values, with zeros for the rest.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32]) -> __m512 {
    assert!(values.len() <= TILE, "more values than a vector holds");
    // The processor does not prefetch as many rows as a tile has by itself. Any address is allowed.
    _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(PREFETCH).cast());
    let mask = ((1u32 << values.len()) - 1) as __mmask16;
    // SAFETY: reads only the values of the slice.
    unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) }
}

/// Splits each value into the sum of two bfloat16 numbers, high and low.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn split_bf16(values: __m512) -> (__m256i, __m256i) {
    let high = _mm512_cvtneps_pbh(values);
    let low = _mm512_cvtneps_pbh(_mm512_sub_ps(values, _mm512_cvtpbh_ps(high)));
    // SAFETY: 256 bits of plain data each.
    unsafe { std::mem::transmute::<(__m256bh, __m256bh), (__m256i, __m256i)>((high, low)) }
}

/// Interleaves 16-bit numbers: even, odd, even, odd, ...
#[inline]
#[target_feature(enable = "avx512f")]
fn interleave(even: __m256i, odd: __m256i) -> __m512i {
    let odd = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(odd));
    _mm512_or_si512(_mm512_cvtepu16_epi32(even), odd)
}

/// Concatenates two halves of a row.
#[inline]
#[target_feature(enable = "avx512f")]
fn concat(left: __m256i, right: __m256i) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(left), right)
}

/// Exchanges rows and columns, one bit of their indices after the other.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(tile: &mut Tile) {
    exchange::<1>(tile);
    exchange::<2>(tile);
    exchange::<4>(tile);
    exchange::<8>(tile);
}

/// Exchanges one bit of the index of a row with that of a column.
#[inline]
#[target_feature(enable = "avx512f")]
fn exchange<const BIT: usize>(tile: &mut Tile) {
    const fn from(bit: usize, upper: usize) -> [i32; TILE] {
        let mut index = [0; TILE];
        let mut column = 0;
        while column < TILE {
            let from = (column & !bit) | (upper * bit);
            index[column] = (if column & bit == 0 { from } else { from + TILE }) as i32;
            column += 1;
        }
        index
    }
    // SAFETY: 64 bytes each.
    let [lower, upper] = const { [from(BIT, 0), from(BIT, 1)] }
        .map(|index| unsafe { _mm512_loadu_epi32(index.as_ptr()) });
    for i in (0..TILE).filter(|i| i & BIT == 0) {
        let (a, b) = (tile[i], tile[i | BIT]);
        tile[i] = _mm512_permutex2var_epi32(a, lower, b);
        tile[i | BIT] = _mm512_permutex2var_epi32(a, upper, b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_exchanges_rows_and_columns() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        let mut units = [[0i32; TILE]; TILE];
        for (i, row) in units.iter_mut().enumerate() {
            for (j, unit) in row.iter_mut().enumerate() {
                *unit = (i * TILE + j) as i32;
            }
        }
        // SAFETY: AVX-512 is available, and a tile has as many units.
        let result: [[i32; TILE]; TILE] = unsafe {
            let mut tile = std::mem::transmute::<[[i32; TILE]; TILE], Tile>(units);
            transpose(&mut tile);
            std::mem::transmute(tile)
        };
        for (i, row) in result.iter().enumerate() {
            for (j, unit) in row.iter().enumerate() {
                assert_eq!(*unit as usize, j * TILE + i);
            }
        }
    }
}
