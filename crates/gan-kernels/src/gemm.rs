//! Batched matrix products: every layer's forward pass and both of its gradients.
//!
//! Activations are laid out as [pixel][batch][channel], so the batch of one pixel is a plain
//! matrix. An output pixel of a convolution is the sum over kernel taps of an input pixel's matrix
//! times the tap's weights. The weight gradient of a tap is the sum over pixels of an input's
//! transposed matrix times an output's gradient. A [`Rulebook`] lists the products.

use crate::aligned::{self, Aligned};
use crate::isa::Isa;
use crate::kernel::{Block, K_UNIT, Kernel, MAX_PRODUCTS, Panels, Product, Target};
use crate::matrix::{MatrixBatch, Strides};
use crate::parallel::{self, COPY_WORK};
use crate::rulebook::{Group, Rulebook};
use crate::unsafe_slice::UnsafeSlice;
use crate::{amx, simd_kernel};
use std::ops::Range;
use std::{ptr, slice};

/// Floats of B that the first-level cache holds while a block of C is computed.
const CACHED_FLOATS: usize = 8192;
/// The longest K block.
const MAX_K: usize = 512;

/// Returns for every matrix of C in `rulebook` the sum of its products: [matrix][row][column].
/// Then `finish(matrix * rows + row, column, values)` is called once for every element, with a part
/// of one row or with whole rows of one matrix.
pub(crate) fn gemm(
    rulebook: &Rulebook,
    (a, b): (MatrixBatch, MatrixBatch),
    isa: Isa,
    finish: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    gemm_columns(rulebook, (&[a], &[b]), isa, finish)
}

/// The same for several operands A and B of the same sizes, one pair for each group of columns of C: a
/// row of C has the columns of the first group, then those of the second, and so on.
pub(crate) fn gemm_columns(
    rulebook: &Rulebook,
    (a, b): (&[MatrixBatch], &[MatrixBatch]),
    isa: Isa,
    finish: impl Fn(usize, usize, &mut [f32]) + Sync,
) -> Vec<f32> {
    let mut c = Vec::new();
    let (gemm, n) = (Gemm::new(rulebook, a, b), b[0].mn);
    match isa {
        Isa::Amx => {
            let kernels: Vec<_> = a.iter().map(|a| amx::AmxKernel::new(*a)).collect();
            gemm.run(&kernels, None, &mut c, finish);
        }
        _ => {
            let kernels: Vec<_> =
                a.iter().map(|a| simd_kernel::SimdKernel::new(*a, a.mn, n)).collect();
            gemm.run(&kernels, None, &mut c, finish);
        }
    }
    c
}

/// The operand B, packed in advance for matrices A of some number of rows.
pub(crate) struct PackedOperand {
    /// The matrices without their data.
    b: MatrixBatch<'static>,
    isa: Isa,
    /// Rows of A that the panels are made for: one, or several.
    rows: usize,
    packed: PackedB,
}

impl PackedOperand {
    /// Packs B for matrices A of `rows` rows.
    pub(crate) fn new(b: MatrixBatch, rows: usize, isa: Isa) -> Self {
        // A kernel is made for an operand A. This one has no matrices.
        let strides = Strides { matrix: 0, mn: b.k, k: 1 };
        let a = MatrixBatch { data: &[], count: 0, mn: rows, k: b.k, strides };
        match isa {
            Isa::Amx => Self::of(&amx::AmxKernel::new(a), b, rows, isa),
            _ => Self::of(&simd_kernel::SimdKernel::new(a, rows, b.mn), b, rows, isa),
        }
    }

    fn of(kernel: &impl Kernel, b: MatrixBatch, rows: usize, isa: Isa) -> Self {
        let packed = pack(b, kernel);
        let b = MatrixBatch { data: &[], ..b };
        Self { b, isa, rows, packed }
    }

