//! One process over its lives: the HTTP server, the signals, the folder's lock, and what follows when a life ends.
//!
//! | a life runs as | and ends because | what follows |
//! |---|---|---|
//! | any role | a signal came (`Stop`) | what was taken is committed; the process leaves |
//! | `all`, `ingest`, `serve` | lease lost: another process committed what this one was about to | restart in the same role |
//! | `process` | lease lost | standby: it writes nothing and watches |
//! | `process, standing by` | nobody runs the models for as long as its patience (`Takeover`) | role `process` again |
//! | any role | `Restart`: the source changed under it, or a task panicked | restart in the same role |
//! | `all` | `Erase`: a person is to be erased | what was taken is committed, the erasure, then restart |
//!
//! Patience doubles where a takeover was undone soon, so that two slow processes do not undo each other's work for ever.
//! Invariant: a life has ended before the next is opened.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use vitalake_ingest::kafka::{KafkaOptions, KafkaServer};
use vitalake_ops::audit::{Audit, Destination, Exporter, Surface};
use vitalake_ops::metrics::Metrics;
use vitalake_ops::openlineage::OpenLineage;
use vitalake_ops::tables::OpsTable;
use vitalake_ops::telemetry::{Telemetry, Who};
use vitalake_runtime::config::{Tls, process_environment};
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::events::EventReader;
use vitalake_runtime::shutdown::{Shutdown, Stage};
use vitalake_serve::audit::{Ledger, Vocabulary};
use vitalake_serve::console::Console;
use vitalake_serve::druid::dialect::DruidSql;
use vitalake_serve::engine::{QueryEngine, QueryLimits};
use vitalake_serve::http::{self, App, HttpLimits};
use vitalake_serve::names::Names;
use vitalake_serve::session::Sessions;
use vitalake_serve::tls::{Certificate, TlsError, TlsFiles};

use crate::command::validate_access::access_of;
use crate::failure::Failure;

use super::erase::{self, EraseDesk};
use super::kafka_doors::{KafkaDoors, KafkaTls};
use super::monitor::Sending;
use super::surfaces::Surfaces;
use super::{AlertDesk, ConsoleDesk, Life, Platform, QuarantineDesk, Role, Setup, lineage, monitor, sample_forever};

/// How long it waits before it begins anew.
const BEFORE_RESTART: Duration = Duration::from_millis(500);
/// The same when one life after the other panics.
const BEFORE_RESTART_MAX: Duration = Duration::from_secs(30);
/// How long nothing may be made of what is there until a standby takes over, and up to twice that: two on standby do not
/// take over at once.
const PATIENCE_MIN: Duration = Duration::from_secs(5);
/// The same when taking over has not helped before.
const PATIENCE_MAX: Duration = Duration::from_secs(300);
/// After so long, a life or a takeover has helped.
const HELD: Duration = Duration::from_secs(600);
/// How long the listener of Kafka's clients may take to stop.
const STOP_INTAKE_MAX: Duration = Duration::from_secs(2);

/// How long the last entries of the audit journal, and its last head, may take.
const LAST_ENTRIES_MAX: Duration = Duration::from_secs(2);

/// How long the receiver of telemetry is waited for when the process leaves.
const LAST_TELEMETRY_MAX: Duration = Duration::from_secs(2);

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stop,
    LeaseLost,
    Takeover,
    Restart,
    Erase,
}

/// What a life that has begun is announced with.
#[derive(Clone, Copy, Debug)]
pub struct Started {
    /// What it does.
    pub role: Role,
    /// Where it listens for Kafka clients.
    pub kafka: Option<SocketAddr>,
    /// Where it answers HTTP.
    pub http: SocketAddr,
    /// Where it speaks PostgreSQL's protocol.
    pub postgres: Option<SocketAddr>,
    /// Where it speaks Arrow Flight SQL.
    pub flight: Option<SocketAddr>,
    /// How long it took to begin.
    pub took: Duration,
}

