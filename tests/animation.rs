//! Animations and reports of a run: the trainer, then `xtask`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Place, SMALL, finish};

/// Returns the program `xtask` beside the trainer, and builds it if it is missing.
fn xtask() -> PathBuf {
    let trainer = Path::new(env!("CARGO_BIN_EXE_candle-gan"));
    let name = format!("xtask{}", env::consts::EXE_SUFFIX);
    let xtask = trainer.with_file_name(name);
    if !xtask.exists() {
        let directory = trainer.parent().unwrap();
        let profile = match directory.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        let mut command = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args(["build", "--package", "xtask", "--profile", profile, "--target-dir"]);
        command.arg(directory.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(command.status().unwrap().success());
    }
    xtask
}

/// Returns width, height and number of frames of a GIF, read block by block.
fn frames(gif: &[u8]) -> (u16, u16, usize) {
    assert_eq!(&gif[..6], b"GIF89a");
    let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
    let mut at = 13 + table(gif[10]);
    let skip_data = |mut at: usize| {
        while gif[at] != 0 {
            at += 1 + gif[at] as usize;
        }
        at + 1
    };
    let mut count = 0;
    loop {
        match gif[at] {
            // An extension, a frame, the trailer.
            0x21 => at = skip_data(at + 2),
            0x2c => {
                count += 1;
                at = skip_data(at + 10 + table(gif[at + 9]) + 1);
            }
            0x3b => break,
            other => panic!("block {other:#04x} at byte {at}"),
        }
    }
    assert_eq!(at, gif.len() - 1, "bytes after the trailer");
    let word = |at: usize| u16::from_le_bytes([gif[at], gif[at + 1]]);
    (word(6), word(8), count)
}

#[test]
fn the_animation_of_a_run_has_a_frame_per_sample() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 10"));
    place.succeed(&format!("{SMALL} --steps 21 --seed 1"));
    let task = |args: &str| {
        let mut command = Command::new(xtask());
        command.args(args.split_whitespace()).current_dir(place.path(""));
        let said = finish(&mut command);
        assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{args}");
        said.out
    };
    // 0, 4, 8 and 10.
    let line = task("gif --run runs/00000-idx-set-tiny");
    assert!(line.contains("runs/00000-idx-set-tiny/training.gif: 4 frames of 298x298"), "{line}");
    let animation = place.read("runs/00000-idx-set-tiny/training.gif");
    assert_eq!(frames(&animation), (298, 298, 4));
    // The newest run: 0, 4, 8, 12, 16, 20 and 21.
    task("gif");
    assert_eq!(frames(&place.read("runs/00001-idx-set-tiny/training.gif")), (298, 298, 7));
    // A run directory with an animation in it can be resumed.
    place.succeed("--resume runs/00000-idx-set-tiny --steps 12");
    task("gif --run runs/00000-idx-set-tiny --out animation.gif");
    assert_eq!(frames(&place.read("animation.gif")), (298, 298, 5));
    // The report finds everything that the trainer writes.
    let line = task("report --run runs/00000-idx-set-tiny");
    assert!(line.contains("report.html: ") && !line.contains("left out"), "{line}");
    let page = place.read("runs/00000-idx-set-tiny/report.html");
    let page = String::from_utf8(page).unwrap();
    for part in [
        "losses, scores and distances by step",
        "animation of 5 grids",
        "<dt>generator loss</dt>",
        "12 steps",
    ] {
        assert!(page.contains(part), "no {part}");
    }
}
