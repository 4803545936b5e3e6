//! A server on a port of its own over tables in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer};
use vitalake_ops::alerts::report::{AckRequest, AlertReport, SilenceReport, SilenceRequest, TestReport};
use vitalake_ops::feeds::{FeedReport, FeedRunReport};
use vitalake_ops::gates::{GateDecision, GateReport};
use vitalake_ops::metrics::Metrics;
use vitalake_ops::quarantine::{
    DiscardReport, DiscardRequest, RejectCount, RejectedRow, ReplayProgress, ReplayReport, ReplayRequest, Which,
};
use vitalake_ops::runbooks::{AlertContext, RunbookEntry, RunbookReport};
use vitalake_ops::status::{
    DatasetStatus, DeliveryReport, DeliveryState, FlushReport, Readiness, StatusReport, Trouble,
};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::events::{EventReader, Events};
use vitalake_serve::console::facts::{About, Catalogue, DatasetNews, DatasetNow, Described, Today};
use vitalake_serve::console::{Console, Overview};
use vitalake_serve::druid::dialect::DruidSql;
use vitalake_serve::engine::{QueryEngine, QueryLimits};
use vitalake_serve::http::{App, HttpLimits, serve};
use vitalake_serve::ingest::{Ingest, IngestError, IngestReport, IngestRequest, RejectedRecord};
use vitalake_serve::names::Names;
use vitalake_serve::pinned::{Pinned, Tables};
use vitalake_serve::platform::{
    Alerts, ApiError, ByteStream, Datasets, Deliveries, DeliveryRequest, Feeds, Flush, Gates, Publishing, Runbooks,
    Status,
};
use vitalake_serve::quarantine::{Quarantine, Shown};
use vitalake_serve::session::Sessions;

use crate::tiny::{numbers, tiny};
use crate::vitals::vitals;

/// A text that a page must not take for one of its own.
pub const ODD: &str = "<script>alert('1')</script>\"&\u{2028}";

pub struct Server {
    pub address: SocketAddr,
    pub ready: Arc<AtomicBool>,
    pub engine: Arc<QueryEngine>,
    pub sessions: Sessions,
    pub events: Mutex<EventReader>,
    taken: Arc<Taken>,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
    _cpu: Cpu,
}

struct Process {
    tables: Arc<Tables>,
    ready: Arc<AtomicBool>,
    taken: Arc<Taken>,
}

/// Files that were delivered: how many began, and the bytes of each that ended, none where its end did not come.
#[derive(Default)]
struct Taken {
    begun: AtomicUsize,
    files: Mutex<Vec<Option<u64>>>,
    /// How often it was asked how everything is, and the version of the table.
    looks: AtomicUsize,
    version: AtomicUsize,
}

impl Datasets for Process {
    fn pin(&self) -> Result<Arc<dyn Pinned>, Vec<String>> {
        match self.ready.load(Ordering::Acquire) {
            true => Ok(Arc::clone(&self.tables) as _),
            false => Err(self.readiness().waiting_for),
        }
    }
}

#[async_trait]
impl Status for Process {
    fn troubles(&self) -> Vec<Trouble> {
        Vec::new()
    }

    fn readiness(&self) -> Readiness {
        let ready = self.ready.load(Ordering::Acquire);
        let waiting_for = if ready { vec![] } else { vec!["recovery of raw.readings".to_owned()] };
        Readiness { ready, waiting_for, ..Readiness::default() }
    }

    async fn status(&self) -> StatusReport {
        let dataset = DatasetStatus { dataset: "tiny".to_owned(), rows: 5, ..DatasetStatus::default() };
        StatusReport { ready: true, datasets: vec![dataset], ..StatusReport::default() }
    }
}

#[async_trait]
impl Flush for Process {
    async fn flush(&self) -> Result<FlushReport, ApiError> {
        Ok(FlushReport::default())
    }
}

#[async_trait]
impl Alerts for Process {
    async fn list(&self) -> Result<Vec<AlertReport>, ApiError> {
        Ok(Vec::new())
    }