/// A process and what it keeps over its lives.
#[derive(Debug)]
pub struct Process {
    setup: Setup,
    role: Role,
    shutdown: Arc<Shutdown>,
    platform: Arc<Platform>,
    lives: u64,
    patience: Duration,
    /// When it last took over from another.
    took_over: Option<Instant>,
    before_restart: Duration,
    /// Who comes in by Kafka's protocol, where that is asked.
    doors: Option<KafkaDoors>,
    /// What that protocol is spoken under.
    kafka_tls: Option<KafkaTls>,
}

impl Process {
    /// A process that has not begun.
    #[must_use]
    pub fn new(setup: Setup, role: Role, shutdown: Arc<Shutdown>) -> Self {
        let platform = Platform::new(&setup, role);
        let (lives, patience, before_restart) = (0, PATIENCE_MIN, BEFORE_RESTART);
        let (doors, kafka_tls) = (None, None);
        Self { setup, role, shutdown, platform, lives, patience, took_over: None, before_restart, doors, kafka_tls }
    }

    /// Serves HTTP, and lives until a signal says stop. Each life that has begun is announced.
    ///
    /// # Errors
    /// When an address is taken, or a life cannot be opened.
    pub async fn run(
        mut self,
        events: EventReader,
        mut announce: impl FnMut(&Started) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let http = listen(self.setup.config.http.listen, "http.listen", "--http").await?;
        let address = http.local_addr()?;
        // Queries have workers of their own: the kernel then shares the cores between them and what arrives.
        let queries = Cpu::new().context("the threads for queries could not be started")?;
        let watching = self.watching()?;
        let metrics = Arc::clone(&watching.metrics);
        let (telemetry, lineage) = (Arc::clone(&watching.telemetry), Arc::clone(&watching.lineage));
        let (app, alerts) = http_app(&self.setup, &self.platform, &queries, events, (address, watching))?;
        self.doors = KafkaDoors::of(&app.names, &app.sessions, &self.setup.checked.project.contracts);
        let _known = self.setup.outside.issuers.set(app.names.issuers());
        let issuers = tokio::spawn(Arc::clone(&app.names).look_after_issuers());
        let close = Arc::new(Shutdown::new());
        let mut stop = close.watch();
        let sending = Sending::start(&self.setup, &self.platform, &metrics, close.watch())?;
        let exporter = self.exporter();
        let exporting = tokio::spawn(export(exporter.clone(), self.setup.audit.clone()));
        let alerting = tokio::spawn(alerts.clone().run_forever());
        let sampling = tokio::spawn(sample_forever(Arc::clone(&self.platform), Arc::clone(&app.metrics)));
        let certificate = tls_of(&self.setup, &self.setup.config.http.tls, ("http.tls", &["http/1.1"]))?;
        self.kafka_tls = tls_of(&self.setup, &self.setup.config.kafka.tls, ("kafka.tls", &[]))?
            .map(|certificate| KafkaTls { certificate, doors: self.doors.clone() });
        let surfaces = Surfaces::open(&self.setup.config, &app, certificate.as_ref()).await?;
        let (postgres, flight) = (surfaces.postgres_address, surfaces.flight_address);
        let mut end_asking = close.watch();
        let asking = tokio::spawn(surfaces.serve(async move {
            end_asking.wait_for(Stage::Close).await;
        }));
        let serving = tokio::spawn(http::serve_under(http, app, certificate, async move {
            stop.wait_for(Stage::Close).await;
        }));
        loop {
            let began = Instant::now();
            let end = self.live((address, postgres, flight), &mut announce).await?;
            match end {
                End::Stop => break,
                End::LeaseLost => self.stand_by(),
                End::Takeover => self.take_over(),
                End::Restart | End::Erase => {}
            }
            if !matches!(end, End::Takeover | End::Erase) {
                self.pause(began).await;
            }
        }
        close.begin(Stage::Close);
        if let Some(sending) = sending {
            sending.ended().await;
        }
        exporting.abort();
        issuers.abort();
        sampling.abort();
        alerts.finish().await;
        alerting.abort();
        let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), asking).await;
        self.setup.audit.close(LAST_ENTRIES_MAX).await;
        if let Some(exporter) = &exporter {
            exporter.last(&self.setup.audit, LAST_ENTRIES_MAX).await;
        }
        if let Some(lineage) = lineage.lock().take() {
            lineage.stop(LAST_TELEMETRY_MAX);
        }
        if let Some(telemetry) = telemetry.lock().take() {
            telemetry.stop(LAST_TELEMETRY_MAX);
        }
        Ok(())
    }

    /// What keeps the heads of the audit journal elsewhere, where that is asked for.
    fn exporter(&self) -> Option<Exporter> {
        let (audit, root) = (&self.setup.config.audit, &self.setup.checked.project.root);
        let destination = match (audit.export_url(), audit.export_folder()) {
            (Some(url), _) => Destination::Url(url.to_owned()),
            (None, folder) => Destination::Folder(root.join(folder?)),
        };
        Some(Exporter::new(destination, Arc::clone(&self.setup.disk)))
    }

    /// The process's numbers, and what sends them and the rest to a receiver, where one is named.
    fn watching(&self) -> anyhow::Result<Watching> {
        let (config, metrics) = (&self.setup.config, Arc::new(Metrics::new()));
        let models = self.setup.checked.models.iter().map(|model| {
            let inputs = model.tables.iter().map(|input| input.table.clone());
            (model.dataset.to_string(), inputs.collect())
        });
        let who = Who {
            project: config.name.clone(),
            role: self.role.as_str().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            models: models.collect(),
            following: self.setup.events.following().clone(),
        };
        let tokens = config
            .telemetry
            .azure_identity
            .then(|| monitor::tokens("telemetry.azure_identity", &config.azure.monitor.audience, &self.setup.clock));
        let telemetry = Telemetry::start(&config.telemetry, &who, tokens.transpose()?, &metrics)?;
        let told = (config.name.as_str(), lineage::told(&self.setup));
        let lineage = OpenLineage::start(&config.lineage, told, self.setup.clock.clone(), &metrics)?;
        Ok(Watching { metrics, telemetry: Arc::new(Mutex::new(telemetry)), lineage: Arc::new(Mutex::new(lineage)) })
    }

    /// One life, from its opening to its end.
    async fn live(
        &mut self,
        (http, postgres, flight): (SocketAddr, Option<SocketAddr>, Option<SocketAddr>),
        announce: &mut impl FnMut(&Started) -> anyhow::Result<()>,
    ) -> anyhow::Result<End> {
        let started = Instant::now();
        let mut stop = self.shutdown.watch();
        let (mut lives, asked) = (self.lives, self.platform.erasures().until_now());
        tokio::select! {
            () = Box::pin(erase::carry_out_due(&self.setup, self.role, &mut lives)) => {}
            () = stop.wait() => return Ok(End::Stop),
        }
        self.lives = lives;
        self.platform.erasures().carried_out(asked);
        let kafka_place = self.kafka_place().await?;
        self.lives += 1;
        let life = tokio::select! {
            opened = Life::open(&self.setup, self.role, self.lives) => opened?,
            () = stop.wait() => return Ok(End::Stop),
        };
        drop(kafka_place);
        let kafka = self.kafka(&life).await?;
        let address = kafka.as_ref().map(KafkaServer::local_addr);
        self.platform.begin(&life);
        let begun = tokio::select! {
            begun = life.start() => begun,
            () = stop.wait() => {
                self.platform.leave();
                life.end().await;
                return Ok(End::Stop);
            }
        };
        begun?;
        let intake = Arc::new(Shutdown::new());
        let mut intake_stop = intake.watch();
        let accepting = kafka.map(|kafka| tokio::spawn(kafka.run(async move { intake_stop.wait().await })));
        announce(&Started { role: self.role, kafka: address, http, postgres, flight, took: started.elapsed() })?;
        let end = tokio::select! {
            () = stop.wait() => End::Stop,
            () = life.lease_lost() => End::LeaseLost,
            () = life.must_restart() => End::Restart,
            () = self.platform.erasures().asked() => End::Erase,
            silent = life.leader_silent(self.patience), if self.role == Role::Spare => {
                silent?;
                End::Takeover
            }
        };
        intake.begin(Stage::StopIntake);
        if let Some(accepting) = accepting {
            let _ = tokio::time::timeout(STOP_INTAKE_MAX, accepting).await;
        }
        if end == End::Stop {
            tracing::info!("stopping: no new records are taken, what was taken is committed");
            life.close().await;
            self.platform.leave();
        } else if end == End::Erase {
            tracing::info!("everything is committed, and everything stands still while a person is erased");
            self.platform.leave();
            life.close().await;
        } else {
            self.platform.leave();
            life.end().await;
        }
        Ok(end)
    }

    /// Holds the Kafka address while tables are opened: both addresses are known to be free before anything changes.
    async fn kafka_place(&self) -> anyhow::Result<Option<TcpListener>> {
        let config = &self.setup.config;
        if config.kafka.bootstrap.is_some() || self.role != Role::All {
            return Ok(None);
        }
        Ok(Some(listen(config.kafka.listen, "kafka.listen", "--kafka").await?))
    }

    async fn kafka(&self, life: &Life) -> anyhow::Result<Option<KafkaServer>> {
        let Some(log) = life.log() else { return Ok(None) };
        let address = self.setup.config.kafka.listen;
        let doors = self.doors.clone().map(|doors| Arc::new(doors) as _);
        let tls = self.kafka_tls.clone().map(|tls| Arc::new(tls) as _);
        let options = KafkaOptions { events: self.setup.events.clone(), doors, tls, ..KafkaOptions::default() };
        let server = KafkaServer::bind(address, Arc::clone(log), options).await;
        Ok(Some(server.with_context(|| taken(address, "kafka.listen", "--kafka"))?))
    }

    /// What another process took over is in the tables. Models have one process at a time: this one stands by.
    fn stand_by(&mut self) {
        if self.role != Role::Process {
            return;
        }
        let undone = self.took_over.is_some_and(|at| at.elapsed() < HELD);
        let patience = if undone { (self.patience * 2).min(PATIENCE_MAX) } else { PATIENCE_MIN };
        let noise = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
        self.patience = patience + patience.mul_f64(f64::from(noise % 1000) / 1000.0);
        self.role = Role::Spare;
        tracing::warn!(
            seconds = self.patience.as_secs(),
            "another process runs the models: this one stands by, and takes over when nothing was made for so long"
        );
    }

    fn take_over(&mut self) {
        tracing::warn!("nobody makes what there is to be made: this process runs the models now");
        (self.role, self.took_over) = (Role::Process, Some(Instant::now()));
    }

    /// Waits before the next life, longer where one after the other does not last; a signal ends the wait.
    async fn pause(&mut self, began: Instant) {
        let lasted = began.elapsed() >= self.before_restart * 4;
        self.before_restart = if lasted { BEFORE_RESTART } else { (self.before_restart * 2).min(BEFORE_RESTART_MAX) };
        let mut stop = self.shutdown.watch();
        let _ = tokio::time::timeout(self.before_restart, stop.wait()).await;
    }
}

