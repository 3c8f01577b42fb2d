//! Exponential moving averages of parameters.

use crate::batch_norm::lerp_;
use crate::error::Result;
use crate::parameters::Parameters;

/// An average over the last `1 / (1 - decay)` or so steps of a network's parameters, running
/// statistics included: what samples are drawn from, since it moves less than the network
/// (Yazici et al. 2019, "The unusual effectiveness of averaging in GAN training").
#[derive(Debug)]
pub struct Ema {
    parameters: Parameters,
    decay: f64,
}

impl Ema {
    /// Begins as a copy of the parameters. `decay` is in [0, 1); at 0 there is nothing to average,
    /// and the parameters themselves are shared.
    ///
    /// # Errors
    /// Failures of the device.
    pub fn new(source: &Parameters, decay: f64) -> Result<Self> {
        let parameters = if decay == 0.0 { source.clone() } else { source.deep_clone()? };
        Ok(Self { parameters, decay })
    }

    /// Takes in the parameters after step `step`, counted from 1. Early on the average is
    /// shorter, so that the initial weights are soon forgotten.
    ///
    /// # Errors
    /// Parameters of another network.
    pub fn update(&self, source: &Parameters, step: u64) -> Result<()> {
        if self.decay == 0.0 {
            return Ok(());
        }
        let decay = self.decay.min(step as f64 / (step as f64 + 9.0));
        for (name, average) in self.parameters.iter() {
            if let Some(value) = source.get(name) {
                lerp_(average, value, 1.0 - decay)?;
            }
        }
        Ok(())
    }

    /// The averages.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}
