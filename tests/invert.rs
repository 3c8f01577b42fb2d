//! `invert`: latents of given images.

use gan_data::png;

use crate::Place;

fn weights(name: &str) -> String {
    format!("{}/../../assets/weights/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The errors of a line: of the image found, and of the best random latent.
fn errors(line: &str) -> (f64, f64) {
    let (error, rest) = line.split_once("  best random ").unwrap();
    (error.parse().unwrap(), rest.split_whitespace().next().unwrap().parse().unwrap())
}

/// The generator finds images of its own again, with the class where it has several.
#[test]
fn images_of_the_generator_are_found_again() {
    let place = Place::new();
    let fives = format!("--weights {}", weights("fives"));
    place.succeed(&format!("generate {fives} --seed 7 --count 2 --format png --out own"));
    let said = place.succeed(&format!(
        "invert {fives} --out pairs.png --save-latents found.npy own/000000.png own"
    ));
    let lines: Vec<&str> = said.out.lines().collect();
    let ends = ["own/000000.png", "own image 0", "own image 1", "mean of 3 images"];
    assert_eq!(lines.len(), ends.len(), "{lines:?}");
    for (line, end) in lines.iter().zip(ends) {
        let (error, random) = errors(line);
        assert!(line.ends_with(end) && error < 0.25 * random, "{line}");
    }
    let (shape, _) = png::read(&place.path("pairs.png")).unwrap();
    assert_eq!((shape.height, shape.width), (2 * 28 + 2, 3 * 28 + 4));
    // The latents draw the images that were measured.
    place.succeed(&format!("generate {fives} --latents found.npy --format png --out again"));
    let pixels = |path: &str| png::read(&place.path(path)).unwrap().1;
    let (own, again) = (pixels("own/000000.png"), pixels("again/000000.png"));
    let squares = own.iter().zip(&again).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
    let error = squares.sum::<f64>() / own.len() as f64 / 127.5_f64.powi(2);
    assert!((error - errors(lines[0]).0).abs() < 2e-3, "{error} and {}", lines[0]);

    let digits = format!("--weights {}", weights("digits"));
    place.succeed(&format!("generate {digits} --class 7 --count 1 --format png --out seven"));
    let said = place.succeed(&format!("invert {digits} --candidates 200 --steps 40 seven"));
    assert!(said.out.contains("class 7  seven"), "{said:?}");
    let as_three =
        place.succeed(&format!("invert {digits} --class 3 --candidates 200 --steps 40 seven"));
    assert!(errors(as_three.out.trim()).0 > errors(said.out.trim()).0, "{as_three:?}");
}

#[test]
fn what_cannot_be_inverted_is_an_error() {
    let place = Place::new();
    let digits = format!("--weights {}", weights("digits"));
    place.write("broken.png", b"\x89PNG");
    place.refuse_saying(&format!("invert {digits} broken.png"), &["broken.png: "]);
    place.refuse_saying(&format!("invert {digits} absent.png"), &["absent.png"]);
    place.refuse_saying(&format!("invert {digits} --class x set"), &["--class x", "class 0, 1, 2"]);
    place.idx_images("wide", (28, 30), &[0]);
    place.refuse_saying(&format!("invert {digits} wide"), &["but this generator takes 28x28"]);
}
