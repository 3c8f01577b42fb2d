//! Reads PNG files as 8-bit grey or RGB pixels.
//!
//! Transparent pixels are blended with white, and samples of 16 bits lose their lower byte.

use std::fs::File;
use std::io::BufReader;
use std::iter;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use png::{ColorType, Decoder, Reader, Transformations};

/// Maximum number of pixels of an image. It bounds the memory that a false header can claim.
pub(crate) const MAX_PIXELS: u64 = 1 << 26;

/// A PNG file of which only the header has been read.
pub(crate) struct Image {
    reader: Reader<BufReader<File>>,
}

/// The pixels of an image: one byte each if it is grey, else three (RGB).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pixels {
    pub(crate) width: usize,
    pub(crate) grey: bool,
    pub(crate) samples: Vec<u8>,
}

impl Image {
    /// Reads the header of a PNG file.
    ///
    /// # Errors
    /// The file cannot be opened, is not a PNG or is too large.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut decoder = Decoder::new(BufReader::new(gan_files::open(path)?));
        decoder.set_transformations(Transformations::normalize_to_color8());
        let reader = decoder.read_info().context("not a readable PNG")?;
        let (width, height) = reader.info().size();
        ensure!(
            u64::from(width) * u64::from(height) <= MAX_PIXELS,
            "{width}x{height} pixels; at most {MAX_PIXELS} in all are read"
        );
        // The decoder takes for granted that colours are whole.
        let palette = reader.info().palette.as_ref().map_or(0, |palette| palette.len());
        ensure!(
            palette.is_multiple_of(3),
            "a damaged PNG: a palette of {palette} bytes, not of 3 for each colour"
        );
        Ok(Self { reader })
    }

    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (u32, u32) {
        self.reader.info().size()
    }

    /// Whether the pixels are grey.
    pub(crate) fn is_grey(&self) -> bool {
        matches!(
            self.reader.output_color_type().0,
            ColorType::Grayscale | ColorType::GrayscaleAlpha
        )
    }

    /// Reads the pixels.
    ///
    /// # Errors
    /// The file is damaged.
    pub(crate) fn into_pixels(mut self) -> Result<Pixels> {
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
        Ok(Pixels { width: self.size().0 as usize, grey: self.is_grey(), samples })
    }
}

impl Pixels {
    /// The image with every pixel enlarged to `scale` by `scale` pixels.
    pub(crate) fn scaled(self, scale: usize) -> Self {
        if scale == 1 {
            return self;
        }
        let bytes = if self.grey { 1 } else { 3 };
        let mut samples = Vec::with_capacity(self.samples.len() * scale * scale);
        for row in self.samples.chunks_exact(self.width * bytes) {
            let start = samples.len();
            for pixel in row.chunks_exact(bytes) {
                samples.extend(iter::repeat_n(pixel, scale).flatten());
            }
            let end = samples.len();
            for _ in 1..scale {
                samples.extend_from_within(start..end);
            }
        }
        Self { width: self.width * scale, samples, ..self }
    }

    /// The correlation of the samples with those of another image of this size; not a number for an
    /// image of one value.
    pub(crate) fn correlation(&self, other: &Self) -> f64 {
        let centred = |of: &Self| -> Vec<f64> {
            let sum: f64 = of.samples.iter().map(|&sample| f64::from(sample)).sum();
            let mean = sum / of.samples.len().max(1) as f64;
            of.samples.iter().map(|&sample| f64::from(sample) - mean).collect()
        };
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let (a, b) = (centred(self), centred(other));
        product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
    }

    /// The image as RGB.
    pub(crate) fn into_rgb(self) -> Self {
        if !self.grey {
            return self;
        }
        let samples = self.samples.iter().flat_map(|&grey| [grey; 3]).collect();
        Self { grey: false, samples, ..self }
    }
}

/// Blends pixels of `N` samples, the last of which is opacity, with white.
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
        let grey = Pixels { width: 2, grey: true, samples: vec![1, 2, 3, 4] };
        let grey = grey.scaled(2);
        assert_eq!(grey.samples, [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]);
        assert_eq!(grey.width, 4);
        let colour = Pixels { width: 1, grey: false, samples: vec![1, 2, 3] };
        assert_eq!(colour.scaled(2).samples, [1, 2, 3].repeat(4));
    }

    #[test]
    fn grey_is_a_colour() {
        let grey = Pixels { width: 2, grey: true, samples: vec![1, 2] };
        let into_rgb = Pixels { width: 2, grey: false, samples: vec![1, 1, 1, 2, 2, 2] };
        assert_eq!(grey.into_rgb(), into_rgb);
    }
}
