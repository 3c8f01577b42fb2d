//! Products on the matrix unit of newer x86 processors (AMX), in three products of bfloat16.
//!
//! Each operand is split into two bfloat16 numbers, `x = high + low` to 16 bits of mantissa, and
//! `high * high + high * low + low * high` is summed in f32: between the 10 bits that graphics
//! processors round f32 operands to (TF32) and the full 24, at several times the rate of the
//! vector units. Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 artificial intelligence
//! datatype for higher-precision computations".

use crate::aligned::{self, Aligned};
use crate::geometry::Link;
use crate::parallel::{self, Disjoint};
use crate::product::{Kernel, MAX_TERMS, Matrices, Target};
use std::arch::asm;
use std::arch::x86_64::*;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

/// Rows, and also pairs of depth or columns, of a tile: 16 rows of 16 units of 32 bits.
const TILE: usize = 16;
/// Rows or columns of a panel: two tiles.
const PANEL: usize = 2 * TILE;
/// Depth of a tile.
const STEP: usize = 2 * TILE;
/// Units of a tile.
const TILE_UNITS: usize = TILE * TILE;
/// Units of a panel's step: two tiles of high parts, then two of low parts.
const STEP_UNITS: usize = 4 * TILE_UNITS;

/// Whether the processor has the unit and the system lets this process use it.
pub(crate) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        // CPUID leaf 7, edx: bit 22 bfloat16 tiles, bit 24 tiles.
        let leaf_7 = if __cpuid(0).eax >= 7 { __cpuid_count(7, 0).edx } else { 0 };
        let tiles = leaf_7 >> 22 & 1 == 1 && leaf_7 >> 24 & 1 == 1;
        tiles
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bf16")
            && permitted()
    })
}

/// Asks Linux for the unit's large registers, which a process does not have by default.
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: a request that either grants the permission or changes nothing.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

/// Both operands of products on the matrix unit.
pub(crate) struct Operands<'a> {
    left: Panels,
    right: Right<'a>,
}

enum Right<'a> {
    Source(Matrices<'a>),
    Packed(Panels),
}

impl<'a> Operands<'a> {
    /// To be called only where the unit is [`available`].
    pub(crate) fn new(left: Matrices, right: Matrices<'a>) -> Self {
        assert!(available(), "no matrix unit");
        Self { left: Panels::pack(left, Side::Left), right: Right::Source(right) }
    }
}

impl Kernel for Operands<'_> {
    fn block(&self) -> (usize, usize) {
        (PANEL, PANEL)
    }

    fn pack_right(&mut self) {
        if let Right::Source(source) = self.right {
            self.right = Right::Packed(Panels::pack(source, Side::Right));
        }
    }

    fn task(&self, task: impl FnOnce()) {
        let _configured = Configured::new();
        task();
    }

    unsafe fn multiply(
        &self,
        links: &[Link],
        depth: Range<usize>,
        rows: Range<usize>,
        panel: usize,
        target: Target,
    ) {
        let mut terms = [Term { a: ptr::null(), b: ptr::null() }; MAX_TERMS];
        let step = depth.start / STEP;
        let steps = depth.len().div_ceil(STEP);
        match &self.right {
            Right::Packed(right) => {
                for (term, link) in terms.iter_mut().zip(links) {
                    term.b = right.steps(link.right as usize, panel, step, steps);
                }
            }
            Right::Source(source) => {
                return aligned::with_scratch(links.len() * steps * STEP_UNITS, |scratch| {
                    let packed = scratch.chunks_exact_mut(steps * STEP_UNITS);
                    for ((term, link), packed) in terms.iter_mut().zip(links).zip(packed) {
                        for (i, packed) in packed.chunks_exact_mut(STEP_UNITS).enumerate() {
                            let (matrix, packed) = (link.right as usize, packed.as_mut_ptr());
                            // SAFETY: the unit is there, and with it the features.
                            unsafe {
                                pack_step(*source, matrix, panel, step + i, Side::Right, packed);
                            }
                        }
                        term.b = packed.as_ptr();
                    }
                    // SAFETY: forwarded; the scratch holds the steps.
                    unsafe { self.panel(links, &mut terms, step, steps, rows, target) };
                });
            }
        }
        // SAFETY: forwarded; the packed panels hold the steps.
        unsafe { self.panel(links, &mut terms, step, steps, rows, target) };
    }
}

