//! Deliveries that a rule holds: kept whole, decided once, whatever is killed.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use rstest::rstest;
use uuid::Uuid;
use vitalake_contract::contract::Delivery;
use vitalake_contract::rule::Severity;
use vitalake_contract::{Contract, DatasetName};
use vitalake_ingest::delivery::{
    DeliverError, Delivered, DeliveredState, DeliveryDesk, DeliveryRules, Expected, Held, HeldDeliveries, HeldError,
    HeldLimits, Incoming, OnRefusal, Overruled, Verdict,
};
use vitalake_lake::Space;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::{CrashDisk, LocalDisk};

use crate::business_dates::{day, file, incoming};
use crate::delivery::{Process, contract, rows};

fn fatal(delivery: Delivery) -> Arc<Contract> {
    let mut contract = contract(delivery).as_ref().clone();
    contract.row_rules[0].severity = Severity::Fatal;
    Arc::new(contract)
}

fn people() -> DatasetName {
    DatasetName::new("people").unwrap()
}

fn held_back(file: &str, date: Option<NaiveDate>) -> Incoming {
    Incoming { on_refusal: OnRefusal::Hold, feed: Some("clinic".to_owned()), ..incoming(file, date) }
}

async fn take(process: &Process, incoming: Incoming) -> Result<Delivered, DeliverError> {
    process.deliver(DeliveryRules::default(), incoming).await
}

/// Why it is held, and what it is known by.
fn why(delivered: &Delivered) -> (Uuid, &[Verdict]) {
    match &delivered.state {
        DeliveredState::Held { id, why } => (*id, why),
        state => panic!("{state:?}"),
    }
}

async fn all_held(process: &Process) -> Vec<Held> {
    process.desk.held().list(&people()).await.unwrap()
}

async fn release(process: &Process, held: &Held, replaces_newer: bool) -> Result<Delivered, DeliverError> {
    let overruled = Overruled {
        held: held.id,
        instead_of: held.instead_of,
        replaces_newer,
        actor: "ada".to_owned(),
        reason: "the clinic says that it is right".to_owned(),
    };
    let incoming = held.released(process.desk.held().pieces(held), overruled);
    take(process, incoming).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_fatal_rule_holds_a_feeds_file_and_its_release_puts_such_rows_into_quarantine() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let process = Process::open_by(LocalDisk::shared(), folder.path(), fatal(Delivery::Append), &cpu).await;
    let bad = file([1, 2], [90, 91]);
    let refused = take(&process, incoming(&bad, Some(day(1)))).await.unwrap_err();
    assert!(matches!(refused, DeliverError::Fatal { .. }), "{refused:?}");
    assert!(all_held(&process).await.is_empty());
    let delivered = take(&process, held_back(&bad, Some(day(1)))).await.unwrap();
    let (id, verdicts) = why(&delivered);
    assert_eq!(
        verdicts.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["who.required: 2 rows break it in place of none, since its severity is fatal"]
    );
    assert_eq!((delivered.number, process.read(Space::Raw, "n").await), (None, vec![]));
    assert!(process.read(Space::Quarantine, "_offset").await.is_empty());
    drop(process);
    // It survives a start, with everything that is needed to decide.
    let process = Process::open_by(LocalDisk::shared(), folder.path(), fatal(Delivery::Append), &cpu).await;
    let found = process.desk.held().find(id).await.unwrap().unwrap();
    assert_eq!((found.records, found.rows, found.rejects, found.bytes), (4, 2, 2, bad.len() as u64));
    assert_eq!((found.feed.as_deref(), found.business_date), (Some("clinic"), Some(day(1))));
    assert_eq!(release(&process, &found, false).await.unwrap().number, Some(1));
    assert_eq!(process.read(Space::Raw, "n").await, [1, 2]);
    assert_eq!(process.read(Space::Quarantine, "_offset").await, [2, 3]);
    // Once more is once.
    assert!(release(&process, &found, false).await.unwrap().known());
    assert_eq!(process.read(Space::Raw, "n").await, [1, 2]);
    process.desk.held().forget(&found).await.unwrap();
    assert!(all_held(&process).await.is_empty());
    assert_eq!(std::fs::read_dir(folder.path().join("staged/people/deliveries")).unwrap().count(), 0);
}

