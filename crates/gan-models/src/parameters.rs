//! A network's trainable and running values, by name.

use crate::error::Result;
use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::init::{FanInOut, Init, NonLinearity, NormalOrUniform};
use candle_nn::{VarBuilder, var_builder::SimpleBackend};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Named variables in the order of their names. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Parameters(BTreeMap<String, Var>);

impl Parameters {
    /// Builds a network from fresh weights, drawn in the order in which it asks for them, and
    /// returns it with its parameters.
    ///
    /// # Errors
    /// Whatever `build` reports, and failures of the device.
    pub fn fresh<T>(
        seed: u64,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> Result<T>,
    ) -> Result<(T, Self)> {
        let drawn = Fresh { rng: ChaCha8Rng::seed_from_u64(seed), variables: BTreeMap::new() };
        let backend = Backend(Arc::new(Mutex::new(drawn)));
        let vars = VarBuilder::from_backend(Box::new(backend.clone()), DType::F32, device.clone());
        let network = build(vars)?;
        let drawn = backend.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((network, Self(drawn.variables.clone())))
    }

    /// A copy of its own of every value.
    ///
    /// # Errors
    /// Failures of the device.
    pub fn duplicate(&self) -> Result<Self> {
        let copy = |(name, var): (&String, &Var)| -> Result<_> {
            Ok((name.clone(), Var::from_tensor(&var.as_detached_tensor().copy()?)?))
        };
        Ok(Self(self.0.iter().map(copy).collect::<Result<_>>()?))
    }

    /// A source of these very variables, for building another network on them.
    pub fn builder(&self, device: &Device) -> VarBuilder<'static> {
        let tensors =
            self.0.iter().map(|(name, var)| (name.clone(), var.as_tensor().clone())).collect();
        VarBuilder::from_tensors(tensors, DType::F32, device)
    }

    /// Names and variables, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.0.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// The variable of this name.
    pub fn get(&self, name: &str) -> Option<&Var> {
        self.0.get(name)
    }

    /// Values in all, running statistics included.
    pub fn count(&self) -> usize {
        self.0.values().map(|var| var.elem_count()).sum()
    }
}

/// A standard normal number, drawn again where it is beyond 2 or -2.
pub(crate) fn truncated_normal(rng: &mut (impl Rng + ?Sized)) -> f32 {
    loop {
        let value: f32 = rng.sample(StandardNormal);
        if value.abs() <= 2.0 {
            return value;
        }
    }
}

/// How [`Parameters::fresh`] is asked for weights of a truncated normal, for which candle has no
/// name: as a normal of this deviation, by way of a gain. Other sources draw the plain normal.
pub(crate) fn truncated(stdev: f64, shape: impl Into<Shape>) -> Init {
    let fan = FanInOut::FanIn;
    let gain = stdev * (fan.for_shape(&shape.into()) as f64).sqrt();
    let (dist, non_linearity) = (NormalOrUniform::Normal, NonLinearity::ExplicitGain(gain));
    Init::Kaiming { dist, fan, non_linearity }
}

/// Draws what is asked for and keeps it.
struct Fresh {
    rng: ChaCha8Rng,
    variables: BTreeMap<String, Var>,
}

#[derive(Clone)]
struct Backend(Arc<Mutex<Fresh>>);

impl SimpleBackend for Backend {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        _: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if fresh.variables.contains_key(name) {
            candle_core::bail!("two parameters are named {name}");
        }
        let rng = &mut fresh.rng;
        let mut draw: Box<dyn FnMut() -> f32> = match init {
            Init::Const(value) => Box::new(move || value as f32),
            Init::Randn { mean, stdev } => {
                Box::new(move || (mean + stdev * rng.sample::<f64, _>(StandardNormal)) as f32)
            }
            Init::Uniform { lo, up } => Box::new(move || rng.random_range(lo..up) as f32),
            Init::Kaiming {
                dist: NormalOrUniform::Normal,
                fan,
                non_linearity: NonLinearity::ExplicitGain(gain),
            } => {
                let stdev = gain / (fan.for_shape(&shape) as f64).sqrt();
                Box::new(move || (stdev * f64::from(truncated_normal(rng))) as f32)
            }
            Init::Kaiming { .. } => candle_core::bail!("{name}: Kaiming weights are not offered"),
        };
        let values: Vec<f32> = (0..shape.elem_count()).map(|_| draw()).collect();
        drop(draw);
        let var = Var::from_tensor(&Tensor::from_vec(values, shape, device)?)?;
        fresh.variables.insert(name.to_string(), var.clone());
        Ok(var.as_tensor().clone())
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("{name}: a fresh parameter needs a shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(seed: u64, init: Init) -> Vec<f32> {
        let (tensor, parameters) = Parameters::fresh(seed, &Device::Cpu, |vars| {
            Ok(vars.get_with_hints(10_000, "w", init)?)
        })
        .expect("a plain tensor");
        assert_eq!(parameters.count(), 10_000);
        tensor.to_vec1().expect("one dimension")
    }

    #[test]
    fn the_seed_decides_and_the_spread_is_as_asked() {
        let normal = Init::Randn { mean: 0.0, stdev: 0.5 };
        let values = draw(1, normal);
        assert_eq!(values, draw(1, normal));
        assert_ne!(values, draw(2, normal));
        assert!((spread(&values) - 0.5).abs() < 0.02);
    }

    fn spread(values: &[f32]) -> f64 {
        let square: f64 = values.iter().map(|v| f64::from(v * v)).sum();
        (square / values.len() as f64).sqrt()
    }

    #[test]
    fn a_truncated_normal_ends_at_two_deviations() {
        let values = draw(1, truncated(0.5, 10_000));
        assert_eq!(values, draw(1, truncated(0.5, 10_000)));
        let largest = values.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        assert!(largest <= 1.0 && largest > 0.99, "{largest}");
        // The deviation of a standard normal within +-2 is 0.8796.
        assert!((spread(&values) - 0.5 * 0.8796).abs() < 0.01, "{}", spread(&values));
    }

    #[test]
    fn one_name_stands_for_one_parameter() {
        let result = Parameters::fresh(1, &Device::Cpu, |vars| {
            vars.get_with_hints(2, "w", Init::Const(0.0))?;
            Ok(vars.get_with_hints(2, "w", Init::Const(0.0))?)
        });
        assert!(result.expect_err("twice").to_string().contains("two parameters are named w"));
    }
}
