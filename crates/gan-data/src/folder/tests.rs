//! Tests of reading and writing image folders.

use super::*;
use tempfile::TempDir;

/// A folder of files; a number for bytes stands for a grey 8 x 8 image of that value.
fn folder(names: &[(&str, u8)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in names {
        put(&folder, name, &png(png::ColorType::Grayscale, 8, (8, 8), &[*value; 64]));
    }
    folder
}

fn put(folder: &TempDir, name: &str, bytes: &[u8]) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn png(color: png::ColorType, depth: u8, (width, height): (u32, u32), values: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::from_u8(depth).unwrap());
    if color == png::ColorType::Indexed {
        encoder.set_palette(&[200, 10, 10, 10, 10, 200][..]);
        encoder.set_trns(&[255, 0][..]);
    }
    encoder.write_header().unwrap().write_image_data(values).unwrap();
    bytes
}

fn jpeg(color: jpeg_encoder::ColorType, progressive: bool, pixel: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 100);
    encoder.set_progressive(progressive);
    encoder.encode(&pixel.repeat(16 * 16), 16, 16, color).unwrap();
    bytes
}

fn options(size: usize) -> Options {
    Options::default().size(size)
}

fn train(folder: &TempDir, options: Options) -> Result<Loaded> {
    load(folder.path(), Split::Train, &options)
}

/// The first value of each channel of each image.
fn first(dataset: &Dataset) -> Vec<u8> {
    dataset
        .pixels()
        .iter()
        .copied()
        .step_by(dataset.shape().height * dataset.shape().width)
        .collect()
}

#[test]
fn sub_folders_are_classes_in_the_order_of_their_names() {
    let folder = folder(&[
        ("dog/b.png", 4),
        ("dog/a.PNG", 3),
        ("cat/2.png", 2),
        ("cat/10.png", 1),
        ("cat/.hidden.png", 9),
        (".git/a.png", 9),
    ]);
    put(&folder, "cat/notes.txt", b"no image");
    put(&folder, "notes/README", b"no image");
    let Loaded { dataset, skipped } = train(&folder, options(8)).unwrap();
    assert!(skipped.is_empty(), "{skipped:?}");
    assert_eq!(dataset.classes(), ["cat", "dog"]);
    assert_eq!((dataset.labels(), first(&dataset)), (&[0, 0, 1, 1][..], vec![1, 2, 3, 4]));
    assert_eq!(dataset.shape(), ImageShape { channels: 1, height: 8, width: 8 });
    // Without parts, either is the whole.
    assert_eq!(load(folder.path(), Split::Test, &options(8)).unwrap().dataset, dataset);
}

#[test]
fn a_flat_folder_is_one_class() {
    let folder = folder(&[("faces/b.png", 2), ("faces/a.png", 1)]);
    let faces = folder.path().join("faces");
    let dataset = load(&faces, Split::Train, &options(8)).unwrap().dataset;
    assert_eq!((dataset.name(), dataset.classes()), ("faces", &["faces".to_string()][..]));
    assert_eq!(first(&dataset), [1, 2]);
    assert_eq!(train(&folder, options(8)).unwrap().dataset.classes(), ["faces"]);
}

#[test]
fn parts_are_folders_of_the_same_classes() {
    let folder = folder(&[("train/a/1.png", 1), ("train/c/1.png", 3), ("test/b/1.png", 2)]);
    let of = |split| load(folder.path(), split, &options(8)).unwrap().dataset;
    let (train, test) = (of(Split::Train), of(Split::Test));
    assert_eq!((train.classes(), test.classes()), (test.classes(), train.classes()));
    assert_eq!(train.classes(), ["a", "b", "c"]);
    assert_eq!((train.labels(), first(&train)), (&[0, 2][..], vec![1, 3]));
    assert_eq!((test.labels(), first(&test)), (&[1][..], vec![2]));
    // One of them alone is a class.
    fs::remove_dir_all(folder.path().join("test")).unwrap();
    put(&folder, "train/1.png", &png(png::ColorType::Grayscale, 8, (8, 8), &[7; 64]));
    assert_eq!(of(Split::Test).classes(), ["train"]);
}

