//! Pictures to PNG files: grey for one channel, colour for three, 8 bits, not scaled.

use std::io::{BufRead, Seek};
use std::path::Path;

use crate::files::write_whole;
use crate::{Error, ImageShape, Result};

/// Black pixels between neighbours in a grid.
pub const GAP: usize = 2;

/// Writes one picture.
///
/// # Shapes
///
/// `pixels`: C x H x W values, contiguous, C = 1 or 3.
///
/// # Range
///
/// `pixels`: u8 in 0..=255.
///
/// # Errors
///
/// [`Error::PixelCount`] for other than one picture; those of [`write_grid`].
pub fn write(path: &Path, shape: ImageShape, pixels: &[u8]) -> Result<()> {
    if pixels.len() > shape.len() {
        return Err(Error::PixelCount {
            name: path.display().to_string(),
            expected: shape.len(),
            found: pixels.len(),
        });
    }
    write_grid(path, shape, pixels, 1)
}

/// Writes pictures as one, row by row, [`GAP`] black pixels between neighbours.
///
/// A grid of fewer pictures than `columns` is only as wide as they are; what is left of
/// the last row is black.
///
/// # Shapes
///
/// `pixels`: B x C x H x W values, contiguous, B at least 1, C = 1 or 3.
///
/// # Range
///
/// `pixels`: u8 in 0..=255.
///
/// # Errors
///
/// [`Error::Write`], [`Error::NoColumns`], [`Error::Channels`], [`Error::Empty`] for no
/// pictures or an empty shape, [`Error::PixelCount`] for a part of a picture,
/// [`Error::FormatLimit`] for a grid of 2^31 pixels or more a side, [`Error::Png`].
pub fn write_grid(path: &Path, shape: ImageShape, pixels: &[u8], columns: usize) -> Result<()> {
    let count = shape.count(&path.display().to_string(), pixels.len())?;
    let color = color(path, shape)?;
    if columns == 0 {
        return Err(Error::NoColumns { path: path.into() });
    }
    let columns = columns.min(count);
    let width = side(path, "a width", columns, shape.width)?;
    let height = side(path, "a height", count.div_ceil(columns), shape.height)?;
    let rows = interleave(shape, pixels, columns, width as usize * height as usize);

    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .write_header()
        .and_then(|mut writer| {
            writer.write_image_data(&rows)?;
            writer.finish()
        })
        .map_err(|source| Error::Png { path: path.into(), source })?;
    write_whole(path, &bytes)
}

/// Pictures whose pixels are squares of `scale` pixels a side.
///
/// # Shapes
///
/// `pixels`: B x C x H x W values, contiguous; result: B x C x (H scale) x (W scale).
///
/// # Errors
///
/// [`Error::PixelCount`] for a part of a picture, or more bytes than this machine holds.
pub fn enlarge(shape: ImageShape, pixels: &[u8], scale: usize) -> Result<(ImageShape, Vec<u8>)> {
    let name = "enlarged pictures";
    let count = shape.count(name, pixels.len())?;
    let by = |side: usize| side.saturating_mul(scale);
    let large = ImageShape { height: by(shape.height), width: by(shape.width), ..shape };
    let mut result = Vec::new();
    let bytes = large.len().saturating_mul(count);
    if result.try_reserve_exact(bytes).is_err() {
        return Err(Error::PixelCount { name: name.into(), expected: bytes, found: pixels.len() });
    }
    for row in pixels.chunks_exact(shape.width) {
        let start = result.len();
        result.extend(row.iter().flat_map(|&value| std::iter::repeat_n(value, scale)));
        for _ in 1..scale {
            result.extend_from_within(start..start + large.width);
        }
    }
    Ok((large, result))
}

/// Writes pictures as an animated PNG that begins again for ever, `fps` pictures a second, at least 1.
///
/// # Shapes, range
///
/// As of [`write_grid`].
///
/// # Errors
///
/// Those of [`write_grid`].
pub fn write_film(path: &Path, shape: ImageShape, pixels: &[u8], fps: u16) -> Result<()> {
    let count = shape.count(&path.display().to_string(), pixels.len())?;
    let color = color(path, shape)?;
    let width = side(path, "a width", 1, shape.width)?;
    let height = side(path, "a height", 1, shape.height)?;
    let frames = u32::try_from(count).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    let encode = |bytes: &mut Vec<u8>| -> std::result::Result<(), png::EncodingError> {
        let mut encoder = png::Encoder::new(bytes, width, height);
        encoder.set_color(color);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_animated(frames, 0)?;
        encoder.set_frame_delay(1, fps.max(1))?;
        let mut writer = encoder.write_header()?;
        for frame in pixels.chunks_exact(shape.len()) {
            writer.write_image_data(&interleave(shape, frame, 1, shape.height * shape.width))?;
        }
        writer.finish()
    };
    encode(&mut bytes).map_err(|source| Error::Png { path: path.into(), source })?;
    write_whole(path, &bytes)
}

