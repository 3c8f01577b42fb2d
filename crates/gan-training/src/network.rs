//! What the training step needs of a network, for this project's networks and for candle's.

use crate::error::{Error, Result, check_shape};
use candle_core::{Tensor, Var};
use gan_models::{
    Discriminator, DiscriminatorTape, Generator, GradMask, Gradients, Parameters, Tape,
};
use rand::RngCore;

pub(crate) const PARAMETERS: GradMask = GradMask { input: false, parameters: true };
pub(crate) const INPUT: GradMask = GradMask { input: true, parameters: false };
pub(crate) const BOTH: GradMask = GradMask { input: true, parameters: true };

/// A network that the training step can train: a generator, from latents (B, latent dim) to images
/// (B, C, H, W) in [-1, 1], or a discriminator, from images to logits (B).
///
/// [`Generator`] and [`Discriminator`] are such networks; [`Autograd`] makes one of any candle
/// module.
pub trait TrainableNetwork: Sync {
    /// What a forward pass saves for its backward pass.
    type Tape: Backward + Send;

    /// Runs a forward pass in training mode on B inputs with B class labels, and records it.
    /// Networks that are not class-conditional ignore the labels.
    ///
    /// # Errors
    /// Inputs of another shape; failures of the device.
    fn forward_train(
        &self,
        input: &Tensor,
        labels: &[u32],
        rng: &mut dyn RngCore,
    ) -> Result<(Tensor, Self::Tape)>;

    /// Whether, in training mode, the output of a sample depends on the other samples of its batch,
    /// as with batch normalisation.
    fn uses_batch_statistics(&self) -> bool;
}

/// A recorded forward pass. The backward pass must come before the parameters are updated.
pub trait Backward {
    /// Returns the gradients of the input and of the parameters, those that `mask` asks for, given
    /// the gradient of the output.
    ///
    /// # Errors
    /// A gradient of another shape than the output; a trainable parameter without a gradient.
    fn backward(&self, grad: &Tensor, mask: GradMask) -> Result<(Option<Tensor>, Gradients)>;
}

impl TrainableNetwork for Generator {
    type Tape = Tape;

    fn forward_train(
        &self,
        latents: &Tensor,
        labels: &[u32],
        rng: &mut dyn RngCore,
    ) -> Result<(Tensor, Tape)> {
        Ok(self.forward_train(&self.input(latents, labels)?, rng)?)
    }

    fn uses_batch_statistics(&self) -> bool {
        self.network().uses_batch_statistics()
    }
}

impl Backward for Tape {
    fn backward(&self, grad: &Tensor, mask: GradMask) -> Result<(Option<Tensor>, Gradients)> {
        Ok(self.backward(grad, mask)?)
    }
}

impl TrainableNetwork for Discriminator {
    type Tape = DiscriminatorTape;

    fn forward_train(
        &self,
        images: &Tensor,
        labels: &[u32],
        rng: &mut dyn RngCore,
    ) -> Result<(Tensor, DiscriminatorTape)> {
        Ok(self.forward_train(images, labels, rng)?)
    }

    fn uses_batch_statistics(&self) -> bool {
        self.network().uses_batch_statistics()
    }
}

impl Backward for DiscriminatorTape {
    fn backward(&self, grad: &Tensor, mask: GradMask) -> Result<(Option<Tensor>, Gradients)> {
        Ok(self.backward(grad, mask)?)
    }
}

/// A network of any candle modules, trained through candle's autograd.
///
/// `forward` computes the output in training mode from inputs and class labels. `parameters` are the
/// variables that it uses: [`Parameters::init`] draws them from a seed, [`Parameters::from_varmap`]
/// takes those of a `VarMap`. Every one of them must get a gradient, save running statistics, which
/// are known by the names that candle gives them (`running_mean` and `running_var`).
pub struct Autograd<F> {
    forward: F,
    parameters: Parameters,
    uses_batch_statistics: bool,
}

impl<F> Autograd<F>
where
    F: Fn(&Tensor, &[u32]) -> candle_core::Result<Tensor> + Sync,
{
    /// Wraps a forward function and its parameters.
    pub fn new(parameters: &Parameters, forward: F) -> Self {
        let uses_batch_statistics = parameters.iter().any(|(name, _)| is_running_statistic(name));
        Self { forward, parameters: parameters.clone(), uses_batch_statistics }
    }
}

/// Whether a parameter of this name is a running statistic, which no gradient trains.
pub(crate) fn is_running_statistic(name: &str) -> bool {
    ["running_mean", "running_var"].iter().any(|end| name.ends_with(end))
}

/// A forward pass through [`Autograd`]: the two ends of a graph of candle's autograd.
pub struct AutogradTape {
    input: Var,
    output: Tensor,
    parameters: Parameters,
}

impl<F> TrainableNetwork for Autograd<F>
where
    F: Fn(&Tensor, &[u32]) -> candle_core::Result<Tensor> + Sync,
{
    type Tape = AutogradTape;

    fn forward_train(
        &self,
        input: &Tensor,
        labels: &[u32],
        _: &mut dyn RngCore,
    ) -> Result<(Tensor, AutogradTape)> {
        let input = Var::from_tensor(&input.detach())?;
        let output = (self.forward)(&input, labels)?;
        let parameters = self.parameters.clone();
        Ok((output.detach(), AutogradTape { input, output, parameters }))
    }

    fn uses_batch_statistics(&self) -> bool {
        self.uses_batch_statistics
    }
}

impl Backward for AutogradTape {
    fn backward(&self, grad: &Tensor, mask: GradMask) -> Result<(Option<Tensor>, Gradients)> {
        check_shape(|| "the gradient of an output".into(), grad.dims(), self.output.dims())?;
        let found = (&self.output * grad)?.sum_all()?.backward()?;
        let mut gradients = Gradients::new();
        let trainable = self.parameters.iter().filter(|(name, _)| !is_running_statistic(name));
        for (name, var) in trainable.filter(|_| mask.parameters) {
            let Some(gradient) = found.get(var.as_tensor()) else {
                return Err(Error::NoGradient(format!(
                    "parameter {name} {:?} got no gradient: the output must depend on it; remove \
                     it from the parameters if it is not to be trained",
                    var.dims()
                )));
            };
            gradients.insert(name.to_string(), gradient.clone());
        }
        let input = found.get(self.input.as_tensor()).filter(|_| mask.input).cloned();
        Ok((input, gradients))
    }
}
