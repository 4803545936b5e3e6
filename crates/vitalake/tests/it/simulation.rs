//! The whole platform on a disk that forgets: producers, landing, commits, models, maintenance and readers, killed at
//! any operation, the disk crashed, all started again, many times over. A foreign reader opens HEAD of a gated dataset meanwhile.
//!
//! `VITALAKE_SEED=N` replays one seed, `VITALAKE_CRASHES=N` sets how many crashes there are in all. A seed fixes what is
//! sent, at which operation the disk dies and what it loses; threads are scheduled by the machine, so a failure may
//! take a few replays to come again.

mod clients;
mod life;
mod looks;
mod tables;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use vitalake_ops::gates::GateDecision;
use vitalake_runtime::disk::CrashDisk;
use vitalake_serve::platform::Gates as _;

use crate::rehearsal::Dice;
use crate::rehearsal::truth::Truth;
use clients::dead;
use life::{Rehearsal, START_MAX};
use looks::{head, head_at_rest, passes_its_gate};
use tables::{balanced, compare};

const CRASHES_DEFAULT: u64 = 100;

const CRASHES_PER_SEED: u64 = 20;

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} must be a number")))
}

#[test]
fn nothing_acknowledged_is_lost_or_doubled_whenever_the_machine_dies() {
    let crashes = number_of("VITALAKE_CRASHES").unwrap_or(CRASHES_DEFAULT);
    let seeds = match number_of("VITALAKE_SEED") {
        Some(seed) => vec![seed],
        None => (1..=crashes.div_ceil(CRASHES_PER_SEED)).collect(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (began, mut total) = (Instant::now(), Totals::default());
    for seed in seeds {
        // Printed before, so that it is known even when the run hangs or the process dies.
        println!("seed {seed}: VITALAKE_SEED={seed} replays it");
        let done = runtime.block_on(simulate(seed, crashes.min(CRASHES_PER_SEED)));
        let done = done.unwrap_or_else(|what| panic!("seed {seed}: {what}; replay it with VITALAKE_SEED={seed}"));
        total.add(&done);
    }
    println!("{total:?} in {:?}", began.elapsed());
    assert!(total.records > 0 && total.looks > 0 && total.published > 0);
}

#[derive(Debug, Default)]
struct Totals {
    crashes: u64,
    /// Of them, those that came before the platform was open again.
    while_starting: u64,
    records: u64,
    batches_sent_again: u64,
    /// How often readers looked at all tables.
    looks: u64,
    /// How often a foreign reader found HEAD of the gated dataset with rows.
    published: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.crashes += other.crashes;
        self.while_starting += other.while_starting;
        self.records += other.records;
        self.batches_sent_again += other.batches_sent_again;
        self.looks += other.looks;
        self.published += other.published;
    }
}

async fn simulate(seed: u64, crashes: u64) -> Result<Totals, String> {
    let folder = tempfile::tempdir().unwrap();
    let rehearsal = Rehearsal::new(seed, folder.path());
    let (disk, mut dice) = (CrashDisk::new(seed), Dice::new(seed));
    let mut totals = Totals::default();
    while totals.crashes < crashes {
        if !dice.once_in(10) {
            // While it starts, while it recovers, or when readers have looked a few times.
            disk.kill_after(if dice.once_in(2) { dice.spread(7) } else { 200 + dice.below(1_500) });
        }
        let life = rehearsal.start(&disk).await?;
        totals.while_starting += u64::from(life.is_none());
        if let Some(life) = life {
            let life = Arc::new(life);
            rehearsal.live(&disk, &life, &mut dice).await;
            let life = Arc::into_inner(life).ok_or("a task of the clients goes on")?;
            if dice.once_in(8) && life.disk.is_alive() {
                tokio::select! {
                    () = life.platform.close() => {}
                    () = dead(&life.disk) => {}
                }
            }
            rehearsal.end(life).await;
        }
        if let Some(what) = rehearsal.world.failure.lock().take() {
            return Err(format!("after {} crashes: {what}", totals.crashes));
        }
        if dice.once_in(5) {
            disk.restart()
        } else {
            disk.crash()
        }
        head_at_rest(&rehearsal.config, &disk)
            .await
            .map_err(|what| format!("after {} crashes: {what}", totals.crashes))?;
        totals.crashes += 1;
    }
    for again in [false, true] {
        finish(&rehearsal, &disk).await.map_err(|what| format!("at the end (again: {again}): {what}"))?;
        disk.crash();
    }
    for producer in &rehearsal.world.producers {
        totals.batches_sent_again += producer.lock().await.sent_again;
    }
    totals.records = rehearsal.world.acknowledged.load(Ordering::SeqCst);
    totals.looks = rehearsal.world.looks.load(Ordering::SeqCst);
    totals.published = rehearsal.world.published.load(Ordering::SeqCst);
    Ok(totals)
}

/// Everything that was sent is acknowledged, landed and committed; then every table is what it must be.
async fn finish(rehearsal: &Rehearsal, disk: &CrashDisk) -> Result<(), String> {
    let world = &rehearsal.world;
    let life = rehearsal.start(disk).await?.ok_or("the disk is dead")?;
    for producer in &world.producers {
        let mut producer = producer.lock().await;
        while producer.pending.is_some() {
            producer.send(world, life.log()).await?;
        }
    }
    rehearsal.ready(&life).await?;
    let settled = async {
        let sent = world.sent.load(Ordering::SeqCst) as i64;
        while life.look().await.is_ok_and(|counts| counts.raw + counts.rejected < sent) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        life.platform.commit_everything().await.map_err(|error| format!("{error:#}"))
    };
    match tokio::time::timeout(START_MAX, settled).await {
        Ok(settled) => match settled?.first() {
            None => {}
            Some(behind) => return Err(format!("{behind:?}")),
        },
        Err(_) => return Err(format!("it never settles: {:?}", life.look().await)),
    }
    let counts = life.look().await?;
    if counts.published != counts.hourly {
        // Only what does not pass waits, and a person may let it out.
        if passes_its_gate(counts.hourly) {
            return Err(format!("what passes its gate is not published: {counts:?}"));
        }
        let decision = GateDecision { by: "the simulation".to_owned(), reason: "it is the end".to_owned() };
        let released = life.datasets.release("ticks_hourly", decision).await;
        released.map_err(|error| format!("it is not released: {error}"))?;
    }
    let (ticks, hourly) = (head(life.platform.lake().store()).await?, counts.hourly);
    if ticks != hourly {
        return Err(format!("at the end HEAD holds {ticks} ticks of {hourly}"));
    }
    world.published.fetch_add(u64::from(ticks > 0), Ordering::Relaxed);
    let mut records = Vec::new();
    for producer in &world.producers {
        records.extend(producer.lock().await.acknowledged.iter().cloned());
    }
    let outcome = compare(&life.session(), &Truth::of(records.iter())).await.and(balanced(life.platform.lake()).await);
    let pinned = life.platform.lake().pin();
    // What the platform says of itself is committed at its own pace.
    let mut tables = pinned.tables().filter(|view| view.id.space != vitalake_lake::Space::Ops);
    let committed = tables.all(|view| view.tail.row_count() == 0);
    rehearsal.end(life).await;
    outcome?;
    if committed { Ok(()) } else { Err("rows are left in memory after everything was committed".to_owned()) }
}
