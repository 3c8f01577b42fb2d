//! A generator and a discriminator in training.

use crate::communicator::{Communicator, SingleProcess, check_ranks};
use crate::ema::Ema;
use crate::error::{Error, Result, check_shape, find_not_finite};
use crate::hyperparameters::{Hyperparameters, SeparateUpdates, UpdateScheme};
use crate::micro_batch::{Batch, deal, hand_back};
use crate::network::{Backward, PARAMETERS, TrainableNetwork};
use crate::optimizer::Optimizer;
use crate::random::RandomStream;
use crate::spectral::bound_spectral_norm;
use crate::stats::{Logits, StepOutput, StepStats, to_host};
use candle_core::{Device, Tensor};
use gan_models::{
    Backend, Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, Gradients, Latent,
    Parameters,
};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;
use std::sync::Arc;

/// A network with its parameters and its optimizer.
pub(crate) struct NetworkState<N> {
    pub(crate) network: N,
    pub(crate) parameters: Parameters,
    pub(crate) optimizer: Optimizer,
}

/// A generator and a discriminator in training, with everything that a checkpoint holds.
///
/// [`Gan::init`] makes one of this project's networks, [`Gan::new`] of any [`TrainableNetwork`]s.
/// All randomness comes from the seed: the same seed and batches give the same bytes, for any number
/// of threads.
pub struct Gan<G = Generator, D = Discriminator> {
    pub(crate) generator: NetworkState<G>,
    pub(crate) discriminator: NetworkState<D>,
    pub(crate) ema: Ema,
    pub(crate) hyperparameters: Hyperparameters,
    pub(crate) rng: ChaCha8Rng,
    /// Steps made.
    pub(crate) step: u64,
    /// The probability of augmentation, where it is adaptive.
    pub(crate) augmentation_probability: f64,
    pub(crate) communicator: Arc<dyn Communicator>,
    latent: Latent,
    device: Device,
}

impl Gan {
    /// Creates the networks of two configurations, with initial weights from the seed.
    ///
    /// # Errors
    /// Networks that cannot be built; hyperparameters that are out of range or do not suit them.
    pub fn init(
        generator: &GeneratorConfig,
        discriminator: &DiscriminatorConfig,
        hyperparameters: Hyperparameters,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let seed_of = |stream: RandomStream| stream.rng(seed).next_u64();
        let latent = generator.latent();
        let generator =
            Parameters::init(seed_of(RandomStream::GeneratorWeights), device, |vars| {
                Generator::new(generator.clone(), vars)
            })?;
        let discriminator =
            Parameters::init(seed_of(RandomStream::DiscriminatorWeights), device, |vars| {
                Discriminator::new(discriminator, vars)
            })?;
        Self::new(generator, discriminator, latent, hyperparameters, seed)
    }

    /// Returns the generator with its EMA parameters, for samples. It follows the training: its
    /// weights are those of the EMA, not a copy.
    ///
    /// # Errors
    /// Failures of the device.
    pub fn ema_generator(&self) -> Result<Generator> {
        let vars = self.ema.parameters().builder(&self.device);
        Ok(Generator::new(self.generator.network.config().clone(), vars)?.detached())
    }

    /// Returns the same networks run by another backend.
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.generator.network = self.generator.network.with_backend(backend);
        self.discriminator.network = self.discriminator.network.with_backend(backend);
        self
    }
}

impl<G: TrainableNetwork, D: TrainableNetwork> Gan<G, D> {
    /// Creates a pair of networks, each with the parameters that it uses. `latent` says what the
    /// generator takes.
    ///
    /// # Errors
    /// Hyperparameters that are out of range or do not suit the networks; a network without
    /// parameters.
    pub fn new(
        (generator, generator_parameters): (G, Parameters),
        (discriminator, discriminator_parameters): (D, Parameters),
        latent: Latent,
        hyperparameters: Hyperparameters,
        seed: u64,
    ) -> Result<Self> {
        let batch_statistics =
            (generator.uses_batch_statistics(), discriminator.uses_batch_statistics());
        check_scheme(&hyperparameters, batch_statistics)?;
        let Some((_, first)) = generator_parameters.iter().next() else {
            return Err(Error::Hyperparameter("the generator has no parameters".to_string()));
        };
        let device = first.device().clone();
        let ema = Ema::new(&generator_parameters, hyperparameters.ema_decay)?;
        Ok(Self {
            generator: NetworkState {
                network: generator,
                parameters: generator_parameters,
                optimizer: Optimizer::new(hyperparameters.generator_adam.adam()),
            },
            discriminator: NetworkState {
                network: discriminator,
                parameters: discriminator_parameters,
                optimizer: Optimizer::new(hyperparameters.discriminator_adam.adam()),
            },
            ema,
            hyperparameters,
            rng: RandomStream::Training.rng(seed),
            step: 0,
            augmentation_probability: 0.0,
            communicator: Arc::new(SingleProcess),
            latent,
            device,
        })
    }

