//! The shape of an image.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Channels, height and width of an image. It displays as `C x H x W`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageShape {
    /// 1 for grey, 3 for red, green, blue, 4 for these and opacity.
    pub channels: usize,
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
}

impl ImageShape {
    /// Returns the number of values in an image: channels x height x width, or `usize::MAX` on
    /// overflow.
    #[allow(clippy::len_without_is_empty)] // a size, not a container
    pub fn len(&self) -> usize {
        self.channels.saturating_mul(self.height).saturating_mul(self.width)
    }
}

impl From<ImageShape> for (usize, usize, usize) {
    /// Channels, height and width.
    fn from(ImageShape { channels, height, width }: ImageShape) -> Self {
        (channels, height, width)
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} x {}", self.channels, self.height, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 1, height: 1, width: 2 };

    #[test]
    fn shape_is_plain_json() {
        let json = serde_json::to_string(&SHAPE).unwrap();
        assert_eq!(json, r#"{"channels":1,"height":1,"width":2}"#);
        assert_eq!(serde_json::from_str::<ImageShape>(&json).unwrap(), SHAPE);
        assert_eq!(SHAPE.to_string(), "1 x 1 x 2");
    }

    #[test]
    fn len_saturates() {
        assert_eq!(SHAPE.len(), 2);
        assert_eq!(ImageShape { channels: usize::MAX, height: 2, width: 2 }.len(), usize::MAX);
    }
}
