//! What each number of a report says.

/// The beginning of a number's name, and what it says. The first that fits counts.
const MEANINGS: [(&str, &str); 24] = [
    ("step", "updates of the networks"),
    ("epoch", "how often every training image was seen"),
    ("fd-", "Frechet distance of the features of generated and real images; 0 is best"),
    ("kid-std-", "standard deviation of the KID over its subsets"),
    ("kid-", "squared MMD of the features of generated and real images (KID); 0 is best"),
    ("swd-", "sliced Wasserstein distance of details of one size; 0 is best"),
    ("precision", "fraction of generated images that are like some real one; 1 is best"),
    ("recall", "fraction of real images that are like some generated one; 1 is best"),
    ("density", "how closely real images surround generated ones; about 1 is best"),
    ("coverage", "fraction of real images with a generated one near them; 1 is best"),
    ("class-accuracy", "fraction recognised as the class asked for; 1 is best"),
    ("mean-confidence", "how sure the classifier is of the classes; 1 at most"),
    ("nearest-training-image", "median distance to the nearest training image, in pixel values"),
    ("copies-of-training-images", "fraction that equals a training image; 0 is best"),
    ("discriminator-loss", "the discriminator's loss; falling to 0, it has won"),
    ("generator-loss", "the generator's loss; neither loss tells how good images are"),
    ("real-score", "mean probability that the discriminator gives real images of being real"),
    ("fake-score", "the same for generated images; equal scores are a draw"),
    ("accuracy", "fraction of images that the discriminator tells right; 0.5 is a draw"),
    ("images-per-second", "real images trained on, per second"),
    ("real updates", "discriminator's updates on real images since the line before"),
    ("fake updates", "discriminator's updates on generated images since the line before"),
    ("generator updates", "generator's updates since the line before"),
    ("collapse", "why the images count as collapsed"),
];

/// What the number of this name says, if it is known.
pub(super) fn meaning(name: &str) -> Option<&'static str> {
    Some(MEANINGS.get(position(name))?.1)
}

/// The place of this name among those that are known, for tables in one order; beyond them for others.
pub(super) fn position(name: &str) -> usize {
    let name = name.replace('_', "-");
    let fits = |(start, _): &(&str, &str)| name.starts_with(start);
    MEANINGS.iter().position(fits).unwrap_or(MEANINGS.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_versions_have_a_meaning() {
        for (name, part) in [
            ("fd-mnistnet-2k", "Frechet"),
            ("kid-std-r64-100", "standard deviation"),
            ("kid-r64-100", "MMD"),
            ("class_accuracy", "asked for"),
            ("accuracy", "discriminator"),
            ("images_per_second", "per second"),
            ("generator updates", "since the line before"),
        ] {
            assert!(meaning(name).is_some_and(|text| text.contains(part)), "{name}");
        }
        assert_eq!(meaning("<b>"), None);
    }
}
