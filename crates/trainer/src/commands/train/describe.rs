//! What a data set is, in words, before a run begins.

use anyhow::{Result, ensure};
use gan_data::{Contents, Dataset};

/// Describes the images of a data set on one line.
///
/// # Errors
/// A data set whose images are all the same.
pub(super) fn describe(set: &Dataset) -> Result<String> {
    let (shape, Contents { copies, even, .. }) = (set.shape(), set.contents());
    ensure!(
        copies + 1 < set.len() || set.len() < 2,
        "all {} images of {} are the same: there is nothing to learn but that image",
        set.len(),
        set.name()
    );
    let colour = match shape.channels {
        1 => "grey",
        3 => "in colour",
        _ => "with opacity",
    };
    let mut parts = vec![format!(
        "{} images of {}x{} pixels, {colour}, {}",
        set.len(),
        shape.width,
        shape.height,
        counted(set.non_empty_classes().len(), "class", "classes")
    )];
    if copies > 0 {
        parts.push(format!("{} of others", counted(copies, "is a copy", "are copies")));
    }
    if even > 0 {
        parts.push(counted(even, "shows one colour alone", "show one colour alone"));
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
