//! Sets of tar files.

use std::fs;

use serde_json::json;

use crate::{Place, assert_same};

/// Writes tar files of labelled grey images, `count` each, and the same images as a class folder.
fn shards(place: &Place, set: &str, (files, count): (usize, usize)) {
    let mut number = 0;
    for file in 0..files {
        let mut builder = tar::Builder::new(Vec::new());
        for _ in 0..count {
            let label = number % 3;
            let name = format!("{label}/{number:04}.png");
            let shape = gan_data::ImageShape { channels: 1, height: 16, width: 16 };
            let pixel =
                |i: usize| if (i + 5 * label) % 16 < 6 { 200 + (number % 50) as u8 } else { 9 };
            let pixels: Vec<u8> = (0..256).map(pixel).collect();
            let path = place.path(&format!("{set}-folder/{name}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            gan_data::png::write(&path, shape, &pixels).unwrap();
            add(&mut builder, &format!("{number:04}.png"), &fs::read(path).unwrap());
            add(&mut builder, &format!("{number:04}.cls"), label.to_string().as_bytes());
            number += 1;
        }
        place.write(&format!("{set}/part-{file}.tar"), builder.into_inner().unwrap());
    }
}

fn add(builder: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    builder.append_data(&mut header, name, bytes).unwrap();
}

const TRAIN: &str = "--dataset shards:set --recipe by-class.toml --steps";

#[test]
fn a_resumed_run_reads_the_same_images() {
    let place = Place::new();
    shards(&place, "set", (4, 60));
    let said = place.succeed(&format!("{TRAIN} 7 --out halves"));
    assert!(said.err.contains("shards:set: 240 images in 4 files, listed in "), "{said:?}");
    assert!(said.err.contains("24 images are held out"), "{said:?}");
    let run = "00000-shards-set-by-class";
    place.succeed(&format!("--resume halves/{run} --steps 40 --threads 1"));
    place.succeed(&format!("{TRAIN} 40 --out whole"));
    let mut halves = place.result(&format!("halves/{run}"));
    assert!(halves.remove("samples/000007.png").is_some());
    assert_same(&halves, &place.result(&format!("whole/{run}")));
    let config = place.json(&format!("whole/{run}/config.json"));
    assert_eq!((&config["images"], &config["size"]), (&json!(216), &json!(16)));
    assert_eq!(config["shards"]["shuffle_buffer"], json!(10_000));
    // Another order, so another run.
    place.succeed(&format!("{TRAIN} 7 --shuffle-buffer 5 --out other"));
    let [other, halves] =
        ["other", "halves"].map(|out| place.read(&format!("{out}/{run}/samples/000004.png")));
    assert_ne!(other, halves);
    // What is held out is measured against; a classifier finds the images that it was trained on.
    let evaluated = place.succeed(&format!("evaluate --run whole/{run} --count 24"));
    assert!(evaluated.out.contains("against 216 training images of shards:set"), "{evaluated:?}");
    assert!(evaluated.out.contains("the 24 images held out"), "{evaluated:?}");
    let classifier = "classifier --dataset shards:set --size 16 --colour grey --epochs 1";
    assert!(place.succeed(classifier).out.contains(" of 24 test images"));
    let evaluated = place.succeed(&format!("evaluate --run whole/{run} --count 24"));
    assert!(evaluated.out.contains("class-accuracy"), "{evaluated:?}");

    fs::remove_file(place.path("set/part-3.tar")).unwrap();
    let error = place.refuse(&format!("--resume halves/{run} --steps 50"));
    assert!(error.contains("set: since the run began, part-3.tar was removed; restore"), "{error}");
}

/// The images are those of the folder with the same files.
#[test]
fn shards_are_exported_as_the_folder_they_came_from() {
    let place = Place::new();
    shards(&place, "set", (2, 9));
    place.succeed("export --dataset shards:set/part-*.tar --out out");
    let colours = |folder: &str, class: u32| {
        let source = gan_data::Source::Folder(place.path(folder));
        let options = gan_data::folder::Options::new().size(16);
        let set = source.load_with(gan_data::Split::Train, &options).unwrap().dataset;
        set.filter_classes(&[class.to_string()]).unwrap().pixels().to_vec()
    };
    for class in 0..3 {
        assert_eq!(colours("out", class), colours("set-folder", class));
    }
}

#[test]
fn what_is_wrong_with_shards_is_said() {
    let place = Place::new();
    shards(&place, "set", (1, 30));
    let mut builder = tar::Builder::new(Vec::new());
    add(&mut builder, "bad.png", b"no image");
    add(&mut builder, "bad.cls", b"0");
    place.write("set/bad.tar", builder.into_inner().unwrap());
    let said = place.succeed(&format!("{TRAIN} 6"));
    let warnings = said.err.lines().filter(|line| line.contains("left out")).count();
    assert!(
        said.err.contains("left out: set/bad.tar:bad.png: neither a JPEG nor a PNG image"),
        "{said:?}"
    );
    assert_eq!(warnings, 1, "{said:?}");
    let strict = place.fail(&format!("{TRAIN} 6 --strict"));
    assert!(strict.contains("set/bad.tar:bad.png: neither"), "{strict}");

    for (args, parts) in [
        ("--dataset shards:absent", &["absent: no images in it; looked for *.tar"][..]),
        ("--dataset shards:set/x*", &["set/x*: no images in it; looked for *.tar"]),
        (
            "--dataset shards:set --shuffle-buffer 0",
            &["--shuffle-buffer 0: it must hold at least 1"],
        ),
        ("--shuffle-buffer 9", &["goes with --dataset shards:DIR"]),
        ("--dataset shards:set --class cat", &["set has no class \"cat\"; it has 0, 1, 2"]),
        ("--dataset shards:set --batch-size 500", &["batch size 500 exceeds the "]),
        ("--dataset shards:set --size 4", &["size 4: images are resampled to 8 to 256"]),
    ] {
        place.refuse_saying(&format!("--recipe tiny.toml {args}"), parts);
    }
    let whole = place.read("set/part-0.tar");
    place.write("set/part-0.tar", &whole[..whole.len() - 1536]);
    place.refuse_saying(
        TRAIN.trim_end_matches(" --steps"),
        &["set/part-0.tar: truncated: \"0029.cls\""],
    );
}