#[test]
fn every_kind_of_png_is_read() {
    use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    let folder = tempfile::tempdir().unwrap();
    for (color, depth, row, want) in [
        (Grayscale, 1, &[0xff][..], &[255][..]),
        (Grayscale, 2, &[0x55, 0x55], &[85]),
        (Grayscale, 4, &[0x33; 4], &[51]),
        (Grayscale, 8, &[9; 8], &[9]),
        (Grayscale, 16, &[9, 200].repeat(8), &[9]),
        (GrayscaleAlpha, 8, &[100, 0].repeat(8), &[255]),
        (GrayscaleAlpha, 16, &[100, 0, 255, 255].repeat(8), &[100]),
        (Rgb, 8, &[1, 2, 3].repeat(8), &[1, 2, 3]),
        (Rgb, 8, &[4, 4, 4].repeat(8), &[4]),
        (Rgb, 16, &[1, 0, 2, 0, 3, 0].repeat(8), &[1, 2, 3]),
        (Rgba, 8, &[0, 100, 200, 127].repeat(8), &[128, 178, 228]),
        (Rgba, 16, &[1, 0, 2, 0, 3, 0, 255, 255].repeat(8), &[1, 2, 3]),
        // Two colours in turn, of which the second is not there.
        (Indexed, 1, &[0x00], &[200, 10, 10]),
        (Indexed, 8, &[1; 8], &[255]),
    ] {
        put(&folder, "a.png", &png(color, depth, (8, 8), &row.repeat(8)));
        let dataset = train(&folder, options(8)).unwrap().dataset;
        assert_eq!(first(&dataset), want, "{color:?} of {depth} bits");
        assert!(dataset.pixels().chunks(64).all(|plane| plane == [plane[0]; 64]), "{color:?}");
    }
}

/// Opacity stays, hidden colours do not; an image without opacity is opaque.
#[test]
fn opacity_is_a_fourth_channel() {
    use png::ColorType::{GrayscaleAlpha, Rgb, Rgba};
    let folder = tempfile::tempdir().unwrap();
    let of = |size: usize| {
        let rgba = Options { colour: Some(Colour::Rgba), ..options(size) };
        let dataset = train(&folder, rgba).unwrap().dataset;
        assert_eq!(dataset.shape().channels, 4);
        first(&dataset)
    };
    for (color, row, want) in [
        (Rgba, &[1, 2, 3, 127].repeat(8), [1, 2, 3, 127]),
        (Rgba, &[1, 2, 3, 0].repeat(8), [255, 255, 255, 0]),
        (GrayscaleAlpha, &[9, 40].repeat(8), [9, 9, 9, 40]),
        (Rgb, &[1, 2, 3].repeat(8), [1, 2, 3, 255]),
    ] {
        put(&folder, "a.png", &png(color, 8, (8, 8), &row.repeat(8)));
        assert_eq!(of(8), want, "{color:?}");
    }
    // What is resampled has the colour of what is seen: red beside hidden green.
    let row = [[200, 0, 0, 255].repeat(8), [0, 200, 0, 0].repeat(8)].concat();
    put(&folder, "a.png", &png(Rgba, 8, (16, 16), &row.repeat(16)));
    let rgba = Options { colour: Some(Colour::Rgba), ..options(8) };
    let dataset = train(&folder, rgba).unwrap().dataset;
    let [red, green, _, opacity] = [0, 1, 2, 3].map(|plane| &dataset.pixels()[plane * 64..][..8]);
    assert_eq!((opacity[0], opacity[7]), (255, 0));
    let seen = (0..8).filter(|&column| opacity[column] > 0);
    assert!(seen.clone().count() < 8);
    assert!(
        seen.clone().all(|column| red[column] > 190 && green[column] == 0),
        "{red:?} {green:?}"
    );
}

