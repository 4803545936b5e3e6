//! What HTTP asks of the process: the life that is there, or what it waits for while there is none.
//!
//! It is there before the first life and between two of them. Invariant: a request works on one life and stops with it;
//! a delivery that a life's end cut short is refused, and says so.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt as _;
use parking_lot::RwLock;
use vitalake_contract::alert::AlertRule;
use vitalake_lake::control::ControlStore;
use vitalake_ops::audit::Audit;
use vitalake_ops::books::DatasetBooks;
use vitalake_ops::monitor::MonitorSaid;
use vitalake_ops::record::Recorder;
use vitalake_ops::runbooks::Library;
use vitalake_ops::status::{
    AwayPart, ControlStatus, FlushReport, MonitorStatus, Readiness, STALLED, StatusReport, Trouble,
};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::events::Events;
use vitalake_serve::pinned::Pinned;
use vitalake_serve::platform::{ApiError, ByteStream, Datasets, Flush, Status};
use vitalake_serve::session::Sessions;

use super::api::Api;
use super::erase::ErasuresAsked;
use super::outside::{instant, parts};
use super::tasks::until_the_end;
use super::{Life, Outside, Role, RunbookDesk, Setup};

/// How long a restart that a panic caused is told of.
const TOLD_OF_A_PANIC: Duration = Duration::from_secs(600);
/// What is waited for while there is no life.
const OPENING: &str = "tables and the source of records to be opened";

/// The platform as the process keeps it over its lives.
#[derive(Debug)]
pub struct Platform {
    name: String,
    since_ms: i64,
    clock: Clock,
    outside: Outside,
    events: Events,
    library: Arc<Library>,
    alerts: Arc<[AlertRule]>,
    recorder: Recorder,
    monitor: Arc<OnceLock<MonitorSaid>>,
    audit: Audit,
    erasures: ErasuresAsked,
    now: RwLock<Now>,
}

/// What changes from life to life.
#[derive(Debug)]
struct Now {
    role: Role,
    life: Option<Arc<Life>>,
    panicked: Option<(&'static str, Instant)>,
}

impl Platform {
    /// A platform without a life.
    #[must_use]
    pub fn new(setup: &Setup, role: Role) -> Arc<Self> {
        Arc::new(Self {
            name: setup.config.name.clone(),
            since_ms: setup.clock.now_ms(),
            clock: setup.clock.clone(),
            outside: setup.outside.clone(),
            events: setup.events.clone(),
            library: Arc::new(Library::new(&setup.checked.project.runbooks)),
            alerts: setup.checked.project.alerts.iter().map(|file| file.rule.clone()).collect(),
            recorder: setup.recorder.clone(),
            monitor: Arc::clone(&setup.monitor),
            audit: setup.audit.clone(),
            erasures: ErasuresAsked::default(),
            now: RwLock::new(Now { role, life: None, panicked: None }),
        })
    }

    /// A life has been opened.
    pub fn begin(&self, life: &Arc<Life>) {
        let mut now = self.now.write();
        (now.role, now.life) = (life.role, Some(Arc::clone(life)));
    }

    /// The life is about to end.
    pub fn leave(&self) {
        let mut now = self.now.write();
        let panicked = now.life.take().and_then(|life| life.panicked());
        now.panicked = panicked.map(|task| (task, Instant::now())).or(now.panicked);
    }

    /// The life that is there.
    #[must_use]
    pub fn life(&self) -> Option<Arc<Life>> {
        self.now.read().life.clone()
    }

    /// Whether everything that was durable at start is visible, but for what is stalled or failed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness().ready
    }

    /// What was asked of erasures, and what was carried out.
    pub(super) fn erasures(&self) -> &ErasuresAsked {
        &self.erasures
    }

    pub(super) fn role(&self) -> Role {
        self.now.read().role
    }

    pub(super) fn events(&self) -> &Events {
        &self.events
    }

    /// Where runbooks are opened; their queries run in these sessions.
    #[must_use]
    pub fn runbooks(&self, sessions: Sessions) -> RunbookDesk {
        let (library, alerts) = (Arc::clone(&self.library), Arc::clone(&self.alerts));
        RunbookDesk::new(library, alerts, sessions, self.recorder.clone(), self.clock.clone())
    }

    /// Makes rows of the ops datasets of what happened.
    #[must_use]
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    fn away(&self) -> Vec<AwayPart> {
        parts(self.outside.away(), self.clock.now_ms())
    }

    /// The life that is there, with its models at their places.
    pub(super) fn present(&self) -> Result<Api, ApiError> {
        match self.life().filter(|life| life.models.lock().is_some()) {
            Some(life) => Ok(Api(life)),
            None => Err(ApiError::Unavailable(self.opening())),
        }
    }

