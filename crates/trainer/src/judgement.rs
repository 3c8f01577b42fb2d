//! What the discriminator says of a batch, and the way back from it.

use anyhow::Result;
use candle_core::Tensor;
use gan_models::{Augmented, GradMask, Gradients, Judging};

/// The parts of a judgement: real pictures, fake ones, and where the slope is penalised real ones
/// with noise.
pub(crate) const REAL: usize = 0;
pub(crate) const FAKE: usize = 1;
pub(crate) const MOVED: usize = 2;

/// What the discriminator said of pictures.
pub(crate) struct Judgement {
    /// Of each part.
    pub(crate) logits: Vec<Tensor>,
    /// The discriminator's loss, and its derivatives by the logits of each part.
    pub(crate) value: f32,
    pub(crate) derivatives: Vec<Tensor>,
    /// Of all parts as one batch, or one after the other.
    pub(crate) tapes: Vec<Judging>,
    /// How the fake pictures were changed.
    pub(crate) augmented: Augmented,
}

impl Judgement {
    /// Gradients of the fake pictures, as they were judged, and of the parameters, given those of
    /// the logits of each part.
    pub(crate) fn backward(
        &self,
        at_logits: &[Tensor],
        wants: GradMask,
    ) -> Result<(Option<Tensor>, Gradients)> {
        let _span = tracing::trace_span!("discriminator").entered();
        if let [tape] = self.tapes.as_slice() {
            let (at_pictures, gradients) = tape.backward(&Tensor::cat(at_logits, 0)?, wants)?;
            let batch = at_logits[FAKE].dim(0)?;
            let at_fake = at_pictures.map(|all| all.narrow(0, FAKE * batch, batch)).transpose()?;
            return Ok((at_fake, gradients));
        }
        let (mut at_fake, mut sum) = (None, Gradients::new());
        for (part, (tape, at_logits)) in self.tapes.iter().zip(at_logits).enumerate() {
            let wants = GradMask { input: wants.input && part == FAKE, ..wants };
            let (at_pictures, gradients) = tape.backward(at_logits, wants)?;
            at_fake = at_fake.or(at_pictures);
            for (name, gradient) in gradients {
                let gradient = match sum.remove(&name) {
                    Some(other) => (other + gradient)?,
                    None => gradient,
                };
                sum.insert(name, gradient);
            }
        }
        Ok((at_fake, sum))
    }
}
