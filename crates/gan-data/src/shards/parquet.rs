//! Parquet files with a column of images, as data sets of the Hugging Face hub have it: of the type
//! struct{bytes, path}, or binary.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::{Compression, ConvertedType, Type};
use parquet::column::reader::{ColumnReader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::listing::{Label, Listing, entry_path};
use crate::contents::{FNV_BASIS, fnv};
use crate::files::open;
use crate::{BoxError, Error, Result};

/// The largest number of bytes of the images of a row group, which is read as a whole: 128 MiB.
const MAX_GROUP: u64 = 1 << 27;
/// The largest number of bytes of images that are shuffled together: they are read together, too.
pub(super) const MAX_RUN: u64 = 1 << 27;
/// The largest number of bytes of the row groups that are kept: those of a run, and of its two ends.
const MAX_KEPT: u64 = MAX_RUN + 2 * MAX_GROUP;

/// Images of one row group; none where the column has no value.
type Group = Arc<Vec<Option<ByteArray>>>;

/// The row groups that were read last, the last one first: file, number, images and bytes.
static KEPT: Mutex<Vec<(PathBuf, usize, Group, u64)>> = Mutex::new(Vec::new());

/// The row groups of a file.
#[derive(Debug)]
pub(super) struct Groups {
    /// The number of the column of images.
    column: usize,
    /// The first row of each group, and the number of rows.
    starts: Vec<usize>,
    /// The bytes of the images of each group.
    bytes: Vec<u64>,
}

impl Groups {
    /// The number of bytes of all images.
    pub(super) fn total_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }
}

/// Lists the images of a Parquet file: one for each row. The labels are the column `label`, if there is
/// one.
///
/// # Errors
///
/// [`Error::Read`], [`Error::Shard`], [`Error::NoImageColumn`], [`Error::NotALabel`].
pub(super) fn list(path: &Path) -> Result<Listing<Groups>> {
    let file = open(path)?;
    let length = file.metadata().map_err(|source| Error::Read { path: path.into(), source })?.len();
    let reader = guarded(path, || SerializedFileReader::new(file))?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let column = image_column(path, schema)?;
    let label = schema.columns().iter().position(|column| is_label(column));
    let mut groups = Groups { column, starts: vec![0], bytes: Vec::new() };
    let (mut labels, mut rows) = (Vec::new(), 0);
    for (number, group) in reader.metadata().row_groups().iter().enumerate() {
        let codec = group.column(column).compression();
        if !matches!(codec, Compression::UNCOMPRESSED | Compression::SNAPPY) {
            let text = format!("its images are compressed by {codec}, not by SNAPPY or not at all");
            return Err(shard_error(path, text));
        }
        let count = usize::try_from(group.num_rows()).unwrap_or(usize::MAX);
        let bytes = u64::try_from(group.column(column).uncompressed_size()).unwrap_or(u64::MAX);
        if bytes > MAX_GROUP || u32::try_from(count).is_err() {
            let text = format!(
                "row group {number} has {bytes} bytes of images, of which 2^27 can be read at once; \
                 write it with smaller row groups, as pyarrow does with row_group_size=100"
            );
            return Err(shard_error(path, text));
        }
        match label {
            Some(label) => labels.extend(self::labels(path, &reader, (number, label, count))?),
            None => labels.resize(rows + count, None),
        }
        rows += count;
        groups.starts.push(rows);
        groups.bytes.push(bytes);
    }
    let numbers = labels.iter().map(|label| label.map_or(u64::MAX, u64::from));
    let numbers = [length].into_iter().chain(groups.bytes.iter().copied()).chain(numbers);
    let hash = numbers.fold(FNV_BASIS, |hash, number| fnv(hash, &number.to_le_bytes()));
    Ok(Listing { images: groups, labels, hash })
}

/// The number of the column of images.
///
/// # Errors
///
/// [`Error::NoImageColumn`].
fn image_column(path: &Path, schema: &SchemaDescriptor) -> Result<usize> {
    // The name comes first, then the type.
    let rank = |column: &ColumnDescriptor| {
        let is_binary = column.physical_type() == Type::BYTE_ARRAY && column.max_rep_level() == 0;
        let is_plain =
            column.converted_type() == ConvertedType::NONE && column.logical_type_ref().is_none();
        let parts: Vec<&str> = column.path().parts().iter().map(String::as_str).collect();
        match parts[..] {
            _ if !is_binary => None,
            ["image" | "img"] | ["image" | "img", "bytes"] => Some(0),
            [_, "bytes"] => Some(1),
            [_] if is_plain => Some(2),
            _ => None,
        }
    };
    let columns = schema.columns().iter().enumerate();
    let ranked = columns.filter_map(|(number, column)| Some((rank(column)?, number)));
    ranked.min().map(|(_, number)| number).ok_or_else(|| Error::NoImageColumn {
        path: path.into(),
        columns: schema.root_schema().get_fields().iter().map(|f| f.name().to_owned()).collect(),
    })
}

