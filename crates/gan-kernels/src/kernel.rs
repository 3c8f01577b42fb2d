//! The interface of a matrix product kernel: one for each kind of instruction.

use crate::matrix::MatrixBatch;
use std::ops::Range;

/// K blocks begin at multiples of this.
pub(crate) const K_UNIT: usize = 32;
/// The largest number of products in one call of [`Kernel::multiply`].
pub(crate) const MAX_PRODUCTS: usize = 32;

/// Computes blocks of C from A, which is packed when the kernel is made, and from panels of B,
/// which the kernel packs on request.
///
/// A panel is as many columns of B as a block of C has, for one K block.
///
/// # Safety
/// Callers turn memory that the kernel has written into initialised floats. An implementation
/// guarantees:
///
/// - [`Kernel::pack`] initialises all [`Kernel::panel_len`] floats of every panel, padding
///   included, and writes nothing else.
/// - [`Kernel::multiply`] initialises every element of its block of C where `accumulate` is false,
///   writes nothing else, and reads C only where `accumulate` is true.
/// - [`Kernel::block`] and [`Kernel::panel_len`] return the same values on every call, none of
///   them 0. `panel_len` is a multiple of a cache line, 16 floats.
pub(crate) unsafe trait Kernel: Sync {
    /// State of a thread that [`Kernel::multiply`] needs, such as configured tiles. It stays on the
    /// thread that made it.
    type Session;

    /// Prepares the calling thread.
    fn session(&self) -> Self::Session;

    /// Rows and columns of a block of C.
    fn block(&self) -> (usize, usize);

    /// Floats of a packed panel with a K block of this length.
    fn panel_len(&self, k: usize) -> usize;

    /// Packs panels one after the other.
    ///
    /// # Safety
    /// The K block begins at a multiple of [`K_UNIT`]. Matrix, panels and K block lie in the
    /// operand. `target` begins at a cache line and is valid for writes of all packed floats, by
    /// nobody else.
    unsafe fn pack(&self, panels: Panels, target: *mut f32);

    /// Computes `C = sum of A B`, or `C += sum of A B`, for one panel.
    ///
    /// # Safety
    /// There are 1 to [`MAX_PRODUCTS`] products. Their matrices of A, the rows and the K block lie
    /// in the operand. Their panels are packed by this kernel for this K block, which begins at a
    /// multiple of [`K_UNIT`]. The rows begin at a multiple of the block's rows. C is valid for
    /// writes, by nobody else, and initialised where `accumulate` is true.
    unsafe fn multiply(&self, session: &mut Self::Session, products: &[Product], target: Target);
}

/// Panels of a matrix of B.
pub(crate) struct Panels<'a> {
    pub(crate) b: MatrixBatch<'a>,
    pub(crate) matrix: usize,
    pub(crate) panels: Range<usize>,
    pub(crate) k: Range<usize>,
}

/// A matrix of A, and the packed panel of B that it is multiplied by.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) a: usize,
    pub(crate) b: *const f32,
}

/// Where the packed data of a [`Product`] begin. AMX code relies on the order of the fields.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct PackedProduct {
    pub(crate) a: *const f32,
    pub(crate) b: *const f32,
}

impl PackedProduct {
    pub(crate) const NULL: Self = Self { a: std::ptr::null(), b: std::ptr::null() };
}

/// The part of C that a call computes: some rows, and the columns of one panel.
pub(crate) struct Target {
    pub(crate) rows: Range<usize>,
    pub(crate) k: Range<usize>,
    pub(crate) c: Block,
}

/// A block of a row-major matrix C.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    /// First row, first column.
    pub(crate) start: *mut f32,
    /// Distance between rows, in elements.
    pub(crate) row_stride: usize,
    pub(crate) columns: usize,
    /// Whether to add to C instead of overwriting it.
    pub(crate) accumulate: bool,
}

impl Block {
    /// Sets `rows` rows to 0.
    ///
    /// # Safety
    /// The rows are valid for writes, by nobody else.
    pub(crate) unsafe fn zero(self, rows: usize) {
        for row in 0..rows {
            // SAFETY: within the rows and columns of the contract.
            unsafe { self.start.add(row * self.row_stride).write_bytes(0, self.columns) };
        }
    }
}
