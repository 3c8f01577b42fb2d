//! Sums of matrix products: what every layer's forward pass and both of its gradients are.
//!
//! Activations are laid out as [pixel][batch][channel], so that for one pixel the batch is a
//! plain matrix. A convolution's output pixel is then the sum over kernel taps of an input
//! pixel's matrix times the tap's weights, and a tap's weight gradient the sum over pixels of an
//! input's matrix, transposed, times an output's gradient. [`Links`] list the terms.

use crate::aligned::{self, Aligned};
use crate::geometry::{Group, Links};
use crate::parallel::{self, Disjoint};
use crate::precision::{Precision, precision};
use crate::{matrix_unit, vector};
use std::ops::Range;
use std::ptr;

/// Floats of the right operand that a block of the result should find in the first-level cache.
const CACHED_FLOATS: usize = 8192;
/// Longest stretch of depth between visits to the result.
const MAX_DEPTH: usize = 512;
/// Stretches of depth begin at multiples of this.
const DEPTH_UNIT: usize = 32;
/// Most terms between visits to the result.
pub(crate) const MAX_TERMS: usize = 32;

/// Multiply-adds that take about as long as the packing of an element.
pub(crate) const PACKING: usize = 4;

/// Matrices of one size in a slice: all left operands of a sum of products, or all right ones.
/// One of the strides `outer` and `depth` is 1, or is never taken.
#[derive(Clone, Copy)]
pub(crate) struct Matrices<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) count: usize,
    /// Rows of a left operand, columns of a right one.
    pub(crate) outer: usize,
    /// Columns of a left operand, rows of a right one: what is summed over.
    pub(crate) depth: usize,
    /// Distances in `data` between neighbours.
    pub(crate) strides: Strides,
}

/// Distances, in elements.
#[derive(Clone, Copy)]
pub(crate) struct Strides {
    pub(crate) matrix: usize,
    pub(crate) outer: usize,
    pub(crate) depth: usize,
}

impl<'a> Matrices<'a> {
    /// Matrices stored row after row, each row `columns` long, whose columns are summed over.
    pub(crate) fn of_rows(data: &'a [f32], rows: usize, columns: usize) -> Self {
        let strides = Strides { matrix: rows * columns, outer: columns, depth: 1 };
        let count = data.len() / strides.matrix;
        Self { data, count, outer: rows, depth: columns, strides }
    }

    /// The same, where it is the rows that are summed over.
    pub(crate) fn of_columns(data: &'a [f32], rows: usize, columns: usize) -> Self {
        let strides = Strides { matrix: rows * columns, outer: 1, depth: columns };
        let count = data.len() / strides.matrix;
        Self { data, count, outer: columns, depth: rows, strides }
    }

    /// From element (matrix, outer, depth) on.
    pub(crate) fn from(&self, matrix: usize, outer: usize, depth: usize) -> &'a [f32] {
        let Strides { matrix: m, outer: o, depth: d } = self.strides;
        &self.data[matrix * m + outer * o + depth * d..]
    }
}

/// A way to multiply: with left operands, which are packed when it is made, and with right ones
/// that it packs in panels.
pub(crate) trait Kernel: Sync {
    /// Rows and columns of the result that are computed at a time; the columns of a panel.
    fn block(&self) -> (usize, usize);

    /// Floats of a packed panel of this depth: whole cache lines.
    fn panel_len(&self, depth: usize) -> usize;

    /// Packs panels, one after the other.
    ///
    /// # Safety
    /// The depth must begin at a multiple of [`DEPTH_UNIT`], matrix, panels and depth lie in the
    /// operand, and the target begin at a cache line and be writable, by no one else, at all
    /// that is packed.
    unsafe fn pack(&self, panels: Panels, target: *mut f32);

    /// Runs a task, in which alone [`Kernel::multiply`] is called, on the thread it is to run on.
    fn task(&self, task: impl FnOnce()) {
        task();
    }

    /// `target (+)= sum over terms of left * right`, as far as the part goes.
    ///
    /// # Safety
    /// To be called in a [`Kernel::task`], with 1 to [`MAX_TERMS`] terms, whose right panels hold
    /// the part's depth. Terms and part must lie in the operands, its depth begin at a multiple of
    /// [`DEPTH_UNIT`] and its rows at one of the block's rows. The target must be writable at all
    /// rows, by no one else, and initialised where the sum is added to it.
    unsafe fn multiply(&self, terms: &[Term], part: Part);
}

