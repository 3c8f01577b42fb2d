//! `generate`: images from a trained generator.

use candle_core::Device;
use gan_data::{ImageShape, idx};
use serde_json::json;

use crate::{Place, SMALL, assert_same, tree};

/// Trains a short run on fives, `runs/00000-mnist-5-tiny`.
fn fives() -> Place {
    let place = Place::new();
    place.succeed("--digit 5 --recipe tiny.toml --steps 6");
    place
}

/// Returns pixels, width and height of a grey PNG image.
fn pixels(png: &[u8]) -> (Vec<u8>, u32, u32) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(info.color_type, png::ColorType::Grayscale);
    (pixels, info.width, info.height)
}

#[test]
fn every_format_holds_the_same_images() {
    let place = fives();
    for format in ["idx", "png", "grid"] {
        let out = if format == "grid" { "grid.png" } else { format };
        let said = place.succeed(&format!("generate --count 5 --format {format} --out {out}"));
        let want = format!("5 images by runs/00000-mnist-5-tiny/generator in {out}\n");
        assert_eq!(said.out, want);
        assert_eq!(said.err, "");
    }
    assert_eq!(place.names("idx"), ["images-idx3-ubyte", "labels-idx1-ubyte"]);
    let bytes = place.read("idx/images-idx3-ubyte");
    assert_eq!(bytes[..16], [0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 28, 0, 0, 0, 28]);
    assert_eq!(bytes.len(), 16 + 5 * 784);
    assert_eq!(place.read("idx/labels-idx1-ubyte"), [0, 0, 8, 1, 0, 0, 0, 5, 5, 5, 5, 5, 5]);
    let written = idx::read_images(&place.path("idx/images-idx3-ubyte")).unwrap();
    assert_eq!(written.shape, ImageShape { channels: 1, height: 28, width: 28 });
    assert_eq!(idx::read_labels(&place.path("idx/labels-idx1-ubyte")).unwrap(), [5; 5]);

    let names: Vec<String> = (0..5).map(|i| format!("{i:06}.png")).collect();
    assert_eq!(place.names("png"), names);
    let images: Vec<&[u8]> = written.pixels.chunks_exact(784).collect();
    for (name, &want) in names.iter().zip(&images) {
        assert_eq!(pixels(&place.read(&format!("png/{name}"))), (want.to_vec(), 28, 28));
    }
    assert!(images.iter().skip(1).all(|&image| image != images[0]));

    // Three images per row, two pixels apart.
    let (grid, width, height) = pixels(&place.read("grid.png"));
    assert_eq!((width, height), (3 * 28 + 2 * 2, 2 * 28 + 2));
    for (i, image) in images.iter().enumerate() {
        let (top, left) = (i / 3 * 30, i % 3 * 30);
        for (y, want) in image.chunks_exact(28).enumerate() {
            let start = (top + y) * width as usize + left;
            assert_eq!(&grid[start..start + 28], want, "image {i}, row {y}");
        }
    }
}

#[test]
fn the_number_of_images_does_not_change_them() {
    let place = fives();
    let generate = |out: &str, args: &str| {
        place.succeed(&format!("generate --format idx --out {out} {args}"));
        place.read(&format!("{out}/images-idx3-ubyte")).split_off(16)
    };
    let few = generate("few", "--count 10 --seed 4");
    assert_eq!(generate("again", "--count 10 --seed 4"), few);
    assert_ne!(generate("other", "--count 10 --seed 5"), few);
    assert_eq!(generate("single", "--count 10 --seed 4 --threads 1"), few);
    // More than one chunk.
    let many = generate("many", "--count 300 --seed 4");
    assert_eq!(many.len(), 300 * 784);
    assert_eq!(&many[..few.len()], few);
    assert!(many[few.len()..].chunks_exact(784).all(|image| image != &few[..784]));
}

#[test]
fn a_run_its_weights_and_the_newest_run_generate_the_same() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --digit 1 --steps 6"));
    place.succeed(&format!("{SMALL} --digit 2 --steps 6 --seed 1"));
    let generate = |out: &str, args: &str| {
        place.succeed(&format!("generate --count 3 --format png --out {out} {args}"));
        tree(&place.path(out))
    };
    let newest = generate("newest", "");
    assert_eq!(generate("run", "--run runs/00001-idx-set-2-tiny"), newest);
    assert_eq!(generate("weights", "--weights runs/00001-idx-set-2-tiny/generator"), newest);
    assert_eq!(generate("class", "--class 2"), newest);
    assert_ne!(generate("first", "--run runs/00000-idx-set-1-tiny"), newest);
}

