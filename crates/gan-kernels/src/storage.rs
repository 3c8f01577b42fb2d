//! Slices of candle's CPU storage.

use crate::parallel::{self, Disjoint};
use crate::simd::vectorized;
use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// Elements that one task of [`map_chunks`] or [`for_chunks`] visits.
const CHUNK: usize = 4 * 1024;

/// The f32 elements of a contiguous storage.
pub(crate) fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("operand of shape {:?} is not contiguous", layout.shape()),
    }
}

/// Calls `f` with the elements of contiguous f32 tensors on the CPU; an absent one is empty.
pub(crate) fn with<T>(
    tensors: &[Option<&Tensor>],
    f: impl FnOnce(&[&[f32]]) -> Result<T>,
) -> Result<T> {
    let guards: Vec<_> =
        tensors.iter().map(|tensor| tensor.map(Tensor::storage_and_layout)).collect();
    let mut slices = Vec::with_capacity(guards.len());
    for guard in &guards {
        slices.push(match guard {
            None => &[][..],
            Some((storage, layout)) => match &**storage {
                Storage::Cpu(storage) => contiguous(storage, layout)?,
                _ => bail!("an operator of the CPU was given a tensor of another device"),
            },
        });
    }
    f(&slices)
}

/// A copy of `values` with every chunk passed through `f(first element, chunk)`.
/// `f` is to be `#[inline(always)]`.
pub(crate) fn map_chunks(values: &[f32], f: impl Fn(usize, &mut [f32]) + Sync + Send) -> Vec<f32> {
    let run = |target: &Disjoint, chunk: usize| {
        let start = chunk * CHUNK;
        let len = CHUNK.min(values.len() - start);
        // SAFETY: every task writes its own chunk.
        let result = unsafe { target.unwritten(start, len) };
        vectorized!(f(start, result.write_copy_of_slice(&values[start..start + len])));
    };
    // SAFETY: the chunks are all elements, and each is written.
    unsafe {
        let len = values.len();
        parallel::filled_by(len, len.div_ceil(CHUNK), 2 * len, run)
    }
}

/// Changes `values` chunk by chunk: `f(first element, chunk)`. `f` is to be
/// `#[inline(always)]`.
pub(crate) fn for_chunks(values: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    let len = values.len();
    let target = Disjoint::new(values);
    parallel::for_each(len.div_ceil(CHUNK), 2 * len, |chunk| {
        let start = chunk * CHUNK;
        // SAFETY: every task changes its own chunk.
        let values = unsafe { target.part(start, CHUNK.min(len - start)) };
        vectorized!(f(start, values));
    });
}
