//! Products on vector units: AVX-512, AVX2, NEON, or whatever `pulp` finds at run time.
//!
//! A tile of the result is held in registers while all terms are added to it.

use crate::parallel::{self, Disjoint};
use crate::product::{self, Kernel, MAX_TERMS, Matrices, PACKING, Panels, Part, Target};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;
use std::ptr;

/// Rows of a left operand that are packed side by side.
const ROWS: usize = 8;
/// Floats of a cache line.
const LINE: usize = 16;
/// Most columns of a tile: two vectors of AVX-512.
const MAX_COLUMNS: usize = 32;

/// Products on the vector unit.
pub(crate) struct Vectors<'a> {
    left: Left<'a>,
    panel: Panel,
}

impl<'a> Vectors<'a> {
    /// For right operands of `width` columns.
    pub(crate) fn new(left: Matrices<'a>, width: usize) -> Self {
        Self { left: Left::new(left), panel: Arch::new().dispatch(PanelOf { width }) }
    }
}

impl Kernel for Vectors<'_> {
    fn block(&self) -> (usize, usize) {
        (ROWS, self.panel.columns)
    }

    fn panel_len(&self, depth: usize) -> usize {
        (depth * self.panel.columns).next_multiple_of(LINE)
    }

    unsafe fn pack(&self, panels: Panels, target: *mut f32) {
        let Panels { right, matrix, panels, depth } = panels;
        let len = self.panel_len(depth.len());
        let columns = self.panel.columns;
        // SAFETY: every panel has `len` floats of its own.
        unsafe {
            for (i, panel) in panels.enumerate() {
                let target = target.add(i * len);
                pack(right, matrix, panel * columns, depth.clone(), columns, target);
                let written = depth.len() * columns;
                target.add(written).write_bytes(0, len - written);
            }
        }
    }

    unsafe fn multiply(&self, from: &[product::Term], part: Part) {
        let Part { depth, rows, target } = part;
        let mut terms = [Term { a: ptr::null(), b: ptr::null() }; MAX_TERMS];
        for (term, from) in terms.iter_mut().zip(from) {
            let a = self.left.from(from.left, rows.start, depth.start).as_ptr();
            *term = Term { a, b: from.right };
        }
        Arch::new().dispatch(Block {
            terms: &terms[..from.len()],
            left: self.left.steps,
            columns: self.panel.columns,
            vectors: self.panel.vectors,
            depth: depth.len(),
            rows: rows.len(),
            target,
        });
    }
}

/// The left operand: as it is where the depth is contiguous, in blocks of rows otherwise.
struct Left<'a> {
    data: std::borrow::Cow<'a, [f32]>,
    matrix: usize,
    steps: Steps,
}

/// Distances in the left operand, in elements.
#[derive(Clone, Copy)]
struct Steps {
    /// From a block of [`ROWS`] rows to the next.
    block: usize,
    /// From a row to the next within a block.
    row: usize,
    /// From a depth to the next.
    depth: usize,
}

impl<'a> Left<'a> {
    fn new(source: Matrices<'a>) -> Self {
        let strides = source.strides;
        if strides.depth == 1 {
            let steps = Steps { block: ROWS * strides.outer, row: strides.outer, depth: 1 };
            return Self { data: source.data.into(), matrix: strides.matrix, steps };
        }
        let blocks = source.outer.div_ceil(ROWS);
        let matrix = blocks * source.depth * ROWS;
        let pack = |target: &Disjoint, index: usize| {
            // SAFETY: every task writes its own matrix.
            let target = unsafe { target.unwritten(index * matrix, matrix) };
            for k in 0..source.depth {
                let row = &source.from(index, 0, k)[..source.outer];
                let (whole, rest) = row.as_chunks::<ROWS>();
                for (block, values) in whole.iter().enumerate() {
                    target[(block * source.depth + k) * ROWS..][..ROWS].write_copy_of_slice(values);
                }
                if !rest.is_empty() {
                    let place = &mut target[(whole.len() * source.depth + k) * ROWS..][..ROWS];
                    let (values, padding) = place.split_at_mut(rest.len());
                    values.write_copy_of_slice(rest);
                    padding.iter_mut().for_each(|value| {
                        value.write(0.0);
                    });
                }
            }
        };
        // SAFETY: a matrix's blocks, padding included, are all of its elements.
        let data = unsafe {
            let work = PACKING * source.count * source.depth * source.outer;
            parallel::filled_by(source.count * matrix, source.count, work, pack)
        };
        let steps = Steps { block: source.depth * ROWS, row: 1, depth: ROWS };
        Self { data: data.into(), matrix, steps }
    }

