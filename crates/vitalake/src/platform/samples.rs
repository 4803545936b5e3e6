//! Samples for the ops datasets: how far each dataset is behind, which rules its records broke, and what the process uses
//! and lacks.
//!
//! Invariant: a sample costs no request to a store and waits for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vitalake_ingest::landing::RuleCount;
use vitalake_lake::Table;
use vitalake_ops::record::{LagSample, ResourcesSample};
use vitalake_runtime::events::Event;

use super::Life;

/// How often it is looked which rules were broken.
const INTERVAL: Duration = Duration::from_secs(5);
/// After so many of those looks the rest is sampled.
const LOOKS_PER_SAMPLE: u64 = 6;

/// Takes samples of a life until dropped.
pub(super) async fn take_forever(life: Arc<Life>) {
    let mut due = tokio::time::interval(INTERVAL);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut looks, mut broken) = (0, BTreeMap::new());
    loop {
        due.tick().await;
        let recorder = &life.setup.recorder;
        newly_broken(&life, &mut broken).iter().for_each(|event| recorder.record(event));
        if looks % LOOKS_PER_SAMPLE == 0 {
            recorder.lag(&lag(&life));
            recorder.resources(&resources(&life));
        }
        looks += 1;
    }
}

/// The rules that records of topics have broken since the last look. Landing counts them and tells nobody, since it has
/// no time to.
fn newly_broken(life: &Life, known: &mut BTreeMap<(String, String), u64>) -> Vec<Event> {
    let mut events = Vec::new();
    for landing in &life.intake.landings {
        let dataset = landing.table().contract().dataset.as_str();
        for RuleCount { rule, severity, records } in landing.counters().broken_rules() {
            let before = known.insert((dataset.to_owned(), rule.clone()), records).unwrap_or(0);
            if records > before {
                let (dataset, severity) = (dataset.into(), severity.as_str());
                events.push(Event::Check { dataset, rule: rule.into(), severity, rows: records - before });
            }
        }
    }
    events
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
