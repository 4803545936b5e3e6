//! Quarantine as the process answers for it: who may put a dataset's rejects through again, and how that goes.
//!
//! A raw dataset's rejects go through the decoders here, a derived one's through its model; `show` counts and lists.
//! Invariant: a replay or a discard outlives the client that asked for it, and the life's end waits for it.

mod show;
mod unrecorded;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use parking_lot::Mutex;
use vitalake_contract::{Contract, DatasetName, Layer};
use vitalake_ingest::replay::{self, Asked, ReplayError};
use vitalake_lake::{
    DISCARD_ACTOR, DISCARD_REASON, DISCARDED, GiveUp, LakeError, Putting, RejectFilter, ReplayProgress, Table, Terms,
    Tried, TxnId, Walk,
};
use vitalake_ops::quarantine::{
    DiscardReport, DiscardRequest, FailedAgain, RejectCount, RejectedRow, ReplayProgress as Far, ReplayReport,
    ReplayRequest, Which,
};
use vitalake_ops::record::Recorder;
use vitalake_process::sql_rules;
use vitalake_runtime::error::{Class, Classified, Retry, in_full};
use vitalake_serve::platform::ApiError;
use vitalake_serve::quarantine::{Quarantine, Shown};

use super::{Life, Platform, Role};

pub(super) use unrecorded::enter_again;

/// The longest reason of a discard.
const REASON_BYTES_MAX: usize = 2000;

/// Quarantine of the platform.
#[derive(Debug)]
pub struct QuarantineDesk {
    platform: Arc<Platform>,
    going: AllGoing,
}

impl QuarantineDesk {
    /// A desk for the platform's quarantine.
    #[must_use]
    pub fn new(platform: Arc<Platform>) -> Self {
        Self { platform, going: Arc::default() }
    }

    fn life(&self) -> Result<Arc<Life>, ApiError> {
        Ok(Arc::clone(&self.platform.present()?.0))
    }

    /// Begins to move a dataset's rejects: until what is given goes, it is told how far that is.
    fn begin(&self, table: &Table) -> Going {
        let (progress, all) = (Arc::<ReplayProgress>::default(), Arc::clone(&self.going));
        all.lock().insert(table.contract().dataset.clone(), Arc::clone(&progress));
        Going { progress, all }
    }
}

/// What is under way, by dataset.
type AllGoing = Arc<Mutex<BTreeMap<DatasetName, Arc<ReplayProgress>>>>;

/// A replay or discard that is under way.
struct Going {
    progress: Arc<ReplayProgress>,
    all: AllGoing,
}

impl Drop for Going {
    fn drop(&mut self) {
        self.all.lock().retain(|_, other| !Arc::ptr_eq(other, &self.progress));
    }
}

#[async_trait]
impl Quarantine for QuarantineDesk {
    async fn counts(&self, dataset: Option<&str>, which: &Which) -> Result<Vec<RejectCount>, ApiError> {
        let (life, filter) = (self.life()?, filter(which)?);
        let contract = dataset.map(|dataset| contract(&life, dataset)).transpose()?;
        show::counts(&life, contract.as_deref(), filter).await
    }

    async fn rows(&self, dataset: &str, which: &Which, shown: Shown) -> Result<Vec<RejectedRow>, ApiError> {
        let (life, filter) = (self.life()?, filter(which)?);
        let contract = contract(&life, dataset)?;
        show::rows(&life, &contract, filter, shown).await
    }

    async fn replay(&self, dataset: &str, request: ReplayRequest) -> Result<ReplayReport, ApiError> {
        let life = self.life()?;
        let (table, filter) = (owned_table(&life, dataset)?, filter(&request.which)?);
        let (hold, going) = (life.ending.watch().hold(), self.begin(&table));
        let replaying = tokio::spawn(async move {
            let _hold = hold;
            replay_of(&life, &table, filter, request.dry_run, &going.progress).await
        });
        let outcome = replaying.await;
        outcome.map_err(|error| ApiError::internal("the replay was interrupted; replay again", &error))?
    }

