//! Comparison of a device's results with the CPU's, before a long training run relies on them.

use crate::backend::Backend;
use crate::config::{DiscriminatorConfig, GeneratorConfig};
use crate::discriminator::Discriminator;
use crate::error::{Error, Result};
use crate::generator::Generator;
use crate::network::Gradients;
use crate::parameters::Parameters;
use candle_core::{Device, Tensor};
use gan_kernels::GradMask;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Images in the test's batch.
const BATCH: usize = 4;
/// Largest norm of a tensor's difference, relative to the norm of the tensor. It is above the error
/// of reduced precision (TF32) in these networks, including units that the error pushes over their
/// activation's kink, and below the error of a wrong gradient.
const TOLERANCE: f32 = 0.05;
/// Gradients count as at least this part of the largest of their network. Some are 0 but for rounding,
/// such as that of a bias before batch normalisation: their own norms say nothing.
const NEGLIGIBLE: f32 = 1e-3;

/// Runs forward and backward passes of both networks on new weights, once on the device and once on
/// the CPU, and compares the results. Without a discriminator, runs the generator alone.
///
/// Returns the largest norm of a tensor's difference, relative to the norm of the tensor or, for a
/// gradient that is negligible beside others of its network, to a thousandth of the largest.
///
/// # Errors
/// [`Error::Device`] names the first tensor that differs; failures of the device.
pub fn self_test(
    generator: &GeneratorConfig,
    discriminator: Option<&DiscriminatorConfig>,
    device: &Device,
) -> Result<f32> {
    let want = trial(generator, discriminator, &Device::Cpu, Backend::of(&Device::Cpu))?;
    let got = trial(generator, discriminator, device, Backend::of(device))?;
    compare(&got, &want)
}

/// A tensor that a trial computed.
#[derive(Clone)]
struct Named {
    /// What the tensor is one of. Norms are compared within one group.
    group: &'static str,
    name: String,
    value: Tensor,
}

const IMAGES: &str = "the generator's";
const OF_GENERATOR: &str = "the gradient of the generator's";
const OF_DISCRIMINATOR: &str = "the gradient of the discriminator's";

fn trial(
    generator: &GeneratorConfig,
    discriminator: Option<&DiscriminatorConfig>,
    device: &Device,
    backend: Backend,
) -> Result<Vec<Named>> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (generator, _) =
        Parameters::init(2, device, |vars| Generator::new(generator.clone(), vars))?;
    let generator = generator.with_backend(backend);
    // There may be no other class than the first.
    let labels = [0; BATCH];
    let input = generator.input(&generator.sample_latents(BATCH, &mut rng)?, &labels)?;
    let (images, tape) = generator.forward_train(&input, &mut rng)?;
    let mut all = vec![Named { group: IMAGES, name: "images".to_string(), value: images.clone() }];
    let mut extend = |group, gradients: Gradients| {
        all.extend(gradients.into_iter().map(|(name, value)| Named { group, name, value }));
    };
    let grad_images = match discriminator {
        None => output_gradient(&images)?,
        Some(config) => {
            let (network, _) =
                Parameters::init(3, device, |vars| Discriminator::new(config, vars))?;
            let network = network.with_backend(backend);
            let (logits, tape) = network.forward_train(&images, &labels, &mut rng)?;
            let both = GradMask { input: true, parameters: true };
            let (grad_images, gradients) = tape.backward(&output_gradient(&logits)?, both)?;
            extend(OF_DISCRIMINATOR, gradients);
            let grad_images = grad_images
                .ok_or_else(|| Error::Device("no gradient reached the images".to_string()))?;
            extend(OF_DISCRIMINATOR, [("input".to_string(), grad_images.clone())].into());
            grad_images
        }
    };
    let (_, gradients) =
        tape.backward(&grad_images, GradMask { input: false, parameters: true })?;
    extend(OF_GENERATOR, gradients);
    Ok(all)
}