impl Operands<'_> {
    /// Some rows of one panel, whose right parts `terms` name.
    ///
    /// # Safety
    /// As [`Kernel::multiply`]; every right part must hold `steps` steps.
    unsafe fn panel(
        &self,
        links: &[Link],
        terms: &mut [Term; MAX_TERMS],
        step: usize,
        steps: usize,
        rows: Range<usize>,
        target: Target,
    ) {
        for first in (0..rows.len()).step_by(PANEL) {
            for (term, link) in terms.iter_mut().zip(links) {
                let row_panel = (rows.start + first) / PANEL;
                term.a = self.left.steps(link.left as usize, row_panel, step, steps);
            }
            let terms = &terms[..links.len()];
            let rows = PANEL.min(rows.len() - first);
            // SAFETY: panels hold `steps` steps from these on; the target is writable at these
            // rows, or the copy is at all. Operands exist only where the unit does, and
            // `task` has configured it.
            unsafe {
                let c = target.start.add(first * target.row);
                if rows == PANEL && target.columns == PANEL {
                    block(terms, steps, c, target.row, target.accumulate);
                    continue;
                }
                let mut copy = [[0.0f32; PANEL]; PANEL];
                if target.accumulate {
                    for (i, copy) in copy[..rows].iter_mut().enumerate() {
                        let c = c.add(i * target.row);
                        ptr::copy_nonoverlapping(c, copy.as_mut_ptr(), target.columns);
                    }
                }
                let to = copy.as_mut_ptr().cast();
                block(terms, steps, to, PANEL, target.accumulate);
                for (i, copy) in copy[..rows].iter().enumerate() {
                    let c = c.add(i * target.row);
                    ptr::copy_nonoverlapping(copy.as_ptr(), c, target.columns);
                }
            }
        }
    }
}

/// Where a term's steps begin.
#[derive(Clone, Copy)]
#[repr(C)]
struct Term {
    a: *const f32,
    b: *const f32,
}

