//! Deliveries that stand for a day: known once for each, corrected in one commit, never seen by halves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Date32Type, Int64Type};
use chrono::NaiveDate;
use rstest::rstest;
use tokio::sync::mpsc;
use vitalake_contract::DatasetName;
use vitalake_contract::contract::{BUSINESS_DATE, Delivery};
use vitalake_ingest::decode::DeliveryFormat;
use vitalake_ingest::delivery::{DeliverError, Delivered, DeliveredState, DeliveryRules, Incoming, Piece};
use vitalake_ingest::replay::{Asked, replay};
use vitalake_lake::control::{ControlPlace, ControlStore};
use vitalake_lake::{RejectFilter, ReplayProgress, Space, Table, TableId};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::CrashDisk;
use vitalake_runtime::error::{Classified as _, Retry};
use vitalake_runtime::health::Health;

use crate::delivery::{Process, bytes, rows};
use crate::support::NOW_MS;

pub(crate) fn day(day: u32) -> NaiveDate {
    NaiveDate::from_ymd_opt(2026, 4, day).unwrap()
}

pub(crate) fn incoming(file: &str, date: Option<NaiveDate>) -> Incoming {
    let (sender, pieces) = mpsc::channel(4);
    sender.try_send(bytes(file)).unwrap();
    sender.try_send(Ok(Piece::End)).unwrap();
    Incoming { business_date: date, ..Incoming::new("people", DeliveryFormat::Ndjson, pieces, NOW_MS) }
}

async fn of_day(process: &Process, date: u32, file: &str) -> Result<Delivered, DeliverError> {
    process.deliver(DeliveryRules::default(), incoming(file, Some(day(date)))).await
}

/// A file with these rows, and one reject for each of these numbers.
pub(crate) fn file(good: impl IntoIterator<Item = i64>, bad: impl IntoIterator<Item = i64>) -> String {
    let bad: String = bad.into_iter().map(|n| format!("{{\"n\":{n}}}\n")).collect();
    format!("{}{bad}", rows(good))
}

/// The rows of the table as somebody sees it now: their numbers by day.
async fn seen(process: &Process) -> BTreeMap<Option<NaiveDate>, Vec<i64>> {
    let id = TableId::new(Space::Raw, DatasetName::new("people").unwrap());
    let view = Arc::clone(process.lake.pin().table(&id).unwrap());
    let mut seen: BTreeMap<Option<NaiveDate>, Vec<i64>> = BTreeMap::new();
    for file in view.head.files() {
        for batch in process.table.read_file(file).await.unwrap() {
            let dates = batch.column_by_name(BUSINESS_DATE).unwrap().as_primitive::<Date32Type>().clone();
            let numbers = batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().clone();
            for (date, number) in dates.iter().zip(numbers.values()) {
                seen.entry(date.map(|date| Date32Type::to_naive_date_opt(date).unwrap())).or_default().push(*number);
            }
        }
    }
    seen.values_mut().for_each(|numbers| numbers.sort_unstable());
    seen
}