/// How pictures of this shape are stored.
fn color(path: &Path, shape: ImageShape) -> Result<png::ColorType> {
    match shape.channels {
        1 => Ok(png::ColorType::Grayscale),
        3 => Ok(png::ColorType::Rgb),
        channels => Err(Error::Channels { path: path.into(), channels, supported: "1 or 3" }),
    }
}

/// Largest picture that is read, in values.
const MAX_VALUES: usize = 1 << 28;

/// Reads one picture: grey, where every pixel is (as many programs write grey pictures in colour),
/// else colour.
///
/// # Shapes
///
/// Result: C x H x W values, contiguous, C = 1 or 3.
///
/// # Range
///
/// u8 in 0..=255.
///
/// # Errors
///
/// [`Error::Read`], [`Error::Unreadable`], [`Error::Transparent`].
pub fn read(path: &Path) -> Result<(ImageShape, Vec<u8>)> {
    let file =
        std::fs::File::open(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let Rows { width, height, samples, values } =
        decode_png(path, std::io::BufReader::new(file), |_, _| Ok(()))?;
    // The last of 2 or of 4 values is how opaque a pixel is.
    let colours = if samples < 3 { 1 } else { 3 };
    let mut pixels = values.chunks_exact(samples);
    if colours < samples && !pixels.clone().all(|pixel| pixel[colours] == u8::MAX) {
        return Err(Error::Transparent { path: path.into() });
    }
    let is_grey = pixels.all(|pixel| pixel[..colours].iter().all(|value| *value == pixel[0]));
    let channels = if is_grey { 1 } else { colours };
    // (H, W, C) to (C, H, W).
    let of_channel = |c| values.iter().skip(c).step_by(samples).copied();
    let pixels = (0..channels).flat_map(of_channel).collect();
    Ok((ImageShape { channels, height, width }, pixels))
}

/// A picture as decoders give it.
pub(crate) struct Rows {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Values of a pixel: grey; grey and opacity; red, green, blue; those and opacity.
    pub(crate) samples: usize,
    /// H x W x samples values in 0..=255.
    pub(crate) values: Vec<u8>,
}

/// Decodes a PNG picture of any kind to 8 bits a sample, once `check` agrees with its width and
/// height; `path` is only a name for messages.
///
/// # Errors
///
/// [`Error::Unreadable`], and those of `check`.
pub(crate) fn decode_png(
    path: &Path,
    bytes: impl BufRead + Seek,
    check: impl FnOnce(usize, usize) -> Result<()>,
) -> Result<Rows> {
    let unreadable = |source: png::DecodingError| Error::Unreadable {
        path: path.into(),
        format: "PNG",
        source: source.into(),
    };
    let mut decoder = png::Decoder::new(bytes);
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(unreadable)?;
    let (width, height) = reader.info().size();
    let (width, height) = (width as usize, height as usize);
    check(width, height)?;
    let size = reader.output_buffer_size().filter(|&size| size <= MAX_VALUES);
    let mut values = vec![0; size.ok_or_else(|| unreadable(png::DecodingError::LimitsExceeded))?];
    let frame = reader.next_frame(&mut values).map_err(unreadable)?;
    values.truncate(frame.buffer_size());
    Ok(Rows { width, height, samples: frame.color_type.samples(), values })
}

/// Length of a side of the grid, which PNG limits to 2^31 - 1.
fn side(path: &Path, what: &'static str, pictures: usize, size: usize) -> Result<u32> {
    let value = size.saturating_add(GAP).saturating_mul(pictures).saturating_sub(GAP);
    match i32::try_from(value) {
        Ok(side) => Ok(side.unsigned_abs()),
        Err(_) => Err(Error::FormatLimit { path: path.into(), what, value }),
    }
}

/// Pictures (B, C, H, W) to the rows of a grid of `area` pixels: (rows, columns, C).
fn interleave(shape: ImageShape, pixels: &[u8], columns: usize, area: usize) -> Vec<u8> {
    let ImageShape { channels, height, width } = shape;
    let row = columns * (width + GAP) - GAP;
    let mut grid = vec![0; area * channels];
    for (line, values) in pixels.chunks_exact(width).enumerate() {
        // Lines are numbered by picture, channel and row in the picture.
        let (picture, channel, y) =
            (line / (channels * height), line / height % channels, line % height);
        let top = picture / columns * (height + GAP);
        let left = picture % columns * (width + GAP);
        let start = ((top + y) * row + left) * channels + channel;
        for (x, &value) in values.iter().enumerate() {
            grid[start + x * channels] = value;
        }
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::BufReader;

    const GREY: ImageShape = ImageShape { channels: 1, height: 2, width: 3 };
    const COLOUR: ImageShape = ImageShape { channels: 3, height: 1, width: 2 };

    /// Width, height, colour type and pixels of a PNG file.
    fn decode(path: &Path) -> (u32, u32, png::ColorType, Vec<u8>) {
        let file = BufReader::new(File::open(path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(info.bit_depth, png::BitDepth::Eight);
        (info.width, info.height, info.color_type, pixels)
    }

    #[test]
    fn enlarged_pixels_are_squares() {
        let shape = ImageShape { channels: 1, height: 2, width: 2 };
        let (large, pixels) = enlarge(shape, &[1, 2, 3, 4, 5, 6, 7, 8], 2).unwrap();
        assert_eq!((large.height, large.width), (4, 4));
        assert_eq!(pixels[..16], [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]);
        assert_eq!(pixels[16..20], [5, 5, 6, 6]);
        let error = enlarge(shape, &[0; 4], usize::MAX).unwrap_err().to_string();
        assert!(error.contains("enlarged pictures"), "{error}");
    }

    #[test]
    fn single_pictures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        write(&path, GREY, &[1, 2, 3, 4, 5, 6]).unwrap();
        let expected = vec![1, 2, 3, 4, 5, 6];
        assert_eq!(decode(&path), (3, 2, png::ColorType::Grayscale, expected));
        write(&path, COLOUR, &[1, 2, 11, 12, 21, 22]).unwrap();
        let expected = vec![1, 11, 21, 2, 12, 22];
        assert_eq!(decode(&path), (2, 1, png::ColorType::Rgb, expected));
    }

    #[test]
    fn what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("picture.png");
        let store = |color, values: &[u8]| {
            let file = std::fs::File::create(&path).unwrap();
            let mut encoder = png::Encoder::new(file, 2, 1);
            encoder.set_color(color);
            encoder.set_depth(png::BitDepth::Eight);
            encoder.write_header().unwrap().write_image_data(values).unwrap();
            read(&path).map(|(shape, pixels)| (shape.channels, pixels))
        };
        use png::ColorType::{Grayscale, GrayscaleAlpha, Rgb, Rgba};
        assert_eq!(store(Grayscale, &[1, 2]).unwrap(), (1, vec![1, 2]));
        assert_eq!(store(Rgb, &[1, 2, 3, 4, 5, 6]).unwrap(), (3, vec![1, 4, 2, 5, 3, 6]));
        assert_eq!(store(Rgb, &[1, 1, 1, 7, 7, 7]).unwrap(), (1, vec![1, 7]));
        assert_eq!(store(Rgba, &[1, 1, 1, 255, 7, 7, 7, 255]).unwrap(), (1, vec![1, 7]));
        assert_eq!(store(GrayscaleAlpha, &[1, 255, 2, 255]).unwrap(), (1, vec![1, 2]));
        let clear = store(GrayscaleAlpha, &[1, 255, 2, 254]).unwrap_err();
        assert!(clear.to_string().ends_with("picture.png: transparent pixels are not read"));
    }

    #[test]
    fn a_grid_goes_row_by_row_with_gaps() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.png");
        let pixels: Vec<u8> = (1..=18).collect();
        write_grid(&path, GREY, &pixels, 2).unwrap();
        #[rustfmt::skip]
        let expected = vec![
            1, 2, 3, 0, 0, 7, 8, 9,
            4, 5, 6, 0, 0, 10, 11, 12,
            0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0,
            13, 14, 15, 0, 0, 0, 0, 0,
            16, 17, 18, 0, 0, 0, 0, 0,
        ];
        assert_eq!(decode(&path), (8, 6, png::ColorType::Grayscale, expected));

        let pixels: Vec<u8> = (1..=12).collect();
        write_grid(&path, COLOUR, &pixels, 9).unwrap();
        #[rustfmt::skip]
        let expected = vec![
            1, 3, 5, 2, 4, 6, 0, 0, 0, 0, 0, 0, 7, 9, 11, 8, 10, 12,
        ];
        assert_eq!(decode(&path), (6, 1, png::ColorType::Rgb, expected));
    }

    #[test]
    fn what_png_cannot_hold_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grid.png");
        let error =
            |shape, pixels: &[u8], columns| write_grid(&path, shape, pixels, columns).unwrap_err();
        assert!(matches!(error(GREY, &[0; 6], 0), Error::NoColumns { .. }));
        assert!(matches!(error(GREY, &[], 1), Error::Empty { .. }));
        assert!(matches!(error(GREY, &[0; 7], 1), Error::PixelCount { .. }));
        let two = ImageShape { channels: 2, ..GREY };
        let channels = error(two, &[0; 12], 1);
        assert!(matches!(channels, Error::Channels { channels: 2, .. }));
        let text = channels.to_string();
        assert!(text.ends_with("cannot hold pictures of 2 channels, only 1 or 3"));
        let several = write(&path, GREY, &[0; 12]).unwrap_err();
        assert!(matches!(several, Error::PixelCount { expected: 6, .. }));
        let limit = side(&path, "a width", usize::MAX, 28).unwrap_err();
        assert!(matches!(limit, Error::FormatLimit { .. }));
        assert!(!path.exists());
    }
}
