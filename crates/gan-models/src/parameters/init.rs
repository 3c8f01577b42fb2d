//! Initial weights from a seed.

use crate::error::Result;
use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::init::{FanInOut, Init, NonLinearity, NormalOrUniform};
use candle_nn::{VarBuilder, var_builder::SimpleBackend};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Builds a network on weights drawn from a seed, and returns it with its variables.
pub(super) fn init<T>(
    seed: u64,
    device: &Device,
    build: impl FnOnce(VarBuilder) -> Result<T>,
) -> Result<(T, BTreeMap<String, Var>)> {
    let initial = Initial { rng: ChaCha8Rng::seed_from_u64(seed), variables: BTreeMap::new() };
    let backend = Backend(Arc::new(Mutex::new(initial)));
    let vars = VarBuilder::from_backend(Box::new(backend.clone()), DType::F32, device.clone());
    let network = build(vars)?;
    let initial = backend.0.lock().unwrap_or_else(PoisonError::into_inner);
    Ok((network, initial.variables.clone()))
}

/// A standard normal number, redrawn while it is outside [-2, 2].
pub(crate) fn truncated_normal(rng: &mut (impl Rng + ?Sized)) -> f32 {
    loop {
        let value: f32 = rng.sample(StandardNormal);
        if value.abs() <= 2.0 {
            return value;
        }
    }
}

/// The initialisation that [`Backend`] draws from a truncated normal of this standard deviation.
///
/// `candle_nn::Init` has no truncated normal. A Kaiming normal whose explicit gain is negative
/// stands for it: the sign means nothing to a normal distribution, so no network has a use for it,
/// and other sources of weights draw the plain normal of the same standard deviation.
pub(crate) fn truncated_normal_init(stdev: f64, shape: impl Into<Shape>) -> Init {
    let fan = FanInOut::FanIn;
    let gain = stdev * (fan.for_shape(&shape.into()) as f64).sqrt();
    let (dist, non_linearity) = (NormalOrUniform::Normal, NonLinearity::ExplicitGain(-gain));
    Init::Kaiming { dist, fan, non_linearity }
}

/// A distribution of initial values.
#[derive(Clone, Copy, Debug)]
enum Distribution {
    Constant(f64),
    Normal { mean: f64, std: f64 },
    TruncatedNormal { std: f64 },
    Uniform { low: f64, high: f64 },
}

impl Distribution {
    /// The distribution that candle draws a tensor of this shape from, or the truncated normal of
    /// [`truncated_normal_init`].
    fn new(init: Init, shape: &Shape) -> Self {
        let (dist, fan, non_linearity) = match init {
            Init::Const(value) => return Self::Constant(value),
            Init::Randn { mean, stdev } => return Self::Normal { mean, std: stdev },
            Init::Uniform { lo, up } => return Self::Uniform { low: lo, high: up },
            Init::Kaiming { dist, fan, non_linearity } => (dist, fan, non_linearity),
        };
        let std = non_linearity.gain() / (fan.for_shape(shape) as f64).sqrt();
        match dist {
            NormalOrUniform::Normal if std < 0.0 => Self::TruncatedNormal { std: -std },
            NormalOrUniform::Normal => Self::Normal { mean: 0.0, std },
            NormalOrUniform::Uniform => {
                let bound = 3f64.sqrt() * std;
                Self::Uniform { low: -bound, high: bound }
            }
        }
    }

    fn draw(self, rng: &mut ChaCha8Rng) -> f32 {
        match self {
            Self::Constant(value) => value as f32,
            Self::Normal { mean, std } => {
                (mean + std * rng.sample::<f64, _>(StandardNormal)) as f32
            }
            Self::TruncatedNormal { std } => (std * f64::from(truncated_normal(rng))) as f32,
            Self::Uniform { low, high } => rng.random_range(low..high) as f32,
        }
    }
}

/// Draws the parameters that are asked for, and keeps them.
struct Initial {
    rng: ChaCha8Rng,
    variables: BTreeMap<String, Var>,
}

#[derive(Clone)]
struct Backend(Arc<Mutex<Initial>>);

