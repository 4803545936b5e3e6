#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::LocalDisk;

use super::*;
use crate::log::{CheckedBatch, Log, TopicPartition};

const TOPIC: &str = "readings";

/// A batch of three records of which the middle one is a person's, as a client sends it.
fn batch(codec: i16, sequence: i32) -> CheckedBatch {
    let mut built = BatchBuilder::new();
    for (at, who) in ["p0", "p1", "p12"].into_iter().enumerate() {
        let value = format!("{{\"who\":\"{who}\",\"n\":{at}}}");
        let headers: [(&[u8], Option<&[u8]>); 1] = [(b"of", Some(who.as_bytes()))];
        built.push_with(1_000 + at as i64, Some(who.as_bytes()), Some(value.as_bytes()), &headers);
    }
    let kind = BatchHeader { attributes: codec, ..BatchHeader::peek(&built.build(None)).unwrap() };
    let body = compressed(kind.compression().unwrap(), built.body()).unwrap();
    let producer = ProducerSequence { id: 77, epoch: 0, sequence };
    CheckedBatch::new(built.build_compressed(Some(producer), codec, &body)).unwrap()
}

fn goes(record: Looked<'_>) -> Option<Instead> {
    (record.topic == TOPIC && record.key == Some(b"p1")).then_some(Instead::Nothing)
}

fn records(log: &Log, at: TopicPartition) -> Vec<(i64, i64, Option<Vec<u8>>, bool)> {
    let mut found = Vec::new();
    for stored in log.read(at, 0, usize::MAX).unwrap() {
        for record in &Records::open(&stored.batch).unwrap() {
            let record = record.unwrap();
            let erased = is_erased(record.value, record.headers);
            found.push((record.offset, record.timestamp_ms, record.key.map(<[u8]>::to_vec), erased));
        }
    }
    found
}

#[rstest::rstest]
#[case::plain(0)]
#[case::gzip(1)]
#[case::snappy(2)]
#[case::lz4(3)]
#[case::zstd(4)]
fn a_persons_records_are_empty_and_offsets_times_and_sequences_stay(#[case] codec: i16) {
    let folder = tempfile::tempdir().unwrap();
    let disk = LocalDisk::shared();
    let options = || LogOptions { segment_bytes: 300, ..LogOptions::default() };
    let open = || Log::open(Arc::clone(&disk), folder.path(), options(), Clock::system()).unwrap().0;
    let log = open();
    let id = log.ensure_topic(TOPIC, 1).unwrap();
    let at = TopicPartition::new(id, 0);
    for sequence in [0, 3, 6] {
        futures::executor::block_on(log.append(at, batch(codec, sequence))).unwrap();
    }
    let before = records(&log, at);
    log.close();
    drop(log);

    let planned = rewrite_log(&disk, folder.path(), &goes, true).unwrap();
    let rewritten = rewrite_log(&disk, folder.path(), &goes, false).unwrap();
    assert_eq!((planned, rewritten.batches, rewritten.records), (rewritten, 3, 3));
    assert_eq!(rewrite_log(&disk, folder.path(), &goes, false).unwrap(), Rewritten::default(), "it is done once");

    let log = open();
    log.ensure_topic(TOPIC, 1).unwrap();
    let after = records(&log, at);
    let places = |records: &[(i64, i64, Option<Vec<u8>>, bool)]| records.iter().map(|r| (r.0, r.1)).collect::<Vec<_>>();
    assert_eq!(places(&after), places(&before));
    for (was, is) in before.iter().zip(&after) {
        match was.2.as_deref() == Some(b"p1") {
            true => assert_eq!((&is.2, is.3), (&None, true)),
            false => assert_eq!((&is.2, is.3), (&was.2, false)),
        }
    }
    // A retry of the last batch is known, and the next one follows.
    let again = futures::executor::block_on(log.append(at, batch(codec, 6))).unwrap();
    assert_eq!(again.base_offset, 6);
    assert_eq!(futures::executor::block_on(log.append(at, batch(codec, 9))).unwrap().base_offset, 9);
}
