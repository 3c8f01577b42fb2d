//! Images in memory, with or without labels.

use std::fs;
use std::path::{Path, PathBuf};

use crate::checks::count_images;
use crate::{Dataset, Error, ImageShape, Result, Split, idx, png};

/// One or more images of one shape, with or without labels.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageSet {
    /// The shape of each image.
    pub shape: ImageShape,
    /// N x C x H x W values in 0..=255, contiguous.
    pub pixels: Vec<u8>,
    /// N labels as stored in their file.
    pub labels: Option<Vec<u32>>,
}

impl ImageSet {
    /// Loads images from a PNG file, an IDX file or a directory.
    ///
    /// A directory holds PNG files, which are sorted by name, or IDX files, see [`idx::load`]; there
    /// labels may be missing, and the training split is loaded if there are two.
    ///
    /// # Errors
    ///
    /// [`Error::NoImages`], [`Error::MixedShapes`], and those of [`png::read`] and [`idx::load`].
    pub fn load(path: &Path) -> Result<Self> {
        let unreadable = |source| Error::Read { path: path.into(), source };
        if !fs::metadata(path).map_err(unreadable)?.is_dir() {
            if is_png(path) {
                return Self::from_png(&[path.into()], path);
            }
            let images = idx::read_images(path)?;
            return Self::new(images.shape, images.pixels, None);
        }
        let mut pngs = Vec::new();
        for entry in fs::read_dir(path).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?.path();
            if is_png(&file) && !file.is_dir() {
                pngs.push(file);
            }
        }
        if !pngs.is_empty() {
            pngs.sort();
            return Self::from_png(&pngs, path);
        }
        match idx::load_images(path, Split::Train) {
            Ok((images, labels)) => {
                let labels = labels.map(|labels| labels.into_iter().map(u32::from).collect());
                Self::new(images.shape, images.pixels, labels)
            }
            Err(Error::MissingFile { .. }) => Err(no_images(path)),
            Err(error) => Err(error),
        }
    }

    /// Images of one size, with as many channels as any of them has.
    fn from_png(files: &[PathBuf], path: &Path) -> Result<Self> {
        let (mut images, mut expected) = (Vec::new(), None);
        for file in files {
            let (found, pixels) = png::read(file)?;
            let expected = expected.get_or_insert(found);
            if (found.height, found.width) != (expected.height, expected.width) {
                let expected = *expected;
                return Err(Error::MixedShapes { path: file.clone(), found, expected });
            }
            expected.channels = expected.channels.max(found.channels);
            images.push(pixels);
        }
        let Some(shape) = expected else { return Err(no_images(path)) };
        let area = shape.height * shape.width;
        let all = images.iter().flat_map(|pixels| with_channels(pixels, area, shape.channels));
        Self::new(shape, all.collect(), None)
    }

    /// Creates an image set from its parts.
    ///
    /// # Shapes
    ///
    /// `pixels`: N x C x H x W values, contiguous, N at least 1; `labels`: N values.
    ///
    /// # Range
    ///
    /// `pixels`: u8 in 0..=255.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] for no images or an empty shape; [`Error::PixelCount`] if `pixels` is not a
    /// whole number of images, or another number than `labels`.
    pub fn new(shape: ImageShape, pixels: Vec<u8>, labels: Option<Vec<u32>>) -> Result<Self> {
        let name = "image set";
        let count = count_images(name, shape, pixels.len())?;
        if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != count) {
            return Err(Error::PixelCount {
                name: name.into(),
                expected: labels.len().saturating_mul(shape.len()),
                found: pixels.len(),
            });
        }
        Ok(Self { shape, pixels, labels })
    }

    /// Replaces the labels, which must be one per image.
    #[must_use]
    pub fn with_labels(self, labels: Option<Vec<u32>>) -> Self {
        Self { labels, ..self }
    }

    /// Returns the number of images, N.
    pub fn len(&self) -> usize {
        self.pixels.len() / self.shape.len().max(1)
    }

    /// Returns whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }
}

impl From<&Dataset> for ImageSet {
    fn from(dataset: &Dataset) -> Self {
        let (pixels, labels) = (dataset.pixels().to_vec(), Some(dataset.labels().to_vec()));
        Self { shape: dataset.shape(), pixels, labels }
    }
}