    /// From a row at which a block begins, and a depth, on.
    fn from(&self, matrix: usize, row: usize, depth: usize) -> &[f32] {
        let Steps { block, depth: step, .. } = self.steps;
        &self.data[matrix * self.matrix + row / ROWS * block + depth * step..]
    }
}

/// Packs a panel that begins at a column: [depth][column], zeros beyond the last column.
///
/// # Safety
/// The target must be writable at as many columns as a panel has, for each depth.
unsafe fn pack(
    source: Matrices,
    matrix: usize,
    column: usize,
    depth: Range<usize>,
    columns: usize,
    target: *mut f32,
) {
    let valid = columns.min(source.outer - column);
    // SAFETY: within the rows of `columns` floats of the contract.
    unsafe {
        if source.strides.outer == 1 {
            for (i, k) in depth.enumerate() {
                let row = &source.from(matrix, column, k)[..valid];
                let target = target.add(i * columns);
                ptr::copy_nonoverlapping(row.as_ptr(), target, valid);
                target.add(valid).write_bytes(0, columns - valid);
            }
            return;
        }
        if valid < columns {
            target.write_bytes(0, depth.len() * columns);
        }
        for j in 0..valid {
            let values = source.from(matrix, column + j, depth.start);
            let values = values.iter().step_by(source.strides.depth).take(depth.len());
            for (i, value) in values.enumerate() {
                target.add(i * columns + j).write(*value);
            }
        }
    }
}

/// The shape of a right operand's panels.
#[derive(Clone, Copy)]
struct Panel {
    columns: usize,
    /// Vector registers side by side.
    vectors: usize,
}

/// The panels of a matrix of `width` columns.
struct PanelOf {
    width: usize,
}

impl WithSimd for PanelOf {
    type Output = Panel;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Panel {
        let vectors = if self.width <= S::F32_LANES { 1 } else { 2 };
        Panel { columns: vectors * S::F32_LANES, vectors }
    }
}

/// Where a term's left part (first row, first depth) and right part (first depth) begin.
#[derive(Clone, Copy)]
struct Term {
    a: *const f32,
    b: *const f32,
}

/// Some rows of a panel. Left parts hold the rows in whole blocks, or as many as there are;
/// right parts are whole panels.
struct Block<'a> {
    terms: &'a [Term],
    left: Steps,
    /// Columns of the right parts.
    columns: usize,
    vectors: usize,
    depth: usize,
    rows: usize,
    target: Target,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: the operands hold what `Block` says, and the target is the task's own.
        unsafe {
            match self.vectors {
                1 => self.rows::<S, 1>(simd),
                _ => self.rows::<S, 2>(simd),
            }
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    unsafe fn rows<S: Simd, const NV: usize>(&self, simd: S) {
        let mut row = 0;
        // SAFETY: each tile stays within the rows, and within a block of the left parts.
        unsafe {
            if S::REGISTER_COUNT >= 32 {
                while self.rows - row >= 8 {
                    self.tile::<S, 8, NV>(simd, row);
                    row += 8;
                }
            }
            while self.rows - row >= 4 {
                self.tile::<S, 4, NV>(simd, row);
                row += 4;
            }
            if self.rows - row >= 2 {
                self.tile::<S, 2, NV>(simd, row);
                row += 2;
            }
            if self.rows - row == 1 {
                self.tile::<S, 1, NV>(simd, row);
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(&self, simd: S, row: usize) {
        let Steps { block, row: a_row, depth: a_step } = self.left;
        let Target { start, row: c_row, columns, accumulate } = self.target;
        let lanes = S::F32_LANES;
        let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
        // A tile that is narrower than its vectors is computed in a copy of full width.
        let mut copy = [[0.0f32; MAX_COLUMNS]; MR];
        let edge = columns < NV * lanes;
        // SAFETY: all offsets lie in the operands, in the target or in the copy; vector reads and
        // writes need no alignment.
        unsafe {
            let c = start.add(row * c_row);
            let (to, to_row) =
                if edge { (copy.as_mut_ptr().cast::<f32>(), MAX_COLUMNS) } else { (c, c_row) };
            if accumulate {
                if edge {
                    for i in 0..MR {
                        ptr::copy_nonoverlapping(c.add(i * c_row), to.add(i * to_row), columns);
                    }
                }
                for (i, acc) in acc.iter_mut().enumerate() {
                    for (j, acc) in acc.iter_mut().enumerate() {
                        *acc = ptr::read_unaligned(to.add(i * to_row + j * lanes).cast());
                    }
                }
            }
            for term in self.terms {
                let a = term.a.add(row / ROWS * block + row % ROWS * a_row);
                for k in 0..self.depth {
                    let b = term.b.add(k * self.columns);
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
                    ptr::copy_nonoverlapping(to.add(i * to_row), c.add(i * c_row), columns);
                }
            }
        }
    }
}
