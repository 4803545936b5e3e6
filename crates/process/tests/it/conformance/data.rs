//! The rows on which both engines are asked: the edges of every type, a few at a time beside each other.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, RecordBatch, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int32Type;

/// 0001-01-01 and the last microsecond of 9999-12-31, between which every timestamp lies that Spark documents.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;
const LAST_MICROS: i64 = 253_402_300_799_999_999;
const HOUR_MICROS: i64 = 3_600_000_000;
/// 2024-03-31 01:00 UTC, when clocks changed in Europe, and 2024-11-03 06:00 UTC, when they did in New York.
const CLOCK_CHANGES: [i64; 2] = [1_711_846_800_000_000, 1_730_613_600_000_000];

/// Rows with a group, of which one has nulls alone.
pub fn edges() -> RecordBatch {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("row", Arc::new(Int32Array::from_iter_values(0..16))),
        ("g", Arc::new(StringViewArray::from_iter((0..16).map(group)))),
        ("i", ints()),
        ("l", longs()),
        ("f", floats()),
        ("d", doubles()),
        ("m", decimals(38, 2, 10_i128.pow(38) - 1)),
        ("n", decimals(10, 3, 9_999_999_999)),
        ("z", Arc::new(Int32Array::from_iter(SMALL.into_iter().enumerate().map(nulled)))),
        ("s", Arc::new(StringViewArray::from_iter(TEXTS))),
        ("x", Arc::new(BinaryViewArray::from_iter(BYTES))),
        ("a", days()),
        ("t", times()),
        ("b", Arc::new(BooleanArray::from_iter((0..16).map(|row| (row % 3 != 2).then_some(row % 2 == 0))))),
        ("v", lists()),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

/// The rows whose values are all null make a group, and so do the rows without a group.
fn group(row: i32) -> Option<&'static str> {
    match row {
        2 | 15 => Some("nulls"),
        3 | 4 => None,
        5..=7 => Some("ü😀"),
        _ => Some("many"),
    }
}

fn ints() -> ArrayRef {
    let [least, most] = [i32::MIN, i32::MAX];
    let all = [1, 0, -1, most, least, 2, 31, 32, 64, 7, -300, 12, 2024, 100, 1_000_000, 3];
    Arc::new(Int32Array::from_iter(all.into_iter().enumerate().map(nulled)))
}

fn longs() -> ArrayRef {
    let [least, most] = [i64::MIN, i64::MAX];
    let all = [1, 0, -1, most, least, 2, 63, 64, 1 << 40, 7, -300, 12, 1_711_846_800, 100, 1 << 53, 3];
    Arc::new(Int64Array::from_iter(all.into_iter().enumerate().map(nulled)))
}

fn doubles() -> ArrayRef {
    let ends = [f64::MAX, f64::MIN, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE];
    let all =
        [1.5, 0.0, -0.0, ends[0], ends[1], ends[2], ends[3], ends[4], ends[5], -1.0, 2.5, -2.5, 1e15, 0.1, 1e-7, 3.0];
    Arc::new(Float64Array::from_iter(all.into_iter().enumerate().map(nulled)))
}

fn floats() -> ArrayRef {
    let ends = [f32::MAX, f32::MIN, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-30];
    let all = [
        1.5,
        0.0,
        -0.0,
        ends[0],
        ends[1],
        ends[2],
        ends[3],
        ends[4],
        ends[5],
        -1.0,
        2.5,
        -2.5,
        16_777_216.0,
        0.1,
        1e-7,
        3.0,
    ];
    Arc::new(Float32Array::from_iter(all.into_iter().enumerate().map(nulled)))
}

fn decimals(precision: u8, scale: i8, most: i128) -> ArrayRef {
    let all = [150, 0, -1, most, -most, 5, 50, 99, -250, 7, 12_345, -99, 500, 1000, 1, 333];
    let all = Decimal128Array::from_iter(all.into_iter().enumerate().map(nulled));
    Arc::new(all.with_precision_and_scale(precision, scale).unwrap())
}

fn days() -> ArrayRef {
    let all =
        [0, -1, -719_162, 2_932_896, 19_782, 59, 60, 19_813, 20_030, 11_016, 19_358, -141_428, 31, 364, 365, 18_321];
    Arc::new(Date32Array::from_iter(all.into_iter().enumerate().map(nulled)))
}

fn times() -> ArrayRef {
    let [spring, autumn] = CLOCK_CHANGES;
    let all = [
        0,
        -1,
        FIRST_MICROS,
        LAST_MICROS,
        spring - 1,
        spring,
        spring + HOUR_MICROS,
        autumn - HOUR_MICROS,
        autumn - 1,
        autumn,
        autumn + HOUR_MICROS,
        1_582_934_400_123_456,
        951_782_400_000_000,
        -2_208_988_800_000_000,
        1,
        86_399_999_999,
    ];
    Arc::new(TimestampMicrosecondArray::from_iter(all.into_iter().enumerate().map(nulled)).with_timezone("UTC"))
}

fn lists() -> ArrayRef {
    let all = (0..16).map(|row| match row {
        2 | 15 => None,
        0 => Some(vec![]),
        1 => Some(vec![None]),
        3 => Some(vec![Some(3), Some(1), None, Some(3)]),
        _ => Some((0..row % 5).map(|item| Some(item - 1)).collect()),
    });
    Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(all))
}

/// The third and the last row hold nulls.
fn nulled<T>((row, value): (usize, T)) -> Option<T> {
    (row != 2 && row != 15).then_some(value)
}

/// For functions that make as much as a number says.
const SMALL: [i32; 16] = [1, 0, 9, -1, -4, 2, 3, 4, 5, 7, 8, 11, -2, 6, 31, 1];

const TEXTS: [Option<&str>; 16] = [
    Some("abc"),
    Some(""),
    None,
    Some("日本語😀"),
    Some("NaN"),
    Some("123456789012345678901234"),
    Some("  padded\t"),
    Some("{\"a\":[1,{\"b\":null}]}"),
    Some("2024-03-31 02:30:00"),
    Some("0001-01-01"),
    Some("-12.5e3"),
    Some("Straße İ"),
    Some("a,b,,c"),
    Some("http://user@host:80/p?q=1#f"),
    Some("true"),
    None,
];

const BYTES: [Option<&[u8]>; 16] = [
    Some(b"abc"),
    Some(b""),
    None,
    Some("日本語😀".as_bytes()),
    Some(&[0xff, 0xfe]),
    Some(&[0]),
    Some(b"12"),
    Some(b"x"),
    Some(b"ab"),
    Some(b"ABC"),
    Some(b" "),
    Some(b"\xc3\xa4"),
    Some(b"a,b"),
    Some(b"0"),
    Some(b"true"),
    None,
];