    async fn acknowledge(&self, fingerprint: &str, request: AckRequest) -> Result<AlertReport, ApiError> {
        let acknowledged_by = Some(request.by);
        Ok(AlertReport { fingerprint: fingerprint.to_owned(), acknowledged_by, ..AlertReport::default() })
    }

    async fn silence(&self, request: SilenceRequest) -> Result<SilenceReport, ApiError> {
        Ok(SilenceReport { alert: request.alert, ..SilenceReport::default() })
    }

    async fn test(&self, alert: &str) -> Result<Vec<TestReport>, ApiError> {
        Err(ApiError::NotFound(format!("there is no alert {alert}")))
    }
}

impl Publishing for Process {}

/// What the console is told: one dataset, named as nobody should name one.
#[async_trait]
impl Overview for Process {
    fn about(&self) -> About {
        About { project: ODD.to_owned(), ..About::default() }
    }

    fn catalogue(&self) -> Arc<Catalogue> {
        let mut contract = Contract::new(DatasetName::new("tiny").unwrap(), Layer::Serving);
        contract.purpose = Some(ODD.to_owned());
        contract.columns = vec![Column::new(ODD, ColumnType::String)];
        let described = Described {
            contract: Arc::new(contract),
            model: None,
            upstream: Vec::new(),
            downstream: Vec::new(),
            origins: BTreeMap::new(),
            conditions: Vec::new(),
            rules: Vec::new(),
            tags: Vec::new(),
            delivery: "append",
        };
        Arc::new(Catalogue { datasets: vec![described], ..Catalogue::default() })
    }

    async fn today(&self) -> Today {
        self.taken.looks.fetch_add(1, Ordering::AcqRel);
        let dataset = DatasetNow {
            name: "tiny".to_owned(),
            layer: "serving".to_owned(),
            state: "trouble",
            rows: Some(5),
            reason: Some(ODD.to_owned()),
            ..DatasetNow::default()
        };
        Today { datasets: vec![dataset], ..Today::default() }
    }

    async fn dataset(&self, _: &str) -> Result<DatasetNews, ApiError> {
        Ok(DatasetNews::default())
    }

    fn versions(&self) -> Vec<(String, u64)> {
        vec![("serving.tiny".to_owned(), self.taken.version.load(Ordering::Acquire) as u64)]
    }
}

/// Takes what is sent to `stream` and says of it what it was; other names are refused, each in its way.
#[async_trait]
impl Ingest for Process {
    async fn ingest(&self, dataset: &str, request: IngestRequest) -> Result<IngestReport, IngestError> {
        let rejected = vec![RejectedRecord { index: 1, line: 2, byte: 9, reason: "no object".to_owned() }];
        match dataset {
            "stream" => Ok(IngestReport {
                dataset: format!("{:?}/{:?}", request.form, request.encoding),
                request: format!("{:?}/{:?}", request.key, request.partition_key),
                accepted: request.body.len() as u64,
                rejected_count: 1,
                rejected,
                quarantine: request.client,
                replayed: request.key.is_some(),
            }),
            "none" => Err(IngestError::NoneAccepted(rejected)),
            "malformed" => Err(IngestError::Malformed("a comma was expected".to_owned(), Some((2, 9)))),
            "large" => Err(IngestError::TooLarge("too many records".to_owned())),
            "other" => Err(IngestError::OtherSubject("record 1 is of another".to_owned())),
            "used" => Err(IngestError::KeyInUse("it is being taken".to_owned())),
            "reused" => Err(IngestError::KeyReused("another body".to_owned())),
            "behind" => Err(IngestError::Behind("behind".to_owned())),
            "full" => Err(IngestError::NoStorage("no room".to_owned())),
            "starting" => Err(IngestError::Unavailable("starting".to_owned())),
            _ => Err(IngestError::NoStream("there is no such dataset".to_owned())),
        }
    }
}