fn is_label(column: &ColumnDescriptor) -> bool {
    let is_number = matches!(column.physical_type(), Type::INT32 | Type::INT64);
    is_number && column.max_rep_level() == 0 && column.path().string() == "label"
}

/// The labels of a row group.
fn labels(
    path: &Path,
    reader: &SerializedFileReader<File>,
    (group, column, rows): (usize, usize, usize),
) -> Result<Vec<Label>> {
    let values: Vec<Option<i64>> =
        guarded(path, || match reader.get_row_group(group)?.get_column_reader(column)? {
            reader @ ColumnReader::Int32ColumnReader(_) => {
                let values = values::<Int32Type>(reader, rows)?;
                Ok(values.into_iter().map(|value| value.map(i64::from)).collect())
            }
            reader => values::<Int64Type>(reader, rows),
        })?;
    let label = |(row, value): (usize, Option<i64>)| {
        let number = |value: i64| {
            let name = format!("label of row {row} of row group {group}");
            let error =
                || Error::NotALabel { path: entry_path(path, &name), text: value.to_string() };
            u32::try_from(value).map_err(|_| error())
        };
        // The hub has -1 for no label.
        value.filter(|value| *value != -1).map(number).transpose()
    };
    values.into_iter().enumerate().map(label).collect()
}

/// The values of a column in a row group.
fn values<T: DataType>(
    reader: ColumnReader,
    rows: usize,
) -> parquet::errors::Result<Vec<Option<T::T>>> {
    let mut reader = get_typed_column_reader::<T>(reader);
    let (mut values, mut levels, mut read) = (Vec::new(), Vec::new(), 0);
    while read < rows {
        let (records, ..) =
            reader.read_records(rows - read, Some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Err(ParquetError::General(format!("{read} rows where {rows} should be")));
        }
        read += records;
    }
    // Without values that may be missing, there are no levels.
    let highest = levels.iter().copied().max().unwrap_or(0);
    if levels.is_empty() || values.len() == rows {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut values = values.into_iter();
    Ok(levels.iter().map(|&level| if level == highest { values.next() } else { None }).collect())
}

/// Reads the file of the image of a row; nothing where the column has no value.
///
/// # Errors
///
/// [`Error::Read`], [`Error::Shard`].
pub(super) fn read(path: &Path, groups: &Groups, row: usize) -> Result<Vec<u8>> {
    let number = groups.starts.partition_point(|&start| start <= row) - 1;
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let group = match kept.iter().position(|(of, at, ..)| *at == number && of == path) {
        Some(at) => {
            kept[..=at].rotate_right(1);
            kept[0].2.clone()
        }
        None => {
            let rows = groups.starts[number + 1] - groups.starts[number];
            let group = Arc::new(read_group(path, (number, groups.column, rows))?);
            kept.insert(0, (path.into(), number, group.clone(), groups.bytes[number]));
            while kept.iter().map(|(.., bytes)| bytes).sum::<u64>() > MAX_KEPT {
                kept.pop();
            }
            group
        }
    };
    drop(kept);
    let image = &group[row - groups.starts[number]];
    Ok(image.as_ref().map_or(Vec::new(), |bytes| bytes.data().to_vec()))
}

fn read_group(
    path: &Path,
    (group, column, rows): (usize, usize, usize),
) -> Result<Vec<Option<ByteArray>>> {
    let file = open(path)?;
    guarded(path, || {
        let reader = SerializedFileReader::new(file)?;
        let reader = reader.get_row_group(group)?.get_column_reader(column)?;
        values::<ByteArrayType>(reader, rows)
    })
}

/// Calls the library, which panics on some damaged files.
fn guarded<T>(path: &Path, call: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(read) => read.map_err(|source| shard_error(path, source)),
        Err(_) => Err(shard_error(path, "its numbers do not fit each other")),
    }
}

fn shard_error(path: &Path, source: impl Into<BoxError>) -> Error {
    Error::Shard { path: path.into(), format: "Parquet", source: source.into() }
}
