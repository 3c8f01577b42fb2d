//! `bench`: times a recipe's training step and its layers, or a trained generator.

mod inference;
mod span_times;

use crate::cli::commands::BenchArgs;
use crate::cli::train::TrainArgs;
use crate::cli::values::Operators;
use crate::config::resolve::Request;
use crate::device;
use crate::step_time::{StepTimer, median};
use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use gan_data::Split;
use gan_files::Line;
use gan_kernels::{Epilogue, Geometry, Isa, Precision};
use gan_models::{Backend, Network};
use gan_training::{Gan, SeparateUpdates, UpdateScheme};
use serde::Serialize;
use span_times::SpanTimes;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

/// The result that `--json` prints.
#[derive(Serialize)]
struct Report {
    recipe: String,
    batch: usize,
    /// Channels, height and width.
    image: [usize; 3],
    /// The device and, for the CPU, its threads and number format.
    device: String,
    threads: usize,
    /// The instruction set that the kernels use, and all that the processor has.
    isa: &'static str,
    instruction_sets: Vec<&'static str>,
    /// Largest relative difference of the device's gradients from the CPU's.
    device_difference: f32,
    /// How the program was built.
    profile: &'static str,
    operators: Operators,
    precision: &'static str,
    /// Median.
    ms_per_step: f64,
    images_per_s: f64,
    /// Multiply-adds that the step needs, two operations each; products with padding and
    /// gradients that are not used are not counted.
    gflop_per_s: f64,
    /// Rate of a large product of matrices in f32 on the device; on the CPU's vector units.
    sgemm_gflop_per_s: f64,
    /// Largest resident memory of the process, where the system tells.
    peak_rss_mib: Option<f64>,
}

/// Times training steps, or a generator, and prints the result.
///
/// # Errors
/// Bad input; whatever a training step can fail with.
pub(crate) fn bench(args: &BenchArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    ensure!(args.steps > 0, "--steps 0: at least 1 is needed");
    device::set_precision(args.precision.precision.unwrap_or_default());
    device::pool(args.threads)?.install(|| match &args.inference {
        Some(directory) => inference::inference(directory, args, print),
        None => run(args, print),
    })
}

fn run(args: &BenchArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    let mut train = TrainArgs::default();
    train.run.recipe = Some(args.recipe.clone());
    train.run.batch_size = args.batch_size;
    let request = Request::new(&train)?;
    let mut info = request.data().info(Split::Train)?;
    if let Some(shape) = args.image {
        info = info.with_shape(shape);
    }
    let config = request.resolve(&info)?;
    let device = device::device(args.device.device)?;
    let device_difference = match device {
        Device::Cpu => 0.0,
        _ => gan_models::self_test(&config.generator, Some(&config.discriminator), &device)?,
    };
    let mut gan = config.gan(&device)?;
    if args.operators == Operators::Candle {
        gan = gan.with_backend(Backend::Candle);
    }
    let mut timer = StepTimer::new(&config, &gan)?;
    if args.untimed {
        return (0..args.steps).try_for_each(|_| timer.time(&mut gan).map(drop));
    }
    timer.warm_up(&mut gan)?;
    let blocks = args.steps.div_ceil(timer.block());
    let times = (0..blocks).map(|_| timer.time(&mut gan)).collect::<Result<Vec<_>>>()?;
    // Before the large matrices of the rate's measurement.
    let peak_rss_mib = peak_rss_mib();
    let layers = if args.layers {
        let times = SpanTimes::default();
        times.record(|| (0..blocks).try_for_each(|_| timer.time(&mut gan).map(drop)))?;
        times.per_step(blocks * timer.block())
    } else {
        Vec::new()
    };
    let ms_per_step = 1e3 * median(times);
    let multiply_adds = multiply_adds(&gan) * config.training.batch_size;
    let image = config.generator.image;
    let report = Report {
        recipe: config.recipe,
        batch: config.training.batch_size,
        image: [image.channels, image.height, image.width],
        device: device::describe(&device, rayon::current_num_threads()),
        threads: rayon::current_num_threads(),
        isa: gan_kernels::isa().name(),
        instruction_sets: Isa::available().into_iter().map(Isa::name).collect(),
        device_difference,
        profile: if cfg!(debug_assertions) { "dev" } else { "release" },
        operators: args.operators,
        precision: device::describe_precision(match args.operators {
            Operators::Kernels => gan_kernels::precision(),
            Operators::Candle => Precision::Highest,
        }),
        ms_per_step,
        images_per_s: config.training.batch_size as f64 / ms_per_step * 1e3,
        gflop_per_s: 2.0 * multiply_adds as f64 / ms_per_step / 1e6,
        sgemm_gflop_per_s: sgemm_gflop_per_s(&device)?,
        peak_rss_mib,
    };
    if args.json {
        writeln!(print, "{}", serde_json::to_string(&report)?)?;
    } else {
        report.write(print)?;
    }
    for (path, ms) in layers {
        writeln!(print, "{ms:9.3} ms  {path}")?;
    }
    Ok(())
}

