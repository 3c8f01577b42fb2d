//! Tests of the built program, each in a directory of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod animation;
mod checks;
mod errors;
mod output;
mod report;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use png::{BitDepth, ColorType, Encoder};
use tempfile::TempDir;

/// A directory that the program runs in, gone when dropped.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The names in a directory, in order.
    fn names(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Writes a file, and the directories that it needs.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes an image of one or more bytes a pixel, 8 bits a sample.
    fn image(&self, name: &str, size: (u32, u32), color: ColorType, samples: &[u8]) {
        self.write(name, []);
        write_png(&self.path(name), size, color, |encoder| {
            encoder.set_depth(BitDepth::Eight);
            samples.to_vec()
        });
    }

    /// Writes grey frames of 5 by 4 pixels, each of other values, and returns these.
    fn grey_frames(&self, run: &str, steps: &[u32]) -> Vec<Vec<u8>> {
        let frame = |&step: &u32| {
            let pixels: Vec<u8> = (0..20).map(|i| (step * 7 + i * 13) as u8).collect();
            let name = format!("{run}/samples/{step:06}.png");
            self.image(&name, (5, 4), ColorType::Grayscale, &pixels);
            pixels
        };
        steps.iter().map(frame).collect()
    }

    fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(args.split_whitespace()).current_dir(self.directory.path());
        command
    }

    /// Standard output of a run that must succeed.
    fn succeed(&self, args: &str) -> String {
        let output = self.command(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(text(&output.stderr), "");
        text(&output.stdout)
    }

    /// Standard error of a run that must end with `code`.
    fn fail(&self, args: &str, code: i32) -> String {
        let output = self.command(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        text(&output.stderr)
    }
}

/// Writes a PNG whose colour is `color` and whose depth and data `fill` decides.
fn write_png(
    path: &Path,
    (width, height): (u32, u32),
    color: ColorType,
    fill: impl FnOnce(&mut Encoder<'_, File>) -> Vec<u8>,
) {
    let mut encoder = Encoder::new(File::create(path).unwrap(), width, height);
    encoder.set_color(color);
    let data = fill(&mut encoder);
    let mut writer = encoder.write_header().unwrap();
    writer.write_image_data(&data).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What an output says, for messages of assertions.
fn said(output: &Output) -> (String, String) {
    (text(&output.stdout), text(&output.stderr))
}
