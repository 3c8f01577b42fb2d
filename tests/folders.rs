//! Image folders, letters of EMNIST, and `export`.

use std::fs;

use gan_data::{ImageShape, Source, Split, folder, idx, png};
use serde_json::json;

use crate::{Place, SMALL, assert_same, tree};

/// Classes of images of one colour: name and RGB value.
const COLOURS: [(&str, [u8; 3]); 3] =
    [("blue", [20, 40, 220]), ("green", [30, 200, 60]), ("red", [210, 30, 30])];

/// Writes an image folder with `count` images per class, alternately JPEG and PNG.
fn colours(place: &Place, folder: &str, count: u8) {
    for (class, [r, g, b]) in COLOURS {
        for i in 0..count {
            let name = format!("{folder}/{class}/{i}");
            if i % 2 == 0 {
                let mut bytes = Vec::new();
                let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
                let pixels = [r, g, b.saturating_add(i)].repeat(256);
                encoder.encode(&pixels, 16, 16, jpeg_encoder::ColorType::Rgb).unwrap();
                place.write(&format!("{name}.jpg"), bytes);
            } else {
                let planes = [r, g, b.saturating_add(i)].map(|value| [value; 256]).concat();
                let shape = ImageShape { channels: 3, height: 16, width: 16 };
                png::write(&place.path(&format!("{name}.png")), shape, &planes).unwrap();
            }
        }
    }
}

/// Returns the rest of each line that starts with `start`.
fn lines<'a>(said: &'a str, start: &str) -> Vec<&'a str> {
    said.lines().map(str::trim).filter_map(|line| line.strip_prefix(start)).collect()
}

#[test]
fn a_folder_of_colour_images_trains_and_resumes() {
    let place = Place::new();
    colours(&place, "paints", 4);
    let train = "--dataset folder:paints --size 16 --recipe by-class.toml --steps";
    let said = place.succeed(&format!("{train} 8 --out halves"));
    assert!(said.err.contains("12 images of folder:paints read in"), "{said:?}");
    assert!(said.err.contains("3 x 16 x 16 values each"), "{said:?}");
    let run = "halves/00000-folder-paints-by-class";
    let config = place.json(&format!("{run}/config.json"));
    assert_eq!((&config["size"], &config["colour"]), (&json!(16), &json!("rgb")));
    assert_eq!(config["generator"]["image"], json!([3, 16, 16]));
    assert_eq!(config["generator"]["classes"], json!(["blue", "green", "red"]));

    // The resumed run equals an uninterrupted one, with another number of threads.
    place.succeed(&format!("--resume {run} --steps 12 --threads 1"));
    place.succeed(&format!("{train} 12 --out whole"));
    let whole = "whole/00000-folder-paints-by-class";
    assert_same(&place.result(run), &place.result(whole));
    place.succeed(&format!(
        "generate --run {run} --class red --count 3 --format png --out generated"
    ));
    let (shape, _) = png::read(&place.path("generated/000000.png")).unwrap();
    assert_eq!((shape.height, shape.width), (16, 16));

    // Of so few images, none are held out.
    assert_eq!((&config["images"], config.get("holdout")), (&json!(12), None));
    let error = place.fail(&format!("evaluate --run {run} --count 50"));
    assert!(error.contains("folder:paints: has no test images of its own"), "{error}");
    fs::remove_file(place.path("paints/red/0.jpg")).unwrap();
    let error = place.fail(&format!("--resume {run} --steps 15"));
    assert!(error.contains("11 images") && error.contains("began with 12"), "{error}");
}

