//! A small convolutional classifier. The metrics compare its features, and its classes say what an
//! image shows.

use crate::distort;
use crate::error::{Error, Result};
use crate::features::Features;
use crate::random_network::RandomNetwork;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use gan_models::{
    Activation, FeatureShape, GradMask, Layer, Mode, Momentum, Network, Parameters, WeightInit,
    weights,
};
use gan_training::{Adam, Ema, Optimizer};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;
use std::path::Path;

/// Number of features of an image: the outputs of the penultimate layer.
pub const FEATURES: usize = 128;
/// The shape of MNIST's images.
const DIGIT: FeatureShape = FeatureShape { channels: 1, height: 28, width: 28 };
/// Strided convolutions halve the image until no side is longer than this.
const LAST_SIDE: usize = 4;
/// Number of images in a forward pass.
const CHUNK: usize = 100;

/// A classifier of images of one shape.
#[derive(Clone, Debug)]
pub struct Classifier {
    image: FeatureShape,
    trunk: Network,
    head: Network,
    classes: usize,
}

/// Returns the layers from image to features. Strided convolutions replace pooling.
fn trunk(image: FeatureShape) -> Vec<Layer> {
    let conv =
        |channels, kernel, stride| Layer::Conv { channels, kernel, stride, bias: false, groups: 1 };
    let mut products = vec![conv(32, 5, 2), conv(64, 3, 1)];
    let mut side = image.height.max(image.width).div_ceil(2);
    while side > LAST_SIDE {
        products.push(conv(128, 3, 2));
        side = side.div_ceil(2);
    }
    products.push(Layer::Dense { units: FEATURES, bias: false });
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
    fn new(
        image: FeatureShape,
        classes: usize,
        vars: VarBuilder,
    ) -> Result<Self, gan_models::Error> {
        let init = WeightInit::Glorot;
        let trunk = Network::new(image, &trunk(image), init, &vars.pp("trunk"))?;
        let head = [Layer::Dense { units: classes, bias: true }];
        let head = Network::new(FeatureShape::vector(FEATURES), &head, init, &vars.pp("head"))?;
        Ok(Self { image, trunk, head, classes })
    }

    fn fresh(image: FeatureShape, classes: usize, seed: u64) -> Result<(Self, Parameters)> {
        Ok(Parameters::init(seed, &Device::Cpu, |vars| Self::new(image, classes, vars))?)
    }

    /// Loads weights that [`TrainedClassifier::save`] wrote, of a classifier of images of this shape,
    /// (C, H, W).
    ///
    /// # Errors
    /// A shape that [`Classifier::accepts`] does not; a missing or damaged file; weights of another
    /// network.
    pub fn load(path: &Path, shape: (usize, usize, usize)) -> Result<Self> {
        let tensors = weights::load_tensors(path, &Device::Cpu)?;
        Self::from_tensors(path, tensors, accepted(shape)?)
    }

    /// Loads the built-in classifier of MNIST's digits (`mnistnet`).
    ///
    /// # Errors
    /// A failed tensor operation.
    pub fn mnist() -> Result<Self> {
        const WEIGHTS: &[u8] = include_bytes!("../assets/mnistnet/model.safetensors");
        let path = Path::new("mnistnet (built in)");
        Self::from_tensors(path, weights::tensors_from_bytes(path, WEIGHTS, &Device::Cpu)?, DIGIT)
    }

    fn from_tensors(
        path: &Path,
        tensors: HashMap<String, Tensor>,
        image: FeatureShape,
    ) -> Result<Self> {
        // The bias of the head has one value per class.
        let classes = tensors.get("head.layers.0.bias").map_or(1, Tensor::elem_count);
        let (_, expected) = Self::fresh(image, classes, 0)?;
        weights::check(path, &tensors, &expected)?;
        Ok(Self::new(image, classes, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))?)
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the shape of the images, (C, H, W).
    pub fn shape(&self) -> (usize, usize, usize) {
        (self.image.channels, self.image.height, self.image.width)
    }

    /// Returns whether there can be a classifier of images of this shape, (C, H, W): those that
    /// [`RandomNetwork::accepts`].
    pub fn accepts(shape: (usize, usize, usize)) -> bool {
        RandomNetwork::accepts(shape)
    }

    /// Computes features and classes of images.
    ///
    /// # Shapes
    /// `images`: (N, C, H, W) of the classifier's shape, any N.
    /// # Range
    /// [-1, 1].
    /// # Errors
    /// Images of another shape or type.
    pub fn predict(&self, images: &Tensor) -> Result<Predictions> {
        let mut all = Predictions::default();
        for first in (0..images.dim(0)?).step_by(CHUNK) {
            let chunk = images.narrow(0, first, CHUNK.min(images.dim(0)? - first))?;
            let features = self.trunk.forward(&chunk, Mode::Eval)?;
            let logits = self.head.forward(&features, Mode::Eval)?.flatten_from(1)?;
            all.values.extend(features.flatten_all()?.to_vec1::<f32>()?);
            for logits in logits.to_vec2::<f32>()? {
                let (class, max) = largest(&logits);
                let sum: f32 = logits.iter().map(|logit| (logit - max).exp()).sum();
                all.classes.push(class as u32);
                all.confidences.push(1.0 / sum);
            }
        }
        Ok(all)
    }
}

