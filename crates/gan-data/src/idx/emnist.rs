//! EMNIST's ways (Cohen, Afshar, Tapson and van Schaik 2017, "EMNIST: an extension of MNIST to
//! handwritten letters"): pictures with rows and columns exchanged, and labels for characters.

use std::path::Path;

use super::Images;

const DIGITS: &str = "0123456789";
const CAPITALS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Which of EMNIST's sets a file is of, by its name: `letters` for
/// `emnist-letters-train-images-idx3-ubyte`.
fn set_of(file: &Path) -> Option<&str> {
    let (set, _) = file.file_name()?.to_str()?.strip_prefix("emnist-")?.split_once('-')?;
    Some(set)
}

/// Pictures as they were written, whatever file they are from.
pub(super) fn upright(file: &Path, images: Images) -> Images {
    if set_of(file).is_none() {
        return images;
    }
    let Images { shape, pixels } = images;
    // Rows of the file are columns of the picture.
    let (width, height) = (shape.height, shape.width);
    let pixels = pixels
        .chunks_exact(shape.len())
        .flat_map(|p| (0..shape.len()).map(move |i| p[i % width * height + i / width]))
        .collect();
    Images { shape: crate::ImageShape { height, width, ..shape }, pixels }
}

/// The least label of a file, and the classes from there on, where they are characters.
pub(super) fn classes(file: &Path) -> Option<(u32, Vec<String>)> {
    let (least, parts) = match set_of(file)? {
        // Capital and small letters are one class.
        "letters" => (1, [CAPITALS, "", ""]),
        // Small letters that are written otherwise than their capital are classes of their own.
        "balanced" | "bymerge" => (0, [DIGITS, CAPITALS, "abdefghnqrt"]),
        "byclass" => (0, [DIGITS, CAPITALS, "abcdefghijklmnopqrstuvwxyz"]),
        _ => return None,
    };
    Some((least, parts.concat().chars().map(String::from).collect()))
}
