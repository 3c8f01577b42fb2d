//! The pair in training, and one step of it.

use crate::config::TrainConfig;
use crate::recipe::UpdateRule;
use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use gan_models::losses::{self, Loss};
use gan_models::{
    Backend, Discriminator, Ema, Generator, Gradients, Optimizer, Parameters, Tape, Wants,
};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What the seed is used for; each use has a random stream of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// Noise and dropout of training.
    Training,
    /// The fixed noise of the sample grids.
    Samples,
    GeneratorWeights,
    DiscriminatorWeights,
}

impl Stream {
    pub(crate) fn rng(self, seed: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Counted from the top: the shuffles of the same seed count epochs from 0.
        rng.set_stream(u64::MAX - self as u64);
        rng
    }
}

/// Two networks in training, with all that a checkpoint holds.
pub(crate) struct Gan {
    pub(crate) generator: Generator,
    pub(crate) generator_parameters: Parameters,
    pub(crate) generator_optimizer: Optimizer,
    pub(crate) discriminator: Discriminator,
    pub(crate) discriminator_parameters: Parameters,
    pub(crate) discriminator_optimizer: Optimizer,
    /// The generator's average, and the generator that it makes.
    pub(crate) ema: Ema,
    pub(crate) average: Generator,
    pub(crate) rng: ChaCha8Rng,
    /// Steps made.
    pub(crate) step: u64,
    update: UpdateRule,
    real_label: f32,
}

/// What one step measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct StepStats {
    pub(crate) discriminator_loss: f32,
    pub(crate) generator_loss: f32,
    /// Mean probability that the discriminator gives real pictures to be real.
    pub(crate) real_score: f32,
    /// The same of fakes.
    pub(crate) fake_score: f32,
}

impl Gan {
    /// Fresh networks, from the configuration's seed.
    ///
    /// # Errors
    /// Networks that cannot be built, or that the update rule does not allow.
    pub(crate) fn new(config: &TrainConfig, device: &Device) -> Result<Self> {
        let seed = |stream: Stream| stream.rng(config.seed).next_u64();
        let (generator, generator_parameters) =
            Parameters::fresh(seed(Stream::GeneratorWeights), device, |vars| {
                Generator::new(config.generator.clone(), vars)
            })?;
        let (discriminator, discriminator_parameters) =
            Parameters::fresh(seed(Stream::DiscriminatorWeights), device, |vars| {
                Discriminator::new(&config.discriminator, vars)
            })?;
        if config.update == UpdateRule::Simultaneous && discriminator.network().mixes_batch() {
            bail!(
                "update = \"simultaneous\" needs a discriminator that treats every picture on its \
                 own: without batch_norm; or choose \"alternating\""
            );
        }
        let normalised = generator.network().mixes_batch() || discriminator.network().mixes_batch();
        if normalised && config.batch_size < 2 {
            bail!("batch size 1: batch_norm needs at least 2 pictures to differ from each other");
        }
        let ema = Ema::new(&generator_parameters, config.ema_decay)?;
        let average =
            Generator::new(config.generator.clone(), ema.parameters().builder(device))?.detached();
        Ok(Self {
            generator,
            generator_parameters,
            generator_optimizer: Optimizer::new(config.generator_adam.adam()),
            discriminator,
            discriminator_parameters,
            discriminator_optimizer: Optimizer::new(config.discriminator_adam.adam()),
            ema,
            average,
            rng: Stream::Training.rng(config.seed),
            step: 0,
            update: config.update,
            real_label: config.real_label as f32,
        })
    }

    /// The same networks run by another backend.
    pub(crate) fn with_backend(mut self, backend: Backend) -> Self {
        self.generator = self.generator.with_backend(backend);
        self.discriminator = self.discriminator.with_backend(backend);
        self
    }

