//! `cargo xtask shard-test`: trains on a set of tar files that is larger than the memory it may take.
//!
//! The set is noise: PNG images of 256 x 256 pixels, 64 different ones over and over. It is removed after.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::check::{FailedCheck, built_trainer, run_cargo};
use crate::say::say;

/// Width and height of the images.
const SIDE: u32 = 256;
/// Number of different images.
const DIFFERENT: u64 = 64;
/// Images in a tar file.
const IMAGES: u64 = 1000;
/// The size that they are trained at, and the batch.
const TRAINED: [&str; 8] =
    ["--recipe", "mlp-small", "--size", "64", "--colour", "rgb", "--batch-size", "64"];
/// The memory that a run may take, in kB.
const LIMIT: u64 = 1_000_000;

/// Options of `shard-test`.
#[derive(Args)]
pub(crate) struct ShardTest {
    /// Size of the set in GB; as much must be free on the disk
    #[arg(long, value_name = "N", default_value_t = 2)]
    gb: u64,
}

impl ShardTest {
    /// Trains for an epoch, and says how much memory that took.
    ///
    /// # Errors
    /// [`FailedCheck`] if it took more than 1 GB or failed; files that cannot be written.
    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        run_cargo(root, &["build", "--workspace", "--bin", "candle-gan"], &[])?;
        let place = root.join("target/shard-test");
        let _ = fs::remove_dir_all(&place);
        let made = write_set(&place.join("set"), self.gb * 1_000_000_000);
        let trained = made.and_then(|count| train(root, &place, count));
        fs::remove_dir_all(&place).with_context(|| format!("removing {}", place.display()))?;
        trained
    }
}

/// Writes tar files of this many bytes in all. Returns the number of images.
fn write_set(directory: &Path, bytes: u64) -> Result<u64> {
    let context = || format!("writing {}", directory.display());
    fs::create_dir_all(directory).with_context(context)?;
    let images: Vec<Vec<u8>> = (0..DIFFERENT).map(noise).collect::<Result<_>>()?;
    let (mut written, mut count) = (0, 0);
    while written < bytes {
        let path = directory.join(format!("noise-{:05}.tar", count / IMAGES));
        let file = BufWriter::new(File::create(&path).with_context(context)?);
        let mut builder = tar::Builder::new(file);
        for number in count..count + IMAGES {
            let image = &images[(number % DIFFERENT) as usize];
            add(&mut builder, &format!("{number:08}.png"), image).with_context(context)?;
            let label = (number % 10).to_string();
            add(&mut builder, &format!("{number:08}.cls"), label.as_bytes())
                .with_context(context)?;
            written += image.len() as u64;
        }
        builder.into_inner().and_then(|mut file| file.flush()).with_context(context)?;
        count += IMAGES;
    }
    Ok(count)
}

fn add(builder: &mut tar::Builder<impl Write>, name: &str, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, bytes)
}

/// A PNG image of noise (xorshift of 64 bits), which no compression makes smaller.
fn noise(number: u64) -> Result<Vec<u8>> {
    let mut state = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let pixels: Vec<u8> = (0..3 * SIDE * SIDE).map(|_| next()).collect();
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIDE, SIDE);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::Fast);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(bytes)
}

/// Trains on the set in `place` for an epoch.
fn train(root: &Path, place: &Path, count: u64) -> Result<()> {
    let start = Instant::now();
    let mut command = Command::new(built_trainer(root, "debug"));
    command.current_dir(place).args(["--dataset", "shards:set", "--epochs", "1"]).args(TRAINED);
    let mut trainer = command.spawn().context("starting the trainer")?;
    let mut peak = 0;
    let status = loop {
        peak = peak.max(peak_memory(&trainer));
        match trainer.try_wait()? {
            Some(status) => break status,
            None => sleep(Duration::from_millis(50)),
        }
    };
    ensure!(status.success(), FailedCheck(format!("the trainer failed, {status}")));
    let seconds = start.elapsed().as_secs_f64();
    say(format_args!(
        "shard-test: an epoch of {count} images in {seconds:.0} s, {:.0} images/s, peak memory {} MB",
        count as f64 / seconds,
        peak / 1000
    ));
    ensure!(peak > 0, "the memory of a program is to be had on Linux alone");
    ensure!(peak < LIMIT, FailedCheck(format!("it took {peak} kB of memory, not below {LIMIT}")));
    Ok(())
}

/// The most memory that a program had so far, in kB; 0 if the system does not tell.
fn peak_memory(program: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