    async fn progress(&self, dataset: &str) -> Result<Far, ApiError> {
        let contract = contract(&*self.life()?, dataset)?;
        let far = |progress: &Arc<ReplayProgress>| Far {
            running: true,
            done: progress.done.load(Ordering::Relaxed),
            of: progress.of.load(Ordering::Relaxed),
        };
        Ok(self.going.lock().get(&contract.dataset).map(far).unwrap_or_default())
    }

    async fn discard(&self, dataset: &str, request: DiscardRequest) -> Result<DiscardReport, ApiError> {
        let life = self.life()?;
        let (table, filter) = (owned_table(&life, dataset)?, filter(&request.which)?);
        let reason = request.reason.trim().to_owned();
        if reason.is_empty() || reason.len() > REASON_BYTES_MAX {
            return Err(ApiError::Invalid(format!(
                "rejects are given up for a reason of 1 to {REASON_BYTES_MAX} bytes: say it with --reason"
            )));
        }
        let by = request.by.unwrap_or_else(|| "somebody".to_owned());
        let (hold, recorder) = (life.ending.watch().hold(), self.platform.recorder().clone());
        let going = self.begin(&table);
        let discarding = tokio::spawn(async move {
            let _hold = hold;
            let mut discarded = 0;
            let outcome = give_up(&life, &table, filter, (&reason, &by), (&going.progress, &mut discarded)).await;
            let dataset = table.id().to_string();
            let report = DiscardReport { dataset, discarded, reason, by };
            kept(&recorder, &report, (&table, since_ms(&life))).await?;
            outcome.map(|()| report)
        });
        let outcome = discarding.await;
        outcome.map_err(|error| ApiError::internal("the discard was interrupted; look at what is left", &error))?
    }
}

/// Keeps what was given up in `ops.discards`. The commits of quarantine say the same, and the next start looks there.
async fn kept(recorder: &Recorder, report: &DiscardReport, of: (&Table, i64)) -> Result<(), ApiError> {
    if report.discarded == 0 {
        return Ok(());
    }
    let (table, since_ms) = of;
    recorder.enter_discards(table, since_ms).await.map(|_| ()).map_err(|error| {
        let rejects = report.discarded;
        tracing::error!(dataset = report.dataset, rejects, error = in_full(&error), "a discard is not in ops.discards");
        ApiError::Unavailable(format!(
            "{rejects} rejects of {} were discarded, and ops.discards has no row of it yet ({error}); the next start makes it",
            report.dataset
        ))
    })
}

/// The moment before which rows of the ops datasets have left.
fn since_ms(life: &Life) -> i64 {
    let kept_ms = i64::try_from(life.setup.config.ops.retention_ms).unwrap_or(i64::MAX);
    life.setup.clock.now_ms().saturating_sub(kept_ms)
}

/// A dataset's contract, by its name with or without its layer.
fn contract(life: &Life, dataset: &str) -> Result<Arc<Contract>, ApiError> {
    let layers = ["raw.", "curated.", "serving.", "quarantine."];
    let name = layers.iter().find_map(|layer| dataset.strip_prefix(layer)).unwrap_or(dataset);
    let contracts = &life.setup.checked.project.contracts;
    contracts
        .iter()
        .find(|contract| contract.dataset.as_str() == name)
        .cloned()
        .ok_or_else(|| ApiError::NotFound(format!("there is no dataset {name}; `vitalake datasets` lists them")))
}

/// The table of a dataset whose rejects this process may move: the one that commits to it.
fn owned_table(life: &Life, dataset: &str) -> Result<Arc<Table>, ApiError> {
    let contract = contract(life, dataset)?;
    let owner = if contract.layer == Layer::Raw { Role::Ingest } else { Role::Process };
    let elsewhere = || {
        ApiError::Invalid(format!(
            "a process with the role {} does not write {}.{}: ask one with the role {} to replay or discard its rejects",
            life.role.as_str(),
            contract.layer,
            contract.dataset,
            owner.as_str()
        ))
    };
    let table = life.lake.table(&contract.dataset).map_err(|error| match error {
        LakeError::NotOpen { .. } => ApiError::Conflict(error.to_string()),
        _ => elsewhere(),
    })?;
    if table.is_followed() { Err(elsewhere()) } else { Ok(Arc::clone(table)) }
}