    /// Lets several ranks train the networks together: all with the same seed or checkpoint, each by
    /// [`Gan::train_step`] with its part of the batch ([`Gan::own_images`]). The bytes are those of
    /// one rank.
    ///
    /// # Errors
    /// Micro-batches that cannot be dealt to so many ranks; a device whose tensors they cannot exchange.
    pub fn with_communicator(mut self, communicator: Arc<dyn Communicator>) -> Result<Self> {
        check_ranks(self.hyperparameters.micro_batches, communicator.size())?;
        communicator.check_device(&self.device)?;
        self.communicator = communicator;
        Ok(self)
    }

    /// Updates both networks once with a batch of real images and their class labels, which the
    /// fakes share. Networks that are not class-conditional need no labels. With several ranks, the
    /// images are this one's part of the batch.
    ///
    /// # Shapes
    /// `images`: (B, C, H, W); `labels`: B, or none.
    /// # Range
    /// Images in [-1, 1].
    /// # Errors
    /// [`Error::Diverged`] if a logit is NaN or infinite; on the CPU the network that it would update
    /// is then not updated, on other devices it is [`Gan::read_stats`] that tells.
    /// [`Error::Shape`] if a network's output has another shape than it must have. Networks are not
    /// updated with a step that failed. [`Error::Rank`] if another rank failed; an error of this rank
    /// alone ends the others ([`Communicator::fail`]).
    pub fn train_step(&mut self, images: &Tensor, labels: &[u32]) -> Result<StepOutput> {
        self.step_on(Batch { images, labels }).inspect_err(|error| {
            if !error.is_shared() {
                self.communicator.fail(&error.to_string());
            }
        })
    }

    fn step_on(&mut self, batch: Batch) -> Result<StepOutput> {
        let done = self.hyperparameters.done(self.step);
        let factor = self.hyperparameters.lr_decay.map_or(1.0, |decay| decay.factor(done));
        let Hyperparameters { generator_adam, discriminator_adam, update, micro_batches, .. } =
            self.hyperparameters;
        self.generator.optimizer.set_learning_rate(generator_adam.lr * factor);
        self.discriminator.optimizer.set_learning_rate(discriminator_adam.lr * factor);
        let own = part_of(micro_batches, &*self.communicator);
        let mut parts = deal(batch, own, micro_batches, &mut self.rng)?;
        let output = match update {
            UpdateScheme::Simultaneous => self.simultaneous_step(&mut parts)?,
            UpdateScheme::Alternating => self.alternating_step(&mut parts)?,
            UpdateScheme::Separate(separate) => self.separate_step(&mut parts, separate)?,
        };
        hand_back(parts, micro_batches, &mut self.rng);
        self.adapt_augmentation(&output.logits)?;
        self.step += 1;
        let _span = tracing::trace_span!("ema").entered();
        self.ema.update(&self.generator.parameters, self.step)?;
        Ok(output)
    }

    /// Changes the probability of augmentation after a step, where it is adaptive.
    fn adapt_augmentation(&mut self, logits: &Logits) -> Result<()> {
        let Hyperparameters { loss, real_label, regularization, .. } = self.hyperparameters;
        if let Some(adaptive) = regularization.augmentation.adaptive {
            let (real, fake) = (to_host(&logits.real)?, to_host(&logits.fake)?);
            let mean_sign = loss.mean_sign(&real, &fake, real_label);
            let probability = self.augmentation_probability;
            self.augmentation_probability = adaptive.next(probability, mean_sign, real.len());
        }
        Ok(())
    }

    /// Copies a step's statistics from the device.
    ///
    /// # Errors
    /// [`Error::Diverged`] if a loss is NaN or infinite; failures of the device.
    pub fn read_stats(&self, output: &StepOutput) -> Result<StepStats> {
        let stats = output.read(&self.hyperparameters)?;
        self.check_finite(output.step, "discriminator", f64::from(stats.discriminator_loss))?;
        self.check_finite(output.step, "generator", f64::from(stats.generator_loss))?;
        Ok(stats)
    }

    /// Draws latents and generates images from them, recording the pass.
    pub(crate) fn generate(&self, batch: Batch, rng: &mut ChaCha8Rng) -> Result<(Tensor, G::Tape)> {
        generate(&self.generator.network, &self.latent, batch, rng)
    }

