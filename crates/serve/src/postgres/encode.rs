//! Rows of Arrow as rows of PostgreSQL's protocol, in text or in its binary form.
//!
//! Runs where work runs that uses the processor. Invariant: a value reads the same in both forms.

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DurationMicrosecondArray,
    Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray, ListArray, RecordBatch,
    StringArray, Time64MicrosecondArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt32Type,
};
use arrow::error::ArrowError;
use arrow::util::display::FormatOptions;
use bytes::{BufMut as _, BytesMut};

use super::reply::format_of;
use super::types::{JSON, type_of, written_as};
use super::{numeric, time};
use crate::druid::value;
use crate::functions::zone::Zone;

/// Rows of a batch as messages.
///
/// # Errors
/// When a column cannot be written.
pub fn rows(batch: &RecordBatch, types: &[u32], formats: &[i16]) -> Result<BytesMut, ArrowError> {
    let columns = batch.columns().iter().zip(types).map(|(array, type_id)| Cells::of(array, *type_id));
    let columns: Vec<Cells> = columns.collect::<Result<_, _>>()?;
    let binary: Vec<bool> = (0..columns.len()).map(|index| format_of(formats, index) == 1).collect();
    let mut out = BytesMut::new();
    for row in 0..batch.num_rows() {
        out.put_u8(b'D');
        let start = out.len();
        out.put_u32(0);
        out.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
        for (cells, binary) in columns.iter().zip(&binary) {
            cells.put(row, *binary, &mut out);
        }
        let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
        set(&mut out, start, length);
    }
    Ok(out)
}

/// A value as text; none for NULL.
///
/// # Errors
/// When it cannot be written.
pub fn shown(array: &ArrayRef, row: usize) -> Result<Option<BytesMut>, ArrowError> {
    let cells = Cells::of(array, type_of(array.data_type()))?;
    let mut text = BytesMut::new();
    if cells.is_null(row) {
        return Ok(None);
    }
    cells.text(row, &mut text);
    Ok(Some(text))
}

fn set(out: &mut BytesMut, at: usize, length: u32) {
    if let Some(place) = out.get_mut(at..at + 4) {
        place.copy_from_slice(&length.to_be_bytes());
    }
}

