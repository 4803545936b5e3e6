//! What stands in the place of values, column by column. Never fails on a value, and null stays null.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray as _, PrimitiveArray, StringArray, StringViewArray, new_null_array,
};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use chrono::{DateTime, Datelike as _, NaiveDate};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use vitalake_contract::access::Mask;
use vitalake_runtime::hex;

/// What stands for a text of which nothing is shown.
const REDACTED: &str = "***";
/// What stands for a postal code that too few people share.
const FEW_PEOPLE: &str = "000";
/// First three digits of ZIP codes that 20,000 people or fewer share, by the Census of 2000: the list of the guidance on
/// de-identification under HIPAA (45 CFR 164.514(b)(2)(i)(B)).
pub const FEW_PEOPLE_ZIPS: [&str; 17] = [
    "036", "059", "063", "102", "203", "556", "692", "790", "821", "823", "830", "831", "878", "879", "884", "890",
    "893",
];
/// Bytes of a hash that are shown.
const HASH_BYTES: usize = 16;

/// The key of hashes. Debug does not show it.
#[derive(Clone)]
pub(crate) struct MaskKey(Vec<u8>);

impl MaskKey {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    fn hash(&self, text: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(text.as_bytes());
        let digest = mac.finalize().into_bytes();
        digest.get(..HASH_BYTES).map(hex::encode)
    }
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey(***)")
    }
}

/// Values as a mask leaves them, of the same type; all null where the mask does not fit the type.
pub(super) fn masked(values: &ArrayRef, mask: Mask, key: Option<&MaskKey>) -> ArrayRef {
    let kept = match mask {
        Mask::Redact => texts(values, |_| Some(REDACTED.to_owned())),
        Mask::FirstThree => texts(values, |text| Some(first_three(text))),
        Mask::Hash => key.and_then(|key| texts(values, |text| key.hash(text))),
        Mask::Year => years(values),
        Mask::Bucket(width) => buckets(values, width),
    };
    kept.unwrap_or_else(|| new_null_array(values.data_type(), values.len()))
}

fn texts(values: &ArrayRef, mask: impl Fn(&str) -> Option<String>) -> Option<ArrayRef> {
    let shown = |text: Option<&str>| text.and_then(&mask);
    match values.data_type() {
        DataType::Utf8View => {
            Some(Arc::new(values.as_string_view().iter().map(shown).collect::<StringViewArray>()) as ArrayRef)
        }
        DataType::Utf8 => Some(Arc::new(values.as_string::<i32>().iter().map(shown).collect::<StringArray>())),
        _ => None,
    }
}

fn first_three(text: &str) -> String {
    let mut digits = text.trim().chars();
    let first: String = digits.by_ref().take(3).take_while(char::is_ascii_digit).collect();
    // What is no ZIP code has no known number of people.
    if first.len() < 3 || FEW_PEOPLE_ZIPS.contains(&first.as_str()) { FEW_PEOPLE.to_owned() } else { first }
}

fn years(values: &ArrayRef) -> Option<ArrayRef> {
    let first_day = |year: i32| NaiveDate::from_ymd_opt(year, 1, 1);
    match values.data_type() {
        DataType::Date32 => Some(kept::<Date32Type>(values, |day| {
            let seconds = i64::from(day).checked_mul(86_400)?;
            let first = first_day(DateTime::from_timestamp(seconds, 0)?.year())?;
            i32::try_from(first.signed_duration_since(NaiveDate::default()).num_days()).ok()
        })),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(kept::<TimestampMicrosecondType>(values, |micros| {
            let first = first_day(DateTime::from_timestamp_micros(micros)?.year())?;
            Some(first.and_hms_opt(0, 0, 0)?.and_utc().timestamp_micros())
        })),
        _ => None,
    }
}

