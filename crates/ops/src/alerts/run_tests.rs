//! The loops of an evaluation beside each other: none waits for what another asks.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::memory::InMemory;
use tokio::sync::Notify;
use vitalake_contract::alert::{AlertDataset, AlertRule, AlertSource};
use vitalake_contract::{DatasetName, Layer};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::events::Events;

use super::ask::{Questions, Rows};
use super::desk::{Desk, DeskSetup};
use super::lineage::Lineage;
use super::rule::rules;
use super::run::{Surroundings, run};
use super::send::Sender;
use super::signal::Facts;

struct Nothing;

#[async_trait]
impl Surroundings for Nothing {
    async fn facts(&self) -> Option<Facts> {
        Some(Facts::default())
    }
}

/// Gives no answer to a project's query; tells whether one was under way when something was counted.
#[derive(Default)]
struct Slow {
    began: Notify,
    asking: AtomicBool,
    counted: Notify,
    was_asking: AtomicBool,
}

struct Asking<'a>(&'a AtomicBool);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[async_trait]
impl Questions for Slow {
    async fn ask(&self, _sql: &str, _rows_max: usize, _time_max: Duration) -> Result<Rows, String> {
        self.asking.store(true, Ordering::SeqCst);
        let _asking = Asking(&self.asking);
        self.began.notify_one();
        std::future::pending().await
    }

    async fn count(&self, _sql: &str) -> Result<u64, String> {
        if !self.asking.load(Ordering::SeqCst) {
            // Nothing was asked yet, or it was waited for: the first is told from the second by waiting for it.
            let _ = tokio::time::timeout(Duration::from_secs(1), self.began.notified()).await;
        }
        self.was_asking.store(self.asking.load(Ordering::SeqCst), Ordering::SeqCst);
        self.counted.notify_one();
        Ok(0)
    }
}

#[tokio::test]
async fn a_query_that_takes_its_time_keeps_nothing_from_being_counted() {
    let mut shipped = rules(&[], &BTreeMap::new()).into_iter().map(|rule| rule.alert);
    let drift = shipped.find(|alert| alert.name == "schema_drift").unwrap();
    let asks = AlertRule { name: "asks".to_owned(), source: AlertSource::Sql("SELECT 1".to_owned()), ..drift };
    let raw = AlertDataset { layer: Layer::Raw, name: DatasetName::new("readings").unwrap() };
    let desk = Desk::new(DeskSetup {
        rules: rules(&[asks], &BTreeMap::new()),
        receivers: BTreeMap::new(),
        lineage: Lineage::default(),
        names: BTreeSet::new(),
        time_columns: BTreeMap::from([(raw, "_ingested_at".to_owned())]),
        project: "care".to_owned(),
        address: "http://127.0.0.1:8888".to_owned(),
        clock: Clock::manual(1_700_000_000_000),
        events: Events::unread(),
        recorder: None,
        evidence: None,
        sender: Sender::default(),
    });
    let questions = Arc::new(Slow::default());
    let running = tokio::spawn(run(
        desk,
        Arc::new(InMemory::new()),
        Arc::new(Nothing),
        Arc::clone(&questions) as Arc<dyn Questions>,
    ));
    questions.counted.notified().await;
    running.abort();
    assert!(questions.was_asking.load(Ordering::SeqCst), "counting waited for the end of a query");
}
