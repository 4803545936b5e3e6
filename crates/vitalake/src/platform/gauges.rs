//! The platform's numbers for /metrics, taken once a second from what its parts count for themselves.
//!
//! The hot path adds to its own atomics and knows nothing of Prometheus. Invariant: labels are names of datasets and
//! topics alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use vitalake_ingest::landing::TopicLanding;
use vitalake_lake::Space;
use vitalake_lake::place::{RequestKind, Requests};
use vitalake_ops::metrics::{Labels, Metrics};
use vitalake_runtime::telemetry::metric;

use super::Platform;

/// Keeps the metrics up to date until dropped.
pub async fn sample_forever(platform: Arc<Platform>, metrics: Arc<Metrics>) {
    let mut due = tokio::time::interval(Duration::from_secs(1));
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        sample(&platform, &metrics);
    }
}

fn sample(platform: &Platform, metrics: &Metrics) {
    for landing in &platform.intake.landings {
        sample_landing(landing, metrics);
    }
    let catalogue = platform.lake.pin();
    for view in catalogue.tables().filter(|v| v.id.space != Space::Quarantine) {
        let labels = dataset(view.id.dataset.as_str());
        metrics.value(metric::TAIL_ROWS, &labels).set(view.tail.row_count() as f64);
        metrics.value(metric::DATASET_ROWS, &labels).set(view.head.rows().unwrap_or(0) as f64);
    }
    for table in platform.lake.tables() {
        let labels = dataset(table.contract().dataset.as_str());
        metrics.value(metric::TAIL_BYTES, &labels).set(table.bytes_in_memory() as f64);
    }
    if let Some(log) = platform.log() {
        let appended = log.metrics().bytes_appended.load(Ordering::Relaxed);
        raise(metrics, metric::LOG_APPENDED_BYTES, &Labels::new(), appended);
    }
    if let Some(requests) = &platform.requests {
        sample_requests(requests, metrics);
    }
    let models = platform.models.lock().clone();
    for model in models.iter().flat_map(|models| models.statuses()) {
        let labels = dataset(model.dataset.as_str());
        raise(metrics, metric::DUPLICATE_RECORDS, &labels, model.duplicates);
        raise(metrics, metric::QUARANTINED_RECORDS, &labels, model.rows_rejected);
    }
    metrics.value(metric::READY, &Labels::new()).set(f64::from(u8::from(platform.is_ready())));
}

fn sample_landing(landing: &TopicLanding, metrics: &Metrics) {
    let labels = dataset(landing.table().contract().dataset.as_str());
    let (counted, counters) = (|n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed), landing.counters());
    raise(metrics, metric::INGEST_RECORDS, &labels, counted(&counters.rows) + counted(&counters.rejects));
    raise(metrics, metric::INGEST_BYTES, &labels, counted(&counters.bytes));
    raise(metrics, metric::QUARANTINED_RECORDS, &labels, counted(&counters.rejects));
    let topic = vec![("topic", landing.topic().to_owned())];
    metrics.value(metric::LAG_RECORDS, &topic).set(landing.lag_records() as f64);
}

fn sample_requests(requests: &Requests, metrics: &Metrics) {
    for kind in RequestKind::ALL {
        let labels = vec![("kind", kind.as_str().to_owned())];
        raise(metrics, metric::STORAGE_REQUESTS, &labels, requests.count(kind));
    }
    let counted = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    raise(metrics, metric::STORAGE_THROTTLED, &Labels::new(), counted(&requests.throttled));
    raise(metrics, metric::STORAGE_SENT_BYTES, &Labels::new(), counted(&requests.bytes_sent));
    raise(metrics, metric::STORAGE_RECEIVED_BYTES, &Labels::new(), counted(&requests.bytes_received));
}

/// Brings a counter up to a count that is kept elsewhere.
fn raise(metrics: &Metrics, name: vitalake_runtime::telemetry::MetricName, labels: &Labels, count: u64) {
    let counter = metrics.counter(name, labels);
    counter.inc_by(count.saturating_sub(counter.get()));
}

fn dataset(name: &str) -> Labels {
    vec![("dataset", name.to_owned())]
}