/// Images that are no squares, with opacity, from the directory to every result.
#[test]
fn images_have_any_ratio_and_opacity() {
    let place = Place::new();
    let shape = ImageShape { channels: 4, height: 20, width: 36 };
    for number in 0..80usize {
        let value = |i: usize| {
            let (channel, column) = (i / 720, i % 36);
            let inside = column.abs_diff(number % 30) < 9;
            if channel == 3 { 255 * usize::from(inside) } else { (number * (7 + channel)) % 256 }
        };
        let pixels: Vec<u8> = (0..shape.len()).map(|i| value(i) as u8).collect();
        let name = format!("icons/{number:03}.png");
        place.write(&name, "");
        png::write(&place.path(&name), shape, &pixels).unwrap();
    }
    let train =
        "--dataset folder:icons --size 32x16 --colour rgba --recipe tiny.toml --batch-size 8";
    let flags = "--holdout 0.1 --set colour=true --set measure_every=2";
    let said = place.succeed(&format!("{train} --steps 4 {flags}"));
    assert!(said.err.contains("80 images of 32x16 pixels, with opacity"), "{said:?}");
    let run = "runs/00000-folder-icons-tiny";
    let config = place.json(&format!("{run}/config.json"));
    assert_eq!((&config["size"], &config["colour"]), (&json!("32x16"), &json!("rgba")));
    assert_eq!(config["generator"]["image"], json!([4, 16, 32]));
    place.succeed(&format!("--resume {run} --steps 6"));
    let (grid, _) = png::read(&place.path(&format!("{run}/samples/000006.png"))).unwrap();
    assert_eq!((grid.channels, grid.height, grid.width), (3, 10 * 18 - 2, 10 * 34 - 2));

    place.succeed("generate --count 12 --format png --out made");
    let (made, _) = png::read(&place.path("made/000000.png")).unwrap();
    assert_eq!((made.channels, made.height, made.width), (4, 16, 32));
    for args in ["--nearest near.png", "--images made --dataset folder:icons --holdout 0.1"] {
        let said = place.succeed(&format!("evaluate --json {args}"));
        assert!(said.out.contains("\"fd-r64-8\""), "{said:?}");
    }
    let said = place.succeed("score icons/000.png made");
    assert_eq!(said.out.lines().count(), 13, "{said:?}");
    place.succeed("interpolate --format animation --out film.png");
    place.succeed("export --dataset folder:icons --size 32x16 --colour rgba --out exported");
    let (exported, _) = png::read(&place.path("exported/icons/000000.png")).unwrap();
    assert_eq!((exported.channels, exported.height, exported.width), (4, 16, 32));
    let summary = place.succeed(&format!("summary {}", &train[..train.len() - 15])).out;
    assert!(summary.contains("4x16x32"), "{summary}");

    for (size, part) in [("32x", "\"32x\" is no size"), ("300x16", "size 300x16"), ("4x16", "4x16")]
    {
        let train = train.replace("32x16", size);
        let said = place.run(&train);
        assert!(said.code == Some(2) && said.err.contains(part), "{size}: {said:?}");
    }
    // A banner is left out: its middle is next to nothing of it.
    let banner = ImageShape { channels: 1, height: 8, width: 10_000 };
    png::write(&place.path("icons/banner.png"), banner, &vec![7; banner.len()]).unwrap();
    let said = place.succeed(&format!("{train} --steps 1"));
    let warning = "icons/banner.png: an image of 10000x8 pixels, of which cropping to the ratio of \
                   32x16 leaves less than a tenth";
    assert!(said.err.contains(&format!("left out: {warning}")), "{said:?}");
    fs::remove_file(place.path("icons/banner.png")).unwrap();
    // The strides of the recipe enlarge by 4.
    place.refuse_saying(&train.replace("32x16", "32x18"), &["18"]);
}

