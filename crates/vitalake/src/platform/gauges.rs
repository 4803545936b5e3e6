//! The platform's numbers for /metrics, taken once a second from what its parts count for themselves.
//!
//! The hot path adds to its own atomics and knows nothing of Prometheus. Invariant: labels are names of datasets,
//! topics and rules alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use vitalake_ingest::landing::TopicLanding;
use vitalake_lake::storage::{RequestKind, Requests};
use vitalake_ops::metrics::{Labels, Metrics};
use vitalake_runtime::telemetry::{MetricName, metric};

use super::{Life, Platform};

/// Keeps the metrics up to date until dropped.
pub async fn sample_forever(platform: Arc<Platform>, metrics: Arc<Metrics>) {
    let mut due = tokio::time::interval(Duration::from_secs(1));
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut sampler = Sampler { metrics, counted: BTreeMap::new(), life: Weak::new() };
    loop {
        due.tick().await;
        sampler.sample(&platform);
    }
}

/// Brings metrics up to counts that are kept elsewhere.
struct Sampler {
    metrics: Arc<Metrics>,
    /// What a life had counted when it was last looked at.
    counted: BTreeMap<(&'static str, Labels), u64>,
    life: Weak<Life>,
}

impl Sampler {
    fn sample(&mut self, platform: &Platform) {
        self.set(metric::READY, Labels::new(), f64::from(u8::from(platform.is_ready())));
        self.raise(metric::EVENTS_DROPPED, Labels::new(), platform.events().dropped());
        let Some(life) = platform.life() else { return };
        if !std::ptr::eq(self.life.as_ptr(), Arc::as_ptr(&life)) {
            // A life counts from its own beginning.
            self.counted.retain(|(name, _), _| *name == metric::EVENTS_DROPPED.name);
            self.life = Arc::downgrade(&life);
        }
        for landing in &life.intake.landings {
            self.sample_landing(landing);
        }
        self.sample_tables(&life);
        self.sample_feeds(&life);
        self.sample_log(&life);
        if let Some(requests) = &life.requests {
            self.sample_requests(requests);
        }
        let models = life.models.lock().clone();
        for model in models.iter().flat_map(|models| models.statuses()) {
            let labels = dataset(model.dataset.as_str());
            self.raise(metric::DUPLICATE_RECORDS, labels.clone(), model.duplicates);
            self.raise(metric::QUARANTINED_RECORDS, labels, model.rows_rejected);
        }
    }

    fn sample_feeds(&mut self, life: &Life) {
        for desk in life.feeds.run_here() {
            let labels = vec![("feed", desk.feed().name.to_string())];
            let seconds = |ms: i64| ms as f64 / 1000.0;
            if let Some(last_ms) = desk.last_delivery_ms() {
                self.set(metric::FEED_LAST_SUCCESS, labels.clone(), seconds(last_ms));
            }
            if let Some(due_ms) = desk.next_due_ms() {
                self.set(metric::FEED_NEXT_DUE, labels.clone(), seconds(due_ms));
                let late = desk.late_since_ms().is_some();
                self.set(metric::FEED_LATE, labels, f64::from(u8::from(late)));
            }
        }
    }

    fn sample_tables(&mut self, life: &Life) {
        let catalogue = life.lake.pin();
        for view in catalogue.tables().filter(|v| v.id.space.is_of_project()) {
            let labels = dataset(view.id.dataset.as_str());
            self.set(metric::TAIL_ROWS, labels.clone(), view.tail.row_count() as f64);
            self.set(metric::DATASET_ROWS, labels, view.head.rows().unwrap_or(0) as f64);
        }
        let now_ms = life.setup.clock.now_ms();
        for table in life.lake.tables() {
            let labels = dataset(table.contract().dataset.as_str());
            self.set(metric::TAIL_BYTES, labels.clone(), table.bytes_in_memory() as f64);
            if let Some(newest_ms) = table.newest_row_ms() {
                self.set(metric::FRESHNESS_SECONDS, labels, (now_ms - newest_ms).max(0) as f64 / 1000.0);
            }
        }
        if let Ok(free) = life.setup.disk.free_bytes(&life.setup.config.data) {
            self.set(metric::DISK_FREE_BYTES, Labels::new(), free as f64);
        }
    }