#[test]
fn the_part_in_the_middle_has_the_ratio_of_the_size() {
    let folder = tempfile::tempdir().unwrap();
    // Columns are their numbers times 10; the middle 16 of 24 are 4 to 19.
    let row: Vec<u8> = (0..24).map(|column| column * 10).collect();
    put(&folder, "a.png", &png(png::ColorType::Grayscale, 8, (24, 8), &row.repeat(8)));
    let dataset = train(&folder, Options::default().size(Size { height: 8, width: 16 })).unwrap();
    assert_eq!((dataset.dataset.shape().height, dataset.dataset.shape().width), (8, 16));
    assert_eq!(dataset.dataset.pixels(), row[4..20].repeat(8));
    let error = train(&folder, Options::default().size(Size { height: 8, width: 7 })).unwrap_err();
    assert_eq!(error.to_string(), "size 7x8: images are resampled to 8 to 256 pixels a side");
}

/// The decoder would panic at it.
#[test]
fn a_palette_of_a_part_of_a_colour_is_an_error() {
    let path = Path::new("a.png");
    for (bytes, is_right) in [(3, true), (13, false), (768, true)] {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 8, 8);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(vec![7; bytes]);
        encoder.write_header().unwrap().write_image_data(&[0; 64]).unwrap();
        match decode(path, &file, 8.into(), None) {
            Ok(pixels) => assert!(is_right && pixels == [7; 64], "{bytes}"),
            Err(error) => {
                let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
                assert!(!is_right && text.contains(&format!("palette of {bytes} bytes")), "{text}");
            }
        }
    }
}

#[test]
fn jpegs_are_read_whatever_they_are_called() {
    use jpeg_encoder::ColorType::{Cmyk, Luma, Rgb};
    let folder = tempfile::tempdir().unwrap();
    for progressive in [false, true] {
        for (color, pixel, want) in [
            (Luma, &[77][..], &[77][..]),
            (Rgb, &[200, 30, 90], &[200, 30, 90]),
            (Rgb, &[60, 60, 60], &[60]),
            (Cmyk, &[255, 0, 255, 0], &[0, 255, 0]),
        ] {
            for name in ["a.jpeg", "a.JPG", "a.png"] {
                put(&folder, name, &jpeg(color, progressive, pixel));
                let found = first(&train(&folder, options(16)).unwrap().dataset);
                fs::remove_file(folder.path().join(name)).unwrap();
                assert_eq!(found.len(), want.len(), "{color:?}: {found:?}");
                let near = found.iter().zip(want).all(|(a, b)| a.abs_diff(*b) <= 3);
                assert!(near, "{color:?}, progressive {progressive}: {found:?}, not {want:?}");
            }
        }
    }
}

#[test]
fn grey_among_colour_becomes_rgb_unless_asked_otherwise() {
    let folder = folder(&[("a.png", 50)]);
    put(&folder, "b.png", &png(png::ColorType::Rgb, 8, (8, 8), &[100, 200, 50].repeat(64)));
    let of = |colour| train(&folder, Options { colour, ..options(8) }).unwrap().dataset;
    assert_eq!(first(&of(None)), [50, 50, 50, 100, 200, 50]);
    assert_eq!(of(None), of(Some(Colour::Rgb)));
    // 0.299 x 100 + 0.587 x 200 + 0.114 x 50
    assert_eq!(first(&of(Some(Colour::Grey))), [50, 153]);
    fs::remove_file(folder.path().join("b.png")).unwrap();
    assert_eq!(first(&of(None)), [50]);
    assert_eq!(first(&of(Some(Colour::Rgb))), [50, 50, 50]);
}

