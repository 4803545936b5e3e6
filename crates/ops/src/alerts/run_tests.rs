//! The loops of an evaluation beside each other: none waits for what another asks.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use object_store::memory::InMemory;
use tokio::sync::Notify;
use vitalake_contract::alert::{AlertDataset, AlertRule, AlertSource};
use vitalake_contract::{DatasetName, Layer};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::events::Events;

use super::ask::{AskError, Cell, Questions, Rows};
use super::desk::{Desk, DeskSetup};
use super::lineage::Lineage;
use super::rates::Brought;
use super::rule::rules;
use super::run::{Pace, Surroundings, ask_forever, run};
use super::send::Sender;
use super::signal::Facts;

struct Nothing;

#[async_trait]
impl Surroundings for Nothing {
    async fn facts(&self) -> Option<Facts> {
        Some(Facts::default())
    }

    async fn brought_since(&self, _since_ms: i64) -> Vec<Brought> {
        Vec::new()
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
    async fn ask(&self, _sql: &str, _rows_max: usize, _time_max: Duration) -> Result<Rows, AskError> {
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

fn asks(names: &[&str]) -> Vec<AlertRule> {
    let mut shipped = rules(&[], &BTreeMap::new()).into_iter().map(|rule| rule.alert);
    let drift = shipped.find(|alert| alert.name == "schema_drift").unwrap();
    let sql = |name: &&str| AlertSource::Sql((*name).to_owned());
    let rule = |name: &&str| AlertRule { name: (*name).to_owned(), source: sql(name), ..drift.clone() };
    names.iter().map(rule).collect()
}

fn desk(alerts: &[AlertRule]) -> Arc<Desk> {
    let raw = AlertDataset { layer: Layer::Raw, name: DatasetName::new("readings").unwrap() };
    Desk::new(DeskSetup {
        rules: rules(alerts, &BTreeMap::new()),
        receivers: BTreeMap::new(),
        lineage: Lineage::default(),
        names: BTreeSet::new(),
        teams: BTreeMap::new(),
        time_columns: BTreeMap::from([(raw, "_ingested_at".to_owned())]),
        project: "care".to_owned(),
        address: "http://127.0.0.1:8888".to_owned(),
        clock: Clock::manual(1_700_000_000_000),
        events: Events::unread(),
        recorder: None,
        evidence: None,
        sender: Sender::default(),
    })
}

#[tokio::test]
async fn a_query_that_takes_its_time_keeps_nothing_from_being_counted() {
    let desk = desk(&asks(&["asks"]));
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

/// Answers those whose text begins with `slow` late; says of the others at first that tables are being recovered.
#[derive(Default)]
struct Paced {
    answered: parking_lot::Mutex<BTreeMap<String, u32>>,
    at_once: AtomicUsize,
    most_at_once: AtomicUsize,
    early: AtomicUsize,
    moved: Notify,
}

const PACE: Pace = Pace {
    ask_every: Duration::from_millis(50),
    quick_max: Duration::from_millis(150),
    time_max: Duration::from_secs(60),
    ready_max: Duration::from_secs(300),
};

struct Counted<'a>(&'a Paced);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.at_once.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Questions for Paced {
    async fn ask(&self, sql: &str, _rows_max: usize, _time_max: Duration) -> Result<Rows, AskError> {
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        let _counted = Counted(self);
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        if sql.starts_with("slow") {
            tokio::time::sleep(PACE.quick_max * 2).await;
        } else if self.early.fetch_add(1, Ordering::SeqCst) < 3 {
            return Err(AskError::NotReady("raw.readings is being recovered".to_owned()));
        }
        *self.answered.lock().entry(sql.to_owned()).or_default() += 1;
        self.moved.notify_one();
        Ok(Rows { names: vec!["n".to_owned()], rows: vec![vec![Cell::Plain("7".to_owned())]] })
    }

    async fn count(&self, _sql: &str) -> Result<u64, String> {
        Ok(0)
    }
}

#[tokio::test]
async fn slow_queries_take_turns_and_what_is_not_ready_is_asked_again_without_being_an_error() {
    let alerts = ["slow 1", "slow 2", "slow 3", "slow 4", "quick"];
    let (desk, questions) = (desk(&asks(&alerts)), Paced::default());
    let store = Arc::new(InMemory::new());
    desk.open(store).await.unwrap();
    let all_answered_twice = async {
        while alerts.iter().any(|alert| questions.answered.lock().get(*alert).is_none_or(|times| *times < 2)) {
            questions.moved.notified().await;
            desk.tick(&Facts::default()).await;
            let book = desk.book.lock();
            let mine = book.instances.values().filter(|one| alerts.contains(&one.identity.alert.as_str()));
            let states: Vec<_> = mine.map(|one| one.state.name()).collect();
            assert!(states.iter().all(|state| *state == "firing"), "{states:?}");
        }
    };
    tokio::select! {
        () = ask_forever(&desk, &questions, PACE) => {}
        () = all_answered_twice => {}
    }
    let answered = questions.answered.lock();
    let slowest = answered.iter().filter(|(alert, _)| alert.starts_with("slow")).map(|(_, times)| *times).max();
    assert!(answered.get("quick").copied() > slowest.map(|times| times * 2), "{answered:?}");
    assert!(questions.most_at_once.load(Ordering::SeqCst) <= 3);
}