impl SimpleBackend for Backend {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut initial = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if initial.variables.contains_key(name) {
            candle_core::bail!("two parameters are named {name}");
        }
        let distribution = Distribution::new(init, &shape);
        if let Distribution::Uniform { low, high } = distribution
            && !(low < high && (high - low).is_finite())
        {
            candle_core::bail!("{name}: cannot draw uniformly between {low} and {high}");
        }
        let rng = &mut initial.rng;
        let values: Vec<f32> = (0..shape.elem_count()).map(|_| distribution.draw(rng)).collect();
        let tensor = Tensor::from_vec(values, shape, device)?.to_dtype(dtype)?;
        let var = Var::from_tensor(&tensor)?;
        initial.variables.insert(name.to_string(), var.clone());
        Ok(var.as_tensor().clone())
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("{name}: an initial parameter needs a shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Parameters;

    fn draw(seed: u64, shape: impl Into<Shape>, init: Init) -> Vec<f32> {
        let shape = shape.into();
        let (tensor, parameters) = Parameters::init(seed, &Device::Cpu, |vars| {
            Ok(vars.get_with_hints(shape.clone(), "w", init)?)
        })
        .expect("a plain tensor");
        assert_eq!(parameters.count(), shape.elem_count());
        tensor.flatten_all().and_then(|tensor| tensor.to_vec1()).expect("values")
    }

    fn root_mean_square(values: &[f32]) -> f64 {
        let square: f64 = values.iter().map(|v| f64::from(v * v)).sum();
        (square / values.len() as f64).sqrt()
    }

    fn max_abs(values: &[f32]) -> f32 {
        values.iter().fold(0.0, |max, value| max.max(value.abs()))
    }

    #[test]
    fn a_seed_gives_the_same_weights() {
        let normal = Init::Randn { mean: 0.0, stdev: 0.5 };
        let values = draw(1, 10_000, normal);
        assert_eq!(values, draw(1, 10_000, normal));
        assert_ne!(values, draw(2, 10_000, normal));
        assert!((root_mean_square(&values) - 0.5).abs() < 0.02);
    }

    #[test]
    fn a_truncated_normal_ends_at_two_standard_deviations() {
        let values = draw(1, 10_000, truncated_normal_init(0.5, 10_000));
        assert_eq!(values, draw(1, 10_000, truncated_normal_init(0.5, 10_000)));
        let max = max_abs(&values);
        assert!(max <= 1.0 && max > 0.99, "{max}");
        // The standard deviation of a standard normal within [-2, 2] is 0.8796.
        let std = root_mean_square(&values);
        assert!((std - 0.5 * 0.8796).abs() < 0.01, "{std}");
    }

    /// By hand, for the shape (40, 25, 2, 2): fan in 100, fan out 160, as candle counts them.
    #[test]
    fn kaiming_weights_have_candle_s_bounds() {
        let gains = [
            (NonLinearity::ReLU, 2f64.sqrt()),
            (NonLinearity::Linear, 1.0),
            (NonLinearity::Sigmoid, 1.0),
            (NonLinearity::Tanh, 5.0 / 3.0),
            (NonLinearity::SELU, 0.75),
            (NonLinearity::ExplicitGain(3.0), 3.0),
        ];
        for (fan, count) in [(FanInOut::FanIn, 100.0f64), (FanInOut::FanOut, 160.0)] {
            for (non_linearity, gain) in gains {
                let want = gain / count.sqrt();
                let of = |dist| draw(1, (40, 25, 2, 2), Init::Kaiming { dist, fan, non_linearity });
                let (normal, uniform) = (of(NormalOrUniform::Normal), of(NormalOrUniform::Uniform));
                for values in [&normal, &uniform] {
                    let std = root_mean_square(values);
                    assert!((std - want).abs() < 0.05 * want, "{non_linearity:?}: {std}, {want}");
                }
                let bound = 3f64.sqrt() * want;
                let max = f64::from(max_abs(&uniform));
                assert!(max <= bound && max > 0.99 * bound, "{non_linearity:?}: {max}, {bound}");
                assert!(f64::from(max_abs(&normal)) > 2.5 * want, "not truncated");
            }
        }
    }

    #[test]
    fn a_name_is_given_once_and_an_empty_range_is_an_error() {
        let result = Parameters::init(1, &Device::Cpu, |vars| {
            vars.get_with_hints(2, "w", Init::Const(0.0))?;
            Ok(vars.get_with_hints(2, "w", Init::Const(0.0))?)
        });
        assert!(result.expect_err("twice").to_string().contains("two parameters are named w"));
        let result = Parameters::init(1, &Device::Cpu, |vars| {
            Ok(vars.get_with_hints(2, "w", Init::Uniform { lo: 1.0, up: 1.0 })?)
        });
        let error = result.expect_err("an empty range").to_string();
        assert!(error.contains("w: cannot draw uniformly between 1 and 1"), "{error}");
    }
}