#[test]
fn the_square_in_the_middle_is_resampled() {
    let folder = tempfile::tempdir().unwrap();
    // Columns are their numbers times 10; the middle 8 of 24 are 8 to 15.
    let row: Vec<u8> = (0..24).map(|column| column * 10).collect();
    put(&folder, "a.png", &png(png::ColorType::Grayscale, 8, (24, 8), &row.repeat(8)));
    let dataset = train(&folder, options(8)).unwrap().dataset;
    assert_eq!(dataset.pixels(), row[8..16].repeat(8));
    // Upright, it is rows that are cut.
    let upright: Vec<u8> = row.iter().flat_map(|&value| [value; 8]).collect();
    put(&folder, "a.png", &png(png::ColorType::Grayscale, 8, (8, 24), &upright));
    assert_eq!(train(&folder, options(8)).unwrap().dataset.pixels(), &upright[64..128]);

    // A slope stays a slope, with the same mean, at any size; stripes finer than the new pixels
    // become grey, and do not alias.
    let slope: Vec<u8> = (0..64 * 64).map(|i| (i % 64 * 4) as u8).collect();
    put(&folder, "a.png", &png(png::ColorType::Grayscale, 8, (64, 64), &slope));
    let stripes: Vec<u8> = (0..64 * 64).map(|i| if i % 2 == 0 { 0 } else { 255 }).collect();
    put(&folder, "b.png", &png(png::ColorType::Grayscale, 8, (64, 64), &stripes));
    for size in [8, 16, 28, 100, 256] {
        let dataset = train(&folder, options(size)).unwrap().dataset;
        let row = &dataset.image(0).unwrap()[..size];
        assert!(row.is_sorted(), "{size}: {row:?}");
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / size as f64;
        assert!((mean - 126.0).abs() < 1.5, "{size}: {mean}");
        if size <= 28 {
            let striped = dataset.image(1).unwrap();
            assert!(striped.iter().all(|v| v.abs_diff(127) < 25), "{size}: {striped:?}");
        }
    }
}

#[test]
fn broken_images_are_named_and_left_out() {
    let folder = folder(&[("a/good.png", 1), ("b/good.png", 2)]);
    let whole = jpeg(jpeg_encoder::ColorType::Rgb, false, &[1, 2, 3]);
    put(&folder, "a/cut.jpg", &whole[..whole.len() - 20]);
    put(&folder, "a/empty.jpg", b"");
    let dot = png(png::ColorType::Grayscale, 8, (1, 1), &[1]);
    put(&folder, "a/dot.png", &dot);
    let whole = png(png::ColorType::Grayscale, 8, (8, 8), &(0..64).collect::<Vec<u8>>());
    put(&folder, "b/cut.png", &whole[..whole.len() - 30]);
    // Announced as wide as that; nothing of it is there.
    let mut wide = dot.clone();
    wide[16..20].copy_from_slice(&20_000_u32.to_be_bytes());
    wide[20..24].copy_from_slice(&20_000_u32.to_be_bytes());
    let mut sum = flate2::Crc::new();
    sum.update(&wide[12..29]);
    wide[29..33].copy_from_slice(&sum.sum().to_be_bytes());
    put(&folder, "b/wide.png", &wide);
    put(&folder, "c.png", &dot);

    let Loaded { dataset, skipped } =
        train(&folder, Options { strict: false, ..options(8) }).unwrap();
    assert_eq!(first(&dataset), [1, 2]);
    let texts: Vec<String> = skipped.iter().map(|error| error.to_string()).collect();
    let in_folder = |name: &str| folder.path().join(name).display().to_string();
    let wants = [
        (in_folder("a/cut.jpg"), ": not a valid JPEG image"),
        (in_folder("a/dot.png"), ": an image of 1x1 pixels; sides must be 8 to 16384 pixels"),
        (in_folder("a/empty.jpg"), ": neither a JPEG nor a PNG image"),
        (in_folder("b/cut.png"), ": not a valid PNG image"),
        (in_folder("b/wide.png"), ": an image of 20000x20000 pixels; sides must be 8"),
        (in_folder(""), "1 images beside the class folders have no class"),
    ];
    assert_eq!(texts.len(), wants.len(), "{texts:#?}");
    for (text, (path, part)) in texts.iter().zip(wants) {
        assert!(text.starts_with(path.trim_end_matches('/')) && text.contains(part), "{text}");
    }
    let first = train(&folder, options(8)).unwrap_err().to_string();
    assert!(first.contains("cut.jpg"), "{first}");
    for name in ["a/cut.jpg", "a/dot.png", "a/empty.jpg", "b/cut.png", "b/wide.png"] {
        fs::remove_file(folder.path().join(name)).unwrap();
    }
    assert!(matches!(train(&folder, options(8)), Err(Error::UnlabelledImages { images: 1, .. })));
}

