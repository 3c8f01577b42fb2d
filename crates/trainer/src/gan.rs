//! The pair in training.

mod step;

use crate::config::TrainConfig;
use crate::judgement::{FAKE, Judgement, MOVED, REAL};
use crate::recipe::{AdamConfig, Decay, Regularization, Separate, UpdateRule};
use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use gan_data::Batch;
use gan_models::{
    Augmentation, Backend, Discriminator, Ema, GanLoss, Generator, GradMask, Gradients, Judging,
    Optimizer, Parameters, Tape, bound_spectral_norms, losses,
};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// What the seed is used for; each use has a random stream of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// Noise and dropout of training.
    Training,
    /// The fixed noise of the sample grids.
    Samples,
    GeneratorWeights,
    DiscriminatorWeights,
    /// The fixed noise of measurements.
    Watch,
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
    /// What of the configuration decides a step.
    rules: Rules,
}

/// How a step is made.
struct Rules {
    update: UpdateRule,
    loss: GanLoss,
    real_label: f32,
    regularization: Regularization,
    lr_decay: Option<Decay>,
    /// Steps of the recipe's own length.
    recipe_steps: u64,
    generator_adam: AdamConfig,
    discriminator_adam: AdamConfig,
}

/// What one step measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct StepStats {
    pub(crate) discriminator_loss: f32,
    pub(crate) generator_loss: f32,
    /// Mean probability that the discriminator gives real pictures to be real, or with losses that
    /// know no probabilities their mean logit.
    pub(crate) real_score: f32,
    /// The same of fakes.
    pub(crate) fake_score: f32,
    /// Share of pictures, real and fake, that the discriminator was right about.
    pub(crate) accuracy: f32,
    /// Which updates were made, where they can be left out.
    pub(crate) updates: Option<Updates>,
}