/// # Errors
/// [`Error::Unsupported`] for a shape that [`Classifier::accepts`] does not.
fn accepted(shape: (usize, usize, usize)) -> Result<FeatureShape> {
    if Classifier::accepts(shape) { Ok(shape.into()) } else { Err(Error::Unsupported { shape }) }
}

/// Returns index and value of the largest value, the first one if several are equal.
fn largest(values: &[f32]) -> (usize, f32) {
    let larger = |best: (usize, f32), (i, &value): (usize, &f32)| {
        if value > best.1 { (i, value) } else { best }
    };
    values.iter().enumerate().fold((0, f32::NEG_INFINITY), larger)
}

/// The outputs of a classifier for a sequence of images.
#[derive(Clone, Debug, Default)]
pub struct Predictions {
    values: Vec<f32>,
    /// The most probable class of each image.
    pub classes: Vec<u32>,
    /// The probability of that class, in (0, 1].
    pub confidences: Vec<f32>,
}

impl Predictions {
    /// Appends the predictions of more images.
    pub fn extend(&mut self, more: Self) {
        self.values.extend(more.values);
        self.classes.extend(more.classes);
        self.confidences.extend(more.confidences);
    }

    /// Returns the number of images.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Returns whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// Returns the features, [`FEATURES`] per image.
    ///
    /// # Errors
    /// NaN or infinite values.
    pub fn features(&self) -> Result<Features> {
        Features::new(self.values.clone(), FEATURES)
    }

    /// Returns the mean probability of the predicted classes, in (0, 1]; 0 without images.
    pub fn mean_confidence(&self) -> f64 {
        self.confidences.iter().map(|&c| f64::from(c)).sum::<f64>() / self.len().max(1) as f64
    }

    /// Returns the fraction of images whose predicted class is their label, in [0, 1].
    ///
    /// # Shapes
    /// `labels`: one per image.
    pub fn accuracy(&self, labels: &[u32]) -> f64 {
        let right = self.classes.iter().zip(labels).filter(|(a, b)| a == b).count();
        right as f64 / self.len().max(1) as f64
    }

    /// Returns the fraction of images predicted as each of the first `classes` classes, in [0, 1].
    pub fn class_fractions(&self, classes: usize) -> Vec<f64> {
        let of = |class| self.classes.iter().filter(|&&c| c as usize == class).count();
        (0..classes).map(|class| of(class) as f64 / self.len().max(1) as f64).collect()
    }
}

/// The largest learning rate, reached at the end of the warm-up.
const MAX_LEARNING_RATE: f64 = 2e-3;
/// Fraction of the steps in which the learning rate rises linearly from 0. It then falls to 0 along
/// a cosine.
const WARM_UP: f64 = 0.1;
/// Decay of the exponential moving average of the weights.
const EMA_DECAY: f64 = 0.998;

/// The training of a classifier.
pub struct ClassifierTraining {
    classifier: Classifier,
    parameters: Parameters,
    optimizer: Optimizer,
    ema: Ema,
    rng: ChaCha8Rng,
    step: u64,
    steps: u64,
}

/// A trained classifier that can be saved.
pub struct TrainedClassifier {
    /// The classifier.
    pub classifier: Classifier,
    parameters: Parameters,
}

