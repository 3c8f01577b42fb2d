//! Tests of sets of tar files.

use super::test_image::{SIZE, image};
use super::*;
use crate::folder::{Colour, Options};
use crate::{Batch, Batches, DatasetInfo, Error, ImageShape, Images, Result, Stream, png, range};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// A tar file of these files.
fn tar_file(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        builder.append(&header(name, bytes.len()), *bytes).unwrap();
    }
    builder.into_inner().unwrap()
}

/// A header with this name as it is, which may lead anywhere.
fn header(name: &str, size: usize) -> ::tar::Header {
    let mut header = ::tar::Header::new_gnu();
    header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(size as u64);
    header.set_cksum();
    header
}

/// Shards of labelled images whose value is their number; the label is the value modulo 3.
fn set(counts: &[u8]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let mut value = 0;
    for (number, &count) in counts.iter().enumerate() {
        let mut builder = ::tar::Builder::new(Vec::new());
        for _ in 0..count {
            for (name, bytes) in
                [("png", image(value)), ("cls", format!("{}\n", value % 3).into_bytes())]
            {
                let name = format!("./{value:04}.{name}");
                builder.append(&header(&name, bytes.len()), &bytes[..]).unwrap();
            }
            value += 1;
        }
        let path = directory.path().join(format!("part-{number}.tar"));
        fs::write(path, builder.into_inner().unwrap()).unwrap();
    }
    directory
}

fn options() -> Options {
    Options::new().size(SIZE).strict(false)
}

fn images(place: &Path) -> Result<ShardedImages> {
    ShardedImages::new(Arc::new(Shards::open(place)?), &options())
}

fn batches(place: &Path, buffer: usize) -> Batches {
    let images = Images::from(images(place).unwrap().with_buffer(buffer));
    Batches::new(Arc::new(images), 4, 42).unwrap()
}

/// The values of a batch's images. The labels are theirs.
fn values(batch: Batch) -> Vec<u8> {
    let pixels = range::to_bytes(&batch.images).unwrap();
    let values: Vec<u8> = pixels.iter().step_by(SIZE * SIZE).copied().collect();
    assert_eq!(batch.labels, values.iter().map(|value| u32::from(value % 3)).collect::<Vec<_>>());
    values
}

/// The error of a set of one file, after the directory.
fn error_of(bytes: &[u8]) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.tar"), bytes).unwrap();
    let error = images(directory.path()).map(|images| images.sample().map(drop));
    let error = error.and_then(|sample| sample).unwrap_err();
    let source = std::error::Error::source(&error);
    let text = [error.to_string()].into_iter().chain(source.map(ToString::to_string));
    let prefix = format!("{}/", directory.path().display());
    text.collect::<Vec<_>>().join(": ").replace(&prefix, "")
}

#[test]
fn images_and_labels_are_found() {
    let place = set(&[3, 2]);
    let images = images(place.path()).unwrap();
    assert_eq!(images.outline().labels(), [0, 1, 2, 0, 1]);
    assert_eq!(images.outline().classes(), ["0", "1", "2"]);
    assert_eq!(images.shape(), ImageShape { channels: 1, height: SIZE, width: SIZE });
    for index in 0..5 {
        let (pixels, label) = images.image(index).unwrap();
        assert_eq!((pixels, label), (vec![index as u8; 64], index as u32 % 3));
    }
    assert_eq!(images.shards.name(4), place.path().join("part-1.tar:./0004.png"));
    let one = super::Shards::open(&place.path().join("*-1.tar")).unwrap();
    assert_eq!((one.len(), one.files()), (2, 1));
}

