//! Inversion: the latent vectors whose images are nearest to given images.

use crate::backend::Mode;
use crate::error::{Error, Result};
use crate::generator::Generator;
use candle_core::{D, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::RngCore;

/// Number of images in a forward pass.
const CHUNK: usize = 256;

/// How latent vectors are searched.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct InversionOptions {
    /// Number of random latents that are tried first.
    pub candidates: usize,
    /// Number of the best of them that are optimised, for each image.
    pub starts: usize,
    /// Number of optimisation steps.
    pub steps: usize,
    /// Learning rate of the first step; it falls to 0 along a cosine.
    pub learning_rate: f64,
}

impl Default for InversionOptions {
    fn default() -> Self {
        Self { candidates: 1000, starts: 4, steps: 200, learning_rate: 0.1 }
    }
}

/// The latents that were found for N images.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inversion {
    /// The latent vectors, (N, latent dim).
    pub latents: Tensor,
    /// Their images, (N, C, H, W) in [-1, 1].
    pub images: Tensor,
    /// The mean squared error of each image, of values in [-1, 1].
    pub errors: Vec<f32>,
    /// The least mean squared error of the random latents that were tried first.
    pub random_errors: Vec<f32>,
}

/// A latent that is optimised: the image that it is for, and its error so far.
type Start = (usize, Vec<f32>, f32);

impl Generator {
    /// Searches the latent vectors whose images have the least mean squared error from `targets`: the
    /// best of many random latents, then Adam on them through the generator.
    ///
    /// # Shapes
    /// `targets`: (N, C, H, W) of the generator's images; `labels`: N, ignored unless the generator is
    /// class-conditional.
    /// # Range
    /// The targets are in [-1, 1].
    /// # Errors
    /// Targets of another shape; no candidates or starts; a label beyond the classes.
    /// # Reference
    /// Zhu et al. 2016, "Generative visual manipulation on the natural image manifold", section 3.1.
    pub fn invert(
        &self,
        targets: &Tensor,
        labels: &[u32],
        options: InversionOptions,
        rng: &mut dyn RngCore,
    ) -> Result<Inversion> {
        self.check_targets(targets, labels)?;
        if options.candidates == 0 || options.starts == 0 {
            return Err(Error::Config(
                "an inversion needs candidates and starts, not 0".to_string(),
            ));
        }
        let generator = self.detached();
        let targets = targets.detach();
        let starts = generator.starts(&targets, labels, options, rng)?;
        let mut random_errors = vec![f32::INFINITY; labels.len()];
        for (image, _, error) in &starts {
            random_errors[*image] = random_errors[*image].min(*error);
        }
        let mut best: Vec<Option<Start>> = vec![None; labels.len()];
        for starts in starts.chunks(CHUNK) {
            for found in generator.optimize(&targets, labels, starts, options)? {
                let best = &mut best[found.0];
                if best.as_ref().is_none_or(|best| found.2 < best.2) {
                    *best = Some(found);
                }
            }
        }
        let best: Vec<Start> = best.into_iter().flatten().collect();
        let latents = self.stack(&best)?;
        let images = self.forward(&self.input(&latents, labels)?, Mode::Eval)?;
        let errors = errors(&images, &targets)?;
        Ok(Inversion { latents, images, errors, random_errors })
    }

    fn check_targets(&self, targets: &Tensor, labels: &[u32]) -> Result<()> {
        let (channels, height, width) = self.config().image.into();
        let count = labels.len();
        if count > 0 && targets.dims() == [count, channels, height, width] {
            return Ok(());
        }
        Err(Error::Shape {
            tensor: format!("the images to invert, with {count} labels,"),
            found: targets.dims().to_vec(),
            expected: format!("[N, {channels}, {height}, {width}] and N labels, N at least 1"),
        })
    }