    /// Runs [`Gan::update_discriminator`] and [`Gan::generate`], which need nothing of each other:
    /// on the CPU side by side.
    pub(crate) fn update_discriminator_and_generate(
        &mut self,
        gradients: &Gradients,
        batch: Batch,
        rng: &mut ChaCha8Rng,
    ) -> Result<(Tensor, G::Tape)> {
        if !self.device.is_cpu() {
            self.update_discriminator(gradients)?;
            return self.generate(batch, rng);
        }
        let Self { generator, discriminator, latent, .. } = self;
        let hyperparameters = self.hyperparameters;
        let network = &generator.network;
        let spans = tracing::dispatcher::get_default(Clone::clone);
        let (updated, generated) = rayon::join(
            || {
                update_discriminator(
                    &mut discriminator.optimizer,
                    &discriminator.parameters,
                    hyperparameters,
                    gradients,
                )
            },
            || tracing::dispatcher::with_default(&spans, || generate(network, latent, batch, rng)),
        );
        updated?;
        generated
    }

    pub(crate) fn update_discriminator(&mut self, gradients: &Gradients) -> Result<()> {
        let NetworkState { optimizer, parameters, .. } = &mut self.discriminator;
        update_discriminator(optimizer, parameters, self.hyperparameters, gradients)
    }

    /// The gradients of the generator's parameters, given that of its images.
    pub(crate) fn generator_gradients(
        &self,
        tape: &G::Tape,
        grad_images: &Tensor,
    ) -> Result<Gradients> {
        let _span = tracing::trace_span!("generator").entered();
        Ok(tape.backward(grad_images, PARAMETERS)?.1)
    }

    pub(crate) fn update_generator(&mut self, gradients: &Gradients) -> Result<()> {
        let _span = tracing::trace_span!("generator").entered();
        let NetworkState { optimizer, parameters, .. } = &mut self.generator;
        optimizer.update(parameters, gradients)
    }

    /// What a step returns, given the logits of the discriminator's update and what the generator's
    /// loss took.
    pub(crate) fn output(&self, logits: Logits, generator_logits: Tensor) -> StepOutput {
        let penalties = self.penalties();
        StepOutput { step: self.step + 1, logits, generator_logits, penalties, updates: None }
    }

    /// Checks that logits are finite, as all losses then are, before the update that they are for.
    /// Only the CPU's are at hand without waiting for the device.
    pub(crate) fn check_logits<'a>(
        &self,
        network: &'static str,
        logits: impl IntoIterator<Item = &'a Tensor>,
    ) -> Result<()> {
        for logits in logits.into_iter().filter(|logits| logits.device().is_cpu()) {
            if to_host(logits)?.iter().any(|logit| !logit.is_finite()) {
                self.check_finite(self.step + 1, network, f64::NAN)?;
            }
        }
        Ok(())
    }

    fn check_finite(&self, step: u64, network: &'static str, value: f64) -> Result<()> {
        if value.is_finite() {
            return Ok(());
        }
        let parameters = match self.first_not_finite()? {
            Some(parameter) => parameter,
            None => "all parameters are finite still".to_string(),
        };
        Err(Error::Diverged { step, network, value, parameters })
    }

    /// Checks that all parameters of both networks are finite, and the moments of their optimizers: a
    /// checkpoint of others could not be restored.
    ///
    /// # Errors
    /// [`Error::NotFinite`] names the first that is not.
    pub fn check_parameters(&self) -> Result<()> {
        match self.first_not_finite()? {
            Some(parameter) => Err(Error::NotFinite { step: self.step, parameter }),
            None => Ok(()),
        }
    }

    /// Names the first parameter, or moment of an optimizer, that is NaN or infinite.
    fn first_not_finite(&self) -> Result<Option<String>> {
        let Self { generator, discriminator, .. } = self;
        let networks = [
            ("generator", &generator.parameters, &generator.optimizer),
            ("discriminator", &discriminator.parameters, &discriminator.optimizer),
        ];
        for (network, parameters, optimizer) in networks {
            let parameters =
                parameters.iter().map(|(name, var)| (name.to_string(), var.as_detached_tensor()));
            let moments = optimizer
                .state()
                .into_iter()
                .map(|(name, tensor)| (format!("moment {name}"), tensor));
            for (name, tensor) in parameters.chain(moments) {
                if let Some(value) = find_not_finite(&tensor)? {
                    return Ok(Some(format!("the {network}'s {name} holds {value}")));
                }
            }
        }
        Ok(None)
    }
}

impl<G, D> Gan<G, D> {
    /// The generator.
    pub fn generator(&self) -> &G {
        &self.generator.network
    }