/// Some panels of a matrix of the right operand, for a stretch of its depth.
pub(crate) struct Panels<'a> {
    pub(crate) right: Matrices<'a>,
    pub(crate) matrix: usize,
    pub(crate) panels: Range<usize>,
    pub(crate) depth: Range<usize>,
}

/// A left matrix, and the packed panel of a right one that it is multiplied by.
#[derive(Clone, Copy)]
pub(crate) struct Term {
    pub(crate) left: usize,
    pub(crate) right: *const f32,
}

/// Part of a product: a stretch of the depth, for some rows and one panel's columns.
pub(crate) struct Part {
    pub(crate) depth: Range<usize>,
    pub(crate) rows: Range<usize>,
    pub(crate) target: Target,
}

/// Where a product goes.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// First row, first column of the panel.
    pub(crate) start: *mut f32,
    /// Distance between rows.
    pub(crate) row: usize,
    /// Columns there are.
    pub(crate) columns: usize,
    /// Whether to add to what is there.
    pub(crate) accumulate: bool,
}

/// For every result of `links`, the sum over its links of `left` times `right`: [result][row of
/// left][column of right]. `finish(result * rows + row, column, values)` is then called once for
/// every element, with a stretch of one row or with whole rows of one result that begin there.
pub(crate) fn product(
    links: &Links,
    (left, right): (Matrices, Matrices),
    unit: Unit,
    finish: impl Fn(usize, usize, &mut [f32]) + Sync + Send,
) -> Vec<f32> {
    let (lefts, rights) = links.counts();
    assert!(
        left.depth == right.depth && lefts <= left.count && rights <= right.count,
        "operands that do not fit each other or their links"
    );
    let job = Job { links, right, rows: left.outer, depth: left.depth, width: right.outer };
    match unit {
        Unit::Matrix => job.run(matrix_unit::Tiles::new(left), finish),
        Unit::Vector => job.run(vector::Vectors::new(left, right.outer), finish),
    }
}

/// The part of the processor that multiplies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Matrix,
    Vector,
}

impl Unit {
    /// The unit for products with weights of this size. The batch has no say, so that a picture's
    /// result is the same in every batch.
    pub(crate) fn of_weights(rows: usize, columns: usize) -> Self {
        // Smaller ones do not fill a block.
        let is_large = rows >= 32 && columns >= 32;
        if is_large && precision() == Precision::High { Self::Matrix } else { Self::Vector }
    }
}

#[derive(Clone, Copy)]
struct Job<'a> {
    links: &'a Links,
    right: Matrices<'a>,
    rows: usize,
    depth: usize,
    width: usize,
}

