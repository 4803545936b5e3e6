//! The endpoint and the log without landing, to try clients against and to measure.
//!
//! `cargo run --example log_server -- 127.0.0.1:9092 /tmp/log topic:4 other:1`

use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use vitalake_ingest::kafka::{KafkaOptions, KafkaServer};
use vitalake_ingest::log::{Log, LogOptions};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::LocalDisk;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:9092".to_owned());
    let folder = arguments.next().map_or_else(|| std::env::temp_dir().join("vitalake-log"), PathBuf::from);
    let number = |name: &str, default| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default);
    let defaults = LogOptions::default();
    let options = LogOptions {
        unlanded_bytes_max: None,
        lanes: number("LANES", defaults.lanes),
        reserve_bytes: number("RESERVE_BYTES", 1 << 30) as u64,
        ..defaults
    };
    let (log, report) = Log::open(LocalDisk::shared(), &folder, options, Clock::system())?;
    eprintln!("{report:#?}");
    for topic in arguments {
        let (name, partitions) = topic.split_once(':').unwrap_or((&topic, "4"));
        log.ensure_topic(name, partitions.parse()?)?;
    }
    let server = KafkaServer::bind(address.as_str(), log.clone(), KafkaOptions::default()).await?;
    eprintln!("listening on {}", server.local_addr());
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    server
        .run(async move {
            terminated.recv().await;
        })
        .await;
    log.close();
    let metrics = log.metrics();
    eprintln!(
        "batches {} records {} bytes {} duplicates {} syncs {} sync ms {}",
        metrics.batches_appended.load(Relaxed),
        metrics.records_appended.load(Relaxed),
        metrics.bytes_appended.load(Relaxed),
        metrics.duplicate_batches.load(Relaxed),
        metrics.syncs.load(Relaxed),
        metrics.sync_micros.load(Relaxed) / 1000
    );
    Ok(())
}