    /// Updates both networks once with a batch of real pictures, (B, C, H, W) in [-1, 1].
    ///
    /// # Errors
    /// A loss that is not finite, naming the step, the loss and the first tensor that is not
    /// finite either. The networks are then left as they were before the update that the loss
    /// belongs to.
    pub(crate) fn train_step(&mut self, real: &Tensor) -> Result<StepStats> {
        let stats = match self.update {
            UpdateRule::Simultaneous => self.simultaneous_step(real)?,
            UpdateRule::Alternating => self.alternating_step(real)?,
        };
        self.step += 1;
        let _span = tracing::trace_span!("average").entered();
        self.ema.update(&self.generator_parameters, self.step)?;
        Ok(stats)
    }

    /// One pass of real and fake through the discriminator serves both losses
    /// ([`losses::generator_to_discriminator_ratio`]).
    fn simultaneous_step(&mut self, real: &Tensor) -> Result<StepStats> {
        let (fake, generator_tape) = self.fake(real.dim(0)?)?;
        let judgement = self.judge(real, &fake)?;
        let stats = self.stats(&judgement)?;
        let (discriminator_gradients, at_fake) = self.one_pass_back(&judgement)?;
        let generator_gradients = self.teach_generator(&generator_tape, &at_fake)?;
        self.update_discriminator(&discriminator_gradients)?;
        self.update_generator(&generator_gradients)?;
        Ok(stats)
    }

    /// The gradients of the discriminator's parameters by its loss, and of the fake pictures by
    /// the generator's.
    fn one_pass_back(&self, judgement: &Judgement) -> Result<(Gradients, Tensor)> {
        let (at_pictures, gradients) = judgement.backward(BOTH)?;
        let Some(at_pictures) = at_pictures else {
            bail!("step {}: no gradient reached the fake pictures", self.step + 1);
        };
        let ratio = losses::generator_to_discriminator_ratio(&judgement.fake)?;
        let batch = ratio.dim(0)?;
        let at_fake = at_pictures.narrow(0, at_pictures.dim(0)? - batch, batch)?;
        Ok((gradients, at_fake.broadcast_mul(&per_picture(&ratio)?)?))
    }

    fn alternating_step(&mut self, real: &Tensor) -> Result<StepStats> {
        let batch = real.dim(0)?;
        let (fake, _) = self.fake(batch)?;
        let judgement = self.judge(real, &fake)?;
        let mut stats = self.stats(&judgement)?;
        let (_, gradients) = judgement.backward(PARAMETERS)?;
        self.update_discriminator(&gradients)?;

        let (fake, generator_tape) = self.fake(batch)?;
        let (loss, at_fake) = self.judge_for_generator(&fake)?;
        stats.generator_loss = self.finite("generator", loss)?;
        let gradients = self.teach_generator(&generator_tape, &at_fake)?;
        self.update_generator(&gradients)?;
        Ok(stats)
    }

    /// Pictures from fresh noise.
    fn fake(&mut self, batch: usize) -> Result<(Tensor, Tape)> {
        let _span = tracing::trace_span!("generator").entered();
        let noise = self.generator.noise(batch, &mut self.rng)?;
        Ok(self.generator.record(&noise, &mut self.rng)?)
    }

    /// Real and fake pictures through the discriminator: as one batch, where it treats every
    /// picture on its own.
    fn judge(&mut self, real: &Tensor, fake: &Tensor) -> Result<Judgement> {
        let _span = tracing::trace_span!("discriminator").entered();
        let (real, fake, tapes) = if self.discriminator.network().mixes_batch() {
            let (real, real_tape) = self.discriminator.record(real, &mut self.rng)?;
            let (fake, fake_tape) = self.discriminator.record(fake, &mut self.rng)?;
            (real, fake, vec![real_tape, fake_tape])
        } else {
            let batch = real.dim(0)?;
            let both = Tensor::cat(&[real, fake], 0)?;
            let (logits, tape) = self.discriminator.record(&both, &mut self.rng)?;
            let fake = logits.narrow(0, batch, fake.dim(0)?)?;
            (logits.narrow(0, 0, batch)?, fake, vec![tape])
        };
        let loss = losses::discriminator_loss(&real, &fake, self.real_label)?;
        Ok(Judgement { real, fake, loss, tapes })
    }

