//! Matrix products with AMX tiles: three products of bfloat16 for one of f32.
//!
//! Each operand is split into two bfloat16 numbers, `x = high + low`, which keeps 16 bits of the
//! mantissa. `high * high + high * low + low * high` is summed in f32. The accuracy lies between
//! TF32 (10 bits) and f32 (24 bits), at several times the rate of vector instructions. Henry, Tang
//! and Heinecke 2019, "Leveraging the bfloat16 artificial intelligence datatype for
//! higher-precision computations".

mod pack;

use crate::isa::{Isa, isa};
use crate::kernel::{Kernel, MAX_PRODUCTS, PackedProduct, Panels, Product, Target};
use crate::matrix::MatrixBatch;
use pack::{Operand, PANEL, STEP, STEP_LEN, TILE, TilePanels, pack};
use std::arch::asm;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;

/// The kernel for AMX tiles.
pub(crate) struct AmxKernel {
    a: TilePanels,
}

impl AmxKernel {
    /// Packs A.
    ///
    /// # Panics
    /// If [`isa`] is another instruction set.
    pub(crate) fn new(a: MatrixBatch) -> Self {
        assert_eq!(isa(), Isa::Amx, "AMX is not available");
        Self { a: TilePanels::new(a) }
    }
}

// SAFETY: `pack` writes whole steps of whole panels, with zeros as padding. `multiply` stores all
// four tiles of C, or copies all rows and columns from a block that the tiles are stored to, and
// the tiles start at 0 where it does not accumulate.
unsafe impl Kernel for AmxKernel {
    type Session = ConfiguredTiles;

    fn session(&self) -> ConfiguredTiles {
        ConfiguredTiles::new(self.a.rows)
    }

    fn block(&self) -> (usize, usize) {
        (2 * self.a.rows, PANEL)
    }

    fn panel_len(&self, k: usize) -> usize {
        k.div_ceil(STEP) * STEP_LEN
    }

    unsafe fn pack(&self, panels: Panels, target: *mut f32) {
        let Panels { b, matrix, panels, k } = panels;
        let steps = k.start / STEP..k.end.div_ceil(STEP);
        // SAFETY: forwarded. A kernel exists only where AMX does, and AVX-512 with it.
        unsafe { pack(b, matrix, panels, steps, Operand::B, target) };
    }

    unsafe fn multiply(&self, session: &mut ConfiguredTiles, products: &[Product], target: Target) {
        let Target { rows, k, c } = target;
        let (step, steps) = (k.start / STEP, k.len().div_ceil(STEP));
        let mut packed = [PackedProduct::NULL; MAX_PRODUCTS];
        let (block_rows, _) = self.block();
        assert_eq!(session.rows, self.a.rows, "the tiles are configured for another kernel");
        for first in (0..rows.len()).step_by(block_rows) {
            for (packed, product) in packed.iter_mut().zip(products) {
                let panel = (rows.start + first) / block_rows;
                let a = self.a.steps(product.a, panel, step, steps);
                *packed = PackedProduct { a, b: product.b };
            }
            let packed = &packed[..products.len()];
            let rows = block_rows.min(rows.len() - first);
            // SAFETY: panels hold `steps` steps from these on. C is valid for writes at these rows
            // and columns, and the copy is at all of a block.
            unsafe {
                let start = c.start.add(first * c.row_stride);
                if rows == block_rows && c.columns == PANEL {
                    session.multiply(packed, steps, (start, c.row_stride), c.accumulate);
                    continue;
                }
                let mut copy = MaybeUninit::<[f32; PANEL * PANEL]>::uninit();
                let copy = copy.as_mut_ptr().cast::<f32>();
                if c.accumulate {
                    copy.write_bytes(0, PANEL * PANEL);
                    copy_rows((start, c.row_stride), (copy, PANEL), rows, c.columns);
                }
                session.multiply(packed, steps, (copy, PANEL), c.accumulate);
                copy_rows((copy, PANEL), (start, c.row_stride), rows, c.columns);
            }
        }
    }
}

/// Copies rows, given where they begin and their distance.
///
/// # Safety
/// `columns` floats of `rows` rows are valid for reads in the source and for writes in the target.
unsafe fn copy_rows(
    source: (*mut f32, usize),
    target: (*mut f32, usize),
    rows: usize,
    columns: usize,
) {
    for row in 0..rows {
        // SAFETY: within the contract.
        unsafe {
            let (source, target) = (source.0.add(row * source.1), target.0.add(row * target.1));
            ptr::copy_nonoverlapping(source, target, columns);
        }
    }
}

