//! Pictures with labels in memory, and the class filter.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Channels, height and width of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageShape {
    /// 1 for grey, 3 for red, green, blue.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl ImageShape {
    /// Values in a picture: channels x height x width, `usize::MAX` if that overflows.
    #[allow(clippy::len_without_is_empty)] // a size, not a container
    pub fn len(&self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }

    /// How many pictures of this shape `pixels` bytes are; `name` says what they are for.
    ///
    /// # Errors
    ///
    /// [`Error::Empty`] for no pictures or an empty shape, [`Error::PixelCount`] for a
    /// part of a picture.
    pub(crate) fn count(&self, name: &str, pixels: usize) -> Result<usize> {
        let len = self.len();
        if len == 0 || pixels == 0 {
            return Err(Error::Empty {
                name: name.into(),
                count: 0,
                channels: self.channels,
                height: self.height,
                width: self.width,
            });
        }
        if !pixels.is_multiple_of(len) {
            return Err(Error::PixelCount {
                name: name.into(),
                expected: pixels.div_ceil(len).saturating_mul(len),
                found: pixels,
            });
        }
        Ok(pixels / len)
    }
}

/// Labelled pictures in memory: at least one, all of one shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    name: String,
    shape: ImageShape,
    images: Vec<u8>,
    labels: Vec<u32>,
    classes: Vec<String>,
}

impl Dataset {
    /// Puts a set together.
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
    /// [`Error::Empty`] for no pictures or an empty shape, [`Error::PixelCount`] when
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
            return Err(Error::Empty {
                name,
                count: labels.len(),
                channels: shape.channels,
                height: shape.height,
                width: shape.width,
            });
        }
        let expected = labels.len().saturating_mul(shape.len());
        if images.len() != expected {
            return Err(Error::PixelCount { name, expected, found: images.len() });
        }
        check_labels(&name, &labels, classes.len())?;
        check_unique(&name, &classes)?;
        Ok(Self { name, shape, images, labels, classes })
    }

    /// Short name of the set, e.g. `mnist`; a filter does not change it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of pictures, N.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are no pictures, which [`Dataset::new`] does not allow.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Shape of each picture.
    pub fn shape(&self) -> ImageShape {
        self.shape
    }

    /// All pictures: N x C x H x W values in 0..=255.
    pub fn pixels(&self) -> &[u8] {
        &self.images
    }

    /// Picture number `index`: C x H x W values in 0..=255; `None` past the last.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        let len = self.shape.len();
        let start = index.checked_mul(len)?;
        self.images.get(start..start.checked_add(len)?)
    }

    /// Class index of each picture, N values less than the number of classes.
    pub fn labels(&self) -> &[u32] {
        &self.labels
    }

    /// Names of the classes; a label is an index into them.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Names of the classes that have pictures, in order.
    pub fn occupied_classes(&self) -> Vec<String> {
        let mut occupied = vec![false; self.classes.len()];
        self.labels.iter().for_each(|&label| occupied[label as usize] = true);
        let names = self.classes.iter().zip(occupied);
        names.filter(|(_, occupied)| *occupied).map(|(name, _)| name.clone()).collect()
    }

    /// Keeps the pictures of the classes named, e.g. `"5"`.
    ///
    /// Pictures keep their order. Classes take the order given here, and labels are
    /// renumbered to it: after `filter(&["7", "2"])` the sevens have label 0. Names are found as by
    /// [`class_position`], and become those of the set.
    ///
    /// # Errors
    ///
    /// [`Error::NoClass`] for an empty list, [`Error::UnknownClass`],
    /// [`Error::RepeatedClass`], and [`Error::EmptyClass`] for a class without pictures.
    pub fn filter(mut self, classes: &[String]) -> Result<Self> {
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

    /// Where the classes named stand among those there are.
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

/// Where the class of a name stands: the one that is called so, else the only one that is but for
/// the case of letters.
pub fn class_position(classes: &[String], name: &str) -> Option<usize> {
    let mut alike = (0..classes.len()).filter(|&i| classes[i].eq_ignore_ascii_case(name));
    let only = || alike.next().filter(|_| alike.next().is_none());
    classes.iter().position(|class| class == name).or_else(only)
}

/// Checks that all labels are less than `classes`.
pub(crate) fn check_labels(name: &str, labels: &[u32], classes: usize) -> Result<()> {
    let beyond = |&label: &u32| usize::try_from(label).map_or(true, |label| label >= classes);
    match labels.iter().position(beyond) {
        None => Ok(()),
        Some(index) => {
            Err(Error::LabelOutOfRange { name: name.into(), index, label: labels[index], classes })
        }
    }
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

    /// Five pictures of 1 x 1 x 2; class "d" has none.
    fn toy() -> Dataset {
        let shape = ImageShape { channels: 1, height: 1, width: 2 };
        let images = vec![0, 1, 10, 11, 20, 21, 30, 31, 40, 41];
        let classes = names(&["a", "b", "c", "d"]);
        Dataset::new("toy", shape, images, vec![2, 0, 1, 2, 0], classes).unwrap()
    }

    #[test]
    fn pictures_are_found_by_number() {
        let toy = toy();
        assert_eq!(toy.len(), 5);
        assert_eq!(toy.image(4), Some(&[40, 41][..]));
        assert_eq!(toy.image(5), None);
        assert_eq!(toy.image(usize::MAX), None);
    }

    #[test]
    fn filter_keeps_the_order_of_pictures_and_renumbers_labels() {
        let kept = toy().filter(&names(&["c", "a"])).unwrap();
        assert_eq!(kept.pixels(), [0, 1, 10, 11, 30, 31, 40, 41]);
        assert_eq!(kept.labels(), [0, 1, 0, 1]);
        assert_eq!(kept.classes(), ["c", "a"]);
        assert_eq!(kept.name(), "toy");
    }

    #[test]
    fn the_case_of_a_name_counts_where_it_must() {
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
        assert_eq!(toy().filter(&names(&["C"])).unwrap().classes(), ["c"]);
        let twice = toy().filter(&names(&["a", "A"])).unwrap_err();
        assert!(matches!(twice, Error::RepeatedClass { .. }));
    }

    #[test]
    fn classes_without_pictures_are_known() {
        assert_eq!(toy().occupied_classes(), ["a", "b", "c"]);
    }

    #[test]
    fn filter_rejects_what_it_cannot_keep() {
        let error = |classes: &[&str]| toy().filter(&names(classes)).unwrap_err();
        let unknown = error(&["a", "e"]);
        assert!(matches!(unknown, Error::UnknownClass { .. }));
        assert_eq!(unknown.to_string(), r#"toy has no class "e"; it has a, b, c, d"#);
        let repeated = error(&["a", "b", "a"]);
        assert!(matches!(repeated, Error::RepeatedClass { .. }));
        assert_eq!(repeated.to_string(), r#"toy: class "a" is named twice"#);
        let empty = error(&["a", "d"]);
        assert!(matches!(empty, Error::EmptyClass { .. }));
        assert_eq!(empty.to_string(), r#"toy has no pictures of class "d""#);
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
            "t: label 1 of picture 1 is out of range: there are 1 classes"
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

    #[test]
    fn shape_is_plain_json() {
        let json = serde_json::to_string(&toy().shape()).unwrap();
        assert_eq!(json, r#"{"channels":1,"height":1,"width":2}"#);
        let back: ImageShape = serde_json::from_str(&json).unwrap();
        assert_eq!(back, toy().shape());
    }
}
