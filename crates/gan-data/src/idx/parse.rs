//! Parses IDX files.

use std::io::Read;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use super::images::Images;
use super::{IMAGES, Kind, LABELS, emnist};
use crate::limits::MAX_BYTES;
use crate::{Error, ImageShape, Result};

/// Reads an image file; see [`parse_images`]. Images of a file whose name starts with `emnist-` are
/// transposed, because EMNIST stores them with rows and columns exchanged.
///
/// # Errors
///
/// [`Error::Read`], and those of [`parse_images`].
pub fn read_images(path: &Path) -> Result<Images> {
    Ok(emnist::upright(path, parse_images(path, &read(path)?)?))
}

/// Reads a label file; see [`parse_labels`].
///
/// # Errors
///
/// [`Error::Read`], and those of [`parse_labels`].
pub fn read_labels(path: &Path) -> Result<Vec<u8>> {
    parse_labels(path, &read(path)?)
}

/// Reads a file, and no more of it than a header may claim and a byte that trails.
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    gan_files::open(path)
        .and_then(|file| file.take(16 + MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|source| Error::Read { path: path.into(), source })?;
    Ok(bytes)
}

/// Parses an image file; `file` is its name for error messages.
///
/// Bytes that start with 1f 8b are gzipped. They are unpacked to at most one byte more than the
/// header says.
///
/// # Errors
///
/// [`Error::TruncatedHeader`], [`Error::WrongMagic`], [`Error::WrongKind`],
/// [`Error::Empty`], [`Error::TooLarge`], [`Error::TruncatedBody`],
/// [`Error::TrailingBytes`] and [`Error::Gzip`]. It panics on no input.
pub fn parse_images(file: &Path, bytes: &[u8]) -> Result<Images> {
    let mut input = Input::new(file, bytes);
    let [_, count, height, width] = input.header::<4>(&IMAGES, &LABELS)?;
    let shape = ImageShape { channels: 1, height: height as usize, width: width as usize };
    if count == 0 || height == 0 || width == 0 {
        let name = file.display().to_string();
        return Err(Error::Empty { name, count: count as usize, shape });
    }
    let size = u64::from(count).saturating_mul(u64::from(height) * u64::from(width)); // at most (2^32 - 1)^2
    check_size(file, count, shape, size)?;
    Ok(Images { shape, pixels: input.body(size)? })
}

/// Parses a label file, plain or gzipped; `file` is its name for error messages.
///
/// # Errors
///
/// [`Error::TruncatedHeader`], [`Error::WrongMagic`], [`Error::WrongKind`],
/// [`Error::TooLarge`], [`Error::TruncatedBody`], [`Error::TrailingBytes`] and
/// [`Error::Gzip`]. It panics on no input.
pub fn parse_labels(file: &Path, bytes: &[u8]) -> Result<Vec<u8>> {
    let mut input = Input::new(file, bytes);
    let [_, count] = input.header::<2>(&LABELS, &IMAGES)?;
    let one_byte = ImageShape { channels: 1, height: 1, width: 1 };
    check_size(file, count, one_byte, count.into())?;
    input.body(count.into())
}

/// Checks the size that a header claims, before anything is read or reserved for it.
fn check_size(file: &Path, count: u32, shape: ImageShape, size: u64) -> Result<()> {
    if size > MAX_BYTES {
        return Err(Error::TooLarge { path: file.into(), count, shape });
    }
    Ok(())
}

/// The bytes of a file, unpacked as they are read.
struct Input<'a> {
    file: &'a Path,
    bytes: Box<dyn Read + 'a>,
}

