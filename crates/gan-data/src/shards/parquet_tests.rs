//! Tests of sets of Parquet files.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::test_image::{SIZE, image};
use super::{ShardedImages, Shards};
use crate::folder::Options;
use crate::{Error, Images, Result};

/// As data sets of the hub have it.
const HUB: &str = "optional group image { optional binary bytes; optional binary path (UTF8); }";

/// A value of a column that may be missing, for each row.
enum Column {
    Bytes(Vec<Option<Vec<u8>>>),
    Int(Vec<Option<i32>>),
    Long(Vec<Option<i64>>),
}

/// Writes a file of these fields, in groups of columns. All values may be missing: there are as many
/// levels as the schema says.
fn write(path: &Path, fields: &str, level: i16, groups: &[Vec<Column>]) {
    let schema = Arc::new(parse_message_type(&format!("message schema {{ {fields} }}")).unwrap());
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let file = File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for columns in groups {
        let mut group = writer.next_row_group().unwrap();
        for column in columns {
            let mut writer = group.next_column().unwrap().unwrap();
            macro_rules! put {
                ($type:ty, $values:expr, $level:expr, $of:expr) => {{
                    let levels: Vec<i16> = $values
                        .iter()
                        .map(|value| if value.is_some() { $level } else { 0 })
                        .collect();
                    let values: Vec<_> = $values.iter().flatten().map($of).collect();
                    writer.typed::<$type>().write_batch(&values, Some(&levels), None).unwrap();
                }};
            }
            match column {
                Column::Bytes(values) => {
                    put!(ByteArrayType, values, level, |v| ByteArray::from(v.clone()))
                }
                Column::Int(values) => put!(Int32Type, values, 1, |v| *v),
                Column::Long(values) => put!(Int64Type, values, 1, |v| *v),
            }
            writer.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// Images whose values are these, in the two columns of the hub.
fn hub_images(values: &[u8]) -> [Column; 2] {
    let images = values.iter().map(|&value| Some(image(value))).collect();
    [Column::Bytes(images), Column::Bytes(vec![None; values.len()])]
}

fn images(place: &Path) -> Result<ShardedImages> {
    ShardedImages::new(Arc::new(Shards::open(place)?), &Options::new().size(SIZE).strict(false))
}

fn read(images: &ShardedImages, index: usize) -> (u8, u32) {
    let (pixels, label) = images.image(index).unwrap();
    (pixels[0], label)
}

#[test]
fn rows_of_all_groups_and_files_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let fields = format!("{HUB} optional int64 label;");
    let group = |values: &[u8]| {
        let labels = values.iter().map(|value| Some(i64::from(value % 3))).collect();
        hub_images(values).into_iter().chain([Column::Long(labels)]).collect::<Vec<_>>()
    };
    let file = |name: &str| directory.path().join(name);
    write(&file("a.parquet"), &fields, 2, &[group(&[0, 1, 2]), group(&[3, 4])]);
    write(&file("b.parquet"), &fields, 2, &[group(&[5])]);
    let images = images(directory.path()).unwrap();
    assert_eq!(images.outline().classes(), ["0", "1", "2"]);
    for index in [5, 0, 4, 1, 3, 2] {
        assert_eq!(read(&images, index), (index as u8, index as u32 % 3));
    }
    assert_eq!(Images::from(images).in_memory().unwrap().len(), 6);
}

/// Other names and types of the columns; rows without an image or a label.
#[test]
fn columns_are_found_by_name_and_type() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    let two = || Column::Bytes(vec![Some(image(1)), Some(image(2))]);
    let text = || Column::Bytes(vec![Some(b"text".to_vec()); 2]);
    let labels = || Column::Int(vec![Some(7), Some(5)]);
    for (fields, level, columns) in [
        ("optional binary image; optional int32 label;", 1, vec![two(), labels()]),
        (
            "optional binary note (UTF8); optional binary photo; optional int32 label;",
            1,
            vec![text(), two(), labels()],
        ),
        (
            "optional binary other; optional binary img; optional int32 label;",
            1,
            vec![text(), two(), labels()],
        ),
    ] {
        write(&path, fields, level, &[columns]);
        let images = images(directory.path()).unwrap();
        assert_eq!((read(&images, 0), read(&images, 1)), ((1, 1), (2, 0)), "{fields}");
        fs::remove_file(&path).unwrap();
    }
    let other = directory.path().join("other.parquet");
    let some = Column::Bytes(vec![Some(image(1)), None]);
    write(&other, "optional binary image; optional int32 label;", 1, &[vec![some, labels()]]);
    let images = images(directory.path()).unwrap();
    assert_eq!(read(&images, 1), (1, 1));
    let skipped = images.take_skipped()[0].to_string();
    assert!(skipped.ends_with("other.parquet:row 1: neither a JPEG nor a PNG image"), "{skipped}");
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    let error = || {
        let error = images(directory.path()).map(|images| images.image(0).map(drop));
        error.and_then(|read| read).unwrap_err()
    };
    let labels = |values: &[Option<i32>]| {
        vec![Column::Bytes(vec![Some(image(1)); values.len()]), Column::Int(values.to_vec())]
    };
    let fields = "optional binary image; optional int32 label;";
    for (values, want) in [
        (&[Some(1), None][..], "a.parquet:row 1: an image without a label, while 1 images"),
        (&[Some(1), Some(-1)], "a.parquet:row 1: an image without a label, while 1 images"),
        (&[Some(1), Some(-2)], "a.parquet:label of row 1 of row group 0: \"-2\" is no label"),
    ] {
        write(&path, fields, 1, &[labels(values)]);
        let error = error().to_string();
        assert!(error.contains(want), "{error}");
    }
    write(&path, "optional binary note (UTF8); optional int32 label;", 1, &[labels(&[Some(1)])]);
    let none = error().to_string();
    assert!(none.ends_with("no column of images; looked for image as struct{bytes, path} or binary, found note, label"), "{none}");
    write(&path, fields, 1, &[]);
    assert!(matches!(error(), Error::NoImages { .. }));

    write(&path, fields, 1, &[labels(&[Some(1), Some(2)])]);
    let whole = fs::read(&path).unwrap();
    for cut in [0, 3, 12, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..cut]).unwrap();
        let error = error();
        assert!(matches!(error, Error::Shard { format: "Parquet", .. }), "{cut}: {error}");
    }
}

/// No byte of a file makes the reader panic or read without end.
#[test]
fn damage_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.parquet");
    let columns = vec![
        Column::Bytes(vec![Some(image(1)), Some(image(2))]),
        Column::Int(vec![Some(1), Some(2)]),
    ];
    write(&path, "optional binary image; optional int32 label;", 1, &[columns]);
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        // A file of its own, as the row groups of a file are kept.
        let path = directory.path().join(format!("{at}.parquet"));
        fs::write(&path, damaged).unwrap();
        let _ = images(&path).and_then(|images| images.image(1).map(drop));
        fs::remove_file(path).unwrap();
    }
}