    /// The life that is there.
    pub(super) fn living(&self) -> Result<Arc<Life>, ApiError> {
        self.life().ok_or_else(|| ApiError::Unavailable(self.opening()))
    }

    fn opening(&self) -> String {
        let away: Vec<String> = self
            .away()
            .iter()
            .map(|part| format!("{} is away since {}: {}", part.part, part.since, part.reason))
            .collect();
        let waits = if away.is_empty() { "its log says what they wait for".to_owned() } else { away.join("; ") };
        format!("vitalake is starting: tables and the source of records are being opened; {waits}; try again")
    }

    /// How far the workspace has the ops datasets, where one is named.
    fn monitor(&self) -> Option<MonitorStatus> {
        Some(self.monitor.get()?.status(self.clock.now_ms()))
    }

    /// What is wrong with the audit journal.
    fn audit_trouble(&self) -> Option<Trouble> {
        let message = if self.audit.is_failing() {
            "the audit journal cannot be written, and where clients are listed accesses are refused for that: see to the disk of the data folder"
        } else if self.audit.tail().is_doubted {
            "the audit journal is not what its signed heads say that it was: `vitalake audit verify` says what is wrong"
        } else {
            return None;
        };
        Some(Trouble { dataset: None, state: STALLED.to_owned(), message: message.to_owned() })
    }

    /// The restart that a panic caused, for as long as it is told of.
    fn panic_trouble(&self) -> Option<Trouble> {
        let (task, at) = self.now.read().panicked?;
        (at.elapsed() < TOLD_OF_A_PANIC).then(|| Trouble {
            dataset: None,
            state: STALLED.to_owned(),
            message: format!(
                "the task `{task}` panicked {} seconds ago, and everything began anew from the tables: the log has the place; report it",
                at.elapsed().as_secs()
            ),
        })
    }
}

fn control_status(control: &ControlStore) -> ControlStatus {
    ControlStatus {
        kind: control.place().kind().to_owned(),
        place: control.place().to_string(),
        reachable: control.away().is_none(),
    }
}

impl Datasets for Platform {
    fn pin(&self) -> Result<Arc<dyn Pinned>, Vec<String>> {
        self.life().map(|life| Api(life).pin()).ok_or_else(|| vec![OPENING.to_owned()])
    }
}

#[async_trait]
impl Status for Platform {
    fn readiness(&self) -> Readiness {
        let away = self.away();
        match self.life() {
            Some(life) => Readiness { away, ..Api(life).readiness() },
            None => Readiness { away, waiting_for: vec![OPENING.to_owned()], ..Readiness::default() },
        }
    }

    fn troubles(&self) -> Vec<Trouble> {
        let life = self.life();
        life.iter().flat_map(|life| life.troubles()).chain(self.panic_trouble()).chain(self.audit_trouble()).collect()
    }

    async fn status(&self) -> StatusReport {
        let Readiness { ready, waiting_for, away, .. } = self.readiness();
        let troubles = self.troubles();
        let report = self.life().map(|life| Api(life).report(&troubles)).unwrap_or_default();
        StatusReport {
            ready,
            name: self.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: instant(self.since_ms).unwrap_or_default(),
            role: self.now.read().role.as_str().to_owned(),
            away,
            control: self.life().filter(|life| life.role.takes_deliveries()).map(|life| control_status(life.control())),
            monitor: self.monitor(),
            waiting_for,
            troubles,
            ..report
        }
    }

    async fn books(&self, dataset: Option<&str>) -> Result<Vec<DatasetBooks>, ApiError> {
        let life = self.present()?.0;
        until_the_end(&life, life.books(dataset)).await.unwrap_or_else(|| Err(ended("ask again")))
    }
}

#[async_trait]
impl Flush for Platform {
    async fn flush(&self) -> Result<FlushReport, ApiError> {
        let api = self.present()?;
        let life = Arc::clone(&api.0);
        let _hold = life.ending.watch().hold();
        until_the_end(&life, api.flush())
            .await
            .unwrap_or_else(|| Err(ended("what is not committed is taken up from the log")))
    }
}

/// A body that breaks off when the life ends.
pub(super) fn until_cut(body: ByteStream, life: Arc<Life>) -> ByteStream {
    let cut = futures::stream::once(async move {
        life.ended().await;
        Err(std::io::Error::other("the platform stopped or began anew before the file was complete"))
    });
    // The cut ends the stream: a body whose end is said by itself is followed by nothing.
    let marked = body.map(Some).chain(futures::stream::once(async { None }));
    futures::stream::select(marked, cut.map(Some))
        .scan(false, |broken, piece| {
            let next = if *broken { None } else { piece };
            *broken = matches!(next, Some(Err(_)));
            std::future::ready(next)
        })
        .boxed()
}

pub(super) fn ended(what: &str) -> ApiError {
    ApiError::Unavailable(format!("the platform stopped or began anew from the tables: {what}"))
}
