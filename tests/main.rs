//! End-to-end tests: the built programs, each run in a temporary directory.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod animation;
mod any_images;
mod bad_input;
mod bench;
mod commands;
mod complete;
mod damage;
mod data;
mod disk;
mod evaluate;
mod folders;
mod fuzz;
mod generate;
mod invert;
mod locks;
mod lost;
mod pipes;
mod plain_output;
mod ranks;
mod reproducibility;
mod serve;
mod shards;
mod sizes;
mod special_files;
mod starting;
mod tensorboard;
mod torture;
mod training;
mod whole_directories;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gan_data::{ImageShape, idx};
use serde_json::Value;
use tempfile::TempDir;

/// The time after which a program is killed. No run of these tests takes a tenth of it.
const TIME_LIMIT: Duration = Duration::from_secs(100);

/// A recipe with convolutions, batch normalisation and simultaneous updates: a small `default`.
const TINY: &str = r#"
length = { steps = 12 }
batch_size = 8
update = "simultaneous"
real_label = 1.0
ema_decay = 0.9
sample_every = 4
checkpoint_every = 5

[generator_adam]
lr = 1e-3
beta1 = 0.5
beta2 = 0.999

[discriminator_adam]
lr = 1e-3
beta1 = 0.5
beta2 = 0.999

[network.dcgan]
latent_dim = 6
init = { normal = 0.02 }

[network.dcgan.generator]
channels = [4, 3]
strides = [2, 2]
kernel = 4
norm = { batch = { epsilon = 1e-5, momentum = 0.1 } }
activation = "relu"

[network.dcgan.discriminator]
channels = [3, 4]
strides = [2, 2]
kernel = 4
norm = "none"
activation = { leaky_relu = 0.2 }
"#;

/// A recipe with dense networks, alternating updates, dropout and no EMA: a small `mlp`.
const TINY_MLP: &str = r#"
length = { steps = 12 }
batch_size = 8
update = "alternating"
real_label = 0.9
ema_decay = 0.0
sample_every = 4
checkpoint_every = 5

[generator_adam]
lr = 2e-3
beta1 = 0.5
beta2 = 0.999

[discriminator_adam]
lr = 2e-3
beta1 = 0.5
beta2 = 0.999

[network.mlp]
latent_dim = 6
init = "glorot"

[network.mlp.generator]
units = [8, 16]
activation = { leaky_relu = 0.2 }

[network.mlp.discriminator]
units = [16, 8]
activation = { leaky_relu = 0.2 }
dropout = [0.3, 0.3]
"#;

/// A recipe with listed layers and separate updates for real and fake images: a small `ezgan`.
const TINY_LAYERS: &str = r#"
length = { steps = 12 }
batch_size = 8
real_label = 0.9
ema_decay = 0.0
sample_every = 4
stats_every = 5
checkpoint_every = 5

[update.separate]
half_batches = true
only_above = { real = 0.3, fake = 0.3, generator = 5.0 }

[generator_adam]
lr = 1e-3
beta1 = 0.5
beta2 = 0.999

[discriminator_adam]
lr = 1e-4
beta1 = 0.5
beta2 = 0.999

[network.layers]
latent_dim = 6
noise = "truncated_normal"
init = { truncated_normal = 0.02 }
generator = [
    { project = { to = [2, 9, 9], bias = false } },
    { batch_norm = { epsilon = 1e-5, momentum = { keras = 0.8 }, per_channel = true } },
    { activation = "relu" },
    { batch_norm = { epsilon = 1e-5, momentum = 0.1 } },
    { dropout = 0.1 },
    { resize = [28, 28] },
    { conv = { channels = 1, kernel = 3, stride = 1, bias = true } },
    { activation = "sigmoid" },
    { rescale = { scale = 2.0, shift = -1.0 } },
]
discriminator = [
    { rescale = { scale = 0.5, shift = 0.5 } },
    { conv = { channels = 3, kernel = 5, stride = 2, bias = true } },
    { activation = { leaky_relu = 0.2 } },
    { avg_pool = 2 },
]
"#;

/// Keys that make a recipe class-conditional and measured. They go before the others.
const CONDITIONAL: &str = "condition = \"projection\"\nmeasure_every = 4\n";

/// Keys for every kind of regularisation and for a learning rate that decays.
const REGULARISED: &str = "\
condition = \"concatenation\"
lr_decay = { from = 0.3, to = 0.1 }
[regularization]
gradient_penalty = 0.1
spectral_norm = 1.0
augmentation = { translation = 2, cutout = 6, noise = 0.1 }
";

/// Arguments that train on the small data set with the small recipe.
const SMALL: &str = "--recipe tiny.toml --dataset idx:set";

/// The directory that the programs run in. Dropping it removes the directory.
struct Place {
    directory: TempDir,
}

