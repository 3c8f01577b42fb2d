//! In-place updates of parameters: Adam and moving averages, one pass over memory each.

use crate::storage::{contiguous, for_chunks, with};
use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Tensor, bail};

/// Adam's settings, without weight decay.
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
    /// Updates a parameter and its two moments in place with the gradient of step `step`, counted
    /// from 1: `m = b1 m + (1 - b1) g`, `v = b2 v + (1 - b2) g^2`,
    /// `p -= rate * (m / (1 - b1^step)) / (sqrt(v / (1 - b2^step)) + epsilon)`.
    ///
    /// # Shapes
    /// All four alike; f32 on the CPU; parameter and moments contiguous.
    /// # Errors
    /// Shapes that differ, another device or type.
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
        if first.id() == second.id() || [first, second].iter().any(|t| t.id() == parameter.id()) {
            bail!("Adam: parameter and moments must be three different tensors");
        }
        let gradient = gradient.contiguous()?;
        let correction = |beta: f64| 1.0 - beta.powf(step as f64);
        let rate = (self.learning_rate / correction(self.beta1)) as f32;
        let root = (1.0 / correction(self.beta2).sqrt()) as f32;
        let (beta1, beta2, epsilon) = (self.beta1 as f32, self.beta2 as f32, self.epsilon as f32);
        let (rest1, rest2) = ((1.0 - self.beta1) as f32, (1.0 - self.beta2) as f32);
        with(&[Some(&gradient)], |gradient| {
            let gradient = gradient[0];
            in_place3(parameter, first, second, |p, m, v| {
                let (m, v) = (crate::parallel::Disjoint::new(m), crate::parallel::Disjoint::new(v));
                for_chunks(
                    p,
                    #[inline(always)]
                    |start, p| {
                        // SAFETY: the chunks of the moments are those of the parameter, which are
                        // disjoint.
                        let (m, v) = unsafe { (m.part(start, p.len()), v.part(start, p.len())) };
                        let g = &gradient[start..start + p.len()];
                        for (((p, m), v), g) in p.iter_mut().zip(m).zip(v).zip(g) {
                            *m = beta1 * *m + rest1 * g;
                            *v = beta2 * *v + rest2 * g * g;
                            *p -= rate * *m / (v.sqrt() * root + epsilon);
                        }
                    },
                );
            })
        })
    }
}

/// Moves `average` towards `value` in place: `average += rate * (value - average)`.
///
/// # Shapes
/// Both alike; f32 on the CPU; `average` contiguous.
/// # Errors
/// Shapes that differ, another device or type.
pub fn move_towards(average: &Tensor, value: &Tensor, rate: f32) -> Result<()> {
    if average.dims() != value.dims() {
        bail!("moving average {:?} of a tensor {:?}", average.dims(), value.dims());
    }
    if average.id() == value.id() {
        return Ok(());
    }
    let value = value.contiguous()?;
    with(&[Some(&value)], |value| {
        let value = value[0];
        average.inplace_op1(&InPlace::new(|average: &mut [f32]| {
            for_chunks(
                average,
                #[inline(always)]
                |start, average| {
                    let value = &value[start..start + average.len()];
                    average.iter_mut().zip(value).for_each(|(a, v)| *a += rate * (v - *a));
                },
            );
            Ok(())
        }))
    })
}

/// Calls `f` with the elements of three different tensors, to be changed in place.
fn in_place3(
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    f: impl FnOnce(&mut [f32], &mut [f32], &mut [f32]),
) -> Result<()> {
    a.inplace_op1(&InPlace::new(|a: &mut [f32]| {
        b.inplace_op1(&InPlace::new(|b: &mut [f32]| {
            c.inplace_op1(&InPlace::new(|c: &mut [f32]| {
                f(a, b, c);
                Ok(())
            }))
        }))
    }))
}

/// A closure as candle's in-place operator, which is the one way to a tensor's own memory.
struct InPlace<F>(std::cell::Cell<Option<F>>);

impl<F: FnOnce(&mut [f32]) -> Result<()>> InPlace<F> {
    fn new(f: F) -> Self {
        Self(std::cell::Cell::new(Some(f)))
    }
}

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