/// `c (+)= sum over terms of a * b`, 32 rows by 32 columns, rows of `c` being `row` apart.
///
/// # Safety
/// On a thread where tiles are configured. Every term must hold `steps` steps, of which, like of
/// terms, there is at least one; `c` must be writable at all rows and columns.
unsafe fn block(terms: &[Term], steps: usize, c: *mut f32, row: usize, accumulate: bool) {
    // Tiles 0 to 3 are the result, 4 and 5 the left operand's rows, 6 and 7 the right one's
    // columns; a step's tiles lie 1024 bytes apart: high, high, low, low.
    // SAFETY: reads and writes what the contract names; the compiler does not use tiles.
    unsafe {
        asm!(
            "test {accumulate:e}, {accumulate:e}",
            "jz 2f",
            "tileloadd tmm0, [{c0} + {row}]",
            "tileloadd tmm1, [{c0} + {row} + 64]",
            "tileloadd tmm2, [{c1} + {row}]",
            "tileloadd tmm3, [{c1} + {row} + 64]",
            "jmp 3f",
            "2:",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "3:",
            "mov {a}, [{term}]",
            "mov {b}, [{term} + 8]",
            "mov {step}, {steps}",
            "4:",
            // high * high
            "tileloadd tmm4, [{a} + {line}]",
            "tileloadd tmm6, [{b} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{a} + {line} + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b} + {line} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // high * low
            "tileloadd tmm6, [{b} + {line} + 2048]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b} + {line} + 3072]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            // low * high
            "tileloadd tmm6, [{b} + {line}]",
            "tileloadd tmm4, [{a} + {line} + 2048]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{a} + {line} + 3072]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b} + {line} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 4096",
            "add {b}, 4096",
            "dec {step}",
            "jnz 4b",
            "add {term}, 16",
            "dec {terms}",
            "jnz 3b",
            "tilestored [{c0} + {row}], tmm0",
            "tilestored [{c0} + {row} + 64], tmm1",
            "tilestored [{c1} + {row}], tmm2",
            "tilestored [{c1} + {row} + 64], tmm3",
            accumulate = in(reg) u32::from(accumulate),
            c0 = in(reg) c,
            c1 = in(reg) c.wrapping_add(TILE * row),
            row = in(reg) row * size_of::<f32>(),
            line = in(reg) TILE * size_of::<f32>(),
            term = inout(reg) terms.as_ptr() => _,
            terms = inout(reg) terms.len() => _,
            steps = in(reg) steps,
            step = out(reg) _,
            a = out(reg) _,
            b = out(reg) _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Tiles of 16 rows of 64 bytes on this thread, for as long as it lives.
struct Configured;

impl Configured {
    fn new() -> Self {
        #[repr(C, align(64))]
        struct Configuration {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            row_bytes: [u16; 16],
            rows: [u8; 16],
        }
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        configuration.row_bytes[..8].fill(64);
        configuration.rows[..8].fill(16);
        // SAFETY: reads the 64 bytes of the configuration; operands, and so their tasks, exist
        // only where the unit does.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly));
        }
        Self
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: releases what `new` configured.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// Which operand: a left tile has its 16 rows one after the other, in pairs of depth; a right one
/// its 16 pairs of depth, in columns.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Left,
    Right,
}

/// An operand: [matrix][panel][step][part of the step], padded with zeros to whole steps of whole
/// panels.
struct Panels {
    data: Aligned,
    /// Panels of a matrix.
    count: usize,
    /// Steps of a panel.
    steps: usize,
}

impl Panels {
    fn pack(source: Matrices, side: Side) -> Self {
        let (count, steps) = (source.outer.div_ceil(PANEL), source.depth.div_ceil(STEP));
        let size = steps * STEP_UNITS;
        // Along what is contiguous, for every row read is a stream of its own; some at a time, so
        // that a single large matrix is shared among threads too.
        let by_rows = source.strides.depth == 1;
        let (across, along) = if by_rows { (count, steps) } else { (steps, count) };
        let per_task = along.min(8);
        let stretches = along.div_ceil(per_task);
        let tasks = source.count * across * stretches;
        let pack = |target: &Disjoint, task: usize| {
            let (matrix, rest) = (task / (across * stretches), task % (across * stretches));
            let (fixed, first) = (rest / stretches, rest % stretches * per_task);
            for moving in first..along.min(first + per_task) {
                let (panel, step) = if by_rows { (fixed, moving) } else { (moving, fixed) };
                let start = (matrix * count + panel) * size + step * STEP_UNITS;
                let target = target.address(start);
                // SAFETY: the operands' features are there wherever operands are;
                // every task writes its own steps.
                unsafe { pack_step(source, matrix, panel, step, side, target) };
            }
        };
        // SAFETY: the tasks write all steps of all panels.
        let data = unsafe {
            Aligned::filled(source.count * count * size, |target| {
                let work = source.count * source.outer * source.depth;
                parallel::for_each(tasks, work, |task| pack(target, task));
            })
        };
        Self { data, count, steps }
    }

    /// The address of `steps` steps from one on.
    fn steps(&self, matrix: usize, panel: usize, step: usize, steps: usize) -> *const f32 {
        let first = (matrix * self.count + panel) * self.steps + step;
        self.data.as_slice()[first * STEP_UNITS..][..steps * STEP_UNITS].as_ptr()
    }
}

type Tile = [__m512i; TILE];

/// # Safety
/// `target` must be writable at a step's units.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn pack_step(
    source: Matrices,
    matrix: usize,
    panel: usize,
    step: usize,
    side: Side,
    target: *mut f32,
) {
    for half in 0..2 {
        let outer = panel * PANEL + half * TILE;
        let (high, low) = split(source, matrix, outer, step * STEP, side);
        // SAFETY: high parts of both halves, then low parts, make up the step.
        unsafe {
            store(high, target.add(half * TILE_UNITS));
            store(low, target.add((2 + half) * TILE_UNITS));
        }
    }
}

/// The high and low parts of 16 rows or columns by 32 of depth, zeros where there are fewer.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn split(source: Matrices, matrix: usize, outer: usize, depth: usize, side: Side) -> (Tile, Tile) {
    let mut high = [_mm512_setzero_si512(); TILE];
    let mut low = high;
    let outers = source.outer.saturating_sub(outer).min(TILE);
    let depths = (source.depth - depth).min(STEP);
    let by_rows = source.strides.depth == 1;
    if by_rows {
        for (i, (high, low)) in high.iter_mut().zip(&mut low).take(outers).enumerate() {
            let row = &source.from(matrix, outer + i, depth)[..depths];
            let (first, second) = row.split_at(depths.min(TILE));
            let (first, second) = (halves(load(first)), halves(load(second)));
            *high = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first.0), second.0);
            *low = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first.1), second.1);
        }
    } else if outers > 0 {
        for (i, (high, low)) in high.iter_mut().zip(&mut low).take(depths.div_ceil(2)).enumerate() {
            let even = &source.from(matrix, outer, depth + 2 * i)[..outers];
            let odd = match 2 * i + 1 < depths {
                true => &source.from(matrix, outer, depth + 2 * i + 1)[..outers],
                false => &[],
            };
            let (even, odd) = (halves(load(even)), halves(load(odd)));
            *high = pairs(even.0, odd.0);
            *low = pairs(even.1, odd.1);
        }
    }
    if by_rows == (side == Side::Left) { (high, low) } else { (transposed(high), transposed(low)) }
}

