//! Devices and threads.

use crate::cli::options::ThreadsOption;
use crate::cli::values::{DeviceName, PrecisionName};
use anyhow::{Context, Result, bail};
use candle_core::Device;
use gan_kernels::Precision;
use gan_models::{DiscriminatorConfig, GeneratorConfig};

use rayon::{ThreadPool, ThreadPoolBuilder};
use std::ops::RangeInclusive;

/// Returns the device of this name.
///
/// # Errors
/// A device that this build has no feature for, or this machine no hardware.
pub(crate) fn device(name: DeviceName) -> Result<Device> {
    match name {
        DeviceName::Cpu => Ok(Device::Cpu),
        DeviceName::Cuda if !cfg!(feature = "cuda") => {
            bail!("--device cuda: this build has no CUDA; build with `--features cuda`")
        }
        DeviceName::Metal if !cfg!(feature = "metal") => {
            bail!("--device metal: this build has no Metal; build with `--features metal`")
        }
        DeviceName::Cuda => {
            let ordinal = cuda_ordinal()?;
            Device::new_cuda(ordinal).with_context(|| match ordinal {
                0 => "--device cuda: the machine has no usable CUDA device".to_string(),
                _ => format!(
                    "--device cuda: no usable CUDA device {ordinal}, which {LOCAL_RANK} chooses; where \
                     CUDA_VISIBLE_DEVICES shows each process a device of its own, unset {LOCAL_RANK}"
                ),
            })
        }
        DeviceName::Metal => {
            Device::new_metal(0).context("--device metal: the machine has no usable Metal device")
        }
        DeviceName::Auto => automatic(),
    }
}

/// The variable by which a launcher tells a process its number among those of the machine.
const LOCAL_RANK: &str = "LOCAL_RANK";

/// The number of the CUDA device that this process computes on.
///
/// # Errors
/// A number of the launcher that is none.
fn cuda_ordinal() -> Result<usize> {
    match std::env::var(LOCAL_RANK) {
        Ok(text) => text.parse().with_context(|| format!("{LOCAL_RANK}={text}: must be a number")),
        Err(_) => Ok(0),
    }
}

/// Returns the device if it computes these networks as the CPU does, else the CPU unless the device
/// was named.
///
/// # Errors
/// The first wrong result of a device that was named.
pub(crate) fn trusted(
    device: Device,
    name: DeviceName,
    generator: &GeneratorConfig,
    discriminator: Option<&DiscriminatorConfig>,
) -> Result<Device> {
    if device.is_cpu() {
        return Ok(device);
    }
    match gan_models::self_test(generator, discriminator, &device) {
        Ok(difference) => {
            tracing::info!("the device's gradients differ from the CPU's by {difference:.1e}");
            Ok(device)
        }
        Err(error) if name == DeviceName::Auto => {
            tracing::warn!("{error}; using the CPU");
            Ok(Device::Cpu)
        }
        Err(error) => Err(error).context("use `--device cpu`"),
    }
}

fn automatic() -> Result<Device> {
    if cfg!(feature = "cuda") {
        match Device::new_cuda(cuda_ordinal()?) {
            Ok(device) => return Ok(device),
            Err(error) => tracing::warn!("no usable CUDA device, using the CPU: {error}"),
        }
    }
    if cfg!(feature = "metal") {
        match Device::new_metal(0) {
            Ok(device) => return Ok(device),
            Err(error) => tracing::warn!("no usable Metal device, using the CPU: {error}"),
        }
    }
    Ok(Device::Cpu)
}

/// Sets the precision of matrix products on the CPU.
pub(crate) fn set_precision(precision: PrecisionName) {
    gan_kernels::set_precision(match precision {
        PrecisionName::High => Precision::High,
        PrecisionName::Highest => Precision::Highest,
    });
}

/// Returns the number format of matrix products, for messages.
pub(crate) fn describe_precision(precision: Precision) -> &'static str {
    match precision {
        Precision::High => "bf16x3",
        Precision::Highest => "f32",
    }
}

/// Returns the name of a device, for messages.
pub(crate) fn describe(device: &Device, threads: usize) -> String {
    match device {
        Device::Cpu => format!(
            "CPU, {}, {threads} thread{}, products in {}",
            gan_kernels::isa(),
            if threads == 1 { "" } else { "s" },
            describe_precision(gan_kernels::precision())
        ),
        Device::Cuda(_) => "CUDA".to_string(),
        Device::Metal(_) => "Metal".to_string(),
    }
}

/// What decides the last bits of results on a device.
pub(crate) fn describe_arithmetic(device: &Device) -> String {
    match device {
        Device::Cpu => {
            let precision = describe_precision(gan_kernels::precision());
            format!("{}, products in {precision}", gan_kernels::isa())
        }
        #[cfg(feature = "cuda")]
        Device::Cuda(cuda) => match cuda.cuda_stream().context().name() {
            Ok(name) => format!("CUDA, {name}"),
            Err(_) => "CUDA".to_string(),
        },
        other => describe(other, 1),
    }
}

/// The numbers of threads that may be asked for.
const THREADS: RangeInclusive<usize> = 1..=1024;

/// Starts the thread pool that the CPU's kernels run in.
///
/// # Errors
/// A number of threads out of range; threads that the system does not start; instructions that the
/// processor does not have, in the environment.
pub(crate) fn pool(ThreadsOption { threads }: ThreadsOption) -> Result<ThreadPool> {
    gan_kernels::requested_isa()?;
    if let Some(count) = threads.filter(|count| !THREADS.contains(count)) {
        bail!("--threads {count}: at least 1 and at most {} are needed", THREADS.end());
    }
    let count = match threads {
        Some(count) => count,
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    ThreadPoolBuilder::new()
        .num_threads(count)
        .build()
        .with_context(|| format!("starting {count} threads"))
}