#[test]
fn folders_without_images_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let lenient = Options { strict: false, ..options(8) };
    let none = train(&folder, lenient).unwrap_err();
    assert!(matches!(none, Error::NoImages { .. }));
    assert!(none.to_string().contains("no images in it; looked for *.jpg, *.jpeg and *.png"));
    put(&folder, "a.png", b"");
    put(&folder, "b.png", b"");
    let broken = train(&folder, lenient).unwrap_err();
    assert!(matches!(&broken, Error::NoValidImage { images: 2, source, .. }
        if matches!(&**source, Error::NotAnImage { .. })));
    assert!(broken.to_string().ends_with("none of the 2 images in it can be read; the first"));
    // A loose image beside broken ones is not to blame.
    put(&folder, "class/a.png", b"");
    assert!(matches!(train(&folder, lenient).unwrap_err(), Error::NoValidImage { source, .. }
        if matches!(*source, Error::NotAnImage { .. })));
    for size in [0, 7, 257, usize::MAX] {
        let error = train(&folder, options(size)).unwrap_err();
        let want = format!("size {size}: images are resampled to 8 to 256 pixels a side");
        assert_eq!(error.to_string(), want);
    }
    let absent = load(&folder.path().join("absent"), Split::Train, &lenient).unwrap_err();
    assert!(matches!(absent, Error::Read { .. }));
}

#[test]
fn no_damage_makes_it_panic() {
    let folder = tempfile::tempdir().unwrap();
    let noise: Vec<u8> = (0..16 * 64_u32).map(|i| (i * i / 7) as u8).collect();
    let mut wholes = vec![png(png::ColorType::Grayscale, 8, (16, 64), &noise)];
    for progressive in [false, true] {
        let mut bytes = Vec::new();
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 50);
        encoder.set_progressive(progressive);
        encoder.encode(&noise, 16, 64, jpeg_encoder::ColorType::Luma).unwrap();
        wholes.push(bytes);
    }
    for whole in wholes {
        for at in (0..whole.len()).step_by(3) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            put(&folder, "a.jpg", &bytes);
            let _ = train(&folder, options(16));
            put(&folder, "a.jpg", &whole[..at]);
            // A JPEG that lacks no more than its last row of blocks is taken for whole.
            let cut = train(&folder, options(16));
            assert!(cut.is_err() || at > whole.len() * 3 / 4, "{at} of {}", whole.len());
        }
    }
}

#[test]
fn threads_do_not_change_a_set() {
    let names: Vec<String> = (0..40).map(|i| format!("{}/{i}.png", i % 3)).collect();
    let folder = folder(&names.iter().map(|name| (name.as_str(), 5)).collect::<Vec<_>>());
    let of = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| train(&folder, options(28))).unwrap().dataset
    };
    assert_eq!(of(1), of(4));
}

