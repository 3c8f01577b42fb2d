//! The colour mode of images.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The colour mode of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// One channel. Colours are converted to luma.
    Grey,
    /// Three channels. Grey images get three equal channels.
    Rgb,
    /// Four channels, the last of which is opacity: 0 is transparent, 255 opaque. Where it is 0, the
    /// colour is white.
    Rgba,
}

impl Colour {
    /// Returns the colour mode of images with this number of channels.
    pub fn of(channels: usize) -> Self {
        match channels {
            1 => Self::Grey,
            4 => Self::Rgba,
            _ => Self::Rgb,
        }
    }

    /// Returns the number of channels.
    pub(crate) fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
            Self::Rgba => 4,
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Grey => "grey",
            Self::Rgb => "rgb",
            Self::Rgba => "rgba",
        })
    }
}
