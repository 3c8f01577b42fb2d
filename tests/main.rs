//! End-to-end tests: the built programs, run in folders of their own.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bad_input;
mod bench;
mod commands;
mod damage;
mod data;
mod disk;
mod evaluate;
mod film;
mod folders;
mod generate;
mod lost;
mod reproducibility;
mod tensorboard;
mod training;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use gan_data::{ImageShape, idx};
use serde_json::Value;
use tempfile::TempDir;

/// No run of these tests takes a tenth of it.
const TIME_LIMIT: Duration = Duration::from_secs(100);

/// Convolutions and batch normalisation, both networks updated at once: the default recipe made
/// small.
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

/// Dense networks in turn, with dropout and without an average: the recipe `mlp` made small.
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

/// Networks layer by layer, with updates of their own for real pictures and fakes: the recipe `ezgan`
/// made small.
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

/// What makes a recipe tell classes apart and measure itself: keys to stand before the others.
const CONDITIONAL: &str = "condition = \"projection\"\nmeasure_every = 4\n";

/// Everything that keeps a discriminator in bounds, and rates that fall.
const BOUNDED: &str = "\
condition = \"concatenation\"
lr_decay = { from = 0.3, to = 0.1 }
[regularization]
gradient_penalty = 0.1
spectral_norm = 1.0
augmentation = { translation = 2, cutout = 6, noise = 0.1 }
";

/// What trains on the small set with the small recipe.
const SMALL: &str = "--recipe tiny.toml --dataset idx:set";

/// A folder that the programs run in, gone when dropped.
struct Place {
    folder: TempDir,
}

/// How a program ended and what it said, without colours.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    /// A folder with the small recipes, `tiny.toml` and so on, and, in `set`, 24 pictures of 28 x 28
    /// pixels and of three classes.
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.write("tiny.toml", TINY);
        place.write("mlp-like.toml", TINY_MLP);
        place.write("layers.toml", TINY_LAYERS);
        place.write("by-class.toml", format!("{CONDITIONAL}{TINY}"));
        let bounded = TINY.replacen("\n[", &format!("\n{BOUNDED}\n["), 1);
        place.write("bounded.toml", bounded);
        place.pictures("set", (28, 28), &[0, 1, 2].repeat(8));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, and the folders that it needs.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Writes a set of IDX files: a picture for every label, a blot whose place tells its class.
    fn pictures(&self, folder: &str, (height, width): (usize, usize), labels: &[u32]) {
        let pixel = |i: usize, label: u32| {
            let (picture, row, column) =
                (i / (height * width), i / width % height, i % width + 3 * label as usize);
            if (row + picture % 3).abs_diff(column) < 3 { 250 - (i % 97) as u8 } else { 0 }
        };
        let pixels: Vec<u8> = (0..labels.len() * height * width)
            .map(|i| pixel(i, labels[i / (height * width)]))
            .collect();
        let shape = ImageShape { channels: 1, height, width };
        idx::write(&self.path(folder), shape, &pixels, Some(labels)).unwrap();
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_candle-gan"));
        command.args(args.split_whitespace()).current_dir(self.folder.path());
        command.env_remove("RUST_LOG").env_remove("NO_COLOR");
        command
    }

    /// Runs the trainer to its end.
    fn run(&self, args: &str) -> Said {
        let said = finish(&mut self.command(args));
        assert!(!said.err.contains("panicked"), "{args}: {said:?}");
        said
    }

    /// A run that must succeed.
    fn succeed(&self, args: &str) -> Said {
        let said = self.run(args);
        assert_eq!(said.code, Some(0), "{args}: {said:?}");
        said
    }

    /// The error of a run that must fail: one line, after nothing but information.
    fn fail(&self, args: &str) -> String {
        let said = self.run(args);
        assert_eq!(said.code, Some(2), "{args}: {said:?}");
        assert_eq!(said.out, "", "{args}");
        let mut lines: Vec<&str> = said.err.lines().map(str::trim).collect();
        let last = lines.pop().unwrap_or_default();
        assert!(lines.iter().all(|line| line.starts_with("INFO ")), "{args}: {said:?}");
        let error = last.strip_prefix("ERROR ").unwrap_or_else(|| panic!("{args}: {said:?}"));
        let causes: Vec<&str> = error.split(": ").collect();
        assert!(causes.windows(2).all(|two| two[0] != two[1]), "said twice: {error}");
        error.to_string()
    }

    /// The error of a run that must fail and leave every file as it was.
    fn refuse(&self, args: &str) -> String {
        let before = tree(self.folder.path());
        let error = self.fail(args);
        assert_same(&before, &tree(self.folder.path()));
        error
    }

    /// [`Place::refuse`], with what the error must say.
    fn refuse_saying(&self, args: &str, parts: &[&str]) {
        let error = self.refuse(args);
        for part in parts {
            assert!(error.contains(part), "{args}: no {part:?} in {error:?}");
        }
    }

    /// Names in a folder, sorted.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// What a run computed: its files but for its reports, which hold times and one line more
    /// where a session ended.
    fn result(&self, run: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = tree(&self.path(run));
        for report in ["stats.jsonl", "curves.svg", "curves.png"] {
            assert!(files.remove(report).is_some(), "{run}: {report}");
        }
        files.retain(|name, _| !name.starts_with("events.out.tfevents."));
        files
    }
}

/// Runs a program to its end, or ends it after [`TIME_LIMIT`].
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

/// A text without the escape sequences of colours.
fn plain(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

/// Every file under a folder by its path there, and every empty folder.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
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

/// Files of the same names and the same bytes.
fn assert_same(left: &BTreeMap<String, Vec<u8>>, right: &BTreeMap<String, Vec<u8>>) {
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(left), names(right));
    let differing: Vec<_> = left.keys().filter(|&name| left[name] != right[name]).collect();
    assert!(differing.is_empty(), "different bytes in {differing:?}");
}

/// Copies a folder with all that is in it.
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
