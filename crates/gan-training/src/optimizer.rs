//! Adam over a network's parameters, with a state that can be saved and restored.

use crate::error::{Error, Result, check_shape};
use candle_core::{Device, Tensor, Var};
use gan_kernels::Adam;
use gan_models::{Gradients, Parameters};
use std::collections::{BTreeMap, HashMap};

/// Adam (Kingma and Ba 2015) with moments for every parameter that has had a gradient.
#[derive(Debug)]
pub struct Optimizer {
    adam: Adam,
    step: u64,
    /// First and second moment of each parameter.
    moments: BTreeMap<String, (Var, Var)>,
}

impl Optimizer {
    /// Creates an optimizer that has made no update.
    pub fn new(adam: Adam) -> Self {
        Self { adam, step: 0, moments: BTreeMap::new() }
    }

    /// Updates made.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Sets the learning rate of later updates.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.adam.learning_rate = learning_rate;
    }

    /// Updates every parameter that has a gradient. Gradients are not checked for NaN.
    ///
    /// # Errors
    /// A gradient that has no parameter, or another shape than its parameter, naming both; no
    /// parameter is then changed. Failures of the device.
    pub fn update(&mut self, parameters: &Parameters, gradients: &Gradients) -> Result<()> {
        let _span = tracing::trace_span!("update").entered();
        for (name, gradient) in gradients {
            let Some(var) = parameters.get(name) else {
                let text = format!("the gradient of {name} has no parameter of this name");
                return Err(Error::NoGradient(text));
            };
            check_shape(|| format!("the gradient of {name}"), gradient.dims(), var.dims())?;
        }
        self.step += 1;
        for (name, gradient) in gradients {
            let Some(var) = parameters.get(name) else { continue };
            if !self.moments.contains_key(name) {
                let zeros = || Var::from_tensor(&var.zeros_like()?);
                self.moments.insert(name.clone(), (zeros()?, zeros()?));
            }
            let (first, second) = &self.moments[name];
            if var.device().is_cpu() {
                self.adam.update(var, gradient, (first, second), self.step)?;
            } else {
                self.update_on_device(var, gradient, first, second)?;
            }
        }
        Ok(())
    }

    /// Computes [`Adam::update`] with candle's own operators.
    fn update_on_device(
        &self,
        var: &Var,
        gradient: &Tensor,
        first: &Var,
        second: &Var,
    ) -> Result<()> {
        let Adam { learning_rate, beta1, beta2, epsilon } = self.adam;
        let correction = |beta: f64| 1.0 - beta.powf(self.step as f64);
        let m = ((first.as_detached_tensor() * beta1)? + (gradient * (1.0 - beta1))?)?;
        let v = ((second.as_detached_tensor() * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
        let root = (v.sqrt()? / correction(beta2).sqrt())?;
        let change = (&m / (root + epsilon)?)?;
        let rate = learning_rate / correction(beta1);
        var.set(&(var.as_detached_tensor() - (change * rate)?)?)?;
        first.set(&m)?;
        second.set(&v)?;
        Ok(())
    }

    /// Returns the moments by name: `first.PARAMETER` and `second.PARAMETER`.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let of = |(name, (first, second)): (&String, &(Var, Var))| {
            [
                (format!("first.{name}"), first.as_detached_tensor()),
                (format!("second.{name}"), second.as_detached_tensor()),
            ]
        };
        self.moments.iter().flat_map(of).collect()
    }

    /// Restores a state that [`Optimizer::state`] returned after `step` updates.
    ///
    /// # Errors
    /// [`Error::OptimizerState`] for a moment that is missing, unknown or of another shape or type than
    /// its parameter; the optimizer is then unchanged.
    pub fn restore(
        &mut self,
        step: u64,
        mut state: HashMap<String, Tensor>,
        parameters: &Parameters,
        device: &Device,
    ) -> Result<()> {
        let mut moments = BTreeMap::new();
        for (name, var) in parameters.iter() {
            let mut take = |kind: &str| -> Result<Option<Var>> {
                let Some(tensor) = state.remove(&format!("{kind}.{name}")) else { return Ok(None) };
                if tensor.dims() != var.dims() || tensor.dtype() != var.dtype() {
                    return Err(Error::OptimizerState(format!(
                        "optimizer state {kind}.{name} is {:?} {:?}, its parameter {:?} {:?}",
                        tensor.dtype(),
                        tensor.dims(),
                        var.dtype(),
                        var.dims()
                    )));
                }
                Ok(Some(Var::from_tensor(&tensor.to_device(device)?)?))
            };
            match (take("first")?, take("second")?) {
                (Some(first), Some(second)) => {
                    moments.insert(name.to_string(), (first, second));
                }
                (None, None) => {}
                _ => {
                    let text = format!("optimizer state of {name} has one moment, not two");
                    return Err(Error::OptimizerState(text));
                }
            }
        }
        if let Some(name) = state.keys().min() {
            let text = format!("optimizer state {name} has no parameter");
            return Err(Error::OptimizerState(text));
        }
        (self.step, self.moments) = (step, moments);
        Ok(())
    }
}