impl ClassifierTraining {
    /// Creates a classifier of images of this shape, (C, H, W), and of `classes` classes, and prepares
    /// its training for `steps` steps.
    ///
    /// # Errors
    /// A shape that [`Classifier::accepts`] does not; zero classes.
    pub fn new(
        shape: (usize, usize, usize),
        classes: usize,
        steps: u64,
        seed: u64,
    ) -> Result<Self> {
        let (classifier, parameters) = Classifier::fresh(accepted(shape)?, classes, seed)?;
        Ok(Self {
            classifier,
            optimizer: Optimizer::new(Adam {
                learning_rate: 0.0,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
            }),
            ema: Ema::new(&parameters, EMA_DECAY)?,
            parameters,
            rng: ChaCha8Rng::seed_from_u64(seed),
            step: 0,
            steps,
        })
    }

    /// Returns the learning rate of the next step: linear warm-up, then a cosine.
    fn learning_rate(&self) -> f64 {
        let done = (self.step as f64 + 0.5) / self.steps.max(1) as f64;
        if done < WARM_UP {
            return MAX_LEARNING_RATE * done / WARM_UP;
        }
        let done = ((done - WARM_UP) / (1.0 - WARM_UP)).min(1.0);
        MAX_LEARNING_RATE * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
    }

    /// Runs one optimizer step on randomly distorted images and returns their mean cross-entropy.
    ///
    /// # Shapes
    /// `images`: (B, C, H, W) of the classifier's shape, B at least 2; `labels`: B.
    /// # Range
    /// `images`: [-1, 1]; `labels`: less than the number of classes.
    /// # Errors
    /// Images or labels of another shape or range.
    pub fn step(&mut self, images: &Tensor, labels: &[u32]) -> Result<f32> {
        let images = distort::distorted(images, &mut self.rng)?;
        let (features, trunk) = self.classifier.trunk.forward_train(&images, &mut self.rng)?;
        let (logits, head) = self.classifier.head.forward_train(&features, &mut self.rng)?;
        let (loss, gradient) = cross_entropy(&logits, labels)?;
        let both = GradMask { input: true, parameters: true };
        let (grad_features, mut gradients) = head.backward(&gradient, both)?;
        let Some(grad_features) = grad_features else {
            return Err(Error::Tensor(candle_core::Error::msg(
                "the head returned no gradient of its input",
            )));
        };
        let parameters = GradMask { input: false, parameters: true };
        gradients.extend(trunk.backward(&grad_features, parameters)?.1);
        self.optimizer.set_learning_rate(self.learning_rate());
        self.optimizer.update(&self.parameters, &gradients)?;
        self.step += 1;
        self.ema.update(&self.parameters, self.step)?;
        Ok(loss)
    }

    /// Returns the classifier with the moving average of its weights.
    ///
    /// # Errors
    /// A failed tensor operation.
    pub fn finish(self) -> Result<TrainedClassifier> {
        let parameters = self.ema.parameters().deep_clone()?;
        let Classifier { image, classes, .. } = self.classifier;
        let classifier = Classifier::new(image, classes, parameters.builder(&Device::Cpu))?;
        Ok(TrainedClassifier { classifier, parameters })
    }
}

impl TrainedClassifier {
    /// Saves the weights atomically.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        Ok(weights::save(path, &self.parameters)?)
    }
}

