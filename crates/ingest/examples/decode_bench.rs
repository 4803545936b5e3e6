//! How many 190-byte JSON readings a core decodes by contract into Arrow: clean, with 1% malformed and 1% unknown fields,
//! and with what a record may carry beside its value; then what ten rules on each row cost beside none, by turns.
//!
//! `cargo run --release -p vitalake-ingest --example decode_bench [SECONDS]`
#![allow(clippy::print_stdout, reason = "a program that prints its result")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vitalake_contract::rule::{Bound, Check, RowRule, Severity};
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer, Source};
use vitalake_ingest::decode::{Envelope, JsonDecoder, RecordMeta};

const RECORDS: usize = 200_000;
const BATCH: usize = 8_192;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(3.0);
    let contract = Arc::new(contract()?);
    compare_rules(&contract, seconds)?;
    let headers =
        r#"[{"key":"tenant","value":"north"},{"key":"traceparent","value":"00-0af7651916cd43dd8448eb211c80319c"}]"#;
    for (name, bad, keyed, headers) in [
        ("clean", false, false, None),
        ("1% malformed, 1% unknown fields", true, false, None),
        ("clean, each with a key", false, true, None),
        ("clean, each with a key and two headers", false, true, Some(headers)),
    ] {
        let records: Vec<Vec<u8>> = (0..RECORDS).map(|i| reading(i, bad)).collect();
        let bytes: usize = records.iter().map(Vec::len).sum();
        let mut decoder = JsonDecoder::new(Arc::clone(&contract));
        let (mut best, mut rows, mut rejects) = (Duration::MAX, 0, 0);
        let begin = Instant::now();
        while begin.elapsed().as_secs_f64() < seconds {
            let start = Instant::now();
            (rows, rejects) = (0, 0);
            for (batch, records) in records.chunks(BATCH).enumerate() {
                for (index, record) in records.iter().enumerate() {
                    let offset = (batch * BATCH + index) as i64;
                    let meta = RecordMeta {
                        partition: 0,
                        offset,
                        timestamp_ms: Some(1_760_000_000_000),
                        ingested_at_ms: 1_760_000_000_001,
                    };
                    let key = keyed.then(|| record.get(68..77)).flatten();
                    decoder.append_with(Some(record), Envelope { key, headers }, meta);
                }
                let decoded = black_box(decoder.finish()?);
                rows += decoded.rows.num_rows();
                rejects += decoded.rejects.num_rows();
            }
            best = best.min(start.elapsed());
        }
        let rate = RECORDS as f64 / best.as_secs_f64();
        println!(
            "{name}: {:.2} M events/s, {:.0} MB/s ({} bytes each, {rows} rows, {rejects} rejects)",
            rate / 1e6,
            bytes as f64 / best.as_secs_f64() / 1e6,
            bytes / RECORDS
        );
    }
    Ok(())
}

/// Decodes the same readings under a contract without rules and one with ten, by turns, and prints the share.
fn compare_rules(contract: &Contract, seconds: f64) -> Result<(), Box<dyn std::error::Error>> {
    let records: Vec<Vec<u8>> = (0..RECORDS).map(|i| reading(i, false)).collect();
    let without = Contract { row_rules: Vec::new(), ..contract.clone() };
    let with = Contract { row_rules: ten_rules()?, ..contract.clone() };
    let mut decoders = [without, with].map(|contract| JsonDecoder::new(Arc::new(contract)));
    let mut best = [Duration::MAX; 2];
    let begin = Instant::now();
    while begin.elapsed().as_secs_f64() < 2.0 * seconds {
        for (decoder, best) in decoders.iter_mut().zip(&mut best) {
            let start = Instant::now();
            for (batch, records) in records.chunks(BATCH).enumerate() {
                for (index, record) in records.iter().enumerate() {
                    let offset = (batch * BATCH + index) as i64;
                    let meta = RecordMeta { partition: 0, offset, timestamp_ms: None, ingested_at_ms: 1 };
                    decoder.append_with(Some(record), Envelope::default(), meta);
                }
                let decoded = black_box(decoder.finish()?);
                if decoded.rejects.num_rows() > 0 {
                    return Err("a reading breaks one of the ten rules".into());
                }
            }
            *best = (*best).min(start.elapsed());
        }
    }
    let [without, with] = best.map(|best| RECORDS as f64 / best.as_secs_f64());
    println!(
        "no rules: {:.2} M events/s; ten rules a row: {:.2} M events/s, {:.0}% of it",
        without / 1e6,
        with / 1e6,
        100.0 * with / without
    );
    Ok(())
}

