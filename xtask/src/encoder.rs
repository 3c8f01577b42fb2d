//! Encodes frames as a GIF or an animated PNG.
//!
//! A GIF has at most 256 colours per frame. Grey frames and frames of at most 256 colours keep their
//! exact values; other frames are quantised. A PNG is always exact.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use gif::{Frame, Repeat};

use crate::image::Pixels;

/// NeuQuant samples one pixel in this many, as its authors recommend.
const QUANTISER_SPEED: i32 = 10;

/// A file format for animations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// GIF, with at most 256 colours per frame.
    Gif,
    /// Animated PNG.
    Png,
}

impl Format {
    /// The format of a file by its extension; GIF for a file without one.
    ///
    /// # Errors
    /// The extension is neither a GIF's nor a PNG's.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("png" | "apng") => Ok(Self::Png),
            Some("gif") => Ok(Self::Gif),
            None if extension.is_none() => Ok(Self::Gif),
            _ => bail!(
                "{}: an animation is a .gif file or, animated, a .png or .apng",
                path.display()
            ),
        }
    }

    /// The media type (MIME type).
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Gif => "image/gif",
            Self::Png => "image/png",
        }
    }
}

/// The properties of an animation that hold for all its frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// Whether all frames are grey.
    pub(crate) grey: bool,
    pub(crate) frames: u32,
}

/// Writes an animation that repeats without end.
pub(crate) struct Encoder<W: Write> {
    screen: Screen,
    file: File<W>,
}

enum File<W: Write> {
    Gif(gif::Encoder<W>),
    Png(png::Writer<W>),
}

impl<W: Write> Encoder<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn new(format: Format, screen: Screen, file: W) -> Result<Self> {
        let Screen { width, height, grey, frames } = screen;
        let file = match format {
            Format::Gif => {
                // The palette of grey frames.
                let greys: Vec<u8> = (0..=255).flat_map(|grey| [grey; 3]).collect();
                let mut encoder = gif::Encoder::new(file, width, height, &greys)?;
                encoder.set_repeat(Repeat::Infinite)?;
                File::Gif(encoder)
            }
            Format::Png => {
                let mut encoder = png::Encoder::new(file, width.into(), height.into());
                encoder.set_color(if grey {
                    png::ColorType::Grayscale
                } else {
                    png::ColorType::Rgb
                });
                encoder.set_depth(png::BitDepth::Eight);
                // Ten times as fast as the default, for files that are 5% larger.
                encoder.set_compression(png::Compression::Fast);
                // 0 plays stands for endless repetition.
                encoder.set_animated(frames, 0)?;
                File::Png(encoder.write_header()?)
            }
        };
        Ok(Self { screen, file })
    }

    /// Writes a frame of the screen's size, shown for this many hundredths of a second.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&mut self, frame: Pixels, hundredths: u16) -> Result<()> {
        let Screen { width, height, grey, .. } = self.screen;
        match &mut self.file {
            File::Gif(encoder) => {
                let mut frame = match frame.grey {
                    true => Frame::from_indexed_pixels(width, height, frame.samples, None),
                    false => Frame::from_rgb_speed(width, height, &frame.samples, QUANTISER_SPEED),
                };
                frame.delay = hundredths;
                encoder.write_frame(&frame)?;
            }
            File::Png(writer) => {
                let frame = if grey { frame } else { frame.into_rgb() };
                writer.set_frame_delay(hundredths, 100)?;
                writer.write_image_data(&frame.samples)?;
            }
        }
        Ok(())
    }

    /// Finishes the file.
    ///
    /// # Errors
    /// It cannot be written, or frames are missing.
    pub(crate) fn finish(self) -> Result<()> {
        match self.file {
            File::Gif(encoder) => drop(encoder.into_inner()?),
            File::Png(writer) => writer.finish()?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_is_the_format() {
        let format = |name| Format::of(Path::new(name)).ok();
        assert_eq!(format("runs/animation.gif"), Some(Format::Gif));
        assert_eq!(format("animation"), Some(Format::Gif));
        assert_eq!(format("a.b/FILM.PNG"), Some(Format::Png));
        assert_eq!(format("animation.apng"), Some(Format::Png));
        assert_eq!(format("animation.mp4"), None);
    }
}