/// As real sets have it: directories, captions, several images, upper case, names longer than a header.
#[test]
fn samples_are_told_apart_by_their_names() {
    let directory = tempfile::tempdir().unwrap();
    let long = "x/".repeat(80);
    let mut builder = ::tar::Builder::new(Vec::new());
    for (name, bytes) in [
        ("a.b/1.json", b"{\"label\": 70, \"label_name\": \"seventy\"}".to_vec()),
        ("a.b/1.left.PNG", image(1)),
        ("a.b/1.right.png", image(2)),
        ("a.b/1.txt", b"not read".to_vec()),
        ("a.b/.2.png", b"of a file system".to_vec()),
        ("a.b/2.cls", b" 7 ".to_vec()),
        ("a.b/2.json", b"{}".to_vec()),
        ("a.b/2.jpeg", image(3)),
        ("c.b/2.png", image(4)),
        ("c.b/2.cls", b"70".to_vec()),
        ("README", b"text".to_vec()),
        ("d/3.cls", b"8".to_vec()),
        (&format!("{long}4.png"), image(5)),
        (&format!("{long}4.cls"), b"7".to_vec()),
    ] {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    fs::write(directory.path().join("a.tar"), builder.into_inner().unwrap()).unwrap();
    let images = images(directory.path()).unwrap();
    assert_eq!(images.outline().classes(), ["7", "70"]);
    let found: Vec<(u8, u32)> = (0..4)
        .map(|i| images.image(i).map(|(pixels, label)| (pixels[0], label)).unwrap())
        .collect();
    assert_eq!((found, images.outline().len()), (vec![(1, 1), (3, 0), (4, 1), (5, 0)], 4));
    assert!(images.shards.name(3).to_string_lossy().ends_with("/x/x/4.png"));
}

#[test]
fn a_set_without_labels_has_one_class() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("flowers");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("a.tar"), tar_file(&[("1.png", &image(1)), ("2.png", &image(2))]))
        .unwrap();
    let images = images(&place).unwrap();
    assert_eq!(
        (images.outline().labels(), images.outline().classes()),
        (&[0, 0][..], &["flowers".to_owned()][..])
    );
}

#[test]
fn every_epoch_has_every_image_once() {
    let place = set(&[5, 1, 6]);
    for buffer in [1, 5, 100] {
        let mut batches = batches(place.path(), buffer);
        let read: Vec<u8> = (0..6).flat_map(|k| values(batches.batch(k).unwrap())).collect();
        for epoch in read.chunks(12) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..12).collect::<Vec<_>>(), "buffer {buffer}");
        }
        assert_ne!(read[..12], read[12..], "buffer {buffer}");
        // Without a buffer, shards stay whole.
        let is_ordered =
            |epoch: &[u8]| epoch.windows(2).filter(|pair| pair[1] != pair[0] + 1).count() <= 2;
        assert_eq!(read.chunks(12).all(is_ordered), buffer == 1);
    }
}

/// Runs that are resumed read the same images.
#[test]
fn the_order_never_changes() {
    let place = set(&[5, 1, 6]);
    let images = images(place.path()).unwrap().with_buffer(4);
    // From a separate implementation.
    assert_eq!(images.order(42, 0), [2, 0, 3, 1, 6, 5, 7, 4, 10, 9, 8, 11]);
    assert_eq!(images.order(42, 1), [2, 5, 1, 0, 4, 6, 3, 7, 10, 11, 9, 8]);
}

#[test]
fn a_batch_depends_only_on_its_index() {
    let place = set(&[5, 1, 6]);
    let mut forward = batches(place.path(), 4);
    let expected: Vec<Vec<u8>> = (0..20).map(|k| values(forward.batch(k).unwrap())).collect();
    let mut backward = batches(place.path(), 4);
    for k in (0..20).rev() {
        assert_eq!(values(backward.batch(k).unwrap()), expected[k as usize]);
    }
    for first in [0, 1, 7] {
        let mut whole = Stream::new(batches(place.path(), 4), first).unwrap();
        let mut half = Stream::new(batches(place.path(), 4).narrow(2..4), first).unwrap();
        for want in &expected[first as usize..] {
            assert_eq!(values(whole.next().unwrap()), *want);
            assert_eq!(values(half.next().unwrap()), want[2..]);
        }
    }
}

#[test]
fn parts_have_the_classes_and_samples_of_the_whole() {
    let place = set(&[30, 30]);
    let all = Images::from(images(place.path()).unwrap());
    let kept = all.filter_classes(&["2".into(), "0".into()]).unwrap();
    assert_eq!((kept.len(), kept.classes()), (40, &["2".to_owned(), "0".to_owned()][..]));
    assert_eq!(DatasetInfo::of_images(&kept).unwrap().shape().len(), SIZE * SIZE);
    let (training, held_out) = kept.hold_out(0.1).unwrap();
    let held_out = held_out.unwrap();
    assert_eq!((training.len(), held_out.len()), (36, 4));
    let of = |images: &Images| -> Vec<u8> {
        images.in_memory().unwrap().pixels().iter().step_by(SIZE * SIZE).copied().collect()
    };
    let mut both = [of(&training), of(&held_out)].concat();
    both.sort_unstable();
    assert_eq!(both, (0..60).filter(|value| value % 3 != 1).collect::<Vec<u8>>());
    let sample = training.in_memory().unwrap();
    assert!(of(&training).iter().zip(sample.labels()).all(|(v, &l)| u32::from(v % 3 == 0) == l));
}

