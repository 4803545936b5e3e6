//! The fields of a Parquet file for whoever drafts a contract from it: their types, and how often each is null.
//!
//! Invariant: a field is given by the path under which a contract names it, and a file that a delivery would refuse is refused.

use std::io::Read;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::parquet;
use crate::decode::refused::DeliveryError;

/// A field of a typed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedField {
    /// The names on the way to it.
    pub path: Vec<String>,
    /// Its type.
    pub kind: DataType,
    /// How many rows have no value of it.
    pub nulls: u64,
}

/// Reads a Parquet file to its end: how many rows it has, and its fields, those within structs by themselves.
///
/// # Errors
/// Where a delivery of the file would be refused as a whole.
pub fn read_parquet_fields<R: Read>(dataset: &str, reader: R) -> Result<(u64, Vec<TypedField>), DeliveryError> {
    let mut rows = parquet::Rows::new(dataset.to_owned(), reader);
    let (mut count, mut fields) = (0, Vec::new());
    while let Some(batch) = rows.next()? {
        count += batch.num_rows() as u64;
        let mut place = 0;
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            see(&[field.name().clone()], array, None, &mut fields, &mut place);
        }
    }
    if fields.is_empty()
        && let Some(schema) = rows.schema()
    {
        let plain = |field: &arrow::datatypes::FieldRef| TypedField {
            path: vec![field.name().clone()],
            kind: field.data_type().clone(),
            nulls: 0,
        };
        fields = schema.fields().iter().map(plain).collect();
    }
    Ok((count, fields))
}

/// Counts an array's nulls, and those of what lies in it, at the next place.
fn see(path: &[String], array: &ArrayRef, above: Option<&NullBuffer>, fields: &mut Vec<TypedField>, place: &mut usize) {
    let nulls = NullBuffer::union(above, array.logical_nulls().as_ref());
    if let Some(parts) = array.as_struct_opt() {
        for (field, part) in parts.fields().iter().zip(parts.columns()) {
            let path: Vec<String> = path.iter().chain([field.name()]).cloned().collect();
            see(&path, part, nulls.as_ref(), fields, place);
        }
        return;
    }
    if *place == fields.len() {
        fields.push(TypedField { path: path.to_vec(), kind: array.data_type().clone(), nulls: 0 });
    }
    if let Some(field) = fields.get_mut(*place) {
        field.nulls += nulls.map_or(0, |nulls| nulls.null_count() as u64);
    }
    *place += 1;
}