/// How often each update was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Updates {
    /// The discriminator on real pictures.
    pub(crate) real: u64,
    /// The discriminator on fakes.
    pub(crate) fake: u64,
    pub(crate) generator: u64,
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
        let halves =
            matches!(config.update, UpdateRule::Separate(Separate { half_batches: true, .. }));
        let (shown, of) =
            if halves { (config.batch_size / 2, "half of ") } else { (config.batch_size, "") };
        if normalised && shown < 2 {
            bail!(
                "{of}batch size {}: batch_norm needs at least 2 pictures to differ from each other",
                config.batch_size
            );
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
            rules: Rules {
                update: config.update,
                loss: config.loss,
                real_label: config.real_label as f32,
                regularization: config.regularization,
                lr_decay: config.lr_decay,
                recipe_steps: config.recipe_steps,
                generator_adam: config.generator_adam,
                discriminator_adam: config.discriminator_adam,
            },
        })
    }

    /// The same networks run by another backend.
    pub(crate) fn with_backend(mut self, backend: Backend) -> Self {
        self.generator = self.generator.with_backend(backend);
        self.discriminator = self.discriminator.with_backend(backend);
        self
    }

    /// Updates both networks once with a batch of real pictures, in [-1, 1], and their labels,
    /// which the fakes share.
    ///
    /// # Errors
    /// A loss that is not finite, naming the step, the loss and the first tensor that is not
    /// finite either. The networks are then left as they were before the update that the loss
    /// belongs to.
    pub(crate) fn train_step(&mut self, real: &Batch) -> Result<StepStats> {
        let share = self.rules.lr_decay.map_or(1.0, |decay| decay.share(self.done()));
        let Rules { generator_adam, discriminator_adam, .. } = self.rules;
        self.generator_optimizer.set_learning_rate(generator_adam.lr * share);
        self.discriminator_optimizer.set_learning_rate(discriminator_adam.lr * share);
        let stats = match self.rules.update {
            UpdateRule::Simultaneous => self.simultaneous_step(real)?,
            UpdateRule::Alternating => self.alternating_step(real)?,
            UpdateRule::Separate(separate) => self.separate_step(real, separate)?,
        };
        self.step += 1;
        let _span = tracing::trace_span!("average").entered();
        self.ema.update(&self.generator_parameters, self.step)?;
        Ok(stats)
    }

    /// Pictures of these classes from fresh noise.
    fn fake(&mut self, labels: &[u32]) -> Result<(Tensor, Tape)> {
        fake(&self.generator, &mut self.rng, labels)
    }

    /// [`Gan::update_discriminator`] and [`Gan::fake`], neither of which needs the other: on the
    /// CPU side by side.
    fn update_discriminator_and_fake(
        &mut self,
        gradients: &Gradients,
        real: &Batch,
    ) -> Result<(Tensor, Tape)> {
        if !real.images.device().is_cpu() {
            self.update_discriminator(gradients)?;
            return self.fake(&real.labels);
        }
        let Self { generator, rng, discriminator_optimizer: optimizer, .. } = self;
        let (parameters, rules) = (&self.discriminator_parameters, &self.rules);
        let spans = tracing::dispatcher::get_default(Clone::clone);
        let (updated, fake) = rayon::join(
            || update_discriminator(optimizer, parameters, rules, gradients),
            || tracing::dispatcher::with_default(&spans, || fake(generator, rng, &real.labels)),
        );
        updated?;
        fake
    }

    /// The share of the recipe's length that is done.
    fn done(&self) -> f64 {
        self.step as f64 / self.rules.recipe_steps.max(1) as f64
    }

    /// How pictures are changed at this step: instance noise fades over the recipe's length.
    fn augmentation(&self) -> Augmentation {
        let left = 1.0 - self.done().min(1.0);
        self.rules.regularization.augmentation.with_noise(left as f32)
    }

    /// Real and fake pictures through the discriminator, and where its slope is penalised real ones
    /// with noise: as one batch, where it treats every picture on its own.
    fn judge(&mut self, real: &Batch, fake: &Tensor) -> Result<Judgement> {
        let _span = tracing::trace_span!("discriminator").entered();
        let augmentation = self.augmentation();
        let (real_images, _) = augmentation.apply(&real.images, &mut self.rng)?;
        let (fake, augmented) = augmentation.apply(fake, &mut self.rng)?;
        let penalty = self.rules.regularization.gradient_penalty;
        let mut parts = vec![real_images, fake];
        if penalty > 0.0 {
            let moved = Augmentation { noise: MOVED_BY, ..Augmentation::default() };
            parts.push(moved.apply(&parts[REAL], &mut self.rng)?.0);
        }
        let (logits, tapes) = self.record(&parts, &real.labels)?;
        let loss =
            self.rules.loss.discriminator(&logits[REAL], &logits[FAKE], self.rules.real_label)?;
        let batch = logits[REAL].dim(0)?;
        let mut value = loss.value;
        let mut derivatives = Vec::with_capacity(parts.len());
        for part in [REAL, FAKE] {
            derivatives.push(loss.derivative.narrow(0, part * batch, batch)?);
        }
        if let Some(moved) = logits.get(MOVED) {
            let slope = losses::slope_penalty(&logits[REAL], moved, penalty as f32, MOVED_BY)?;
            value += slope.value;
            let still = slope.derivative.narrow(0, 0, batch)?;
            derivatives[REAL] = (&derivatives[REAL] + still)?;
            derivatives.push(slope.derivative.narrow(0, batch, batch)?);
        }
        Ok(Judgement { logits, value, derivatives, tapes, augmented })
    }

    /// Several parts of pictures with the same labels through the discriminator: the logits of
    /// each, and one tape for all or one for each.
    fn record(&mut self, parts: &[Tensor], labels: &[u32]) -> Result<(Vec<Tensor>, Vec<Judging>)> {
        if self.discriminator.network().mixes_batch() {
            let mut record =
                |part: &Tensor| Ok(self.discriminator.record(part, labels, &mut self.rng)?);
            return parts
                .iter()
                .map(&mut record)
                .collect::<Result<Vec<_>>>()
                .map(|all| all.into_iter().unzip());
        }
        let labels = labels.repeat(parts.len());
        let (logits, tape) =
            self.discriminator.record(&Tensor::cat(parts, 0)?, &labels, &mut self.rng)?;
        let batch = logits.dim(0)? / parts.len();
        let part = |part| Ok(logits.narrow(0, part * batch, batch)?);
        Ok(((0..parts.len()).map(part).collect::<Result<_>>()?, vec![tape]))
    }

    fn reached(&self, at_fake: Option<Tensor>) -> Result<Tensor> {
        let Some(at_fake) = at_fake else {
            bail!("step {}: no gradient reached the fake pictures", self.step + 1);
        };
        Ok(at_fake)
    }

    /// The generator's gradients, given that at its pictures.
    fn teach_generator(&self, tape: &Tape, at_fake: &Tensor) -> Result<Gradients> {
        let _span = tracing::trace_span!("generator").entered();
        Ok(tape.backward(at_fake, PARAMETERS)?.1)
    }

    fn stats(&self, judgement: &Judgement) -> Result<StepStats> {
        let (real, fake) = (&judgement.logits[REAL], &judgement.logits[FAKE]);
        let of_generator = self.rules.loss.generator(fake)?.value;
        self.stats_of((real, fake), judgement.value, of_generator)
    }

    fn stats_of(
        &self,
        (real, fake): (&Tensor, &Tensor),
        of_discriminator: f32,
        of_generator: f32,
    ) -> Result<StepStats> {
        Ok(StepStats {
            discriminator_loss: self.finite("discriminator", of_discriminator)?,
            generator_loss: self.finite("generator", of_generator)?,
            real_score: self.rules.loss.score(real)?,
            fake_score: self.rules.loss.score(fake)?,
            accuracy: self.rules.loss.accuracy(real, fake, self.rules.real_label)?,
            updates: None,
        })
    }

    fn update_discriminator(&mut self, gradients: &Gradients) -> Result<()> {
        let optimizer = &mut self.discriminator_optimizer;
        update_discriminator(optimizer, &self.discriminator_parameters, &self.rules, gradients)
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

fn fake(generator: &Generator, rng: &mut ChaCha8Rng, labels: &[u32]) -> Result<(Tensor, Tape)> {
    let _span = tracing::trace_span!("generator").entered();
    let noise = generator.noise(labels.len(), rng)?;
    let input = generator.input(&noise, labels)?;
    Ok(generator.record(&input, rng)?)
}

fn update_discriminator(
    optimizer: &mut Optimizer,
    parameters: &Parameters,
    rules: &Rules,
    gradients: &Gradients,
) -> Result<()> {
    let _span = tracing::trace_span!("discriminator").entered();
    optimizer.update(parameters, gradients)?;
    match rules.regularization.spectral_norm {
        0.0 => Ok(()),
        bound => Ok(bound_spectral_norms(parameters, bound)?),
    }
}

/// What to do about numbers that are none.
const REMEDY: &str = "try a lower --lr or another --seed, or --resume the run from its last \
    checkpoint, where there is one, with fewer --steps";

const PARAMETERS: GradMask = GradMask { input: false, parameters: true };
const INPUT: GradMask = GradMask { input: true, parameters: false };
const BOTH: GradMask = GradMask { input: true, parameters: true };

/// Standard deviation of the noise that the slope is measured with; pixels are in [-1, 1].
const MOVED_BY: f32 = 0.02;