#[test]
fn a_generated_data_set_can_be_trained_on() {
    let place = fives();
    place.succeed("generate --count 40 --format idx --out made");
    place.succeed("--recipe tiny.toml --dataset idx:made --digit 5 --steps 3");
    let config = place.json("runs/00001-idx-made-5-tiny/config.json");
    assert_eq!(config["images"], 40);
    assert_eq!(config["classes"], json!(["5"]));
    // Without a class filter the images are the same.
    place.succeed("--recipe tiny.toml --dataset idx:made --steps 3");
    assert_eq!(place.json("runs/00002-idx-made-tiny/config.json")["images"], 40);
}

#[test]
fn images_of_several_classes_have_no_labels() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 6"));
    place.succeed("generate --count 20 --format idx --out mixed");
    assert_eq!(place.names("mixed"), ["images-idx3-ubyte"]);
    place.refuse_saying(
        "--recipe tiny.toml --dataset idx:mixed",
        &["mixed: no labels file", "labels-idx1-ubyte"],
    );
}

#[test]
fn a_class_that_the_generator_lacks_is_an_error() {
    let place = fives();
    let generate = "generate --count 2 --format grid --out out.png";
    place.refuse_saying(&format!("{generate} --class 7"), &["--class 7", "class 5 only"]);
    place.succeed(&format!("{SMALL} --steps 2"));
    place.refuse_saying(&format!("{generate} --class 1"), &["--class 1", "0, 1, 2"]);
}

#[test]
fn a_conditional_generator_generates_its_classes() {
    let place = Place::new();
    place.succeed("--digit 3,5,8 --recipe by-class.toml --steps 6");
    let run = "runs/00000-mnist-3+5+8-by-class";
    assert_eq!(place.json(&format!("{run}/generator/config.json"))["conditional"], true);
    let labels = |out: &str, args: &str| {
        place.succeed(&format!("generate --format idx --out {out} {args}"));
        idx::read_labels(&place.path(&format!("{out}/labels-idx1-ubyte"))).unwrap()
    };
    assert_eq!(labels("fives", "--count 4 --class 5"), [5; 4]);
    assert_eq!(labels("all", "--count 7"), [3, 5, 8, 3, 5, 8, 3]);
    // Another class of the same latent is another image.
    place.succeed("generate --format idx --out eights --count 4 --class 8");
    let images = |out: &str| place.read(&format!("{out}/images-idx3-ubyte"));
    assert_ne!(images("fives"), images("eights"));
    place.refuse_saying(
        "generate --count 2 --format grid --out out.png --class 7",
        &["--class 7", "class 3, 5, 8 only"],
    );
    // A grid has one row per class: the sample grid has three rows of ten images.
    let sample = place.read(&format!("{run}/samples/000006.png"));
    let size = |png: &[u8]| (png[16..20].to_vec(), png[20..24].to_vec());
    let bytes = |size: u32| size.to_be_bytes().to_vec();
    assert_eq!(size(&sample), (bytes(298), bytes(3 * 28 + 2 * 2)));
    place.succeed("generate --count 9 --format grid --out grid.png");
    assert_eq!(size(&place.read("grid.png")), (bytes(88), bytes(88)));
}

#[test]
fn impossible_requests_are_errors() {
    let place = Place::new();
    let common = "generate --format grid --out out.png";
    place.refuse_saying(&format!("{common} --count 2"), &["runs: no run directory", "--run"]);
    place.succeed(&format!("{SMALL} --steps 2"));
    place.refuse_saying(&format!("{common} --count 0"), &["--count 0", "at least 1"]);
    place.refuse_saying(&format!("{common} --count 2 --threads 0"), &["--threads 0"]);
    place
        .refuse_saying(&format!("{common} --count 2 --run gone"), &["gone: no such run directory"]);
    place.refuse_saying(&format!("{common} --count 2 --weights gone"), &["gone"]);
    place.refuse_saying(&format!("{common} --count 9999999"), &["--count 9999999", "up to"]);
    for count in [100_000_001, u64::MAX] {
        place.refuse_saying(
            &format!("generate --count {count} --format png --out new"),
            &[&format!("--count {count}"), "at most 100000000"],
        );
    }
    place.refuse_saying(
        "generate --count 99999999 --format png --out new --save-latents l.npy",
        &["--count 99999999", "--save-latents"],
    );
    place.refuse_saying(&format!("{common} --count 2 --threads 1025"), &["at most 1024"]);
    place.refuse_saying(
        "evaluate --count 18446744073709551615",
        &["--count 18446744073709551615", "at most 1000000"],
    );
    place.refuse_saying(&format!("{common} --count 2 --run set"), &["set: no generator in it"]);
    place.refuse_saying("generate --count 2 --format grid --out gone/out.png", &["gone/out.png"]);
    place.refuse_saying("generate --count 2 --format grid --out set", &["set"]);
    for format in ["png", "idx"] {
        place.refuse_saying(
            &format!("generate --count 2 --format {format} --out tiny.toml"),
            &["tiny.toml", "Not a directory"],
        );
    }
    place.refuse_saying(&format!("{common} --count 2 --device cuda"), &["--features cuda"]);
}

