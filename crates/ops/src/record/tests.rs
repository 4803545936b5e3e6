#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use vitalake_contract::DatasetName;
use vitalake_lake::{Balance, CONSERVATION_RULE, Lake, LakeOptions, Space, TableId, TableView};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::events::{DeliveryTold, Event, Outcome};

use super::{LagSample, RecordError, Recorder, ResourcesSample};
use crate::alerts::rates::Brought;
use crate::tables::OpsTable;

async fn lake(store: &Arc<dyn ObjectStore>, clock: &Clock) -> Lake {
    let (options, cpu) = (LakeOptions::default(), Cpu::with_workers(1).unwrap());
    Lake::open(Arc::clone(store), Vec::new(), options, clock.clone(), cpu).await.unwrap()
}

fn view(lake: &Lake, table: OpsTable) -> Arc<TableView> {
    let id = TableId::new(Space::Ops, DatasetName::new(table.as_str()).unwrap());
    Arc::clone(lake.pin().table(&id).unwrap())
}

/// Rows that are committed, and rows that wait.
fn rows(lake: &Lake, table: OpsTable) -> (u64, u64) {
    let view = view(lake, table);
    (view.head.rows().unwrap(), view.tail.row_count())
}

fn discard(rows: u64) -> Event {
    Event::Discard { dataset: "steps".into(), number: 1, rows, reason: "sent twice".into(), actor: "ada".into() }
}

fn one_of_each() -> Vec<(Event, OpsTable)> {
    let (dataset, took): (Arc<str>, _) = ("steps".into(), Duration::from_millis(3));
    let of = || Arc::clone(&dataset);
    vec![
        (
            Event::Commit { table: of(), outcome: Outcome::Done, version: Some(3), rows: 7, error: None, took },
            OpsTable::Commits,
        ),
        (
            Event::Run { dataset: of(), outcome: Outcome::Failed, rows_in: 2, rows_out: 1, error: Some("user"), took },
            OpsTable::Runs,
        ),
        (Event::Check { dataset: of(), rule: "hour".into(), severity: "error", rows: 4 }, OpsTable::Checks),
        (
            Event::Delivery(Arc::new(DeliveryTold {
                dataset: of(),
                state: "released",
                held: Some("0190".into()),
                business_date: Some("2026-04-13".into()),
                delivery: Some(7),
                offered: Some(11),
                accepted: 10,
                quarantined: 1,
                since_ms: Some(1_700_000_000_000),
                took,
                ..DeliveryTold::default()
            })),
            OpsTable::Deliveries,
        ),
        (
            Event::Measured {
                dataset: of(),
                rule: "rows".into(),
                severity: "error",
                scope: "table".into(),
                got: None,
                want: "at least 9".into(),
                passed: None,
            },
            OpsTable::Checks,
        ),
        (
            Event::Gate {
                dataset: of(),
                decision: "held",
                version: None,
                reasons: "[]".into(),
                actor: "gate".into(),
                comment: None,
            },
            OpsTable::Gates,
        ),
        (
            Event::Alert {
                fingerprint: "f".into(),
                alert: "lag".into(),
                dataset: None,
                state: "firing",
                severity: "error".into(),
                owner: "data".into(),
                summary: "late".into(),
            },
            OpsTable::Alerts,
        ),
        (discard(2), OpsTable::Discards),
    ]
}

#[tokio::test]
async fn every_event_that_has_a_table_is_a_row_of_it_at_once_and_committed_when_the_lake_is_let_go() {
    let (store, clock): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Clock::manual(1_700_000_000_000));
    let first = lake(&store, &clock).await;
    let recorder = Recorder::new(clock.clone(), [("steps".to_owned(), "curated.steps".to_owned())]);
    let events = one_of_each();
    // What happens before there is a lake is not lost.
    events.iter().for_each(|(event, _)| recorder.record(event));
    recorder.record(&Event::Query { surface: "druid", outcome: "ok", took: Duration::ZERO });
    recorder.lag(&[LagSample { dataset: "steps".to_owned(), ..LagSample::default() }]);
    recorder.resources(&ResourcesSample::default());
    recorder.attach(&first).await;
    recorder.show();
    let wanted = |table| {
        let events = events.iter().filter(|(_, of)| *of == table).count() as u64;
        events + u64::from(matches!(table, OpsTable::Lag | OpsTable::Resources))
    };
    for table in OpsTable::ALL {
        assert_eq!(rows(&first, table), (0, wanted(table)), "{table:?}");
    }
    recorder.detach().await;
    let second = lake(&store, &clock).await;
    recorder.attach(&second).await;
    for table in OpsTable::ALL {
        assert_eq!(rows(&second, table), (wanted(table), 0), "{table:?}");
    }
    assert_eq!(recorder.dropped(), 0);
}

#[tokio::test]
async fn runs_and_broken_rules_of_a_second_are_one_row_with_their_sums() {
    let (store, clock): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Clock::manual(1_700_000_000_000));
    let lake = lake(&store, &clock).await;
    let recorder = Recorder::new(clock, []);
    recorder.attach(&lake).await;
    for _ in 0..1000 {
        for (event, table) in one_of_each() {
            if matches!(table, OpsTable::Runs) || matches!(event, Event::Check { .. }) {
                recorder.record(&event);
            }
        }
    }
    recorder.show();
    assert_eq!((rows(&lake, OpsTable::Runs), rows(&lake, OpsTable::Checks)), ((0, 1), (0, 1)));
    let view = view(&lake, OpsTable::Runs);
    let runs = view.tail.rows[0].column_by_name("rows_in").unwrap();
    let runs = runs.as_any().downcast_ref::<arrow::array::Int64Array>().unwrap();
    assert_eq!(runs.value(0), 2000);
}