/// An image of `area` pixels in more channels: grey in each of three colours, opaque.
fn with_channels(pixels: &[u8], area: usize, channels: usize) -> Vec<u8> {
    let mut image = pixels.to_vec();
    while image.len() < area * channels.min(3) {
        image.extend_from_slice(&pixels[..area]);
    }
    image.resize(area * channels, u8::MAX);
    image
}

fn no_images(directory: &Path) -> Error {
    Error::NoImages { path: directory.into(), looked_for: "IDX files and *.png" }
}

fn is_png(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 1, height: 2, width: 3 };

    #[test]
    fn a_directory_of_idx_files_with_and_without_labels() {
        let directory = tempfile::tempdir().unwrap();
        let pixels: Vec<u8> = (0..12).collect();
        idx::write(directory.path(), SHAPE, &pixels, None).unwrap();
        let mut want = ImageSet { shape: SHAPE, pixels: pixels.clone(), labels: None };
        assert_eq!(ImageSet::load(directory.path()).unwrap(), want);
        let file = directory.path().join("images-idx3-ubyte");
        assert_eq!(ImageSet::load(&file).unwrap(), want);
        fs::remove_file(&file).unwrap();
        idx::write(directory.path(), SHAPE, &pixels, Some(&[7, 1])).unwrap();
        want.labels = Some(vec![7, 1]);
        let found = ImageSet::load(directory.path()).unwrap();
        assert_eq!((found.len(), found), (2, want));
        // A label file of another length is an error.
        fs::write(
            directory.path().join("labels-idx1-ubyte"),
            idx::encode_labels(&file, &[1]).unwrap(),
        )
        .unwrap();
        assert!(matches!(ImageSet::load(directory.path()), Err(Error::CountMismatch { .. })));
    }

    #[test]
    fn png_files_of_a_directory_are_sorted_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let none = ImageSet::load(directory.path()).unwrap_err();
        assert!(none.to_string().ends_with("no images in it; looked for IDX files and *.png"));
        for (name, first) in [("b.png", 6), ("a.PNG", 0)] {
            let pixels: Vec<u8> = (first..first + 6).collect();
            png::write(&directory.path().join(name), SHAPE, &pixels).unwrap();
        }
        let found = ImageSet::load(directory.path()).unwrap();
        assert_eq!(found.pixels, (0..12).collect::<Vec<u8>>());
        let wide = ImageShape { channels: 3, height: 1, width: 2 };
        png::write(&directory.path().join("c.png"), wide, &[1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(
            ImageSet::load(&directory.path().join("c.png")).unwrap().pixels,
            [1, 2, 3, 4, 5, 6],
            "what is written is what is read"
        );
        let mixed = ImageSet::load(directory.path()).unwrap_err().to_string();
        assert!(mixed.contains("c.png") && mixed.contains("3 x 1 x 2"), "{mixed}");
        for (name, shape) in [("c", SHAPE), ("d", ImageShape { channels: 3, ..SHAPE })] {
            let pixels: Vec<u8> = (0..shape.len() as u8).collect();
            png::write(&directory.path().join(format!("{name}.png")), shape, &pixels).unwrap();
        }
        let pixels: Vec<u8> = (0..24).collect();
        let clear = ImageShape { channels: 4, ..SHAPE };
        png::write(&directory.path().join("e.png"), clear, &pixels).unwrap();
        let found = ImageSet::load(directory.path()).unwrap();
        assert_eq!((found.len(), found.shape), (5, clear));
        let (grey, opaque): (Vec<u8>, Vec<u8>) = ((0..6).collect(), vec![255; 6]);
        assert_eq!(found.pixels[..24], [&grey[..], &grey, &grey, &opaque].concat());
        assert_eq!(found.pixels[72..90], pixels[..18]);
        assert_eq!((&found.pixels[90..96], &found.pixels[96..]), (&opaque[..], &pixels[..]));
        fs::write(directory.path().join("d.png"), b"no image").unwrap();
        let broken = ImageSet::load(&directory.path().join("d.png")).unwrap_err();
        assert!(matches!(broken, Error::Decode { .. }));
    }
}
