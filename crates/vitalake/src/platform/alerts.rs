//! Alerts at their place in the process: what they are told of the platform, whom they ask in SQL, and what HTTP asks of
//! them.
//!
//! The rules and all that follows are `vitalake_ops::alerts`. Invariant: alerts are evaluated and sent while this process
//! owns the models and has the turn to (`alert_turn`), and at no other time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use object_store::ObjectStore;
use vitalake_contract::alert::{AlertDataset, AlertRule};
use vitalake_contract::{Contract, Layer};
use vitalake_ops::alerts::ask::{AskError, Cell, Questions, Rows, TIME_MAX};
use vitalake_ops::alerts::desk::{Desk, DeskSetup};
use vitalake_ops::alerts::lineage::Lineage;
use vitalake_ops::alerts::rates::Brought;
use vitalake_ops::alerts::report::{AckRequest, AlertReport, SilenceReport, SilenceRequest, TestReport};
use vitalake_ops::alerts::request::RequestError;
use vitalake_ops::alerts::rule::rules;
use vitalake_ops::alerts::run::{Surroundings, run};
use vitalake_ops::alerts::send::Sender;
use vitalake_ops::alerts::signal::Facts;
use vitalake_ops::runbooks::EvidenceKeeper;
use vitalake_process::Graph;
use vitalake_runtime::error::in_full;
use vitalake_runtime::events::Event;
use vitalake_serve::error::QueryError;
use vitalake_serve::identity::Identity;
use vitalake_serve::platform::{Alerts, ApiError};
use vitalake_serve::session::{QueryOptions, Sessions};

use crate::command::validate::contracts_of;

use super::alert_facts::Noted;
use super::alert_turn::AlertTurn;
use super::{Life, Platform, Role, Setup};

/// How long a stop waits for a message that is under way.
const LAST_MESSAGE_MAX: Duration = Duration::from_secs(3);
/// How long another process's turn is left before it is asked for again.
const ANOTHERS_TURN: Duration = Duration::from_secs(1);
/// How often it is looked whether there is another life.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The alerts of a process. Clones are the same.
#[derive(Clone)]
pub struct AlertDesk {
    desk: Arc<Desk>,
    platform: Arc<Platform>,
    sessions: Sessions,
    noted: Arc<Noted>,
}

impl AlertDesk {
    /// The alerts of a project; `http` is where people reach the platform.
    #[must_use]
    pub fn new(
        setup: &Setup,
        platform: &Arc<Platform>,
        sessions: Sessions,
        evidence: Arc<dyn EvidenceKeeper>,
        http: SocketAddr,
    ) -> Self {
        let project = &setup.checked.project;
        let alerts: Vec<AlertRule> = project.alerts.iter().map(|file| file.rule.clone()).collect();
        let desk = Desk::new(DeskSetup {
            rules: rules(&alerts, &setup.config.notify),
            receivers: setup.config.notify.clone(),
            lineage: lineage(setup),
            names: names(&project.contracts),
            teams: teams(&project.contracts),
            time_columns: time_columns(&project.contracts),
            project: setup.config.name.clone(),
            address: setup
                .config
                .http
                .public_url
                .clone()
                .unwrap_or_else(|| format!("{}://{http}", setup.config.http.scheme())),
            clock: setup.clock.clone(),
            events: setup.events.clone(),
            recorder: Some(setup.recorder.clone()),
            evidence: Some(evidence),
            sender: Sender::default(),
        });
        Self { desk, platform: Arc::clone(platform), sessions, noted: Arc::default() }
    }

    /// Keeps what an event says that nothing else does.
    pub fn note(&self, event: &Event) {
        self.noted.note(event);
    }