/// The recipe for 28x28 pixels builds networks for 64x64x3.
#[test]
fn dcgan_grows_to_large_colour_images() {
    let place = Place::new();
    colours(&place, "paints", 4);
    let flags = "--recipe dcgan --dataset folder:paints --class red --size 64 --batch-size 4";
    place.succeed(&format!("{flags} --steps 1"));
    let run = "runs/00000-folder-paints-red-dcgan";
    let config = place.json(&format!("{run}/config.json"));
    assert_eq!(config["generator"]["image"], json!([3, 64, 64]));
    let summary = place.succeed(&format!("summary --run {run}")).out;
    for part in ["256x8x8", "128x16x16", "64x32x32", "3x64x64"] {
        assert!(summary.contains(part), "{part} in {summary}");
    }
    let (grid, _) = png::read(&place.path(&format!("{run}/samples/000001.png"))).unwrap();
    assert_eq!((grid.channels, grid.height, grid.width), (3, 10 * 66 - 2, 10 * 66 - 2));
}

#[test]
fn runs_without_size_and_colour_resume() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 4"));
    let config = place.json("runs/00000-idx-set-tiny/config.json");
    assert!(config.get("size").is_none() && config.get("colour").is_none(), "{config}");
    place.succeed("--resume runs/00000-idx-set-tiny --steps 6");
}

#[test]
fn the_colour_mode_is_an_option() {
    let place = Place::new();
    colours(&place, "paints", 4);
    let shape = ImageShape { channels: 1, height: 16, width: 16 };
    png::write(&place.path("paints/grey.png"), shape, &[9; 256]).unwrap();
    fs::create_dir(place.path("paints/grey")).unwrap();
    fs::rename(place.path("paints/grey.png"), place.path("paints/grey/0.png")).unwrap();
    for (flag, image) in [
        ("--size 12", json!([3, 12, 12])),
        ("--colour grey", json!([1, 16, 16])),
        ("--size 32 --color rgb --class grey,red", json!([3, 32, 32])),
    ] {
        let said = place.succeed(&format!(
            "--dataset folder:paints --recipe tiny.toml --batch-size 5 {flag} --dry-run"
        ));
        let end = said.out.find("\n}").unwrap() + 2;
        let config: serde_json::Value = serde_json::from_str(&said.out[..end]).unwrap();
        assert_eq!(config["generator"]["image"], image, "{flag}");
    }
    // A resumed run keeps size and colour mode.
    place.succeed("--dataset folder:paints --recipe tiny.toml --colour grey --size 16 --steps 2");
    place.succeed("--resume runs/00000-folder-paints-tiny --steps 4");
}

#[test]
fn an_exported_data_set_loads_the_same() {
    let place = Place::new();
    let said = place.succeed("export --dataset mnist --split test --digit 7,2 --out digits/test");
    assert_eq!(said.out, "2060 images of mnist in digits/test, classes 7, 2\n");
    assert_eq!(place.names("digits/test"), ["2", "7"]);
    assert_eq!(place.names("digits"), ["test"]);
    let dataset = Source::Mnist.load(Split::Test).unwrap();
    let dataset = dataset.filter_classes(&["2".to_string(), "7".to_string()]).unwrap();
    let read = Source::Folder(place.path("digits/test")).load(Split::Train).unwrap();
    assert_eq!((read.shape(), read.classes()), (dataset.shape(), dataset.classes()));
    for class in [0, 1] {
        let of = |dataset: &gan_data::Dataset| -> Vec<Vec<u8>> {
            let labels = dataset.labels().iter().enumerate().filter(|(_, label)| **label == class);
            labels.map(|(i, _)| dataset.image(i).unwrap().to_vec()).collect()
        };
        assert!(of(&read) == of(&dataset), "class {class}");
    }

    // Both exported splits are found and measured.
    place.succeed("export --dataset mnist --digit 7,2 --out digits/train");
    place.succeed("--dataset folder:digits --class 7 --recipe tiny.toml --steps 2");
    let config = place.json("runs/00000-folder-digits-7-tiny/config.json");
    assert_eq!((&config["images"], &config["colour"]), (&json!(6265), &json!("grey")));
    let report = place.succeed("evaluate --count 100 --json").out;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["dataset"], "folder:digits");
    assert_eq!(
        (&report["training_images"], &report["real"]["images"]),
        (&json!(6265), &json!(1028))
    );

    place.succeed("export --dataset idx:set --format idx --out copy");
    assert_same(&tree(&place.path("set")), &tree(&place.path("copy")));
    let full = "export --dataset idx:set --out digits";
    place.refuse_saying(full, &["digits: not empty", "a new folder"]);
    place.refuse_saying("export --dataset idx:set --out tiny.toml", &["tiny.toml"]);
    place.refuse_saying("export --digit 11 --out new", &["mnist has no class \"11\""]);
    place.refuse_saying("export --dataset idx:gone --out new", &["gone"]);
}

