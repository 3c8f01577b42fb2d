//! Directories of generated images: what belongs together appears together.

use std::fs;

use crate::{Place, assert_same, finish, tree};

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

#[test]
fn a_failure_leaves_no_directory() {
    let place = fives_and_sevens();
    place.write("home/letter.txt", "dear");
    let before = tree(&place.path(""));
    for out in ["out", "home", "home/a/b"] {
        for (options, faults) in
            [("idx --layout torchvision", 1..=9), ("idx", 1..=5), ("png", 1..=4)]
        {
            for fault in faults {
                let args = format!("generate --count 1 --out {out} --format {options}");
                let mut command = place.command(&args);
                let said = finish(command.env("CANDLE_GAN_FAULT", format!("enospc:{fault}")));
                if (options, out) != ("png", "home") && (options, out) != ("idx", "home") {
                    assert!(said.err.contains("no storage space"), "{fault}: {said:?}");
                }
                assert_eq!(said.code, Some(2), "{args}, {fault}");
                assert_same(&before, &tree(&place.path("")));
            }
        }
    }
}