    /// Evaluates and sends while this process owns the models, until dropped.
    pub async fn run_forever(self) {
        let mut is_anothers = false;
        loop {
            let Some(life) = self.owned() else {
                tokio::time::sleep(LOOK_INTERVAL).await;
                continue;
            };
            let Some(mut turn) = AlertTurn::take(&life, &mut is_anothers).await else {
                tokio::time::sleep(ANOTHERS_TURN).await;
                continue;
            };
            let watching = run(
                Arc::clone(&self.desk),
                Arc::clone(life.lake().store()),
                Arc::new(self.clone()),
                Arc::new(self.clone()),
            );
            tokio::select! {
                () = watching => {}
                () = self.gone_and_quiet(&life) => {}
                () = turn.over(&life) => self.finish().await,
            }
            self.desk.close().await;
            turn.give_back().await;
        }
    }

    /// The life that is there, where it owns the models.
    fn owned(&self) -> Option<Arc<Life>> {
        self.platform.life().filter(|life| matches!(life.role, Role::All | Role::Process) && !life.is_ending())
    }

    async fn gone_and_quiet(&self, life: &Arc<Life>) {
        while self.owned().is_some_and(|now| Arc::ptr_eq(&now, life)) {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        self.finish().await;
    }

    /// Waits, not for long, until what is being sent is written down: else the next process would send it again.
    pub async fn finish(&self) {
        self.desk.quiesce(LAST_MESSAGE_MAX).await;
    }

    fn store(&self) -> Result<Arc<dyn ObjectStore>, ApiError> {
        let opening =
            || ApiError::Unavailable("vitalake is starting: the tables are being opened; try again".to_owned());
        Ok(Arc::clone(self.platform.life().ok_or_else(opening)?.lake().store()))
    }

    /// The store, where this process may change what is in it.
    fn store_to_change(&self) -> Result<Arc<dyn ObjectStore>, ApiError> {
        match self.platform.life().map(|life| life.role) {
            Some(role @ (Role::Ingest | Role::Serve)) => Err(ApiError::Invalid(format!(
                "a process with the role {} changes no alerts; ask the one with the role process",
                role.as_str()
            ))),
            _ => self.store(),
        }
    }
}

#[async_trait]
impl Surroundings for AlertDesk {
    async fn facts(&self) -> Option<Facts> {
        Some(self.noted.facts(&self.owned()?).await)
    }

    async fn brought_since(&self, since_ms: i64) -> Vec<Brought> {
        self.platform.recorder().brought_since(since_ms).await.unwrap_or_else(|error| {
            tracing::warn!(error = in_full(&error), "the share of rejects is not known until its window has passed");
            Vec::new()
        })
    }
}

#[async_trait]
impl Questions for AlertDesk {
    async fn ask(&self, sql: &str, rows_max: usize, time_max: Duration) -> Result<Rows, AskError> {
        self.rows(Identity::runbook(), sql, rows_max, time_max).await.map_err(|error| match error {
            QueryError::NotReady(_) => AskError::NotReady(error.to_string()),
            error => AskError::Failed(error.to_string()),
        })
    }

