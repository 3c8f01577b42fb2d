//! Loads a directory of IDX files.

use std::fs;
use std::path::{Path, PathBuf};

use super::{IMAGES, Images, Kind, LABELS, emnist, read_images, read_labels};
use crate::files::directory_name;
use crate::{Dataset, Error, Result, Split};

/// Loads one split of a directory of IDX files, each plain or gzipped (`.gz`).
///
/// Training images are in `train-images-idx3-ubyte`, test images in `t10k-images-idx3-ubyte` or
/// `test-images-idx3-ubyte`. File names may have a prefix that ends in `-`, e.g.
/// `emnist-letters-train-images-idx3-ubyte`. Without either, `images-idx3-ubyte` is both splits.
/// The file name of the labels has `labels-idx1` in place of `images-idx3`.
///
/// If a directory has several data sets, `directory/PREFIX` is the one whose file names start with
/// `PREFIX-`, e.g. `gzip/emnist-letters`.
///
/// The data set takes the name of the directory. Its classes are "0", "1" and so on, up to the
/// largest label. The classes of EMNIST's data sets with letters (`emnist-letters-...`,
/// `emnist-balanced-...`, `emnist-bymerge-...`, `emnist-byclass-...`) are their characters: "A" to
/// "Z" for the labels 1 to 26 of `letters`.
///
/// # Errors
///
/// [`Error::MissingFile`] and [`Error::AmbiguousFile`], which list the accepted file names;
/// [`Error::CountMismatch`]; [`Error::Read`]; those of
/// [`parse_images`](super::parse_images) and [`parse_labels`](super::parse_labels).
pub fn load(directory: &Path, split: Split) -> Result<Dataset> {
    let (images_file, labels_file) = find(directory, split)?;
    let labels_file = labels_file?;
    let images = read_images(&images_file)?;
    let labels = read_labels(&labels_file)?;
    join(directory_name(directory), (&images_file, images), (&labels_file, labels))
}

/// Loads the images of a split, as [`load`] does, and their labels if there are any.
///
/// # Errors
///
/// Those of [`load`], except for missing labels.
pub(crate) fn load_images(directory: &Path, split: Split) -> Result<(Images, Option<Vec<u8>>)> {
    let (images_file, labels_file) = find(directory, split)?;
    let images = read_images(&images_file)?;
    let labels_file = match labels_file {
        Err(Error::MissingFile { .. }) => return Ok((images, None)),
        labels_file => labels_file?,
    };
    let labels = read_labels(&labels_file)?;
    let dataset = join(
        directory_name(directory),
        (&images_file, images.clone()),
        (&labels_file, labels.clone()),
    );
    dataset.map(|_| (images, Some(labels)))
}

