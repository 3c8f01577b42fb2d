//! A file's bytes to a picture of the size and the colours asked for.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use resize::px::RGB;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::Colour;
use crate::picture::{Rows, decode_png};
use crate::{Error, Result};

/// The shortest and the longest side of a picture that is read. Less shows nothing.
const SIDES: std::ops::RangeInclusive<usize> = 8..=16_384;
/// Most pixels of a picture that is read: the decoded rows take no more than 128 MB.
const PIXELS: usize = 1 << 25;

/// Reads one picture, as [`load`](super::load) does each.
///
/// # Shapes
///
/// Result: C x `size` x `size` values in 0..=255, C as asked for, or else 1 where every pixel is
/// grey and 3 where not.
///
/// # Errors
///
/// [`Error::Read`], [`Error::NoPicture`], [`Error::Unreadable`], [`Error::Unfit`].
pub fn read(path: &Path, size: usize, colour: Option<Colour>) -> Result<Vec<u8>> {
    let bytes = fs::read(path).map_err(|source| Error::Read { path: path.into(), source })?;
    let rows = if bytes.starts_with(b"\xff\xd8") {
        decode_jpeg(path, &bytes)?
    } else if bytes.starts_with(b"\x89PNG") {
        decode_png(path, Cursor::new(bytes), |width, height| check(path, width, height))?
    } else {
        return Err(Error::NoPicture { path: path.into() });
    };
    let (width, height) = (rows.width, rows.height);
    let mut pixels = over_white(rows);
    if colour == Some(Colour::Grey) {
        pixels.iter_mut().for_each(|pixel| *pixel = luma(*pixel));
    }
    let is_grey = pixels.iter().all(|pixel| pixel.r == pixel.g && pixel.g == pixel.b);
    let channels = colour.map_or(if is_grey { 1 } else { 3 }, Colour::channels);
    let pixels = square(path, pixels, width, height, size)?;
    let planes = [|p: &RGB<u8>| p.r, |p: &RGB<u8>| p.g, |p: &RGB<u8>| p.b];
    Ok(planes[..channels].iter().flat_map(|plane| pixels.iter().map(plane)).collect())
}

/// # Errors
///
/// [`Error::Unfit`].
fn check(path: &Path, width: usize, height: usize) -> Result<()> {
    if [width, height].iter().all(|side| SIDES.contains(side)) && width * height <= PIXELS {
        return Ok(());
    }
    let (least, most) = (*SIDES.start(), *SIDES.end());
    Err(Error::Unfit { path: path.into(), width, height, least, most, pixels: PIXELS })
}

/// Decodes a JPEG picture, baseline or progressive. One that is cut short or damaged where it shows
/// is an error, and not grey from there on.
fn decode_jpeg(path: &Path, bytes: &[u8]) -> Result<Rows> {
    let unreadable = |source: zune_jpeg::errors::DecodeErrors| Error::Unreadable {
        path: path.into(),
        format: "JPEG",
        source: source.into(),
    };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(unreadable)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check(path, width, height)?;
    let values = decoder.decode().map_err(unreadable)?;
    Ok(Rows { width, height, samples: 3, values })
}

/// Pixels in colour, laid over white.
fn over_white(rows: Rows) -> Vec<RGB<u8>> {
    let over = |value: u8, opacity: u8| {
        let (value, opacity) = (u32::from(value), u32::from(opacity));
        ((value * opacity + 255 * (255 - opacity) + 127) / 255) as u8
    };
    let pixels = rows.values.chunks_exact(rows.samples);
    let of = |pixel: &[u8]| match *pixel {
        [v] => RGB { r: v, g: v, b: v },
        [v, a] => RGB { r: over(v, a), g: over(v, a), b: over(v, a) },
        [r, g, b] => RGB { r, g, b },
        [r, g, b, a] => RGB { r: over(r, a), g: over(g, a), b: over(b, a) },
        _ => RGB { r: 0, g: 0, b: 0 }, // no format has such pixels
    };
    pixels.map(of).collect()
}

/// How light a colour is (ITU-R BT.601).
fn luma(RGB { r, g, b }: RGB<u8>) -> RGB<u8> {
    let sum = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    let v = ((sum + 500) / 1000) as u8;
    RGB { r: v, g: v, b: v }
}

/// The square in the middle, resampled to a size.
fn square(
    path: &Path,
    pixels: Vec<RGB<u8>>,
    width: usize,
    height: usize,
    size: usize,
) -> Result<Vec<RGB<u8>>> {
    let side = width.min(height);
    let start = (height - side) / 2 * width + (width - side) / 2;
    let rows = pixels[start..].chunks(width).take(side).map(|row| &row[..side]);
    if side == size {
        return Ok(rows.flatten().copied().collect());
    }
    let mut out = vec![RGB { r: 0, g: 0, b: 0 }; size * size];
    resize::new(side, side, size, size, resize::Pixel::RGB8, resize::Type::Lanczos3)
        .and_then(|mut to| to.resize_stride(&pixels[start..], width, &mut out))
        .map_err(|source| Error::Resize { path: path.into(), source })?;
    Ok(out)
}
