//! Detection of the processor's instruction sets.

use candle_core::{Result, bail};
use pulp::Arch;
use std::fmt;
use std::sync::OnceLock;

/// An instruction set that the kernels are written for, from the narrowest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Isa {
    /// No vector instructions beyond those of every processor of the target.
    Scalar,
    /// 128-bit vectors of AArch64.
    Neon,
    /// 256-bit vectors of x86, with fused multiply-add.
    Avx2,
    /// 512-bit vectors of x86.
    Avx512,
    /// Matrix tiles of x86, with AVX-512 for all else. Used at [`Precision::High`] only.
    ///
    /// [`Precision::High`]: crate::Precision::High
    Amx,
}

/// The environment variable that narrows the instruction set.
const VARIABLE: &str = "GAN_KERNELS_ISA";

impl Isa {
    const ALL: [Self; 5] = [Self::Scalar, Self::Neon, Self::Avx2, Self::Avx512, Self::Amx];

    /// The name that `GAN_KERNELS_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    /// The instruction sets that this processor has and the kernels are written for, in ascending
    /// order.
    pub fn available() -> Vec<Self> {
        let mut sets: Vec<_> = Self::ALL.map(|limit| detect(limit).0).into();
        sets.dedup();
        sets
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Returns the instruction set that the kernels use: the widest that the processor has, unless the
/// environment variable `GAN_KERNELS_ISA` names a narrower one.
///
/// The variable is read once. If [`requested_isa`] refuses its value, that is said on standard error,
/// and the widest is used.
pub fn isa() -> Isa {
    selected().0
}

/// Returns the instruction set that the environment variable `GAN_KERNELS_ISA` names, or without it the
/// widest that the processor has.
///
/// # Errors
/// An unknown name; an instruction set that this processor does not have. The error lists those that it
/// has.
pub fn requested_isa() -> Result<Isa> {
    let available = Isa::available();
    let widest = available.last().copied().unwrap_or(Isa::Scalar);
    let Some(name) = std::env::var_os(VARIABLE) else { return Ok(widest) };
    if let Some(isa) = available.iter().find(|isa| name == isa.name()) {
        return Ok(*isa);
    }
    let names: Vec<_> = available.iter().map(|isa| isa.name()).collect();
    bail!("{VARIABLE}={}: this processor has {}", name.display(), names.join(", "))
}

/// Returns the vector instructions of [`isa`].
pub(crate) fn arch() -> Arch {
    selected().1
}

fn selected() -> (Isa, Arch) {
    static SELECTED: OnceLock<(Isa, Arch)> = OnceLock::new();
    *SELECTED.get_or_init(|| {
        // The first operator comes here, so this is the place for what is said once.
        crate::warning::print_if_unoptimized();
        let limit = requested_isa().unwrap_or_else(|error| {
            crate::warning::print(format_args!("{error}; the widest is used"));
            Isa::Amx
        });
        detect(limit)
    })
}

/// Finds the widest instruction set up to a limit, and its vector instructions.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
fn detect(limit: Isa) -> (Isa, Arch) {
    let v3 = || pulp::x86::V3::try_new().map(|v3| (Isa::Avx2, Arch::V3(v3)));
    let v4 = || pulp::x86::V4::try_new().map(|v4| (Isa::Avx512, Arch::V4(v4)));
    let widest = if limit >= Isa::Avx512 { v4().or_else(v3) } else { None };
    match widest.or_else(|| if limit >= Isa::Avx2 { v3() } else { None }) {
        Some((Isa::Avx512, arch)) if limit >= Isa::Amx && has_amx() => (Isa::Amx, arch),
        Some(found) => found,
        None => (Isa::Scalar, Arch::Scalar),
    }
}

/// Finds the widest instruction set up to a limit, and its vector instructions.
#[cfg(target_arch = "aarch64")]
fn detect(limit: Isa) -> (Isa, Arch) {
    match Arch::new() {
        arch @ Arch::Neon(_) if limit >= Isa::Neon => (Isa::Neon, arch),
        _ => (Isa::Scalar, Arch::Scalar),
    }
}

/// There are no vector instructions on this target.
#[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
fn detect(_limit: Isa) -> (Isa, Arch) {
    (Isa::Scalar, Arch::Scalar)
}

/// Returns whether the processor has AMX and Linux lets this process use it.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn has_amx() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    // CPUID leaf 7, edx: bit 22 is AMX-BF16, bit 24 is AMX-TILE.
    let leaf_7 = if __cpuid(0).eax >= 7 { __cpuid_count(7, 0).edx } else { 0 };
    let has_tiles = leaf_7 >> 22 & 1 == 1 && leaf_7 >> 24 & 1 == 1;
    has_tiles
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bf16")
        && tiles_are_permitted()
}

/// The AMX kernel is written for Linux on x86-64 only.
#[cfg(all(
    any(target_arch = "x86", target_arch = "x86_64"),
    not(all(target_arch = "x86_64", target_os = "linux"))
))]
fn has_amx() -> bool {
    false
}

/// Asks Linux for permission to use the tile registers, which a process does not have by default.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn tiles_are_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the request grants the permission or changes nothing.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_narrows_the_instruction_set() {
        for limit in Isa::ALL {
            assert!(detect(limit).0 <= limit, "{limit}");
        }
        assert_eq!(detect(Isa::Scalar).0, Isa::Scalar);
        assert!(matches!(detect(Isa::Scalar).1, Arch::Scalar));
        assert!(Isa::available().contains(&isa()));
    }
}
