//! Products on vector units: AVX-512, AVX2, NEON, or whatever `pulp` finds at run time.
//!
//! A tile of the result is held in registers while all terms are added to it.

use crate::aligned::{self, Aligned};
use crate::geometry::Link;
use crate::parallel::{self, Disjoint};
use crate::product::{Kernel, MAX_TERMS, Matrices, Part, Target};
use pulp::{Arch, Simd, WithSimd};
use std::ptr;

/// Rows of a left operand that are packed side by side.
const ROWS: usize = 8;
/// Most columns of a tile: two vectors of AVX-512.
const MAX_COLUMNS: usize = 32;

/// Both operands of products on the vector unit.
pub(crate) struct Operands<'a> {
    left: Left<'a>,
    right: Right<'a>,
    panel: Panel,
}

enum Right<'a> {
    Source(Matrices<'a>),
    Packed(Panels),
}

impl<'a> Operands<'a> {
    pub(crate) fn new(left: Matrices<'a>, right: Matrices<'a>) -> Self {
        let panel = Arch::new().dispatch(PanelOf { width: right.outer });
        Self { left: Left::new(left), right: Right::Source(right), panel }
    }
}

impl Kernel for Operands<'_> {
    fn block(&self) -> (usize, usize) {
        (ROWS, self.panel.columns)
    }

    fn pack_right(&mut self) {
        if let Right::Source(source) = self.right {
            self.right = Right::Packed(Panels::pack(source, self.panel));
        }
    }

    unsafe fn multiply(&self, links: &[Link], part: Part) {
        let Part { depth, rows, panel, target } = part;
        let mut terms = [Term { a: ptr::null(), b: ptr::null() }; MAX_TERMS];
        for (term, link) in terms.iter_mut().zip(links) {
            term.a = self.left.from(link.left as usize, rows.start, depth.start).as_ptr();
        }
        let columns = self.panel.columns;
        let block = |terms: &[Term; MAX_TERMS]| {
            let block = Block {
                terms: &terms[..links.len()],
                left: self.left.steps,
                columns,
                vectors: self.panel.vectors,
                depth: depth.len(),
                rows: rows.len(),
                target,
            };
            Arch::new().dispatch(block);
        };
        let source = match &self.right {
            Right::Source(source) => source,
            Right::Packed(right) => {
                for (term, link) in terms.iter_mut().zip(links) {
                    let panel = right.panel(link.right as usize, panel);
                    term.b = panel[depth.start * columns..].as_ptr();
                }
                return block(&terms);
            }
        };
        let size = depth.len() * columns;
        aligned::with_scratch(links.len() * size, |scratch| {
            let packed = scratch.chunks_exact_mut(size);
            for ((term, link), packed) in terms.iter_mut().zip(links).zip(packed) {
                pack(*source, link.right as usize, panel * columns, depth.start, columns, packed);
                term.b = packed.as_ptr();
            }
            block(&terms);
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
            parallel::filled(source.count * matrix, |target| {
                let work = source.count * source.depth * source.outer;
                parallel::for_each(source.count, work, |index| pack(target, index));
            })
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

/// The right operand: [matrix][panel][depth][column of the panel], padded with zeros to whole
/// panels.
struct Panels {
    data: Aligned,
    /// Elements of a panel.
    size: usize,
    /// Panels of a matrix.
    count: usize,
}

impl Panels {
    fn pack(source: Matrices, panel: Panel) -> Self {
        let columns = panel.columns;
        let count = source.outer.div_ceil(columns);
        let size = source.depth * columns;
        let mut data = Aligned::zeros(source.count * count * size);
        let target = Disjoint::new(data.as_mut_slice());
        let work = source.count * source.depth * source.outer;
        parallel::for_each(source.count * count, work, |task| {
            // SAFETY: every task writes its own panel.
            let target = unsafe { target.part(task * size, size) };
            pack(source, task / count, task % count * columns, 0, columns, target);
        });
        Self { data, size, count }
    }

    fn panel(&self, matrix: usize, panel: usize) -> &[f32] {
        &self.data.as_slice()[(matrix * self.count + panel) * self.size..][..self.size]
    }
}

/// Packs a panel that begins at a column, from a depth on, for as much depth as `target` holds.
fn pack(
    source: Matrices,
    matrix: usize,
    column: usize,
    depth: usize,
    columns: usize,
    target: &mut [f32],
) {
    let valid = columns.min(source.outer - column);
    if source.strides.outer == 1 {
        for (k, row) in target.chunks_exact_mut(columns).enumerate() {
            row[..valid].copy_from_slice(&source.from(matrix, column, depth + k)[..valid]);
            row[valid..].fill(0.0);
        }
        return;
    }
    for j in 0..columns {
        let target = target[j..].iter_mut().step_by(columns);
        if j < valid {
            let values = source.from(matrix, column + j, depth);
            let values = values.iter().step_by(source.strides.depth);
            target.zip(values).for_each(|(target, value)| *target = *value);
        } else {
            target.for_each(|target| *target = 0.0);
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
