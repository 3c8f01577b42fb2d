//! Devices and threads.

use crate::cli::{DeviceName, PrecisionName};
use anyhow::{Context, Result, bail};
use candle_core::Device;
use gan_kernels::Precision;
use gan_models::{DiscriminatorConfig, GeneratorConfig};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The device of this name.
///
/// # Errors
/// A device that the build has no feature for, or the machine no hardware: which of the two.
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
            Device::new_cuda(0).context("--device cuda: the machine has no usable CUDA device")
        }
        DeviceName::Metal => {
            Device::new_metal(0).context("--device metal: the machine has no usable Metal device")
        }
        DeviceName::Auto => Ok(automatic()),
    }
}

/// The device, if it computes these networks as the CPU does; the CPU in its place where none was
/// asked for by name.
///
/// # Errors
/// What a device that was asked for computes wrongly.
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
        Ok(()) => Ok(device),
        Err(error) if name == DeviceName::Auto => {
            tracing::warn!("{error}; so the CPU");
            Ok(Device::Cpu)
        }
        Err(error) => Err(error).context("use `--device cpu`"),
    }
}

fn automatic() -> Device {
    if cfg!(feature = "cuda") {
        match Device::new_cuda(0) {
            Ok(device) => return device,
            Err(error) => tracing::warn!("no usable CUDA device, so the CPU: {error}"),
        }
    }
    if cfg!(feature = "metal") {
        match Device::new_metal(0) {
            Ok(device) => return device,
            Err(error) => tracing::warn!("no usable Metal device, so the CPU: {error}"),
        }
    }
    Device::Cpu
}

/// Sets how exactly the CPU multiplies.
pub(crate) fn set_precision(precision: PrecisionName) {
    gan_kernels::set_precision(match precision {
        PrecisionName::High => Precision::High,
        PrecisionName::Highest => Precision::Highest,
    });
}

/// What products are made of, in messages.
pub(crate) fn describe_precision(precision: Precision) -> &'static str {
    match precision {
        Precision::High => "bf16x3",
        Precision::Highest => "f32",
    }
}

/// What a device is called in messages.
pub(crate) fn describe(device: &Device, threads: usize) -> String {
    match device {
        Device::Cpu => format!(
            "CPU, {threads} thread{}, products in {}",
            if threads == 1 { "" } else { "s" },
            describe_precision(gan_kernels::precision())
        ),
        Device::Cuda(_) => "CUDA".to_string(),
        Device::Metal(_) => "Metal".to_string(),
    }
}

/// Threads for the CPU's kernels; work is run inside of it.
///
/// # Errors
/// No threads asked for, or none to be had.
pub(crate) fn pool(threads: Option<usize>) -> Result<ThreadPool> {
    if threads == Some(0) {
        bail!("--threads 0: at least 1 is needed");
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