/// Of each kind one, among them a pattern, a list and a length.
fn ten_rules() -> Result<Vec<RowRule>, Box<dyn std::error::Error>> {
    let rule = |name: &str, column, check| {
        let name = name.to_owned();
        RowRule { name, column: Some(column), check, severity: Severity::Error }
    };
    Ok(vec![
        rule("reading_id.required", 0, Check::Required),
        rule("reading_id.minLength", 0, Check::MinLength(36)),
        rule("device_id.required", 1, Check::Required),
        rule("device_id.pattern", 1, Check::Pattern("^dev-[0-9]{5}$".parse()?)),
        rule("observed_at.required", 2, Check::Required),
        rule("heart_rate.minimum", 3, Check::Minimum(Bound::Whole(0))),
        rule("heart_rate.maximum", 3, Check::Maximum(Bound::Whole(300))),
        rule("spo2.maximum", 4, Check::Maximum(Bound::Real(100.0))),
        rule("steps.minimum", 5, Check::Minimum(Bound::Whole(0))),
        rule("firmware.oneOf", 7, Check::OneOf(vec!["2.11.3".to_owned(), "2.11.4".to_owned()])),
    ])
}

fn reading(index: usize, bad: bool) -> Vec<u8> {
    let unknown = if bad && index % 100 == 50 { ",\"mood\":\"calm\"" } else { "" };
    let text = format!(
        "{{\"reading_id\":\"0192f3a0-7b1c-7e2d-9a4b-{:012x}\",\"device_id\":\"dev-{:05}\",\"observed_at\":\"2026-11-22T12:{:02}:{:02}.{:03}Z\",\"vitals\":{{\"hr\":{},\"spo2\":{:.1}}},\"steps\":{},\"battery\":{},\"fw\":\"2.11.4\"{unknown}}}",
        index,
        index % 5000,
        index / 60 % 60,
        index % 60,
        index % 1000,
        60 + index % 80,
        94.0 + (index % 50) as f64 / 10.0,
        index % 200,
        index % 101,
    );
    let mut bytes = text.into_bytes();
    if bad && index.is_multiple_of(100) {
        bytes.truncate(bytes.len() / 2);
    }
    bytes
}

fn contract() -> Result<Contract, String> {
    let column = |name: &str, kind: ColumnType, required: bool, path: &[&str]| Column {
        required,
        path: path.iter().map(|&p| p.to_owned()).collect(),
        ..Column::new(name, kind)
    };
    let columns = vec![
        column("reading_id", ColumnType::String, true, &["reading_id"]),
        column("device_id", ColumnType::String, true, &["device_id"]),
        column("observed_at", ColumnType::Timestamp(None), true, &["observed_at"]),
        column("heart_rate", ColumnType::Long, false, &["vitals", "hr"]),
        column("spo2", ColumnType::Double, false, &["vitals", "spo2"]),
        column("steps", ColumnType::Long, false, &["steps"]),
        column("battery", ColumnType::Long, false, &["battery"]),
        column("firmware", ColumnType::String, false, &["fw"]),
    ];
    let rule = |name: &str, column, check| RowRule {
        name: name.to_owned(),
        column: Some(column),
        check,
        severity: Severity::Error,
    };
    let row_rules = vec![
        rule("reading_id.required", 0, Check::Required),
        rule("device_id.required", 1, Check::Required),
        rule("observed_at.required", 2, Check::Required),
        rule("heart_rate.minimum", 3, Check::Minimum(Bound::Whole(0))),
        rule("heart_rate.maximum", 3, Check::Maximum(Bound::Whole(300))),
        rule("spo2.maximum", 4, Check::Maximum(Bound::Real(100.0))),
        rule("steps.minimum", 5, Check::Minimum(Bound::Whole(0))),
    ];
    Ok(Contract {
        columns,
        primary_key: vec![0],
        row_rules,
        source: Some(Source::Stream { topic: "wearable-readings".to_owned(), partitions: 4 }),
        ..Contract::new(DatasetName::new("wearable_readings")?, Layer::Raw)
    })
}
