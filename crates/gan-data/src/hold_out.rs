//! A part of a data set that is held out from training.

use crate::order::order;
use crate::{Dataset, Result};

/// The seed of the choice. It is not the training's, so that runs of all seeds hold out the same
/// images.
const SEED: u64 = 0;

impl Dataset {
    /// Splits the data set into the images to train on and those that are held out: of each class the
    /// number of images nearest to `fraction`, but never all.
    ///
    /// Both parts have the same classes, and their images keep their order. Exact copies of one image of
    /// a class stay together in one part, except where their number makes that impossible. Which images
    /// of a class are held out depends on their number, their copies and `fraction` alone, so a filter of
    /// classes may come before or after. Returns `None` for the held-out part if it has no image.
    ///
    /// # Range
    ///
    /// `fraction`: [0, 1); values outside are clamped, and NaN counts as 0.
    ///
    /// # Errors
    ///
    /// A [`Dataset`] that [`Dataset::new`] accepted causes none.
    pub fn hold_out(self, fraction: f64) -> Result<(Self, Option<Self>)> {
        let is_held_out = held_out(&self, fraction);
        if !is_held_out.contains(&true) {
            return Ok((self, None));
        }
        let part = |held_out: bool| {
            let indices = (0..self.len()).filter(|&index| is_held_out[index] == held_out);
            let labels = indices.clone().map(|index| self.labels()[index]).collect();
            let pixels = indices.filter_map(|index| self.image(index)).flatten().copied().collect();
            Self::new(self.name(), self.shape(), pixels, labels, self.classes().to_vec())
        };
        Ok((part(false)?, Some(part(true)?)))
    }
}

/// Returns whether each image is held out.
fn held_out(set: &Dataset, fraction: f64) -> Vec<bool> {
    let mut of_class = vec![Vec::new(); set.classes().len()];
    let labels = set.labels().iter().enumerate();
    labels.for_each(|(index, &label)| of_class[label as usize].push(index));
    let mut held_out = vec![false; set.len()];
    for images in of_class {
        // The conversion clamps, and takes NaN to 0.
        let count = (fraction * images.len() as f64).round() as usize;
        let mut left = count.min(images.len().saturating_sub(1));
        if left == 0 {
            continue;
        }
        // Copies follow each other.
        let mut sorted = images.clone();
        sorted.sort_by_key(|&image| set.image(image));
        let copies = |image: usize| {
            let pixels = set.image(image);
            let start = sorted.partition_point(|&other| set.image(other) < pixels);
            let end = sorted.partition_point(|&other| set.image(other) <= pixels);
            &sorted[start..end]
        };
        let order = order(images.len(), SEED, 0).into_iter().map(|place| images[place]);
        for image in order.clone() {
            if held_out[image] || left == 0 {
                continue;
            }
            let group = copies(image);
            if group.len() <= left {
                group.iter().for_each(|&image| held_out[image] = true);
                left -= group.len();
            }
        }
        // Those that remain have more copies than are wanted, so a part of one is taken.
        let rest = order.clone().find(|&image| left > 0 && !held_out[image]).map(copies);
        rest.iter().flat_map(|group| &group[..left]).for_each(|&image| held_out[image] = true);
    }
    held_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;

    /// Images of one pixel, their number, of classes "a", "b" and "c".
    fn numbered(labels: &[u32]) -> Dataset {
        let shape = ImageShape { channels: 1, height: 1, width: 1 };
        let pixels = (0..labels.len()).map(|number| number as u8).collect();
        let classes = ["a", "b", "c"].map(String::from).into();
        Dataset::new("numbers", shape, pixels, labels.to_vec(), classes).unwrap()
    }

    fn parts(labels: &[u32], fraction: f64) -> (Dataset, Dataset) {
        let (training, held_out) = numbered(labels).hold_out(fraction).unwrap();
        (training, held_out.unwrap())
    }

    #[test]
    fn the_parts_are_the_whole() {
        let labels = [0, 1, 1].repeat(20);
        let (training, held_out) = parts(&labels, 0.1);
        let of = |set: &Dataset, label| set.labels().iter().filter(|&&l| l == label).count();
        assert_eq!([0, 1, 2].map(|label| of(&held_out, label)), [2, 4, 0]);
        assert_eq!([0, 1, 2].map(|label| of(&training, label)), [18, 36, 0]);
        assert_eq!((training.classes(), training.name()), (held_out.classes(), "numbers"));
        let mut all = [training.pixels(), held_out.pixels()].concat();
        assert!(training.pixels().is_sorted() && held_out.pixels().is_sorted());
        all.sort_unstable();
        assert_eq!(all, numbered(&labels).pixels());
        for set in [training, held_out] {
            let label = |&pixel: &u8| labels[pixel as usize];
            assert_eq!(set.labels(), set.pixels().iter().map(label).collect::<Vec<_>>());
        }
    }

    /// Runs that are resumed or evaluated later hold out the same images.
    #[test]
    fn the_choice_never_changes() {
        assert_eq!(parts(&[0; 60], 0.1).1.pixels(), [6, 12, 23, 31, 34, 59]);
    }

    /// Images of one pixel and one class.
    fn images(pixels: Vec<u8>) -> Dataset {
        let shape = ImageShape { channels: 1, height: 1, width: 1 };
        let labels = vec![0; pixels.len()];
        Dataset::new("copies", shape, pixels, labels, vec!["a".into()]).unwrap()
    }

    #[test]
    fn copies_stay_together() {
        for size in [2, 3, 6] {
            let set = images((0..60).map(|number| number / size).collect());
            let (training, held_out) = set.hold_out(0.1).unwrap();
            let held_out = held_out.unwrap();
            assert_eq!((training.len(), held_out.len()), (54, 6));
            assert!(held_out.pixels().iter().all(|image| !training.pixels().contains(image)));
        }
        // Copies that are too many for the part to hold out are trained on, as long as there are others.
        let set = images((0..60u8).map(|number| number.saturating_sub(50)).collect());
        let held_out = set.hold_out(0.1).unwrap().1.unwrap();
        assert!(held_out.len() == 6 && !held_out.pixels().contains(&0));
        assert_eq!(images(vec![7; 60]).hold_out(0.1).unwrap().1.unwrap().len(), 6);
        // Where all are too many, only those of one image are in both parts.
        let set = images((0..60).map(|number| number / 20).collect());
        let held_out = set.hold_out(0.1).unwrap().1.unwrap();
        assert_eq!(held_out.pixels(), [held_out.pixels()[0]; 6]);
    }

    #[test]
    fn a_filter_may_come_first() {
        let labels = [0, 1, 1, 2].repeat(10);
        let classes = ["c".to_string(), "b".to_string()];
        let before = numbered(&labels).filter_classes(&classes).unwrap().hold_out(0.2).unwrap();
        let (training, held_out) = parts(&labels, 0.2);
        assert_eq!(before.0, training.filter_classes(&classes).unwrap());
        assert_eq!(before.1.unwrap(), held_out.filter_classes(&classes).unwrap());
    }

    #[test]
    fn a_class_keeps_an_image() {
        let (training, held_out) = parts(&[0, 0, 0, 1], 1.0);
        assert_eq!((training.labels(), held_out.labels()), (&[0, 1][..], &[0, 0][..]));
        for fraction in [0.0, -1.0, f64::NAN, 0.1] {
            assert_eq!(numbered(&[0, 0, 1]).hold_out(fraction).unwrap().1, None, "{fraction}");
        }
    }
}
