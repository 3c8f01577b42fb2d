//! The parameters of networks, by name.

mod init;
mod load;

pub(crate) use init::{truncated_normal, truncated_normal_init};
pub(crate) use load::load;

use crate::error::Result;
use crate::tensor_file::load_tensors;
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{VarBuilder, VarMap};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::PoisonError;

/// Named variables in the order of their names: trainable weights and running statistics. Clones
/// share the variables.
#[derive(Clone, Debug, Default)]
pub struct Parameters(BTreeMap<String, Var>);

impl Parameters {
    /// Builds a network on weights drawn from a seed, and returns it with its parameters.
    ///
    /// The network may be the caller's own `candle_nn` modules: every `candle_nn::Init` is
    /// supported, with the bounds that candle computes. Weights are drawn in the order in which the
    /// network asks for them.
    ///
    /// ```
    /// use candle_core::{Device, Module, Tensor};
    /// use gan_models::Parameters;
    ///
    /// # fn main() -> gan_models::Result<()> {
    /// let (network, parameters) = Parameters::init(1, &Device::Cpu, |vars| {
    ///     let hidden = candle_nn::linear(4, 16, vars.pp("hidden"))?;
    ///     let output = candle_nn::linear(16, 1, vars.pp("output"))?;
    ///     Ok(candle_nn::seq().add(hidden).add(candle_nn::Activation::Relu).add(output))
    /// })?;
    /// assert_eq!(parameters.count(), 5 * 16 + 17);
    /// let x = Tensor::zeros((2, 4), candle_core::DType::F32, &Device::Cpu)?;
    /// assert_eq!(network.forward(&x)?.dims(), [2, 1]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Errors of `build`, two parameters of one name, and failures of the device.
    pub fn init<T>(
        seed: u64,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> Result<T>,
    ) -> Result<(T, Self)> {
        let (network, variables) = init::init(seed, device, build)?;
        Ok((network, Self(variables)))
    }

    /// Builds a network on the weights of a safetensors file, and returns it with its parameters.
    ///
    /// # Errors
    /// As [`crate::weights::load_network`].
    pub fn load<T>(
        path: &Path,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> Result<T>,
    ) -> Result<(T, Self)> {
        Self::from_tensors((path, load_tensors(path, device)?), device, build)
    }

    /// Builds a network on tensors that were read from the file `path`, and returns it with its
    /// parameters. Nothing is drawn, and no memory is taken for a parameter that the tensors lack.
    ///
    /// # Errors
    /// As [`crate::weights::load_network`].
    pub fn from_tensors<T>(
        file: (&Path, HashMap<String, Tensor>),
        device: &Device,
        build: impl FnOnce(VarBuilder) -> Result<T>,
    ) -> Result<(T, Self)> {
        let (network, tensors) = load(file, device, true, build)?;
        // The network's tensors are variables, which `from_tensor` shares.
        let variable = |(name, tensor)| Ok((name, Var::from_tensor(&tensor)?));
        Ok((network, Self(tensors.into_iter().map(variable).collect::<Result<_>>()?)))
    }

    /// The variables of a `VarMap`, shared and not copied.
    pub fn from_varmap(variables: &VarMap) -> Self {
        let data = variables.data().lock().unwrap_or_else(PoisonError::into_inner);
        Self(data.iter().map(|(name, var)| (name.clone(), var.clone())).collect())
    }

    /// A `VarMap` of these variables, shared and not copied.
    pub fn to_varmap(&self) -> VarMap {
        let variables = VarMap::new();
        let mut data = variables.data().lock().unwrap_or_else(PoisonError::into_inner);
        data.extend(self.0.iter().map(|(name, var)| (name.clone(), var.clone())));
        drop(data);
        variables
    }

    /// Copies every variable, so that later changes of one set do not affect the other.
    ///
    /// # Errors
    /// Failures of the device.
    pub fn deep_clone(&self) -> Result<Self> {
        let copy = |(name, var): (&String, &Var)| -> Result<_> {
            Ok((name.clone(), Var::from_tensor(&var.as_detached_tensor().copy()?)?))
        };
        Ok(Self(self.0.iter().map(copy).collect::<Result<_>>()?))
    }

    /// A builder that gives these variables to another network, shared and not copied.
    pub fn builder(&self, device: &Device) -> VarBuilder<'static> {
        let tensors =
            self.0.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        VarBuilder::from_tensors(tensors, DType::F32, device)
    }

    /// Names and variables, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.0.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// The variable of this name.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.0.get(name)
    }

    /// Number of values in all variables, running statistics included.
    pub fn count(&self) -> usize {
        self.0.values().map(|var| var.elem_count()).sum()
    }

    /// Names and tensors, as [`crate::pytorch`] and [`crate::weights`] take them.
    pub fn tensors(&self) -> HashMap<String, Tensor> {
        self.0.iter().map(|(name, var)| (name.clone(), var.as_detached_tensor())).collect()
    }
}