    /// Computes the products of [`gemm`] with these matrices B into `c`, whose memory is used again.
    pub(crate) fn gemm(
        &self,
        rulebook: &Rulebook,
        a: MatrixBatch,
        c: &mut Vec<f32>,
        finish: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) {
        let gemm = Gemm::new(rulebook, slice::from_ref(&a), slice::from_ref(&self.b));
        match self.isa {
            Isa::Amx => gemm.run(&[amx::AmxKernel::new(a)], Some(self), c, finish),
            _ => {
                let kernel = simd_kernel::SimdKernel::new(a, self.rows, self.b.mn);
                gemm.run(&[kernel], Some(self), c, finish);
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Gemm<'a> {
    rulebook: &'a Rulebook,
    /// The matrices B of each group of columns.
    b: &'a [MatrixBatch<'a>],
    m: usize,
    /// Columns of a group.
    n: usize,
    k: usize,
}

/// The part of C that one task computes, of one group of columns.
struct Part<'a> {
    group: &'a Group,
    rows: Range<usize>,
    /// The number of the group of columns.
    columns: usize,
    /// Panels of that group.
    panels: Range<usize>,
}

impl<'a> Gemm<'a> {
    fn new(rulebook: &'a Rulebook, a: &[MatrixBatch], b: &'a [MatrixBatch<'a>]) -> Self {
        let (a_count, b_count) = rulebook.operands();
        let (m, n, k) = (a[0].mn, b[0].mn, a[0].k);
        let a_fits = |a: &MatrixBatch| (a.mn, a.k) == (m, k) && a_count <= a.count;
        let b_fits = |b: &MatrixBatch| (b.mn, b.k) == (n, k) && b_count <= b.count;
        assert!(
            a.len() == b.len() && a.iter().all(a_fits) && b.iter().all(b_fits),
            "the operands do not fit each other or the rulebook"
        );
        Self { rulebook, b, m, n, k }
    }

    /// Computes C with a kernel for each group of columns. `packed` is the operand B, if there is one group
    /// and it is packed already.
    fn run(
        self,
        kernels: &[impl Kernel],
        packed: Option<&PackedOperand>,
        c: &mut Vec<f32>,
        finish: impl Fn(usize, usize, &mut [f32]) + Sync,
    ) {
        let Self { rulebook, m, n, k, .. } = self;
        let (block_rows, block_columns) = kernels[0].block();
        let (row_blocks, each) = (m.div_ceil(block_rows), n.div_ceil(block_columns));
        let (panels, row_len) = (self.b.len() * each, self.b.len() * n);
        assert_eq!(kernels.len(), self.b.len(), "a kernel for each group of columns");
        let groups = rulebook.groups();
        let (row_cuts, column_cuts) = self.cuts(row_blocks, panels);
        // A panel that only one task uses is packed by that task, just before its use. So is one that a
        // group of columns does not fill: those of all groups take many times B's memory.
        let fills = self.b.len() == 1 || n >= block_columns;
        let packs = packed.is_none() && fills && (rulebook.reuses_b() || row_cuts > 1);
        let own = |(b, kernel): (&MatrixBatch, _)| pack(*b, kernel);
        let own = packs.then(|| self.b.iter().zip(kernels).map(own).collect::<Vec<_>>());
        let packed = packed.map(|operand| slice::from_ref(&operand.packed)).or(own.as_deref());
        let cut = |blocks: usize, cuts: usize, index: usize| {
            blocks * index / cuts..blocks * (index + 1) / cuts
        };
        let run = |c: &UnsafeSlice, task: usize| {
            let group = &groups[task / (row_cuts * column_cuts)];
            let blocks = cut(row_blocks, row_cuts, task / column_cuts % row_cuts);
            let panels = cut(panels, column_cuts, task % column_cuts);
            let rows = m.min(blocks.start * block_rows)..m.min(blocks.end * block_rows);
            for number in panels.start / each..panels.end.div_ceil(each) {
                let of_group = |panel: usize| panel.saturating_sub(number * each).min(each);
                let panels = of_group(panels.start)..of_group(panels.end);
                let part = Part { group, rows: rows.clone(), columns: number, panels };
                self.multiply(&kernels[number], packed.map(|packed| &packed[number]), &part, c);
            }
            let first = |panel: usize| panel / each * n + panel % each * block_columns;
            let columns = first(panels.start)..first(panels.end);
            for matrix in &group.c {
                let first = matrix * m + rows.start;
                let (parts, len) = match columns.len() == row_len {
                    true => (1, rows.len() * row_len),
                    false => (rows.len(), columns.len()),
                };
                for row in first..first + parts {
                    // SAFETY: tasks have different rows and columns, and `multiply` has
                    // initialised those of this task.
                    let values = unsafe { c.part(row * row_len + columns.start, len) };
                    finish(row, columns.start, values);
                }
            }
        };
        let tasks = groups.len() * row_cuts * column_cuts;
        let work = rulebook.len() * m * k * row_len;
        // SAFETY: the tasks cover all rows and columns of C, and each initialises all of its own.
        unsafe {
            parallel::refill(c, rulebook.outputs() * m * row_len, |c| {
                parallel::for_each(tasks, work, |task| run(c, task));
            });
        }
    }

    /// Returns into how many parts to cut the rows and the columns of C, where there are too few
    /// groups for all threads.
    ///
    /// The longer side is cut; columns first, if then only one task uses each panel of B.
    fn cuts(self, row_blocks: usize, panels: usize) -> (usize, usize) {
        let wanted = 2 * rayon::current_num_threads();
        let groups = self.rulebook.groups().len();
        let (mut rows, mut columns) = (1, 1);
        while groups * rows * columns < wanted {
            let (can_rows, can_columns) = (rows * 2 <= row_blocks, columns * 2 <= panels);
            let is_tall =
                self.rulebook.reuses_b() && self.m / rows >= self.b.len() * self.n / columns;
            match (can_rows, can_columns) {
                (true, can_columns) if is_tall || !can_columns => rows *= 2,
                (_, true) => columns *= 2,
                _ => break,
            }
        }
        (rows, columns)
    }

    /// Computes one task's part of C.
    fn multiply<K: Kernel>(
        self,
        kernel: &K,
        packed: Option<&PackedB>,
        part: &Part,
        c: &UnsafeSlice,
    ) {
        let Self { rulebook, n, .. } = self;
        let b = self.b[part.columns];
        let mut session = kernel.session();
        let (_, panel_columns) = kernel.block();
        for &matrix in &part.group.c {
            if rulebook.pairs(matrix).is_empty() {
                for panel in part.panels.clone() {
                    let block = self.block(kernel, c, part, (matrix, panel));
                    // SAFETY: rows and columns of this task.
                    unsafe { block.zero(part.rows.len()) };
                }
            }
        }
        // Where the K block begins in a packed matrix.
        let mut k_start = 0;
        for k in k_blocks(self.k) {
            let panel_len = kernel.panel_len(k.len());
            let first = k_start + part.panels.start * panel_len;
            k_start += n.div_ceil(panel_columns) * panel_len;
            let count = (CACHED_FLOATS / (k.len() * panel_columns)).clamp(1, MAX_PRODUCTS);
            for b_indices in part.group.b.chunks(count) {
                if let Some(packed) = packed {
                    let at = |matrix: u32| packed.pointer(matrix as usize, first);
                    self.add(kernel, &mut session, (part, b_indices, &k), at, c);
                    continue;
                }
                let len = part.panels.len() * panel_len;
                aligned::with_scratch(b_indices.len() * len, |scratch| {
                    for (matrix, scratch) in b_indices.iter().zip(scratch.chunks_exact_mut(len)) {
                        let (panels, k) = (part.panels.clone(), k.clone());
                        let panels = Panels { b, matrix: *matrix as usize, panels, k };
                        // SAFETY: the scratch memory has room for these panels, each of whole
                        // cache lines, and begins at one.
                        unsafe { kernel.pack(panels, scratch.as_mut_ptr()) };
                    }
                    let at = |matrix: u32| {
                        let index = b_indices.partition_point(|b| *b < matrix);
                        scratch[index * len..].as_ptr()
                    };
                    self.add(kernel, &mut session, (part, b_indices, &k), at, c);
                });
            }
        }
    }

    /// Adds to one task's part of C the products with some matrices of B, for one K block.
    /// `packed` returns where the first panel of a matrix begins.
    fn add<K: Kernel>(
        self,
        kernel: &K,
        session: &mut K::Session,
        (part, b_indices, k): (&Part, &[u32], &Range<usize>),
        packed: impl Fn(u32) -> *const f32,
        c: &UnsafeSlice,
    ) {
        let (Some(first), Some(last)) = (b_indices.first(), b_indices.last()) else { return };
        let panel_len = kernel.panel_len(k.len());
        // The loop over panels is outside, so that a panel of these matrices stays in the cache.
        for panel in part.panels.clone() {
            let offset = (panel - part.panels.start) * panel_len;
            for &matrix in &part.group.c {
                let pairs = self.rulebook.pairs(matrix);
                let start = pairs.partition_point(|pair| pair.b < *first);
                let end = pairs.partition_point(|pair| pair.b <= *last);
                if start == end {
                    continue;
                }
                let mut products = [Product { a: 0, b: ptr::null() }; MAX_PRODUCTS];
                for (product, pair) in products.iter_mut().zip(&pairs[start..end]) {
                    let b = packed(pair.b).wrapping_add(offset);
                    *product = Product { a: pair.a as usize, b };
                }
                let mut block = self.block(kernel, c, part, (matrix, panel));
                block.accumulate = start > 0 || k.start > 0;
                let target = Target { rows: part.rows.clone(), k: k.clone(), c: block };
                // SAFETY: `gemm` has checked the rulebook, and pairs of one matrix of C have
                // different matrices of B, so there are at most MAX_PRODUCTS. No other task writes
                // these rows and columns, and the first product of all overwrites them.
                unsafe { kernel.multiply(session, &products[..end - start], target) };
            }
        }
    }

    /// The block of a matrix of C that has the part's rows and a panel's columns.
    fn block(
        self,
        kernel: &impl Kernel,
        c: &UnsafeSlice,
        part: &Part,
        (matrix, panel): (usize, usize),
    ) -> Block {
        let (_, panel_columns) = kernel.block();
        let (column, row_len) = (panel * panel_columns, self.b.len() * self.n);
        let row = matrix * self.m + part.rows.start;
        Block {
            start: c.pointer(row * row_len + part.columns * self.n + column),
            row_stride: row_len,
            columns: panel_columns.min(self.n - column),
            accumulate: false,
        }
    }
}

/// The K blocks: all of one length except the last.
fn k_blocks(k: usize) -> impl Iterator<Item = Range<usize>> {
    let len = k.div_ceil(k.div_ceil(MAX_K)).next_multiple_of(K_UNIT);
    (0..k).step_by(len).map(move |first| first..k.min(first + len))
}

/// Packs all panels of B, for all tasks.
fn pack(b: MatrixBatch, kernel: &impl Kernel) -> PackedB {
    // A few panels at a time, so that threads share even a single large matrix.
    const PANELS: usize = 8;
    let panels = b.mn.div_ceil(kernel.block().1);
    let mut matrix_len = 0;
    let mut tasks = Vec::new();
    for k_block in k_blocks(b.k) {
        let panel_len = kernel.panel_len(k_block.len());
        for first in (0..panels).step_by(PANELS) {
            let start = matrix_len + first * panel_len;
            tasks.push((k_block.clone(), first..panels.min(first + PANELS), start));
        }
        matrix_len += panels * panel_len;
    }
    let pack = |target: &UnsafeSlice, task: usize| {
        let (matrix, (k, panels, start)) = (task / tasks.len(), &tasks[task % tasks.len()]);
        let target = target.pointer(matrix * matrix_len + start);
        let (panels, k) = (panels.clone(), k.clone());
        // SAFETY: each task packs K blocks and panels of its own. `panel_len` is whole cache
        // lines, so each of them begins at one.
        unsafe { kernel.pack(Panels { b, matrix, panels, k }, target) };
    };
    // SAFETY: the tasks pack all K blocks of all panels of all matrices, padding included.
    let data = unsafe {
        Aligned::init_with(b.count * matrix_len, |target| {
            let work = COPY_WORK * b.count * b.k * b.mn;
            parallel::for_each(b.count * tasks.len(), work, |task| pack(target, task));
        })
    };
    PackedB { data, matrix_len }
}

/// All panels of B: [matrix][K block][panel], each as its kernel packs it.
struct PackedB {
    data: Aligned,
    matrix_len: usize,
}

impl PackedB {
    /// Returns a pointer to an element of a matrix.
    fn pointer(&self, matrix: usize, element: usize) -> *const f32 {
        self.data.as_slice()[matrix * self.matrix_len + element..].as_ptr()
    }
}
