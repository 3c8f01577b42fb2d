//! Products on the matrix unit of newer x86 processors (AMX), in three products of bfloat16.
//!
//! Each operand is split into two bfloat16 numbers, `x = high + low` to 16 bits of mantissa, and
//! `high * high + high * low + low * high` is summed in f32: between the 10 bits that graphics
//! processors round f32 operands to (TF32) and the full 24, at several times the rate of the
//! vector units. Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 artificial intelligence
//! datatype for higher-precision computations".

mod split;

use crate::product::{self, Kernel, MAX_TERMS, Matrices, Panels, Part};
use split::{Left, Side, pack};
use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::mem::MaybeUninit;
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

/// Products on the matrix unit.
pub(crate) struct Tiles {
    left: Left,
}

impl Tiles {
    /// To be called only where the unit is [`available`].
    pub(crate) fn new(left: Matrices) -> Self {
        assert!(available(), "no matrix unit");
        Self { left: Left::new(left) }
    }
}

impl Kernel for Tiles {
    fn block(&self) -> (usize, usize) {
        (2 * self.left.rows, PANEL)
    }

    fn panel_len(&self, depth: usize) -> usize {
        depth.div_ceil(STEP) * STEP_UNITS
    }

    unsafe fn pack(&self, panels: Panels, target: *mut f32) {
        let Panels { right, matrix, panels, depth } = panels;
        let steps = depth.start / STEP..depth.end.div_ceil(STEP);
        // SAFETY: forwarded; the unit is there, and with it the features.
        unsafe { pack(right, matrix, panels, steps, Side::Right, target) };
    }

    fn task(&self, task: impl FnOnce()) {
        let _configured = Configured::new(self.left.rows);
        task();
    }

    unsafe fn multiply(&self, from: &[product::Term], part: Part) {
        let Part { depth, rows, target } = part;
        let (step, steps) = (depth.start / STEP, depth.len().div_ceil(STEP));
        let mut terms = [Term { a: ptr::null(), b: ptr::null() }; MAX_TERMS];
        let tile = self.left.rows;
        let (panel, _) = self.block();
        for first in (0..rows.len()).step_by(panel) {
            for (term, from) in terms.iter_mut().zip(from) {
                let a = self.left.steps(from.left, (rows.start + first) / panel, step, steps);
                *term = Term { a, b: from.right };
            }
            let terms = &terms[..from.len()];
            let rows = panel.min(rows.len() - first);
            // SAFETY: panels hold `steps` steps from these on; the target is writable at these
            // rows, or the copy is at all. `Tiles` exist only where the unit does, and `task` has
            // configured it.
            unsafe {
                let c = target.start.add(first * target.row);
                if rows == panel && target.columns == PANEL {
                    block(terms, steps, c, (tile, target.row), target.accumulate);
                    continue;
                }
                let mut copy = MaybeUninit::<[f32; PANEL * PANEL]>::uninit();
                let copy = copy.as_mut_ptr().cast::<f32>();
                if target.accumulate {
                    copy.write_bytes(0, PANEL * PANEL);
                    copy_rows((c, target.row), (copy, PANEL), rows, target.columns);
                }
                block(terms, steps, copy, (tile, PANEL), target.accumulate);
                copy_rows((copy, PANEL), (c, target.row), rows, target.columns);
            }
        }
    }
}

/// Copies rows, given where they begin and how far apart they are.
///
/// # Safety
/// So many columns of so many rows must be readable here, and writable there.
unsafe fn copy_rows(from: (*mut f32, usize), to: (*mut f32, usize), rows: usize, columns: usize) {
    for row in 0..rows {
        // SAFETY: within the contract.
        unsafe {
            let (from, to) = (from.0.add(row * from.1), to.0.add(row * to.1));
            ptr::copy_nonoverlapping(from, to, columns);
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

/// `c (+)= sum over terms of a * b`, twice `rows` rows by 32 columns, rows of `c` being `row` apart.
///
/// # Safety
/// On a thread where tiles are configured for `rows`. Every term must hold `steps` steps, of which,
/// like of terms, there is at least one; `c` must be writable at all rows and columns.
unsafe fn block(
    terms: &[Term],
    steps: usize,
    c: *mut f32,
    (rows, row): (usize, usize),
    accumulate: bool,
) {
    // Tiles 0 to 3 are the result, 4 and 5 the left operand's rows, 6 and 7 the right one's
    // columns; a step's tiles lie 1024 bytes apart: high, high, low, low.
    /// Fetches a tile of the left operand's next step, which comes from the second-level cache.
    macro_rules! ahead {
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
    // SAFETY: reads and writes what the contract names, and a prefetch may be of any address; the
    // compiler does not use tiles.
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
            // low * high
            "tileloadd tmm4, [{a} + {line} + 2048]",
            "tileloadd tmm6, [{b} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            ahead!(0),
            "tileloadd tmm5, [{a} + {line} + 3072]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b} + {line} + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            ahead!(1024),
            // high * high
            "tileloadd tmm4, [{a} + {line}]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a} + {line} + 1024]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            ahead!(2048),
            // high * low
            "tileloadd tmm6, [{b} + {line} + 2048]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tileloadd tmm7, [{b} + {line} + 3072]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            ahead!(3072),
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
            c1 = in(reg) c.wrapping_add(rows * row),
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

/// Tiles on this thread, for as long as it lives.
struct Configured;

impl Configured {
    /// Rows of 64 bytes: so many of left operands and results, 16 of right ones.
    fn new(rows: usize) -> Self {
        assert!((1..=TILE).contains(&rows), "a tile of {rows} rows");
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
        // SAFETY: reads the 64 bytes of the configuration; tiles, and so their tasks, exist
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