#[async_trait]
impl Gates for Process {
    async fn gates(&self, dataset: Option<&str>) -> Result<Vec<GateReport>, ApiError> {
        match dataset {
            None | Some("serving.tiny") => Ok(vec![GateReport { state: "held".to_owned(), ..GateReport::default() }]),
            Some(name) => Err(ApiError::NotFound(format!("{name} has no gate"))),
        }
    }

    async fn hold(&self, dataset: &str, decision: GateDecision) -> Result<GateReport, ApiError> {
        Ok(GateReport { dataset: dataset.to_owned(), by: Some(decision.by), ..GateReport::default() })
    }

    async fn release(&self, _: &str, _: GateDecision) -> Result<GateReport, ApiError> {
        Err(ApiError::Conflict("another writer came in between".to_owned()))
    }
}

#[async_trait]
impl Runbooks for Process {
    async fn list(&self, owner: Option<&str>) -> Vec<RunbookEntry> {
        vec![RunbookEntry {
            name: "held".to_owned(),
            owners: owner.into_iter().map(str::to_owned).collect(),
            ..RunbookEntry::default()
        }]
    }

    async fn open(&self, name: &str, alert: Option<&str>) -> Result<RunbookReport, ApiError> {
        if name != "held" {
            return Err(ApiError::NotFound(format!("there is no runbook {name}")));
        }
        let alert =
            alert.map(|fingerprint| AlertContext { fingerprint: fingerprint.to_owned(), ..AlertContext::default() });
        Ok(RunbookReport { name: name.to_owned(), alert, ..RunbookReport::default() })
    }
}

#[async_trait]
impl Deliveries for Process {
    async fn deliver(
        &self,
        dataset: &str,
        request: DeliveryRequest,
        body: ByteStream,
    ) -> Result<DeliveryReport, ApiError> {
        let DeliveryRequest { name, format, .. } = request;
        if dataset != "tiny" {
            return Err(ApiError::NotFound(format!("there is no dataset '{dataset}'")));
        }
        self.taken.begun.fetch_add(1, Ordering::AcqRel);
        // As the platform does: what came whole is taken, whether or not its sender is still there.
        let taken = Arc::clone(&self.taken);
        let counting = tokio::spawn(async move {
            let bytes = body.try_fold(0, async |sum, chunk| Ok(sum + chunk.len() as u64)).await;
            taken.files.lock().unwrap().push(bytes.as_ref().ok().copied());
            bytes
        });
        let bytes = counting.await.unwrap().map_err(|error| match error.kind() {
            std::io::ErrorKind::TimedOut => ApiError::TimedOut(error.to_string()),
            _ => ApiError::Invalid(error.to_string()),
        })?;
        Ok(DeliveryReport {
            dataset: dataset.to_owned(),
            delivery: Some(1),
            business_date: None,
            corrects: None,
            held: None,
            sha256: format!("{name} {format:?}"),
            state: DeliveryState::Loaded,
            accepted: bytes,
            quarantined: 0,
            did_not_fit: Vec::new(),
            not_in_contract: Vec::new(),
            not_kept: Vec::new(),
            resources: None,
            version: 1,
        })
    }
}

#[async_trait]
impl Feeds for Process {
    async fn feeds(&self) -> Result<Vec<FeedReport>, ApiError> {
        Ok(vec![FeedReport { feed: "clinic".to_owned(), ..FeedReport::default() }])
    }

    async fn run(&self, feed: &str) -> Result<FeedRunReport, ApiError> {
        match feed {
            "clinic" => Ok(FeedRunReport { feed: feed.to_owned(), ..FeedRunReport::default() }),
            _ => Err(ApiError::NotFound(format!("there is no feed {feed}"))),
        }
    }
}

impl Server {
    pub fn start() -> Self {
        Self::with_limits(QueryLimits::default())
    }

    pub fn with_limits(limits: QueryLimits) -> Self {
        Self::with(limits, HttpLimits { query_body_bytes_max: 16 << 20, ..HttpLimits::default() })
    }