impl<'a> Input<'a> {
    fn new(file: &'a Path, bytes: &'a [u8]) -> Self {
        let bytes: Box<dyn Read + 'a> = match bytes.starts_with(&[0x1f, 0x8b]) {
            true => Box::new(MultiGzDecoder::new(bytes)),
            false => Box::new(bytes),
        };
        Self { file, bytes }
    }

    /// Reads the N words of the header of a file of `kind`; `other` is the other kind.
    fn header<const N: usize>(&mut self, kind: &Kind, other: &Kind) -> Result<[u32; N]> {
        let size = 4 * N as u64;
        let bytes = self.read(size, Vec::new())?;
        let mut words = [0; N];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        if bytes.len() >= 4 && words[0] == other.magic {
            return Err(Error::WrongKind {
                path: self.file.into(),
                wanted: kind.holds,
                found: other.holds,
            });
        }
        if bytes.len() >= 4 && words[0] != kind.magic {
            return Err(Error::WrongMagic {
                path: self.file.into(),
                wanted: kind.holds,
                expected: kind.magic,
                found: words[0],
            });
        }
        if bytes.len() as u64 != size {
            return Err(Error::TruncatedHeader {
                path: self.file.into(),
                expected: size,
                found: bytes.len() as u64,
            });
        }
        Ok(words)
    }

    /// Reads the remaining bytes, which must be `size`. Memory grows as they come.
    fn body(&mut self, size: u64) -> Result<Vec<u8>> {
        // One more byte reveals trailing bytes.
        let mut bytes = self.read(size.saturating_add(1), Vec::new())?;
        let found = bytes.len() as u64;
        let path = self.file.into();
        if found < size {
            return Err(Error::TruncatedBody { path, expected: size, found });
        }
        if found > size {
            return Err(Error::TrailingBytes { path, expected: size, found });
        }
        bytes.shrink_to_fit();
        Ok(bytes)
    }

    /// Appends up to `limit` bytes to `bytes`; fewer only at the end of the file.
    fn read(&mut self, limit: u64, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
        match self.bytes.by_ref().take(limit).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(Error::Gzip { path: self.file.into(), source }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    /// Two images of 2 x 3.
    const IMAGES: &[u8] = &[
        0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, //
        0, 1, 2, 3, 4, 5, 250, 251, 252, 253, 254, 255,
    ];
    const LABELS: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 2, 7, 1];

    fn images(bytes: &[u8]) -> Result<Images> {
        parse_images(Path::new("dir/images"), bytes)
    }

    fn labels(bytes: &[u8]) -> Result<Vec<u8>> {
        parse_labels(Path::new("dir/labels"), bytes)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// A header of images without a body.
    fn header(count: u32, height: u32, width: u32) -> Vec<u8> {
        [0x0803, count, height, width].iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// The text of an error that must match `$variant`.
    macro_rules! text {
        ($result:expr, $variant:ident) => {{
            let error = $result.unwrap_err();
            assert!(matches!(error, Error::$variant { .. }), "{error:?}");
            error.to_string()
        }};
    }

    #[test]
    fn plain_and_gzipped_files_are_read() {
        for bytes in [IMAGES.to_vec(), gzip(IMAGES)] {
            let images = images(&bytes).unwrap();
            assert_eq!((images.shape.height, images.shape.width), (2, 3));
            assert_eq!(images.count(), 2);
            assert_eq!(images.pixels, IMAGES[16..]);
        }
        for bytes in [LABELS.to_vec(), gzip(LABELS)] {
            assert_eq!(labels(&bytes).unwrap(), [7, 1]);
        }
    }

    #[test]
    fn truncated_headers() {
        let found = text!(images(&IMAGES[..15]), TruncatedHeader);
        let expected = "dir/images: truncated header: expected 16 bytes, found 15";
        assert_eq!(found, expected);
        let found = text!(labels(&[]), TruncatedHeader);
        let expected = "dir/labels: truncated header: expected 8 bytes, found 0";
        assert_eq!(found, expected);
        text!(images(&gzip(&IMAGES[..3])), TruncatedHeader);
    }

    #[test]
    fn truncated_bodies() {
        let found = text!(images(&IMAGES[..27]), TruncatedBody);
        let expected = "dir/images: truncated body: expected 12 bytes after the header, found 11";
        assert_eq!(found, expected);
        text!(labels(&LABELS[..9]), TruncatedBody);
        text!(labels(&gzip(&LABELS[..9])), TruncatedBody);
    }

    #[test]
    fn trailing_bytes() {
        let found = text!(labels(&[LABELS, &[0; 5]].concat()), TrailingBytes);
        let expected =
            "dir/labels: trailing bytes: expected 2 bytes after the header, found at least 3";
        assert_eq!(found, expected);
        text!(images(&gzip(&[IMAGES, &[0]].concat())), TrailingBytes);
    }

    #[test]
    fn wrong_magic() {
        let mut bytes = IMAGES.to_vec();
        bytes[2] = 9;
        assert_eq!(
            text!(images(&bytes), WrongMagic),
            "dir/images: not an IDX file of images: \
             expected magic 0x00000803, found 0x00000903"
        );
        let found = text!(labels(b"\x89PNG"), WrongMagic);
        assert!(found.ends_with("0x00000801, found 0x89504e47"), "{found}");
    }

    #[test]
    fn labels_for_images_and_images_for_labels() {
        let found = text!(images(LABELS), WrongKind);
        let expected = "dir/images: mislabelled: an IDX file of labels where images are expected";
        assert_eq!(found, expected);
        let found = text!(labels(&gzip(IMAGES)), WrongKind);
        let expected = "dir/labels: mislabelled: an IDX file of images where labels are expected";
        assert_eq!(found, expected);
    }

    #[test]
    fn zero_sizes() {
        let found = text!(images(&header(2, 0, 3)), Empty);
        let expected = "dir/images: zero sized: 2 images of 1 x 0 x 3 pixels";
        assert_eq!(found, expected);
        text!(images(&header(2, 3, 0)), Empty);
        text!(images(&header(0, 2, 3)), Empty);
        assert!(labels(&[0, 0, 8, 1, 0, 0, 0, 0]).unwrap().is_empty());
    }

    #[test]
    fn sizes_beyond_the_limit() {
        let max = u32::MAX;
        let found = text!(images(&header(max, max, max)), TooLarge);
        assert_eq!(
            found,
            "dir/images: too large: 4294967295 images of 1 x 4294967295 x 4294967295 pixels; an \
             IDX file is read up to 2 GiB"
        );
        text!(images(&gzip(&header(max, max, 1))), TooLarge);
        let at = (MAX_BYTES / 1024) as u32;
        text!(images(&header(at + 1, 32, 32)), TooLarge);
        // What is allocated follows the file, not its header.
        text!(images(&gzip(&header(at, 32, 32))), TruncatedBody);
        text!(labels(&[&0x0801u32.to_be_bytes()[..], &max.to_be_bytes()].concat()), TooLarge);
    }

    #[test]
    fn gzip_bombs_are_left_packed() {
        let bomb = gzip(&[header(1, 2, 3), vec![0; 1 << 22]].concat());
        assert!(bomb.len() < 1 << 13);
        let found = text!(images(&bomb), TrailingBytes);
        assert!(found.ends_with("expected 6 bytes after the header, found at least 7"));
    }

    #[test]
    fn broken_gzip() {
        let whole = gzip(IMAGES);
        let found = text!(images(&whole[..whole.len() - 1]), Gzip);
        assert_eq!(found, "dir/images: broken gzip");
        text!(images(&whole[..2]), Gzip);
        let mut checksum = whole.clone();
        checksum[whole.len() - 8] ^= 1;
        text!(images(&checksum), Gzip);
        text!(images(&[&whole[..], b"appended"].concat()), Gzip);
    }

    #[test]
    fn no_damage_makes_it_panic() {
        for whole in [IMAGES.to_vec(), LABELS.to_vec(), gzip(IMAGES), gzip(LABELS)] {
            for end in 0..whole.len() {
                assert!(images(&whole[..end]).is_err());
                assert!(labels(&whole[..end]).is_err());
            }
            for at in 0..whole.len() {
                for bit in 0..8 {
                    let mut bytes = whole.clone();
                    bytes[at] ^= 1 << bit;
                    let _ = images(&bytes);
                    let _ = labels(&bytes);
                }
            }
        }
    }
}
