//! Decodes JPEG and PNG files, crops and resamples the images.

use std::io::{BufRead, Cursor, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use resize::Pixel;
use resize::px::{PixelFormat, RGB, RGBA};
use zune_core::bytestream::{ZByteReaderTrait, ZCursor};
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::colour::Colour;
use super::size::Size;
use crate::files::read as read_file;
use crate::limits::{MAX_PIXELS, SIDES, SIZES};
use crate::png::{Rows, blend, decode_png};
use crate::{Error, Result};

/// An image is cropped to no less than this part of it, one in ten pixels.
const LEAST_PART: usize = 10;

/// Reads one image in the way [`load`](super::load) does.
///
/// # Shapes
///
/// Result: C x H x W values in 0..=255 of this size. Without a colour mode, C is 1 if every pixel is
/// grey, else 3.
///
/// # Errors
///
/// [`Error::Read`], [`Error::NotAnImage`], [`Error::Decode`], [`Error::ImageSize`],
/// [`Error::Cropped`], [`Error::Resample`].
pub fn read(path: &Path, size: Size, colour: Option<Colour>) -> Result<Vec<u8>> {
    decode(path, &read_file(path)?, size, colour)
}

/// Decodes an image file as [`read`] does; `file` is its name for error messages.
///
/// # Errors
///
/// Those of [`read`] except [`Error::Read`]. It panics on no input.
pub fn decode(file: &Path, bytes: &[u8], size: Size, colour: Option<Colour>) -> Result<Vec<u8>> {
    if [size.width, size.height].iter().any(|side| !(1..=*SIZES.end()).contains(side)) {
        return Err(Error::TargetSize { size });
    }
    let rows = if bytes.starts_with(b"\xff\xd8") {
        decode_jpeg(file, bytes)?
    } else if bytes.starts_with(b"\x89PNG") {
        decode_png(file, Cursor::new(bytes), |width, height| check(file, width, height))?
    } else {
        return Err(Error::NotAnImage { path: file.into() });
    };
    let whole = (rows.width, rows.height);
    if colour == Some(Colour::Rgba) {
        return with_opacity(file, &rows, size);
    }
    let mut pixels = over_white(rows);
    if colour == Some(Colour::Grey) {
        pixels.iter_mut().for_each(|pixel| *pixel = luma(*pixel));
    }
    let is_grey = pixels.iter().all(|pixel| pixel.r == pixel.g && pixel.g == pixel.b);
    let channels = colour.map_or(if is_grey { 1 } else { 3 }, Colour::channels);
    let pixels = resampled(file, &pixels, whole, (size, Pixel::RGB8))?;
    let planes = [|p: &RGB<u8>| p.r, |p: &RGB<u8>| p.g, |p: &RGB<u8>| p.b];
    Ok(planes[..channels].iter().flat_map(|plane| pixels.iter().map(plane)).collect())
}

/// Reads the width and height of an image from the beginning of its file; `path` is its name for error
/// messages.
///
/// # Errors
///
/// [`Error::Read`], [`Error::NotAnImage`], [`Error::Decode`].
pub(crate) fn dimensions(path: &Path, mut file: impl BufRead + Seek) -> Result<(usize, usize)> {
    let unreadable = |source| Error::Read { path: path.into(), source };
    if file.fill_buf().map_err(unreadable)?.starts_with(b"\xff\xd8") {
        return Ok(jpeg_decoder(path, file)?.dimensions().unwrap_or_default());
    }
    // A PNG file begins with 8 bytes of signature, then the header's length, name, width and height.
    let mut bytes = Vec::new();
    file.take(24).read_to_end(&mut bytes).map_err(unreadable)?;
    let number = |at: usize| match bytes.get(at..at + 4) {
        Some(&[a, b, c, d]) => Some(u32::from_be_bytes([a, b, c, d]) as usize),
        _ => None,
    };
    match (bytes.starts_with(b"\x89PNG"), number(16), number(20)) {
        (true, Some(width), Some(height)) => Ok((width, height)),
        _ => Err(Error::NotAnImage { path: path.into() }),
    }
}

/// Checks the size of an image before it is decoded.
///
/// # Errors
///
/// [`Error::ImageSize`].
fn check(path: &Path, width: usize, height: usize) -> Result<()> {
    if [width, height].iter().all(|side| SIDES.contains(side)) && width * height <= MAX_PIXELS {
        return Ok(());
    }
    Err(Error::ImageSize { path: path.into(), width, height })
}

/// Decodes a baseline or progressive JPEG image. Truncated or visibly damaged images are errors.
fn decode_jpeg(path: &Path, bytes: &[u8]) -> Result<Rows> {
    let mut decoder = jpeg_decoder(path, ZCursor::new(bytes))?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check(path, width, height)?;
    // In builds with overflow checks, damaged coefficients make the decoder panic.
    let decoded = catch_unwind(AssertUnwindSafe(|| decoder.decode()));
    let values = match decoded {
        Ok(values) => values.map_err(|source| undecodable(path, source))?,
        Err(_) => {
            let source = "its numbers are too large".into();
            return Err(Error::Decode { path: path.into(), format: "JPEG", source });
        }
    };
    Ok(Rows { width, height, samples: 3, values })
}

/// A decoder that has read the headers of a JPEG image.
fn jpeg_decoder<T: ZByteReaderTrait>(path: &Path, bytes: T) -> Result<JpegDecoder<T>> {
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(bytes, options);
    decoder.decode_headers().map_err(|source| undecodable(path, source))?;
    Ok(decoder)
}

fn undecodable(path: &Path, source: DecodeErrors) -> Error {
    Error::Decode { path: path.into(), format: "JPEG", source: source.into() }
}

/// Converts pixels to RGB and blends transparent ones with white.
fn over_white(rows: Rows) -> Vec<RGB<u8>> {
    let pixels = rows.values.chunks_exact(rows.samples);
    let of = |pixel: &[u8]| match *pixel {
        [v] => RGB { r: v, g: v, b: v },
        [v, a] => RGB { r: blend(v, a), g: blend(v, a), b: blend(v, a) },
        [r, g, b] => RGB { r, g, b },
        [r, g, b, a] => RGB { r: blend(r, a), g: blend(g, a), b: blend(b, a) },
        _ => RGB { r: 0, g: 0, b: 0 }, // unreachable: no format has such pixels
    };
    pixels.map(of).collect()
}

/// Resamples an image with its opacity. Result: 4 x H x W values.
fn with_opacity(file: &Path, rows: &Rows, size: Size) -> Result<Vec<u8>> {
    let of = |pixel: &[u8]| match *pixel {
        [v] => RGBA { r: v, g: v, b: v, a: u8::MAX },
        [v, a] => RGBA { r: v, g: v, b: v, a },
        [r, g, b] => RGBA { r, g, b, a: u8::MAX },
        [r, g, b, a] => RGBA { r, g, b, a },
        _ => RGBA { r: 0, g: 0, b: 0, a: 0 }, // unreachable: no format has such pixels
    };
    let pixels: Vec<RGBA<u8>> = rows.values.chunks_exact(rows.samples).map(of).collect();
    let mut pixels = resampled(file, &pixels, (rows.width, rows.height), (size, Pixel::RGBA8P))?;
    let white = RGBA { r: u8::MAX, g: u8::MAX, b: u8::MAX, a: 0 };
    pixels.iter_mut().filter(|pixel| pixel.a == 0).for_each(|pixel| *pixel = white);
    let planes = [|p: &RGBA<u8>| p.r, |p: &RGBA<u8>| p.g, |p: &RGBA<u8>| p.b, |p: &RGBA<u8>| p.a];
    Ok(planes.iter().flat_map(|plane| pixels.iter().map(plane)).collect())
}

/// Converts a colour to its luma (ITU-R BT.601).
fn luma(RGB { r, g, b }: RGB<u8>) -> RGB<u8> {
    let sum = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    let v = ((sum + 500) / 1000) as u8;
    RGB { r: v, g: v, b: v }
}

/// Crops an image to the largest part in its middle with the ratio of the size, and resamples it.
fn resampled<P, F>(
    path: &Path,
    pixels: &[P],
    (width, height): (usize, usize),
    (size, format): (Size, F),
) -> Result<Vec<P>>
where
    P: Clone + Copy + Default + Send + Sync,
    F: PixelFormat<InputPixel = P, OutputPixel = P>,
{
    let part = size.part_of(width, height);
    if part.0 * part.1 * LEAST_PART < width * height {
        return Err(Error::Cropped { path: path.into(), width, height, size });
    }
    let start = (height - part.1) / 2 * width + (width - part.0) / 2;
    if part == (size.width, size.height) {
        let rows = pixels[start..].chunks(width).take(part.1).map(|row| &row[..part.0]);
        return Ok(rows.flatten().copied().collect());
    }
    let mut out = vec![P::default(); size.area()];
    resize::new(part.0, part.1, size.width, size.height, format, resize::Type::Lanczos3)
        .and_then(|mut to| to.resize_stride(&pixels[start..], width, &mut out))
        .map_err(|source| Error::Resample { path: path.into(), source: source.into() })?;
    Ok(out)
}