/// A gradient with a different value for each output.
fn output_gradient(output: &Tensor) -> Result<Tensor> {
    let values: Vec<f32> =
        (0..output.elem_count()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    Ok(Tensor::from_vec(values, output.dims(), output.device())?)
}

fn compare(got: &[Named], want: &[Named]) -> Result<f32> {
    if got.len() != want.len() {
        let text = format!("{} tensors came back, {} on the CPU", got.len(), want.len());
        return Err(Error::Device(text));
    }
    let sizes = want.iter().map(|tensor| norm(&tensor.value)).collect::<Result<Vec<_>>>()?;
    let largest_of = |group: &str| {
        let others = want.iter().zip(&sizes).filter(|(other, _)| other.group == group);
        others.fold(0f32, |largest, (_, &size)| largest.max(size))
    };
    let mut largest = 0f32;
    for ((got, Named { group, name, value }), &size) in got.iter().zip(want).zip(&sizes) {
        let difference = norm(&(got.value.to_device(&Device::Cpu)? - value)?)?;
        let scale = size.max(NEGLIGIBLE * largest_of(group));
        // Not `>`, so that NaN counts as different.
        let is_close = difference <= TOLERANCE * scale;
        if !is_close {
            return Err(Error::Device(format!(
                "{group} {name} differs from the CPU's by {difference}, norms of {size} and up to \
                 {} in the network",
                largest_of(group)
            )));
        }
        if scale > 0.0 {
            largest = largest.max(difference / scale);
        }
    }
    Ok(largest)
}

fn norm(tensor: &Tensor) -> Result<f32> {
    Ok(tensor.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Activation, FeatureShape, Layer, Momentum, WeightInit};

    fn configs() -> (GeneratorConfig, DiscriminatorConfig) {
        let image = FeatureShape { channels: 1, height: 8, width: 8 };
        let layers = vec![
            Layer::Project { to: (6, 4, 4).into(), bias: false },
            Layer::BatchNorm { epsilon: 1e-5, momentum: Momentum(0.1), per_channel: false },
            Layer::Activation(Activation::Relu),
            Layer::ConvTranspose { channels: 1, kernel: 4, stride: 2, bias: true, groups: 1 },
            Layer::Activation(Activation::Tanh),
        ];
        let generator = GeneratorConfig::new(5, image, layers, WeightInit::Normal(0.02));
        let layers = vec![
            Layer::Conv { channels: 6, kernel: 5, stride: 2, bias: true, groups: 1 },
            Layer::Activation(Activation::LeakyRelu(0.2)),
            Layer::Dropout(0.3),
            Layer::Dense { units: 1, bias: true },
        ];
        (generator, DiscriminatorConfig::new(image, layers, WeightInit::Glorot))
    }

    /// candle's operators, which other devices run, agree with the CPU's kernels.
    #[test]
    fn a_correct_device_passes() -> Result<()> {
        let (generator, discriminator) = configs();
        for discriminator in [None, Some(&discriminator)] {
            let run = |backend| trial(&generator, discriminator, &Device::Cpu, backend);
            compare(&run(Backend::Candle)?, &run(Backend::Kernels)?)?;
            self_test(&generator, discriminator, &Device::Cpu)?;
        }
        Ok(())
    }

    #[test]
    fn a_wrong_gradient_is_named() -> Result<()> {
        let (generator, discriminator) = configs();
        let want = trial(&generator, Some(&discriminator), &Device::Cpu, Backend::Kernels)?;
        for fault in [0.9, f64::NAN] {
            for wrong in 0..want.len() {
                let mut got = want.clone();
                got[wrong].value = (&got[wrong].value * fault)?;
                let error = compare(&got, &want).expect_err("a fault").to_string();
                let name = &want[wrong].name;
                assert!(error.contains(name), "{error} names {name}");
            }
        }
        let error = compare(&want[1..], &want).expect_err("one fewer").to_string();
        assert!(error.contains("tensors came back"), "{error}");
        Ok(())
    }

    /// A bias before batch normalisation has a gradient of 0 but for rounding.
    #[test]
    fn rounding_of_a_gradient_of_zero_passes_and_a_fault_does_not() -> Result<()> {
        let (mut generator, _) = configs();
        let bias = Layer::Conv { channels: 6, kernel: 3, stride: 1, bias: true, groups: 1 };
        let norm = Layer::BatchNorm { epsilon: 1e-5, momentum: Momentum(0.1), per_channel: true };
        generator.layers.splice(3..3, [bias, norm]);
        let run = |backend| trial(&generator, None, &Device::Cpu, backend);
        let (mut got, want) = (run(Backend::Candle)?, run(Backend::Kernels)?);
        let find = |name: &str| want.iter().position(|tensor| tensor.name == name).expect(name);
        let bias = find("layers.3.bias");
        let size = super::norm(&want[bias].value)?;
        assert!(size < 1e-5, "{size} is rounding");
        assert!(super::norm(&(&got[bias].value - &want[bias].value)?)? > TOLERANCE * size);
        compare(&got, &want)?;
        // The gradient of the bias as it would be if normalisation had none of its own.
        let real = &want[find("layers.4.bias")].value;
        got[bias].value = (&want[bias].value + real)?;
        let error = compare(&got, &want).expect_err("a fault").to_string();
        assert!(error.contains("generator's layers.3.bias"), "{error}");
        Ok(())
    }
}
