//! Measurements, run by name: `cargo test -p vitalake-lake --test it -- --ignored --nocapture speed`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{
    ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringViewArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use vitalake_lake::delta::{Change, DeltaLog, schema::timestamp_type};
use vitalake_lake::parquet::{ParquetEncoder, ParquetOptions};
use vitalake_lake::store::DiskStore;
use vitalake_runtime::disk::LocalDisk;

use crate::delta_fixture::{NOW_MS, Table, schema};

/// A raw dataset's columns: five of the record's and six of the log's.
fn raw_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("device_id", DataType::Utf8View, true),
        Field::new("at", timestamp_type(), true),
        Field::new("metric", DataType::Utf8View, true),
        Field::new("value", DataType::Float64, true),
        Field::new("sequence", DataType::Int64, true),
        Field::new("_topic", DataType::Utf8View, false),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_timestamp", timestamp_type(), true),
        Field::new("_ingested_at", timestamp_type(), false),
        Field::new("_rescued", DataType::Utf8View, true),
    ]))
}

fn raw_batch(from: i64, rows: i64) -> RecordBatch {
    let numbers: Vec<i64> = (from..from + rows).collect();
    let mix = |n: i64| {
        let z = (n as u64).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 33
    };
    let micros = |jitter: i64| {
        let values = numbers.iter().map(|n| NOW_MS * 1000 + n * 250 + (mix(*n) as i64 % 1000) * jitter);
        Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC")) as ArrayRef
    };
    let metrics = ["heart_rate", "steps", "spo2", "skin_temperature"];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringViewArray::from_iter_values(numbers.iter().map(|n| format!("wearable-{:08}", mix(*n) % 5000)))),
        micros(1_000_000),
        Arc::new(StringViewArray::from_iter_values(numbers.iter().map(|n| metrics[mix(n + 7) as usize % 4]))),
        Arc::new(Float64Array::from_iter_values(numbers.iter().map(|n| (mix(n + 3) % 1500) as f64 / 10.0))),
        Arc::new(Int64Array::from_iter_values(numbers.iter().map(|n| n / 5000))),
        Arc::new(StringViewArray::from_iter_values(numbers.iter().map(|_| "wearable_readings"))),
        Arc::new(Int32Array::from_value(3, rows as usize)),
        Arc::new(Int64Array::from(numbers.clone())),
        micros(100),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(numbers.iter().map(|n| NOW_MS * 1000 + n / 500 * 1000))
                .with_timezone("UTC"),
        ),
        new_null_array(&DataType::Utf8View, rows as usize),
    ];
    RecordBatch::try_new(raw_schema(), columns).unwrap()
}

fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> (Duration, u64, u64) {
    let start = Instant::now();
    let mut encoder = ParquetEncoder::try_new(schema, &ParquetOptions::default()).unwrap();
    for batch in batches {
        encoder.write(batch).unwrap();
    }
    let tail = encoder.finish().unwrap();
    (start.elapsed(), tail.size_bytes, tail.rows)
}

#[test]
#[ignore = "a measurement"]
fn speed_of_parquet() {
    let batches: Vec<RecordBatch> = (0..128).map(|n| raw_batch(n * 8192, 8192)).collect();
    for _ in 0..3 {
        let (time, bytes, rows) = encode(&raw_schema(), &batches);
        println!("{:.2} M rows/s, {:.2} bytes/row", rows as f64 / time.as_secs_f64() / 1e6, bytes as f64 / rows as f64);
    }
    for (index, field) in raw_schema().fields().iter().enumerate() {
        let one: Vec<RecordBatch> = batches.iter().map(|batch| batch.project(&[index]).unwrap()).collect();
        let (time, bytes, rows) = encode(&one[0].schema(), &one);
        println!(
            "{:>14} {:6.1} ns/row {:6.2} bytes/row",
            field.name(),
            time.as_nanos() as f64 / rows as f64,
            bytes as f64 / rows as f64
        );
    }
}

async fn commits(log: &DeltaLog, count: usize) -> Vec<Duration> {
    let mut snapshot = log.create("readings", &schema(), Default::default(), NOW_MS).await.unwrap();
    let table = Table { store: log.store().clone(), log: log.clone() };
    let template = table.change(0, 100).await;
    let mut times = Vec::with_capacity(count);
    for n in 0..count {
        let mut change: Change = template.clone().with_txn("vitalake/topic/0", n as i64);
        change.adds[0].path = format!("{n:08}.zstd.parquet");
        let start = Instant::now();
        snapshot = log.append(&snapshot, change).await.unwrap();
        times.push(start.elapsed());
    }
    assert_eq!(snapshot.file_count(), count);
    times
}

fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

fn report(name: &str, times: &[Duration]) {
    let (early, late) = (median(&times[50..150]), median(&times[times.len() - 100..]));
    let ratio = late.as_secs_f64() / early.as_secs_f64();
    println!("{name}: 100th {early:?}, {}th {late:?}, ratio {ratio:.2}", times.len());
}

#[tokio::test]
#[ignore = "a measurement"]
async fn speed_of_commits_on_disk() {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let store = Arc::new(DiskStore::new(LocalDisk::shared(), home.path()));
    let log = DeltaLog::new(store, "lake/raw/readings".into());
    report("disk, synced", &commits(&log, 10_000).await);
}

#[tokio::test]
#[ignore = "a measurement"]
async fn speed_of_ten_thousand_commits() {
    let (table, _) = Table::create().await;
    let times = commits(&table.log, 10_000).await;
    report("memory", &times);
    let start = Instant::now();
    let snapshot = table.open().await;
    println!("loading {} commits without a checkpoint: {:?}", snapshot.version(), start.elapsed());
    let start = Instant::now();
    table.log.checkpoint(&snapshot, vitalake_lake::delta::CheckpointOptions::at(NOW_MS)).await.unwrap();
    println!("checkpoint of {} files: {:?}", snapshot.file_count(), start.elapsed());
    let start = Instant::now();
    table.open().await;
    println!("loading it: {:?}", start.elapsed());
}