/// The classifier recognises the images of the generators in `assets/weights`.
#[test]
fn pretrained_generators_generate_recognisable_digits() {
    let place = Place::new();
    let weights = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/weights");
    for (directory, class) in [("fives", "5"), ("digits", "3"), ("digits", "8")] {
        let from = weights.join(directory);
        place.succeed(&format!(
            "generate --weights {} --class {class} --count 200 --format idx --out {directory}-{class}",
            from.display()
        ));
        let path = place.path(&format!("{directory}-{class}/images-idx3-ubyte"));
        let written = idx::read_images(&path).unwrap();
        let images = gan_data::range::to_tensor(&written.pixels, written.shape).unwrap();
        let seen = gan_metrics::Classifier::mnist().unwrap().predict(&images).unwrap();
        let recognised = seen.accuracy(&[class.parse().unwrap(); 200]);
        assert!(recognised >= 0.96, "{directory}, {class}: {recognised}");
    }
}

/// Returns header and values of a NumPy file of f32.
fn npy(bytes: &[u8]) -> (String, Vec<f32>) {
    assert_eq!(bytes[..8], *b"\x93NUMPY\x01\x00");
    let data = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8(bytes[10..data].to_vec()).unwrap();
    let values = bytes[data..].chunks_exact(4);
    (header, values.map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect())
}

#[test]
fn images_are_generated_again_from_their_latents() {
    let place = Place::new();
    place.succeed("--digit 5,7 --recipe by-class.toml --steps 4");
    // More than one chunk.
    let seeded = "--count 300 --seed 3 --save-latents latents.npy";
    place.succeed(&format!("generate --format idx --out seeded {seeded}"));
    let (header, latents) = npy(&place.read("latents.npy"));
    assert!(header.contains("'<f4'") && header.contains("(300, 6)"), "{header}");
    assert_eq!(latents.len(), 300 * 6);
    let mean = latents.iter().sum::<f32>() / 1800.0;
    assert!(mean.abs() < 0.1 && latents.iter().any(|value| value.abs() > 2.0), "{mean}");

    let given = "--latents latents.npy --save-latents again.npy";
    let said = place.succeed(&format!("generate --format idx --out given {given}"));
    assert!(said.out.starts_with("300 images by "), "{said:?}");
    assert_same(&tree(&place.path("seeded")), &tree(&place.path("given")));
    assert_eq!(place.read("latents.npy"), place.read("again.npy"));
    place.succeed("generate --format idx --out same --latents latents.npy --count 300");

    let format = "generate --format idx --out new";
    place.refuse_saying(
        &format!("{format} --latents latents.npy --count 2"),
        &["--count 2", "latents.npy", "300"],
    );
    let tensor = candle_core::Tensor::zeros((2, 5), candle_core::DType::F32, &Device::Cpu).unwrap();
    tensor.write_npy(place.path("narrow.npy")).unwrap();
    place.refuse_saying(
        &format!("{format} --latents narrow.npy"),
        &["--latents", "narrow.npy", "(2,5", "(N, 6)"],
    );
    place.refuse_saying(&format!("{format} --latents gone.npy"), &["gone.npy", "No such file"]);
    place.refuse_saying(&format!("{format} --latents tiny.toml"), &["tiny.toml", ".npy"]);
    let error = place.fail(&format!("{format} --count 2 --save-latents gone/a.npy"));
    assert!(error.contains("--save-latents") && error.contains("gone/a.npy"), "{error}");
}

#[test]
fn torchvision_finds_its_four_files() {
    let place = fives();
    let generate = "generate --count 5 --format idx";
    place.succeed(&format!("{generate} --out flat"));
    place.succeed(&format!("{generate} --layout torchvision --out root"));
    let raw = "root/MNIST/raw";
    let names =
        ["t10k-images", "t10k-labels", "train-images", "train-labels"].map(|name| match name {
            _ if name.ends_with("images") => format!("{name}-idx3-ubyte"),
            _ => format!("{name}-idx1-ubyte"),
        });
    assert_eq!(place.names(raw), names);
    for part in ["train", "t10k"] {
        for what in ["images-idx3-ubyte", "labels-idx1-ubyte"] {
            let laid_out = place.read(&format!("{raw}/{part}-{what}"));
            assert_eq!(laid_out, place.read(&format!("flat/{what}")), "{part}-{what}");
        }
    }
    // The trainer reads the layout of torchvision, too.
    place.succeed(&format!(
        "--recipe tiny.toml --dataset idx:{raw} --digit 5 --batch-size 5 --steps 2"
    ));
    place.refuse_saying(
        "generate --count 5 --format png --layout torchvision --out new",
        &["--layout torchvision", "--format idx"],
    );
    place.succeed(&format!("{SMALL} --steps 2"));
    place.refuse_saying(&format!("{generate} --layout torchvision --out new"), &["needs labels"]);
}
