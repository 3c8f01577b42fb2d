//! Matrix products with vector instructions: AVX-512, AVX2, NEON or scalar code.
//!
//! A tile of C stays in registers while all products are added to it.

use crate::aligned::LINE;
use crate::isa::arch;
use crate::kernel::{Block, Kernel, MAX_PRODUCTS, PackedProduct, Panels, Product, Target};
use crate::matrix::MatrixBatch;
use crate::parallel::{self, COPY_WORK};
use pulp::{Arch, Simd, WithSimd};
use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

/// Rows of A that are packed together.
const ROWS: usize = 8;
/// Matrices A of so many floats stay as they are: the first-level cache holds them in any order.
const IN_PLACE: usize = 8192;
/// Rows of a panel that are packed together from columns of B.
const PACKED_ROWS: usize = 64;
/// The most floats of a vector.
const MAX_LANES: usize = 16;

/// The kernel for vector instructions.
pub(crate) struct SimdKernel<'a> {
    arch: Arch,
    a: RowBlocks<'a>,
    panel: PanelShape,
}

impl<'a> SimdKernel<'a> {
    /// Packs A, for matrices of B with `n` columns, in panels for products with `rows` rows: those of A, or
    /// several.
    pub(crate) fn new(a: MatrixBatch<'a>, rows: usize, n: usize) -> Self {
        let arch = arch();
        let panel = arch.dispatch(PanelShapeFor { rows, n });
        Self { arch, a: RowBlocks::new(a), panel }
    }
}

// SAFETY: `pack` writes `k * columns` floats and then zeros up to `panel_len`, a multiple of a
// cache line. `multiply` covers all rows and columns in tiles, and each tile stores all of its
// accumulators, which start at 0 where it does not accumulate.
unsafe impl Kernel for SimdKernel<'_> {
    type Session = ();

    fn session(&self) {}

    fn block(&self) -> (usize, usize) {
        (ROWS, self.panel.columns)
    }

    fn panel_len(&self, k: usize) -> usize {
        (k * self.panel.columns).next_multiple_of(LINE)
    }

    unsafe fn pack(&self, panels: Panels, target: *mut f32) {
        let Panels { b, matrix, panels, k } = panels;
        let len = self.panel_len(k.len());
        let columns = self.panel.columns;
        // SAFETY: every panel has `len` floats of its own.
        unsafe {
            for (i, panel) in panels.enumerate() {
                let target = target.add(i * len);
                pack(b, matrix, panel * columns, k.clone(), columns, target);
                let written = k.len() * columns;
                target.add(written).write_bytes(0, len - written);
            }
        }
    }

    unsafe fn multiply(&self, (): &mut (), products: &[Product], target: Target) {
        let Target { rows, k, c } = target;
        let mut packed = [PackedProduct::NULL; MAX_PRODUCTS];
        for (packed, product) in packed.iter_mut().zip(products) {
            let a = self.a.from(product.a, rows.start, k.start).as_ptr();
            *packed = PackedProduct { a, b: product.b };
        }
        self.arch.dispatch(Tiles {
            products: &packed[..products.len()],
            a: self.a.strides,
            panel: self.panel,
            k: k.len(),
            rows: rows.len(),
            c,
        });
    }
}

/// The operand A: as it is where K is contiguous or the matrices are small, otherwise in blocks of rows.
struct RowBlocks<'a> {
    data: Cow<'a, [f32]>,
    matrix_len: usize,
    strides: BlockStrides,
}

/// Distances in A, in elements.
#[derive(Clone, Copy)]
struct BlockStrides {
    /// From a block of [`ROWS`] rows to the next.
    block: usize,
    /// From a row to the next within a block.
    row: usize,
    k: usize,
}

impl<'a> RowBlocks<'a> {
    fn new(source: MatrixBatch<'a>) -> Self {
        let strides = source.strides;
        if strides.k == 1 || source.mn * source.k <= IN_PLACE {
            let matrix_len = strides.matrix;
            let (block, row, k) = (ROWS * strides.mn, strides.mn, strides.k);
            let strides = BlockStrides { block, row, k };
            return Self { data: source.data.into(), matrix_len, strides };
        }
        let matrix_len = source.mn.div_ceil(ROWS) * source.k * ROWS;
        let work = COPY_WORK * source.count * source.k * source.mn;
        let data = parallel::init_equal_parts(source.count, matrix_len, work, |matrix, target| {
            for k in 0..source.k {
                let row = &source.from(matrix, 0, k)[..source.mn];
                let (blocks, rest) = row.as_chunks::<ROWS>();
                for (block, values) in blocks.iter().enumerate() {
                    target[(block * source.k + k) * ROWS..][..ROWS].write_copy_of_slice(values);
                }
                if !rest.is_empty() {
                    let place = &mut target[(blocks.len() * source.k + k) * ROWS..][..ROWS];
                    let (values, padding) = place.split_at_mut(rest.len());
                    values.write_copy_of_slice(rest);
                    parallel::zeroed(padding);
                }
            }
            // SAFETY: the blocks, padding included, are all elements of the matrix.
            unsafe { target.assume_init_mut() }
        });
        let strides = BlockStrides { block: source.k * ROWS, row: 1, k: ROWS };
        Self { data: data.into(), matrix_len, strides }
    }

