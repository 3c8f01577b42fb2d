//! Batch normalisation's parameters, and what it does on candle's own operators.
//!
//! Ioffe and Szegedy 2015, "Batch Normalization".

use crate::config::Shape;
use crate::error::Result;
use candle_core::{Tensor, Var};
use candle_nn::{Init, VarBuilder};

/// Batch normalisation of some features.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    name: String,
    pub(crate) gamma: Tensor,
    pub(crate) beta: Tensor,
    running_mean: Tensor,
    running_variance: Tensor,
    pub(crate) epsilon: f32,
    momentum: f32,
}

/// Where the features of a batch stand.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Features {
    /// Along this one of four dimensions.
    Channels(usize),
    /// Every value of (B, C, H, W) is one, in the order (H, W, C).
    Values(Shape),
}

impl Features {
    /// The dimensions that statistics are taken over.
    fn over(self) -> Vec<usize> {
        match self {
            Self::Channels(axis) => (0..4).filter(|&other| other != axis).collect(),
            Self::Values(_) => vec![0],
        }
    }

    /// A value for each feature, shaped to meet the batch.
    pub(crate) fn spread(self, values: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Channels(axis) => {
                let mut dims = [1; 4];
                dims[axis] = values.elem_count();
                values.reshape(&dims)?
            }
            Self::Values(Shape { channels, height, width }) => {
                values.reshape((height, width, channels))?.permute((2, 0, 1))?.unsqueeze(0)?
            }
        })
    }

    /// The way back from [`Features::spread`].
    fn gather(self, spread: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Channels(_) => spread.flatten_all()?,
            Self::Values(_) => spread.squeeze(0)?.permute((1, 2, 0))?.flatten_all()?,
        })
    }
}

impl Norm {
    /// Normalisation of so many features: gamma 1, beta 0.
    pub(crate) fn new(
        features: usize,
        epsilon: f32,
        momentum: f32,
        vars: &VarBuilder,
    ) -> Result<Self> {
        let get = |name: &str, value| vars.get_with_hints(features, name, Init::Const(value));
        Ok(Self {
            name: vars.prefix(),
            gamma: get("weight", 1.0)?,
            beta: get("bias", 0.0)?,
            running_mean: get("running_mean", 0.0)?,
            running_variance: get("running_var", 1.0)?,
            epsilon,
            momentum,
        })
    }

    /// The same with parameters that no gradient reaches.
    pub(crate) fn detached(&self) -> Self {
        Self { gamma: self.gamma.detach(), beta: self.beta.detach(), ..self.clone() }
    }

    /// Names and values of what is trained.
    pub(crate) fn trained(&self) -> [(String, &Tensor); 2] {
        [
            (format!("{}.weight", self.name), &self.gamma),
            (format!("{}.bias", self.name), &self.beta),
        ]
    }

    /// Normalises with the batch's own statistics, towards which the running ones then move, or
    /// with the running ones.
    pub(crate) fn forward(&self, x: &Tensor, features: Features, train: bool) -> Result<Tensor> {
        if !train {
            let (scale, shift) = self.scale_and_shift()?;
            let scaled = x.broadcast_mul(&features.spread(&scale)?)?;
            return Ok(scaled.broadcast_add(&features.spread(&shift)?)?);
        }
        let over = features.over();
        let mean = x.mean_keepdim(over.as_slice())?;
        let centred = x.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim(over.as_slice())?;
        let deviation = (&variance + f64::from(self.epsilon))?.sqrt()?;
        let y = centred
            .broadcast_div(&deviation)?
            .broadcast_mul(&features.spread(&self.gamma)?)?
            .broadcast_add(&features.spread(&self.beta)?)?;
        let count = x.elem_count() as f64 / mean.elem_count() as f64;
        let unbiased = (variance.detach() * (count / (count - 1.0).max(1.0)))?;
        self.update(&features.gather(&mean.detach())?, &features.gather(&unbiased)?)?;
        Ok(y)
    }

    /// Moves the running statistics towards a batch's.
    pub(crate) fn update(&self, mean: &Tensor, variance: &Tensor) -> Result<()> {
        for (running, value) in [(&self.running_mean, mean), (&self.running_variance, variance)] {
            move_towards(&Var::from_tensor(running)?, value, f64::from(self.momentum))?;
        }
        Ok(())
    }

    /// Normalisation with the running statistics as `scale * z + shift`.
    pub(crate) fn scale_and_shift(&self) -> Result<(Tensor, Tensor)> {
        let deviation = (self.running_variance.detach() + f64::from(self.epsilon))?.sqrt()?;
        let scale = (&self.gamma / deviation)?;
        let shift = (&self.beta - (self.running_mean.detach() * &scale)?)?;
        Ok((scale, shift))
    }
}

/// `average += rate * (value - average)`, in place on any device.
pub(crate) fn move_towards(average: &Var, value: &Tensor, rate: f64) -> Result<()> {
    if average.device().is_cpu() {
        return Ok(gan_kernels::lerp_(average, value, rate as f32)?);
    }
    let current = average.as_detached_tensor();
    average.set(&(&current + ((value - &current)? * rate)?)?)?;
    Ok(())
}