/// What a question means; times are RFC 3339 or days.
fn filter(which: &Which) -> Result<RejectFilter, ApiError> {
    Ok(RejectFilter {
        rule: which.rule.clone(),
        since_us: which.since.as_deref().map(moment).transpose()?,
        until_us: which.until.as_deref().map(moment).transpose()?,
        delivery: which.delivery,
        delivery_max: None,
    })
}

fn moment(text: &str) -> Result<i64, ApiError> {
    let midnight = || format!("{text}T00:00:00Z");
    let parsed =
        chrono::DateTime::parse_from_rfc3339(text).or_else(|_| chrono::DateTime::parse_from_rfc3339(&midnight()));
    parsed.map(|at| at.timestamp_micros()).map_err(|_| {
        ApiError::Invalid(format!(
            "{text:?} is no time: write 2026-11-28T10:00:00Z, or 2026-11-28 for its first moment in UTC"
        ))
    })
}

/// Nothing that is meant, although there are rejects: most likely a filter is wrong.
async fn nothing(table: &Table, filter: &RejectFilter) -> Result<(), ApiError> {
    let all = table.portions(&RejectFilter::default(), &Default::default()).await.map_err(|error| lake(&error))?;
    let rejects: u64 = all.iter().map(|portion| portion.rejects).sum();
    if *filter == RejectFilter::default() || rejects == 0 {
        return Ok(());
    }
    let name = &table.contract().dataset;
    Err(ApiError::NotFound(format!(
        "none of the {rejects} rejects of quarantine.{name} is meant by these filters; `vitalake quarantine list {name}` counts them"
    )))
}

async fn replay_of(
    life: &Arc<Life>,
    table: &Arc<Table>,
    filter: RejectFilter,
    dry_run: bool,
    progress: &Arc<ReplayProgress>,
) -> Result<ReplayReport, ApiError> {
    let (tried, superseded) = match table.contract().layer {
        Layer::Raw => replay_raw(life, table, filter.clone(), dry_run, progress).await?,
        _ => (replay_derived(life, table, filter.clone(), dry_run, progress).await?, 0),
    };
    if tried.taken == 0 && superseded == 0 {
        nothing(table, &filter).await?;
    }
    let failed = tried.failed_rows();
    let mut failed_by_rule: Vec<FailedAgain> =
        tried.failed.iter().map(|(rule, rows)| FailedAgain { rule: rule.clone(), rows: *rows }).collect();
    failed_by_rule.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.rule.cmp(&b.rule)));
    Ok(ReplayReport {
        dataset: table.id().to_string(),
        dry_run,
        taken: tried.taken,
        replayed: tried.rows,
        duplicates: tried.duplicates,
        without_row: tried.taken.saturating_sub(tried.rows + tried.duplicates + failed),
        failed,
        failed_by_rule,
        superseded,
    })
}

async fn replay_raw(
    life: &Arc<Life>,
    table: &Arc<Table>,
    filter: RejectFilter,
    dry_run: bool,
    progress: &Arc<ReplayProgress>,
) -> Result<(Tried, u64), ApiError> {
    let sql = sql_rules(table.contract()).map_err(|error| ApiError::Internal(error.to_string()))?;
    let (table, progress, landing) = (Arc::clone(table), Arc::clone(progress), transactions(life, table));
    let replaying =
        async move { replay::replay(&table, sql, Asked { filter, dry_run, landing: &landing }, &progress).await };
    let outcome = life.lake.cpu().spawn_cpu(replaying).await;
    let outcome = outcome.map_err(|error| ApiError::internal("the replay was interrupted; replay again", &error))?;
    outcome.map(|replayed| (replayed.tried, replayed.superseded)).map_err(|error| match error {
        ReplayError::Lake(error) => lake(&error),
        ReplayError::StillLanding(_) => ApiError::Unavailable(error.to_string()),
        error => ApiError::internal("the replay failed; what was not committed is as it was", &error),
    })
}

