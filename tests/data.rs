//! Data sets of unusual shapes, labels and sizes.

use std::fs;

use serde_json::json;

use crate::{Place, SMALL};

#[test]
fn images_need_not_be_square() {
    let place = Place::new();
    place.idx_images("oblong", (12, 8), &[0, 1, 2].repeat(8));
    for recipe in ["tiny", "mlp-like"] {
        place.succeed(&format!(
            "--recipe {recipe}.toml --dataset idx:oblong --steps 3 --out {recipe}"
        ));
        let run = format!("{recipe}/00000-idx-oblong-{recipe}");
        let config = place.json(&format!("{run}/config.json"));
        assert_eq!(config["generator"]["image"], json!([1, 12, 8]));
        let sample = place.read(&format!("{run}/samples/000003.png"));
        // Ten by ten images, two pixels apart: width and height follow the PNG signature.
        assert_eq!(sample[16..24], [0, 0, 0, 98, 0, 0, 0, 138]);
    }
}

#[test]
fn labels_may_have_gaps() {
    let place = Place::new();
    place.idx_images("gaps", (28, 28), &[1, 3].repeat(12));
    place.succeed("--recipe tiny.toml --dataset idx:gaps --steps 2");
    // The labels of EMNIST's letters start at 1, too. Such a run can be resumed.
    place.succeed("--resume runs/00000-idx-gaps-tiny --steps 4");
    place.succeed("--recipe tiny.toml --dataset idx:gaps --digit 3 --steps 2");
    let config = place.json("runs/00001-idx-gaps-3-tiny/config.json");
    assert_eq!((&config["images"], &config["classes"]), (&json!(12), &json!(["3"])));
}

#[test]
fn a_batch_may_be_the_whole_data_set() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --batch-size 24 --steps 2"));
    place.refuse_saying(&format!("{SMALL} --batch-size 1"), &["batch size 1", "at least 2"]);
}

#[test]
fn a_run_resumes_only_with_its_own_data() {
    let place = Place::new();
    place.succeed(SMALL);
    let resume = "--resume runs/00000-idx-set-tiny --steps 20";
    place.idx_images("set", (28, 28), &[0, 1, 2].repeat(9));
    place.refuse_saying(resume, &["idx:set", "27 images", "24"]);
    fs::remove_dir_all(place.path("set")).unwrap();
    place.refuse_saying(resume, &["set", "No such file"]);
}

#[test]
fn every_step_of_a_class_sees_only_that_class() {
    let place = Place::new();
    // The ones of the small data set, and the same images as a data set of their own.
    let images = place.read("set/images-idx3-ubyte");
    let images = images[16..].chunks_exact(28 * 28).skip(1).step_by(3);
    let pixels: Vec<u8> = images.flatten().copied().collect();
    let shape = gan_data::ImageShape { channels: 1, height: 28, width: 28 };
    gan_data::idx::write(&place.path("ones"), shape, &pixels, Some(&[0; 8])).unwrap();
    place.succeed(&format!("{SMALL} --digit 1 --out c"));
    place.succeed("--recipe tiny.toml --dataset idx:ones --digit 0 --out d");
    let file = "checkpoints/000012/state.safetensors";
    assert_eq!(
        place.read(&format!("c/00000-idx-set-1-tiny/{file}")),
        place.read(&format!("d/00000-idx-ones-0-tiny/{file}"))
    );
}

/// A configuration needs headers and labels only: damaged pixels stop training, not `summary`.
#[test]
fn a_configuration_reads_no_images() {
    let place = Place::new();
    let images = "set/images-idx3-ubyte";
    let whole = place.read(images);
    fs::remove_file(place.path(images)).unwrap();
    // A damaged gzip file, of which only the header can be unpacked.
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 16, 0, !16, !0];
    packed.extend(&whole[..16]);
    place.write("set/images-idx3-ubyte.gz", packed);
    let said = place.succeed(&format!("{SMALL} --dry-run"));
    assert!(said.out.contains("\"images\": 24"), "{said:?}");
    let shown = place.succeed("summary --recipe tiny.toml --dataset idx:set").out;
    assert!(said.out.ends_with(&shown), "{said:?}");
    place.refuse_saying(SMALL, &["set/images-idx3-ubyte.gz", "gzip"]);

    // With --colour, the images of a directory are listed, not decoded.
    for i in 0..9 {
        place.write(&format!("paints/red/{i}.png"), "not an image");
    }
    let flags = "--recipe tiny.toml --dataset folder:paints --colour rgb";
    let said = place.succeed(&format!("{flags} --dry-run"));
    assert!(said.out.contains("\"images\": 9") && said.out.contains("\"rgb\""), "{said:?}");
    place.refuse_saying(flags, &["paints", "neither a JPEG nor a PNG"]);
    place.refuse_saying(&format!("{flags} --dry-run --strict"), &["neither a JPEG nor a PNG"]);
}
