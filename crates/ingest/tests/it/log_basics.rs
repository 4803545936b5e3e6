//! The log without crashes: offsets, sequences, retention, refusals, damage.

use std::io::ErrorKind;
use std::path::Path;

use vitalake_ingest::log::{LogError, LogOptions, ProducerSequence, TopicPartition};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::{CrashDisk, Disk};

use crate::support::{NOW_MS, checked, open, open_at, options, read_all, values, wait};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn sequence(id: i64, sequence: i32) -> Option<ProducerSequence> {
    Some(ProducerSequence { id, epoch: 0, sequence })
}

#[test]
fn what_was_appended_is_read_from_any_offset_and_survives_a_restart() {
    let disk = CrashDisk::new(1);
    let (log, _) = open(&disk, options());
    let topic = log.ensure_topic("readings", 1).unwrap();
    let partition = TopicPartition::new(topic, 0);
    for number in 0..200 {
        let appended =
            wait(log.append(partition, checked(&words(&[&format!("{number}a"), &format!("{number}b")]), None)))
                .unwrap();
        assert_eq!(appended.base_offset, number * 2);
    }
    drop(log);
    disk.crash();
    let (log, report) = open(&disk, options());
    assert_eq!(report.partitions[0].end_offset, 400);
    assert_eq!(values(&read_all(&log, partition)).len(), 400);
    let middle = log.read(partition, 101, 1).unwrap();
    assert_eq!((middle.len(), middle[0].base_offset, middle[0].last_offset), (1, 100, 101));
    assert!(log.read(partition, 400, 1 << 20).unwrap().is_empty());
    assert!(matches!(log.read(partition, 401, 1), Err(LogError::OffsetOutOfRange { .. })));
    assert!(!log.topics()[0].active, "without its contract a topic is kept and not shown");
    assert_eq!(
        log.ensure_topic("readings", 3).unwrap(),
        topic,
        "with it again it goes on under its id, with more partitions"
    );
    assert!(matches!(log.ensure_topic("readings", 2), Err(LogError::FewerPartitions { .. })));
}

#[test]
fn a_retried_batch_is_one_batch_also_after_restarts_and_trims() {
    let disk = CrashDisk::new(2);
    let clock = Clock::manual(NOW_MS);
    let small = LogOptions { retention_bytes: 0, ..options() };
    let (log, _) = open_at(&disk, small.clone(), &clock);
    let partition = TopicPartition::new(log.ensure_topic("readings", 1).unwrap(), 0);
    let first = wait(log.append(partition, checked(&words(&["a", "b"]), sequence(7, 0)))).unwrap();
    let long = "y".repeat(1000);
    for _ in 0..20 {
        wait(log.append(partition, checked(&words(&[&long]), None))).unwrap();
    }
    log.landed(partition, 21).unwrap();
    assert!(log.trim().unwrap().segments > 0);
    assert!(log.start_offset(partition).unwrap() > 0);
    drop(log);
    disk.crash();
    let (log, _) = open_at(&disk, small, &clock);
    let again = wait(log.append(partition, checked(&words(&["a", "b"]), sequence(7, 0)))).unwrap();
    assert_eq!((again.base_offset, again.duplicate), (first.base_offset, true));
    assert!(matches!(
        wait(log.append(partition, checked(&words(&["c"]), sequence(7, 5)))),
        Err(LogError::OutOfOrderSequence { want: 2, got: 5, .. })
    ));
    assert!(matches!(
        wait(log.append(partition, checked(&words(&["c"]), sequence(8, 5)))),
        Err(LogError::UnknownProducer(_))
    ));
    let newer = Some(ProducerSequence { id: 7, epoch: 1, sequence: 0 });
    wait(log.append(partition, checked(&words(&["c"]), newer))).unwrap();
    assert!(matches!(
        wait(log.append(partition, checked(&words(&["d"]), sequence(7, 2)))),
        Err(LogError::ProducerFenced(_))
    ));
}