#[rstest]
#[case::right(&[("rows", "3"), ("sum.n", "6")], None)]
#[case::rows(&[("rows", "4")], Some("control total rows: 3 in place of 4"))]
#[case::sum(&[("sum.n", "7")], Some("control total sum of n: 6 in place of 7"))]
#[case::column(&[("sum.x", "7")], Some("control total sum of x: no such column in place of 7"))]
#[tokio::test(flavor = "multi_thread")]
async fn what_a_sender_says_is_compared_before_anything_is_committed(
    #[case] said: &[(&str, &str)],
    #[case] differs: Option<&str>,
) {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let process = Process::open(folder.path(), Delivery::Append, &cpu).await;
    let mut expected = Expected::default();
    said.iter().for_each(|(key, value)| expected.set(key, value).unwrap());
    // The number of a row that a rule rejects counts too.
    let content = file([1, 2], [3]);
    let told = |incoming: Incoming| Incoming { expected: Some(expected.clone()), ..incoming };
    let uploaded = take(&process, told(incoming(&content, None))).await;
    let fed = take(&process, told(held_back(&content, None))).await.unwrap();
    match differs {
        None => assert!(uploaded.unwrap().number == Some(1) && fed.known()),
        Some(differs) => {
            assert!(uploaded.unwrap_err().to_string().contains(differs));
            assert_eq!(why(&fed).1[0].to_string(), differs);
            assert!(process.read(Space::Raw, "n").await.is_empty());
        }
    }
}

#[rstest]
#[case::none_came(None, "control totals: none came with it")]
#[case::another_hash(Some(("sha256", "00")), "control total sha256")]
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_can_ask_for_totals(#[case] said: Option<(&str, &str)>, #[case] differs: &str) {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let asks = Contract { control_totals: true, ..contract(Delivery::Append).as_ref().clone() };
    let process = Process::open_by(LocalDisk::shared(), folder.path(), Arc::new(asks), &cpu).await;
    let mut expected = said.map(|_| Expected::default());
    if let (Some(expected), Some((key, value))) = (&mut expected, said) {
        expected.set(key, value).unwrap();
    }
    let fed = take(&process, Incoming { expected, ..held_back(&rows([1]), None) }).await.unwrap();
    assert!(why(&fed).1[0].to_string().starts_with(differs), "{:?}", fed.state);
}