    /// The generator's loss and its gradient at the fake pictures.
    fn judge_for_generator(&mut self, fake: &Tensor) -> Result<(f32, Tensor)> {
        let _span = tracing::trace_span!("discriminator").entered();
        let (logits, tape) = self.discriminator.record(fake, &mut self.rng)?;
        let loss = losses::generator_loss(&logits)?;
        let (at_fake, _) = tape.backward(&per_picture(&loss.derivative)?, INPUT)?;
        let Some(at_fake) = at_fake else {
            bail!("step {}: no gradient reached the fake pictures", self.step + 1);
        };
        Ok((loss.value, at_fake))
    }

    /// The generator's gradients, given that at its pictures.
    fn teach_generator(&self, tape: &Tape, at_fake: &Tensor) -> Result<Gradients> {
        let _span = tracing::trace_span!("generator").entered();
        Ok(tape.backward(at_fake, PARAMETERS)?.1)
    }

    fn stats(&self, judgement: &Judgement) -> Result<StepStats> {
        let Judgement { real, fake, loss, .. } = judgement;
        Ok(StepStats {
            discriminator_loss: self.finite("discriminator", loss.value)?,
            generator_loss: self.finite("generator", losses::generator_loss(fake)?.value)?,
            real_score: losses::mean_probability(real)?,
            fake_score: losses::mean_probability(fake)?,
        })
    }

    fn update_discriminator(&mut self, gradients: &Gradients) -> Result<()> {
        let _span = tracing::trace_span!("discriminator").entered();
        Ok(self.discriminator_optimizer.update(&self.discriminator_parameters, gradients)?)
    }

    fn update_generator(&mut self, gradients: &Gradients) -> Result<()> {
        let _span = tracing::trace_span!("generator").entered();
        Ok(self.generator_optimizer.update(&self.generator_parameters, gradients)?)
    }

    /// A loss that is a number.
    fn finite(&self, network: &str, value: f32) -> Result<f32> {
        if value.is_finite() {
            return Ok(value);
        }
        let parameter = match self.first_not_finite()? {
            Some(parameter) => parameter,
            None => "all parameters are finite still".to_string(),
        };
        bail!("step {}: the {network}'s loss is {value}, and {parameter}; {REMEDY}", self.step + 1)
    }

    /// # Errors
    /// The first parameter that is not finite.
    pub(crate) fn check_parameters(&self) -> Result<()> {
        match self.first_not_finite()? {
            Some(parameter) => bail!("step {}: {parameter}; {REMEDY}", self.step),
            None => Ok(()),
        }
    }

    /// Names the first parameter that is not finite.
    fn first_not_finite(&self) -> Result<Option<String>> {
        let networks = [
            ("generator", &self.generator_parameters),
            ("discriminator", &self.discriminator_parameters),
        ];
        for (network, parameters) in networks {
            for (name, var) in parameters.iter() {
                let values = var.as_detached_tensor().flatten_all()?.to_vec1::<f32>()?;
                if let Some(value) = values.iter().find(|value| !value.is_finite()) {
                    return Ok(Some(format!("the {network}'s {name} holds {value}")));
                }
            }
        }
        Ok(None)
    }
}

/// What to do about numbers that are none.
const REMEDY: &str = "try a lower --lr or another --seed, or --resume the run from its last \
    checkpoint, where there is one, with fewer --steps";

const PARAMETERS: Wants = Wants { input: false, parameters: true };
const INPUT: Wants = Wants { input: true, parameters: false };
const BOTH: Wants = Wants { input: true, parameters: true };

/// What the discriminator said of real and fake pictures.
struct Judgement {
    real: Tensor,
    fake: Tensor,
    loss: Loss,
    /// Of real and fake pictures as one batch, or one after the other.
    tapes: Vec<Tape>,
}

