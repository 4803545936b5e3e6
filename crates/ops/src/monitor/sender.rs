//! The sender: what was committed to the ops datasets goes to the workspace, table by table.
//!
//! It has a thread of its own, which does all of its work, so that what it costs is known. A pass sends what is there; a
//! place in the control store is written after each call that was taken. Invariant: at least once, and nothing waits for
//! the workspace: the backlog is the tables themselves, a day of them at most.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use vitalake_lake::LakeError;
use vitalake_lake::control::{ControlError, ControlStore};
use vitalake_lake::journal::{Journal, JournalVersion, News};
use vitalake_runtime::azure::Tokens;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::azure::Monitor as Settings;
use vitalake_runtime::error::in_full;
use vitalake_runtime::health::Health;

use super::client::{Failure, Ingestion, fit};
use super::gathered::Gathered;
use super::place::{Keeper, Place};
use super::rows::{Origin, objects};
use super::said::{MonitorSaid, TableSaid, thread_cpu_seconds};
use super::schema::{LogTable, log_tables};
use crate::record::Recorder;
use crate::tables::OpsTable;

/// How often it is looked for what is new.
const INTERVAL: Duration = Duration::from_secs(10);
/// Commits that are older are given up: the tables keep what belongs to them no longer.
pub(super) const BACKLOG_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Versions that are looked at at once.
const VERSIONS_AT_ONCE: u64 = 64;
/// Bytes of objects that are gathered before they are sent.
const GATHERED_BYTES_MAX: usize = 4 << 20;
/// A clock that differs by more is wrong.
const CLOCK_WRONG_S: i64 = 300;

/// What a sender is made of.
#[derive(Clone, Debug)]
pub struct SenderSetup {
    /// Where rows go.
    pub settings: Settings,
    /// The project's name.
    pub project: String,
    /// Where tokens come from.
    pub tokens: Tokens,
    /// What has the ops datasets.
    pub recorder: Recorder,
    /// Where places and the turn are kept.
    pub control: ControlStore,
    /// Whether the workspace answers.
    pub health: Health,
    /// The time.
    pub clock: Clock,
    /// What is said of it.
    pub said: MonitorSaid,
}

/// Sends ops datasets.
#[derive(Debug)]
pub struct Sender {
    ingestion: Ingestion,
    project: String,
    tables: Vec<Table>,
    recorder: Recorder,
    keeper: Keeper,
    health: Health,
    clock: Clock,
    said: MonitorSaid,
    again: Again,
    /// What the control store has, while this process has the turn.
    places: Mutex<BTreeMap<&'static str, Place>>,
}

#[derive(Debug)]
struct Table {
    schema: LogTable,
    name: &'static str,
    again: Again,
}

/// When it is tried again, on the monotonic clock, after so many failures in a row.
#[derive(Clone, Copy, Debug, Default)]
struct Again {
    failures: u32,
    at: Duration,
}

/// Why a table is not sent on now.
enum Stop {
    /// The workspace does not take it.
    Failed(Failure),
    /// Another process has the turn.
    NotOurs,
    /// The tables or the control store do not answer: they say so themselves.
    Later(String),
}

impl From<LakeError> for Stop {
    fn from(error: LakeError) -> Self {
        Self::Later(in_full(&error))
    }
}

impl From<ControlError> for Stop {
    fn from(error: ControlError) -> Self {
        Self::Later(in_full(&error))
    }
}

impl Sender {
    /// `None` where nothing is sent.
    #[must_use]
    pub fn new(setup: SenderSetup) -> Option<Self> {
        let SenderSetup { settings, project, tokens, recorder, control, health, clock, said } = setup;
        let (endpoint, rule) = (settings.endpoint.as_ref()?, settings.rule.as_ref()?);
        let tables = log_tables().into_iter().filter(|table| settings.tables.contains(table.ops.as_str()));
        let table = |schema: LogTable| Table { name: schema.ops.as_str(), schema, again: Again::default() };
        Some(Self {
            ingestion: Ingestion::new(endpoint, rule, tokens),
            project,
            tables: tables.map(table).collect(),
            recorder,
            keeper: Keeper::new(control),
            health,
            clock,
            said,
            again: Again::default(),
            places: Mutex::default(),
        })
    }