#[rstest]
#[case::empty(None, 0, true)]
#[case::one_row(None, 1, false)]
#[case::too_few(Some(0.5), 4, true)]
#[case::enough(Some(0.5), 5, false)]
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_that_has_lost_its_rows_is_held_and_not_believed(
    #[case] most: Option<f64>,
    #[case] left: i64,
    #[case] is_held: bool,
) {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let contract = Contract { snapshot_loss_max: most, ..contract(Delivery::Replace).as_ref().clone() };
    let process = Process::open_by(LocalDisk::shared(), folder.path(), Arc::new(contract), &cpu).await;
    take(&process, held_back(&rows(0..10), Some(day(1)))).await.unwrap();
    let next = take(&process, held_back(&file(0..left, [90]), Some(day(2)))).await.unwrap();
    assert_eq!(matches!(next.state, DeliveredState::Held { .. }), is_held, "{:?}", next.state);
    let there = if is_held { 10 } else { left };
    assert_eq!(process.read(Space::Raw, "n").await, (0..there).collect::<Vec<_>>());
    if is_held {
        let held = all_held(&process).await.remove(0);
        assert_eq!(held.instead_of, Some(1));
        assert_eq!(release(&process, &held, false).await.unwrap().number, Some(2));
        assert_eq!(process.read(Space::Raw, "n").await, (0..left).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_does_not_take_the_place_of_what_came_since_unless_somebody_says_so() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let process = Process::open_by(LocalDisk::shared(), folder.path(), fatal(Delivery::Append), &cpu).await;
    take(&process, held_back(&rows([1]), Some(day(1)))).await.unwrap();
    take(&process, held_back(&file([2], [90]), Some(day(1)))).await.unwrap();
    take(&process, held_back(&rows([3]), Some(day(1)))).await.unwrap();
    let held = all_held(&process).await.remove(0);
    let refused = release(&process, &held, false).await.unwrap_err();
    assert!(matches!(refused, DeliverError::NewerThere { newer: 2, .. }), "{refused:?}");
    assert_eq!(process.read(Space::Raw, "n").await, [3]);
    assert_eq!(release(&process, &held, true).await.unwrap().corrects, Some(2));
    assert_eq!(process.read(Space::Raw, "n").await, [2]);
    // It came in once, whatever came after it.
    take(&process, held_back(&rows([4]), Some(day(1)))).await.unwrap();
    assert!(release(&process, &held, true).await.unwrap().known());
    assert_eq!(process.read(Space::Raw, "n").await, [4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_much_is_held() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let mut process = Process::open_by(LocalDisk::shared(), folder.path(), fatal(Delivery::Append), &cpu).await;
    let limits = HeldLimits { deliveries_max: 2, bytes_max: 1000 };
    let held = HeldDeliveries::new(Arc::clone(process.lake.store()), vec![people()], limits);
    process.desk = DeliveryDesk::new(Arc::new(held));
    for n in [1, 2] {
        take(&process, held_back(&file([n], [n]), None)).await.unwrap();
    }
    let full = take(&process, held_back(&file([3], [3]), None)).await.unwrap_err();
    assert!(matches!(full, DeliverError::Held(HeldError::Full { deliveries: 2, .. })), "{full:?}");
    let first = all_held(&process).await.remove(0);
    process.desk.held().forget(&first).await.unwrap();
    let full = take(&process, held_back(&file(0..60, [3]), None)).await.unwrap_err();
    assert!(matches!(full, DeliverError::Held(HeldError::Full { deliveries: 1, .. })), "{full:?}");
    take(&process, held_back(&file([3], [3]), None)).await.unwrap();
    // Nothing is left of what could not be held.
    assert_eq!(std::fs::read_dir(folder.path().join("staged/people/deliveries")).unwrap().count(), 4);
}

/// Runs until it is done or the disk dies; says whether it died.
async fn dies<T>(disk: &CrashDisk, doing: impl Future<Output = T>) -> bool {
    let dead = async {
        while !disk.is_dead() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::select! {
        _ = doing => {}
        () = dead => {}
    }
    disk.is_dead()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_is_killed_anywhere_is_whole_or_not_there(#[values(false, true)] large: bool) {
    let (cpu, folder) = (Cpu::with_workers(2).unwrap(), Path::new("/lake"));
    // Beyond what stays in memory the bytes are written as they come.
    let padding = if large { format!("{{\"who\":\"{}\",\"n\":0}}\n", "x".repeat(9 << 20)) } else { String::new() };
    let bad = format!("{padding}{}", file([1], [90]));
    for kill_after in 1.. {
        let disk = CrashDisk::new(kill_after);
        let open = || Process::open_by(Arc::new(disk.clone()), folder, fatal(Delivery::Append), &cpu);
        let process = open().await;
        disk.kill_after(kill_after);
        let died = dies(&disk, take(&process, held_back(&bad, Some(day(1))))).await;
        drop(process);
        disk.kill_after(u64::MAX);
        if died {
            disk.crash();
        }
        let fresh = open().await;
        for held in all_held(&fresh).await {
            assert_eq!(
                release(&fresh, &held, false).await.unwrap().number,
                Some(1),
                "killed at operation {kill_after}"
            );
        }
        let after = fresh.read(Space::Raw, "_partition").await.len();
        assert!(after == 0 || after == 1 + usize::from(large), "killed at operation {kill_after}: {after}");
        if !died {
            assert!(after > 0);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_is_killed_anywhere_has_come_in_once_when_it_is_asked_for_again() {
    let (cpu, folder) = (Cpu::with_workers(2).unwrap(), Path::new("/lake"));
    for kill_after in 1.. {
        let disk = CrashDisk::new(kill_after);
        let open = || Process::open_by(Arc::new(disk.clone()), folder, fatal(Delivery::Append), &cpu);
        let process = open().await;
        take(&process, held_back(&rows([7]), Some(day(1)))).await.unwrap();
        take(&process, held_back(&file([1], [90]), Some(day(1)))).await.unwrap();
        let held = all_held(&process).await.remove(0);
        disk.kill_after(kill_after);
        let decided = async {
            release(&process, &held, false).await?;
            process.desk.held().forget(&held).await.map_err(DeliverError::from)
        };
        let died = dies(&disk, decided).await;
        drop(process);
        disk.kill_after(u64::MAX);
        if died {
            disk.crash();
        }
        let fresh = open().await;
        for held in all_held(&fresh).await {
            release(&fresh, &held, false).await.unwrap();
            fresh.desk.held().forget(&held).await.unwrap();
        }
        assert_eq!(fresh.read(Space::Raw, "n").await, [1], "killed at operation {kill_after}");
        assert_eq!(fresh.read(Space::Quarantine, "_partition").await, [2], "killed at operation {kill_after}");
        if !died {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_by_the_contract_as_it_is_then_and_what_does_not_fit_it_stays_held() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let process = Process::open_by(LocalDisk::shared(), folder.path(), fatal(Delivery::Append), &cpu).await;
    take(&process, held_back(&file([1], [90]), Some(day(1)))).await.unwrap();
    drop(process);
    // No field of the file is in the contract any longer.
    let mut renamed = contract(Delivery::Append).as_ref().clone();
    renamed.columns.iter_mut().for_each(|column| column.path = vec![format!("their_{}", column.name)]);
    renamed.row_rules.clear();
    let process = Process::open_by(LocalDisk::shared(), folder.path(), Arc::new(renamed), &cpu).await;
    let held = all_held(&process).await.remove(0);
    let refused = release(&process, &held, false).await.unwrap_err();
    assert!(matches!(refused, DeliverError::File(_)), "{refused:?}");
    assert_eq!((all_held(&process).await.len(), process.table.head().file_count()), (1, 0));
    drop(process);
    // The rule is gone.
    let mut lenient = contract(Delivery::Append).as_ref().clone();
    lenient.row_rules.clear();
    let process = Process::open_by(LocalDisk::shared(), folder.path(), Arc::new(lenient), &cpu).await;
    release(&process, &held, false).await.unwrap();
    assert_eq!(process.read(Space::Raw, "n").await, [1, 90]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_releases_of_one_delivery_at_once_are_one() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(2).unwrap());
    let open = || Process::open_by(LocalDisk::shared(), folder.path(), fatal(Delivery::Append), &cpu);
    let (one, other) = (open().await, open().await);
    take(&one, held_back(&file([1], [90]), Some(day(1)))).await.unwrap();
    let held = all_held(&one).await.remove(0);
    let (here, there) = tokio::join!(release(&one, &held, false), release(&other, &held, false));
    let (here, there) = (here.unwrap(), there.unwrap());
    assert!(here.known() != there.known() && here.number == there.number, "{here:?} {there:?}");
    let fresh = open().await;
    assert_eq!(fresh.read(Space::Raw, "n").await, [1]);
    assert_eq!(fresh.read(Space::Quarantine, "_partition").await, [1]);
}
