//! The size that images are resampled to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ImageShape;
use crate::limits::SIZES;

/// A text that is no size of images.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no size: a number of pixels is needed, such as 64, or 48x32 for 48 columns and 32 rows"
)]
pub struct NotASize(String);

/// Rows and columns of an image. It is written as `WIDTHxHEIGHT`, of a square as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Text", into = "Text")]
pub struct Size {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl Size {
    /// Returns whether both sides are in [`SIZES`].
    pub(crate) fn is_supported(self) -> bool {
        [self.height, self.width].iter().all(|side| SIZES.contains(side))
    }

    /// Returns the number of pixels.
    pub(crate) fn area(self) -> usize {
        self.height * self.width
    }

    /// Returns the width and height of the largest part of an image of this `width` and `height` that
    /// has this ratio of sides.
    pub(super) fn part_of(self, width: usize, height: usize) -> (usize, usize) {
        let scaled = |side: usize, to: usize, from: usize, most: usize| {
            ((side * to + from / 2) / from).clamp(1, most)
        };
        if width * self.height > height * self.width {
            (scaled(height, self.width, self.height, width), height)
        } else {
            (width, scaled(width, self.height, self.width, height))
        }
    }
}

impl From<usize> for Size {
    fn from(side: usize) -> Self {
        Self { height: side, width: side }
    }
}

impl From<ImageShape> for Size {
    fn from(ImageShape { height, width, .. }: ImageShape) -> Self {
        Self { height, width }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { height, width } if height == width => write!(f, "{width}"),
            Self { height, width } => write!(f, "{width}x{height}"),
        }
    }
}

impl FromStr for Size {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let number = |text: &str| text.parse::<usize>();
        let size = match text.split_once('x') {
            Some((width, height)) => {
                number(width).and_then(|width| Ok(Self { height: number(height)?, width }))
            }
            None => number(text).map(Self::from),
        };
        size.map_err(|_| NotASize(text.into()))
    }
}

/// A size in JSON: a number, or text where it is no square.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Text {
    Square(usize),
    Sides(String),
}

impl From<Size> for Text {
    fn from(size: Size) -> Self {
        match size {
            Size { height, width } if height == width => Self::Square(width),
            size => Self::Sides(size.to_string()),
        }
    }
}

impl TryFrom<Text> for Size {
    type Error = NotASize;

    fn try_from(text: Text) -> Result<Self, NotASize> {
        match text {
            Text::Square(side) => Ok(side.into()),
            Text::Sides(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, json, height, width) in [("28", "28", 28, 28), ("48x32", "\"48x32\"", 32, 48)] {
            let size: Size = text.parse().unwrap();
            assert_eq!(size, Size { height, width });
            assert_eq!(size.to_string(), text);
            assert_eq!(serde_json::to_string(&size).unwrap(), json);
            assert_eq!(serde_json::from_str::<Size>(json).unwrap(), size);
        }
        for text in ["", "x", "48x", "48x32x3", "-1", "48 x 32", "a"] {
            let error = text.parse::<Size>().unwrap_err().to_string();
            assert!(error.contains("such as 64, or 48x32 for 48 columns and 32 rows"), "{error}");
        }
    }

    /// By hand: the middle of a wide and of a high image, whole where the ratio is the same.
    #[test]
    fn the_part_has_the_ratio_of_the_size() {
        let size = Size { height: 32, width: 48 };
        for (whole, part) in [
            ((300, 100), (150, 100)),
            ((100, 300), (100, 67)),
            ((96, 64), (96, 64)),
            ((10_000, 8), (12, 8)),
            ((8, 16_384), (8, 5)),
        ] {
            assert_eq!(size.part_of(whole.0, whole.1), part);
        }
        assert_eq!(Size::from(7).part_of(300, 41), (41, 41));
    }
}
