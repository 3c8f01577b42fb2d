//! A small convolutional classifier: its features are what metrics compare, its classes what
//! pictures are recognised as.

use crate::augment;
use crate::error::{Error, Result};
use crate::features::Features;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use gan_models::{
    Activation, Adam, Ema, GradMask, Init, Layer, Momentum, Network, Optimizer, Parameters, Pass,
    Shape, weights,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::path::Path;

/// Values that describe a picture: the outputs of the last layer but one.
pub const FEATURES: usize = 128;
/// The pictures that it takes.
const IMAGE: Shape = Shape { channels: 1, height: 28, width: 28 };
/// Pictures looked at together.
const CHUNK: usize = 500;

/// Recognises the classes of 28x28 grey pictures.
#[derive(Clone, Debug)]
pub struct Classifier {
    trunk: Network,
    head: Network,
    classes: usize,
}

/// From picture to features: strided convolutions in the place of pooling.
fn trunk() -> Vec<Layer> {
    let conv = |channels, kernel, stride| Layer::Conv { channels, kernel, stride, bias: false };
    let products = [
        conv(32, 5, 2),
        conv(64, 3, 1),
        conv(128, 3, 2),
        conv(128, 3, 2),
        Layer::Dense { units: FEATURES, bias: false },
    ];
    let after = [
        Layer::BatchNorm { epsilon: 1e-5, momentum: Momentum(0.1), per_channel: false },
        Layer::Activation(Activation::Relu),
    ];
    let mut layers: Vec<Layer> =
        products.into_iter().flat_map(|product| [vec![product], after.to_vec()].concat()).collect();
    layers.push(Layer::Dropout(0.3));
    layers
}

impl Classifier {
    fn new(classes: usize, vars: VarBuilder) -> Result<Self, gan_models::Error> {
        let init = Init::Glorot;
        let trunk = Network::new(IMAGE, &trunk(), init, &vars.pp("trunk"))?;
        let head = [Layer::Dense { units: classes, bias: true }];
        let head = Network::new(Shape::vector(FEATURES), &head, init, &vars.pp("head"))?;
        Ok(Self { trunk, head, classes })
    }

    fn fresh(classes: usize, seed: u64) -> Result<(Self, Parameters)> {
        Ok(Parameters::fresh(seed, &Device::Cpu, |vars| Self::new(classes, vars))?)
    }

    /// Reads weights that [`Trained::save`] wrote.
    ///
    /// # Errors
    /// A missing or damaged file; weights of another network.
    pub fn load(path: &Path) -> Result<Self> {
        Self::from_tensors(path, weights::load_tensors(path, &Device::Cpu)?)
    }

    /// The classifier of MNIST's digits that comes with this crate (`mnistnet`).
    ///
    /// # Errors
    /// None in a program that was built whole.
    pub fn mnist() -> Result<Self> {
        const WEIGHTS: &[u8] = include_bytes!("../../../assets/weights/mnistnet/model.safetensors");
        let path = Path::new("mnistnet (built in)");
        Self::from_tensors(path, weights::tensors_of(path, WEIGHTS, &Device::Cpu)?)
    }

    fn from_tensors(path: &Path, tensors: HashMap<String, Tensor>) -> Result<Self> {
        // The bias of the head has a value for each class.
        let classes = tensors.get("head.layers.0.bias").map_or(1, Tensor::elem_count);
        let (_, expected) = Self::fresh(classes, 0)?;
        weights::check(path, &tensors, &expected)?;
        Ok(Self::new(classes, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))?)
    }

    /// Classes that it tells apart.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Whether pictures of this shape, (C, H, W), can be looked at.
    pub fn takes(shape: (usize, usize, usize)) -> bool {
        Shape::from(shape) == IMAGE
    }

    /// Looks at pictures.
    ///
    /// # Shapes
    /// `images`: (N, 1, 28, 28), any number.
    /// # Range
    /// [-1, 1].
    /// # Errors
    /// Pictures of another shape or type; an output that is not finite.
    pub fn observe(&self, images: &Tensor) -> Result<Observations> {
        let mut all = Observations::default();
        for first in (0..images.dim(0)?).step_by(CHUNK) {
            let chunk = images.narrow(0, first, CHUNK.min(images.dim(0)? - first))?;
            let features = self.trunk.forward(&chunk, Pass::Infer)?;
            let logits = self.head.forward(&features, Pass::Infer)?.flatten_from(1)?;
            all.values.extend(features.flatten_all()?.to_vec1::<f32>()?);
            for logits in logits.to_vec2::<f32>()? {
                let (class, most) = largest(&logits);
                let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
                all.classes.push(class as u32);
                all.confidences.push(1.0 / sum);
            }
        }
        Ok(all)
    }
}

/// Index and value of the largest; the first of equals.
fn largest(values: &[f32]) -> (usize, f32) {
    let larger = |best: (usize, f32), (i, &value): (usize, &f32)| {
        if value > best.1 { (i, value) } else { best }
    };
    values.iter().enumerate().fold((0, f32::NEG_INFINITY), larger)
}

