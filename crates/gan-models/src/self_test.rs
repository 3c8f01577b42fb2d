//! Whether a device computes what the CPU does, before it is trusted with hours of training.

use crate::config::{DiscriminatorConfig, GeneratorConfig};
use crate::discriminator::Discriminator;
use crate::error::{Error, Result};
use crate::generator::Generator;
use crate::network::Gradients;
use crate::parameters::Parameters;
use crate::stage::Backend;
use candle_core::{Device, Tensor};
use gan_kernels::GradMask;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Pictures of a trial.
const BATCH: usize = 4;
/// Largest difference of a tensor, as a share of its norm: above what reduced precision (TF32)
/// makes of these networks, a unit that it pushes over its activation's kink included, and below
/// what a wrong gradient does.
const TOLERANCE: f32 = 0.05;

/// Makes pictures, judges them, and goes back through both networks, on fresh weights, once on
/// the device and once on the CPU; without a discriminator, through the generator alone.
///
/// # Errors
/// [`Error::Device`] names the first tensor that differs; failures of the device.
pub fn self_test(
    generator: &GeneratorConfig,
    discriminator: Option<&DiscriminatorConfig>,
    device: &Device,
) -> Result<()> {
    let want = trial(generator, discriminator, &Device::Cpu, Backend::of(&Device::Cpu))?;
    let got = trial(generator, discriminator, device, Backend::of(device))?;
    compare(&got, &want)
}

type Named = Vec<(String, Tensor)>;

fn trial(
    generator: &GeneratorConfig,
    discriminator: Option<&DiscriminatorConfig>,
    device: &Device,
    backend: Backend,
) -> Result<Named> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let (generator, _) =
        Parameters::fresh(2, device, |vars| Generator::new(generator.clone(), vars))?;
    let generator = generator.with_backend(backend);
    // There may be one class only.
    let labels = [0; BATCH];
    let input = generator.input(&generator.noise(BATCH, &mut rng)?, &labels)?;
    let (pictures, tape) = generator.record(&input, &mut rng)?;
    let mut all = vec![("the generator's pictures".to_string(), pictures.clone())];
    let mut extend = |network: &str, gradients: Gradients| {
        let name = |(name, value)| (format!("the gradient of the {network}'s {name}"), value);
        all.extend(gradients.into_iter().map(name));
    };
    let at_pictures = match discriminator {
        None => slopes(&pictures)?,
        Some(config) => {
            let (network, _) =
                Parameters::fresh(3, device, |vars| Discriminator::new(config, vars))?;
            let network = network.with_backend(backend);
            let (logits, tape) = network.record(&pictures, &labels, &mut rng)?;
            let at_logits = slopes(&logits)?;
            let both = GradMask { input: true, parameters: true };
            let (at_pictures, gradients) = tape.backward(&at_logits, both)?;
            extend("discriminator", gradients);
            let at_pictures = at_pictures
                .ok_or_else(|| Error::Device("no gradient reached the pictures".to_string()))?;
            extend("discriminator", [("input".to_string(), at_pictures.clone())].into());
            at_pictures
        }
    };
    let (_, gradients) =
        tape.backward(&at_pictures, GradMask { input: false, parameters: true })?;
    extend("generator", gradients);
    Ok(all)
}

/// The gradient of a sum that weights every value differently.
fn slopes(output: &Tensor) -> Result<Tensor> {
    let slopes: Vec<f32> =
        (0..output.elem_count()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    Ok(Tensor::from_vec(slopes, output.dims(), output.device())?)
}

fn compare(got: &Named, want: &Named) -> Result<()> {
    if got.len() != want.len() {
        let text = format!("{} tensors came back, {} on the CPU", got.len(), want.len());
        return Err(Error::Device(text));
    }
    for ((name, got), (_, want)) in got.iter().zip(want) {
        let want = want.to_device(&Device::Cpu)?;
        let norm = |tensor: &Tensor| tensor.sqr()?.sum_all()?.sqrt()?.to_scalar::<f32>();
        let (difference, size) = (norm(&(got.to_device(&Device::Cpu)? - &want)?)?, norm(&want)?);
        // Not `>`: what is no number differs too.
        let is_close = difference <= TOLERANCE * size;
        if !is_close {
            return Err(Error::Device(format!(
                "{name} differs from the CPU's by {difference}, norms of {size}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Activation, Init, Layer, Momentum, Noise, Shape};

    fn configs() -> (GeneratorConfig, DiscriminatorConfig) {
        let image = Shape { channels: 1, height: 8, width: 8 };
        let generator = GeneratorConfig {
            latent_dim: 5,
            noise: Noise::Normal,
            image,
            layers: vec![
                Layer::Project { to: (6, 4, 4).into(), bias: false },
                Layer::BatchNorm { epsilon: 1e-5, momentum: Momentum(0.1), per_channel: false },
                Layer::Activation(Activation::Relu),
                Layer::ConvTranspose { channels: 1, kernel: 4, stride: 2, bias: true },
                Layer::Activation(Activation::Tanh),
            ],
            init: Init::Normal(0.02),
            classes: Vec::new(),
            conditional: false,
        };
        let layers = vec![
            Layer::Conv { channels: 6, kernel: 5, stride: 2, bias: true },
            Layer::Activation(Activation::LeakyRelu(0.2)),
            Layer::Dropout(0.3),
            Layer::Dense { units: 1, bias: true },
        ];
        (generator, DiscriminatorConfig { image, layers, init: Init::Glorot, condition: None })
    }

    /// candle's operators, which devices run, agree with the kernels of the CPU.
    #[test]
    fn a_sound_device_passes() -> Result<()> {
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
                got[wrong].1 = (&got[wrong].1 * fault)?;
                let error = compare(&got, &want).expect_err("a fault").to_string();
                assert!(error.contains(&want[wrong].0), "{error} names {}", want[wrong].0);
            }
        }
        let error = compare(&want[1..].to_vec(), &want).expect_err("one fewer").to_string();
        assert!(error.contains("tensors came back"), "{error}");
        Ok(())
    }
}
