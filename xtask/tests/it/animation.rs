//! Animations that `gif` makes, read back with the decoders of their formats.

use std::fs::{self, File};
use std::io::BufReader;

use gif::{ColorOutput, DecodeOptions, Repeat};
use png::{BitDepth, BlendOp, ColorType, DisposeOp};

use crate::{Place, write_png};

/// A decoded animation; its pixels are RGBA.
struct Decoded {
    size: (u16, u16),
    repeat: Repeat,
    delays: Vec<u16>,
    frames: Vec<Vec<u8>>,
}

impl Decoded {
    fn read(place: &Place, name: &str) -> Self {
        let mut options = DecodeOptions::new();
        options.set_color_output(ColorOutput::RGBA);
        let file = File::open(place.path(name)).unwrap();
        let mut decoder = options.read_info(file).unwrap();
        let (mut delays, mut frames) = (Vec::new(), Vec::new());
        let size = (decoder.width(), decoder.height());
        while let Some(frame) = decoder.read_next_frame().unwrap() {
            assert_eq!((frame.width, frame.height), size);
            assert_eq!((frame.left, frame.top), (0, 0));
            delays.push(frame.delay);
            frames.push(frame.buffer.to_vec());
        }
        Self { size, repeat: decoder.repeat(), delays, frames }
    }
}

/// A decoded animated PNG: colour type, plays, delays in seconds and pixels as they are stored.
struct Animated {
    size: (u32, u32),
    color: ColorType,
    plays: u32,
    delays: Vec<(u16, u16)>,
    frames: Vec<Vec<u8>>,
}

