//! Access to the elements of candle's CPU tensors.

use crate::parallel;
use crate::simd::vectorized;
use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

/// Elements that one task of an elementwise operator visits.
pub(crate) const CHUNK: usize = 4 * 1024;

/// Returns the f32 elements of a contiguous storage.
pub(crate) fn contiguous<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => bail!("operand of shape {:?} is not contiguous", layout.shape()),
    }
}

/// Calls `f` with the elements of contiguous f32 tensors on the CPU. An absent tensor is empty.
///
/// The tensors stay locked for reading meanwhile; see [`parallel`] for why that is safe. Tensors
/// of one storage share a lock, because a thread that locks it twice waits forever if another
/// thread asks for writing in between.
pub(crate) fn with<T>(
    tensors: &[Option<&Tensor>],
    f: impl FnOnce(&[&[f32]]) -> Result<T>,
) -> Result<T> {
    let ids: Vec<_> = tensors.iter().map(|tensor| tensor.map(storage_id)).collect();
    let first = |id| ids.iter().position(|other| *other == id);
    let mut guards: Vec<_> = tensors.iter().map(|_| None).collect();
    for (index, (tensor, id)) in tensors.iter().zip(&ids).enumerate() {
        if first(*id) == Some(index) {
            guards[index] = tensor.map(Tensor::storage_and_layout);
        }
    }
    let mut slices = Vec::with_capacity(tensors.len());
    for (tensor, id) in tensors.iter().zip(&ids) {
        let guard = first(*id).and_then(|index| guards[index].as_ref());
        slices.push(match (tensor, guard) {
            (Some(tensor), Some((storage, _))) => match &**storage {
                Storage::Cpu(storage) => contiguous(storage, tensor.layout())?,
                _ => bail!("an operator of the CPU was given a tensor of another device"),
            },
            _ => &[],
        });
    }
    f(&slices)
}

/// Returns a number that is the same for tensors that share a storage, and for no others.
pub(crate) fn storage_id(tensor: &Tensor) -> usize {
    let (storage, _) = tensor.storage_and_layout();
    std::ptr::from_ref(&*storage).addr()
}

/// Returns a copy of `values` that `f(first element, chunk)` has changed chunk by chunk. `f` must
/// be `#[inline(always)]`.
pub(crate) fn map_chunks(values: &[f32], f: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let lens = values.chunks(CHUNK).map(<[f32]>::len);
    let (result, _) = parallel::init_parts(lens, 2 * values.len(), |index, part| {
        let start = index * CHUNK;
        let source = &values[start..start + part.len()];
        let part = part.write_copy_of_slice(source);
        vectorized!(f(start, part));
        (part, ())
    });
    result
}