    async fn count(&self, sql: &str) -> Result<u64, String> {
        let answer = self.rows(Identity::local(), sql, 1, TIME_MAX).await.map_err(|error| error.to_string())?;
        match answer.rows.first().and_then(|row| row.first()) {
            Some(Cell::Plain(number)) => number.parse().map_err(|_| "the answer is no count".to_owned()),
            _ => Err("the answer is no count".to_owned()),
        }
    }
}

impl AlertDesk {
    async fn rows(&self, who: Identity, sql: &str, rows_max: usize, time_max: Duration) -> Result<Rows, QueryError> {
        let options = QueryOptions { timeout: Some(time_max), is_repeated: true, ..QueryOptions::default() };
        let session = self.sessions.open(who)?;
        let mut answer = session.query(sql.to_owned(), Vec::new(), options).await?;
        let mut found = Rows { names: answer.labels().to_vec(), rows: Vec::new() };
        while found.rows.len() <= rows_max {
            let Some(batch) = answer.next().await? else { break };
            let columns: Vec<Vec<Cell>> = batch.columns().iter().map(cells).collect();
            let row = |at: usize| columns.iter().filter_map(|column| column.get(at).cloned()).collect();
            found.rows.extend((0..batch.num_rows().min(rows_max + 1)).map(row));
        }
        Ok(found)
    }
}

/// A column's values: texts apart from what can be no name of a person.
fn cells(array: &ArrayRef) -> Vec<Cell> {
    let options = FormatOptions::default();
    let Ok(shown) = ArrayFormatter::try_new(array, &options) else { return vec![Cell::Null; array.len()] };
    let kind = array.data_type();
    let is_plain = kind.is_numeric() || kind.is_temporal() || matches!(kind, DataType::Boolean);
    let one = |at: usize| match shown.value(at).try_to_string() {
        _ if array.is_null(at) => Cell::Null,
        Ok(text) if is_plain => Cell::Plain(text),
        Ok(text) => Cell::Text(text),
        Err(_) => Cell::Null,
    };
    (0..array.len()).map(one).collect()
}

#[async_trait]
impl Alerts for AlertDesk {
    async fn list(&self) -> Result<Vec<AlertReport>, ApiError> {
        self.desk.report(&self.store()?).await.map_err(refusal)
    }

    async fn acknowledge(&self, fingerprint: &str, request: AckRequest) -> Result<AlertReport, ApiError> {
        self.desk.acknowledge(&self.store_to_change()?, fingerprint, request).await.map_err(refusal)
    }

    async fn silence(&self, request: SilenceRequest) -> Result<SilenceReport, ApiError> {
        self.desk.silence(&self.store_to_change()?, request).await.map_err(refusal)
    }

    async fn test(&self, alert: &str) -> Result<Vec<TestReport>, ApiError> {
        self.desk.test(alert).await.map_err(refusal)
    }
}

fn refusal(error: RequestError) -> ApiError {
    match error {
        RequestError::NotFound(message) => ApiError::NotFound(message),
        RequestError::Invalid(message) => ApiError::Invalid(message),
        RequestError::Unavailable(_) => ApiError::Unavailable(error.to_string()),
    }
}

/// What derives from what, by the models.
fn lineage(setup: &Setup) -> Lineage {
    let checked = &setup.checked;
    let contracts = contracts_of(&checked.project);
    let Ok(graph) = Graph::build(&checked.models, &contracts) else { return Lineage::default() };
    let of = |at: usize| graph.inputs(at).iter().map(ToString::to_string).collect();
    Lineage::new(checked.models.iter().enumerate().map(|(at, model)| (model.dataset.to_string(), of(at))))
}

/// Names that may leave with a message: of datasets, with and without their layer, and of rules.
fn names(contracts: &[Arc<Contract>]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for contract in contracts {
        names.extend([contract.dataset.to_string(), format!("{}.{}", contract.layer, contract.dataset)]);
        names.extend(contract.row_rules.iter().map(|rule| rule.name.to_string()));
        names.extend(contract.set_rules.iter().map(|rule| rule.name.to_string()));
    }
    names
}

/// The teams whose datasets they are, as far as contracts name one.
fn teams(contracts: &[Arc<Contract>]) -> BTreeMap<String, String> {
    let of =
        |contract: &Arc<Contract>| Some((format!("{}.{}", contract.layer, contract.dataset), contract.team.clone()?));
    contracts.iter().filter_map(of).collect()
}

/// The column by which a dataset's rows are counted: when they came in, else the contract's time.
fn time_columns(contracts: &[Arc<Contract>]) -> BTreeMap<AlertDataset, String> {
    let of = |contract: &Arc<Contract>| {
        let column = match contract.layer {
            Layer::Raw => "_ingested_at".to_owned(),
            _ => contract.columns.get(contract.time_column?)?.name.to_string(),
        };
        Some((AlertDataset { layer: contract.layer, name: contract.dataset.clone() }, column))
    };
    contracts.iter().filter_map(of).collect()
}
