//! What a data set is, in words, before a run begins.

use anyhow::{Result, ensure};
use gan_data::Dataset;
use std::collections::HashSet;

/// An image whose values of each channel differ by no more than this shows nothing.
const EMPTY: u8 = 8;

/// Describes the images of a data set on one line.
///
/// # Errors
/// A data set whose images are all the same.
pub(super) fn describe(set: &Dataset) -> Result<String> {
    let shape = set.shape();
    let images = || set.pixels().chunks_exact(shape.len().max(1));
    let distinct = images().collect::<HashSet<_>>().len();
    ensure!(
        distinct > 1 || set.len() < 2,
        "all {} images of {} are the same: there is nothing to learn but that image",
        set.len(),
        set.name()
    );
    let is_even = |plane: &[u8]| {
        let (low, high) = plane
            .iter()
            .fold((u8::MAX, 0), |(low, high), &value| (low.min(value), high.max(value)));
        high.saturating_sub(low) <= EMPTY
    };
    let plane = (shape.height * shape.width).max(1);
    let is_empty = |image: &&[u8]| image.chunks_exact(plane).all(is_even);
    let colour = match shape.channels {
        1 => "grey",
        3 => "in colour",
        _ => "with transparency",
    };
    let mut parts = vec![format!(
        "{} images of {}x{} pixels, {colour}, {}",
        set.len(),
        shape.width,
        shape.height,
        counted(set.non_empty_classes().len(), "class", "classes")
    )];
    match set.len() - distinct {
        0 => {}
        copies => parts.push(format!("{} of others", counted(copies, "is a copy", "are copies"))),
    }
    match images().filter(is_empty).count() {
        0 => {}
        empty => parts.push(counted(empty, "shows one colour alone", "show one colour alone")),
    }
    Ok(parts.join("; "))
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gan_data::ImageShape;

    #[test]
    fn copies_and_empty_images_are_counted() -> Result<()> {
        let shape = ImageShape { channels: 3, height: 1, width: 2 };
        let of = |images: &[[u8; 6]], labels: &[u32]| {
            let classes = vec!["a".into(), "b".into()];
            Dataset::new("set", shape, images.concat(), labels.to_vec(), classes)
        };
        let image = [0, 9, 30, 40, 50, 60];
        let set = of(
            &[image, [7; 6], image, [1, 2, 3, 4, 5, 99], [200, 200, 7, 7, 0, 0], image],
            &[0; 6],
        )?;
        assert_eq!(
            describe(&set)?,
            "6 images of 2x1 pixels, in colour, 1 class; 2 are copies of others; 2 show one colour \
             alone"
        );
        let set = of(&[image, [1, 2, 3, 4, 5, 99]], &[0, 1])?;
        assert_eq!(describe(&set)?, "2 images of 2x1 pixels, in colour, 2 classes");
        let error = describe(&of(&[image, image], &[0, 1])?).expect_err("the same").to_string();
        assert!(error.starts_with("all 2 images of set are the same"), "{error}");
        Ok(())
    }
}
