//! Directories of generated images: what belongs together appears together.

use std::fs;

use crate::{Place, assert_same, tree};

/// Trains a short run on fives and one on sevens.
fn fives_and_sevens() -> Place {
    let place = Place::new();
    place.succeed("--digit 5 --recipe tiny.toml --steps 2");
    place.succeed("--digit 7 --recipe tiny.toml --steps 2");
    place
}

#[test]
fn a_directory_with_files_is_only_replaced_on_demand() {
    let place = fives_and_sevens();
    for (format, directory) in
        [("png", "out"), ("idx", "out"), ("idx --layout torchvision", "out/MNIST/raw")]
    {
        let first = "--run runs/00000-mnist-5-tiny --count 20";
        let generate = format!("generate --out out --format {format}");
        fs::create_dir_all(place.path(directory)).unwrap();
        place.succeed(&format!("{generate} {first}"));
        place.refuse_saying(&generate_again(&generate), &[directory, "not empty", "--force"]);
        place.succeed(&format!("{} --force", generate_again(&generate)));
        place.succeed(&generate_again(&generate.replace("--out out", "--out fresh")));
        let fresh = directory.replace("out", "fresh");
        assert_same(&tree(&place.path(directory)), &tree(&place.path(&fresh)));
        fs::remove_dir_all(place.path("fresh")).unwrap();
        fs::remove_dir_all(place.path("out")).unwrap();
    }
}

/// Fewer images of another run.
fn generate_again(generate: &str) -> String {
    format!("{generate} --run runs/00001-mnist-7-tiny --count 5")
}

#[test]
fn only_generated_images_are_replaced() {
    let place = fives_and_sevens();
    place.write("home/000000.png", "");
    place.write("home/letter.txt", "dear");
    for format in ["png", "idx"] {
        place.refuse_saying(
            &format!("generate --count 2 --format {format} --out home --force"),
            &["home: --force replaces directories of generated images only", "letter.txt"],
        );
    }
}
