//! A data set: images with labels in memory, and the class filter.

use crate::checks::check_labels;
use crate::{Error, ImageShape, Result};

/// Labelled images in memory: at least one, all of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    name: String,
    shape: ImageShape,
    images: Vec<u8>,
    labels: Vec<u32>,
    classes: Vec<String>,
}

impl Dataset {
    /// Creates a data set from its parts.
    ///
    /// # Shapes
    ///
    /// `images`: N x C x H x W values, contiguous; `labels`: N class indices, each less
    /// than the number of `classes`.
    ///
    /// # Range
    ///
    /// `images`: u8 in 0..=255.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] for no images or an empty shape, [`Error::PixelCount`] when
    /// pixels and labels do not match, [`Error::LabelOutOfRange`], and
    /// [`Error::RepeatedClass`] for two classes of one name.
    pub fn new(
        name: impl Into<String>,
        shape: ImageShape,
        images: Vec<u8>,
        labels: Vec<u32>,
        classes: Vec<String>,
    ) -> Result<Self> {
        let name = name.into();
        if shape.len() == 0 || labels.is_empty() {
            return Err(Error::Empty { name, count: labels.len(), shape });
        }
        let expected = labels.len().saturating_mul(shape.len());
        if images.len() != expected {
            return Err(Error::PixelCount { name, expected, found: images.len() });
        }
        check_labels(&name, &labels, classes.len())?;
        check_unique(&name, &classes)?;
        Ok(Self { name, shape, images, labels, classes })
    }

    /// Returns the name of the data set, e.g. `mnist`. Filters do not change it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the number of images, N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Returns whether there are no images. It is always false: [`Dataset::new`] rejects such sets.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Returns the shape of each image.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// Returns the pixels of all images: N x C x H x W values in 0..=255.
    pub fn pixels(&self) -> &[u8] {
        &self.images
    }

    /// Returns the pixels of image `index`: C x H x W values in 0..=255; `None` past the last.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        let len = self.shape.len();
        let start = index.checked_mul(len)?;
        self.images.get(start..start.checked_add(len)?)
    }

    /// Returns the class index of each image: N values less than the number of classes.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Returns the names of the classes. A label is an index into them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns the names of the classes that have images, in order.
    pub fn non_empty_classes(&self) -> Vec<String> {
        let mut has_images = vec![false; self.classes.len()];
        self.labels.iter().for_each(|&label| has_images[label as usize] = true);
        let names = self.classes.iter().zip(has_images);
        names.filter(|(_, has_images)| *has_images).map(|(name, _)| name.clone()).collect()
    }

    /// Keeps only the images of the given classes, e.g. `["5"]`.
    ///
    /// The images keep their order. The classes take the order given here, and the labels are
    /// renumbered to match: after `filter_classes(&["7", "2"])` the label of the sevens is 0.
    /// Names are looked up with [`class_position`].
    ///
    /// # Errors
    ///
    /// [`Error::NoClass`] for an empty list, [`Error::UnknownClass`],
    /// [`Error::RepeatedClass`], and [`Error::EmptyClass`] for a class without images.
    pub fn filter_classes(mut self, classes: &[String]) -> Result<Self> {
        let kept = self.positions(classes)?;
        let mut new_labels = vec![None; self.classes.len()];
        (0..).zip(&kept).for_each(|(label, &old)| new_labels[old] = Some(label));
        let len = self.shape.len();
        let mut counts = vec![0_usize; classes.len()];
        let mut count = 0;
        for index in 0..self.labels.len() {
            let Some(label) = new_labels[self.labels[index] as usize] else {
                continue;
            };
            let start = index * len;
            self.images.copy_within(start..start + len, count * len);
            self.labels[count] = label;
            counts[label as usize] += 1;
            count += 1;
        }
        if let Some(empty) = counts.iter().position(|&count| count == 0) {
            return Err(Error::EmptyClass {
                dataset: self.name,
                class: self.classes[kept[empty]].clone(),
            });
        }
        self.images.truncate(count * len);
        self.images.shrink_to_fit();
        self.labels.truncate(count);
        self.labels.shrink_to_fit();
        self.classes = kept.into_iter().map(|old| std::mem::take(&mut self.classes[old])).collect();
        Ok(self)
    }

    /// Returns the positions of the named classes.
    fn positions(&self, names: &[String]) -> Result<Vec<usize>> {
        if names.is_empty() {
            return Err(Error::NoClass { dataset: self.name.clone(), known: self.classes.clone() });
        }
        let mut positions = Vec::with_capacity(names.len());
        for class in names {
            let (dataset, class) = (self.name.clone(), class.clone());
            match class_position(&self.classes, &class) {
                None => {
                    let known = self.classes.clone();
                    return Err(Error::UnknownClass { dataset, class, known });
                }
                Some(position) if positions.contains(&position) => {
                    return Err(Error::RepeatedClass { dataset, class });
                }
                Some(position) => positions.push(position),
            }
        }
        Ok(positions)
    }
}

