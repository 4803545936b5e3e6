//! What the tests share: batches, logs on a disk, a runtime.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use vitalake_ingest::log::{
    BatchBuilder, CheckedBatch, Log, LogOptions, ProducerSequence, Records, RecoveryReport, StoredBatch, TopicPartition,
};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::{CrashDisk, Disk};

pub const NOW_MS: i64 = 1_760_000_000_000;

pub fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 4 << 10,
        index_interval_bytes: 512,
        lanes: 1,
        reserve_bytes: 1 << 20,
        ..LogOptions::default()
    }
}

pub fn open(disk: &CrashDisk, options: LogOptions) -> (Arc<Log>, RecoveryReport) {
    open_at(disk, options, &Clock::manual(NOW_MS))
}

pub fn open_at(disk: &CrashDisk, options: LogOptions, clock: &Clock) -> (Arc<Log>, RecoveryReport) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Log::open(disk, Path::new("/data/log"), options, clock.clone()).unwrap()
}

pub fn batch(values: &[String], producer: Option<ProducerSequence>) -> Bytes {
    let mut builder = BatchBuilder::new();
    for (at, value) in values.iter().enumerate() {
        builder.push(NOW_MS + at as i64, Some(b"key"), Some(value.as_bytes()));
    }
    builder.build(producer)
}

pub fn checked(values: &[String], producer: Option<ProducerSequence>) -> CheckedBatch {
    CheckedBatch::new(batch(values, producer)).unwrap()
}

pub fn wait<F: Future>(future: F) -> F::Output {
    futures::executor::block_on(future)
}

pub fn read_all(log: &Log, partition: TopicPartition) -> Vec<StoredBatch> {
    let (mut from, mut all) = (log.start_offset(partition).unwrap(), Vec::new());
    while from < log.durable_end(partition).unwrap() {
        let read = log.read(partition, from, 10_000).unwrap();
        assert!(!read.is_empty(), "nothing at {from}, before the end");
        from = read.last().unwrap().last_offset + 1;
        all.extend(read);
    }
    all
}

pub fn values(batches: &[StoredBatch]) -> Vec<(i64, String)> {
    let mut out = Vec::new();
    for stored in batches {
        for record in &Records::open(&stored.batch).unwrap() {
            let record = record.unwrap();
            out.push((record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
    out
}

pub fn compressed(codec: i16, body: &[u8]) -> Vec<u8> {
    match codec {
        1 => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(body).unwrap();
            out.finish().unwrap()
        }
        2 => snap::raw::Encoder::new().compress_vec(body).unwrap(),
        3 => {
            let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
            out.write_all(body).unwrap();
            out.finish().unwrap()
        }
        4 => zstd::stream::encode_all(body, 1).unwrap(),
        _ => body.to_vec(),
    }
}