#[test]
fn what_is_written_is_read_again() {
    let temporary = tempfile::tempdir().unwrap();
    for channels in [1, 3] {
        let shape = ImageShape { channels, height: 28, width: 28 };
        let pixels: Vec<u8> = (0..5 * shape.len()).map(|i| (i * i / 91) as u8).collect();
        let classes = ["b", "none", "a"].map(String::from).to_vec();
        let dataset = Dataset::new("t", shape, pixels, vec![0, 2, 2, 0, 0], classes).unwrap();
        let folder = temporary.path().join("deep").join(channels.to_string());
        write(&folder, &dataset).unwrap();
        let read = load(&folder, Split::Train, &Options::default()).unwrap().dataset;
        assert_eq!(read.classes(), ["a", "b"]);
        assert_eq!(read.labels(), [0, 0, 1, 1, 1]);
        let order = [1, 2, 0, 3, 4].map(|i| dataset.image(i).unwrap()).concat();
        assert!(read.pixels() == order && read.shape() == shape);
        assert!(folder.join("a/000001.png").is_file());

        let full = write(&folder, &dataset).unwrap_err();
        assert!(matches!(full, Error::NotEmpty { .. }));
        assert!(full.to_string().ends_with("not empty; images are written into a new folder"));
    }
    // Nothing else lies beside them.
    assert_eq!(fs::read_dir(temporary.path().join("deep")).unwrap().count(), 2);
}

#[test]
fn a_set_is_written_whole_or_not_at_all() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("set");
    let shape = ImageShape { channels: 1, height: 8, width: 8 };
    let dataset = |class: &str, shape: ImageShape| {
        let pixels = vec![0; shape.len()];
        Dataset::new("t", shape, pixels, vec![0], vec![class.into()]).unwrap()
    };
    for class in ["..", "a/b", "", ".hidden", "a/"] {
        let error = write(&folder, &dataset(class, shape)).unwrap_err();
        assert!(matches!(error, Error::Write { .. }), "{class}: {error}");
    }
    let two = write(&folder, &dataset("a", ImageShape { channels: 2, ..shape })).unwrap_err();
    assert!(matches!(two, Error::Channels { .. }));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    // An empty folder will do, a file will not.
    fs::create_dir(&folder).unwrap();
    write(&folder, &dataset("a", shape)).unwrap();
    crate::png::write(&temporary.path().join("file"), shape, &[0; 64]).unwrap();
    let file = write(&temporary.path().join("file"), &dataset("a", shape)).unwrap_err();
    assert!(matches!(file, Error::Write { .. }), "{file}");
}

/// The middle one of three sides decides, in either format; what cannot be read does not count.
#[test]
fn a_size_is_suggested_that_enlarges_few_images() {
    let directory = tempfile::tempdir().unwrap();
    let png = |name: &str, height: usize, width: usize| {
        let shape = ImageShape { channels: 1, height, width };
        let path = directory.path().join(name);
        crate::png::write(&path, shape, &vec![7; shape.len()]).unwrap();
    };
    let suggested = || suggest_size(directory.path()).unwrap();
    assert!(matches!(suggest_size(directory.path()).unwrap_err(), Error::NoImages { .. }));
    png("a.png", 300, 40);
    assert_eq!(suggested(), 32);
    png("b.png", 70, 72);
    png("c.png", 500, 500);
    std::fs::write(directory.path().join("d.png"), b"no image").unwrap();
    assert_eq!(suggested(), 64);
    png("e.png", 12, 9);
    png("f.png", 12, 9);
    png("g.png", 12, 9);
    png("h.png", 12, 9);
    assert_eq!(suggested(), Options::SIZE, "smaller than any");
    // The headers are enough.
    for entry in std::fs::read_dir(directory.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    png("a.png", 48, 52);
    let path = directory.path().join("b.jpg");
    let encoder = jpeg_encoder::Encoder::new_file(&path, 90).unwrap();
    encoder.encode(&[7; 50 * 60], 50, 60, jpeg_encoder::ColorType::Luma).unwrap();
    for (name, length) in [("a.png", 24), ("b.jpg", 600)] {
        let path = directory.path().join(name);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..length.min(bytes.len() - 20)]).unwrap();
    }
    assert_eq!(suggested(), 48, "from what is left of the files");
}
