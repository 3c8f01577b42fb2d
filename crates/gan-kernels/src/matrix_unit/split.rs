//! f32 matrices as tiles of two bfloat16 parts.

use super::{PANEL, STEP, STEP_UNITS, TILE, TILE_UNITS};
use crate::aligned::Aligned;
use crate::parallel::{self, Disjoint};
use crate::product::{Matrices, PACKING};
use std::arch::x86_64::*;
use std::ops::Range;

/// Which operand: a left tile has its rows, up to 16, one after the other, in pairs of depth; a right
/// one its 16 pairs of depth, in 16 columns.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Left { rows: usize },
    Right,
}

/// A left operand: [matrix][panel][step][part of the step], padded with zeros to whole steps of
/// whole panels.
pub(super) struct Left {
    data: Aligned,
    /// Rows of a tile: so many that the panels of a matrix are about equally full.
    pub(super) rows: usize,
    /// Panels of a matrix.
    panels: usize,
    /// Steps of a panel.
    steps: usize,
}

impl Left {
    pub(super) fn new(source: Matrices) -> Self {
        let (panels, steps) = (source.outer.div_ceil(PANEL), source.depth.div_ceil(STEP));
        let rows = source.outer.div_ceil(2 * panels);
        let size = steps * STEP_UNITS;
        // Panels side by side in memory are packed together, but so few that a single matrix is
        // shared among threads too.
        let together = if source.strides.depth == 1 { 1 } else { 8 };
        let parts = panels.div_ceil(together);
        let run = |target: &Disjoint, task: usize| {
            let (matrix, first) = (task / parts, task % parts * together);
            let target = target.address((matrix * panels + first) * size);
            let panels = first..panels.min(first + together);
            // SAFETY: the features are there wherever this is; every task writes its own panels.
            unsafe { pack(source, matrix, panels, 0..steps, Side::Left { rows }, target) };
        };
        // SAFETY: the tasks write all steps of all panels.
        let data = unsafe {
            Aligned::filled(source.count * panels * size, |target| {
                let work = PACKING * source.count * source.outer * source.depth;
                parallel::for_each(source.count * parts, work, |task| run(target, task));
            })
        };
        Self { data, rows, panels, steps }
    }

    /// The address of `steps` steps from one on.
    pub(super) fn steps(
        &self,
        matrix: usize,
        panel: usize,
        step: usize,
        steps: usize,
    ) -> *const f32 {
        let first = (matrix * self.panels + panel) * self.steps + step;
        self.data.as_slice()[first * STEP_UNITS..][..steps * STEP_UNITS].as_ptr()
    }
}

/// Packs some steps of some panels of a matrix: [panel][step].
///
/// # Safety
/// `target` must be writable at the units of all these steps, and begin at a cache line.
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn pack(
    source: Matrices,
    matrix: usize,
    panels: Range<usize>,
    steps: Range<usize>,
    side: Side,
    target: *mut f32,
) {
    let place = |panel: usize, step: usize| {
        let number = (panel - panels.start) * steps.len() + step - steps.start;
        target.wrapping_add(number * STEP_UNITS)
    };
    // Along what is contiguous, for every row read is a stream of its own.
    // SAFETY: within the units of the contract.
    unsafe {
        if source.strides.depth == 1 {
            for panel in panels.clone() {
                for step in steps.clone() {
                    pack_step(source, matrix, panel, step, side, place(panel, step));
                }
            }
        } else {
            for step in steps.clone() {
                for panel in panels.clone() {
                    pack_step(source, matrix, panel, step, side, place(panel, step));
                }
            }
        }
    }
}

type Tile = [__m512i; TILE];

/// How far ahead of a row's values the next ones are fetched: the next panel's, or step's.
const AHEAD: usize = 32;