#[test]
fn retention_never_passes_what_has_landed() {
    let disk = CrashDisk::new(3);
    let clock = Clock::manual(NOW_MS);
    let (log, _) = open_at(&disk, LogOptions { retention_bytes: 0, retention_ms: 0, ..options() }, &clock);
    let partition = TopicPartition::new(log.ensure_topic("readings", 1).unwrap(), 0);
    let long = "z".repeat(1000);
    for _ in 0..30 {
        wait(log.append(partition, checked(&words(&[&long]), None))).unwrap();
    }
    assert_eq!(log.trim().unwrap().segments, 0, "nothing has landed");
    log.landed(partition, 9).unwrap();
    log.trim().unwrap();
    let start = log.start_offset(partition).unwrap();
    assert!(start > 0 && start <= 10, "{start}");
    assert_eq!(read_all(&log, partition).len() as i64, 30 - start);
}

#[test]
fn a_commit_ahead_of_the_log_moves_the_log_and_nothing_is_taken_for_landed() {
    let disk = CrashDisk::new(4);
    let (log, _) = open(&disk, options());
    let partition = TopicPartition::new(log.ensure_topic("readings", 1).unwrap(), 0);
    wait(log.append(partition, checked(&words(&["a"]), None))).unwrap();
    log.landed(partition, 99).unwrap();
    assert_eq!(wait(log.append(partition, checked(&words(&["b"]), None))).unwrap().base_offset, 100);
    drop(log);
    disk.crash();
    let (log, report) = open(&disk, options());
    assert_eq!(report.partitions[0].damage, None);
    assert_eq!(log.read(partition, 1, 1 << 20).unwrap()[0].base_offset, 100);
}

#[test]
fn a_full_disk_refuses_and_recovers_without_losing_the_order() {
    let disk = CrashDisk::new(5);
    let (log, _) = open(&disk, options());
    let partition = TopicPartition::new(log.ensure_topic("readings", 1).unwrap(), 0);
    disk.set_free_bytes(10);
    assert!(matches!(
        wait(log.append(partition, checked(&words(&["a"]), sequence(1, 0)))),
        Err(LogError::DiskFull { free_bytes: 10, .. })
    ));
    disk.set_free_bytes(1 << 40);
    let ahead = wait(log.append(partition, checked(&words(&["b"]), sequence(1, 1))));
    assert!(
        matches!(ahead, Err(LogError::OutOfOrderSequence { want: 0, .. })),
        "a batch must not pass the one that was refused: {ahead:?}"
    );
    wait(log.append(partition, checked(&words(&["a"]), sequence(1, 0)))).unwrap();
    wait(log.append(partition, checked(&words(&["b"]), sequence(1, 1)))).unwrap();
    disk.fail_writes(Some(ErrorKind::ReadOnlyFilesystem));
    assert!(wait(log.append(partition, checked(&words(&["c"]), sequence(1, 2)))).is_err());
    assert_eq!(read_all(&log, partition).len(), 2, "reads go on");
    disk.fail_writes(None);
    wait(log.append(partition, checked(&words(&["c"]), sequence(1, 2)))).unwrap();
    drop(log);
    disk.crash();
    let (log, _) = open(&disk, options());
    let found: Vec<String> = values(&read_all(&log, partition)).into_iter().map(|(_, value)| value).collect();
    assert_eq!(found, ["a", "b", "c"]);
}

#[test]
fn rot_among_acknowledged_records_is_said_and_not_cut() {
    let disk = CrashDisk::new(6);
    let (log, _) = open(&disk, LogOptions { segment_bytes: 1 << 20, ..options() });
    let topic = log.ensure_topic("readings", 1).unwrap();
    let partition = TopicPartition::new(topic, 0);
    for number in 0..10 {
        wait(log.append(partition, checked(&words(&[&format!("record {number}")]), None))).unwrap();
    }
    drop(log);
    let path = format!("/data/log/{partition}/{:020}.log", 0);
    let file = disk.open(Path::new(&path), false).unwrap();
    let length = file.len().unwrap();
    file.write_all_at(b"rot", length / 2).unwrap();
    file.sync_data().unwrap();
    let (log, report) = open(&disk, options());
    let damage = report.partitions[0].damage.clone().expect("said");
    assert!(damage.after_offset >= 3 && damage.after_offset < 9, "{damage:?}");
    assert_eq!(file.len().map_or(length, |now| now), length, "not cut");
    let before = log.read(partition, 0, 1 << 20).unwrap();
    assert_eq!(before.last().unwrap().last_offset, damage.after_offset);
    assert!(matches!(log.read(partition, damage.after_offset + 1, 1), Err(LogError::Damaged { .. })));
    assert!(matches!(wait(log.append(partition, checked(&words(&["x"]), None))), Err(LogError::WriteFailed { .. })));
    assert_eq!(log.damages(topic), [damage], "kept for the status");
}