/// A program's exit code and its output, without colours.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    /// Creates a directory with the small recipes (`tiny.toml` and so on) and, in `set`, 24 images of
    /// 28 x 28 pixels and three classes.
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        place.write("tiny.toml", TINY);
        place.write("mlp-like.toml", TINY_MLP);
        place.write("layers.toml", TINY_LAYERS);
        place.write("by-class.toml", format!("{CONDITIONAL}{TINY}"));
        let regularised = TINY.replacen("\n[", &format!("\n{REGULARISED}\n["), 1);
        place.write("regularised.toml", regularised);
        place.idx_images("set", (28, 28), &[0, 1, 2].repeat(8));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, and creates its directory.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a directory of IDX files, one image per label, in place of what is there. The position of a blot is the class.
    fn idx_images(&self, directory: &str, (height, width): (usize, usize), labels: &[u32]) {
        let pixel = |i: usize, label: u32| {
            let (image, row, column) =
                (i / (height * width), i / width % height, i % width + 3 * label as usize);
            if (row + image % 3).abs_diff(column) < 3 { 250 - (i % 97) as u8 } else { 0 }
        };
        let pixels: Vec<u8> = (0..labels.len() * height * width)
            .map(|i| pixel(i, labels[i / (height * width)]))
            .collect();
        let shape = ImageShape { channels: 1, height, width };
        let _ = fs::remove_dir_all(self.path(directory));
        idx::write(&self.path(directory), shape, &pixels, Some(labels)).unwrap();
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_candle-gan"));
        command.args(args.split_whitespace()).current_dir(self.directory.path());
        command.env_remove("RUST_LOG").env_remove("NO_COLOR");
        command.env("CANDLE_GAN_CACHE", self.path("cache"));
        command
    }

    /// Runs the trainer until it ends.
    fn run(&self, args: &str) -> Said {
        let said = finish(&mut self.command(args));
        assert!(!said.err.contains("panicked"), "{args}: {said:?}");
        said
    }

    /// Runs the trainer, which must succeed.
    fn succeed(&self, args: &str) -> Said {
        let said = self.run(args);
        assert_eq!(said.code, Some(0), "{args}: {said:?}");
        said
    }

    /// Runs the trainer, which must fail. Returns the error: one line, with only information before it.
    fn fail(&self, args: &str) -> String {
        let said = self.run(args);
        assert_eq!(said.code, Some(2), "{args}: {said:?}");
        assert_eq!(said.out, "", "{args}");
        let mut lines: Vec<&str> = said.err.lines().map(str::trim).collect();
        let last = lines.pop().unwrap_or_default();
        assert!(lines.iter().all(|line| line.starts_with("INFO ")), "{args}: {said:?}");
        let error = last.strip_prefix("ERROR ").unwrap_or_else(|| panic!("{args}: {said:?}"));
        let causes: Vec<&str> = error.split(": ").collect();
        assert!(causes.windows(2).all(|two| two[0] != two[1]), "repeated: {error}");
        error.to_string()
    }

    /// Runs the trainer, which must fail and change no file. Returns the error.
    fn refuse(&self, args: &str) -> String {
        let before = tree(self.directory.path());
        let error = self.fail(args);
        assert_same(&before, &tree(self.directory.path()));
        error
    }

    /// Calls [`Place::refuse`] and checks that the error contains `parts`.
    fn refuse_saying(&self, args: &str, parts: &[&str]) {
        let error = self.refuse(args);
        for part in parts {
            assert!(error.contains(part), "{args}: no {part:?} in {error:?}");
        }
    }

    /// Returns the sorted names in a directory.
    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(directory)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// Returns the files that a run computed. Its reports are left out: they hold times, and an extra
    /// line where a session ended.
    fn result(&self, run: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = tree(&self.path(run));
        for report in ["stats.jsonl", "curves.svg", "curves.png"] {
            assert!(files.remove(report).is_some(), "{run}: {report}");
        }
        files.retain(|name, _| !name.starts_with("events.out.tfevents."));
        files
    }
}

/// Runs a program until it ends, or kills it after [`TIME_LIMIT`].
fn finish(command: &mut Command) -> Said {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let id = child.id();
    // Reads both pipes, so that the program never waits for a reader.
    let reader = thread::spawn(move || child.wait_with_output().unwrap());
    let started = Instant::now();
    while !reader.is_finished() {
        if started.elapsed() > TIME_LIMIT {
            let _ = Command::new("kill").args(["-KILL", &id.to_string()]).status();
            panic!("{command:?} did not end");
        }
        thread::sleep(Duration::from_millis(2));
    }
    said(&reader.join().unwrap())
}

fn said(output: &Output) -> Said {
    let text = |bytes: &[u8]| plain(str::from_utf8(bytes).unwrap());
    Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Removes the escape sequences of colours from a text.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

/// Returns every file and every empty directory under a directory, by relative path.
fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let entries =
        fs::read_dir(directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if path.is_dir() {
            let below = tree(&path);
            if below.is_empty() {
                files.insert(format!("{name}/"), Vec::new());
            }
            files.extend(below.into_iter().map(|(rest, bytes)| (format!("{name}/{rest}"), bytes)));
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
    files
}

/// Asserts that names and bytes of files are equal.
fn assert_same(left: &BTreeMap<String, Vec<u8>>, right: &BTreeMap<String, Vec<u8>>) {
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(left), names(right));
    let differing: Vec<_> = left.keys().filter(|&name| left[name] != right[name]).collect();
    assert!(differing.is_empty(), "different bytes in {differing:?}");
}

/// Copies a directory recursively.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}
