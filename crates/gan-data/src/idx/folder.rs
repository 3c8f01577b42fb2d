//! A folder of IDX files.

use std::fs;
use std::path::{Path, PathBuf};

use super::{IMAGES, Images, Kind, LABELS, emnist, read_images, read_labels};
use crate::folder::name;
use crate::{Dataset, Error, Result, Split};

/// Loads one part of a folder of IDX files, each plain or gzip'd (`.gz`).
///
/// Training pictures are in `train-images-idx3-ubyte`, test pictures in
/// `t10k-images-idx3-ubyte` or `test-images-idx3-ubyte`; any of them may have a prefix
/// that ends in `-`, as EMNIST's `emnist-letters-train-images-idx3-ubyte` has. In a folder
/// without either, `images-idx3-ubyte` is both. Labels are in the file of the same name
/// with `labels-idx1` for `images-idx3`.
///
/// Of a folder of several sets, `folder/PREFIX` is the one whose files begin with `PREFIX-`, as
/// `gzip/emnist-letters` is.
///
/// The set is named after the folder, its classes are "0", "1" and so on up to the largest
/// label. EMNIST's sets that have letters (`emnist-letters-...`, `emnist-balanced-...`,
/// `emnist-bymerge-...`, `emnist-byclass-...`) have their characters for classes: "A" to "Z" for the
/// labels 1 to 26 of `letters`.
///
/// # Errors
///
/// [`Error::MissingFile`] and [`Error::AmbiguousFile`], which tell the names looked for;
/// [`Error::CountMismatch`]; [`Error::Read`]; those of
/// [`parse_images`](super::parse_images) and [`parse_labels`](super::parse_labels).
pub fn load(folder: &Path, split: Split) -> Result<Dataset> {
    let (images_file, labels_file) = find(folder, split)?;
    let labels_file = labels_file?;
    let images = read_images(&images_file)?;
    let labels = read_labels(&labels_file)?;
    join(name(folder), (&images_file, images), (&labels_file, labels))
}

/// The pictures of one part of a folder, as [`load`] finds them, and their labels if there are any.
///
/// # Errors
///
/// Those of [`load`], but for labels that are not there.
pub(crate) fn load_pictures(folder: &Path, split: Split) -> Result<(Images, Option<Vec<u8>>)> {
    let (images_file, labels_file) = find(folder, split)?;
    let images = read_images(&images_file)?;
    let labels_file = match labels_file {
        Err(Error::MissingFile { .. }) => return Ok((images, None)),
        labels_file => labels_file?,
    };
    let labels = read_labels(&labels_file)?;
    let set = join(name(folder), (&images_file, images.clone()), (&labels_file, labels.clone()));
    set.map(|_| (images, Some(labels)))
}

/// Makes a set of the contents of a picture and a label file.
pub(crate) fn join(
    name: String,
    (images_file, images): (&Path, Images),
    (labels_file, labels): (&Path, Vec<u8>),
) -> Result<Dataset> {
    if images.count() != labels.len() {
        return Err(Error::CountMismatch {
            images_file: images_file.into(),
            images: images.count(),
            labels_file: labels_file.into(),
            labels: labels.len(),
        });
    }
    let labels: Vec<u32> = labels.into_iter().map(u32::from).collect();
    let (least, classes) = emnist::classes(labels_file).unwrap_or_else(|| {
        let largest = labels.iter().max().copied().unwrap_or(0);
        (0, (0..=largest).map(|class| class.to_string()).collect())
    });
    let most = least + classes.len() as u32 - 1;
    if let Some(index) = labels.iter().position(|label| !(least..=most).contains(label)) {
        let name = labels_file.display().to_string();
        return Err(Error::LabelOutside { name, index, label: labels[index], least, most });
    }
    let labels = labels.into_iter().map(|label| label - least).collect();
    Dataset::new(name, images.shape, images.pixels, labels, classes)
}

