//! Formats durations, numbers and shapes for messages.

use gan_data::ImageShape;

/// Formats a duration: 42 s, 3 min 07 s, 2 h 05 min.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s:02} s"),
        (h, m, _) => format!("{h} h {m:02} min"),
    }
}

/// Formats a number with commas between groups of three digits.
pub(crate) fn thousands(digits: &str) -> String {
    let comma = |i: usize| if i > 0 && (digits.len() - i).is_multiple_of(3) { "," } else { "" };
    digits.char_indices().flat_map(|(i, digit)| [comma(i).to_string(), digit.to_string()]).collect()
}

/// Formats width, height and colour mode of an image: `28x28 pixels in grey`.
pub(crate) fn image(shape: ImageShape) -> String {
    let colour = match shape.channels {
        1 => "in grey",
        4 => "with opacity",
        _ => "in colour",
    };
    format!("{}x{} pixels {colour}", shape.width, shape.height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration(41.6), "42 s");
        assert_eq!(duration(187.0), "3 min 07 s");
        assert_eq!(duration(7500.0), "2 h 05 min");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            ["7", "700", "7000", "1234567"].map(thousands),
            ["7", "700", "7,000", "1,234,567"]
        );
    }
}
