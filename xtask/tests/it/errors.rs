//! Errors of `gif`, after which every file is as before.

use std::fs;

use png::ColorType;

use crate::{Place, write_png};

const REMEDY: &str = "`cargo run -p trainer -- --digit 5` makes a run with samples";

/// The error of a run in `place`, checked for its prefix and for being one line.
fn error(place: &Place, args: &str) -> String {
    let said = place.fail(args, 2).replace('\\', "/");
    let line = said.strip_prefix("error: ").and_then(|s| s.strip_suffix('\n'));
    let line = line.unwrap_or_else(|| panic!("{said:?}"));
    assert!(!line.contains('\n'), "{line:?}");
    line.to_owned()
}

#[test]
fn no_runs() {
    let place = Place::new();
    let want = format!("runs: no run directory in it; {REMEDY}, `--run` names another directory");
    assert_eq!(error(&place, "gif"), want);
    place.write("runs/notes/samples/000000.png", []);
    assert_eq!(error(&place, "gif"), want);
}

#[test]
fn a_missing_run() {
    let place = Place::new();
    let want = format!("nowhere: no such run directory; {REMEDY}");
    assert_eq!(error(&place, "gif --run nowhere"), want);
}

#[test]
fn a_run_without_samples() {
    let place = Place::new();
    place.write("run/config.json", "{}");
    let want = format!("run/samples: no such directory, so the run has nothing to show; {REMEDY}");
    assert_eq!(error(&place, "gif --run run"), want);
}

#[test]
fn a_run_without_frames() {
    let place = Place::new();
    place.write("run/samples/reals.png", []);
    place.write("run/samples/000500.jpg", []);
    let want = format!(
        "run/samples: no frame (an image named by its step, as 000500.png) among 2 files; {REMEDY}"
    );
    assert_eq!(error(&place, "gif --run run"), want);
}

#[test]
fn frames_of_different_sizes() {
    let place = Place::new();
    place.grey_frames("run", &[0, 1]);
    place.image("run/samples/2.png", (4, 5), ColorType::Grayscale, &[0; 20]);
    let want = "making run/training.gif: frames of different sizes: \
                run/samples/000000.png has 5x4 pixels, run/samples/2.png has 4x5";
    assert_eq!(error(&place, "gif --run run"), want);
}

#[test]
fn files_that_are_not_png() {
    let place = Place::new();
    place.grey_frames("run", &[1]);
    for bytes in [&b""[..], b"GIF89a, not a PNG at all, but of some length"] {
        place.write("run/samples/000002.png", bytes);
        let said = error(&place, "gif --run run");
        let want = "making run/training.gif: run/samples/000002.png: not a readable PNG: ";
        assert!(said.starts_with(want), "{said}");
    }
}

#[test]
fn a_damaged_png_wherever_it_breaks_off() {
    let place = Place::new();
    place.grey_frames("run", &[1, 2]);
    let whole = fs::read(place.path("run/samples/000002.png")).unwrap();
    for length in 0..whole.len() {
        place.write("run/samples/000002.png", &whole[..length]);
        let said = error(&place, "gif --run run");
        let want = "making run/training.gif: run/samples/000002.png: ";
        assert!(said.starts_with(want), "{length} bytes: {said}");
    }
    let mut flipped = whole.clone();
    flipped[whole.len() - 20] ^= 1;
    place.write("run/samples/000002.png", &flipped);
    let said = error(&place, "gif --run run");
    assert!(said.contains("000002.png: a damaged PNG: "), "{said}");
}

/// The decoder would panic at the one, and memory be asked for the other.
#[test]
fn a_png_that_no_decoder_can_trust() {
    let place = Place::new();
    let name = "run/samples/000002.png";
    place.grey_frames("run", &[1, 2]);
    write_png(&place.path(name), (5, 4), ColorType::Indexed, |encoder| {
        encoder.set_palette(&[7; 13][..]);
        vec![0; 20]
    });
    let said = error(&place, "gif --run run");
    assert!(
        said.ends_with(
            "000002.png: a damaged PNG: a palette of 13 bytes, not of 3 for each colour"
        ),
        "{said}"
    );
    place.image(name, (5, 4), ColorType::Grayscale, &[0; 20]);
    let mut bytes = fs::read(place.path(name)).unwrap();
    // A width and a height of 2^20, and the checksum of such a header.
    bytes[16..24].copy_from_slice(&[0, 16, 0, 0, 0, 16, 0, 0]);
    bytes[29..33].copy_from_slice(&[0x6e, 0x43, 0xff, 0x19]);
    place.write(name, bytes);
    let said = place.succeed("report --run run");
    assert!(said.contains("; run/samples/000002.png: 1048576x1048576 pixels; at most "), "{said}");
}

#[test]
fn frames_too_large() {
    let place = Place::new();
    let name = "run/samples/000000.png";
    place.image(name, (4096, 1), ColorType::Grayscale, &[0; 4096]);
    let want = "making run/training.gif: run/samples/000000.png: an animation of 65536x16 pixels \
                is too large: at most 65535 a side and 67108864 in all";
    assert_eq!(error(&place, "gif --run run --scale 16"), want);
    place.succeed("gif --run run --scale 15");
}

#[test]
fn an_animation_is_complete_or_unchanged() {
    let place = Place::new();
    place.grey_frames("run", &[0, 1]);
    place.write("run/samples/000002.png", "not a PNG");
    place.write("run/training.gif", "an older animation");
    error(&place, "gif --run run");
    assert_eq!(fs::read(place.path("run/training.gif")).unwrap(), b"an older animation");
    assert_eq!(place.names("run").len(), 2, "samples and the animation");

    fs::remove_file(place.path("run/samples/000002.png")).unwrap();
    place.succeed("gif --run run");
    let animation = fs::read(place.path("run/training.gif")).unwrap();
    assert!(animation.starts_with(b"GIF89a") && animation.ends_with(b";"));
    assert_eq!(place.names("run").len(), 2, "samples and the animation");
}

#[test]
fn an_animation_in_a_missing_directory() {
    let place = Place::new();
    place.grey_frames("run", &[0]);
    let said = error(&place, "gif --run run --out no/animation.gif");
    assert!(said.starts_with("making no/animation.gif: "), "{said}");
}

#[test]
fn an_animation_of_another_format() {
    let place = Place::new();
    place.grey_frames("run", &[0]);
    let want = "animation.mp4: an animation is a .gif file or, animated, a .png or .apng";
    assert_eq!(error(&place, "gif --run run --out animation.mp4"), want);
    assert!(!place.path("animation.mp4").exists());
}

#[test]
fn numbers_out_of_range() {
    let place = Place::new();
    place.grey_frames("run", &[0]);
    let options = ["--fps 0", "--fps 101", "--every 0", "--scale 0", "--scale 17"];
    for option in options {
        let said = place.fail(&format!("gif --run run {option}"), 2);
        let (name, _) = option.split_once(' ').unwrap();
        assert!(said.contains(name), "{option}: {said}");
        assert!(!place.path("run/training.gif").exists());
    }
}