/// A column's values, brought to a type that can be written.
enum Cells {
    Boolean(BooleanArray),
    Small(Int16Array),
    Integer(Int32Array),
    Big(Int64Array),
    Oid(UInt32Array),
    Real(Float32Array),
    Double(Float64Array),
    Numeric(Decimal128Array, i8),
    Text(StringArray),
    Bytes(BinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Timestamp(TimestampMicrosecondArray, bool),
    Duration(DurationMicrosecondArray),
    Interval(IntervalMonthDayNanoArray),
    List(ListArray, Box<Cells>, u32),
    Json(value::Column),
}

impl Cells {
    fn of(array: &ArrayRef, type_id: u32) -> Result<Self, ArrowError> {
        if type_id == JSON && !array.data_type().is_string() {
            return value::Column::new(array).map(Self::Json);
        }
        let kind = match written_as(array.data_type()) {
            DataType::Decimal256(..) => DataType::Utf8,
            DataType::LargeList(item) | DataType::FixedSizeList(item, _) => DataType::List(item),
            kind => kind,
        };
        let strict = CastOptions { safe: false, format_options: FormatOptions::default() };
        let array = if array.data_type() == &kind { array.clone() } else { cast_with_options(array, &kind, &strict)? };
        Ok(match &kind {
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int16 => Self::Small(array.as_primitive::<Int16Type>().clone()),
            DataType::Int32 => Self::Integer(array.as_primitive::<Int32Type>().clone()),
            DataType::Int64 => Self::Big(array.as_primitive::<Int64Type>().clone()),
            DataType::UInt32 => Self::Oid(array.as_primitive::<UInt32Type>().clone()),
            DataType::Float32 => Self::Real(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Self::Double(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal128(_, scale) => Self::Numeric(array.as_primitive::<Decimal128Type>().clone(), *scale),
            DataType::Utf8 => Self::Text(array.as_string::<i32>().clone()),
            DataType::Binary => Self::Bytes(array.as_binary::<i32>().clone()),
            DataType::Date32 => Self::Date(array.as_primitive::<Date32Type>().clone()),
            DataType::Time64(_) => Self::Time(array.as_primitive::<Time64MicrosecondType>().clone()),
            DataType::Timestamp(TimeUnit::Microsecond, zone) => {
                Self::Timestamp(array.as_primitive::<TimestampMicrosecondType>().clone(), zone.is_some())
            }
            DataType::Duration(_) => Self::Duration(array.as_primitive::<DurationMicrosecondType>().clone()),
            DataType::Interval(_) => Self::Interval(array.as_primitive::<IntervalMonthDayNanoType>().clone()),
            DataType::List(item) => {
                let list = array.as_list::<i32>().clone();
                let item_type = type_of(item.data_type());
                let cells = Self::of(list.values(), item_type)?;
                Self::List(list, Box::new(cells), item_type)
            }
            _ => Self::Json(value::Column::new(&array)?),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Boolean(array) => array.is_null(row),
            Self::Small(array) => array.is_null(row),
            Self::Integer(array) => array.is_null(row),
            Self::Big(array) => array.is_null(row),
            Self::Oid(array) => array.is_null(row),
            Self::Real(array) => array.is_null(row),
            Self::Double(array) => array.is_null(row),
            Self::Numeric(array, _) => array.is_null(row),
            Self::Text(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Time(array) => array.is_null(row),
            Self::Timestamp(array, _) => array.is_null(row),
            Self::Duration(array) => array.is_null(row),
            Self::Interval(array) => array.is_null(row),
            Self::List(array, ..) => array.is_null(row),
            Self::Json(column) => column.is_null(row),
        }
    }

    /// A value with its length before it.
    fn put(&self, row: usize, binary: bool, out: &mut BytesMut) {
        if self.is_null(row) {
            out.put_i32(-1);
            return;
        }
        let start = out.len();
        out.put_i32(0);
        if binary {
            self.binary(row, out)
        } else {
            self.text(row, out)
        }
        let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        set(out, start, length);
    }

    fn text(&self, row: usize, out: &mut BytesMut) {
        let text = match self {
            Self::Boolean(array) => return out.put_u8(if array.value(row) { b't' } else { b'f' }),
            Self::Text(array) => return out.extend(array.value(row).bytes().filter(|byte| *byte != 0)),
            Self::Small(array) => array.value(row).to_string(),
            Self::Integer(array) => array.value(row).to_string(),
            Self::Big(array) => array.value(row).to_string(),
            Self::Oid(array) => array.value(row).to_string(),
            Self::Real(array) => numeric::float(f64::from(array.value(row)), &format!("{:e}", array.value(row)), 6),
            Self::Double(array) => numeric::float(array.value(row), &format!("{:e}", array.value(row)), 15),
            Self::Numeric(array, _) => array.value_as_string(row),
            Self::Bytes(array) => {
                out.put_slice(b"\\x");
                array.value(row).iter().for_each(|byte| out.put_slice(format!("{byte:02x}").as_bytes()));
                return;
            }
            Self::Date(array) => time::date(array.value(row)),
            Self::Time(array) => time::time(array.value(row)),
            Self::Timestamp(array, zoned) => time::timestamp(array.value(row), *zoned),
            Self::Duration(array) => time::interval(0, 0, array.value(row)),
            Self::Interval(array) => {
                let value = array.value(row);
                time::interval(value.months, value.days, value.nanoseconds / 1_000)
            }
            Self::List(array, items, _) => return list_text(array, items, row, out),
            Self::Json(column) => {
                let mut text = Vec::new();
                column.json(row, &JSON_STYLE, &mut text);
                return out.put_slice(&text);
            }
        };
        out.put_slice(text.as_bytes());
    }

    fn binary(&self, row: usize, out: &mut BytesMut) {
        match self {
            Self::Boolean(array) => out.put_u8(u8::from(array.value(row))),
            Self::Small(array) => out.put_i16(array.value(row)),
            Self::Integer(array) => out.put_i32(array.value(row)),
            Self::Big(array) => out.put_i64(array.value(row)),
            Self::Oid(array) => out.put_u32(array.value(row)),
            Self::Real(array) => out.put_f32(array.value(row)),
            Self::Double(array) => out.put_f64(array.value(row)),
            Self::Numeric(array, scale) => numeric::binary(array.value(row), *scale, out),
            Self::Bytes(array) => out.put_slice(array.value(row)),
            Self::Date(array) => out.put_i32(array.value(row).saturating_sub(time::EPOCH_DAYS)),
            Self::Time(array) => out.put_i64(array.value(row)),
            Self::Timestamp(array, _) => out.put_i64(array.value(row).saturating_sub(time::EPOCH_MICROS)),
            Self::Duration(array) => {
                out.put_i64(array.value(row));
                out.put_i64(0);
            }
            Self::Interval(array) => {
                let value = array.value(row);
                out.put_i64(value.nanoseconds / 1_000);
                out.put_i32(value.days);
                out.put_i32(value.months);
            }
            Self::List(array, items, item_type) => {
                let (from, to) = bounds(array, row);
                out.put_i32(i32::from(to > from));
                out.put_i32(i32::from((from..to).any(|item| items.is_null(item))));
                out.put_u32(*item_type);
                if to > from {
                    out.put_i32(i32::try_from(to - from).unwrap_or(i32::MAX));
                    out.put_i32(1);
                    (from..to).for_each(|item| items.put(item, true, out));
                }
            }
            Self::Text(_) | Self::Json(_) => self.text(row, out),
        }
    }
}

const JSON_STYLE: value::Style = value::Style { zone: Zone::UTC, stringify_arrays: false };

fn bounds(array: &ListArray, row: usize) -> (usize, usize) {
    let offsets = array.value_offsets();
    let at = |index: usize| offsets.get(index).and_then(|offset| usize::try_from(*offset).ok()).unwrap_or(0);
    (at(row), at(row + 1))
}

fn list_text(array: &ListArray, items: &Cells, row: usize, out: &mut BytesMut) {
    let (from, to) = bounds(array, row);
    out.put_u8(b'{');
    for item in from..to {
        if item > from {
            out.put_u8(b',');
        }
        if items.is_null(item) {
            out.put_slice(b"NULL");
            continue;
        }
        let mut text = BytesMut::new();
        items.text(item, &mut text);
        let plain = !text.is_empty()
            && !text.eq_ignore_ascii_case(b"null")
            && !text.iter().any(|byte| b"{}\",\\ \t\n\r\x0b\x0c".contains(byte));
        if plain {
            out.put_slice(&text);
            continue;
        }
        out.put_u8(b'"');
        for byte in text {
            if byte == b'"' || byte == b'\\' {
                out.put_u8(b'\\');
            }
            out.put_u8(byte);
        }
        out.put_u8(b'"');
    }
    out.put_u8(b'}');
}