/// The transactions under which records enter a table here.
fn transactions(life: &Life, table: &Table) -> Vec<TxnId> {
    let dataset = &table.contract().dataset;
    let landings = life.intake.landings.iter().filter(|landing| landing.table().contract().dataset == *dataset);
    let models = life.models.lock().clone();
    let of_model = models.and_then(|models| models.transaction_of(dataset));
    landings.flat_map(|landing| landing.transactions()).chain(of_model).collect()
}

async fn replay_derived(
    life: &Arc<Life>,
    table: &Arc<Table>,
    filter: RejectFilter,
    dry_run: bool,
    progress: &Arc<ReplayProgress>,
) -> Result<Tried, ApiError> {
    commit(life, table).await?;
    let models = life.models.lock().clone();
    let Some(models) = models else {
        return Err(ApiError::Unavailable("models are being started; try again".to_owned()));
    };
    let replayed = models.replay(&table.contract().dataset, filter, dry_run, Arc::clone(progress)).await;
    replayed.map_err(|error| match (error.class(), error.retry()) {
        (Class::User, _) => ApiError::Conflict(in_full(&error)),
        (_, Retry::Later) => ApiError::Unavailable(format!("{error}; replay again when the cause is gone")),
        _ => ApiError::internal("the replay failed; what was not committed is as it was", &error),
    })
}

/// Commits what waits, so that all of a table's quarantine is in files.
async fn commit(life: &Life, table: &Table) -> Result<(), ApiError> {
    if table.contract().layer == Layer::Raw {
        return table.flush().await.map(|_| ()).map_err(|error| lake(&error));
    }
    let behind = life.commit_everything().await;
    let behind = behind.map_err(|error| ApiError::Unavailable(format!("{error}; try again when the cause is gone")))?;
    match behind.iter().find(|behind| behind.dataset == table.contract().dataset.as_str()) {
        Some(behind) => Err(ApiError::Unavailable(format!(
            "{} cannot be committed ({}); mend that first",
            behind.dataset, behind.reason
        ))),
        None => Ok(()),
    }
}

/// Takes rejects out of quarantine for good; counts those that left it, also where it fails on the way.
async fn give_up(
    life: &Life,
    table: &Table,
    filter: RejectFilter,
    (reason, by): (&str, &str),
    (progress, discarded): (&ReplayProgress, &mut u64),
) -> Result<(), ApiError> {
    commit(life, table).await?;
    let _one_at_a_time = table.turn_to_take_back().await;
    if table.rejects_are_ahead(&transactions(life, table)) {
        let still = "it still works through what a crash had cut short; try again in a moment";
        return Err(ApiError::Unavailable(format!("rejects of {} cannot be discarded yet: {still}", table.id())));
    }
    let failed = |error: LakeError| lake(&error);
    let mut walk = Walk::begin(table, filter).await.map_err(failed)?;
    if walk.rejects == 0 {
        return nothing(table, walk.filter()).await;
    }
    let said = [(DISCARD_REASON, reason), (DISCARD_ACTOR, by)];
    let info = said.map(|(field, text)| (field.to_owned(), text.to_owned())).into();
    let terms = Terms { info, given_up: Some(DISCARDED), ..Terms::default() };
    progress.of.store(walk.rejects, Ordering::Relaxed);
    while let Some(portion) = walk.next_portion() {
        let filter = walk.filter().clone();
        let putting = Putting { filter: &filter, done: &progress.done };
        let came = table.put_portion_through(&portion, putting, &mut GiveUp, terms.clone()).await.map_err(failed)?;
        *discarded += came.as_ref().map_or(0, |(tried, _)| tried.taken);
        walk.came(table, came).await.map_err(failed)?;
    }
    Ok(())
}

fn lake(error: &LakeError) -> ApiError {
    match error {
        error if error.retry() == Retry::Later => {
            ApiError::Unavailable(format!("{error}; try again when the cause is gone"))
        }
        LakeError::Stopped { .. } | LakeError::LeaseLost { .. } => ApiError::Unavailable(format!("{error}; try again")),
        error if error.class() == Class::User => ApiError::Conflict(in_full(error)),
        error => ApiError::internal("quarantine could not be worked on; what was not committed is as it was", error),
    }
}
