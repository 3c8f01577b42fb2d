//! What each number of a report says.

/// The beginnings of numbers' names and what they say, a line each. The first that fits counts. Model cards
/// say the same.
const MEANINGS: &str = include_str!("../../../crates/trainer/assets/meanings.tsv");

fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    MEANINGS.lines().filter_map(|line| line.split_once('\t'))
}

/// What the number of this name says, if it is known.
pub(super) fn meaning(name: &str) -> Option<&'static str> {
    Some(all().nth(position(name))?.1)
}

/// The place of this name among those that are known, for tables in one order; beyond them for others.
pub(super) fn position(name: &str) -> usize {
    let name = name.replace('_', "-");
    all().position(|(start, _)| name.starts_with(start)).unwrap_or_else(|| all().count())
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
            ("fid-10k", "FID"),
            ("is-std-10k", "standard deviation of the Inception score"),
            ("is-10k", "evenly"),
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
