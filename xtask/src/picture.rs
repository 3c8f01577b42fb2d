//! A PNG file as one frame of a GIF.
//!
//! Grey pictures keep their exact values, as indices into the film's own grey
//! palette. Colour pictures bring a palette of their own: exact up to 256
//! colours, quantised above. Transparent pixels are laid over white, and samples
//! of 16 bits lose their lower byte.

use std::borrow::Cow;
use std::fs::File;
use std::io::BufReader;
use std::iter;
use std::path::Path;

use anyhow::{Context, Result};
use gif::Frame;
use png::{ColorType, Decoder, Reader, Transformations};

/// NeuQuant looks at one pixel in this many: its authors' trade of time for fidelity.
const QUANTISER_SPEED: i32 = 10;

/// A PNG file whose header has been read and whose pixels have not.
pub(crate) struct Picture {
    reader: Reader<BufReader<File>>,
}

impl Picture {
    /// Reads the header of a PNG file.
    ///
    /// # Errors
    /// The file cannot be opened, or does not begin as a PNG does.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut decoder = Decoder::new(BufReader::new(File::open(path)?));
        decoder.set_transformations(Transformations::normalize_to_color8());
        let reader = decoder.read_info().context("not a readable PNG")?;
        Ok(Self { reader })
    }

    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        self.reader.info().size()
    }

    /// Reads the pixels as a frame without delay, of the picture's own size.
    ///
    /// # Errors
    /// A side is longer than 65,535 pixels, or the file is damaged.
    pub(crate) fn into_frame(mut self) -> Result<Frame<'static>> {
        let (width, height) = self.size();
        let (width, height) = (u16::try_from(width)?, u16::try_from(height)?);
        let length = self.reader.output_buffer_size().context("too large")?;
        let mut samples = vec![0; length];
        let damaged = "a damaged PNG";
        self.reader.next_frame(&mut samples).context(damaged)?;
        self.reader.finish().context(damaged)?;

        let (color, _) = self.reader.output_color_type();
        let samples = match color {
            ColorType::GrayscaleAlpha => over_white::<2>(&samples),
            ColorType::Rgba => over_white::<4>(&samples),
            ColorType::Grayscale | ColorType::Rgb | ColorType::Indexed => samples,
        };
        Ok(match color {
            ColorType::Grayscale | ColorType::GrayscaleAlpha => {
                Frame::from_indexed_pixels(width, height, samples, None)
            }
            ColorType::Rgb | ColorType::Rgba | ColorType::Indexed => {
                Frame::from_rgb_speed(width, height, &samples, QUANTISER_SPEED)
            }
        })
    }
}

/// The palette that the indices of grey frames point into: 256 greys, black first.
pub(crate) fn greys() -> Vec<u8> {
    (0..=255).flat_map(|grey| [grey; 3]).collect()
}

/// A frame with every pixel made a square of `scale` by `scale`.
///
/// The caller sees to it that the sides stay within 65,535 pixels.
pub(crate) fn enlarged(frame: Frame<'static>, scale: u16) -> Frame<'static> {
    if scale == 1 {
        return frame;
    }
    let times = usize::from(scale);
    let mut pixels = Vec::with_capacity(frame.buffer.len() * times * times);
    for row in frame.buffer.chunks_exact(usize::from(frame.width)) {
        let start = pixels.len();
        for &pixel in row {
            pixels.extend(iter::repeat_n(pixel, times));
        }
        let end = pixels.len();
        for _ in 1..times {
            pixels.extend_from_within(start..end);
        }
    }
    Frame {
        width: frame.width * scale,
        height: frame.height * scale,
        buffer: Cow::Owned(pixels),
        ..frame
    }
}

/// Pixels of `N` samples, the last of them opacity, laid over white.
fn over_white<const N: usize>(samples: &[u8]) -> Vec<u8> {
    let mut opaque = Vec::with_capacity(samples.len());
    for pixel in samples.chunks_exact(N) {
        let opacity = u32::from(pixel[N - 1]);
        opaque.extend(pixel[..N - 1].iter().map(|&sample| {
            let mixed = u32::from(sample) * opacity + 255 * (255 - opacity);
            ((mixed + 127) / 255) as u8
        }));
    }
    opaque
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opacity_mixes_with_white() {
        assert_eq!(over_white::<2>(&[7, 255, 7, 0, 0, 128]), [7, 255, 127]);
        assert_eq!(over_white::<4>(&[10, 0, 200, 51]), [206, 204, 244]);
    }

    #[test]
    fn enlarging_repeats_columns_and_rows() {
        let frame = enlarged(Frame::from_indexed_pixels(2, 2, [1, 2, 3, 4], None), 2);
        assert_eq!((frame.width, frame.height), (4, 4));
        let want = [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4];
        assert_eq!(*frame.buffer, want);
    }
}