#[test]
fn colour_images_are_exported_in_colour() {
    let place = Place::new();
    colours(&place, "paints", 2);
    let coloured = "export --dataset folder:paints --format idx --out again";
    place.refuse_saying(coloured, &["again/images-idx3-ubyte", "cannot hold images of 3 channels"]);
    let said = place.succeed("export --dataset folder:paints --size 16 --out again --threads 1");
    assert!(said.out.ends_with("classes blue, green, red\n"), "{said:?}");
    let options = folder::Options::new().size(16);
    let of = |name: &str| folder::load(&place.path(name), Split::Train, &options).unwrap().dataset;
    assert!(of("again").pixels() == of("paints").pixels());
    assert_eq!(place.names("again/green"), ["000002.png", "000003.png"]);
}

#[test]
fn letters_are_classes() {
    let place = Place::new();
    // As in EMNIST's files: labels start at 1, images are transposed.
    let shape = ImageShape { channels: 1, height: 28, width: 28 };
    let column = |label: u32| (0..784).map(move |i| if i / 28 == 2 * label { 255 } else { 0 });
    let labels = [1, 2, 26].repeat(8);
    let pixels: Vec<u8> = labels.iter().flat_map(|&label| column(label.min(5))).collect();
    fs::create_dir(place.path("letters")).unwrap();
    for part in ["train", "test"] {
        idx::write(&place.path(part), shape, &pixels, Some(&labels)).unwrap();
        for what in ["images-idx3-ubyte", "labels-idx1-ubyte"] {
            let to = format!("letters/emnist-letters-{part}-{what}");
            fs::rename(place.path(&format!("{part}/{what}")), place.path(&to)).unwrap();
        }
    }
    let before = tree(&place.path("letters"));
    place.succeed("--dataset idx:letters --class a,B --recipe by-class.toml --steps 4");
    let run = "runs/00000-idx-letters-A+B-by-class";
    let config = place.json(&format!("{run}/config.json"));
    assert_eq!((&config["classes"], &config["images"]), (&json!(["A", "B"]), &json!(16)));
    place.succeed(&format!("--resume {run} --steps 6"));
    place.succeed("generate --class b --count 2 --format png --out generated");
    let all = "--dataset idx:letters/emnist-letters --recipe tiny.toml";
    place.succeed(&format!("{all} --steps 2"));
    let config = place.json("runs/00001-idx-emnist-letters-tiny/config.json");
    assert_eq!(config["generator"]["classes"], json!(["A", "B", "Z"]));
    place.refuse_saying(&format!("{all} --class 1"), &["no class \"1\"", "A, B, C"]);
    place.refuse_saying(&format!("{all} --class c"), &["no images of class \"C\""]);
    place.refuse_saying(&format!("{all} --class a,A"), &["class \"A\" is named twice"]);

    // The exported image is upright: the row of the file is a column.
    place.succeed("export --dataset idx:letters --out sorted");
    assert_eq!(place.names("sorted"), ["A", "B", "Z"]);
    let (_, pixels) = png::read(&place.path("sorted/B/000001.png")).unwrap();
    assert!(pixels.iter().enumerate().all(|(i, &v)| (v == 255) == (i % 28 == 4)));
    assert_same(&before, &tree(&place.path("letters")));
}