impl Job<'_> {
    fn run(
        self,
        kernel: impl Kernel,
        finish: impl Fn(usize, usize, &mut [f32]) + Sync + Send,
    ) -> Vec<f32> {
        let Self { links, rows, depth, width, .. } = self;
        let (block_rows, block_columns) = kernel.block();
        let (row_blocks, panels) = (rows.div_ceil(block_rows), width.div_ceil(block_columns));
        let groups = links.groups();
        // Where groups of results are too few to share among threads, they are cut along their
        // longer side; along the columns first, if that lets every right matrix's panel be met
        // by one task alone.
        let reuse = links.reuse_rights();
        let wanted = 2 * rayon::current_num_threads();
        let (mut row_cuts, mut column_cuts) = (1, 1);
        while groups.len() * row_cuts * column_cuts < wanted {
            let (can_rows, can_columns) = (row_cuts * 2 <= row_blocks, column_cuts * 2 <= panels);
            let tall = reuse && rows / row_cuts >= width / column_cuts;
            match (can_rows, can_columns) {
                (true, can_columns) if tall || !can_columns => row_cuts *= 2,
                (_, true) => column_cuts *= 2,
                _ => break,
            }
        }
        // Such panels are packed by that task, just before it needs them.
        let packed = (reuse || row_cuts > 1).then(|| self.pack(&kernel));
        let (kernel, packed) = (&kernel, packed.as_ref());
        let cut = |blocks: usize, cuts: usize, index: usize| {
            blocks * index / cuts..blocks * (index + 1) / cuts
        };
        let run = |target: &Disjoint, task: usize| {
            let group = &groups[task / (row_cuts * column_cuts)];
            let blocks = cut(row_blocks, row_cuts, task / column_cuts % row_cuts);
            let panels = cut(panels, column_cuts, task % column_cuts);
            let part = rows.min(blocks.start * block_rows)..rows.min(blocks.end * block_rows);
            let place = (part.clone(), panels.clone());
            kernel.task(|| self.multiply(kernel, packed, group, place, target));
            let columns = panels.start * block_columns..width.min(panels.end * block_columns);
            for result in &group.results {
                let first = result * rows + part.start;
                let whole = columns.len() == width;
                let (stretches, length) =
                    if whole { (1, part.len() * width) } else { (part.len(), columns.len()) };
                for row in first..first + stretches {
                    // SAFETY: what tasks write does not meet, and the product has written these
                    // rows and columns.
                    let values = unsafe { target.part(row * width + columns.start, length) };
                    finish(row, columns.start, values);
                }
            }
        };
        let tasks = groups.len() * row_cuts * column_cuts;
        let work = links.len() * rows * depth * width;
        // SAFETY: the tasks cover all results, rows and columns, and each writes all of its own.
        unsafe { parallel::filled_by(links.results() * rows * width, tasks, work, run) }
    }

    /// Where the stretches of depth begin and end: of one length, but for the last.
    fn stretches(self) -> impl Iterator<Item = Range<usize>> {
        let depth = self.depth;
        let length = depth.div_ceil(depth.div_ceil(MAX_DEPTH)).next_multiple_of(DEPTH_UNIT);
        (0..depth).step_by(length).map(move |first| first..depth.min(first + length))
    }

    /// All right matrices in panels, for all tasks.
    fn pack(self, kernel: &impl Kernel) -> Packed {
        // Some panels at a time, so that a single large matrix is shared among threads too.
        const PANELS: usize = 8;
        let Self { right, depth, width, .. } = self;
        let panels = width.div_ceil(kernel.block().1);
        let mut matrix_len = 0;
        let mut tasks = Vec::new();
        for stretch in self.stretches() {
            let panel_len = kernel.panel_len(stretch.len());
            for first in (0..panels).step_by(PANELS) {
                let place = matrix_len + first * panel_len;
                tasks.push((stretch.clone(), first..panels.min(first + PANELS), place));
            }
            matrix_len += panels * panel_len;
        }
        let pack = |target: &Disjoint, task: usize| {
            let (matrix, (depth, panels, place)) = (task / tasks.len(), &tasks[task % tasks.len()]);
            let target = target.address(matrix * matrix_len + place);
            let (panels, depth) = (panels.clone(), depth.clone());
            // SAFETY: every task packs stretches and panels of its own.
            unsafe { kernel.pack(Panels { right, matrix, panels, depth }, target) };
        };
        // SAFETY: the tasks pack all stretches of all panels of all matrices.
        let data = unsafe {
            Aligned::filled(right.count * matrix_len, |target| {
                let work = PACKING * right.count * depth * width;
                parallel::for_each(right.count * tasks.len(), work, |task| pack(target, task));
            })
        };
        Packed { data, matrix_len }
    }

    /// One task: some rows and panels of the results of a group.
    fn multiply(
        self,
        kernel: &impl Kernel,
        packed: Option<&Packed>,
        group: &Group,
        (rows, panels): (Range<usize>, Range<usize>),
        target: &Disjoint,
    ) {
        let Self { links, right, width, .. } = self;
        let (_, panel_columns) = kernel.block();
        for &result in &group.results {
            if links.of(result).is_empty() {
                for panel in panels.clone() {
                    let place = self.target(kernel, target, (result, rows.start, panel));
                    // SAFETY: this task's own rows and columns.
                    unsafe { place.zero(rows.len()) };
                }
            }
        }
        // Where a stretch begins in a packed matrix.
        let mut place = 0;
        for depth in self.stretches() {
            let panel_len = kernel.panel_len(depth.len());
            let first = place + panels.start * panel_len;
            place += width.div_ceil(panel_columns) * panel_len;
            let count = (CACHED_FLOATS / (depth.len() * panel_columns)).clamp(1, MAX_TERMS);
            for rights in group.rights.chunks(count) {
                let (rows, panels, depth) = (rows.clone(), panels.clone(), depth.clone());
                if let Some(packed) = packed {
                    let at = |matrix: u32| packed.from(matrix as usize, first);
                    self.add(kernel, group, rights, (rows, panels, depth), at, target);
                    continue;
                }
                let len = panels.len() * panel_len;
                aligned::with_scratch(rights.len() * len, |scratch| {
                    for (matrix, scratch) in rights.iter().zip(scratch.chunks_exact_mut(len)) {
                        let (panels, depth) = (panels.clone(), depth.clone());
                        let panels = Panels { right, matrix: *matrix as usize, panels, depth };
                        // SAFETY: there is room for these panels.
                        unsafe { kernel.pack(panels, scratch.as_mut_ptr()) };
                    }
                    let at = |matrix: u32| {
                        let index = rights.partition_point(|right| *right < matrix);
                        scratch[index * len..].as_ptr()
                    };
                    self.add(kernel, group, rights, (rows, panels, depth), at, target);
                });
            }
        }
    }

    /// Adds to a group's results, at some rows and panels, the terms with some right matrices, along
    /// a stretch of the depth. `packed` tells where the first of the panels begins.
    fn add(
        self,
        kernel: &impl Kernel,
        group: &Group,
        rights: &[u32],
        (rows, panels, depth): (Range<usize>, Range<usize>, Range<usize>),
        packed: impl Fn(u32) -> *const f32,
        target: &Disjoint,
    ) {
        let (Some(first), Some(last)) = (rights.first(), rights.last()) else { return };
        let panel_len = kernel.panel_len(depth.len());
        // Panels outside of results: a panel of these right matrices stays in the cache.
        for panel in panels.clone() {
            let ahead = (panel - panels.start) * panel_len;
            for &result in &group.results {
                let all = self.links.of(result);
                let start = all.partition_point(|link| link.right < *first);
                let end = all.partition_point(|link| link.right <= *last);
                if start == end {
                    continue;
                }
                let mut terms = [Term { left: 0, right: ptr::null() }; MAX_TERMS];
                for (term, link) in terms.iter_mut().zip(&all[start..end]) {
                    let right = packed(link.right).wrapping_add(ahead);
                    *term = Term { left: link.left as usize, right };
                }
                let mut target = self.target(kernel, target, (result, rows.start, panel));
                target.accumulate = start > 0 || depth.start > 0;
                let part = Part { depth: depth.clone(), rows: rows.clone(), target };
                // SAFETY: `run` calls this in a task, and `product` has checked the links. No
                // other task writes these rows and columns, and the first term of all does not
                // add to what is there.
                unsafe { kernel.multiply(&terms[..end - start], part) };
            }
        }
    }

    /// A row of a result, at a panel's columns.
    fn target(
        self,
        kernel: &impl Kernel,
        target: &Disjoint,
        (result, row, panel): (usize, usize, usize),
    ) -> Target {
        let Self { rows, width, .. } = self;
        let (_, panel_columns) = kernel.block();
        let column = panel * panel_columns;
        Target {
            start: target.address((result * rows + row) * width + column),
            row: width,
            columns: panel_columns.min(width - column),
            accumulate: false,
        }
    }
}

/// Right matrices: [matrix][stretch][panel], as their kernel packs them.
struct Packed {
    data: Aligned,
    matrix_len: usize,
}

impl Packed {
    /// The address of an element of a matrix.
    fn from(&self, matrix: usize, element: usize) -> *const f32 {
        self.data.as_slice()[matrix * self.matrix_len + element..].as_ptr()
    }
}

impl Target {
    /// # Safety
    /// The target must be writable at `rows` rows, by no one else.
    unsafe fn zero(self, rows: usize) {
        for row in 0..rows {
            // SAFETY: within the rows and columns of the contract.
            unsafe { self.start.add(row * self.row).write_bytes(0, self.columns) };
        }
    }
}