    /// The best random latents of each target, by label, so that targets of one label share them.
    fn starts(
        &self,
        targets: &Tensor,
        labels: &[u32],
        options: InversionOptions,
        rng: &mut dyn RngCore,
    ) -> Result<Vec<Start>> {
        let latents = self.sample_latents(options.candidates, rng)?;
        let values = latents.to_vec2::<f32>()?;
        let mut found = Vec::new();
        let mut distinct = labels.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        for label in distinct {
            let of_label = labels.iter().enumerate().filter(|(_, of)| **of == label);
            let mut errors_of: Vec<(usize, Vec<f32>)> =
                of_label.map(|(i, _)| (i, Vec::with_capacity(options.candidates))).collect();
            // In chunks, so that memory holds no more images than these.
            for first in (0..options.candidates).step_by(CHUNK) {
                let chunk = latents.narrow(0, first, CHUNK.min(options.candidates - first))?;
                let input = self.input(&chunk, &vec![label; chunk.dim(0)?])?;
                let images = self.forward(&input, Mode::Eval)?;
                for (i, all) in &mut errors_of {
                    all.extend(errors(&images, &targets.narrow(0, *i, 1)?)?);
                }
            }
            for (i, errors) in errors_of {
                let mut order: Vec<usize> = (0..errors.len()).collect();
                order.sort_by(|a, b| errors[*a].total_cmp(&errors[*b]));
                let best = order.into_iter().take(options.starts);
                found.extend(best.map(|j| (i, values[j].clone(), errors[j])));
            }
        }
        Ok(found)
    }

    /// Optimises latents, all in one batch. Returns what each of them came to.
    fn optimize(
        &self,
        targets: &Tensor,
        labels: &[u32],
        starts: &[Start],
        options: InversionOptions,
    ) -> Result<Vec<Start>> {
        let wanted: Vec<u32> = starts.iter().map(|(image, ..)| *image as u32).collect();
        let wanted = targets.index_select(&Tensor::new(wanted, targets.device())?, 0)?;
        let labels: Vec<u32> = starts.iter().map(|(image, ..)| labels[*image]).collect();
        let latents = Var::from_tensor(&self.stack(starts)?)?;
        let params = ParamsAdamW { weight_decay: 0.0, ..ParamsAdamW::default() };
        let mut adam = AdamW::new(vec![latents.clone()], params)?;
        let draw = || self.forward(&self.input(&latents, &labels)?, Mode::Eval);
        for step in 0..options.steps {
            let done = step as f64 / options.steps as f64;
            let factor = 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
            adam.set_learning_rate(options.learning_rate * factor);
            // A sum over images, so that none changes the gradient of another.
            let loss = (squares(&draw()?, &wanted)?.mean(D::Minus1)?).sum_all()?;
            adam.backward_step(&loss)?;
        }
        let errors = errors(&draw()?, &wanted)?;
        let latents = latents.to_vec2::<f32>()?;
        // No step may have helped.
        let of = |((start, latent), error): ((&Start, Vec<f32>), f32)| match error < start.2 {
            true => (start.0, latent, error),
            false => start.clone(),
        };
        Ok(starts.iter().zip(latents).zip(errors).map(of).collect())
    }

    fn stack(&self, starts: &[Start]) -> Result<Tensor> {
        let values: Vec<f32> = starts.iter().flat_map(|(_, latent, _)| latent.clone()).collect();
        let shape = (starts.len(), self.config().latent_dim);
        Ok(Tensor::from_vec(values, shape, self.device())?)
    }
}

/// Squared differences of images, (N, values).
fn squares(images: &Tensor, targets: &Tensor) -> Result<Tensor> {
    Ok(images.flatten_from(1)?.broadcast_sub(&targets.flatten_from(1)?)?.sqr()?)
}

/// The mean squared error of each image.
fn errors(images: &Tensor, targets: &Tensor) -> Result<Vec<f32>> {
    Ok(squares(images, targets)?.mean(D::Minus1)?.to_vec1::<f32>()?)
}
