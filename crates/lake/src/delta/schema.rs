//! Delta's schema JSON from and to an Arrow schema.
//!
//! Only the flat types that our contracts produce: string, binary, long, integer, double, float, boolean, date and
//! timestamp (UTC, microseconds). Everything else is refused by the type's name. In memory text and bytes are views.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::DeltaError;
use super::action::json_reason;

#[derive(Serialize, Deserialize)]
struct StructType {
    #[serde(rename = "type")]
    kind: String,
    fields: Vec<StructField>,
}

#[derive(Serialize, Deserialize)]
struct StructField {
    name: String,
    #[serde(rename = "type")]
    kind: Value,
    nullable: bool,
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// The instant type of every table: microseconds, UTC.
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// An Arrow schema as Delta's `schemaString`. Arrow's field metadata is kept as text.
pub fn to_schema_string(schema: &Schema) -> Result<String, DeltaError> {
    let mut fields = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        fields.push(StructField {
            name: field.name().clone(),
            kind: Value::from(delta_type(field)?),
            nullable: field.is_nullable(),
            metadata: field.metadata().iter().map(|(key, text)| (key.clone(), Value::from(text.as_str()))).collect(),
        });
    }
    serde_json::to_string(&StructType { kind: "struct".to_owned(), fields })
        .map_err(|error| DeltaError::InvalidSchema { table: String::new(), reason: json_reason(&error) })
}

/// Delta's `schemaString` as an Arrow schema; `table` names the table in errors.
pub fn from_schema_string(table: &str, text: &str) -> Result<SchemaRef, DeltaError> {
    let parsed: StructType = serde_json::from_str(text)
        .map_err(|error| DeltaError::InvalidSchema { table: table.to_owned(), reason: json_reason(&error) })?;
    if parsed.kind != "struct" {
        return Err(DeltaError::InvalidSchema { table: table.to_owned(), reason: "not a struct".to_owned() });
    }
    let mut fields = Vec::with_capacity(parsed.fields.len());
    for field in parsed.fields {
        let kind = arrow_type(&field)?;
        let metadata = field
            .metadata
            .into_iter()
            .map(|(key, value)| match value {
                Value::String(text) => (key, text),
                other => (key, other.to_string()),
            })
            .collect();
        fields.push(Field::new(field.name, kind, field.nullable).with_metadata(metadata));
    }
    Ok(Arc::new(Schema::new(fields)))
}

fn delta_type(field: &Field) -> Result<&'static str, DeltaError> {
    Ok(match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "string",
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "binary",
        DataType::Int64 => "long",
        DataType::Int32 => "integer",
        DataType::Float64 => "double",
        DataType::Float32 => "float",
        DataType::Boolean => "boolean",
        DataType::Date32 => "date",
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if matches!(zone.as_ref(), "UTC" | "+00:00") => {
            "timestamp"
        }
        other => {
            return Err(DeltaError::UnsupportedType { column: field.name().clone(), kind: other.to_string() });
        }
    })
}

fn arrow_type(field: &StructField) -> Result<DataType, DeltaError> {
    let unsupported = |kind: &str| DeltaError::UnsupportedType { column: field.name.clone(), kind: kind.to_owned() };
    let name = match &field.kind {
        Value::String(name) => name.as_str(),
        Value::Object(nested) => {
            return Err(unsupported(nested.get("type").and_then(Value::as_str).unwrap_or("struct")));
        }
        _ => return Err(unsupported("unknown")),
    };
    Ok(match name {
        "string" => DataType::Utf8View,
        "binary" => DataType::BinaryView,
        "long" => DataType::Int64,
        "integer" => DataType::Int32,
        "double" => DataType::Float64,
        "float" => DataType::Float32,
        "boolean" => DataType::Boolean,
        "date" => DataType::Date32,
        "timestamp" => timestamp_type(),
        other => return Err(unsupported(other)),
    })
}