    pub fn with(limits: QueryLimits, http: HttpLimits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let cpu = Cpu::new().unwrap();
        let engine = Arc::new(QueryEngine::new(limits, cpu.handle().clone()).unwrap());
        let ready = Arc::new(AtomicBool::new(true));
        let tables = Tables::default().with("serving", "tiny", tiny()).with("raw", "readings", tiny());
        let tables = tables.with("serving", "vitals", vitals()).with("raw", "numbers", numbers(2_000_000));
        let taken = Arc::<Taken>::default();
        let ours = (Arc::clone(&ready), Arc::clone(&taken));
        let process = Arc::new(Process { tables: Arc::new(tables), ready: ours.0, taken: ours.1 });
        let (events, reader) = Events::channel();
        let sessions = Sessions::new(Arc::clone(&engine), Arc::clone(&process) as _, Arc::new(DruidSql), events);
        let app = App {
            console: Console::new(Arc::clone(&process) as _, Clock::system()),
            erasures: Arc::new(NobodyErased),
            sessions: sessions.clone(),
            status: Arc::clone(&process) as _,
            deliveries: Arc::clone(&process) as _,
            ingest: Arc::clone(&process) as _,
            flush: Arc::clone(&process) as _,
            feeds: Arc::clone(&process) as _,
            quarantine: Arc::clone(&process) as _,
            alerts: Arc::clone(&process) as _,
            gates: Arc::clone(&process) as _,
            publishing: Arc::clone(&process) as _,
            runbooks: process,
            metrics: Arc::new(Metrics::new()),
            names: Arc::new(Names::open(Clock::system())),
            limits: http,
        };
        let (stop, stopped) = oneshot::channel();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            serve(listener, app, async {
                let _ = stopped.await;
            })
            .await;
        });
        Self {
            address,
            ready,
            engine,
            sessions,
            events: Mutex::new(reader),
            taken,
            stop: Some(stop),
            runtime: Some(runtime),
            _cpu: cpu,
        }
    }
}

impl Server {
    /// The files that were delivered to the platform, in the order in which they ended.
    pub fn files(&self) -> Vec<Option<u64>> {
        self.taken.files.lock().unwrap().clone()
    }

    /// How often the platform was asked how everything is.
    pub fn looks(&self) -> usize {
        self.taken.looks.load(Ordering::Acquire)
    }

    /// A table has another version.
    pub fn commit(&self) {
        self.taken.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits until so many files have ended.
    pub fn seen_by_the_platform(&self, files: usize) {
        until(|| self.files().len() >= files);
    }

    /// Waits until so many have begun.
    pub fn begun_by_the_platform(&self, files: usize) {
        until(|| self.taken.begun.load(Ordering::Acquire) >= files);
    }
}

fn until(done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it did not happen");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[async_trait]
impl Quarantine for Process {
    async fn counts(&self, dataset: Option<&str>, which: &Which) -> Result<Vec<RejectCount>, ApiError> {
        let rule = which.rule.clone().unwrap_or_default();
        Ok(vec![RejectCount { dataset: dataset.unwrap_or("all").to_owned(), rule, ..RejectCount::default() }])
    }

    async fn rows(&self, dataset: &str, _: &Which, shown: Shown) -> Result<Vec<RejectedRow>, ApiError> {
        let raw = shown.raw.then(|| dataset.to_owned());
        Ok(vec![RejectedRow { raw, ..RejectedRow::default() }; shown.limit.min(3)])
    }

    async fn replay(&self, dataset: &str, request: ReplayRequest) -> Result<ReplayReport, ApiError> {
        let dry_run = request.dry_run;
        Ok(ReplayReport { dataset: dataset.to_owned(), dry_run, ..ReplayReport::default() })
    }

    async fn progress(&self, _: &str) -> Result<ReplayProgress, ApiError> {
        Ok(ReplayProgress { running: true, done: 1, of: 2 })
    }

    async fn discard(&self, dataset: &str, request: DiscardRequest) -> Result<DiscardReport, ApiError> {
        Ok(DiscardReport { dataset: dataset.to_owned(), reason: request.reason, ..DiscardReport::default() })
    }
}

/// Erases nobody.
struct NobodyErased;

impl vitalake_serve::platform::Erasures for NobodyErased {}
