//! `loadgen`: produces pre-encoded batches of wearable readings to any Kafka address and says what came of it.
//!
//! Batches are made once and only their base timestamps are patched as they are sent, so that the generator's own
//! CPU, which it states, stays small beside what it measures.

mod connection;
mod payload;
mod report;

use std::time::Duration;

use anyhow::Context;
use clap::Parser;

/// Load on a Kafka endpoint.
#[derive(Clone, Debug, Parser)]
#[command(name = "loadgen")]
struct Options {
    /// Address of the endpoint.
    #[arg(long, default_value = "127.0.0.1:9092")]
    bootstrap: String,
    /// Topic to produce to.
    #[arg(long, default_value = "wearable_readings")]
    topic: String,
    /// Partitions of the topic; connections take them in turn.
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Connections.
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// Requests on their way per connection.
    #[arg(long, default_value_t = 5)]
    in_flight: usize,
    /// Bytes of a batch, about.
    #[arg(long, default_value_t = 512 << 10)]
    batch_bytes: usize,
    /// Different batches per connection, sent in turn.
    #[arg(long, default_value_t = 8)]
    batches: usize,
    /// Bytes of an event.
    #[arg(long, default_value_t = 190)]
    event_bytes: usize,
    /// Stop after so many seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Stop after so many events, over all connections.
    #[arg(long)]
    events: Option<u64>,
    /// Events per second, over all connections; as fast as it goes when absent.
    #[arg(long)]
    rate: Option<f64>,
    /// Share of events that are no JSON.
    #[arg(long, default_value_t = 0.0)]
    malformed: f64,
    /// Share of events with a field that the contract does not name.
    #[arg(long, default_value_t = 0.0)]
    unknown: f64,
    /// Fields of an event, each NAME=JSON; {time}, {number} and {wearer} are filled in when batches are made, {sequence} when they are sent. Padded to the event's size.
    #[arg(long = "field", default_values_t = payload::default_fields())]
    fields: Vec<String>,
    /// {time} lies in the last so many hours.
    #[arg(long, default_value_t = 6.0)]
    spread_hours: f64,
    /// The first {sequence}; no event of a run has another's.
    #[arg(long, default_value_t = 0)]
    sequence_from: u64,
    /// Seed of what is random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(run(options.clone()))?;
    report.print(options.json)
}

async fn run(options: Options) -> anyhow::Result<report::Report> {
    let connections = options.connections.max(1);
    let mut tasks = Vec::new();
    let began = tokio::time::Instant::now();
    let cpu_before = report::cpu_time()?;
    for number in 0..connections {
        let batches = payload::batches(&options, options.seed.wrapping_add(number as u64));
        tasks.push((number, batches));
    }
    let prepared = began.elapsed();
    let cpu_prepared = report::cpu_time()?;
    let start = tokio::time::Instant::now();
    let deadline = start + Duration::from_secs_f64(options.seconds);
    let running: Vec<_> = tasks
        .into_iter()
        .map(|(number, batches)| tokio::spawn(connection::run(options.clone(), number, batches, deadline)))
        .collect();
    let mut total = report::Report::default();
    for task in running {
        total.add(task.await.context("a connection's task ended")??);
    }
    total.seconds = start.elapsed().as_secs_f64();
    total.prepare_seconds = prepared.as_secs_f64();
    total.cpu_seconds = report::cpu_time()?.saturating_sub(cpu_prepared).as_secs_f64();
    total.prepare_cpu_seconds = cpu_prepared.saturating_sub(cpu_before).as_secs_f64();
    Ok(total)
}