/// What a classifier saw in pictures, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Observations {
    values: Vec<f32>,
    /// The class that each was recognised as.
    pub classes: Vec<u32>,
    /// The probability given to that class, in (0, 1].
    pub confidences: Vec<f32>,
}

impl Observations {
    /// Adds those of more pictures.
    pub fn extend(&mut self, more: Self) {
        self.values.extend(more.values);
        self.classes.extend(more.classes);
        self.confidences.extend(more.confidences);
    }

    /// Pictures looked at.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Features, [`FEATURES`] for each picture.
    ///
    /// # Errors
    /// Values that are not finite.
    pub fn features(&self) -> Result<Features> {
        Features::new(self.values.clone(), FEATURES)
    }

    /// Mean probability given to the recognised class.
    pub fn mean_confidence(&self) -> f64 {
        self.confidences.iter().map(|&c| f64::from(c)).sum::<f64>() / self.len().max(1) as f64
    }

    /// Share of pictures recognised as the class wanted of them, in [0, 1].
    pub fn agreement(&self, wanted: &[u32]) -> f64 {
        let right = self.classes.iter().zip(wanted).filter(|(a, b)| a == b).count();
        right as f64 / self.len().max(1) as f64
    }

    /// Share of each of so many classes, in [0, 1].
    pub fn shares(&self, classes: usize) -> Vec<f64> {
        let of = |class| self.classes.iter().filter(|&&c| c as usize == class).count();
        (0..classes).map(|class| of(class) as f64 / self.len().max(1) as f64).collect()
    }
}

/// Largest learning rate, after the warm-up.
const RATE: f64 = 2e-3;
/// Share of the steps in which the rate rises from 0; then it falls to 0 along a cosine.
const WARM_UP: f64 = 0.1;
/// Decay of the moving average of the weights.
const DECAY: f64 = 0.998;

/// A classifier in training.
pub struct Training {
    classifier: Classifier,
    parameters: Parameters,
    optimizer: Optimizer,
    average: Ema,
    rng: ChaCha8Rng,
    step: u64,
    steps: u64,
}

/// A trained classifier with its weights.
pub struct Trained {
    /// The classifier.
    pub classifier: Classifier,
    parameters: Parameters,
}

impl Training {
    /// A fresh classifier of so many classes, to be trained for so many steps.
    ///
    /// # Errors
    /// No class.
    pub fn new(classes: usize, steps: u64, seed: u64) -> Result<Self> {
        let (classifier, parameters) = Classifier::fresh(classes, seed)?;
        Ok(Self {
            classifier,
            optimizer: Optimizer::new(Adam {
                learning_rate: 0.0,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
            }),
            average: Ema::new(&parameters, DECAY)?,
            parameters,
            rng: ChaCha8Rng::seed_from_u64(seed),
            step: 0,
            steps,
        })
    }

    /// The learning rate of the coming step.
    fn rate(&self) -> f64 {
        let done = (self.step as f64 + 0.5) / self.steps.max(1) as f64;
        if done < WARM_UP {
            return RATE * done / WARM_UP;
        }
        let done = ((done - WARM_UP) / (1.0 - WARM_UP)).min(1.0);
        RATE * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }

    /// One update on distorted pictures (B, 1, 28, 28) in [-1, 1] with B labels; returns their mean
    /// cross-entropy.
    ///
    /// # Errors
    /// Pictures of another shape, a label beyond the classes, fewer than two pictures.
    pub fn step(&mut self, images: &Tensor, labels: &[u32]) -> Result<f32> {
        let images = augment::distorted(images, &mut self.rng)?;
        let (features, trunk) = self.classifier.trunk.record(&images, &mut self.rng)?;
        let (logits, head) = self.classifier.head.record(&features, &mut self.rng)?;
        let (loss, derivative) = cross_entropy(&logits, labels)?;
        let both = GradMask { input: true, parameters: true };
        let (at_features, mut gradients) = head.backward(&derivative, both)?;
        let Some(at_features) = at_features else {
            return Err(Error::Tensor(candle_core::Error::msg("no gradient reached the features")));
        };
        let parameters = GradMask { input: false, parameters: true };
        gradients.extend(trunk.backward(&at_features, parameters)?.1);
        self.optimizer.set_learning_rate(self.rate());
        self.optimizer.update(&self.parameters, &gradients)?;
        self.step += 1;
        self.average.update(&self.parameters, self.step)?;
        Ok(loss)
    }

    /// The classifier with the average of its weights.
    ///
    /// # Errors
    /// None but of memory.
    pub fn finish(self) -> Result<Trained> {
        let parameters = self.average.parameters().duplicate()?;
        let classifier =
            Classifier::new(self.classifier.classes, parameters.builder(&Device::Cpu))?;
        Ok(Trained { classifier, parameters })
    }
}

impl Trained {
    /// Writes the weights, whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(weights::save(path, &self.parameters)?)
    }
}