#[test]
fn size_and_colour_follow_from_the_images() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.png");
    let shape = ImageShape { channels: 3, height: 40, width: 60 };
    png::write(&path, shape, &(0..7200).map(|i| (i % 251) as u8).collect::<Vec<_>>()).unwrap();
    let colour = fs::read(&path).unwrap();
    let files =
        [("0.png", &image(1)[..]), ("1.png", &colour), ("2.png", &colour), ("3.png", b"no")];
    fs::write(directory.path().join("a.tar"), tar_file(&files)).unwrap();
    let shards = Arc::new(Shards::open(directory.path()).unwrap());
    assert_eq!(shards.suggest_size().unwrap(), 32);
    assert_eq!(ShardedImages::new(shards.clone(), &options()).unwrap().shape().channels, 3);
    let grey = ShardedImages::new(shards.clone(), &options().colour(Some(Colour::Grey))).unwrap();
    assert_eq!(grey.image(1).unwrap().0.len(), SIZE * SIZE);
    let error = ShardedImages::new(shards.clone(), &options().size(4)).unwrap_err();
    assert!(matches!(error, Error::TargetSize { .. }));
}

/// A damaged image is named once, and the next one takes its place.
#[test]
fn what_is_no_image_is_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let files =
        [("1.png", &image(1)[..]), ("2.png", b"no image"), ("3.png", &image(3)), ("4.jpg", b"")];
    fs::write(directory.path().join("a.tar"), tar_file(&files)).unwrap();
    let images = images(directory.path()).unwrap();
    let first = |index| images.image(index).unwrap().0[0];
    assert_eq!([0, 1, 2, 3, 1].map(first), [1, 3, 3, 1, 3]);
    let skipped: Vec<String> = images.take_skipped().iter().map(Error::to_string).collect();
    assert_eq!(skipped.len(), 2);
    assert!(skipped[0].ends_with("a.tar:2.png: neither a JPEG nor a PNG image"), "{skipped:?}");
    assert!(images.take_skipped().is_empty());
    assert_eq!(images.sample().unwrap().len(), 2);
    let strict = ShardedImages::new(images.shards.clone(), &options().strict(true)).unwrap();
    assert!(matches!(strict.image(1), Err(Error::NotAnImage { .. })));
    let none = error_of(&tar_file(&[("1.png", b"no image"), ("2.png", b"neither")]));
    assert!(none.ends_with(": 2 images in a row cannot be read; the first: a.tar:1.png: neither a JPEG nor a PNG image"), "{none}");
}

#[test]
fn damaged_files_are_named() {
    let whole = tar_file(&[("1.png", &image(1)), ("2.png", &image(2))]);
    let second = 2 * 512;
    assert!(whole.len() >= second + 2 * 512 + 1024);
    let cut = error_of(&whole[..second + 520]);
    assert!(cut.starts_with("a.tar: truncated: \"2.png\" would end at byte 16"), "{cut}");
    assert!(cut.ends_with("the file ends at byte 1544"), "{cut}");
    let no_end = error_of(&whole[..second + 1024]);
    assert_eq!(
        no_end,
        "a.tar: not a valid tar file: it is truncated, as it lacks the zeros at its end; the last file \
         is \"2.png\""
    );
    let empty = error_of(b"");
    assert_eq!(empty, "a.tar: not a valid tar file: it is empty");
    let header_cut = error_of(&whole[..second + 100]);
    assert_eq!(header_cut, "a.tar: not a valid tar file: failed to read entire block");
    let noise: Vec<u8> = (0..4096u32).map(|i| (i * 37 % 251) as u8).collect();
    assert!(error_of(&noise).starts_with("a.tar: not a valid tar file: "));

    let mut huge = header("1.png", 0);
    huge.set_size(u64::MAX / 2);
    huge.set_cksum();
    let huge = error_of(&[huge.as_bytes(), &[0; 2048][..]].concat());
    assert!(huge.starts_with("a.tar: truncated: \"1.png\" would end at byte 922"), "{huge}");
    // A name as long as a disk.
    let mut name = header("././@LongLink", 1 << 40);
    name.set_entry_type(::tar::EntryType::GNULongName);
    name.set_cksum();
    let name = error_of(&[name.as_bytes(), &[b'a'; 2 << 20][..]].concat());
    assert_eq!(name, "a.tar: not a valid tar file: a name or a label has more than 2^20 bytes");
}