/// Returns the position of the class called `name`.
///
/// An exact match comes first. Without one, a match that ignores ASCII case counts if it is the only
/// one.
pub fn class_position(classes: &[String], name: &str) -> Option<usize> {
    let mut alike = (0..classes.len()).filter(|&i| classes[i].eq_ignore_ascii_case(name));
    let only = || alike.next().filter(|_| alike.next().is_none());
    classes.iter().position(|class| class == name).or_else(only)
}

fn check_unique(dataset: &str, classes: &[String]) -> Result<()> {
    for (index, class) in classes.iter().enumerate() {
        if classes[..index].contains(class) {
            return Err(Error::RepeatedClass { dataset: dataset.into(), class: class.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.into()).collect()
    }

    /// Five images of 1 x 1 x 2; class "d" has none.
    fn toy() -> Dataset {
        let shape = ImageShape { channels: 1, height: 1, width: 2 };
        let images = vec![0, 1, 10, 11, 20, 21, 30, 31, 40, 41];
        let classes = names(&["a", "b", "c", "d"]);
        Dataset::new("toy", shape, images, vec![2, 0, 1, 2, 0], classes).unwrap()
    }

    #[test]
    fn images_by_index() {
        let toy = toy();
        assert_eq!(toy.len(), 5);
        assert_eq!(toy.image(4), Some(&[40, 41][..]));
        assert_eq!(toy.image(5), None);
        assert_eq!(toy.image(usize::MAX), None);
    }

    #[test]
    fn filtering_keeps_the_order_of_images_and_renumbers_labels() {
        let kept = toy().filter_classes(&names(&["c", "a"])).unwrap();
        assert_eq!(kept.pixels(), [0, 1, 10, 11, 30, 31, 40, 41]);
        assert_eq!(kept.labels(), [0, 1, 0, 1]);
        assert_eq!(kept.classes(), ["c", "a"]);
        assert_eq!(kept.name(), "toy");
    }

    #[test]
    fn class_names_ignore_case_if_unambiguous() {
        let classes = names(&["a", "A", "Cat", "dog"]);
        for (name, position) in [
            ("a", Some(0)),
            ("A", Some(1)),
            ("cat", Some(2)),
            ("DOG", Some(3)),
            ("c", None),
            ("", None),
        ] {
            assert_eq!(class_position(&classes, name), position, "{name}");
        }
        assert_eq!(class_position(&names(&["Cat", "CAT"]), "cat"), None);
        assert_eq!(toy().filter_classes(&names(&["C"])).unwrap().classes(), ["c"]);
        let twice = toy().filter_classes(&names(&["a", "A"])).unwrap_err();
        assert!(matches!(twice, Error::RepeatedClass { .. }));
    }

    #[test]
    fn empty_classes_are_left_out() {
        assert_eq!(toy().non_empty_classes(), ["a", "b", "c"]);
    }

    #[test]
    fn bad_class_filters_are_errors() {
        let error = |classes: &[&str]| toy().filter_classes(&names(classes)).unwrap_err();
        let unknown = error(&["a", "e"]);
        assert!(matches!(unknown, Error::UnknownClass { .. }));
        assert_eq!(unknown.to_string(), r#"toy has no class "e"; it has a, b, c, d"#);
        let repeated = error(&["a", "b", "a"]);
        assert!(matches!(repeated, Error::RepeatedClass { .. }));
        assert_eq!(repeated.to_string(), r#"toy: class "a" is named twice"#);
        let empty = error(&["a", "d"]);
        assert!(matches!(empty, Error::EmptyClass { .. }));
        assert_eq!(empty.to_string(), r#"toy has no images of class "d""#);
        let none = error(&[]);
        assert!(matches!(none, Error::NoClass { .. }));
        assert!(none.to_string().contains("a, b, c, d"), "{none}");
    }

    #[test]
    fn new_checks_lengths_labels_and_names() {
        let shape = toy().shape();
        let new = |shape, images: &[u8], labels: &[u32], classes: &[&str]| {
            Dataset::new("t", shape, images.into(), labels.into(), names(classes)).unwrap_err()
        };
        let short = new(shape, &[0; 3], &[0, 0], &["a"]);
        assert!(matches!(short, Error::PixelCount { .. }));
        assert_eq!(short.to_string(), "t: expected 4 bytes of pixels, found 3");
        let label = new(shape, &[0; 4], &[0, 1], &["a"]);
        assert!(matches!(label, Error::LabelOutOfRange { .. }));
        assert_eq!(
            label.to_string(),
            "t: label 1 of image 1 is out of range: labels are at least 0 and less than 1"
        );
        let twice = new(shape, &[0; 4], &[0, 1], &["a", "a"]);
        assert!(matches!(twice, Error::RepeatedClass { .. }));
        let none = new(shape, &[], &[], &["a"]);
        assert!(matches!(none, Error::Empty { .. }));
        let flat = ImageShape { height: 0, ..shape };
        assert!(matches!(new(flat, &[], &[0], &["a"]), Error::Empty { .. }));
        let huge = ImageShape { channels: usize::MAX, height: 2, width: 2 };
        let huge = new(huge, &[0; 4], &[0], &["a"]);
        assert!(matches!(huge, Error::PixelCount { .. }));
    }
}
