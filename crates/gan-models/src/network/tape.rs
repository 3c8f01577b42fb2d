//! Training passes, and the way back through them.

use super::{Network, Part, reshaped};
use crate::error::Result;
use crate::plain::PlainPass;
use crate::stage::{Backend, Pass};
use candle_core::{Tensor, Var};
use gan_kernels::{GradMask, SavedLayer};
use rand::RngCore;
use std::collections::BTreeMap;

impl Network {
    /// A training pass, and what its backward pass needs: the fast way to train, as autograd is
    /// for a network that is part of something larger.
    ///
    /// # Shapes
    /// As [`Network::forward`].
    /// # Errors
    /// An input of another shape or device.
    pub fn record(&self, input: &Tensor, rng: &mut dyn RngCore) -> Result<(Tensor, Tape)> {
        let record = match self.backend {
            Backend::Kernels => {
                let mut passes: Vec<PartPass> = Vec::with_capacity(self.parts.len());
                let features = self.enter(&input.detach())?;
                for part in &self.parts {
                    let _span = tracing::trace_span!("forward", stage = part.name()).entered();
                    let x = passes.last().map_or(&features, PartPass::output);
                    passes.push(match part {
                        Part::Stage(stage) => PartPass::Stage(stage.record(x, rng)?),
                        Part::Plain(plain) => PartPass::Plain(plain.record(x, rng)?),
                    });
                }
                Record::Kernels(passes)
            }
            Backend::Candle => {
                let input = Var::from_tensor(&input.detach())?;
                let output = self.forward(&input, Pass::Train(rng))?;
                Record::Candle { input, output }
            }
        };
        let output = match &record {
            Record::Kernels(passes) => match passes.last() {
                Some(pass) => self.leave(pass.output())?,
                None => input.clone(),
            },
            Record::Candle { output, .. } => output.detach(),
        };
        Ok((output, Tape { network: self.clone(), record }))
    }
}

/// Gradients by the names of their parameters.
pub type Gradients = BTreeMap<String, Tensor>;

/// A recorded training pass. The backward pass must come before the parameters are updated.
pub struct Tape {
    network: Network,
    record: Record,
}

enum Record {
    /// One pass for each part.
    Kernels(Vec<PartPass>),
    /// The ends of a graph of candle's autograd.
    Candle { input: Var, output: Tensor },
}

enum PartPass {
    Stage(SavedLayer),
    Plain(PlainPass),
}

impl PartPass {
    fn output(&self) -> &Tensor {
        match self {
            Self::Stage(pass) => pass.output(),
            Self::Plain(pass) => pass.output(),
        }
    }
}

impl Tape {
    /// Gradients of the input (B, C, H, W) and of the parameters, those wanted, given the
    /// gradient of the output, in its shape.
    ///
    /// # Errors
    /// A gradient of another shape.
    pub fn backward(
        &self,
        gradient: &Tensor,
        wants: GradMask,
    ) -> Result<(Option<Tensor>, Gradients)> {
        match &self.record {
            Record::Kernels(passes) => self.backward_kernels(passes, gradient, wants),
            Record::Candle { input, output } => {
                let found = (output * gradient)?.sum_all()?.backward()?;
                let mut gradients = Gradients::new();
                for part in self.network.parts.iter().filter(|_| wants.parameters) {
                    for (name, value) in part.trained() {
                        gradients.extend(found.get(value).map(|found| (name, found.clone())));
                    }
                }
                let of_input = found.get(input).filter(|_| wants.input).cloned();
                Ok((of_input, gradients))
            }
        }
    }

    fn backward_kernels(
        &self,
        passes: &[PartPass],
        gradient: &Tensor,
        wants: GradMask,
    ) -> Result<(Option<Tensor>, Gradients)> {
        let Network { input, output, backend, .. } = self.network;
        let gradient = reshaped(gradient, output.outside, output.inside)?;
        let mut gradient = backend.features(&gradient)?;
        let mut gradients = Gradients::new();
        let is_trained = |part: &Part| !part.trained().is_empty();
        let first = self.network.parts.iter().position(is_trained).unwrap_or(0);
        for (number, (part, pass)) in self.network.parts.iter().zip(passes).enumerate().rev() {
            let _span = tracing::trace_span!("backward", stage = part.name()).entered();
            let (at_input, found) = match (part, pass) {
                (Part::Stage(_), PartPass::Stage(pass)) => {
                    // Of its input where something before it is trained, or asked for.
                    let wants = GradMask { input: wants.input || number > first, ..wants };
                    let found = pass.backward(&gradient, wants)?;
                    (found.input, split(found.weight, found.scale_shift)?)
                }
                (Part::Plain(plain), PartPass::Plain(pass)) => {
                    let (at_input, found) = plain.backward(pass, &gradient)?;
                    (Some(at_input), found)
                }
                _ => unreachable!("a part records a pass of its own kind"),
            };
            for ((name, value), found) in part.trained().into_iter().zip(found) {
                if wants.parameters {
                    gradients.insert(name, found.reshape(value.dims())?);
                }
            }
            match at_input {
                Some(at_input) => gradient = at_input,
                None => return Ok((None, gradients)),
            }
        }
        if !wants.input {
            return Ok((None, gradients));
        }
        let gradient = backend.images(&gradient)?;
        Ok((Some(reshaped(&gradient, input.inside, input.outside)?), gradients))
    }
}

/// A layer's gradients in the order of [`Stage::trained`].
fn split(weight: Option<Tensor>, affine: Option<Tensor>) -> Result<Vec<Tensor>> {
    let mut all = Vec::from_iter(weight);
    match affine {
        // The gradients of (gamma, beta).
        Some(both) if both.rank() == 2 => all.extend([both.get(0)?, both.get(1)?]),
        bias => all.extend(bias),
    }
    Ok(all)
}