/// The lower ends of steps; a number that is none, or has none, is shown as null.
fn buckets(values: &ArrayRef, width: f64) -> Option<ArrayRef> {
    #[expect(clippy::cast_possible_truncation, reason = "contracts give whole widths to whole numbers")]
    let whole = width as i64;
    let lower = |value: f64| Some((value / width).floor() * width).filter(|lower| lower.is_finite());
    match values.data_type() {
        DataType::Int64 => Some(kept::<Int64Type>(values, |value| value.checked_div_euclid(whole)?.checked_mul(whole))),
        DataType::Int32 => Some(kept::<Int32Type>(values, |value| {
            i32::try_from(i64::from(value).checked_div_euclid(whole)?.checked_mul(whole)?).ok()
        })),
        DataType::Float64 => Some(kept::<Float64Type>(values, lower)),
        #[expect(clippy::cast_possible_truncation, reason = "the column is as narrow")]
        DataType::Float32 => Some(kept::<Float32Type>(values, |value| lower(f64::from(value)).map(|v| v as f32))),
        _ => None,
    }
}

fn kept<T: ArrowPrimitiveType>(values: &ArrayRef, shown: impl Fn(T::Native) -> Option<T::Native>) -> ArrayRef {
    let array: PrimitiveArray<T> = values.as_primitive::<T>().unary_opt(shown);
    Arc::new(array.with_data_type(values.data_type().clone()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Date32Array, Float64Array, Int32Array, TimestampMicrosecondArray};

    use super::*;

    fn show(values: ArrayRef, mask: Mask) -> Vec<String> {
        let masked = masked(&values, mask, Some(&MaskKey::new(b"0123456789abcdef")));
        assert_eq!((masked.data_type(), masked.len()), (values.data_type(), values.len()));
        let shown = arrow::util::display::ArrayFormatter::try_new(&masked, &Default::default());
        let Ok(shown) = shown else { return Vec::new() };
        (0..masked.len()).map(|row| shown.value(row).to_string()).collect()
    }

    #[test]
    fn masks_give_values_of_the_same_type_and_keep_nulls() {
        let texts = || Arc::new(StringViewArray::from(vec![Some("94110"), None, Some("03601"), Some("SW1A 1AA")]));
        assert_eq!(show(texts(), Mask::Redact), ["***", "", "***", "***"]);
        assert_eq!(show(texts(), Mask::FirstThree), ["941", "", "000", "000"]);
        let zips = Arc::new(StringArray::from(vec!["", "9", "94", " 94110-1234", "１２３45"]));
        assert_eq!(show(zips, Mask::FirstThree), ["000", "000", "000", "941", "000"]);
        let days = Arc::new(Date32Array::from(vec![Some(19_999), None, Some(-1), Some(i32::MAX)]));
        assert_eq!(show(days, Mask::Year), ["2024-01-01", "", "1969-01-01", ""]);
        let times = TimestampMicrosecondArray::from(vec![1_700_000_000_000_000, i64::MIN]).with_timezone("UTC");
        assert_eq!(show(Arc::new(times), Mask::Year), ["2023-01-01T00:00:00Z", ""]);
        let ages = Arc::new(Int32Array::from(vec![Some(37), Some(-1), Some(i32::MIN), None]));
        assert_eq!(show(ages, Mask::Bucket(10.0)), ["30", "-10", "", ""]);
        let weights = Arc::new(Float64Array::from(vec![7.4, f64::NAN, f64::INFINITY, -0.1]));
        assert_eq!(show(weights, Mask::Bucket(2.5)), ["5.0", "", "", "-2.5"]);
        let flags = Arc::new(BooleanArray::from(vec![Some(true), None]));
        assert_eq!(show(flags, Mask::Redact), ["", ""]);
    }

    #[test]
    fn equal_texts_have_one_hash_which_depends_on_the_key() {
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec!["p-1", "p-2", "p-1"]));
        let with = |key: &[u8]| masked(&texts, Mask::Hash, Some(&MaskKey::new(key))).as_string_view().clone();
        let (one, other) = (with(b"0123456789abcdef"), with(b"0123456789abcdeg"));
        assert_eq!(one.value(0), one.value(2));
        assert_ne!(one.value(0), one.value(1));
        assert_ne!(one.value(0), other.value(0));
        assert_eq!(one.value(0).len(), 32);
        assert_eq!(masked(&texts, Mask::Hash, None).null_count(), 3);
    }
}