impl Report {
    fn write(&self, print: &mut (dyn Write + Send)) -> Result<()> {
        let peak = self.peak_rss_mib.map_or("unknown".into(), |mib| format!("{mib:.0} MiB"));
        writeln!(
            print,
            "{} batch {}, {}, {} profile\n\
             {:.2} ms/step, {:.0} images/s\n\
             {:.0} GFLOP/s, {:.0}% of sgemm's {:.0}\n\
             peak memory {peak}",
            Line(&self.recipe),
            self.batch,
            self.device,
            self.profile,
            self.ms_per_step,
            self.images_per_s,
            self.gflop_per_s,
            100.0 * self.gflop_per_s / self.sgemm_gflop_per_s,
            self.sgemm_gflop_per_s,
        )?;
        Ok(())
    }
}

/// Returns the multiply-adds of a training step per image of a batch.
fn multiply_adds(gan: &Gan) -> usize {
    // A forward pass, the input gradients of all layers and the weight gradients of all layers
    // cost the same; the input gradient of a network's first layer is seldom needed.
    let work = |network: &Network| {
        let layers = || network.layers().iter().map(|layer| layer.multiply_adds);
        (layers().sum::<usize>(), layers().find(|&count| count > 0).unwrap_or(0))
    };
    let (generator, generator_first) = work(gan.generator().network());
    let (discriminator, first) = work(gan.discriminator().network());
    let train_generator = 3 * generator - generator_first;
    match gan.hyperparameters().update {
        // Half of a batch of each, with fakes made for it.
        UpdateScheme::Separate(SeparateUpdates { half_batches: true, .. }) => {
            generator / 2 + (3 * discriminator - first) + train_generator + 2 * discriminator
        }
        // Real and fake; the gradient reaches the fake images.
        UpdateScheme::Simultaneous => train_generator + 6 * discriminator - first,
        // The discriminator on real and fake, with fakes made for it; then the generator through
        // the discriminator's input gradients.
        _ => generator + 2 * (3 * discriminator - first) + train_generator + 2 * discriminator,
    }
}

/// Measures the rate of a large f32 matrix product: the best of ten.
fn sgemm_gflop_per_s(device: &Device) -> Result<f64> {
    let size = if device.is_cpu() { 1024 } else { 8192 };
    let before = gan_kernels::precision();
    gan_kernels::set_precision(Precision::Highest);
    let matrix = Tensor::ones((1, 1, size, size), candle_core::DType::F32, device)?;
    let geometry = Arc::new(Geometry::dense());
    let plain = Epilogue::NONE;
    let mut best = f64::INFINITY;
    for _ in 0..10 {
        let start = Instant::now();
        if device.is_cpu() {
            gan_kernels::layer(&matrix, &matrix, None, &geometry, plain)?;
        } else {
            matrix.matmul(&matrix)?;
            device.synchronize()?;
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    gan_kernels::set_precision(before);
    Ok(2.0 * (size as f64).powi(3) / best / 1e9)
}

/// Returns the peak memory of the process. It is read from `/proc`, so `None` except on Linux.
fn peak_rss_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