impl Judgement {
    /// Gradients of the discriminator's loss: of the pictures, real before fake, and of the
    /// parameters.
    fn backward(&self, wants: Wants) -> Result<(Option<Tensor>, Gradients)> {
        let _span = tracing::trace_span!("discriminator").entered();
        let mut first = 0;
        let mut at_pictures = Vec::new();
        let mut sum = Gradients::new();
        let counts = match self.tapes.as_slice() {
            [_] => vec![self.real.dim(0)? + self.fake.dim(0)?],
            _ => vec![self.real.dim(0)?, self.fake.dim(0)?],
        };
        for (tape, count) in self.tapes.iter().zip(counts) {
            let derivative = self.loss.derivative.narrow(0, first, count)?;
            first += count;
            let (of_input, gradients) = tape.backward(&per_picture(&derivative)?, wants)?;
            at_pictures.extend(of_input);
            for (name, gradient) in gradients {
                let gradient = match sum.remove(&name) {
                    Some(other) => (other + gradient)?,
                    None => gradient,
                };
                sum.insert(name, gradient);
            }
        }
        let at_pictures = match at_pictures.as_slice() {
            [] => None,
            pictures => Some(Tensor::cat(pictures, 0)?),
        };
        Ok((at_pictures, sum))
    }
}

/// (B) as the (B, 1, 1, 1) that networks end in.
fn per_picture(logits: &Tensor) -> Result<Tensor> {
    Ok(logits.reshape((logits.dim(0)?, 1, 1, 1))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::TrainArgs;

    /// Shen et al. 2021: one way back gives what two give, dropout included, whether the
    /// discriminator is undecided or sure of itself.
    #[test]
    fn one_pass_equals_two() -> Result<()> {
        let args = TrainArgs {
            recipe: Some("dcgan".to_string()),
            batch_size: Some(3),
            ..TrainArgs::default()
        };
        let (config, mut batches) = TrainConfig::resolve(&args)?;
        let config = TrainConfig { real_label: 0.9, ..config };
        let real = batches.batch(0)?.images;
        for confidence in [0.0, 6.0, -6.0] {
            let mut gan = Gan::new(&config, &Device::Cpu)?;
            let bias = gan.discriminator_parameters.get("layers.6.bias").expect("a bias").clone();
            bias.set(&(bias.as_detached_tensor() + confidence)?)?;
            compare_one_pass_with_two(&mut gan, &real)?;
        }
        Ok(())
    }

    fn compare_one_pass_with_two(gan: &mut Gan, real: &Tensor) -> Result<()> {
        let (fake, generator_tape) = gan.fake(3)?;
        let judgement = gan.judge(real, &fake)?;
        let (at_discriminator, at_fake) = gan.one_pass_back(&judgement)?;

        // Back once for the discriminator's loss, once more for the generator's.
        let [tape] = &judgement.tapes[..] else { bail!("real and fake are one batch") };
        let (_, want) = tape.backward(&per_picture(&judgement.loss.derivative)?, PARAMETERS)?;
        let of_generator = losses::generator_loss(&judgement.fake)?.derivative;
        let of_both = Tensor::cat(&[&of_generator.zeros_like()?, &of_generator], 0)?;
        let (at_pictures, _) = tape.backward(&per_picture(&of_both)?, INPUT)?;
        let want_at_fake = at_pictures.expect("wanted").narrow(0, 3, 3)?;

        let largest = |tensor: &Tensor| tensor.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>();
        let same = |got: &Tensor, want: &Tensor, what: &str| -> Result<()> {
            let (error, size) = (largest(&(got - want)?)?, largest(want)?);
            assert!(size > 0.0 && error < 1e-4 * size, "{what}: {error} of {size}");
            Ok(())
        };
        same(&at_fake, &want_at_fake, "the fake pictures")?;
        for (name, want) in &want {
            same(&at_discriminator[name], want, name)?;
        }
        let got = gan.teach_generator(&generator_tape, &at_fake)?;
        let want = gan.teach_generator(&generator_tape, &want_at_fake)?;
        assert_eq!(got.len(), want.len());
        for (name, want) in &want {
            same(&got[name], want, name)?;
        }
        Ok(())
    }
}