/// Proof that the tile registers of this thread are configured. They are released when it drops.
///
/// A thread has at most one: the innermost would release the tiles of all.
pub(crate) struct ConfiguredTiles {
    rows: usize,
    /// Tiles belong to a thread, so this is not Send.
    thread: PhantomData<*mut ()>,
}

impl ConfiguredTiles {
    /// Configures tiles 0 to 5, for C and A, with this many rows of 64 bytes, and tiles 6 and 7,
    /// for B, with 16.
    fn new(rows: usize) -> Self {
        assert!((1..=TILE).contains(&rows), "a tile of {rows} rows");
        assert_eq!(isa(), Isa::Amx, "AMX is not available");
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
        configuration.rows[..6].fill(rows as u8);
        configuration.rows[6..8].fill(TILE as u8);
        // SAFETY: the processor has AMX. The instruction reads the 64 bytes of the configuration
        // and clears all tiles.
        unsafe {
            asm!(
                "ldtilecfg [{}]",
                in(reg) &raw const configuration,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly),
            );
        }
        Self { rows, thread: PhantomData }
    }

    /// Computes `C (+)= sum of A B` for twice as many rows as tiles have, and 32 columns. `c` is
    /// where C begins and the distance between its rows.
    ///
    /// # Safety
    /// Every product holds `steps` steps. There is at least one product and one step. C is valid
    /// for writes at all rows and columns, and initialised where `accumulate` is true.
    unsafe fn multiply(
        &mut self,
        products: &[PackedProduct],
        steps: usize,
        (c, row_stride): (*mut f32, usize),
        accumulate: bool,
    ) {
        // Tiles 0 to 3 hold C, 4 and 5 the rows of A, 6 and 7 the columns of B. The tiles of a step
        // are 1024 bytes apart: high, high, low, low.
        /// Fetches a tile of A's next step from the second-level cache.
        macro_rules! prefetch {
            ($tile:literal) => {
                concat!(
                    ".irp row, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n",
                    "prefetcht0 [{a} + 4096 + ",
                    $tile,
                    " + 64*\\row]\n",
                    ".endr"
                )
            };
        }
        // SAFETY: reads and writes what the contract names. The tiles are configured, as `self`
        // proves, and the block declares that it changes them. A prefetch may be of any address.
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
                "mov {a}, [{product}]",
                "mov {b}, [{product} + 8]",
                "mov {step}, {steps}",
                "4:",
                // low * high
                "tileloadd tmm4, [{a} + {line} + 2048]",
                "tileloadd tmm6, [{b} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                prefetch!(0),
                "tileloadd tmm5, [{a} + {line} + 3072]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tileloadd tmm7, [{b} + {line} + 1024]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm3, tmm5, tmm7",
                prefetch!(1024),
                // high * high
                "tileloadd tmm4, [{a} + {line}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a} + {line} + 1024]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                prefetch!(2048),
                // high * low
                "tileloadd tmm6, [{b} + {line} + 2048]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tileloadd tmm7, [{b} + {line} + 3072]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm3, tmm5, tmm7",
                prefetch!(3072),
                "add {a}, 4096",
                "add {b}, 4096",
                "dec {step}",
                "jnz 4b",
                "add {product}, 16",
                "dec {products}",
                "jnz 3b",
                "tilestored [{c0} + {row}], tmm0",
                "tilestored [{c0} + {row} + 64], tmm1",
                "tilestored [{c1} + {row}], tmm2",
                "tilestored [{c1} + {row} + 64], tmm3",
                accumulate = in(reg) u32::from(accumulate),
                c0 = in(reg) c,
                c1 = in(reg) c.wrapping_add(self.rows * row_stride),
                row = in(reg) row_stride * size_of::<f32>(),
                line = in(reg) TILE * size_of::<f32>(),
                product = inout(reg) products.as_ptr() => _,
                products = inout(reg) products.len() => _,
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
}

impl Drop for ConfiguredTiles {
    fn drop(&mut self) {
        // SAFETY: the tiles are configured, and nothing uses them any more.
        unsafe {
            asm!(
                "tilerelease",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, nomem),
            );
        }
    }
}
