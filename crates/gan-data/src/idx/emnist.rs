//! The peculiarities of EMNIST: transposed images, and labels that stand for characters.
//!
//! Cohen, Afshar, Tapson and van Schaik 2017, "EMNIST: an extension of MNIST to handwritten letters".

use std::path::Path;

use super::Images;

const DIGITS: &str = "0123456789";
const CAPITALS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Returns the EMNIST data set that a file belongs to, e.g. `letters` for
/// `emnist-letters-train-images-idx3-ubyte`.
fn set_of(file: &Path) -> Option<&str> {
    let (dataset, _) = file.file_name()?.to_str()?.strip_prefix("emnist-")?.split_once('-')?;
    Some(dataset)
}

/// Transposes images of EMNIST back. Other images stay as they are.
pub(super) fn upright(file: &Path, images: Images) -> Images {
    if set_of(file).is_none() {
        return images;
    }
    let Images { shape, pixels } = images;
    // Rows of the file are columns of the image.
    let (width, height) = (shape.height, shape.width);
    let pixels = pixels
        .chunks_exact(shape.len())
        .flat_map(|image| (0..shape.len()).map(move |i| image[i % width * height + i / width]))
        .collect();
    Images { shape: crate::ImageShape { height, width, ..shape }, pixels }
}

/// Returns the smallest label of an EMNIST file and the class names from that label on, if its
/// classes are characters.
pub(super) fn classes(file: &Path) -> Option<(u32, Vec<String>)> {
    let (first, parts) = match set_of(file)? {
        // Upper and lower case are one class.
        "letters" => (1, [CAPITALS, "", ""]),
        // Lower case is a class of its own if it looks different from upper case.
        "balanced" | "bymerge" => (0, [DIGITS, CAPITALS, "abdefghnqrt"]),
        "byclass" => (0, [DIGITS, CAPITALS, "abcdefghijklmnopqrstuvwxyz"]),
        _ => return None,
    };
    Some((first, parts.concat().chars().map(String::from).collect()))
}