    /// Returns the data from the first row of a block on.
    fn from(&self, matrix: usize, row: usize, k: usize) -> &[f32] {
        let start = matrix * self.matrix_len + row / ROWS * self.strides.block;
        &self.data[start + k * self.strides.k..]
    }
}

/// Packs a panel that begins at a column: [k][column], with zeros beyond the last column.
///
/// # Safety
/// `target` is valid for writes of `k * columns` floats.
unsafe fn pack(
    b: MatrixBatch,
    matrix: usize,
    column: usize,
    k: Range<usize>,
    columns: usize,
    target: *mut f32,
) {
    let valid = columns.min(b.mn - column);
    // SAFETY: within the rows of `columns` floats of the contract.
    unsafe {
        if b.strides.mn == 1 {
            let row = |k: usize| b.from(matrix, column, k)[..valid].as_ptr();
            return match (valid == columns, columns) {
                // Copies of a known size are a few instructions, others are calls.
                (true, 8) => k.enumerate().for_each(|(i, k)| copy::<8>(row(k), target.add(i * 8))),
                (true, 16) => {
                    k.enumerate().for_each(|(i, k)| copy::<16>(row(k), target.add(i * 16)))
                }
                (true, 32) => {
                    k.enumerate().for_each(|(i, k)| copy::<32>(row(k), target.add(i * 32)))
                }
                _ => k.enumerate().for_each(|(i, k)| {
                    let target = target.add(i * columns);
                    ptr::copy_nonoverlapping(row(k), target, valid);
                    target.add(valid).write_bytes(0, columns - valid);
                }),
            };
        }
        if valid < columns {
            target.write_bytes(0, k.len() * columns);
        }
        // Some rows at a time, which stay in the first-level cache while their columns are written.
        for rows in (0..k.len()).step_by(PACKED_ROWS).map(|i| i..k.len().min(i + PACKED_ROWS)) {
            for j in 0..valid {
                let values = b.from(matrix, column + j, k.start + rows.start);
                let values = values.iter().step_by(b.strides.k);
                for (i, value) in rows.clone().zip(values) {
                    target.add(i * columns + j).write(*value);
                }
            }
        }
    }
}

/// Copies a row of `N` floats.
///
/// # Safety
/// `source` is valid for reads and `target` for writes of them.
#[inline(always)]
unsafe fn copy<const N: usize>(source: *const f32, target: *mut f32) {
    // SAFETY: the contract.
    unsafe {
        target.cast::<[f32; N]>().write_unaligned(source.cast::<[f32; N]>().read_unaligned())
    };
}

/// The shape of the panels of B.
#[derive(Clone, Copy)]
struct PanelShape {
    columns: usize,
    /// Vector registers of a row.
    vectors: usize,
}

/// Chooses the panels for matrices A of `rows` rows and matrices B of `n` columns.
struct PanelShapeFor {
    rows: usize,
    n: usize,
}

impl WithSimd for PanelShapeFor {
    type Output = PanelShape;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> PanelShape {
        // A single row has as many sums in flight as its panel has vectors.
        let most = if self.rows == 1 { 8 } else { 2 };
        let vectors = self.n.div_ceil(S::F32_LANES).next_power_of_two().min(most);
        PanelShape { columns: vectors * S::F32_LANES, vectors }
    }
}

/// Computes a block of C in tiles of registers.
struct Tiles<'a> {
    products: &'a [PackedProduct],
    a: BlockStrides,
    panel: PanelShape,
    k: usize,
    rows: usize,
    c: Block,
}

impl WithSimd for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        assert!(self.panel.vectors <= 2 || self.rows == 1, "a wide panel with {} rows", self.rows);
        // SAFETY: `Kernel::multiply` is the only caller, and its contract covers operands and C.
        unsafe {
            match self.panel.vectors {
                1 => self.rows::<S, 1>(simd),
                2 => self.rows::<S, 2>(simd),
                4 => self.tile::<S, 1, 4>(simd, 0),
                _ => self.tile::<S, 1, 8>(simd, 0),
            }
        }
    }
}

impl Tiles<'_> {
    #[inline(always)]
    unsafe fn rows<S: Simd, const NV: usize>(&self, simd: S) {
        let mut row = 0;
        // SAFETY: each tile stays within the rows, and within a block of rows of A.
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
        let BlockStrides { block, row: a_row, k: a_step } = self.a;
        let Block { start, row_stride: c_row, columns, accumulate } = self.c;
        let lanes = S::F32_LANES;
        let mut acc = [[simd.splat_f32s(0.0); NV]; MR];
        // A tile that is narrower than its vectors is computed in a copy of full width.
        let mut copy = MaybeUninit::<[[[f32; MAX_LANES]; NV]; MR]>::uninit();
        let edge = columns < NV * lanes;
        if edge {
            copy.write([[[0.0; MAX_LANES]; NV]; MR]);
        }
        // SAFETY: all offsets lie in the operands, in C or in the copy. Vector reads and writes are
        // unaligned.
        unsafe {
            let c = start.add(row * c_row);
            let (to, to_row) =
                if edge { (copy.as_mut_ptr().cast::<f32>(), NV * MAX_LANES) } else { (c, c_row) };
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
            for product in self.products {
                let a = product.a.add(row / ROWS * block + row % ROWS * a_row);
                for k in 0..self.k {
                    let b = product.b.add(k * self.panel.columns);
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