#[test]
fn broken_images_are_skipped_or_errors() {
    let place = Place::new();
    colours(&place, "paints", 4);
    let whole = place.read("paints/red/0.jpg");
    place.write("paints/red/0.jpg", &whole[..whole.len() / 2]);
    place.write("paints/blue/x.png", "not an image");
    let dot = ImageShape { channels: 1, height: 1, width: 1 };
    png::write(&place.path("paints/blue/dot.png"), dot, &[1]).unwrap();
    let wide = ImageShape { channels: 1, height: 8, width: 20_000 };
    png::write(&place.path("paints/blue/wide.png"), wide, &[1; 160_000]).unwrap();
    let train = "--dataset folder:paints --size 16 --recipe tiny.toml --steps 2";
    let said = place.succeed(train);
    let warnings = lines(&said.err, "WARN left out: ");
    let wants = [
        "paints/blue/dot.png: an image of 1x1 pixels; sides must be 8 to 16384 pixels",
        "paints/blue/wide.png: an image of 20000x8 pixels; sides must be 8 to 16384",
        "paints/blue/x.png: neither a JPEG nor a PNG image",
        "paints/red/0.jpg: not a valid JPEG image: ",
    ];
    assert_eq!(warnings.len(), wants.len(), "{said:?}");
    for (warning, want) in warnings.iter().zip(wants) {
        assert!(warning.starts_with(want), "{warning}");
    }
    let config = place.json("runs/00000-folder-paints-tiny/config.json");
    assert_eq!(config["images"], json!(11));
    place.refuse_saying(&format!("{train} --strict"), &["blue/dot.png", "1x1"]);
    let said = place.run(&format!("{train} --batch-size 12"));
    assert_eq!(said.code, Some(2));
    let errors = lines(&said.err, "ERROR ");
    assert_eq!(errors, ["batch size 12 exceeds the 11 images of paints; --batch-size 11 fits"]);
}

#[test]
fn folders_that_cannot_be_trained_on() {
    let place = Place::new();
    let train = |rest: &str| format!("--recipe tiny.toml --dataset folder:{rest}");
    fs::create_dir_all(place.path("empty/class")).unwrap();
    place.refuse_saying(&train("empty"), &["empty: no images in it", "*.jpg, *.jpeg and *.png"]);
    place.refuse_saying(&train("gone"), &["gone", "No such file"]);
    place.refuse_saying(&train("tiny.toml"), &["tiny.toml", "Not a directory"]);
    place.refuse_saying(&train(""), &["--dataset", "\"folder:\"", "folder:DIR"]);
    place.write("broken/a.jpg", "not an image");
    place.write("broken/b.png", "not an image");
    let wants = ["broken: none of the 2 images in it", "the first: broken/a.jpg: neither a JPEG"];
    place.refuse_saying(&train("broken"), &wants);
    colours(&place, "paints", 4);
    place.refuse_saying(&train("paints --class pink"), &["no class \"pink\"", "blue, green, red"]);
    for size in ["7", "257", "0"] {
        let want = [&*format!("size {size}"), "8 to 256"];
        place.refuse_saying(&train(&format!("paints --size {size}")), &want);
    }
    let few = train("paints --class red --batch-size 5");
    let said = place.run(&few);
    assert_eq!(
        lines(&said.err, "ERROR "),
        ["batch size 5 exceeds the 4 images of paints; --batch-size 4 fits"]
    );
    place.refuse_saying(&format!("{SMALL} --size 32"), &["--size", "idx:set are used as they are"]);
    place.refuse_saying(&format!("{SMALL} --colour rgb"), &["--colour", "folder:DIR"]);
    place.write("paints/loose.png", "not an image");
    let strict = train("paints --strict");
    place.refuse_saying(&strict, &["1 images beside the class folders have no class"]);
}