impl Animated {
    fn read(place: &Place, name: &str) -> Self {
        let file = BufReader::new(File::open(place.path(name)).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let info = reader.info();
        let control = info.animation_control.unwrap();
        let mut animation = Self {
            size: info.size(),
            color: info.color_type,
            plays: control.num_plays,
            delays: Vec::new(),
            frames: Vec::new(),
        };
        for _ in 0..control.num_frames {
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            let frame = reader.info().frame_control.unwrap();
            assert_eq!((frame.width, frame.height), animation.size);
            assert_eq!((frame.blend_op, frame.dispose_op), (BlendOp::Source, DisposeOp::None));
            animation.delays.push((frame.delay_num, frame.delay_den));
            animation.frames.push(pixels);
        }
        reader.finish().unwrap();
        animation
    }
}

/// Grey values as opaque RGBA pixels.
fn rgba(greys: &[u8]) -> Vec<u8> {
    greys.iter().flat_map(|&g| [g, g, g, 255]).collect()
}

/// The mean and the greatest difference between samples.
fn distance(a: &[u8], b: &[u8]) -> (f64, u8) {
    assert_eq!(a.len(), b.len());
    let differences = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    let total: f64 = differences().map(f64::from).sum();
    (total / a.len() as f64, differences().max().unwrap())
}

#[test]
fn grey_frames_are_exact_and_loop() {
    let place = Place::new();
    let frames = place.grey_frames("run", &[0, 50, 100, 2000]);
    let line = place.succeed("gif --run run");

    let animation = Decoded::read(&place, "run/training.gif");
    assert_eq!(animation.size, (5, 4));
    assert_eq!(animation.repeat, Repeat::Infinite);
    assert_eq!(animation.delays, [8, 9, 8, 200]);
    let want: Vec<_> = frames.iter().map(|f| rgba(f)).collect();
    assert_eq!(animation.frames, want);

    let bytes = fs::metadata(place.path("run/training.gif")).unwrap().len();
    let want = format!("run/training.gif: 4 frames of 5x4 pixels, 2.25 s, {bytes} bytes\n");
    assert_eq!(line.replace('\\', "/"), want);
}

#[test]
fn enlarged_frames_are_exact() {
    let place = Place::new();
    let frames = place.grey_frames("run", &[0, 1]);
    place.succeed("gif --run run --scale 3");

    let animation = Decoded::read(&place, "run/training.gif");
    assert_eq!(animation.size, (15, 12));
    assert_eq!(animation.frames.len(), 2);
    for (got, frame) in animation.frames.iter().zip(&frames) {
        let greys: Vec<u8> = (0..15 * 12).map(|i| frame[i / 15 / 3 * 5 + i % 15 / 3]).collect();
        assert_eq!(*got, rgba(&greys));
    }
}

#[test]
fn every_takes_both_ends() {
    let place = Place::new();
    let frames = place.grey_frames("run", &[0, 1, 2, 3, 4, 5]);
    place.succeed("gif --run run --every 2 --fps 100 --out animation.gif");

    let animation = Decoded::read(&place, "animation.gif");
    let want: Vec<_> = [0, 2, 4, 5].iter().map(|&i| rgba(&frames[i])).collect();
    assert_eq!(animation.frames, want);
    assert_eq!(animation.delays, [2, 2, 2, 200]);
    assert!(!place.path("run/training.gif").exists());
}

#[test]
fn frames_are_in_the_order_of_their_steps() {
    let place = Place::new();
    let steps = [("9", 9), ("000010", 10), ("1000000", 100), ("999999", 90)];
    for (name, grey) in steps {
        let name = format!("run/samples/{name}.png");
        place.image(&name, (1, 1), ColorType::Grayscale, &[grey]);
    }
    place.write("run/samples/reals.png", "not a frame");
    place.write("run/samples/000005.png.part", "not a frame");
    place.succeed("gif --run run");

    let animation = Decoded::read(&place, "run/training.gif");
    let want: Vec<_> = [9, 10, 90, 100].iter().map(|&g| rgba(&[g])).collect();
    assert_eq!(animation.frames, want);
}

#[test]
fn the_newest_run_is_the_default() {
    let place = Place::new();
    place.grey_frames("runs/00009-mnist-5-default", &[0]);
    place.grey_frames("runs/100000-mnist-5-default", &[0, 1, 2]);
    place.grey_frames("runs/99999-mnist-5-default", &[0, 1]);
    place.write("runs/200000-notes", "a file, not a run");
    place.write("runs/9999999/samples/000000.png", "not named as a run");
    let line = place.succeed("gif");
    assert!(line.contains("100000-mnist-5-default"), "{line}");
    assert!(line.contains("3 frames"), "{line}");
}

#[test]
fn colour_frames_are_close_and_grey_ones_exact() {
    let place = Place::new();
    let smooth: Vec<u8> =
        (0..64 * 64u32).flat_map(|i| [(i % 64 * 4) as u8, (i / 64 * 4) as u8, 128]).collect();
    let four: Vec<u8> = (0..64 * 64u32)
        .flat_map(|i| [[255, 0, 0], [0, 200, 7], [9, 9, 9], [0, 0, 255]][i as usize % 4])
        .collect();
    let grey: Vec<u8> = (0..64 * 64u32).map(|i| (i / 16) as u8).collect();
    place.image("run/samples/0.png", (64, 64), ColorType::Grayscale, &grey);
    place.image("run/samples/1.png", (64, 64), ColorType::Rgb, &smooth);
    place.image("run/samples/2.png", (64, 64), ColorType::Rgb, &four);
    place.succeed("gif --run run");

    let animation = Decoded::read(&place, "run/training.gif");
    let opaque = |rgb: &[u8]| -> Vec<u8> {
        let pixels = rgb.chunks_exact(3);
        pixels.flat_map(|p| [p[0], p[1], p[2], 255]).collect()
    };
    assert_eq!(animation.frames[0], rgba(&grey));
    let (mean, worst) = distance(&animation.frames[1], &opaque(&smooth));
    assert!(mean > 0.0, "4096 colours in 256");
    assert!(mean < 8.0 && worst < 64, "off by {mean}, at worst {worst}");
    assert_eq!(animation.frames[2], opaque(&four), "few colours need no rounding");
}

#[test]
fn other_kinds_of_png_are_read() {
    let place = Place::new();
    place.image("run/samples/0.png", (2, 1), ColorType::Grayscale, &[3, 250]);
    let alpha = [10, 255, 10, 0];
    place.image("run/samples/1.png", (2, 1), ColorType::GrayscaleAlpha, &alpha);
    let alpha = [1, 2, 3, 255, 0, 100, 200, 51];
    place.image("run/samples/2.png", (2, 1), ColorType::Rgba, &alpha);
    let path = |name: &str| place.path(&format!("run/samples/{name}.png"));
    write_png(&path("3"), (2, 1), ColorType::Grayscale, |encoder| {
        encoder.set_depth(BitDepth::Sixteen);
        vec![0x12, 0xff, 0xab, 0x00]
    });
    write_png(&path("4"), (2, 1), ColorType::Indexed, |encoder| {
        encoder.set_depth(BitDepth::One);
        encoder.set_palette(vec![5, 6, 7, 70, 80, 90]);
        vec![0b0100_0000]
    });
    place.succeed("gif --run run");

    let animation = Decoded::read(&place, "run/training.gif");
    let want = [
        rgba(&[3, 250]),
        rgba(&[10, 255]),
        vec![1, 2, 3, 255, 204, 224, 244, 255],
        rgba(&[0x12, 0xab]),
        vec![5, 6, 7, 255, 70, 80, 90, 255],
    ];
    assert_eq!(animation.frames, want);
}

/// The same frames, for the same time, without end: in either format.
#[test]
fn animated_pngs_are_exact_and_loop() {
    let place = Place::new();
    let frames = place.grey_frames("run", &[0, 50, 100, 2000]);
    let line = place.succeed("gif --run run --out animation.png");
    let animation = Animated::read(&place, "animation.png");
    assert_eq!(
        (animation.size, animation.color, animation.plays),
        ((5, 4), ColorType::Grayscale, 0)
    );
    assert_eq!(animation.delays, [(8, 100), (9, 100), (8, 100), (200, 100)]);
    assert_eq!(animation.frames, frames);
    let bytes = fs::metadata(place.path("animation.png")).unwrap().len();
    assert_eq!(line, format!("animation.png: 4 frames of 5x4 pixels, 2.25 s, {bytes} bytes\n"));

    place.succeed("gif --run run --out animation.apng --scale 2 --every 2 --fps 50");
    let animation = Animated::read(&place, "animation.apng");
    assert_eq!((animation.size, animation.delays.len()), ((10, 8), 3));
    assert_eq!(animation.delays, [(2, 100), (2, 100), (200, 100)]);
    for (got, index) in animation.frames.iter().zip([0, 2, 3]) {
        let want: Vec<u8> = (0..80).map(|i| frames[index][i / 10 / 2 * 5 + i % 10 / 2]).collect();
        assert_eq!(*got, want);
    }
}

#[test]
fn animated_pngs_keep_every_colour() {
    let place = Place::new();
    let smooth: Vec<u8> =
        (0..64 * 64u32).flat_map(|i| [(i % 64 * 4) as u8, (i / 64 * 4) as u8, 128]).collect();
    let grey: Vec<u8> = (0..64 * 64u32).map(|i| (i / 16) as u8).collect();
    place.image("run/samples/0.png", (64, 64), ColorType::Grayscale, &grey);
    place.image("run/samples/1.png", (64, 64), ColorType::Rgb, &smooth);
    place.succeed("gif --run run --out animation.png");

    let animation = Animated::read(&place, "animation.png");
    assert_eq!((animation.color, animation.frames.len()), (ColorType::Rgb, 2));
    assert_eq!(animation.frames[0], grey.iter().flat_map(|&g| [g; 3]).collect::<Vec<_>>());
    assert_eq!(animation.frames[1], smooth);
}

/// Grids of sixty-four by sixty-four pixels, three channels, as a run on colour images leaves.
#[test]
fn colour_grids_become_animations_of_both_formats() {
    let place = Place::new();
    let side = 658;
    for step in 0..3u32 {
        let pixels: Vec<u8> = (0..side * side)
            .flat_map(|i| [(i % side / 3) as u8, (i / side / 3) as u8, (step * 80) as u8])
            .collect();
        place.image(&format!("run/samples/{step}.png"), (side, side), ColorType::Rgb, &pixels);
    }
    place.succeed("gif --run run");
    place.succeed("gif --run run --out animation.png");
    let (gif, png) =
        (Decoded::read(&place, "run/training.gif"), Animated::read(&place, "animation.png"));
    assert_eq!((gif.frames.len(), png.frames.len()), (3, 3));
    for (gif, png) in gif.frames.iter().zip(&png.frames) {
        let gif: Vec<u8> = gif.chunks_exact(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
        let (mean, _) = distance(&gif, png);
        assert!(mean < 8.0, "off by {mean}");
    }
}
