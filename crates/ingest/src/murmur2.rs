//! Kafka's hash of a record's key: murmur2 as the Java client computes it, so that a key lands where it always lands.
//!
//! Pure. Source: `org.apache.kafka.common.utils.Utils.murmur2`.

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;

/// The 32-bit hash of a key.
#[must_use]
pub fn murmur2(key: &[u8]) -> u32 {
    // Java's `length` is an int and wraps the same way for keys that a record can hold.
    #[expect(clippy::cast_possible_truncation, reason = "a record's key is far below 4 GiB")]
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0_u32, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ hash >> 15
}

/// The partition that Kafka's default partitioner gives a key.
#[must_use]
pub fn partition(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// The vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[rstest]
    #[case("21", -973_932_308)]
    #[case("foobar", -790_332_482)]
    #[case("a-little-bit-long-string", -985_981_536)]
    #[case("a-little-bit-longer-string", -1_486_304_829)]
    #[case("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971)]
    #[case("abc", 479_470_107)]
    fn murmur2_is_javas(#[case] key: &str, #[case] want: i32) {
        assert_eq!(murmur2(key.as_bytes()).cast_signed(), want);
    }

    #[test]
    fn a_partition_is_never_out_of_range() {
        assert_eq!(partition(b"foobar", 0), 0);
        assert!((0..1_000_u32).all(|key| partition(&key.to_be_bytes(), 7) < 7));
    }
}
