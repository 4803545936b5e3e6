//! Spark's two hashes of values, Murmur3 and xxHash64, both from the seed 42.
//!
//! Used by `hash` and `xxhash64`. Invariant: a value's hash depends on its type as Spark has it, and null changes
//! nothing.

use arrow::array::Array;
use datafusion::common::ScalarValue;

/// A way to hash.
pub(crate) trait Hasher: Copy {
    fn int(self, value: i32) -> Self;
    fn long(self, value: i64) -> Self;
    fn bytes(self, value: &[u8]) -> Self;

    /// A value of any plain type, or a list of them.
    fn value(self, value: &ScalarValue) -> Self {
        match value {
            ScalarValue::Boolean(Some(v)) => self.int(i32::from(*v)),
            ScalarValue::Int8(Some(v)) => self.int(i32::from(*v)),
            ScalarValue::Int16(Some(v)) => self.int(i32::from(*v)),
            ScalarValue::Int32(Some(v)) | ScalarValue::Date32(Some(v)) => self.int(*v),
            ScalarValue::Int64(Some(v)) | ScalarValue::TimestampMicrosecond(Some(v), _) => self.long(*v),
            ScalarValue::Float32(Some(v)) => {
                let v = if v.is_nan() { f32::NAN } else { *v + 0.0 };
                self.int(v.to_bits().cast_signed())
            }
            ScalarValue::Float64(Some(v)) => {
                let v = if v.is_nan() { f64::NAN } else { *v + 0.0 };
                self.long(v.to_bits().cast_signed())
            }
            // A decimal of at most eighteen digits is hashed as a long; others are not known here.
            ScalarValue::Decimal128(Some(v), _, _) => i64::try_from(*v).map_or(self, |v| self.long(v)),
            ScalarValue::Utf8View(Some(v)) => self.bytes(v.as_bytes()),
            ScalarValue::BinaryView(Some(v)) => self.bytes(v),
            ScalarValue::List(list) if list.is_valid(0) => {
                let values = list.value(0);
                (0..values.len())
                    .filter_map(|row| ScalarValue::try_from_array(&values, row).ok())
                    .fold(self, |hash, value| hash.value(&value))
            }
            _ => self,
        }
    }
}

/// Murmur3 in 32 bits.
#[derive(Clone, Copy)]
pub(crate) struct Murmur(pub(crate) u32);

impl Murmur {
    fn key(key: u32) -> u32 {
        key.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
    }

    fn mix(self, key: u32) -> Self {
        Self((self.0 ^ Self::key(key)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64))
    }

    fn finish(self, length: u32) -> Self {
        let hash = self.0 ^ length;
        let hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
        let hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
        Self(hash ^ hash >> 16)
    }
}

impl Hasher for Murmur {
    fn int(self, value: i32) -> Self {
        self.mix(value.cast_unsigned()).finish(4)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the two halves, one after the other")]
    fn long(self, value: i64) -> Self {
        let value = value.cast_unsigned();
        self.mix(value as u32).mix((value >> 32) as u32).finish(8)
    }

    /// Spark mixes the last bytes one by one, each with its sign.
    fn bytes(self, value: &[u8]) -> Self {
        let words = value.chunks_exact(4);
        let tail = words.remainder();
        let hash = words.fold(self, |hash, word| {
            hash.mix(word.iter().rev().fold(0_u32, |value, byte| value << 8 | u32::from(*byte)))
        });
        let hash = tail.iter().fold(hash, |hash, byte| hash.mix(i32::from(byte.cast_signed()).cast_unsigned()));
        hash.finish(u32::try_from(value.len()).unwrap_or(u32::MAX))
    }
}

/// xxHash in 64 bits.
#[derive(Clone, Copy)]
pub(crate) struct Xx(pub(crate) u64);

const P1: u64 = 0x9E37_79B1_85EB_CA87;
const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
const P3: u64 = 0x1656_67B1_9E37_79F9;
const P4: u64 = 0x85EB_CA77_C2B2_AE63;
const P5: u64 = 0x27D4_EB2F_1656_67C5;

impl Xx {
    fn finish(hash: u64) -> Self {
        let hash = (hash ^ hash >> 33).wrapping_mul(P2);
        let hash = (hash ^ hash >> 29).wrapping_mul(P3);
        Self(hash ^ hash >> 32)
    }

    fn round(hash: u64, word: u64) -> u64 {
        hash.wrapping_add(word.wrapping_mul(P2)).rotate_left(31).wrapping_mul(P1)
    }

    fn eight(hash: u64, word: u64) -> u64 {
        (hash ^ Self::round(0, word)).rotate_left(27).wrapping_mul(P1).wrapping_add(P4)
    }

    fn four(hash: u64, word: u64) -> u64 {
        (hash ^ word.wrapping_mul(P1)).rotate_left(23).wrapping_mul(P2).wrapping_add(P3)
    }

    fn stripes(self, stripes: std::slice::ChunksExact<'_, u8>) -> u64 {
        let seed = self.0;
        let mut lanes = [seed.wrapping_add(P1).wrapping_add(P2), seed.wrapping_add(P2), seed, seed.wrapping_sub(P1)];
        for stripe in stripes {
            for (lane, word) in lanes.iter_mut().zip(stripe.chunks_exact(8)) {
                *lane = Self::round(*lane, little(word));
            }
        }
        let turns = [1, 7, 12, 18];
        let sum = lanes.iter().zip(turns).fold(0_u64, |sum, (lane, by)| sum.wrapping_add(lane.rotate_left(by)));
        lanes.iter().fold(sum, |hash, lane| (hash ^ Self::round(0, *lane)).wrapping_mul(P1).wrapping_add(P4))
    }
}

fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

impl Hasher for Xx {
    fn int(self, value: i32) -> Self {
        let hash = self.0.wrapping_add(P5).wrapping_add(4);
        Self::finish(Self::four(hash, u64::from(value.cast_unsigned())))
    }

    fn long(self, value: i64) -> Self {
        let hash = self.0.wrapping_add(P5).wrapping_add(8);
        Self::finish(Self::eight(hash, value.cast_unsigned()))
    }

    fn bytes(self, value: &[u8]) -> Self {
        let stripes = value.chunks_exact(32);
        let rest = stripes.remainder();
        let hash = if value.len() >= 32 { self.stripes(stripes) } else { self.0.wrapping_add(P5) };
        let mut hash = hash.wrapping_add(value.len() as u64);
        let eights = rest.chunks_exact(8);
        let rest = eights.remainder();
        for word in eights {
            hash = Self::eight(hash, little(word));
        }
        let fours = rest.chunks_exact(4);
        let rest = fours.remainder();
        for word in fours {
            hash = Self::four(hash, little(word));
        }
        for byte in rest {
            hash = (hash ^ u64::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
        }
        Self::finish(hash)
    }
}
