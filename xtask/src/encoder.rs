//! Frames to a film that browsers play: GIF, or animated PNG.
//!
//! A GIF has 256 colours a frame: grey frames keep their exact values, and so do
//! those of up to 256 colours; others are quantised. A PNG is exact.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};
use gif::{Frame, Repeat};

use crate::picture::Pixels;

/// NeuQuant looks at one pixel in this many: its authors' trade of time for fidelity.
const QUANTISER_SPEED: i32 = 10;

/// A kind of file that holds a film.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// 256 colours a frame.
    Gif,
    /// Animated PNG.
    Png,
}

impl Format {
    /// The format that a file's name asks for; GIF, if it has no extension.
    ///
    /// # Errors
    /// An extension of neither.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let extension = path.extension().map(|extension| extension.to_ascii_lowercase());
        match extension.as_ref().and_then(|extension| extension.to_str()) {
            Some("png" | "apng") => Ok(Self::Png),
            Some("gif") => Ok(Self::Gif),
            None if extension.is_none() => Ok(Self::Gif),
            _ => bail!("{}: a film is a .gif file or, animated, a .png or .apng", path.display()),
        }
    }

    /// What browsers know it by.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Gif => "image/gif",
            Self::Png => "image/png",
        }
    }
}

/// What all frames have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// Whether no frame has colours.
    pub(crate) grey: bool,
    pub(crate) frames: u32,
}

/// Writes a film that plays for ever.
pub(crate) struct Encoder<W: Write> {
    screen: Screen,
    file: File<W>,
}

enum File<W: Write> {
    Gif(gif::Encoder<W>),
    Png(png::Writer<W>),
}

impl<W: Write> Encoder<W> {
    /// Begins the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn new(format: Format, screen: Screen, file: W) -> Result<Self> {
        let Screen { width, height, grey, frames } = screen;
        let file = match format {
            Format::Gif => {
                // What the values of grey frames point into.
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
                // Ten times as fast as the default, files a twentieth larger.
                encoder.set_compression(png::Compression::Fast);
                // 0 plays: without end.
                encoder.set_animated(frames, 0)?;
                File::Png(encoder.write_header()?)
            }
        };
        Ok(Self { screen, file })
    }

    /// Adds a frame of the screen's size that stays for so many hundredths of a second.
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
                let frame = if grey { frame } else { frame.coloured() };
                writer.set_frame_delay(hundredths, 100)?;
                writer.write_image_data(&frame.samples)?;
            }
        }
        Ok(())
    }

    /// Ends the file.
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
        assert_eq!(format("runs/film.gif"), Some(Format::Gif));
        assert_eq!(format("film"), Some(Format::Gif));
        assert_eq!(format("a.b/FILM.PNG"), Some(Format::Png));
        assert_eq!(format("film.apng"), Some(Format::Png));
        assert_eq!(format("film.mp4"), None);
    }
}
