//! Reads and writes PNG files: single images, grids and animations, grey, RGB or RGBA, 8 bits per sample.

use std::borrow::Cow;
use std::io::{BufRead, Seek};
use std::path::Path;

use crate::checks::count_images;
use crate::files::write_atomically;
use crate::{Error, ImageShape, Result};

/// Width of the black gap between neighbours in a grid, in pixels.
pub const GAP: usize = 2;

/// Writes one image.
///
/// # Shapes
///
/// `pixels`: C x H x W values, contiguous, C = 1, 3 or 4.
///
/// # Range
///
/// `pixels`: u8 in 0..=255.
///
/// # Errors
///
/// [`Error::PixelCount`] unless `pixels` is one image; those of [`write_grid`].
pub fn write(path: &Path, shape: ImageShape, pixels: &[u8]) -> Result<()> {
    if pixels.len() > shape.len() {
        return Err(Error::PixelCount {
            name: path.display().to_string(),
            expected: shape.len(),
            found: pixels.len(),
        });
    }
    write_atomically(path, &encode(path, shape, pixels, 1)?)
}

/// Writes a grid of images, row by row, with [`GAP`] black pixels between neighbours.
///
/// A grid of fewer images than `columns` has as many columns as images. The rest of the last row is
/// black. Images with opacity are shown over white.
///
/// # Shapes
///
/// `pixels`: B x C x H x W values, contiguous, B at least 1, C = 1, 3 or 4.
///
/// # Range
///
/// `pixels`: u8 in 0..=255.
///
/// # Errors
///
/// [`Error::Write`], [`Error::NoColumns`], [`Error::Channels`], [`Error::Empty`] for no
/// images or an empty shape, [`Error::PixelCount`] if `pixels` is not a whole number of images,
/// [`Error::FormatLimit`] for a side of 2^31 pixels or more, [`Error::Encode`].
pub fn write_grid(path: &Path, shape: ImageShape, pixels: &[u8], columns: usize) -> Result<()> {
    write_atomically(path, &encode_grid(path, shape, pixels, columns)?)
}

/// Encodes a grid of images as [`write_grid`] writes it; `path` is its name in error messages.
///
/// # Shapes, range
///
/// As of [`write_grid`].
///
/// # Errors
///
/// Those of [`write_grid`] except [`Error::Write`].
pub fn encode_grid(
    path: &Path,
    shape: ImageShape,
    pixels: &[u8],
    columns: usize,
) -> Result<Vec<u8>> {
    count_images(&path.display().to_string(), shape, pixels.len())?;
    let (shape, pixels) = over_white(shape, pixels);
    encode(path, shape, &pixels, columns)
}

/// Shows whole images with opacity over white; others stay as they are.
fn over_white(shape: ImageShape, pixels: &[u8]) -> (ImageShape, Cow<'_, [u8]>) {
    let area = shape.height * shape.width;
    if shape.channels != 4 || area == 0 {
        return (shape, Cow::Borrowed(pixels));
    }
    let shown = pixels.chunks_exact(4 * area).flat_map(|image| {
        let (colours, opacity) = image.split_at(3 * area);
        colours.iter().zip(opacity.iter().cycle()).map(|(&value, &opacity)| blend(value, opacity))
    });
    (ImageShape { channels: 3, ..shape }, shown.collect())
}

/// A value over white, rounded.
pub(crate) fn blend(value: u8, opacity: u8) -> u8 {
    let (value, opacity) = (u32::from(value), u32::from(opacity));
    ((value * opacity + 255 * (255 - opacity) + 127) / 255) as u8
}

fn encode(path: &Path, shape: ImageShape, pixels: &[u8], columns: usize) -> Result<Vec<u8>> {
    let count = count_images(&path.display().to_string(), shape, pixels.len())?;
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
        .map_err(|source| Error::Encode { path: path.into(), source: source.into() })?;
    Ok(bytes)
}