/// Returns the mean cross-entropy of logits (B, K, 1, 1) with labels, and its gradient of that shape.
fn cross_entropy(logits: &Tensor, labels: &[u32]) -> Result<(f32, Tensor)> {
    let (batch, classes, ..) = logits.dims4()?;
    if labels.len() != batch || labels.iter().any(|&label| label as usize >= classes) {
        let text = format!("{} labels below {classes} for {batch} images", labels.len());
        return Err(Error::Tensor(candle_core::Error::msg(text)));
    }
    let mut gradient = Vec::with_capacity(batch * classes);
    let mut loss = 0.0;
    for (logits, &label) in logits.flatten_from(1)?.to_vec2::<f32>()?.iter().zip(labels) {
        let max = largest(logits).1;
        let sum: f32 = logits.iter().map(|logit| (logit - max).exp()).sum();
        loss += sum.ln() + (max - logits[label as usize]);
        gradient.extend(logits.iter().enumerate().map(|(class, logit)| {
            let wanted = if class == label as usize { 1.0 } else { 0.0 };
            ((logit - max).exp() / sum - wanted) / batch as f32
        }));
    }
    Ok((loss / batch as f32, Tensor::from_vec(gradient, logits.dims(), logits.device())?))
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
        let (loss, gradient) = of(&logits)?;
        // ln(e^1 + e^-2 + e^0.5) - 0.5 = 1.004597; ln(1 + e^-1000 + e^-1) = 0.313262
        assert!((loss - (1.004_597 + 0.313_262) / 2.0).abs() < 1e-5, "{loss}");
        let gradient: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
        for i in 0..3 {
            let mut moved = logits;
            moved[i] += 1e-2;
            let above = of(&moved)?.0;
            moved[i] -= 2e-2;
            let want = (above - of(&moved)?.0) / 2e-2;
            assert!((gradient[i] - want).abs() < 1e-3, "{i}: {}, not {want}", gradient[i]);
        }
        let error = cross_entropy(&tensor(&logits, (2, 3, 1, 1)), &[3, 0]).expect_err("label 3");
        assert!(error.to_string().contains("2 labels below 3 for 2 images"), "{error}");
        Ok(())
    }

    /// Images with a bright spot at the top (label 0) or at the bottom (label 1).
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

    fn trained(seed: u64) -> Result<TrainedClassifier> {
        let mut training = ClassifierTraining::new((1, 28, 28), 2, 25, seed)?;
        let (images, labels) = spots(16);
        for _ in 0..25 {
            training.step(&images, &labels)?;
        }
        training.finish()
    }

    #[test]
    fn training_converges_and_survives_saving() -> Result<()> {
        let trained_once = trained(1)?;
        let (images, labels) = spots(60);
        let seen = trained_once.classifier.predict(&images)?;
        assert_eq!((seen.len(), seen.accuracy(&labels)), (60, 1.0));
        assert_eq!(seen.class_fractions(2), [0.5, 0.5]);
        assert!((0.5..=1.0).contains(&seen.mean_confidence()));
        assert_eq!((seen.features()?.len(), seen.features()?.dim()), (60, FEATURES));

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("weights.safetensors");
        trained_once.save(&path)?;
        let loaded = Classifier::load(&path, (1, 28, 28))?;
        assert_eq!((loaded.classes(), loaded.shape()), (2, (1, 28, 28)));
        assert_eq!(loaded.predict(&images)?.features()?.values(), seen.features()?.values());
        // The seed decides.
        assert_eq!(trained(1)?.classifier.predict(&images)?.confidences, seen.confidences);
        assert_ne!(trained(2)?.classifier.predict(&images)?.confidences, seen.confidences);

        let text = Classifier::load(&path, (1, 64, 64)).expect_err("another shape").to_string();
        assert!(text.contains("has shape") && text.contains("must have"), "{text}");
        std::fs::write(&path, b"cut short").expect("a file");
        let text = Classifier::load(&path, (1, 28, 28)).expect_err("damaged").to_string();
        assert!(text.contains("damaged or cut short"), "{text}");
        Ok(())
    }

    /// Any size, channels and number of classes; the digits' network stays what its weights are for.
    #[test]
    fn images_of_any_shape_have_a_classifier() -> Result<()> {
        for (shape, convolutions) in [((1, 28, 28), 4), ((3, 8, 16), 3), ((4, 64, 48), 5)] {
            assert!(Classifier::accepts(shape));
            let mut training = ClassifierTraining::new(shape, 3, 1, 1)?;
            let (channels, height, width) = shape;
            let images = Tensor::zeros((2, channels, height, width), DType::F32, &Device::Cpu)?;
            training.step(&images, &[0, 2])?;
            let seen = training.finish()?.classifier.predict(&images)?;
            assert_eq!((seen.len(), seen.features()?.dim()), (2, FEATURES));
            let is_conv = |layer: &&Layer| matches!(layer, Layer::Conv { .. });
            assert_eq!(trunk(shape.into()).iter().filter(is_conv).count(), convolutions);
        }
        assert_eq!(Classifier::mnist()?.shape(), (1, 28, 28));
        Ok(())
    }

    #[test]
    fn images_of_another_shape_are_an_error() -> Result<()> {
        assert!(!Classifier::accepts((5, 28, 28)) && !Classifier::accepts((1, 4, 28)));
        let error = ClassifierTraining::new((1, 4, 28), 2, 1, 1).err().expect("4 rows");
        assert!(error.to_string().contains("sides of 8 to 256 pixels"), "{error}");
        let (classifier, _) = Classifier::fresh(DIGIT, 2, 1)?;
        assert!(classifier.predict(&tensor(&[0.0; 16], (1, 1, 4, 4))).is_err());
        Ok(())
    }
}