#[test]
fn labels_must_be_numbers_and_all_there() {
    let labelled = |label: &[u8], name| error_of(&tar_file(&[("1.png", &image(1)), (name, label)]));
    for (label, name, want) in [
        (
            &b"cat"[..],
            "1.cls",
            "a.tar:1.cls: \"cat\" is no label; a whole number from 0 to 4294967295 is needed",
        ),
        (b"-1", "1.cls", "a.tar:1.cls: \"-1\" is no label"),
        (b"", "1.cls", "a.tar:1.cls: \"\" is no label"),
        (b"{\"label\": 1.5}", "1.json", "a.tar:1.json: \"1.5\" is no label"),
        (b"{\"label\": \"cat\"}", "1.json", "a.tar:1.json: \"\\\"cat\\\"\" is no label"),
        (b"{", "1.json", "a.tar:1.json: not a valid JSON file: EOF"),
    ] {
        let error = labelled(label, name);
        assert!(error.starts_with(want), "{error}");
    }
    let some = error_of(&tar_file(&[
        ("1.png", &image(1)),
        ("1.cls", b"0"),
        ("2.png", &image(2)),
        ("3.png", &image(3)),
        ("3.cls", b"0"),
    ]));
    assert!(some.starts_with("a.tar:2.png: an image without a label, while 2 images"), "{some}");
    let none = error_of(&tar_file(&[("1.txt", b"text")]));
    assert!(none.contains("no images in it; looked for *.jpg"), "{none}");
}

/// Names are never paths: nothing is written, whatever they say.
#[test]
fn names_lead_nowhere() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("inner");
    fs::create_dir(&place).unwrap();
    let files = [("../escaped.png", &image(1)[..]), ("/tmp/escaped.png", &image(2))];
    fs::write(place.join("a.tar"), tar_file(&files)).unwrap();
    assert_eq!(images(&place).unwrap().sample().unwrap().len(), 2);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
}

#[test]
fn changed_files_are_named() {
    let place = set(&[3, 2]);
    let known = Shards::open(place.path()).unwrap().fingerprints();
    let check = || Shards::open(place.path()).unwrap().check(&known).map_err(|e| e.to_string());
    assert_eq!(check(), Ok(()));
    let (one, two) = (place.path().join("part-1.tar"), place.path().join("part-2.tar"));
    let whole = fs::read(&one).unwrap();
    fs::write(&two, &whole).unwrap();
    assert!(check().unwrap_err().contains("since the run began, part-2.tar was added"));
    fs::remove_file(&two).unwrap();
    fs::write(&one, tar_file(&[("0003.png", &image(3)), ("0003.cls", b"1")])).unwrap();
    assert!(check().unwrap_err().contains("part-1.tar got other images or labels"));
    fs::remove_file(&one).unwrap();
    assert!(
        check()
            .unwrap_err()
            .contains("since the run began, part-1.tar was removed; restore the files")
    );
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_format_that_is_off_is_named() {
    let place = set(&[3]);
    fs::write(place.path().join("a.parquet"), b"PAR1").unwrap();
    let error = Shards::open(place.path()).unwrap_err().to_string();
    assert!(error.contains("a.parquet needs a program built with `--features parquet`"), "{error}");
}

/// No byte of a file makes the reader panic or read without end.
#[test]
fn damage_does_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar");
    let files = [
        ("1.png", &image(1)[..]),
        ("1.cls", b"3"),
        ("2.png", &image(2)),
        ("2.json", b"{\"label\": 5}"),
    ];
    let whole = tar_file(&files);
    for at in (0..whole.len()).step_by(5) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, damaged).unwrap();
        let _ = images(directory.path()).and_then(|images| images.image(1).map(drop));
    }
    // The second of the two blocks at the end is not needed.
    for length in (0..whole.len() - 512).step_by(61) {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(images(directory.path()).is_err(), "{length} of {} bytes", whole.len());
    }
}
