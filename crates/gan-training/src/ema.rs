//! Exponential moving averages (EMA) of parameters.

use crate::error::{Error, Result, check_shape};
use gan_models::{Parameters, lerp_};

/// An exponential moving average of a network's parameters, running statistics included, over about
/// the last `1 / (1 - decay)` steps. Samples are drawn from the averaged generator, which varies
/// less from step to step than the generator itself (Yazici et al. 2019, "The unusual effectiveness
/// of averaging in GAN training").
#[derive(Debug)]
pub struct Ema {
    parameters: Parameters,
    decay: f64,
}

impl Ema {
    /// Starts with a copy of the parameters. `decay` is in [0, 1); with 0 there is nothing to
    /// average, and the parameters themselves are shared.
    ///
    /// # Errors
    /// Failures of the device.
    pub fn new(source: &Parameters, decay: f64) -> Result<Self> {
        let parameters = if decay == 0.0 { source.clone() } else { source.deep_clone()? };
        Ok(Self { parameters, decay })
    }

    /// Averages in the parameters after step `step`, counted from 1. Early steps use a smaller
    /// decay, `step / (step + 9)`, so that the initial weights are soon forgotten.
    ///
    /// # Errors
    /// Parameters of another network, naming the first tensor that differs; nothing is then
    /// changed.
    pub fn update(&self, source: &Parameters, step: u64) -> Result<()> {
        if self.decay == 0.0 {
            return Ok(());
        }
        let decay = self.decay.min(step as f64 / (step as f64 + 9.0));
        let mut pairs = Vec::new();
        for (name, average) in self.parameters.iter() {
            let Some(value) = source.get(name) else {
                let text = format!("the EMA of {name} has no parameter of this name");
                return Err(Error::NoGradient(text));
            };
            check_shape(|| format!("the parameter {name}"), value.dims(), average.dims())?;
            pairs.push((average, value));
        }
        for (average, value) in pairs {
            lerp_(average, value, 1.0 - decay)?;
        }
        Ok(())
    }

    /// The averaged parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}