#[tokio::test]
async fn what_is_recorded_durably_is_in_a_commit_when_that_is_answered() {
    let (store, clock): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Clock::manual(1_700_000_000_000));
    let recorder = Recorder::new(clock.clone(), []);
    let open = lake(&store, &clock).await;
    recorder.attach(&open).await;
    recorder.record_durably(&discard(1)).await.unwrap();
    // Nothing is closed: the process is as good as killed here.
    let after = lake(&store, &clock).await;
    Recorder::new(clock.clone(), []).attach(&after).await;
    assert_eq!(rows(&after, OpsTable::Discards), (1, 0));
    open.close().await;
    let refused = recorder.record_durably(&discard(1)).await;
    assert!(matches!(refused, Err(RecordError::Commit { .. })), "{refused:?}");
    let summed = recorder.record_durably(&one_of_each()[1].0).await;
    assert!(matches!(summed, Err(RecordError::NotKept)), "{summed:?}");
}

#[tokio::test]
async fn an_alert_that_flaps_is_shown_and_waits_for_its_commit_once_its_table_has_had_its_share() {
    let (store, clock): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Clock::manual(1_700_000_000_000));
    let recorder = Recorder::new(clock.clone(), []);
    let lake = lake(&store, &clock).await;
    recorder.attach(&lake).await;
    let (flapping, _) = one_of_each().into_iter().find(|(_, table)| *table == OpsTable::Alerts).unwrap();
    recorder.record_durably(&flapping).await.unwrap();
    assert_eq!(rows(&lake, OpsTable::Alerts), (1, 0));
    while recorder.0.shares.take(OpsTable::Alerts) {}
    recorder.record_durably(&flapping).await.unwrap();
    assert_eq!(rows(&lake, OpsTable::Alerts), (1, 1));
    // A life that ends commits what waits.
    recorder.detach().await;
    assert_eq!(rows(&lake, OpsTable::Alerts), (2, 0));
}

#[tokio::test]
async fn who_begins_is_told_what_is_known_already() {
    let (store, clock): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Clock::manual(1_700_000_000_000));
    let recorder = Recorder::new(clock.clone(), [("daily".to_owned(), "serving.daily".to_owned())]);
    assert!(matches!(recorder.decisions_of_people().await, Err(RecordError::NotOpen { .. })));
    let lake = lake(&store, &clock).await;
    recorder.attach(&lake).await;
    let gate = |decision, actor: &str| Event::Gate {
        dataset: "daily".into(),
        decision,
        version: None,
        reasons: "[]".into(),
        actor: actor.into(),
        comment: Some("looks wrong".into()),
    };
    let balance = |quarantined, passed| {
        let (duplicates, filtered) = (3, -2);
        let balance = Balance { offered: 99, accepted: 90, quarantined, duplicates, filtered, erased: 0 };
        Event::Measured {
            dataset: "daily".into(),
            rule: CONSERVATION_RULE.into(),
            severity: "error",
            scope: "commit 3".into(),
            got: None,
            want: balance.to_string().into(),
            passed: Some(passed),
        }
    };
    recorder.record_durably(&balance(1, true)).await.unwrap();
    clock.advance(Duration::from_secs(60));
    for event in [discard(2), gate("hold", "ada"), balance(8, true), balance(9, false)] {
        recorder.record_durably(&event).await.unwrap();
    }
    clock.advance(Duration::from_secs(60));
    // What waits for its commit is known too.
    for event in [gate("held", "gate"), gate("hold", "maria"), gate("release", "ada")] {
        recorder.record(&event);
    }
    recorder.show();
    let decided = recorder.decisions_of_people().await.unwrap();
    let decided: Vec<(bool, &str, i64)> = decided.iter().map(|d| (d.is_hold, d.by.as_str(), d.at_us)).collect();
    let at_us = 1_700_000_120_000_000;
    assert_eq!(decided, [(false, "ada", at_us), (true, "maria", at_us)]);
    let brought = recorder.brought_since(1_700_000_030_000).await.unwrap();
    let (dataset, at_ms) = ("serving.daily".to_owned(), 1_700_000_060_000);
    assert_eq!(brought, [Brought { dataset, at_ms, accepted: 90, quarantined: 8 }]);
}

#[tokio::test]
async fn rows_that_no_lake_takes_are_dropped_and_counted() {
    let (store, clock): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Clock::manual(1_700_000_000_000));
    let recorder = Recorder::new(clock.clone(), []);
    (0..20_005).for_each(|n| recorder.record(&discard(n)));
    assert_eq!(recorder.dropped(), 5);
    let lake = lake(&store, &clock).await;
    recorder.attach(&lake).await;
    recorder.show();
    lake.close().await;
    recorder.detach().await;
    assert_eq!(recorder.dropped(), 20_005, "the lake was closed before they were committed");
}
