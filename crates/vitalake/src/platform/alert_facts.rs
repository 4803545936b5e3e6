//! What alerts are told of the platform: its status, and what events alone say.
//!
//! Invariant: names, counts and times alone; what is not known is left out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use vitalake_contract::alert::AlertDataset;
use vitalake_contract::{Contract, Source};
use vitalake_ingest::delivery::Held;
use vitalake_lake::CONSERVATION_RULE;
use vitalake_ops::alerts::signal::{DatasetFacts, Facts, FeedFacts, GateFacts};
use vitalake_ops::gates::{GateReport, HELD};
use vitalake_ops::record::memory_bytes;
use vitalake_ops::status::{DatasetStatus, RECOVERING};
use vitalake_runtime::events::Event;

use super::Life;
use super::api::Api;

/// Files below this size wait for compaction.
const SMALL_FILE_BYTES: u64 = 16 << 20;
/// How often files are counted: a table may have many.
const FILES_COUNTED_EVERY: Duration = Duration::from_secs(60);

/// How often it is looked what is held: on a remote store each look is a request for every raw dataset.
const HELD_LOOKED_AT_EVERY: Duration = Duration::from_secs(60);

/// What was noted of events, and what is not worked out anew each time.
#[derive(Debug, Default)]
pub(super) struct Noted {
    /// Whether the last commit's sum came out, and if not in which words.
    books: Mutex<BTreeMap<String, Result<(), String>>>,
    files: Mutex<Option<(Duration, BTreeMap<String, u64>)>>,
    /// When it was last looked what is held, and whether that was answered.
    held: Mutex<Option<(Duration, bool)>>,
}

impl Noted {
    /// Keeps what an event says that status does not.
    pub(super) fn note(&self, event: &Event) {
        if let Event::Measured { dataset, rule, passed: Some(passed), want, .. } = event
            && &**rule == CONSERVATION_RULE
        {
            self.note_books(dataset, *passed, want);
        }
    }

    fn note_books(&self, dataset: &str, passed: bool, words: &str) {
        let books = if passed { Ok(()) } else { Err(format!("its books do not balance: {words}")) };
        self.books.lock().insert(bare(dataset).to_owned(), books);
    }

    /// What is known of a life's platform now.
    pub(super) async fn facts(&self, life: &Arc<Life>) -> Facts {
        let troubles = life.troubles();
        let report = Api(Arc::clone(life)).report(&troubles);
        let files = self.small_files(life);
        let knows_held = self.look_at_held(life).await;
        let setup = &life.setup;
        let contracts = &setup.checked.project.contracts;
        let in_druid = life.druid.iter().flat_map(|druid| druid.troubles(setup.clock.now_ms()));
        let in_druid: BTreeMap<String, String> = in_druid.map(|(dataset, _, words)| (dataset, words)).collect();
        let of = |status: &DatasetStatus| {
            let contract = contracts.iter().find(|contract| contract.dataset.as_str() == status.dataset)?;
            let facts = self.dataset(life, contract, status, files.get(&status.dataset).copied());
            let held = || life.held.known(&status.dataset).iter().map(Held::reason).collect();
            let not_in_druid = in_druid.get(&status.dataset).cloned();
            Some(DatasetFacts { held: knows_held.then(held), not_in_druid, ..facts })
        };
        let now_ms = setup.clock.now_ms();
        let away = life.away().into_iter();
        Facts {
            datasets: report.datasets.iter().filter_map(of).collect(),
            disk_free_bytes: setup.disk.free_bytes(&setup.config.data).ok(),
            disk_reserve_bytes: setup.config.storage.reserve_bytes,
            memory_bytes: memory_bytes(),
            away: away.map(|away| (away.part.to_owned(), (now_ms - away.since_ms).max(0) as f64 / 1000.0)).collect(),
        }
    }

    fn dataset(&self, life: &Life, contract: &Contract, status: &DatasetStatus, files: Option<u64>) -> DatasetFacts {
        DatasetFacts {
            dataset: AlertDataset { layer: contract.layer, name: contract.dataset.clone() },
            is_feed: matches!(contract.source, Some(Source::Feed)),
            ready: life.is_ready() && status.state != RECOVERING,
            lag_records: status.lag_records,
            newest_age_s: status.freshness_seconds,
            feed: life.feeds.of(&status.dataset).map(|desk| FeedFacts {
                is_watched: desk.feed().due.is_some(),
                late_since_ms: desk.late_since_ms(),
                away: desk.is_away().map(|(reason, _)| reason),
            }),
            freshness_sla_s: contract.sla.freshness.map(|sla| sla.as_secs_f64()),
            rows: status.rows,
            quarantined: status.quarantined,
            small_files: files,
            held: None,
            gate: status.gate.as_ref().map(gate_facts),
            not_in_druid: None,
            balanced: self.books.lock().get(&status.dataset).cloned(),
            volume: None,
        }
    }

    /// Looks what is held, also by other processes, now and then; says whether that is known.
    async fn look_at_held(&self, life: &Life) -> bool {
        let now = life.setup.clock.monotonic();
        if let Some((at, known)) = *self.held.lock()
            && now.saturating_sub(at) < HELD_LOOKED_AT_EVERY
        {
            return known;
        }
        let mut known = true;
        for dataset in life.held.datasets() {
            known &= life.held.list(dataset).await.is_ok();
        }
        *self.held.lock() = Some((now, known));
        known
    }

    fn small_files(&self, life: &Life) -> BTreeMap<String, u64> {
        let (now, mut counted) = (life.setup.clock.monotonic(), self.files.lock());
        if let Some((at, files)) = counted.as_ref()
            && now.saturating_sub(*at) < FILES_COUNTED_EVERY
        {
            return files.clone();
        }
        let catalogue = life.lake.pin();
        let views = catalogue.tables().filter(|view| view.id.space.is_of_project());
        let small = |view: &Arc<vitalake_lake::TableView>| {
            let files = view.head.files().filter(|file| u64::try_from(file.add.size).unwrap_or(0) < SMALL_FILE_BYTES);
            (view.id.dataset.to_string(), files.count() as u64)
        };
        let files: BTreeMap<String, u64> = views.map(small).collect();
        *counted = Some((now, files.clone()));
        files
    }
}

/// What a gate says now, also of what it decided before this process began.
fn gate_facts(gate: &GateReport) -> GateFacts {
    let words =
        gate.reasons.iter().map(|reason| format!("{}: {} in place of {}", reason.rule, reason.got, reason.want));
    GateFacts { held: gate.state == HELD, reasons: words.collect() }
}

fn bare(dataset: &str) -> &str {
    dataset.rsplit('.').next().unwrap_or(dataset)
}
