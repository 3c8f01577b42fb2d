//! FID and Inception score, by the network whose weights `--inception` names.

use crate::quality::count_name;
use crate::quality::recognizer::cache;
use anyhow::{Context, Result, anyhow, ensure};
use candle_core::{Device, Tensor};
use gan_data::{Dataset, FNV_BASIS, ImageSet, ImageShape, fnv, range};
use gan_files::Line;
use gan_metrics::{FeatureStats, Features, INCEPTION_FEATURES, Inception};
use gan_metrics::{frechet_distance, inception_score};
use gan_models::weights::{load_tensors, save_tensors};
use std::path::Path;
use std::time::{Duration, Instant};

/// The directory of training images' statistics in the cache. Another number begins the names of files
/// whose features are computed in another way.
const STATISTICS: &str = "inception";
const VERSION: u32 = 1;
/// No file of weights is larger, in bytes: the network has 96 MB.
const MOST_BYTES: u64 = 128 << 20;
/// Number of images that are converted to a tensor at a time.
const CHUNK: usize = 64;
/// Number of splits of the Inception score that is usual, and the images that it takes. Fewer images are
/// one split.
const SPLITS: usize = 10;
const SPLIT_FROM: usize = 10_000;
/// Time between two progress messages.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The network and a hash of the file of its weights.
pub(super) struct InceptionNetwork {
    network: Inception,
    weights: u64,
}

/// The network and the features of the training images.
pub(super) struct InceptionMetrics<'a> {
    network: &'a InceptionNetwork,
    training: FeatureStats,
}

impl InceptionNetwork {
    /// Loads the weights.
    ///
    /// # Errors
    /// A file that does not hold them, with the command that makes one.
    pub(super) fn load(path: &Path) -> Result<Self> {
        let cure = "`python3 docs/inception.py convert pt_inception-2015-12-05-6726825d.pth \
                    FILE.safetensors`, with the script of candle-gan's repository, makes a file of them";
        if let Ok(file) = std::fs::metadata(path) {
            ensure!(
                file.len() <= MOST_BYTES,
                "--inception {}: {} MiB, but the weights have less than {}; {cure}",
                Line(path.display()),
                file.len() >> 20,
                MOST_BYTES >> 20
            );
        }
        let network =
            Inception::load(path).map_err(|error| anyhow!("--inception {error}; {cure}"))?;
        let weights = fnv(FNV_BASIS, &gan_files::read(path)?);
        Ok(Self { network, weights })
    }

    /// Checks that images of this shape can be measured.
    ///
    /// # Errors
    /// Images that are neither grey nor in colour.
    pub(super) fn check(shape: ImageShape) -> Result<()> {
        ensure!(
            Inception::accepts(shape.channels),
            "--inception takes grey images or RGB, not {} channels; without it, the other metrics are \
             measured",
            shape.channels
        );
        Ok(())
    }

    /// Computes the features of the training images, or reads their statistics from the cache.
    ///
    /// # Errors
    /// Fewer than 2 images; features that are not finite.
    pub(super) fn against(&self, training: &Dataset) -> Result<InceptionMetrics<'_>> {
        let (set, weights) = (training.fingerprint(), self.weights);
        let name = format!("{VERSION}-{set:016x}-{weights:016x}.safetensors");
        let path = cache().map(|cache| cache.join(STATISTICS).join(name));
        let known = path.as_ref().ok().filter(|path| path.exists()).and_then(|path| {
            let read = read(path, training.len());
            read.map_err(|error| tracing::warn!("{error:#}; it is made again")).ok()
        });
        let training = match known {
            Some(known) => known,
            None => {
                let images = (training.shape(), training.pixels());
                let features = features(&self.network, images, "training images")?;
                let computed = FeatureStats::from_features(&features)?;
                let mean = computed.mean().to_vec();
                // As they will be read from the file.
                let stats = FeatureStats::new(computed.count(), mean, &computed.covariance())?;
                if let Err(error) = path.and_then(|path| write(&path, &stats)) {
                    tracing::warn!("{error:#}; the features of the training images are not kept");
                }
                stats
            }
        };
        Ok(InceptionMetrics { network: self, training })
    }
}