    fn sample_landing(&mut self, landing: &TopicLanding) {
        let labels = dataset(landing.table().contract().dataset.as_str());
        let (counted, counters) = (|n: &AtomicU64| n.load(Ordering::Relaxed), landing.counters());
        let (rows, rejects) = (counted(&counters.rows), counted(&counters.rejects));
        self.raise(metric::INGEST_RECORDS, labels.clone(), rows + rejects);
        self.raise(metric::INGEST_BYTES, labels.clone(), counted(&counters.bytes));
        self.raise(metric::QUARANTINED_RECORDS, labels.clone(), rejects);
        for broken in counters.broken_rules() {
            let mut labels = labels.clone();
            labels.extend([("rule", broken.rule), ("severity", broken.severity.to_string())]);
            self.raise(metric::BROKEN_RULES, labels, broken.records);
        }
        let topic = vec![("topic", landing.topic().to_owned())];
        self.set(metric::LAG_RECORDS, topic, landing.lag_records() as f64);
    }

    fn sample_log(&mut self, life: &Life) {
        let Some(log) = life.log() else { return };
        let counters = log.metrics();
        for (name, counter) in [
            (metric::LOG_APPENDED_BYTES, &counters.bytes_appended),
            (metric::LOG_APPENDED_RECORDS, &counters.records_appended),
            (metric::LOG_SYNCS, &counters.syncs),
        ] {
            self.raise(name, Labels::new(), counter.load(Ordering::Relaxed));
        }
        let micros = counters.sync_micros.load(Ordering::Relaxed);
        let key = (metric::LOG_SYNC_SECONDS.name, Labels::new());
        let more = micros.saturating_sub(self.counted.insert(key, micros).unwrap_or(0));
        self.metrics.seconds(metric::LOG_SYNC_SECONDS, &Labels::new()).inc_by(more as f64 / 1e6);
    }

    fn sample_requests(&mut self, requests: &Requests) {
        for kind in RequestKind::ALL {
            let labels = vec![("kind", kind.as_str().to_owned())];
            self.raise(metric::STORAGE_REQUESTS, labels, requests.count(kind));
        }
        let counted = |n: &AtomicU64| n.load(Ordering::Relaxed);
        self.raise(metric::STORAGE_THROTTLED, Labels::new(), counted(&requests.throttled));
        self.raise(metric::STORAGE_SENT_BYTES, Labels::new(), counted(&requests.bytes_sent));
        self.raise(metric::STORAGE_RECEIVED_BYTES, Labels::new(), counted(&requests.bytes_received));
    }

    fn set(&self, name: MetricName, labels: Labels, value: f64) {
        self.metrics.value(name, &labels).set(value);
    }

    fn raise(&mut self, name: MetricName, labels: Labels, count: u64) {
        let counter = self.metrics.counter(name, &labels);
        let before = self.counted.insert((name.name, labels), count).unwrap_or(0);
        counter.inc_by(count.saturating_sub(before));
    }
}

fn dataset(name: &str) -> Labels {
    vec![("dataset", name.to_owned())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_remote_store_is_asked_is_counted_by_kind_and_a_new_life_counts_on() {
        let metrics = Arc::new(Metrics::new());
        let mut sampler = Sampler { metrics: Arc::clone(&metrics), counted: BTreeMap::new(), life: Weak::new() };
        let requests = Requests::default();
        requests.bytes_sent.store(7, Ordering::Relaxed);
        sampler.sample_requests(&requests);
        sampler.sample_requests(&requests);
        sampler.counted.clear();
        sampler.sample_requests(&requests);
        let text = metrics.text();
        for name in ["storage_requests", "storage_throttled", "storage_sent_bytes", "storage_received_bytes"] {
            assert!(text.lines().any(|line| line.starts_with(&format!("vitalake_{name}_total"))), "{name}: {text}");
        }
        assert!(text.contains("vitalake_storage_sent_bytes_total{} 14"), "{text}");
    }
}