/// Up to 16 values, and zeros.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(values: &[f32]) -> __m512 {
    debug_assert!(values.len() <= TILE);
    // The processor does not follow as many rows as a tile has by itself. No address is wrong here.
    _mm_prefetch::<_MM_HINT_T0>(values.as_ptr().wrapping_add(PANEL).cast());
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

/// Rows and columns exchanged, one bit of their indices at a time.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed(mut tile: Tile) -> Tile {
    const fn exchange(bit: usize, upper: usize) -> [i32; TILE] {
        let mut index = [0; TILE];
        let mut column = 0;
        while column < TILE {
            let from = (column & !bit) | (upper * bit);
            index[column] = (if column & bit == 0 { from } else { from + TILE }) as i32;
            column += 1;
        }
        index
    }
    const INDEX: [[[i32; TILE]; 2]; 4] = {
        let mut index = [[[0; TILE]; 2]; 4];
        let mut bit = 0;
        while bit < 4 {
            index[bit] = [exchange(1 << bit, 0), exchange(1 << bit, 1)];
            bit += 1;
        }
        index
    };
    for (bit, index) in INDEX.iter().enumerate() {
        // SAFETY: 64 bytes each.
        let [lower, upper] = index.map(|index| unsafe { _mm512_loadu_epi32(index.as_ptr()) });
        for i in (0..TILE).filter(|i| i >> bit & 1 == 0) {
            let (a, b) = (tile[i], tile[i | 1 << bit]);
            tile[i] = _mm512_permutex2var_epi32(a, lower, b);
            tile[i | 1 << bit] = _mm512_permutex2var_epi32(a, upper, b);
        }
    }
    tile
}

/// # Safety
/// `target` must be writable at a tile's units.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn store(tile: Tile, target: *mut f32) {
    for (i, row) in tile.into_iter().enumerate() {
        // SAFETY: within the contract's units.
        unsafe { _mm512_storeu_si512(target.add(i * TILE).cast(), row) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposed_exchanges_rows_and_columns() {
        if !available() {
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
            std::mem::transmute(transposed(std::mem::transmute::<[[i32; TILE]; TILE], Tile>(units)))
        };
        for (i, row) in result.iter().enumerate() {
            for (j, unit) in row.iter().enumerate() {
                assert_eq!(*unit as usize, j * TILE + i);
            }
        }
    }
}
