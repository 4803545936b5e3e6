//! Values as Druid writes them: times with milliseconds, doubles as Java prints them, binary as base64.
//!
//! A batch's columns are typed once; a cell is then written without another look at its type.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Float32Array, Float64Array, Int64Array,
    ListArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::error::ArrowError;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeZone as _, Utc};
use std::io::Write as _;
use std::sync::Arc;

use crate::functions::joda::iso_text;
use crate::functions::period::candidates;
use crate::functions::zone::Zone;

/// A column of a batch, ready to be written.
#[derive(Debug)]
pub enum Column {
    /// Nothing but null.
    Null,
    /// True and false.
    Boolean(BooleanArray),
    /// Whole numbers.
    Integer(Int64Array),
    /// Numbers whose text is exact already.
    Number(StringArray),
    /// Single precision.
    Float(Float32Array),
    /// Double precision.
    Double(Float64Array),
    /// Text.
    Text(StringArray),
    /// Times.
    Time(TimestampMicrosecondArray),
    /// Days.
    Date(Date32Array),
    /// Bytes.
    Binary(BinaryArray),
    /// Lists, with their values.
    List(ListArray, Box<Column>),
    /// Structs, with their fields.
    Struct(StructArray, Vec<(String, Column)>),
}

/// How values are written.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Times are printed in this zone.
    pub zone: Zone,
    /// Arrays are written as a string that holds JSON.
    pub stringify_arrays: bool,
}

impl Column {
    /// Takes an array of any type.
    ///
    /// # Errors
    /// When the array cannot be brought to a type that is written.
    pub fn new(array: &ArrayRef) -> Result<Self, ArrowError> {
        use DataType as T;
        let to = |data_type: &DataType| cast(array, data_type);
        Ok(match array.data_type() {
            T::Null => Self::Null,
            T::Boolean => Self::Boolean(array.as_boolean().clone()),
            T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 => {
                Self::Integer(to(&T::Int64)?.as_primitive().clone())
            }
            T::UInt64 | T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..) => {
                Self::Number(to(&T::Utf8)?.as_string().clone())
            }
            T::Float16 | T::Float32 => Self::Float(to(&T::Float32)?.as_primitive().clone()),
            T::Float64 => Self::Double(array.as_primitive().clone()),
            T::Utf8 | T::LargeUtf8 | T::Utf8View => Self::Text(to(&T::Utf8)?.as_string().clone()),
            T::Timestamp(_, _) => {
                let utc = T::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
                Self::Time(to(&utc)?.as_primitive().clone())
            }
            T::Date32 | T::Date64 => Self::Date(to(&T::Date32)?.as_primitive().clone()),
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => {
                Self::Binary(to(&T::Binary)?.as_binary().clone())
            }
            T::Dictionary(_, value) => Self::new(&to(value)?)?,
            T::List(_) => Self::list(array.as_list().clone())?,
            T::LargeList(item) | T::FixedSizeList(item, _) | T::ListView(item) | T::LargeListView(item) => {
                let plain = T::List(Arc::new(Field::new("item", item.data_type().clone(), true)));
                Self::list(to(&plain)?.as_list().clone())?
            }
            T::Struct(_) => {
                let array = array.as_struct().clone();
                let fields = array.fields().iter().zip(array.columns());
                let columns = fields.map(|(field, column)| Ok((field.name().clone(), Self::new(column)?)));
                let columns = columns.collect::<Result<_, ArrowError>>()?;
                Self::Struct(array, columns)
            }
            _ => Self::Text(to(&T::Utf8)?.as_string().clone()),
        })
    }

    fn list(array: ListArray) -> Result<Self, ArrowError> {
        // Druid shows a FLOAT in an array with the digits of a DOUBLE.
        let values = match array.values().data_type() {
            DataType::Float32 => Self::new(&cast(array.values(), &DataType::Float64)?)?,
            _ => Self::new(array.values())?,
        };
        Ok(Self::List(array, Box::new(values)))
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Boolean(array) => array.is_null(row),
            Self::Integer(array) => array.is_null(row),
            Self::Number(array) | Self::Text(array) => array.is_null(row),
            Self::Float(array) => array.is_null(row),
            Self::Double(array) => array.is_null(row),
            Self::Time(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Binary(array) => array.is_null(row),
            Self::List(array, _) => array.is_null(row),
            Self::Struct(array, _) => array.is_null(row),
        }
    }

    /// Writes a cell as JSON.
    pub fn json(&self, row: usize, style: &Style, out: &mut Vec<u8>) {
        match self {
            _ if self.is_null(row) => out.extend_from_slice(b"null"),
            Self::List(..) | Self::Struct(..) if style.stringify_arrays => string(&self.nested(row, style), out),
            Self::Text(array) => string(array.value(row), out),
            Self::Boolean(_) | Self::Integer(_) | Self::Number(_) => self.plain(row, style, out),
            Self::Float(array) if array.value(row).is_finite() => self.plain(row, style, out),
            Self::Double(array) if array.value(row).is_finite() => self.plain(row, style, out),
            Self::List(..) | Self::Struct(..) => self.write_nested(row, style, out),
            _ => {
                out.push(b'"');
                self.plain(row, style, out);
                out.push(b'"');
            }
        }
    }

    /// Writes a cell as a field of CSV; null is empty.
    pub fn csv(&self, row: usize, style: &Style, out: &mut Vec<u8>) {
        if self.is_null(row) {
            return;
        }
        let mut text = vec![];
        self.plain(row, style, &mut text);
        csv_field(&text, out);
    }

    fn plain(&self, row: usize, style: &Style, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        let _ = match self {
            Self::Null => Ok(()),
            Self::Boolean(array) => write!(out, "{}", array.value(row)),
            Self::Integer(array) => write!(out, "{}", array.value(row)),
            Self::Number(array) | Self::Text(array) => out.write_all(array.value(row).as_bytes()),
            Self::Float(array) => out.write_all(java_float(array.value(row)).as_bytes()),
            Self::Double(array) => out.write_all(java_double(array.value(row)).as_bytes()),
            Self::Time(array) => out.write_all(time(array.value(row), style.zone).as_bytes()),
            Self::Date(array) => out.write_all(day(array.value(row), style.zone).as_bytes()),
            Self::Binary(array) => out.write_all(base64(array.value(row)).as_bytes()),
            Self::List(..) | Self::Struct(..) => {
                self.write_nested(row, style, out);
                Ok(())
            }
        };
    }

    fn nested(&self, row: usize, style: &Style) -> String {
        let mut text = vec![];
        self.write_nested(row, style, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn write_nested(&self, row: usize, style: &Style, out: &mut Vec<u8>) {
        let style = Style { stringify_arrays: false, ..*style };
        match self {
            Self::List(array, values) => {
                let offsets = array.value_offsets();
                let (Some(start), Some(end)) = (offsets.get(row), offsets.get(row + 1)) else { return };
                out.push(b'[');
                for index in *start..*end {
                    if index > *start {
                        out.push(b',');
                    }
                    values.json(usize::try_from(index).unwrap_or_default(), &style, out);
                }
                out.push(b']');
            }
            Self::Struct(_, columns) => {
                out.push(b'{');
                for (index, (name, column)) in columns.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    string(name, out);
                    out.push(b':');
                    column.json(row, &style, out);
                }
                out.push(b'}');
            }
            _ => self.json(row, &style, out),
        }
    }
}