impl InceptionMetrics<'_> {
    /// Returns the names and values of FID and Inception score, of splits in an order that the seed
    /// determines.
    ///
    /// # Errors
    /// Fewer than 2 images; features that are not finite.
    pub(super) fn of(&self, images: &ImageSet, seed: u64) -> Result<Vec<(String, Option<f64>)>> {
        let network = &self.network.network;
        let features = features(network, (images.shape, &images.pixels), "images")?;
        let distance = frechet_distance(&self.training, &FeatureStats::from_features(&features)?)?;
        let splits = splits(images.len());
        let score = inception_score(&network.probabilities(&features)?, splits, seed)?;
        let count = count_name(images.len());
        // One split has no deviation.
        let std = (splits > 1).then_some(score.std);
        Ok([("fid", Some(distance)), ("is", Some(score.mean)), ("is-std", std)]
            .map(|(metric, value)| (format!("{metric}-{count}"), value))
            .into())
    }

    /// Returns the hash of the weights' file, which figures that are compared must have in common.
    pub(super) fn weights(&self) -> String {
        format!("{:016x}", self.network.weights)
    }
}

/// The number of parts of which the Inception score of this many images is the mean.
pub(super) fn splits(images: usize) -> usize {
    if images < SPLIT_FROM { 1 } else { SPLITS }
}

/// Computes features of images in bytes, and says how far it is.
fn features(
    network: &Inception,
    (shape, pixels): (ImageShape, &[u8]),
    what: &str,
) -> Result<Features> {
    let (started, mut last_line) = (Instant::now(), Instant::now());
    let count = pixels.len() / shape.len();
    let mut values = Vec::with_capacity(count * INCEPTION_FEATURES);
    for pixels in pixels.chunks(CHUNK * shape.len()) {
        values.extend(network.features(&range::to_tensor(pixels, shape)?)?.values());
        if last_line.elapsed() > LINE_EVERY {
            last_line = Instant::now();
            let done = values.len() / INCEPTION_FEATURES;
            let rate = done as f64 / started.elapsed().as_secs_f64();
            tracing::info!("Inception: {done} of {count} {what}, {rate:.1} a second");
        }
    }
    Ok(Features::new(values, INCEPTION_FEATURES)?)
}

/// Reads statistics of so many images from the cache.
///
/// # Errors
/// A damaged file; statistics of other features or of another number of images.
fn read(path: &Path, images: usize) -> Result<FeatureStats> {
    let tensors = load_tensors(path, &Device::Cpu)?;
    let values = |name| -> Result<Vec<f64>> {
        let tensor: &Tensor = tensors.get(name).with_context(|| format!("no {name}"))?;
        Ok(tensor.flatten_all()?.to_vec1()?)
    };
    let read = || -> Result<FeatureStats> {
        let count = values("count")?.first().map_or(0, |&count| count as usize);
        let stats = FeatureStats::new(count, values("mean")?, &values("covariance")?)?;
        let (count, dim) = (stats.count(), stats.dim());
        ensure!(
            (count, dim) == (images, INCEPTION_FEATURES),
            "{dim} features of {count} images, not {INCEPTION_FEATURES} of {images}"
        );
        Ok(stats)
    };
    read().with_context(|| path.display().to_string())
}

/// Writes statistics into the cache.
fn write(path: &Path, stats: &FeatureStats) -> Result<()> {
    let directory = gan_files::parent(path);
    std::fs::create_dir_all(directory)
        .with_context(|| format!("making the directory {}", directory.display()))?;
    let (dim, device) = (stats.dim(), &Device::Cpu);
    let tensors = [
        ("count", Tensor::new(&[stats.count() as f64], device)?),
        ("mean", Tensor::new(stats.mean(), device)?),
        ("covariance", Tensor::from_vec(stats.covariance(), (dim, dim), device)?),
    ];
    Ok(save_tensors(path, tensors)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::tempdir;

    fn stats(dim: usize) -> Result<FeatureStats> {
        let covariance: Vec<f64> = (0..dim * dim).map(|i| f64::from(i % (dim + 1) == 0)).collect();
        Ok(FeatureStats::new(3, vec![0.5; dim], &covariance)?)
    }

    #[test]
    fn statistics_in_the_cache_are_those_that_were_written() -> Result<()> {
        let place = tempdir()?;
        let path = place.path().join("a/b.safetensors");
        let of = stats(INCEPTION_FEATURES)?;
        write(&path, &of)?;
        assert_eq!(read(&path, 3)?, of);
        let error = |images| format!("{:#}", read(&path, images).expect_err("wrong"));
        assert!(error(4).ends_with("2048 features of 3 images, not 2048 of 4"), "{}", error(4));
        write(&path, &stats(5)?)?;
        assert!(error(3).ends_with("5 features of 3 images, not 2048 of 3"), "{}", error(3));
        std::fs::write(&path, "cut short")?;
        assert!(error(3).contains("b.safetensors"), "{}", error(3));
        Ok(())
    }
}