/// Upscales images by nearest neighbour: each pixel becomes a square of `scale` x `scale` pixels.
///
/// # Shapes
///
/// `pixels`: B x C x H x W values, contiguous; result: B x C x (H scale) x (W scale).
///
/// # Errors
///
/// [`Error::PixelCount`] if `pixels` is not a whole number of images, or if the result does not fit
/// in memory.
pub fn upscale(shape: ImageShape, pixels: &[u8], scale: usize) -> Result<(ImageShape, Vec<u8>)> {
    let name = "upscaled images";
    let count = count_images(name, shape, pixels.len())?;
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

/// Writes an animated PNG that loops forever and shows `fps` images per second (0 counts as 1).
///
/// # Shapes, range
///
/// As of [`write_grid`].
///
/// # Errors
///
/// Those of [`write_grid`].
pub fn write_animation(path: &Path, shape: ImageShape, pixels: &[u8], fps: u16) -> Result<()> {
    let count = count_images(&path.display().to_string(), shape, pixels.len())?;
    let (shape, pixels) = over_white(shape, pixels);
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
    encode(&mut bytes)
        .map_err(|source| Error::Encode { path: path.into(), source: source.into() })?;
    write_atomically(path, &bytes)
}

/// Returns the PNG colour type for images of this shape.
fn color(path: &Path, shape: ImageShape) -> Result<png::ColorType> {
    match shape.channels {
        1 => Ok(png::ColorType::Grayscale),
        3 => Ok(png::ColorType::Rgb),
        4 => Ok(png::ColorType::Rgba),
        channels => Err(Error::Channels { path: path.into(), channels, supported: "1, 3 or 4" }),
    }
}

/// The largest image that is read, in values.
const MAX_VALUES: usize = 1 << 28;

/// Reads one image. It has one channel if every pixel is grey, whatever the file's colour type, else
/// three; with opacity four, if a pixel is not opaque.
///
/// # Shapes
///
/// Result: C x H x W values, contiguous, C = 1, 3 or 4.
///
/// # Range
///
/// u8 in 0..=255.
///
/// # Errors
///
/// [`Error::Read`], [`Error::Decode`].
pub fn read(path: &Path) -> Result<(ImageShape, Vec<u8>)> {
    let file = gan_files::open(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let Rows { width, height, samples, values } =
        decode_png(path, std::io::BufReader::new(file), |_, _| Ok(()))?;
    // The last of 2 or 4 values is the opacity.
    let colours = if samples < 3 { 1 } else { 3 };
    let mut pixels = values.chunks_exact(samples);
    if colours < samples && !pixels.clone().all(|pixel| pixel[colours] == u8::MAX) {
        let planes = if colours == 1 { [0, 0, 0, 1] } else { [0, 1, 2, 3] };
        let of_plane = |c| values.iter().skip(c).step_by(samples).copied();
        let pixels = planes.into_iter().flat_map(of_plane).collect();
        return Ok((ImageShape { channels: 4, height, width }, pixels));
    }
    let is_grey = pixels.all(|pixel| pixel[..colours].iter().all(|value| *value == pixel[0]));
    let channels = if is_grey { 1 } else { colours };
    // (H, W, C) to (C, H, W).
    let of_channel = |c| values.iter().skip(c).step_by(samples).copied();
    let pixels = (0..channels).flat_map(of_channel).collect();
    Ok((ImageShape { channels, height, width }, pixels))
}

/// A decoded image.
pub(crate) struct Rows {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Values per pixel: 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA).
    pub(crate) samples: usize,
    /// H x W x samples values in 0..=255.
    pub(crate) values: Vec<u8>,
}

/// Decodes a PNG image of any colour type to 8 bits per sample. `check` sees its width and height
/// first; `path` is for error messages.
///
/// # Errors
///
/// [`Error::Decode`], and those of `check`.
pub(crate) fn decode_png(
    path: &Path,
    bytes: impl BufRead + Seek,
    check: impl FnOnce(usize, usize) -> Result<()>,
) -> Result<Rows> {
    let unreadable = |source: png::DecodingError| Error::Decode {
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
    let palette = reader.info().palette.as_ref().map_or(0, |palette| palette.len());
    // The decoder takes for granted that colours are whole.
    if !palette.is_multiple_of(3) {
        let source = format!("a palette of {palette} bytes, not of 3 for each colour").into();
        return Err(Error::Decode { path: path.into(), format: "PNG", source });
    }
    let size = reader.output_buffer_size().filter(|&size| size <= MAX_VALUES);
    let mut values = vec![0; size.ok_or_else(|| unreadable(png::DecodingError::LimitsExceeded))?];
    let frame = reader.next_frame(&mut values).map_err(unreadable)?;
    values.truncate(frame.buffer_size());
    Ok(Rows { width, height, samples: frame.color_type.samples(), values })
}

/// Returns the length of a side of the grid, which PNG limits to 2^31 - 1.
fn side(path: &Path, what: &'static str, images: usize, size: usize) -> Result<u32> {
    let value = size.saturating_add(GAP).saturating_mul(images).saturating_sub(GAP);
    match i32::try_from(value) {
        Ok(side) => Ok(side.unsigned_abs()),
        Err(_) => Err(Error::FormatLimit { path: path.into(), what, value }),
    }
}

/// Copies images (B, C, H, W) to a grid of `area` pixels: (rows, columns, C).
fn interleave(shape: ImageShape, pixels: &[u8], columns: usize, area: usize) -> Vec<u8> {
    let ImageShape { channels, height, width } = shape;
    let row = columns * (width + GAP) - GAP;
    let mut grid = vec![0; area * channels];
    for (line, values) in pixels.chunks_exact(width).enumerate() {
        // Lines are ordered by image, channel and row.
        let (image, channel, y) =
            (line / (channels * height), line / height % channels, line % height);
        let top = image / columns * (height + GAP);
        let left = image % columns * (width + GAP);
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
        let (large, pixels) = upscale(shape, &[1, 2, 3, 4, 5, 6, 7, 8], 2).unwrap();
        assert_eq!((large.height, large.width), (4, 4));
        assert_eq!(pixels[..16], [1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4]);
        assert_eq!(pixels[16..20], [5, 5, 6, 6]);
        let error = upscale(shape, &[0; 4], usize::MAX).unwrap_err().to_string();
        assert!(error.contains("upscaled images"), "{error}");
    }

    #[test]
    fn single_images() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.png");
        write(&path, GREY, &[1, 2, 3, 4, 5, 6]).unwrap();
        let expected = vec![1, 2, 3, 4, 5, 6];
        assert_eq!(decode(&path), (3, 2, png::ColorType::Grayscale, expected));
        write(&path, COLOUR, &[1, 2, 11, 12, 21, 22]).unwrap();
        let expected = vec![1, 11, 21, 2, 12, 22];
        assert_eq!(decode(&path), (2, 1, png::ColorType::Rgb, expected));
    }

    #[test]
    fn colour_types_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.png");
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
        let clear = store(GrayscaleAlpha, &[1, 255, 2, 254]).unwrap();
        assert_eq!(clear, (4, vec![1, 2, 1, 2, 1, 2, 255, 254]));
        let clear = store(Rgba, &[1, 2, 3, 0, 5, 6, 7, 255]).unwrap();
        assert_eq!(clear, (4, vec![1, 5, 2, 6, 3, 7, 0, 255]));
    }

    /// A file of its own keeps the opacity; a grid shows images over white.
    #[test]
    fn opacity_is_kept_or_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("image.png");
        let shape = ImageShape { channels: 4, height: 1, width: 2 };
        let pixels = [0, 40, 100, 50, 200, 60, 127, 255];
        write(&path, shape, &pixels).unwrap();
        let expected = vec![0, 100, 200, 127, 40, 50, 60, 255];
        assert_eq!(decode(&path), (2, 1, png::ColorType::Rgba, expected));
        assert_eq!(read(&path).unwrap(), (shape, pixels.to_vec()));
        let shown = vec![128, 178, 228, 40, 50, 60];
        write_grid(&path, shape, &pixels, 1).unwrap();
        assert_eq!(decode(&path), (2, 1, png::ColorType::Rgb, shown.clone()));
        write_animation(&path, shape, &pixels.repeat(2), 5).unwrap();
        assert_eq!(decode(&path), (2, 1, png::ColorType::Rgb, shown));
        let error = write_grid(&path, shape, &[0; 9], 1).unwrap_err();
        assert!(matches!(error, Error::PixelCount { .. }), "{error}");
    }

    #[test]
    fn grids_are_row_major_with_gaps() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("grid.png");
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
    fn bad_grids_are_errors() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("grid.png");
        let error =
            |shape, pixels: &[u8], columns| write_grid(&path, shape, pixels, columns).unwrap_err();
        assert!(matches!(error(GREY, &[0; 6], 0), Error::NoColumns { .. }));
        assert!(matches!(error(GREY, &[], 1), Error::Empty { .. }));
        assert!(matches!(error(GREY, &[0; 7], 1), Error::PixelCount { .. }));
        let two = ImageShape { channels: 2, ..GREY };
        let channels = error(two, &[0; 12], 1);
        assert!(matches!(channels, Error::Channels { channels: 2, .. }));
        let text = channels.to_string();
        assert!(text.ends_with("cannot hold images of 2 channels, only 1, 3 or 4"));
        let several = write(&path, GREY, &[0; 12]).unwrap_err();
        assert!(matches!(several, Error::PixelCount { expected: 6, .. }));
        let limit = side(&path, "a width", usize::MAX, 28).unwrap_err();
        assert!(matches!(limit, Error::FormatLimit { .. }));
        assert!(!path.exists());
    }
}
