//! A phase of a step: what all micro-batches compute before an update.

use crate::error::Result;
use crate::gan::Gan;
use crate::losses::LogitLoss;
use crate::mean::{OrderedMean, gather};
use crate::micro_batch::{Batch, MicroBatch};
use crate::network::{TrainableNetwork, is_running_statistic};
use crate::stats::to_host;
use candle_core::{Tensor, Var};
use gan_models::Gradients;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// A loss on a phase's logits and the value at or below which its update is skipped.
pub(crate) type Threshold = (LogitLoss, f32);

impl<G: TrainableNetwork, D: TrainableNetwork> Gan<G, D> {
    /// Runs a phase. `forward` runs one micro-batch through the networks, and returns its logits and
    /// the tapes that `backward` computes its gradients from.
    ///
    /// Returns the logits of all micro-batches, each (B), and the mean of their gradients. They are
    /// the same bytes on every rank.
    pub(crate) fn phase<T, const N: usize>(
        &mut self,
        parts: &mut [MicroBatch],
        forward: impl FnMut(&mut Self, Batch, &mut ChaCha8Rng) -> Result<(Vec<Tensor>, T)>,
        backward: impl Fn(&Self, T) -> Result<[Gradients; N]>,
    ) -> Result<(Vec<Tensor>, [Gradients; N])> {
        let (logits, gradients) = self.phase_if(parts, None, forward, backward)?;
        let Some(gradients) = gradients else { unreachable!("without a threshold, all are due") };
        Ok((logits, gradients))
    }

    /// Runs a phase whose gradients are only computed where the loss on the first logits, those of
    /// all micro-batches, is above a threshold. The tapes are kept until that is known.
    pub(crate) fn phase_if<T, const N: usize>(
        &mut self,
        parts: &mut [MicroBatch],
        threshold: Option<Threshold>,
        mut forward: impl FnMut(&mut Self, Batch, &mut ChaCha8Rng) -> Result<(Vec<Tensor>, T)>,
        backward: impl Fn(&Self, T) -> Result<[Gradients; N]>,
    ) -> Result<(Vec<Tensor>, Option<[Gradients; N]>)> {
        let statistics = RunningStatistics::of(self)?;
        let mut mean =
            OrderedMean::new(self.hyperparameters.micro_batches, self.communicator.clone());
        let mut add = |gan: &Self, (statistics, tapes): (Gradients, T), is_due: bool| {
            let mut tensors = vec![statistics];
            if is_due {
                tensors.extend(backward(gan, tapes)?);
            }
            mean.add(tensors)
        };
        let (mut logits, mut undecided) = (Vec::new(), Vec::new());
        for part in parts {
            statistics.restore()?;
            let (batch, rng) = part.parts();
            let (of_part, tapes) = forward(self, batch, rng)?;
            logits.push(of_part);
            let pass = (statistics.current()?, tapes);
            match threshold {
                None => add(self, pass, true)?,
                Some(_) => undecided.push(pass),
            }
        }
        let logits = gather(&logits, &*self.communicator)?;
        let is_due = match threshold {
            Some((loss, threshold)) => loss.value(&to_host(&logits[0])?) as f32 > threshold,
            None => true,
        };
        undecided.into_iter().try_for_each(|pass| add(self, pass, is_due))?;
        let mut tensors = mean.finish()?;
        let gradients = tensors.split_off(1);
        statistics.set(&tensors[0])?;
        Ok((logits, gradients.try_into().ok()))
    }
}

/// The running statistics of both networks in a phase of several micro-batches. Each micro-batch
/// begins with those before the phase, and the mean of what they leave is set after it. An only
/// micro-batch needs none of this.
struct RunningStatistics {
    variables: BTreeMap<String, Var>,
    before: Gradients,
}

impl RunningStatistics {
    fn of<G, D>(gan: &Gan<G, D>) -> Result<Self> {
        let mut variables = BTreeMap::new();
        if gan.hyperparameters.micro_batches > 1 {
            let networks = [&gan.generator.parameters, &gan.discriminator.parameters];
            for (network, parameters) in networks.into_iter().enumerate() {
                let running = parameters.iter().filter(|(name, _)| is_running_statistic(name));
                variables
                    .extend(running.map(|(name, var)| (format!("{network}.{name}"), var.clone())));
            }
        }
        let mut statistics = Self { variables, before: Gradients::new() };
        statistics.before = statistics.current()?;
        Ok(statistics)
    }

    fn restore(&self) -> Result<()> {
        self.set(&self.before)
    }

    /// A copy of them as they are.
    fn current(&self) -> Result<Gradients> {
        let copy =
            |(name, var): (&String, &Var)| Ok((name.clone(), var.as_detached_tensor().copy()?));
        self.variables.iter().map(copy).collect()
    }

    fn set(&self, values: &Gradients) -> Result<()> {
        self.variables.iter().try_for_each(|(name, var)| Ok(var.set(&values[name])?))
    }
}
