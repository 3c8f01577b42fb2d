//! The colour mode of images.

use serde::{Deserialize, Serialize};

/// The colour mode of images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// One channel. Colours are converted to luma.
    Grey,
    /// Three channels. Grey images get three equal channels.
    Rgb,
}

impl Colour {
    /// Returns the colour mode of images with this number of channels.
    pub fn of(channels: usize) -> Self {
        if channels == 1 { Self::Grey } else { Self::Rgb }
    }

    /// Returns the number of channels.
    pub(super) fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}