async fn balanced(table: &Table) {
    let books = table.books().await.unwrap();
    assert_eq!((books.missing(), books.unfinished), (Some(0), false), "{books:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_right_to_run_a_feed_brings_nothing_more_of_it() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let process = Process::open(folder.path(), Delivery::Append, &cpu).await;
    let clock = Clock::manual(NOW_MS);
    let health = Health::new("control store", clock.clone());
    let store = ControlStore::new(ControlPlace::parse(None, folder.path()).unwrap(), "p", clock.clone(), health);
    let lease = Arc::new(store.claim("feed/people", Duration::from_secs(10)).await.unwrap().unwrap());
    let under = async |text: &str| {
        let incoming = Incoming { lease: Some(Arc::clone(&lease)), ..incoming(text, Some(day(1))) };
        process.deliver(DeliveryRules::default(), incoming).await
    };
    assert_eq!(under(&rows([1])).await.unwrap().number, Some(1));
    clock.advance(Duration::from_secs(11));
    let error = under(&rows([2])).await.unwrap_err();
    assert!(matches!(error, DeliverError::LeaseLost(_)) && error.retry() == Retry::Later, "{error}");
    assert_eq!(seen(&process).await, BTreeMap::from([(Some(day(1)), vec![1])]));
}

#[rstest]
#[case(Delivery::Append)]
#[case(Delivery::Replace)]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_may_give_again_is_known_also_where_another_has_its_place(#[case] delivery: Delivery) {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let process = Process::open(folder.path(), delivery, &cpu).await;
    for text in [rows([1]), rows([2])] {
        of_day(&process, 1, &text).await.unwrap();
    }
    let again = Incoming { maybe_again: true, ..incoming(&rows([1]), Some(day(1))) };
    let known = process.deliver(DeliveryRules::default(), again).await.unwrap();
    assert_eq!((known.state, known.number), (DeliveredState::Known, Some(1)));
    assert_eq!(seen(&process).await, BTreeMap::from([(Some(day(1)), vec![2])]));
    // What it has not given yet is new, and so is what somebody sends anew.
    let other = Incoming { maybe_again: true, ..incoming(&rows([3]), Some(day(1))) };
    assert_eq!(process.deliver(DeliveryRules::default(), other).await.unwrap().number, Some(3));
    assert_eq!(of_day(&process, 1, &rows([1])).await.unwrap().number, Some(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_far_ahead_is_refused() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let process = Process::open(folder.path(), Delivery::Replace, &cpu).await;
    let far = incoming(&rows([1]), NaiveDate::from_ymd_opt(2062, 4, 1));
    let error = process.deliver(DeliveryRules::default(), far).await.unwrap_err();
    assert!(error.to_string().contains("stands for 2062-04-01, more than a year ahead"), "{error}");
    assert_eq!(of_day(&process, 1, &rows([1])).await.unwrap().number, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_is_loaded_once_for_each_day_and_another_one_takes_its_place() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let process = Process::open(folder.path(), Delivery::Append, &cpu).await;
    let (a, b) = (file([1, 2], [90]), file([1, 3, 4], [91, 92]));
    assert_eq!(of_day(&process, 1, &a).await.unwrap().number, Some(1));
    assert!(of_day(&process, 1, &a).await.unwrap().known());
    // The same bytes for another day are that day's.
    assert_eq!(of_day(&process, 2, &a).await.unwrap().number, Some(2));
    let corrected = of_day(&process, 1, &b).await.unwrap();
    assert_eq!((corrected.number, corrected.corrects), (Some(3), Some(1)));
    let want = |first: &[i64]| BTreeMap::from([(Some(day(1)), first.to_vec()), (Some(day(2)), vec![1, 2])]);
    assert_eq!(seen(&process).await, want(&[1, 3, 4]));
    assert_eq!(process.read(Space::Quarantine, "_partition").await, [2, 3, 3]);
    balanced(&process.table).await;
    // A, B, A ends with A.
    let again = of_day(&process, 1, &a).await.unwrap();
    assert_eq!((again.number, again.corrects, again.known()), (Some(4), Some(3), false));
    assert_eq!(seen(&process).await, want(&[1, 2]));
    assert_eq!(process.read(Space::Quarantine, "_partition").await, [2, 4]);
    balanced(&process.table).await;
    // And after a start everything is known as it was.
    let fresh = Process::open(folder.path(), Delivery::Append, &cpu).await;
    assert!(of_day(&fresh, 1, &a).await.unwrap().known());
    assert_eq!(seen(&fresh).await, want(&[1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_corrected_where_compaction_has_mixed_it_with_others() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let process = Process::open(folder.path(), Delivery::Append, &cpu).await;
    for date in 1..=9 {
        of_day(&process, date, &file([i64::from(date), i64::from(date) + 100], [i64::from(date)])).await.unwrap();
    }
    assert!(process.table.maintain().await.unwrap().files_compacted >= 8);
    assert_eq!(process.table.head().file_count(), 1);
    let mut want: BTreeMap<_, _> =
        (1..=9).map(|date| (Some(day(date)), vec![i64::from(date), i64::from(date) + 100])).collect();
    assert_eq!(seen(&process).await, want);
    assert_eq!(of_day(&process, 4, &file([44], [])).await.unwrap().corrects, Some(4));
    want.insert(Some(day(4)), vec![44]);
    assert_eq!(seen(&process).await, want);
    assert_eq!(process.read(Space::Quarantine, "_partition").await, [1, 2, 3, 5, 6, 7, 8, 9]);
    balanced(&process.table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_dataset_that_is_replaced_the_newest_day_is_what_it_shows() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let process = Process::open(folder.path(), Delivery::Replace, &cpu).await;
    let (a, b) = (file([1, 2], [90]), file([3], [91, 92]));
    let only = |date: u32, numbers: &[i64]| BTreeMap::from([(Some(day(date)), numbers.to_vec())]);
    of_day(&process, 2, &a).await.unwrap();
    of_day(&process, 2, &b).await.unwrap();
    assert_eq!(seen(&process).await, only(2, &[3]));
    assert_eq!(process.read(Space::Quarantine, "_partition").await, [2, 2]);
    of_day(&process, 2, &a).await.unwrap();
    assert_eq!(seen(&process).await, only(2, &[1, 2]));
    // What comes late changes nothing.
    let version = process.table.head().version();
    let late = of_day(&process, 1, &b).await.unwrap();
    assert_eq!((late.state, late.number), (DeliveredState::Superseded { by: day(2) }, None));
    assert_eq!((seen(&process).await, process.table.head().version()), (only(2, &[1, 2]), version));
    // The same content on a new day is that day's.
    assert_eq!(of_day(&process, 3, &a).await.unwrap().number, Some(4));
    assert_eq!(seen(&process).await, only(3, &[1, 2]));
    assert!(of_day(&process, 3, &a).await.unwrap().known());
    balanced(&process.table).await;
}

#[rstest]
#[case(Delivery::Append)]
#[case(Delivery::Replace)]
#[tokio::test(flavor = "multi_thread")]
async fn who_reads_while_a_day_is_corrected_sees_one_file_or_the_other(#[case] delivery: Delivery) {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let process = Arc::new(Process::open(folder.path(), delivery, &cpu).await);
    let files = [file(0..50, [90]), file(50..80, [91, 92])];
    of_day(&process, 1, &files[0]).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let reading = {
        let (process, over) = (Arc::clone(&process), Arc::clone(&over));
        tokio::spawn(async move {
            let mut looks = 0;
            while !over.load(Ordering::Acquire) {
                let numbers = seen(&process).await.remove(&Some(day(1))).unwrap();
                let wanted = [(0..50).collect::<Vec<_>>(), (50..80).collect()];
                assert!(wanted.contains(&numbers), "{numbers:?}");
                looks += 1;
            }
            looks
        })
    };
    for turn in 1..=12 {
        assert!(!of_day(&process, 1, &files[turn % 2]).await.unwrap().known());
    }
    over.store(true, Ordering::Release);
    assert!(reading.await.unwrap() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_processes_correct_one_day_at_once_and_one_of_the_files_is_there() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let mut processes = Vec::new();
    for _ in 0..3 {
        processes.push(Process::open(folder.path(), Delivery::Append, &cpu).await);
    }
    of_day(&processes[0], 2, &file([1000], [1000])).await.unwrap();
    let deliveries = (0..9).map(|n: i64| {
        let process = &processes[n as usize % 3];
        async move { of_day(process, 1, &file([n, n + 100], [n])).await.unwrap().number.unwrap() }
    });
    let mut numbers = futures::future::join_all(deliveries).await;
    numbers.sort_unstable();
    assert_eq!(numbers, (2..=10).collect::<Vec<_>>());
    assert!(processes.iter().all(|process| !process.lake.has_lost_lease()));
    let fresh = Process::open(folder.path(), Delivery::Append, &cpu).await;
    fresh.table.withdraw().await.unwrap();
    let first = seen(&fresh).await.remove(&Some(day(1))).unwrap();
    assert_eq!((first.len(), first[1] - first[0]), (2, 100));
    assert_eq!(fresh.read(Space::Quarantine, "_partition").await, [1, 10]);
    balanced(&fresh.table).await;
}

/// Delivers until it is done or the disk dies; says whether it died.
async fn dies(process: &Process, date: u32, file: &str, disk: &CrashDisk) -> bool {
    let dead = async {
        while !disk.is_dead() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        delivered = of_day(process, date, file) => assert!(disk.is_dead() || delivered.is_ok(), "{delivered:?}"),
        () = dead => {}
    }
    disk.is_dead()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_correction_that_is_killed_anywhere_is_there_or_not_and_comes_whole_again(
    #[values(Delivery::Append, Delivery::Replace)] delivery: Delivery,
    #[values(false, true)] mixed: bool,
) {
    let (cpu, folder) = (Cpu::with_workers(2).unwrap(), Path::new("/lake"));
    let (other, a, b) = (file([7], [70]), file([1, 2], [90]), file([3], [91, 92]));
    for kill_after in 1.. {
        let disk = CrashDisk::new(kill_after);
        let open = || Process::open_on(Arc::new(disk.clone()), folder, delivery, &cpu);
        let process = open().await;
        of_day(&process, 1, &other).await.unwrap();
        of_day(&process, 2, &a).await.unwrap();
        if mixed {
            for date in 3..=9 {
                of_day(&process, date, &file([i64::from(date)], [])).await.unwrap();
            }
            process.table.maintain().await.unwrap();
        }
        let date = if mixed && delivery == Delivery::Replace { 9 } else { 2 };
        let before = seen(&process).await;
        let rejects_before = process.read(Space::Quarantine, "_offset").await.len();
        disk.kill_after(kill_after);
        let died = dies(&process, date, &b, &disk).await;
        drop(process);
        disk.kill_after(u64::MAX);
        if died {
            disk.crash();
        }
        let fresh = open().await;
        let after = seen(&fresh).await;
        let mut corrected = before.clone();
        corrected.insert(Some(day(date)), vec![3]);
        assert!(after == before || after == corrected, "killed at operation {kill_after}: {after:?}");
        // Rejects whose rows are there are in quarantine, whatever happened.
        let rejects = fresh.read(Space::Quarantine, "_offset").await.len();
        assert!(rejects >= if after == before { rejects_before } else { 2 }, "killed at operation {kill_after}");
        of_day(&fresh, date, &b).await.unwrap();
        assert_eq!(seen(&fresh).await, corrected, "killed at operation {kill_after}, then again");
        balanced(&fresh.table).await;
        if !died {
            assert!(kill_after > 10, "nothing was killed");
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_of_a_day_come_back_with_their_date_and_not_after_it_was_corrected() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let process = Process::open(folder.path(), Delivery::Append, &cpu).await;
    of_day(&process, 1, &file([1], [90])).await.unwrap();
    of_day(&process, 2, &file([2], [91])).await.unwrap();
    of_day(&process, 2, &file([3], [92])).await.unwrap();
    drop(process);
    // Without its rule every reject is a row.
    let mut lenient = crate::delivery::contract(Delivery::Append).as_ref().clone();
    lenient.row_rules.clear();
    let disk = vitalake_runtime::disk::LocalDisk::shared();
    let process = Process::open_by(disk, folder.path(), Arc::new(lenient), &cpu).await;
    let asked = Asked { filter: RejectFilter::default(), dry_run: false, landing: &[] };
    let replayed = replay(&process.table, None, asked, &ReplayProgress::default()).await.unwrap();
    assert_eq!(replayed.tried.rows, 2);
    assert_eq!(seen(&process).await, BTreeMap::from([(Some(day(1)), vec![1, 90]), (Some(day(2)), vec![3, 92])]));
    balanced(&process.table).await;
    // What came back goes with the delivery that brought it.
    of_day(&process, 1, &file([5], [])).await.unwrap();
    assert_eq!(seen(&process).await, BTreeMap::from([(Some(day(1)), vec![5]), (Some(day(2)), vec![3, 92])]));
    balanced(&process.table).await;
}

#[rstest]
#[case(Delivery::Append)]
#[case(Delivery::Replace)]
#[tokio::test(flavor = "multi_thread")]
async fn the_same_file_of_one_day_twice_at_once_in_two_processes_is_one_delivery(#[case] delivery: Delivery) {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let one = Process::open(folder.path(), delivery, &cpu).await;
    let other = Process::open(folder.path(), delivery, &cpu).await;
    for (turn, bad) in [vec![90], vec![]].into_iter().enumerate() {
        let content = file([1, 2, turn as i64 + 10], bad);
        let (here, there) = tokio::join!(of_day(&one, 1, &content), of_day(&other, 1, &content));
        let (here, there) = (here.unwrap(), there.unwrap());
        assert!(here.known() != there.known() && here.number == there.number, "{here:?} {there:?}");
        let fresh = Process::open(folder.path(), delivery, &cpu).await;
        assert_eq!(seen(&fresh).await, BTreeMap::from([(Some(day(1)), vec![1, 2, turn as i64 + 10])]));
    }
}