/// Mean cross-entropy of logits (B, K, 1, 1) with labels, and its derivative, in that shape.
fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<(f32, Tensor)> {
    let (batch, classes, ..) = logits.dims4()?;
    if labels.len() != batch || labels.iter().any(|&label| label as usize >= classes) {
        let text = format!("{} labels below {classes} for {batch} pictures", labels.len());
        return Err(Error::Tensor(candle_core::Error::msg(text)));
    }
    let mut derivative = Vec::with_capacity(batch * classes);
    let mut loss = 0.0;
    for (logits, &label) in logits.flatten_from(1)?.to_vec2::<f32>()?.iter().zip(labels) {
        let most = largest(logits).1;
        let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
        loss += sum.ln() + (most - logits[label as usize]);
        derivative.extend(logits.iter().enumerate().map(|(class, logit)| {
            let wanted = if class == label as usize { 1.0 } else { 0.0 };
            ((logit - most).exp() / sum - wanted) / batch as f32
        }));
    }
    Ok((loss / batch as f32, Tensor::from_vec(derivative, logits.dims(), logits.device())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32], shape: (usize, usize, usize, usize)) -> Tensor {
        Tensor::from_slice(values, shape, &Device::Cpu).expect("values of this shape")
    }

    #[test]
    fn cross_entropy_and_its_derivative() -> Result<()> {
        let logits = [1.0f32, -2.0, 0.5, 1000.0, 0.0, 999.0];
        let of = |logits: &[f32]| cross_entropy(&tensor(logits, (2, 3, 1, 1)), &[2, 0]);
        let (loss, derivative) = of(&logits)?;
        // ln(e^1 + e^-2 + e^0.5) - 0.5 = 1.004597; ln(1 + e^-1000 + e^-1) = 0.313262
        assert!((loss - (1.004_597 + 0.313_262) / 2.0).abs() < 1e-5, "{loss}");
        let derivative: Vec<f32> = derivative.flatten_all()?.to_vec1()?;
        for i in 0..3 {
            let mut moved = logits;
            moved[i] += 1e-2;
            let above = of(&moved)?.0;
            moved[i] -= 2e-2;
            let want = (above - of(&moved)?.0) / 2e-2;
            assert!((derivative[i] - want).abs() < 1e-3, "{i}: {}, not {want}", derivative[i]);
        }
        let error = cross_entropy(&tensor(&logits, (2, 3, 1, 1)), &[3, 0]).expect_err("label 3");
        assert!(error.to_string().contains("2 labels below 3 for 2 pictures"), "{error}");
        Ok(())
    }

    /// Pictures with a bright spot above (label 0) or below (label 1).
    fn spots(count: usize) -> (Tensor, Vec<u32>) {
        let labels: Vec<u32> = (0..count).map(|i| (i % 2) as u32).collect();
        let mut values = vec![-1f32; count * 784];
        for (i, label) in labels.iter().enumerate() {
            let top = 5 + 13 * *label as usize;
            for pixel in 0..25 {
                values[i * 784 + (top + pixel / 5) * 28 + 8 + i % 7 + pixel % 5] = 1.0;
            }
        }
        (tensor(&values, (count, 1, 28, 28)), labels)
    }

    fn trained(seed: u64) -> Result<Trained> {
        let mut training = Training::new(2, 25, seed)?;
        let (images, labels) = spots(16);
        for _ in 0..25 {
            training.step(&images, &labels)?;
        }
        training.finish()
    }

    #[test]
    fn what_is_learned_is_recognised_saved_and_loaded() -> Result<()> {
        let trained_once = trained(1)?;
        let (images, labels) = spots(60);
        let seen = trained_once.classifier.observe(&images)?;
        assert_eq!((seen.len(), seen.agreement(&labels)), (60, 1.0));
        assert_eq!(seen.shares(2), [0.5, 0.5]);
        assert!((0.5..=1.0).contains(&seen.mean_confidence()));
        assert_eq!((seen.features()?.len(), seen.features()?.dim()), (60, FEATURES));

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weights.safetensors");
        trained_once.save(&path)?;
        let loaded = Classifier::load(&path)?;
        assert_eq!(loaded.classes(), 2);
        assert_eq!(loaded.observe(&images)?.features()?.values(), seen.features()?.values());
        // The seed decides.
        assert_eq!(trained(1)?.classifier.observe(&images)?.confidences, seen.confidences);
        assert_ne!(trained(2)?.classifier.observe(&images)?.confidences, seen.confidences);

        std::fs::write(&path, b"cut short").expect("a file");
        let text = Classifier::load(&path).expect_err("damaged").to_string();
        assert!(text.contains("damaged or cut short"), "{text}");
        Ok(())
    }

    #[test]
    fn pictures_of_another_shape_are_refused() -> Result<()> {
        assert!(Classifier::takes((1, 28, 28)) && !Classifier::takes((3, 28, 28)));
        let (classifier, _) = Classifier::fresh(2, 1)?;
        assert!(classifier.observe(&tensor(&[0.0; 16], (1, 1, 4, 4))).is_err());
        Ok(())
    }
}