    /// Sends until dropped, and blocks its thread while it does: it is to have one of its own.
    pub async fn run(&mut self) {
        loop {
            let before = thread_cpu_seconds();
            self.pass().await;
            if let Some((before, after)) = before.zip(thread_cpu_seconds()) {
                self.said.note_cpu((after - before).max(0.0));
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Lets another process send.
    pub async fn release(&mut self) {
        self.keeper.release().await;
        self.said.note_turn(false);
    }

    /// Sends what is there now.
    pub async fn pass(&mut self) {
        if self.clock.monotonic() < self.again.at {
            return self.measure().await;
        }
        if !self.keeper.is_held() {
            // Another process may have sent since.
            self.places.lock().clear();
        }
        let holds = match self.lake() {
            Some(lake) => self.keeper.holds(&lake).await,
            None => false,
        };
        self.said.note_turn(holds);
        if !holds {
            return;
        }
        let (mut failed, mut is_known) = (None, true);
        for at in 0..self.tables.len() {
            match self.table(at).await {
                Ok(()) => {}
                Err(Stop::NotOurs) => return self.said.note_turn(false),
                Err(Stop::Later(reason)) => {
                    is_known = false;
                    tracing::debug!(reason, "what is sent to the workspace waits");
                }
                Err(Stop::Failed(failure)) => {
                    let is_of_one_table = failure.is_of_one_table();
                    self.note_failed(at, &failure);
                    failed = Some(failure);
                    if !is_of_one_table {
                        break;
                    }
                }
            }
        }
        match failed {
            Some(failure) => self.health.failed(failure.to_string()),
            None if is_known && self.tables.iter().all(|table| table.again.failures == 0) => {
                self.again = Again::default();
                self.health.answered();
            }
            None => {}
        }
        self.measure().await;
    }

    fn note_failed(&mut self, at: usize, failure: &Failure) {
        let (now, outcome) = (self.clock.monotonic(), outcome(failure));
        self.said.note_calls(outcome, 1);
        let again = match self.tables.get_mut(at) {
            Some(table) if failure.is_of_one_table() => &mut table.again,
            _ => &mut self.again,
        };
        again.failures += 1;
        again.at = now + failure.wait(again.failures);
    }

    /// Sends what one table has.
    async fn table(&mut self, at: usize) -> Result<(), Stop> {
        let Some(table) = self.tables.get(at).filter(|table| table.again.at <= self.clock.monotonic()) else {
            return Ok(());
        };
        let (name, ops) = (table.name, table.schema.ops);
        let Some(journal) = self.recorder.journal_now(ops) else { return Ok(()) };
        let mut place = self.place(name, &journal).await?;
        loop {
            let news = journal.since(place.through, VERSIONS_AT_ONCE).await?;
            self.note_waiting(name, &news);
            self.give_up(name, &news, &mut place);
            self.send_news(at, &journal, &news, &mut place).await?;
            if place.through < news.through {
                place = Place { through: news.through, begun: None, ..place };
                self.keep(name, &place).await?;
            }
            if let Some(table) = self.tables.get_mut(at) {
                table.again = Again::default();
            }
            if news.through >= news.newest {
                return Ok(());
            }
        }
    }

    /// What the lake is known by that is there now.
    fn lake(&self) -> Option<String> {
        Some(self.recorder.journal_now(OpsTable::Runs)?.table_id())
    }

    /// How far a table has been sent.
    async fn place(&self, name: &'static str, journal: &Journal) -> Result<Place, Stop> {
        let table = journal.table_id();
        let remembered = self.places.lock().get(name).filter(|place| place.table == table).cloned();
        let place = match remembered {
            Some(place) => place,
            None => self.keeper.read(&table).await?,
        };
        self.places.lock().insert(name, place.clone());
        Ok(place)
    }

    async fn keep(&self, name: &'static str, place: &Place) -> Result<(), Stop> {
        if !self.keeper.keep(place).await? {
            return Err(Stop::NotOurs);
        }
        self.places.lock().insert(name, place.clone());
        Ok(())
    }

    /// What is too old is not sent any longer, and that is counted. A table without a place has waited for nobody.
    fn give_up(&self, name: &'static str, news: &News, place: &mut Place) {
        let had_one = place.through > 0;
        let oldest_ms = self.clock.now_ms() - i64::try_from(BACKLOG_MAX.as_millis()).unwrap_or(i64::MAX);
        let is_old = |version: &&JournalVersion| version.committed_ms.is_some_and(|at| at < oldest_ms);
        let old = news.versions.iter().take_while(is_old);
        let (count, last) = old.fold((news.forgotten, None), |(count, _), version| (count + 1, Some(version.version)));
        if let Some(last) = last {
            (place.through, place.begun) = (last, None);
        }
        if had_one && count > 0 {
            self.said.note_given_up(name, count);
            tracing::warn!(
                table = name,
                commits = count,
                "rows of the ops datasets are not sent to the workspace: they are older than a day"
            );
        }
    }

    async fn send_news(&self, at: usize, journal: &Arc<Journal>, news: &News, place: &mut Place) -> Result<(), Stop> {
        let Some(table) = self.tables.get(at) else { return Ok(()) };
        let through = place.through;
        let mut versions = news.versions.iter().filter(move |version| version.version > through).peekable();
        while versions.peek().is_some() {
            let mut gathered = Gathered::default();
            while let Some(version) = versions.next_if(|_| gathered.bytes < GATHERED_BYTES_MAX) {
                match journal.rows_of(version).await {
                    Ok(rows) => {
                        let origin = Origin { project: &self.project, table: &place.table, version: version.version };
                        gathered.add(version.version, objects(&table.schema, &rows, origin), place);
                    }
                    Err(error) if self.is_nearly_old(version) => {
                        tracing::debug!(error = in_full(&error), "a file of rows to be sent is gone");
                        self.said.note_given_up(table.name, 1);
                        gathered.add(version.version, Vec::new(), place);
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            self.send_gathered(table, &gathered, place).await?;
        }
        Ok(())
    }

    /// Whether a version's file may have been taken away by now: an hour before it is given up anyhow.
    fn is_nearly_old(&self, version: &JournalVersion) -> bool {
        let hour_ms = 3_600_000;
        let kept_ms = i64::try_from(BACKLOG_MAX.as_millis()).unwrap_or(i64::MAX) - hour_ms;
        version.committed_ms.is_none_or(|at| at < self.clock.now_ms() - kept_ms)
    }

    async fn send_gathered(&self, table: &Table, gathered: &Gathered, place: &mut Place) -> Result<(), Stop> {
        let mut rest = gathered.objects.as_slice();
        let mut done = 0;
        while !rest.is_empty() {
            if !self.keeper.is_held() {
                return Err(Stop::NotOurs);
            }
            let (now, later) = rest.split_at(fit(rest));
            self.send(table, now)?;
            done += now.len();
            gathered.advance(done, place);
            self.keep(table.name, place).await?;
            rest = later;
        }
        gathered.advance(done, place);
        Ok(())
    }

    fn send(&self, table: &Table, objects: &[String]) -> Result<(), Stop> {
        let now_ms = self.clock.now_ms();
        let sent = self.ingestion.send(&table.schema.stream, objects, now_ms / 1_000).map_err(Stop::Failed)?;
        self.said.note_calls("taken", sent.calls);
        self.said.note_sent(table.name, (sent.taken, sent.refused), now_ms);
        if sent.refused > 0 {
            tracing::warn!(
                table = table.name,
                rows = sent.refused,
                "the workspace refuses rows for good: see that the stream of the data collection rule has the columns of this version"
            );
        }
        let behind_s = sent.clock_behind_s.unwrap_or_default();
        if self.said.note_clock(behind_s, CLOCK_WRONG_S) {
            tracing::warn!(
                seconds = behind_s,
                "this machine's clock is behind that of Azure by so much: the times of rows are wrong; set the clock"
            );
        }
        Ok(())
    }

    /// Says how much waits.
    async fn measure(&self) {
        for table in &self.tables {
            let Some(journal) = self.recorder.journal_now(table.schema.ops) else { continue };
            let Ok(place) = self.place(table.name, &journal).await else { return };
            let Ok(news) = journal.since(place.through, VERSIONS_AT_ONCE).await else { continue };
            self.note_waiting(table.name, &news);
        }
    }

    fn note_waiting(&self, table: &'static str, news: &News) {
        let beyond = news.newest - news.through.min(news.newest);
        let waiting = news.versions.len() as u64 + beyond;
        let oldest_ms = news.versions.first().and_then(|version| version.committed_ms);
        self.said.note_table(table, TableSaid { waiting, oldest_ms }, self.clock.now_ms());
    }
}

fn outcome(failure: &Failure) -> &'static str {
    match failure {
        Failure::Token(_) => "no_token",
        Failure::Away { .. } => "away",
        Failure::Busy { status: 429, .. } => "throttled",
        Failure::Busy { .. } => "busy",
        Failure::Unknown => "unauthorised",
        Failure::NoRole => "no_role",
        Failure::NotThere { .. } => "not_there",
        Failure::Strange { .. } => "strange",
    }
}
