//! Hashes of rows, a column at a time: of a row's key, and of its other values.
//!
//! Pure. The algorithm is fixed here (folded multiplication of 64-bit words), so that it changes with no dependency;
//! the seed is drawn when an index is made, so that nobody can write rows whose hashes meet. Invariant: a null, an
//! empty text and a zero give different hashes; `-0.0` is `0.0`, and every NaN is one.

use std::hash::{BuildHasher, Hasher, RandomState};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType,
};

use crate::error::{Error, Result};

const WORDS: [u64; 4] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb, 0xd6e8_feb8_6659_fd93];

/// Multiplies to 128 bits and folds them.
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}

/// Seeds of a hash.
#[derive(Clone, Copy, Debug)]
struct Seeds([u64; 4]);

impl Seeds {
    fn of(seed: u64) -> Self {
        // Odd, so that a multiplication loses nothing.
        Self(WORDS.map(|word| fold(word ^ seed, WORDS.iter().fold(seed, |a, b| a.rotate_left(17) ^ b)) | 1))
    }

    fn number(self, tag: u64, value: u64) -> u64 {
        let [a, b, c, _] = self.0;
        fold(fold(value ^ a, b) ^ value.rotate_left(32) ^ tag, c)
    }

    fn bytes(self, tag: u64, bytes: &[u8]) -> u64 {
        let [a, b, c, d] = self.0;
        let mut state = a ^ tag;
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            state = fold(state ^ u64::from_le_bytes(*word), b).wrapping_add(d);
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        state = fold(state ^ u64::from_le_bytes(last), b).wrapping_add(d);
        fold(state ^ bytes.len() as u64, c)
    }

    fn combine(self, state: u64, value: u64) -> u64 {
        let [_, b, _, d] = self.0;
        fold(state.rotate_left(29) ^ value, b).wrapping_add(d)
    }
}

/// The hash of some bytes, by a seed of this process.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    static SEEDS: std::sync::OnceLock<Seeds> = std::sync::OnceLock::new();
    SEEDS.get_or_init(|| Seeds::of(random_seed())).bytes(0, bytes)
}

pub(crate) fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Hashes the rows of batches whose columns are in one known order.
#[derive(Clone, Debug)]
pub struct RowHasher {
    seeds: Seeds,
    key: Vec<usize>,
    values: Vec<usize>,
}

impl RowHasher {
    /// A hasher of the columns at these positions, with a seed of its own.
    #[must_use]
    pub fn new(key: Vec<usize>, values: Vec<usize>) -> Self {
        Self::with_seed(key, values, random_seed())
    }

    /// The same with a given seed, for hashes that outlive the process.
    #[must_use]
    pub fn with_seed(key: Vec<usize>, values: Vec<usize>, seed: u64) -> Self {
        Self { seeds: Seeds::of(seed), key, values }
    }

    /// The hashes of each row's key and of its other values.
    ///
    /// # Errors
    /// When a column is missing or of a type that no contract has.
    pub fn hash(&self, batch: &RecordBatch) -> Result<(Vec<u64>, Vec<u64>)> {
        Ok((self.columns(batch, &self.key)?, self.columns(batch, &self.values)?))
    }

    fn columns(&self, batch: &RecordBatch, positions: &[usize]) -> Result<Vec<u64>> {
        let mut hashes = vec![0; batch.num_rows()];
        for position in positions {
            let column = batch.columns().get(*position).ok_or_else(|| Error::Columns {
                what: "a batch to de-duplicate".to_owned(),
                detail: format!("there is no column {position}"),
            })?;
            self.column(column, &mut hashes)?;
        }
        Ok(hashes)
    }

    fn column(&self, column: &ArrayRef, hashes: &mut [u64]) -> Result<()> {
        let unexpected = || Error::Columns {
            what: "a batch to de-duplicate".to_owned(),
            detail: format!("a column of type {} has no hash", column.data_type()),
        };
        match column.data_type() {
            DataType::Int64 => self.numbers::<Int64Type>(column, 1, hashes, |v| v.cast_unsigned()),
            DataType::Int32 => self.numbers::<Int32Type>(column, 2, hashes, |v| i64::from(v).cast_unsigned()),
            DataType::Float64 => self.numbers::<Float64Type>(column, 3, hashes, real_bits),
            DataType::Float32 => self.numbers::<Float32Type>(column, 4, hashes, |v| real_bits(f64::from(v))),
            DataType::Date32 => self.numbers::<Date32Type>(column, 5, hashes, |v| i64::from(v).cast_unsigned()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                self.numbers::<TimestampMicrosecondType>(column, 6, hashes, |v| v.cast_unsigned());
            }
            DataType::Boolean => {
                let bits = column.as_boolean_opt().ok_or_else(unexpected)?;
                self.each(hashes, bits.iter().map(|bit| bit.map(|bit| self.seeds.number(7, u64::from(bit)))));
            }
            DataType::Utf8View => {
                let texts = column.as_string_view_opt().ok_or_else(unexpected)?;
                self.each(hashes, texts.iter().map(|t| t.map(|t| self.seeds.bytes(8, t.as_bytes()))));
            }
            DataType::Utf8 => {
                let texts = column.as_string_opt::<i32>().ok_or_else(unexpected)?;
                self.each(hashes, texts.iter().map(|t| t.map(|t| self.seeds.bytes(8, t.as_bytes()))));
            }
            _ => return Err(unexpected()),
        }
        Ok(())
    }

    fn numbers<T: ArrowPrimitiveType>(
        &self,
        column: &ArrayRef,
        tag: u64,
        hashes: &mut [u64],
        bits: fn(T::Native) -> u64,
    ) {
        let Some(numbers) = column.as_primitive_opt::<T>() else { return };
        if numbers.null_count() == 0 {
            for (hash, value) in hashes.iter_mut().zip(numbers.values()) {
                *hash = self.seeds.combine(*hash, self.seeds.number(tag, bits(*value)));
            }
        } else {
            self.each(hashes, numbers.iter().map(|v| v.map(|v| self.seeds.number(tag, bits(v)))));
        }
    }

    fn each(&self, hashes: &mut [u64], values: impl Iterator<Item = Option<u64>>) {
        const NULL: u64 = 0x6e75_6c6c;
        for (hash, value) in hashes.iter_mut().zip(values) {
            *hash = self.seeds.combine(*hash, value.unwrap_or(NULL));
        }
    }
}

fn real_bits(value: f64) -> u64 {
    if value == 0.0 {
        0
    } else if value.is_nan() {
        f64::NAN.to_bits()
    } else {
        value.to_bits()
    }
}