/// # Safety
/// `target` must be writable at a step's units, and begin at a cache line.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn pack_step(
    source: Matrices,
    matrix: usize,
    panel: usize,
    step: usize,
    side: Side,
    target: *mut f32,
) {
    let (rows, is_left) = match side {
        Side::Left { rows } => (rows, true),
        Side::Right => (TILE, false),
    };
    for half in 0..2 {
        let outer = (2 * panel + half) * rows;
        let outers = outer..source.outer.clamp(outer, outer + rows);
        // SAFETY: high parts of both halves, then low parts, make up the step.
        unsafe {
            let high = target.add(half * TILE_UNITS).cast();
            let low = target.add((2 + half) * TILE_UNITS).cast();
            split(source, matrix, outers, step * STEP, high, low);
            let by_rows = source.strides.depth == 1;
            if by_rows != is_left {
                transpose(&mut *high);
                transpose(&mut *low);
            }
        }
    }
}

/// The high and low parts of up to 16 rows or columns by 32 of depth, zeros where there are fewer: in
/// rows of the source, the depth in pairs.
///
/// # Safety
/// Both tiles must be writable, and begin at cache lines.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn split(
    source: Matrices,
    matrix: usize,
    outers: Range<usize>,
    depth: usize,
    high: *mut Tile,
    low: *mut Tile,
) {
    let (outer, outers) = (outers.start, outers.len());
    let depths = (source.depth - depth).min(STEP);
    let by_rows = source.strides.depth == 1;
    let rows = match outers {
        0 => 0,
        _ if by_rows => outers,
        _ => depths.div_ceil(2),
    };
    for i in 0..rows {
        let (first, second) = if by_rows {
            let row = &source.from(matrix, outer + i, depth)[..depths];
            let (first, second) = row.split_at(depths.min(TILE));
            let (first, second) = (halves(load(first)), halves(load(second)));
            (beside(first.0, second.0), beside(first.1, second.1))
        } else {
            let even = &source.from(matrix, outer, depth + 2 * i)[..outers];
            let odd = match 2 * i + 1 < depths {
                true => &source.from(matrix, outer, depth + 2 * i + 1)[..outers],
                false => &[],
            };
            let (even, odd) = (halves(load(even)), halves(load(odd)));
            (pairs(even.0, odd.0), pairs(even.1, odd.1))
        };
        // SAFETY: within the tiles.
        unsafe {
            (*high)[i] = first;
            (*low)[i] = second;
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

/// Up to 16 values, and zeros.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32]) -> __m512 {
    assert!(values.len() <= TILE, "more values than a vector holds");
    // The processor does not follow as many rows as a tile has by itself. No address is wrong here.
    _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(AHEAD).cast());
    let mask = ((1u32 << values.len()) - 1) as __mmask16;
    // SAFETY: reads as many values as there are.
    unsafe { _mm512_maskz_loadu_ps(mask, values.as_ptr()) }
}

/// `high + low`, in bfloat16 each.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn halves(values: __m512) -> (__m256i, __m256i) {
    let high = _mm512_cvtneps_pbh(values);
    let low = _mm512_cvtneps_pbh(_mm512_sub_ps(values, _mm512_cvtpbh_ps(high)));
    // SAFETY: 256 bits of plain data each.
    unsafe { std::mem::transmute::<(__m256bh, __m256bh), (__m256i, __m256i)>((high, low)) }
}

/// Each number of one beside that of the other.
#[inline]
#[target_feature(enable = "avx512f")]
fn pairs(even: __m256i, odd: __m256i) -> __m512i {
    let odd = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(odd));
    _mm512_or_si512(_mm512_cvtepu16_epi32(even), odd)
}

/// One half of a row, then the other.
#[inline]
#[target_feature(enable = "avx512f")]
fn beside(first: __m256i, second: __m256i) -> __m512i {
    _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second)
}

/// Exchanges rows and columns, one bit of their indices at a time.
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
        if !super::super::available() {
            return;
        }
        let mut units = [[0i32; TILE]; TILE];
        for (i, row) in units.iter_mut().enumerate() {
            for (j, unit) in row.iter_mut().enumerate() {
                *unit = (i * TILE + j) as i32;
            }
        }
        // SAFETY: AVX-512 is there, and tiles are as many units.
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
