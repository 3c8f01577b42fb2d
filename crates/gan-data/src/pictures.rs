//! Any set of pictures to be looked at, with labels or without.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Dataset, Error, ImageShape, Result, Split, idx, picture};

/// Pictures of one shape, at least one, and their labels if they have any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pictures {
    /// The shape of each.
    pub shape: ImageShape,
    /// N x C x H x W values in 0..=255, contiguous.
    pub pixels: Vec<u8>,
    /// N labels as their file has them.
    pub labels: Option<Vec<u32>>,
}

impl Pictures {
    /// Reads a PNG picture, a file of IDX pictures, a folder of IDX files as [`idx::load`] takes
    /// them (the training part if there are two), with labels or without, or a folder of PNG
    /// pictures, in the order of their names.
    ///
    /// # Errors
    ///
    /// Files that cannot be read or are damaged, [`Error::NoPictures`], [`Error::MixedShapes`].
    pub fn load(path: &Path) -> Result<Self> {
        let unreadable = |source| Error::Read { path: path.into(), source };
        if !fs::metadata(path).map_err(unreadable)?.is_dir() {
            if is_png(path) {
                return Self::of_png(&[path.into()], path);
            }
            let images = idx::read_images(path)?;
            return Self::new(path, images.shape, images.pixels, None);
        }
        let mut pngs = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if is_png(&file) && file.is_file() {
                pngs.push(file);
            }
        }
        if !pngs.is_empty() {
            pngs.sort();
            return Self::of_png(&pngs, path);
        }
        match idx::load_pictures(path, Split::Train) {
            Ok((images, labels)) => {
                let labels = labels.map(|labels| labels.into_iter().map(u32::from).collect());
                Self::new(path, images.shape, images.pixels, labels)
            }
            Err(Error::MissingFile { .. }) => Err(no_pictures(path)),
            Err(error) => Err(error),
        }
    }

    fn of_png(files: &[PathBuf], path: &Path) -> Result<Self> {
        let (mut all, mut expected) = (Vec::new(), None);
        for file in files {
            let (found, pixels) = picture::read(file)?;
            let expected = *expected.get_or_insert(found);
            if found != expected {
                return Err(Error::MixedShapes { path: file.clone(), found, expected });
            }
            all.extend(pixels);
        }
        match expected {
            Some(shape) => Self::new(path, shape, all, None),
            None => Err(no_pictures(path)),
        }
    }

    fn new(
        path: &Path,
        shape: ImageShape,
        pixels: Vec<u8>,
        labels: Option<Vec<u32>>,
    ) -> Result<Self> {
        shape.count(&path.display().to_string(), pixels.len())?;
        Ok(Self { shape, pixels, labels })
    }

    /// Number of pictures, N.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.shape.len()
    }

    /// Whether there are none, which [`Pictures::load`] does not allow.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }
}

impl From<&Dataset> for Pictures {
    fn from(set: &Dataset) -> Self {
        let (pixels, labels) = (set.pixels().to_vec(), Some(set.labels().to_vec()));
        Self { shape: set.shape(), pixels, labels }
    }
}

fn no_pictures(folder: &Path) -> Error {
    Error::NoPictures { folder: folder.into(), looked_for: "IDX files and *.png" }
}

fn is_png(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 1, height: 2, width: 3 };

    #[test]
    fn a_folder_of_idx_files_with_and_without_labels() {
        let folder = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..12).collect();
        idx::write(folder.path(), SHAPE, &pixels, None).unwrap();
        let mut want = Pictures { shape: SHAPE, pixels: pixels.clone(), labels: None };
        assert_eq!(Pictures::load(folder.path()).unwrap(), want);
        let file = folder.path().join("images-idx3-ubyte");
        assert_eq!(Pictures::load(&file).unwrap(), want);
        idx::write(folder.path(), SHAPE, &pixels, Some(&[7, 1])).unwrap();
        want.labels = Some(vec![7, 1]);
        let found = Pictures::load(folder.path()).unwrap();
        assert_eq!((found.len(), found), (2, want));
        // Labels that do not fit are a fault, not none.
        fs::write(
            folder.path().join("labels-idx1-ubyte"),
            idx::encode_labels(&file, &[1]).unwrap(),
        )
        .unwrap();
        assert!(matches!(Pictures::load(folder.path()), Err(Error::CountMismatch { .. })));
    }

    #[test]
    fn pictures_in_a_folder_come_in_the_order_of_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let none = Pictures::load(folder.path()).unwrap_err();
        assert!(none.to_string().ends_with("no pictures in it; looked for IDX files and *.png"));
        for (name, first) in [("b.png", 6), ("a.PNG", 0)] {
            let pixels: Vec<u8> = (first..first + 6).collect();
            picture::write(&folder.path().join(name), SHAPE, &pixels).unwrap();
        }
        let found = Pictures::load(folder.path()).unwrap();
        assert_eq!(found.pixels, (0..12).collect::<Vec<u8>>());
        let wide = ImageShape { channels: 3, height: 1, width: 2 };
        picture::write(&folder.path().join("c.png"), wide, &[1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(
            Pictures::load(&folder.path().join("c.png")).unwrap().pixels,
            [1, 2, 3, 4, 5, 6],
            "what is written is what is read"
        );
        let mixed = Pictures::load(folder.path()).unwrap_err().to_string();
        assert!(mixed.contains("c.png") && mixed.contains("channels: 3"), "{mixed}");
        fs::write(folder.path().join("d.png"), b"no picture").unwrap();
        let broken = Pictures::load(&folder.path().join("d.png")).unwrap_err();
        assert!(matches!(broken, Error::Unreadable { .. }));
    }
}
