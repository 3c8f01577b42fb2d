//! Times a trained generator: one image alone, and many in one batch.

use crate::cli::commands::BenchArgs;
use crate::device;
use crate::step_time::median;
use anyhow::Result;
use candle_core::Device;
use gan_models::Generator;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// Images of the batch that is timed, unless another number is asked for.
const BATCH: usize = 256;
/// Single images that are timed for each step that is asked for.
const SINGLES: u64 = 10;

/// The result that `--json` prints.
#[derive(Serialize)]
struct Report {
    device: String,
    threads: usize,
    isa: &'static str,
    /// Of [`Generator::sample`] for one image, median.
    us_per_image: f64,
    batch: usize,
    /// In batches of that size, median.
    images_per_s: f64,
}

/// Times the generator in a directory and prints the result.
///
/// # Errors
/// A directory without a generator; failures of the device.
pub(super) fn inference(
    directory: &Path,
    args: &BenchArgs,
    print: &mut (dyn Write + Send),
) -> Result<()> {
    let generator = Generator::load(directory, &Device::Cpu)?;
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut time = |images: usize, times: u64| -> Result<f64> {
        let mut seconds = Vec::new();
        // The first makes what later ones use again.
        for _ in 0..=times {
            let start = Instant::now();
            generator.sample(images, &mut rng)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        Ok(median(seconds.split_off(1)))
    };
    let batch = args.batch_size.unwrap_or(BATCH);
    let report = Report {
        device: device::describe(&Device::Cpu, rayon::current_num_threads()),
        threads: rayon::current_num_threads(),
        isa: gan_kernels::isa().name(),
        us_per_image: 1e6 * time(1, SINGLES * args.steps)?,
        batch,
        images_per_s: batch as f64 / time(batch, args.steps)?,
    };
    if args.json {
        writeln!(print, "{}", serde_json::to_string(&report)?)?;
        return Ok(());
    }
    let Report { device, us_per_image, batch, images_per_s, .. } = report;
    writeln!(print, "{device}\n{us_per_image:.1} us for one image")?;
    writeln!(print, "{images_per_s:.0} images/s in batches of {batch}")?;
    Ok(())
}