/// What becomes of the process's numbers and events beside their rows.
#[derive(Clone, Debug, Default)]
pub struct Watching {
    /// The numbers.
    pub metrics: Arc<Metrics>,
    /// What sends them on.
    pub telemetry: Arc<Mutex<Option<Telemetry>>>,
    /// What tells a catalogue where datasets come from.
    pub lineage: Arc<Mutex<Option<OpenLineage>>>,
}

/// The HTTP server's parts over a platform, and its alerts; its queries run on `queries`, and events become metrics, rows
/// and spans. `http` is where people reach it.
///
/// # Errors
/// When the query engine's memory cannot be set up.
pub fn http_app(
    setup: &Setup,
    platform: &Arc<Platform>,
    queries: &Cpu,
    mut events: EventReader,
    (http, watching): (SocketAddr, Watching),
) -> anyhow::Result<(App, AlertDesk)> {
    let _known = setup.http.set(http);
    let engine = Arc::new(QueryEngine::new(QueryLimits::default(), queries.handle().clone())?);
    let Watching { metrics, telemetry, lineage } = watching;
    let sessions = Sessions::new(engine, Arc::clone(platform) as _, Arc::new(DruidSql), platform.events().clone());
    let settings = setup.config.access.resolved(&process_environment())?;
    let sessions = sessions.with_access(access_of(&setup.checked, &settings)?).with_ledger(ledger(setup));
    let runbooks = Arc::new(platform.runbooks(sessions.clone()));
    let alerts = AlertDesk::new(setup, platform, sessions.clone(), Arc::clone(&runbooks) as _, http);
    let console = ConsoleDesk::new(setup, platform, alerts.clone());
    let (counted, recorder, alerted) = (Arc::clone(&metrics), platform.recorder().clone(), alerts.clone());
    let shown = Arc::clone(&console);
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            counted.record(&event);
            recorder.record(&event);
            alerted.note(&event);
            shown.note(&event);
            if let Some(telemetry) = &mut *telemetry.lock() {
                telemetry.take(&event);
            }
            if let Some(lineage) = &mut *lineage.lock() {
                lineage.take(&event);
            }
        }
    });
    let app = App {
        sessions,
        runbooks,
        console: Console::new(console, setup.clock.clone()),
        gates: Arc::clone(platform) as _,
        publishing: Arc::clone(platform) as _,
        quarantine: Arc::new(QuarantineDesk::new(Arc::clone(platform))),
        alerts: Arc::new(alerts.clone()),
        status: Arc::clone(platform) as _,
        deliveries: Arc::clone(platform) as _,
        ingest: Arc::clone(platform) as _,
        flush: Arc::clone(platform) as _,
        feeds: Arc::clone(platform) as _,
        erasures: Arc::new(EraseDesk::new(setup, platform)),
        metrics,
        names: Arc::new(Names::new(&settings, setup.clock.clone())?),
        limits: HttpLimits { behind_proxy: setup.config.http.behind_proxy, ..HttpLimits::default() },
    };
    Ok((app, alerts))
}