    /// The discriminator.
    pub fn discriminator(&self) -> &D {
        &self.discriminator.network
    }

    /// The generator's parameters.
    pub fn generator_parameters(&self) -> &Parameters {
        &self.generator.parameters
    }

    /// The discriminator's parameters.
    pub fn discriminator_parameters(&self) -> &Parameters {
        &self.discriminator.parameters
    }

    /// The EMA of the generator's parameters.
    pub fn ema_parameters(&self) -> &Parameters {
        self.ema.parameters()
    }

    /// The ranks that train together.
    pub fn communicator(&self) -> &dyn Communicator {
        &*self.communicator
    }

    /// The images of a batch that are this rank's part.
    pub fn own_images(&self) -> Range<usize> {
        part_of(self.hyperparameters.batch_size, &*self.communicator)
    }

    /// The settings of its steps.
    pub fn hyperparameters(&self) -> &Hyperparameters {
        &self.hyperparameters
    }

    /// The device that the networks are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The probability of augmentation, where it is adaptive.
    pub fn augmentation_probability(&self) -> Option<f64> {
        let adaptive = self.hyperparameters.regularization.augmentation.adaptive;
        adaptive.map(|_| self.augmentation_probability)
    }

    /// Steps made.
    pub fn step(&self) -> u64 {
        self.step
    }
}

/// This rank's part of `count` things that are dealt to all ranks.
fn part_of(count: usize, communicator: &dyn Communicator) -> Range<usize> {
    let own = count / communicator.size();
    communicator.rank() * own..(communicator.rank() + 1) * own
}

/// Checks that an update scheme suits networks that use batch statistics.
fn check_scheme(
    hyperparameters: &Hyperparameters,
    (generator, discriminator): (bool, bool),
) -> Result<()> {
    hyperparameters.check_micro_batches()?;
    let Hyperparameters { update, batch_size, micro_batches, .. } = *hyperparameters;
    if update == UpdateScheme::Simultaneous && discriminator {
        return Err(Error::Hyperparameter(
            "update = \"simultaneous\" needs a discriminator without batch_norm and minibatch_std, whose logit of an \
             image does not depend on the rest of the batch; or choose \"alternating\""
                .to_string(),
        ));
    }
    let halves =
        matches!(update, UpdateScheme::Separate(SeparateUpdates { half_batches: true, .. }));
    let size = hyperparameters.micro_batch_size();
    let (shown, of) = if halves { (size / 2, "half of ") } else { (size, "") };
    if (generator || discriminator) && shown < 2 {
        let parts = match micro_batches {
            1 => String::new(),
            count => format!(" in {count} micro-batches"),
        };
        return Err(Error::Hyperparameter(format!(
            "{of}batch size {batch_size}{parts}: batch_norm needs at least 2 images that differ"
        )));
    }
    Ok(())
}

fn generate<G: TrainableNetwork>(
    generator: &G,
    latent: &Latent,
    batch: Batch,
    rng: &mut ChaCha8Rng,
) -> Result<(Tensor, G::Tape)> {
    let _span = tracing::trace_span!("generator").entered();
    let latents = latent.sample(batch.len()?, rng, batch.images.device())?;
    let (images, tape) = generator.forward_train(&latents, batch.labels, rng)?;
    let mut wanted = batch.images.dims().to_vec();
    wanted[0] = latents.dim(0)?;
    check_shape(|| "the generator's images".into(), images.dims(), &wanted)?;
    Ok((images, tape))
}

fn update_discriminator(
    optimizer: &mut Optimizer,
    parameters: &Parameters,
    hyperparameters: Hyperparameters,
    gradients: &Gradients,
) -> Result<()> {
    let _span = tracing::trace_span!("discriminator").entered();
    let Hyperparameters { frozen_layers, regularization, .. } = hyperparameters;
    let is_frozen = |name: &str| layer_of(name).is_some_and(|layer| layer < frozen_layers);
    if frozen_layers == 0 {
        optimizer.update(parameters, gradients)?;
    } else {
        let mut others = gradients.clone();
        others.retain(|name, _| !is_frozen(name));
        optimizer.update(parameters, &others)?;
    }
    match regularization.spectral_norm {
        bound if bound > 0.0 => {
            let mut others = parameters.iter().filter(|(name, _)| !is_frozen(name));
            others.try_for_each(|(_, var)| bound_spectral_norm(var, bound))
        }
        _ => Ok(()),
    }
}

/// The number of a parameter's layer, as [`gan_models::Network`] names its parameters.
fn layer_of(parameter: &str) -> Option<usize> {
    parameter.strip_prefix("layers.")?.split('.').next()?.parse().ok()
}