/// A folder, and the names of the files in it, or, if there is no such folder, of those files beside
/// that begin with its name.
fn files_of(folder: &Path) -> Result<(&Path, Vec<String>)> {
    if let (false, Some(parent), Some(prefix)) =
        (folder.exists(), folder.parent(), folder.file_name().and_then(|name| name.to_str()))
    {
        let mut names = file_names(parent).unwrap_or_default();
        names.retain(|name| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-')));
        if !names.is_empty() {
            return Ok((parent, names));
        }
    }
    Ok((folder, file_names(folder)?))
}

/// Names of the files in a folder, sorted.
fn file_names(folder: &Path) -> Result<Vec<String>> {
    let unreadable = |source| Error::Read { path: folder.into(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if let (true, Ok(name)) = (entry.path().is_file(), entry.file_name().into_string()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Paths of the picture and the label file of a split; the latter may be missing alone.
pub(super) fn find(folder: &Path, split: Split) -> Result<(PathBuf, Result<PathBuf>)> {
    let (folder, names) = files_of(folder)?;
    let choose = |kind: &Kind, fits: &dyn Fn(&str) -> bool, looked_for: String| {
        let found: Vec<&String> =
            names.iter().filter(|name| stem(name, kind).is_some_and(fits)).collect();
        match found[..] {
            [name] => Ok(name.clone()),
            [] => Err(Error::MissingFile { folder: folder.into(), wanted: kind.holds, looked_for }),
            _ => Err(Error::AmbiguousFile {
                folder: folder.into(),
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
    Ok((folder.join(images), labels.map(|labels| folder.join(labels))))
}

/// What stands before the kind's suffix: "", `train-`, `emnist-letters-test-`.
fn stem<'a>(name: &'a str, kind: &Kind) -> Option<&'a str> {
    name.strip_suffix(".gz").unwrap_or(name).strip_suffix(kind.suffix)
}

/// Words that mark the files of a split.
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

    /// A folder of files, each of one picture and label per byte of its text.
    fn folder(files: &[(&str, &[u8])]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let shape = ImageShape { channels: 1, height: 1, width: 1 };
        for (name, values) in files {
            let path = folder.path().join(name);
            let labels: Vec<u32> = values.iter().map(|&value| value.into()).collect();
            let bytes = match name.contains("images") {
                true => encode_images(&path, shape, values).unwrap(),
                false => encode_labels(&path, &labels).unwrap(),
            };
            fs::write(path, bytes).unwrap();
        }
        folder
    }

    fn pixels(folder: &TempDir, split: Split) -> Vec<u8> {
        load(folder.path(), split).unwrap().pixels().into()
    }

    #[test]
    fn splits_are_told_apart() {
        let folder = folder(&[
            ("train-images-idx3-ubyte", &[1, 2]),
            ("train-labels-idx1-ubyte", &[3, 0]),
            ("t10k-images-idx3-ubyte.gz", &[7]),
            ("t10k-labels-idx1-ubyte", &[0]),
            ("images-idx3-ubyte", &[9]),
            ("README", &[]),
        ]);
        let train = load(folder.path(), Split::Train).unwrap();
        assert_eq!(train.pixels(), [1, 2]);
        assert_eq!(train.labels(), [3, 0]);
        assert_eq!(train.classes(), ["0", "1", "2", "3"]);
        let name = folder.path().file_name().unwrap().to_str().unwrap();
        assert_eq!(train.name(), name);
        assert_eq!(pixels(&folder, Split::Test), [7]);
    }

    #[test]
    fn names_may_have_a_prefix() {
        let folder = folder(&[
            ("emnist-letters-train-images-idx3-ubyte", &[1]),
            ("emnist-letters-train-labels-idx1-ubyte", &[26]),
            ("emnist-letters-test-images-idx3-ubyte", &[2]),
            ("emnist-letters-test-labels-idx1-ubyte", &[26]),
        ]);
        assert_eq!(pixels(&folder, Split::Train), [1]);
        assert_eq!(pixels(&folder, Split::Test), [2]);
    }

    /// A set as EMNIST has it: pictures of 2 x 3 with rows and columns exchanged.
    fn emnist(folder: &Path, set: &str, labels: &[u32]) {
        let shape = ImageShape { channels: 1, height: 3, width: 2 };
        let pixels = [1, 4, 2, 5, 3, 6].repeat(labels.len());
        for part in ["train", "test"] {
            let path = |what| folder.join(format!("emnist-{set}-{part}-{what}-ubyte"));
            let (images, labels_file) = (path("images-idx3"), path("labels-idx1"));
            fs::write(&images, encode_images(&images, shape, &pixels).unwrap()).unwrap();
            fs::write(&labels_file, encode_labels(&labels_file, labels).unwrap()).unwrap();
        }
    }

    #[test]
    fn letters_of_emnist_stand_upright_and_have_their_names() {
        let folder = tempfile::tempdir().unwrap();
        emnist(folder.path(), "letters", &[1, 26, 3]);
        for split in [Split::Train, Split::Test] {
            let set = load(folder.path(), split).unwrap();
            assert_eq!(set.shape(), ImageShape { channels: 1, height: 2, width: 3 });
            assert_eq!(set.pixels(), (1..=6).collect::<Vec<u8>>().repeat(3));
            assert_eq!(set.labels(), [0, 25, 2]);
            assert_eq!(set.classes().concat(), "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
            assert_eq!(set.occupied_classes(), ["A", "C", "Z"]);
            // Both cases are one class, which either names.
            let asked = ["c".to_string(), "A".to_string()];
            let kept = set.clone().filter(&asked).unwrap();
            assert_eq!((kept.classes().concat(), kept.labels()), ("CA".into(), &[1, 0][..]));
        }
        let (images, labels) = load_pictures(folder.path(), Split::Train).unwrap();
        assert_eq!((&images.pixels[..6], labels), (&[1, 2, 3, 4, 5, 6][..], Some(vec![1, 26, 3])));

        for (labels, index) in [([1, 0], 1), ([27, 1], 0)] {
            emnist(folder.path(), "letters", &labels);
            let error = load(folder.path(), Split::Train).unwrap_err().to_string();
            let want = format!("label {} of picture {index} is out of range", labels[index]);
            assert!(error.ends_with(&format!("{want}: they are 1 to 26")), "{error}");
        }
    }

    #[test]
    fn sets_of_emnist_may_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        for (set, labels) in
            [("digits", [0, 9]), ("balanced", [10, 46]), ("byclass", [38, 61]), ("mnist", [0, 1])]
        {
            emnist(folder.path(), set, &labels);
        }
        let of = |set: &str| load(&folder.path().join(set), Split::Train).unwrap();
        assert_eq!(of("emnist-digits").occupied_classes(), ["0", "9"]);
        assert_eq!(of("emnist-balanced").occupied_classes(), ["A", "t"]);
        assert_eq!(of("emnist-byclass").occupied_classes(), ["c", "z"]);
        let mnist = of("emnist-mnist");
        assert_eq!((mnist.name(), mnist.classes().len()), ("emnist-mnist", 2));
        assert_eq!(mnist.pixels()[..6], [1, 2, 3, 4, 5, 6]);
        // Small letters are classes of their own where they are written otherwise.
        let position = |set: &str, class| crate::class_position(of(set).classes(), class);
        assert_eq!(
            [position("emnist-balanced", "a"), position("emnist-balanced", "c")],
            [Some(36), Some(12)]
        );
        assert_eq!(position("emnist-byclass", "c"), Some(38));
        let error = load(folder.path(), Split::Train).unwrap_err();
        assert!(matches!(error, Error::AmbiguousFile { .. }));
        let error = load(&folder.path().join("emnist"), Split::Train).unwrap_err();
        assert!(matches!(error, Error::AmbiguousFile { .. }));
        let error = load(&folder.path().join("emnis"), Split::Train).unwrap_err();
        assert!(matches!(error, Error::Read { path, .. } if path.ends_with("emnis")));
    }

    #[test]
    fn absent_files_are_named() {
        let set = folder(&[("images-idx3-ubyte", &[1])]);
        let error = load(set.path(), Split::Train).unwrap_err();
        assert!(matches!(error, Error::MissingFile { wanted: "labels", .. }));
        let expected =
            format!("{}: no labels file: looked for labels-idx1-ubyte[.gz]", set.path().display());
        assert_eq!(error.to_string(), expected);

        let set = folder(&[
            ("train-images-idx3-ubyte", &[1]),
            ("train-labels-idx1-ubyte", &[1]),
            ("images-idx3-ubyte", &[1]),
        ]);
        let error = load(set.path(), Split::Test).unwrap_err();
        assert!(matches!(error, Error::MissingFile { wanted: "pictures", .. }));
        let expected = format!(
            "{}: no pictures file: looked for [*-]t10k-images-idx3-ubyte[.gz], \
             [*-]test-images-idx3-ubyte[.gz]",
            set.path().display()
        );
        assert_eq!(error.to_string(), expected);

        let error = load(&set.path().join("absent"), Split::Train).unwrap_err();
        assert!(matches!(error, Error::Read { .. }));
        assert!(error.to_string().contains("absent"));
    }

    #[test]
    fn ambiguous_files_are_named() {
        let set =
            folder(&[("train-images-idx3-ubyte", &[1]), ("a-train-images-idx3-ubyte.gz", &[1])]);
        let error = load(set.path(), Split::Train).unwrap_err();
        assert!(matches!(error, Error::AmbiguousFile { wanted: "pictures", .. }));
        let expected = format!(
            "{}: ambiguous pictures file: looked for [*-]train-images-idx3-ubyte[.gz], \
             found a-train-images-idx3-ubyte.gz, train-images-idx3-ubyte",
            set.path().display()
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn counts_must_match() {
        let set = folder(&[("images-idx3-ubyte", &[1, 2]), ("labels-idx1-ubyte", &[0])]);
        let error = load(set.path(), Split::Train).unwrap_err();
        assert!(matches!(error, Error::CountMismatch { images: 2, labels: 1, .. }));
        let text = error.to_string();
        assert!(text.contains("images-idx3-ubyte holds 2 pictures"), "{text}");
        assert!(text.contains("labels-idx1-ubyte holds 1 labels"), "{text}");
    }

    #[test]
    fn damage_is_reported_with_the_path() {
        let set = folder(&[("images-idx3-ubyte", &[1]), ("labels-idx1-ubyte", &[0])]);
        let path = set.path().join("labels-idx1-ubyte");
        fs::copy(set.path().join("images-idx3-ubyte"), &path).unwrap();
        let error = load(set.path(), Split::Train).unwrap_err();
        assert!(matches!(error, Error::Mislabelled { file, .. } if file == path));
    }
}