/// Where accesses over HTTP are written down; of what clients write only names of the project's and our own stay.
fn ledger(setup: &Setup) -> Ledger {
    let ours = OpsTable::ALL.into_iter().filter_map(OpsTable::contract).map(Arc::new);
    let contracts = setup.checked.project.contracts.iter().cloned().chain(ours);
    let names = contracts.flat_map(|contract| {
        let columns = contract.table_schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let dataset = contract.dataset.to_string();
        columns.into_iter().chain([format!("{dataset}_live"), dataset])
    });
    let schemas = ["raw", "curated", "serving", "quarantine", "ops", "druid", "sys", "information_schema", "__time"];
    let vocabulary = Vocabulary::new(names.chain(schemas.map(ToOwned::to_owned)));
    Ledger::new(setup.audit.clone(), Surface::Http, vocabulary)
}

async fn export(exporter: Option<Exporter>, audit: Audit) {
    if let Some(exporter) = exporter {
        exporter.run(audit).await;
    }
}

/// What an endpoint is served under; a relative path is one in the project's folder.
fn tls_of(
    setup: &Setup,
    tls: &Tls,
    (key, speaks): (&str, &'static [&'static str]),
) -> anyhow::Result<Option<Arc<Certificate>>> {
    let root = &setup.checked.project.root;
    let Some((certificate, private)) = tls.certificate.as_ref().zip(tls.key.as_ref()) else { return Ok(None) };
    let files = TlsFiles {
        certificate: root.join(certificate),
        key: root.join(private),
        client_authority: tls.client_authority.as_ref().map(|path| root.join(path)),
        client_required: tls.client_required,
    };
    let help = format!("give PEM files of a certificate and its key as {key}.certificate and {key}.key");
    let failed = |error: TlsError| Failure::input(format!("{key}: {error}"), help);
    Ok(Some(Arc::new(Certificate::load(files, speaks).map_err(failed)?)))
}

pub(super) async fn listen(address: SocketAddr, key: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| taken(address, key, flag))
}

fn taken(address: SocketAddr, key: &str, flag: &str) -> String {
    format!("{address} cannot be listened on; end what uses it, or choose another with {key} or {flag}")
}
