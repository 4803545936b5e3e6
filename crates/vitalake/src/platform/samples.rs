//! Samples for the ops datasets: how far each dataset is behind, and what the process uses and lacks.
//!
//! Invariant: a sample costs no request to a store and waits for nothing.

use std::sync::Arc;
use std::time::Duration;

use vitalake_lake::Table;
use vitalake_ops::record::{LagSample, ResourcesSample};

use super::Life;

/// How often they are taken.
const INTERVAL: Duration = Duration::from_secs(30);

/// Takes samples of a life until dropped.
pub(super) async fn take_forever(life: Arc<Life>) {
    let mut due = tokio::time::interval(INTERVAL);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let recorder = &life.setup.recorder;
        recorder.lag(&lag(&life));
        recorder.resources(&resources(&life));
    }
}

/// One sample of each partition of a topic, and one of each dataset that a model or files make.
fn lag(life: &Life) -> Vec<LagSample> {
    let now_ms = life.setup.clock.now_ms();
    let age = |table: &Table| table.newest_row_ms().map(|newest| (now_ms - newest).max(0) as f64 / 1000.0);
    let mut samples = Vec::new();
    for landing in &life.intake.landings {
        let (dataset, age_seconds) = (landing.table().contract().dataset.to_string(), age(landing.table()));
        samples.extend(landing.positions().into_iter().map(|position| LagSample {
            dataset: dataset.clone(),
            partition: Some((landing.topic().to_owned(), position.partition)),
            lag_records: Some(u64::try_from(position.end_offset - position.landed_offset).unwrap_or(0)),
            age_seconds,
        }));
    }
    let models = life.models.lock().clone().map(|models| models.statuses()).unwrap_or_default();
    for table in life.lake.tables() {
        let name = &table.contract().dataset;
        if life.intake.landings.iter().any(|landing| landing.table().contract().dataset == *name) {
            continue;
        }
        let model = models.iter().find(|model| model.dataset == *name);
        samples.push(LagSample {
            dataset: name.to_string(),
            partition: None,
            lag_records: model.map(|model| model.changes_behind),
            age_seconds: age(table),
        });
    }
    samples
}

fn resources(life: &Life) -> ResourcesSample {
    ResourcesSample {
        disk_free_bytes: life.setup.disk.free_bytes(&life.setup.config.data).ok(),
        tail_bytes: Some(life.lake.tables().map(|table| table.bytes_in_memory() as u64).sum()),
        away: life.away().into_iter().map(|away| away.part.to_owned()).collect(),
        events_dropped: life.setup.events.dropped(),
    }
}