/// Writes a JSON string. A backslash is `\u005c`: pydruid loses every row after a string that ends in `\\`.
pub fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut written = 0;
    for (index, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\u005c",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 => b"",
            _ => continue,
        };
        out.extend_from_slice(bytes.get(written..index).unwrap_or_default());
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.extend_from_slice(escape);
        }
        written = index + 1;
    }
    out.extend_from_slice(bytes.get(written..).unwrap_or_default());
    out.push(b'"');
}

/// Writes a field of CSV, in quotes when it needs them.
pub fn csv_field(text: &[u8], out: &mut Vec<u8>) {
    if !text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for byte in text {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

/// A double as Java prints it: `1.0E300`, `0.1`, `100.0`.
pub fn java_double(value: f64) -> String {
    java(value, &format!("{value}"), &format!("{value:e}"))
}

/// A float as Java prints it.
pub fn java_float(value: f32) -> String {
    java(f64::from(value), &format!("{value}"), &format!("{value:e}"))
}

fn java(value: f64, plain: &str, scientific: &str) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".to_owned() } else { "-Infinity".to_owned() };
    }
    let with_point = |digits: &str| if digits.contains('.') { digits.to_owned() } else { format!("{digits}.0") };
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return with_point(plain);
    }
    match scientific.split_once('e') {
        Some((digits, exponent)) => format!("{}E{exponent}", with_point(digits)),
        None => with_point(plain),
    }
}

/// A time as `2015-09-12T00:47:53.259Z`, or with the zone's offset.
pub fn time(micros: i64, zone: Zone) -> String {
    let Some(time) = DateTime::<Utc>::from_timestamp_micros(micros) else { return String::new() };
    if zone == Zone::UTC || zone.offset_from_utc_datetime(&time.naive_utc()).local_minus_utc() == 0 {
        time.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    } else {
        iso_text(micros, zone).unwrap_or_default()
    }
}

/// A day, as the time at which it begins.
fn day(days: i32, zone: Zone) -> String {
    let date = days.checked_add(719_163).and_then(NaiveDate::from_num_days_from_ce_opt);
    let midnight = date.and_then(|date| candidates(date.and_time(NaiveTime::MIN), zone).first().copied());
    midnight.map(|midnight| time(midnight, zone)).unwrap_or_default()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let index = usize::try_from((word >> (18 - 6 * place)) & 63).unwrap_or_default();
            let letter = LETTERS.get(index).copied().unwrap_or(b'=');
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(1.0, "1.0")]
    #[case(-0.0, "-0.0")]
    #[case(0.1, "0.1")]
    #[case(1e300, "1.0E300")]
    #[case(9_007_199_254_740_992.0, "9.007199254740992E15")]
    #[case(9_999_999.0, "9999999.0")]
    #[case(1e7, "1.0E7")]
    #[case(0.001, "0.001")]
    #[case(0.000_12, "1.2E-4")]
    #[case(f64::NAN, "NaN")]
    #[case(f64::NEG_INFINITY, "-Infinity")]
    fn doubles_are_printed_as_java_does(#[case] value: f64, #[case] expected: &str) {
        assert_eq!(java_double(value), expected);
    }

    #[rstest]
    #[case(b"", "")]
    #[case(b"f", "Zg==")]
    #[case(b"fo", "Zm8=")]
    #[case(b"foo", "Zm9v")]
    #[case(b"\xff\xfe\x00\x01", "//4AAQ==")]
    fn bytes_are_base64(#[case] bytes: &[u8], #[case] expected: &str) {
        assert_eq!(base64(bytes), expected);
    }

    #[test]
    fn strings_are_escaped() {
        let mut out = vec![];
        string("a\"b\\\u{1}\nü", &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "\"a\\\"b\\u005c\\u0001\\nü\"");
    }
}
