//! The reader of record batches: what it gives, and that hostile bytes give errors.

use bytes::Bytes;
use proptest::prelude::*;
use vitalake_ingest::log::{
    BATCH_HEADER_BYTES, BatchBuilder, BatchError, CheckedBatch, DECOMPRESSED_BYTES_MAX, Records,
};

use crate::support::{batch, compressed};

fn builder() -> BatchBuilder {
    let mut builder = BatchBuilder::new();
    for number in 0..50i64 {
        let value = format!("{{\"n\":{number},\"pad\":\"{}\"}}", "p".repeat(100));
        builder.push(5_000 + number, Some(b"k"), Some(value.as_bytes()));
    }
    builder
}

fn xerial(body: &[u8]) -> Vec<u8> {
    let mut out = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
    for chunk in body.chunks(1000) {
        let block = snap::raw::Encoder::new().compress_vec(chunk).unwrap();
        out.extend_from_slice(&(block.len() as u32).to_be_bytes());
        out.extend_from_slice(&block);
    }
    out
}

#[test]
fn every_compression_gives_the_same_records() {
    let builder = builder();
    let mut bodies: Vec<(i16, Vec<u8>)> = (0..5).map(|codec| (codec, compressed(codec, builder.body()))).collect();
    bodies.push((2, xerial(builder.body())));
    for (codec, body) in bodies {
        let bytes = builder.build_compressed(None, codec, &body);
        let checked = CheckedBatch::new(bytes).unwrap();
        let records = Records::open(checked.bytes()).unwrap();
        let all: Vec<_> = records.iter().map(|record| record.unwrap()).collect();
        assert_eq!((all.len(), all[49].offset, all[49].timestamp_ms), (50, 49, 5_049), "codec {codec}");
        assert!(all[49].value.unwrap().starts_with(b"{\"n\":49"));
    }
}

#[test]
fn a_small_batch_that_would_fill_the_memory_is_refused() {
    let zeros = vec![0u8; 32 << 20];
    for codec in 1..5 {
        let bytes = builder().build_compressed(None, codec, &compressed(codec, &zeros));
        assert_eq!(Records::open_within(&bytes, 1 << 20).unwrap_err(), BatchError::TooLarge(1 << 20), "codec {codec}");
    }
}

#[test]
fn a_compressed_batch_that_is_not_what_its_header_claims_is_refused() {
    let builder = builder();
    let mut longer = self::builder();
    longer.push(9_999, None, Some(b"one more"));
    let shorter = &builder.body()[..builder.body().len() - 10];
    for codec in 1..5 {
        let check = |body: &[u8]| CheckedBatch::new(builder.build_compressed(None, codec, body)).unwrap_err();
        let names = ["", "gzip", "snappy", "lz4", "zstd"];
        let broken = BatchError::Compressed(names[codec as usize]);
        assert_eq!(check(&[0xa5; 300]), broken, "noise, codec {codec}");
        let whole = compressed(codec, builder.body());
        assert_eq!(check(&whole[..whole.len() / 2]), broken, "cut, codec {codec}");
        assert_eq!(check(&compressed(codec, longer.body())), BatchError::Record(49), "too many records");
        assert_eq!(check(&compressed(codec, shorter)), BatchError::Record(49), "a record cut");
        assert_eq!(check(&compressed(codec, b"7 bytes")), BatchError::Count(50), "too few bytes");
        let bomb = compressed(codec, &vec![0; DECOMPRESSED_BYTES_MAX + 1]);
        assert_eq!(check(&bomb), BatchError::TooLarge(DECOMPRESSED_BYTES_MAX), "codec {codec}");
    }
}

#[test]
fn a_compressed_body_ends_where_its_own_end_is_and_nowhere_else() {
    let builder = builder();
    let (first, second) = builder.body().split_at(builder.body().len() / 2);
    for codec in 1..5 {
        let check = |body: &[u8]| CheckedBatch::new(builder.build_compressed(None, codec, body));
        let whole = compressed(codec, builder.body());
        assert!(check(&whole).is_ok(), "codec {codec}");
        for cut in 1..=whole.len() {
            assert!(check(&whole[..whole.len() - cut]).is_err(), "codec {codec} without its last {cut} bytes");
        }
        for garbage in [b"\0".as_slice(), b"more", &[0xa5; 40]] {
            assert!(check(&[&whole, garbage].concat()).is_err(), "codec {codec} with {} bytes after it", garbage.len());
        }
        // Members of gzip and frames of zstd follow one another; a frame of LZ4 and a block of snappy stand alone.
        let members = [compressed(codec, first), compressed(codec, second)].concat();
        assert_eq!(check(&members).is_ok(), matches!(codec, 1 | 4), "several members, codec {codec}");
        assert!(check(&compressed(codec, first)).is_err(), "the first member alone, codec {codec}");
    }
}

#[test]
fn counts_beyond_the_bytes_are_refused() {
    let whole = batch(&["a".to_owned(), "b".to_owned()], None);
    for claimed in [0i32, 1, 3, i32::MAX] {
        let mut bytes = whole.to_vec();
        bytes[57..61].copy_from_slice(&claimed.to_be_bytes());
        bytes[23..27].copy_from_slice(&claimed.wrapping_sub(1).to_be_bytes());
        let sum = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&sum.to_be_bytes());
        assert!(CheckedBatch::new(Bytes::from(bytes)).is_err(), "{claimed}");
    }
    assert_eq!(
        CheckedBatch::new(whole.slice(..whole.len() - 1)).unwrap_err(),
        BatchError::Length { claimed: whole.len() as u64, present: whole.len() as u64 - 1 }
    );
    let mut other = whole.to_vec();
    *other.last_mut().unwrap() ^= 1;
    assert_eq!(CheckedBatch::new(Bytes::from(other)).unwrap_err(), BatchError::Checksum);
    let mut old = whole.to_vec();
    old[16] = 1;
    assert_eq!(CheckedBatch::new(Bytes::from(old)).unwrap_err(), BatchError::Magic(1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Bytes changed anywhere behind a right checksum: an error or records, never a panic, never more than was claimed;
    /// and what is taken can be read to its last record.
    #[test]
    fn changed_bytes_never_panic(codec in 0i16..6, at in 0usize..400, change in proptest::collection::vec(any::<u8>(), 1..12), cut in 0usize..50) {
        let builder = builder();
        let mut bytes = builder.build_compressed(None, codec, &compressed(codec, builder.body())).to_vec();
        bytes.truncate(bytes.len() - cut.min(bytes.len() - BATCH_HEADER_BYTES));
        let length = bytes.len();
        for (offset, byte) in change.iter().enumerate() {
            let place = 21 + (at + offset) % (length - 21);
            bytes[place] ^= byte;
        }
        bytes[8..12].copy_from_slice(&((length - 12) as i32).to_be_bytes());
        let sum = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&sum.to_be_bytes());
        let bytes = Bytes::from(bytes);
        if let Ok(taken) = CheckedBatch::new(bytes.clone()) {
            let records = Records::open(taken.bytes()).unwrap();
            let read = records.iter().filter(|record| record.is_ok()).count();
            prop_assert_eq!(read, usize::try_from(taken.header().records).unwrap());
        }
        if let Ok(records) = Records::open_within(&bytes, 1 << 20) {
            let claimed = records.header().records;
            prop_assert!(records.iter().count() <= usize::try_from(claimed).unwrap_or(0));
        }
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(noise);
        prop_assert!(CheckedBatch::new(bytes.clone()).is_err());
        if let Ok(records) = Records::open_within(&bytes, 1 << 20) {
            records.iter().for_each(drop);
        }
    }
}
