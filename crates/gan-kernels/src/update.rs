//! In-place updates of parameters, each in one pass over memory: Adam and moving averages.

use crate::parallel;
use crate::simd::vectorized;
use crate::storage::{CHUNK, contiguous, storage_id, with};
use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};
use std::cell::Cell;

/// The settings of Adam without weight decay.
///
/// # Reference
/// Kingma and Ba 2015, "Adam: a method for stochastic optimization".
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Learning rate.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the square root of the second moment.
    pub epsilon: f64,
}

impl Adam {
    /// Updates a parameter and its two moments in place, given the gradient of step `step`, counted
    /// from 1: `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
    /// `p -= rate * (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + epsilon)`.
    ///
    /// # Shapes
    /// All four tensors have the same shape and are f32 on the CPU. Parameter and moments are
    /// contiguous.
    /// # Errors
    /// Shapes that differ, another device or type, two of the four tensors that share memory.
    pub fn update(
        &self,
        parameter: &Tensor,
        gradient: &Tensor,
        (first, second): (&Tensor, &Tensor),
        step: u64,
    ) -> Result<()> {
        if [gradient, first, second].iter().any(|t| t.dims() != parameter.dims()) {
            bail!(
                "Adam: parameter {:?}, gradient {:?}, moments {:?} and {:?}",
                parameter.dims(),
                gradient.dims(),
                first.dims(),
                second.dims()
            );
        }
        let gradient = gradient.contiguous()?;
        check_distinct(
            "Adam",
            &[
                ("parameter", parameter),
                ("gradient", &gradient),
                ("first moment", first),
                ("second moment", second),
            ],
        )?;
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        let rate = (self.learning_rate / correction(self.beta1)) as f32;
        let root = (1.0 / correction(self.beta2).sqrt()) as f32;
        let (beta1, beta2, epsilon) = (self.beta1 as f32, self.beta2 as f32, self.epsilon as f32);
        let (rest1, rest2) = ((1.0 - self.beta1) as f32, (1.0 - self.beta2) as f32);
        let update = |p: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32]| {
            vectorized!(for (((p, m), v), g) in p.iter_mut().zip(&mut *m).zip(&mut *v).zip(g) {
                *m = beta1 * *m + rest1 * g;
                *v = beta2 * *v + rest2 * g * g;
                *p -= rate * *m / (v.sqrt() * root + epsilon);
            });
        };
        with(&[Some(&gradient)], |gradient| {
            let g = gradient[0].chunks(CHUNK);
            in_place(parameter, |p| {
                in_place(first, |m| {
                    in_place(second, |v| {
                        let work = 2 * p.len();
                        let chunks = p.chunks_mut(CHUNK).zip(m.chunks_mut(CHUNK));
                        let chunks = chunks.zip(v.chunks_mut(CHUNK)).zip(g);
                        parallel::map(chunks, work, |_, (((p, m), v), g)| update(p, m, v, g));
                        Ok(())
                    })
                })
            })
        })
    }
}

/// Moves `average` towards `value` in place: `average += rate * (value - average)`.
///
/// # Shapes
/// Both tensors have the same shape and are f32 on the CPU. `average` is contiguous.
/// # Errors
/// Shapes that differ, another device or type, different tensors that share memory.
pub fn lerp_(average: &Tensor, value: &Tensor, rate: f32) -> Result<()> {
    if average.dims() != value.dims() {
        bail!("moving average {:?} of a tensor {:?}", average.dims(), value.dims());
    }
    if average.id() == value.id() {
        return Ok(());
    }
    let value = value.contiguous()?;
    check_distinct("moving average", &[("average", average), ("value", &value)])?;
    with(&[Some(&value)], |value| {
        let value = value[0];
        in_place(average, |average| {
            let work = 2 * average.len();
            let chunks = average.chunks_mut(CHUNK).zip(value.chunks(CHUNK));
            parallel::map(chunks, work, |_, (average, value)| {
                vectorized!(average.iter_mut().zip(value).for_each(|(a, v)| *a += rate * (v - *a)));
            });
            Ok(())
        })
    })
}

/// Refuses tensors that share memory: an update locks each storage, so it would wait for itself.
fn check_distinct(what: &str, tensors: &[(&str, &Tensor)]) -> Result<()> {
    let ids: Vec<_> = tensors.iter().map(|(_, tensor)| storage_id(tensor)).collect();
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        if let Some(j) = ids[..i].iter().position(|id| *id == ids[i]) {
            bail!(
                "{what}: {} and {name} of shape {:?} share memory; pass a copy of one \
                 (Tensor::copy)",
                tensors[j].0,
                tensor.dims()
            );
        }
    }
    Ok(())
}

/// Calls `f` with the elements of a contiguous f32 tensor on the CPU, to be changed in place.
fn in_place(tensor: &Tensor, f: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    tensor.inplace_op1(&InPlace(Cell::new(Some(f))))
}

/// A closure as an in-place operator, which is candle's only access to a tensor's own memory.
struct InPlace<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for InPlace<F> {
    fn name(&self) -> &'static str {
        "update"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        contiguous(storage, layout)?;
        let (start, end) = layout.contiguous_offsets().unwrap_or_default();
        let CpuStorage::F32(values) = storage else {
            bail!("update of a tensor that is not f32");
        };
        match self.0.take() {
            Some(f) => f(&mut values[start..end]),
            None => Ok(()),
        }
    }
}