/// Returns whether a directory has test images beside its training images.
pub(crate) fn has_test_images(directory: &Path) -> Result<bool> {
    let (training, _) = find(directory, Split::Train)?;
    match find(directory, Split::Test) {
        Ok((test, _)) => Ok(test != training),
        Err(Error::MissingFile { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates a data set from the contents of an image file and a label file.
pub(crate) fn join(
    name: String,
    (images_file, images): (&Path, Images),
    (labels_file, labels): (&Path, Vec<u8>),
) -> Result<Dataset> {
    if images.count() != labels.len() {
        return Err(Error::CountMismatch {
            images_path: images_file.into(),
            images: images.count(),
            labels_path: labels_file.into(),
            labels: labels.len(),
        });
    }
    let labels: Vec<u32> = labels.into_iter().map(u32::from).collect();
    let (first, classes) = emnist::classes(labels_file).unwrap_or_else(|| {
        let largest = labels.iter().max().copied().unwrap_or(0);
        (0, (0..=largest).map(|class| class.to_string()).collect())
    });
    let valid = first..first + classes.len() as u32;
    if let Some(index) = labels.iter().position(|label| !valid.contains(label)) {
        let name = labels_file.display().to_string();
        return Err(Error::LabelOutOfRange { name, index, label: labels[index], valid });
    }
    let labels = labels.into_iter().map(|label| label - first).collect();
    Dataset::new(name, images.shape, images.pixels, labels, classes)
}

/// Returns a directory and the names of its files. If the directory does not exist, returns its
/// parent and the names that start with the directory's name and `-`.
fn files_of(directory: &Path) -> Result<(&Path, Vec<String>)> {
    if let (false, Some(parent), Some(prefix)) = (
        directory.exists(),
        directory.parent(),
        directory.file_name().and_then(|name| name.to_str()),
    ) {
        let mut names = file_names(parent).unwrap_or_default();
        names.retain(|name| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-')));
        if !names.is_empty() {
            return Ok((parent, names));
        }
    }
    Ok((directory, file_names(directory)?))
}

/// Returns the sorted names of the files in a directory.
fn file_names(directory: &Path) -> Result<Vec<String>> {
    let unreadable = |source| Error::Read { path: directory.into(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if let (false, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the paths of the image file and the label file of a split. The label file may be missing.
pub(super) fn find(directory: &Path, split: Split) -> Result<(PathBuf, Result<PathBuf>)> {
    let (directory, names) = files_of(directory)?;
    let choose = |kind: &Kind, fits: &dyn Fn(&str) -> bool, looked_for: String| {
        let found: Vec<&String> =
            names.iter().filter(|name| stem(name, kind).is_some_and(fits)).collect();
        match found[..] {
            [name] => Ok(name.clone()),
            [] => {
                Err(Error::MissingFile { path: directory.into(), wanted: kind.holds, looked_for })
            }
            _ => Err(Error::AmbiguousFile {
                path: directory.into(),
                wanted: kind.holds,
                looked_for,
                found: found.into_iter().cloned().collect(),
            }),
        }
    };
    let has_splits = names.iter().any(|name| {
        stem(name, &IMAGES)
            .is_some_and(|stem| is_split(stem, Split::Train) || is_split(stem, Split::Test))
    });
    let fits = |stem: &str| is_split(stem, split) || (!has_splits && stem.is_empty());
    let images = choose(&IMAGES, &fits, looked_for(split, has_splits))?;
    let chosen = stem(&images, &IMAGES).unwrap_or_default();
    let same = format!("{chosen}{}[.gz]", LABELS.suffix);
    let labels = choose(&LABELS, &|stem| stem == chosen, same);
    Ok((directory.join(images), labels.map(|labels| directory.join(labels))))
}

/// Returns the part of a file name before the suffix: "", `train-`, `emnist-letters-test-`.
fn stem<'a>(name: &'a str, kind: &Kind) -> Option<&'a str> {
    name.strip_suffix(".gz").unwrap_or(name).strip_suffix(kind.suffix)
}

/// Returns the words that mark the files of a split.
fn marks(split: Split) -> &'static [&'static str] {
    match split {
        Split::Train => &["train"],
        Split::Test => &["t10k", "test"],
    }
}

fn is_split(stem: &str, split: Split) -> bool {
    let Some(stem) = stem.strip_suffix('-') else {
        return false;
    };
    let last = stem.rsplit('-').next().unwrap_or(stem);
    marks(split).contains(&last)
}

fn looked_for(split: Split, has_splits: bool) -> String {
    let mut patterns: Vec<String> =
        marks(split).iter().map(|mark| format!("[*-]{mark}-{}[.gz]", IMAGES.suffix)).collect();
    if !has_splits {
        patterns.push(format!("{}[.gz]", IMAGES.suffix));
    }
    patterns.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;
    use crate::idx::{encode_images, encode_labels};
    use tempfile::TempDir;

    /// A directory of files, each of one image and label per byte of its text.
    fn directory(files: &[(&str, &[u8])]) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        let shape = ImageShape { channels: 1, height: 1, width: 1 };
        for (name, values) in files {
            let path = directory.path().join(name);
            let labels: Vec<u32> = values.iter().map(|&value| value.into()).collect();
            let bytes = match name.contains("images") {
                true => encode_images(&path, shape, values).unwrap(),
                false => encode_labels(&path, &labels).unwrap(),
            };
            fs::write(path, bytes).unwrap();
        }
        directory
    }

    fn pixels(directory: &TempDir, split: Split) -> Vec<u8> {
        load(directory.path(), split).unwrap().pixels().into()
    }

    #[test]
    fn splits_are_told_apart() {
        let directory = directory(&[
            ("train-images-idx3-ubyte", &[1, 2]),
            ("train-labels-idx1-ubyte", &[3, 0]),
            ("t10k-images-idx3-ubyte.gz", &[7]),
            ("t10k-labels-idx1-ubyte", &[0]),
            ("images-idx3-ubyte", &[9]),
            ("README", &[]),
        ]);
        let train = load(directory.path(), Split::Train).unwrap();
        assert_eq!(train.pixels(), [1, 2]);
        assert_eq!(train.labels(), [3, 0]);
        assert_eq!(train.classes(), ["0", "1", "2", "3"]);
        let name = directory.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(train.name(), name);
        assert_eq!(pixels(&directory, Split::Test), [7]);
    }

    #[test]
    fn names_may_have_a_prefix() {
        let directory = directory(&[
            ("emnist-letters-train-images-idx3-ubyte", &[1]),
            ("emnist-letters-train-labels-idx1-ubyte", &[26]),
            ("emnist-letters-test-images-idx3-ubyte", &[2]),
            ("emnist-letters-test-labels-idx1-ubyte", &[26]),
        ]);
        assert_eq!(pixels(&directory, Split::Train), [1]);
        assert_eq!(pixels(&directory, Split::Test), [2]);
    }

    /// A data set as EMNIST has it: images of 2 x 3 with rows and columns exchanged.
    fn emnist(directory: &Path, dataset: &str, labels: &[u32]) {
        let shape = ImageShape { channels: 1, height: 3, width: 2 };
        let pixels = [1, 4, 2, 5, 3, 6].repeat(labels.len());
        for part in ["train", "test"] {
            let path = |what| directory.join(format!("emnist-{dataset}-{part}-{what}-ubyte"));
            let (images, labels_file) = (path("images-idx3"), path("labels-idx1"));
            fs::write(&images, encode_images(&images, shape, &pixels).unwrap()).unwrap();
            fs::write(&labels_file, encode_labels(&labels_file, labels).unwrap()).unwrap();
        }
    }

    #[test]
    fn letters_of_emnist_stand_upright_and_have_their_names() {
        let directory = tempfile::tempdir().unwrap();
        emnist(directory.path(), "letters", &[1, 26, 3]);
        for split in [Split::Train, Split::Test] {
            let dataset = load(directory.path(), split).unwrap();
            assert_eq!(dataset.shape(), ImageShape { channels: 1, height: 2, width: 3 });
            assert_eq!(dataset.pixels(), (1..=6).collect::<Vec<u8>>().repeat(3));
            assert_eq!(dataset.labels(), [0, 25, 2]);
            assert_eq!(dataset.classes().concat(), "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
            assert_eq!(dataset.non_empty_classes(), ["A", "C", "Z"]);
            // Both cases are one class, which either names.
            let asked = ["c".to_string(), "A".to_string()];
            let kept = dataset.clone().filter_classes(&asked).unwrap();
            assert_eq!((kept.classes().concat(), kept.labels()), ("CA".into(), &[1, 0][..]));
        }
        let (images, labels) = load_images(directory.path(), Split::Train).unwrap();
        assert_eq!((&images.pixels[..6], labels), (&[1, 2, 3, 4, 5, 6][..], Some(vec![1, 26, 3])));

        for (labels, index) in [([1, 0], 1), ([27, 1], 0)] {
            emnist(directory.path(), "letters", &labels);
            let error = load(directory.path(), Split::Train).unwrap_err().to_string();
            let want = format!("label {} of image {index} is out of range", labels[index]);
            assert!(
                error.ends_with(&format!("{want}: labels are at least 1 and less than 27")),
                "{error}"
            );
        }
    }

    #[test]
    fn sets_of_emnist_may_share_a_folder() {
        let directory = tempfile::tempdir().unwrap();
        for (dataset, labels) in
            [("digits", [0, 9]), ("balanced", [10, 46]), ("byclass", [38, 61]), ("mnist", [0, 1])]
        {
            emnist(directory.path(), dataset, &labels);
        }
        let of = |dataset: &str| load(&directory.path().join(dataset), Split::Train).unwrap();
        assert_eq!(of("emnist-digits").non_empty_classes(), ["0", "9"]);
        assert_eq!(of("emnist-balanced").non_empty_classes(), ["A", "t"]);
        assert_eq!(of("emnist-byclass").non_empty_classes(), ["c", "z"]);
        let mnist = of("emnist-mnist");
        assert_eq!((mnist.name(), mnist.classes().len()), ("emnist-mnist", 2));
        assert_eq!(mnist.pixels()[..6], [1, 2, 3, 4, 5, 6]);
        // Small letters are classes of their own where they are written otherwise.
        let position = |dataset: &str, class| crate::class_position(of(dataset).classes(), class);
        assert_eq!(
            [position("emnist-balanced", "a"), position("emnist-balanced", "c")],
            [Some(36), Some(12)]
        );
        assert_eq!(position("emnist-byclass", "c"), Some(38));
        let error = load(directory.path(), Split::Train).unwrap_err();
        assert!(matches!(error, Error::AmbiguousFile { .. }));
        let error = load(&directory.path().join("emnist"), Split::Train).unwrap_err();
        assert!(matches!(error, Error::AmbiguousFile { .. }));
        let error = load(&directory.path().join("emnis"), Split::Train).unwrap_err();
        assert!(matches!(error, Error::Read { path, .. } if path.ends_with("emnis")));
    }

    #[test]
    fn absent_files_are_named() {
        let dataset = directory(&[("images-idx3-ubyte", &[1])]);
        let error = load(dataset.path(), Split::Train).unwrap_err();
        assert!(matches!(error, Error::MissingFile { wanted: "labels", .. }));
        let expected = format!(
            "{}: no labels file: looked for labels-idx1-ubyte[.gz]",
            dataset.path().display()
        );
        assert_eq!(error.to_string(), expected);

        let dataset = directory(&[
            ("train-images-idx3-ubyte", &[1]),
            ("train-labels-idx1-ubyte", &[1]),
            ("images-idx3-ubyte", &[1]),
        ]);
        let error = load(dataset.path(), Split::Test).unwrap_err();
        assert!(matches!(error, Error::MissingFile { wanted: "images", .. }));
        let expected = format!(
            "{}: no images file: looked for [*-]t10k-images-idx3-ubyte[.gz], \
             [*-]test-images-idx3-ubyte[.gz]",
            dataset.path().display()
        );
        assert_eq!(error.to_string(), expected);

        let error = load(&dataset.path().join("absent"), Split::Train).unwrap_err();
        assert!(matches!(error, Error::Read { .. }));
        assert!(error.to_string().contains("absent"));
    }

    #[test]
    fn ambiguous_files_are_named() {
        let dataset =
            directory(&[("train-images-idx3-ubyte", &[1]), ("a-train-images-idx3-ubyte.gz", &[1])]);
        let error = load(dataset.path(), Split::Train).unwrap_err();
        assert!(matches!(error, Error::AmbiguousFile { wanted: "images", .. }));
        let expected = format!(
            "{}: ambiguous images file: looked for [*-]train-images-idx3-ubyte[.gz], \
             found a-train-images-idx3-ubyte.gz, train-images-idx3-ubyte",
            dataset.path().display()
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn counts_must_match() {
        let dataset = directory(&[("images-idx3-ubyte", &[1, 2]), ("labels-idx1-ubyte", &[0])]);
        let error = load(dataset.path(), Split::Train).unwrap_err();
        assert!(matches!(error, Error::CountMismatch { images: 2, labels: 1, .. }));
        let text = error.to_string();
        assert!(text.contains("images-idx3-ubyte holds 2 images"), "{text}");
        assert!(text.contains("labels-idx1-ubyte holds 1 labels"), "{text}");
    }

    #[test]
    fn damage_is_reported_with_the_path() {
        let dataset = directory(&[("images-idx3-ubyte", &[1]), ("labels-idx1-ubyte", &[0])]);
        let path = dataset.path().join("labels-idx1-ubyte");
        fs::copy(dataset.path().join("images-idx3-ubyte"), &path).unwrap();
        let error = load(dataset.path(), Split::Train).unwrap_err();
        assert!(matches!(error, Error::WrongKind { path: found, .. } if found == path));
    }
}