#[test]
fn rot_that_a_read_meets_is_kept_for_the_status() {
    let disk = CrashDisk::new(8);
    let (log, _) = open(&disk, LogOptions { segment_bytes: 1 << 20, ..options() });
    let topic = log.ensure_topic("readings", 1).unwrap();
    let partition = TopicPartition::new(topic, 0);
    for number in 0..10 {
        wait(log.append(partition, checked(&words(&[&format!("record {number}")]), None))).unwrap();
    }
    assert_eq!(log.damages(topic), []);
    let file = disk.open(Path::new(&format!("/data/log/{partition}/{:020}.log", 0)), false).unwrap();
    file.write_all_at(b"rot", file.len().unwrap() / 2).unwrap();
    assert!(log.read(partition, 0, 1 << 20).is_err());
    assert_eq!(log.damages(topic).len(), 1);
}

#[test]
fn offsets_are_found_by_time() {
    let disk = CrashDisk::new(7);
    let (log, _) = open(&disk, options());
    let partition = TopicPartition::new(log.ensure_topic("readings", 1).unwrap(), 0);
    for number in 0..100i64 {
        let mut builder = vitalake_ingest::log::BatchBuilder::new();
        builder.push(1000 + number * 10, None, Some(b"a")).push(1005 + number * 10, None, Some(&[b'b'; 100]));
        let batch = vitalake_ingest::log::CheckedBatch::new(builder.build(None)).unwrap();
        wait(log.append(partition, batch)).unwrap();
    }
    assert_eq!(log.offset_for_time(partition, 0).unwrap(), Some((1000, 0)));
    assert_eq!(log.offset_for_time(partition, 1501).unwrap(), Some((1505, 101)));
    assert_eq!(log.offset_for_time(partition, 1995).unwrap(), Some((1995, 199)));
    assert_eq!(log.offset_for_time(partition, 1996).unwrap(), None);
}

/// A batch whose header claims another largest timestamp than its records have.
fn lying(times: &[i64], claimed: i64, codec: i16) -> vitalake_ingest::log::CheckedBatch {
    let mut builder = vitalake_ingest::log::BatchBuilder::new();
    times.iter().for_each(|time| {
        builder.push(*time, None, Some(b"a"));
    });
    let mut bytes = builder.build_compressed(None, codec, &crate::support::compressed(codec, builder.body())).to_vec();
    bytes[35..43].copy_from_slice(&claimed.to_be_bytes());
    let sum = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&sum.to_be_bytes());
    vitalake_ingest::log::CheckedBatch::new(bytes.into()).unwrap()
}

#[test]
fn a_batch_that_lies_about_its_times_misleads_no_look_up() {
    let disk = CrashDisk::new(11);
    for codec in [0, 4] {
        let (log, _) = open(&disk, options());
        let partition = TopicPartition::new(log.ensure_topic(&format!("readings{codec}"), 1).unwrap(), 0);
        for (times, claimed) in
            [(&[1_000, 1_010][..], i64::MAX), (&[2_000, 3_000, 2_500], 0), (&[4_000], -1), (&[5_000], 5_000)]
        {
            wait(log.append(partition, lying(times, claimed, codec))).unwrap();
        }
        drop(log);
        // Also what a start makes of the files.
        let (log, _) = open(&disk, options());
        let found = |time| log.offset_for_time(partition, time).unwrap();
        assert_eq!((found(1_005), found(1_011)), (Some((1_010, 1)), Some((2_000, 2))));
        assert_eq!((found(2_600), found(3_500), found(4_001)), (Some((3_000, 3)), Some((4_000, 5)), Some((5_000, 6))));
        assert_eq!((found(5_001), log.max_timestamp_ms(partition).unwrap()), (None, Some(5_000)));
    }
}
