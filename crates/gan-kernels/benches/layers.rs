//! Times every layer shape of the recipes, and those of residual blocks with and without groups: forward, input gradient and weight gradient, in
//! milliseconds (median) and useful GFLOP/s.
//!
//! usage: cargo bench -p gan-kernels -- [batch] [part of a layer's name]
#![allow(clippy::print_stdout, reason = "a program that prints a table")]

use candle_core::{Device, Result, Tensor};
use gan_kernels::{Epilogue, Geometry, GradMask, SavedLayer, ScaleShift, Window};
use std::{sync::Arc, time::Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct LayerCase {
    name: &'static str,
    geometry: Geometry,
    kernel: (usize, usize),
    channels: (usize, usize),
}

fn conv(
    name: &'static str,
    size: usize,
    kernel: usize,
    stride: usize,
    channels: (usize, usize),
) -> Result<LayerCase> {
    let large = (size, size);
    let small = (size.div_ceil(stride), size.div_ceil(stride));
    let window = Window::same((kernel, kernel), stride, large);
    let geometry = Geometry::conv(window, large, small)?;
    Ok(LayerCase { name, geometry, kernel: (kernel, kernel), channels })
}

fn transposed(
    name: &'static str,
    size: usize,
    kernel: usize,
    stride: usize,
    channels: (usize, usize),
) -> Result<LayerCase> {
    let large = (size * stride, size * stride);
    let window = Window::same((kernel, kernel), stride, large);
    let geometry = Geometry::transposed(window, (size, size), large)?;
    Ok(LayerCase { name, geometry, kernel: (kernel, kernel), channels })
}

/// A 3x3 convolution at 16x16 pixels, as in the blocks of R3GAN.
fn grouped(name: &'static str, channels: usize, groups: usize) -> Result<LayerCase> {
    let case = conv(name, 16, 3, 1, (channels, channels))?;
    Ok(LayerCase { geometry: case.geometry.with_groups(groups)?, ..case })
}

const WHOLE: Window = Window { kernel: (7, 7), stride: 1, padding: (0, 0) };

fn project(name: &'static str, channels: (usize, usize)) -> Result<LayerCase> {
    let geometry = Geometry::transposed(WHOLE, (1, 1), (7, 7))?;
    Ok(LayerCase { name, geometry, kernel: (7, 7), channels })
}

fn score(name: &'static str, channels: (usize, usize)) -> Result<LayerCase> {
    let geometry = Geometry::conv(WHOLE, (7, 7), (1, 1))?;
    Ok(LayerCase { name, geometry, kernel: (7, 7), channels })
}

fn dense(name: &'static str, channels: (usize, usize)) -> LayerCase {
    LayerCase { name, geometry: Geometry::dense(), kernel: (1, 1), channels }
}

fn median(mut run: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..12 {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.drain(..2);
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn main() -> Result<()> {
    let batch = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(128);
    let cases = [
        project("dcgan G project 100 -> 7x7x256", (100, 256))?,
        transposed("dcgan G deconv 256 -> 128", 7, 5, 1, (256, 128))?,
        transposed("dcgan G deconv 128 -> 64 s2", 7, 5, 2, (128, 64))?,
        transposed("dcgan G deconv 64 -> 1 s2", 14, 5, 2, (64, 1))?,
        conv("dcgan D conv 1 -> 64 s2", 28, 5, 2, (1, 64))?,
        conv("dcgan D conv 64 -> 128 s2", 14, 5, 2, (64, 128))?,
        score("dcgan D score 7x7x128 -> 1", (128, 1))?,
        project("default G project 64 -> 7x7x64", (64, 64))?,
        transposed("default G deconv 64 -> 32 s2", 7, 4, 2, (64, 32))?,
        transposed("default G deconv 32 -> 1 s2", 14, 4, 2, (32, 1))?,
        conv("default D conv 1 -> 32 s2", 28, 4, 2, (1, 32))?,
        conv("default D conv 32 -> 64 s2", 14, 4, 2, (32, 64))?,
        score("default D score 7x7x64 -> 1", (64, 1))?,
        transposed("sprites G deconv 256 -> 128 s2", 4, 4, 2, (256, 128))?,
        transposed("sprites G deconv 128 -> 64 s2", 8, 4, 2, (128, 64))?,
        conv("sprites D conv 64 -> 128 s2", 16, 4, 2, (64, 128))?,
        conv("sprites D conv 128 -> 256 s2", 8, 4, 2, (128, 256))?,
        transposed("icons G deconv 64 -> 32 s2", 16, 4, 2, (64, 32))?,
        conv("icons D conv 32 -> 64 s2", 32, 4, 2, (32, 64))?,
        grouped("block 64 -> 64", 64, 1)?,
        grouped("block 128 -> 128", 128, 1)?,
        grouped("block 256 -> 256", 256, 1)?,
        grouped("block 256 -> 256, 16 groups", 256, 16)?,
        dense("mlp 100 -> 256", (100, 256)),
        dense("mlp 256 -> 512", (256, 512)),
        dense("mlp 512 -> 1024", (512, 1024)),
        dense("mlp 1024 -> 784", (1024, 784)),
        dense("mlp 784 -> 1024", (784, 1024)),
        dense("mlp 1024 -> 512", (1024, 512)),
        dense("mlp 512 -> 256", (512, 256)),
        dense("mlp 256 -> 1", (256, 1)),
        dense("mlp-small 64 -> 256", (64, 256)),
        dense("mlp-small 256 -> 256", (256, 256)),
        dense("mlp-small 256 -> 784", (256, 784)),
        dense("mlp-small 784 -> 256", (784, 256)),
    ];
    println!("batch {batch}, {} threads", rayon::current_num_threads());
    println!("{:32} {:>20} {:>20} {:>20}", "", "forward", "input gradient", "weight gradient");
    let wanted = std::env::args().nth(2).filter(|arg| !arg.starts_with("--")).unwrap_or_default();
    let cases = cases.into_iter().filter(|case| case.name.contains(&wanted));
    for LayerCase { name, geometry, kernel, channels } in cases {
        let geometry = Arc::new(geometry);
        let (height, width) = geometry.input();
        let x = Tensor::randn(0f32, 1.0, (height, width, batch, channels.0), &Device::Cpu)?;
        let channels = (channels.0 / geometry.groups(), channels.1);
        let weight = (kernel.0, kernel.1, channels.0, channels.1);
        let weight = Tensor::randn(0f32, 0.02, weight, &Device::Cpu)?;
        let epilogue = Epilogue::NONE;
        let run = || SavedLayer::forward(&x, &weight, ScaleShift::None, &geometry, epilogue);
        let flop = (2 * geometry.multiply_adds() * batch * channels.0 * channels.1) as f64;
        let forward = median(|| run().map(drop))?;
        let saved = run()?;
        let gradient = saved.output().ones_like()?;
        let backward = |input, parameters| {
            median(|| saved.backward(&gradient, GradMask { input, parameters }).map(drop))
        };
        let (of_x, of_weight) = (backward(true, false)?, backward(false, true)?);
        let cell = |time: f64| format!("{:8.3} ms {:7.1}", time * 1e3, flop / time * 1e-9);
        println!("{name:32} {:>20} {:>20} {:>20}", cell(forward), cell(of_x), cell(of_weight));
    }
    Ok(())
}
