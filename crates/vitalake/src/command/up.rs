//! `vitalake up`: starts the platform on a project directory and stays until it is told to stop.
//!
//! Invariant: on SIGTERM or Ctrl-C intake stops first, then what was taken is committed, then the process leaves.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use tokio::net::TcpListener;
use vitalake_contract::diagnostic::has_errors;
use vitalake_ingest::kafka::{KafkaOptions, KafkaServer};
use vitalake_ops::metrics::Metrics;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::{Config, Overrides, masked_url};
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::events::Events;
use vitalake_runtime::lock::FolderLock;
use vitalake_runtime::shutdown::{Shutdown, Stage};
use vitalake_runtime::telemetry;
use vitalake_serve::druid::dialect::DruidSql;
use vitalake_serve::engine::{QueryEngine, QueryLimits};
use vitalake_serve::http::{self, App, HttpLimits};
use vitalake_serve::session::Sessions;

use crate::cli::UpArgs;
use crate::command::starting;
use crate::command::validate::{self, Checked};
use crate::failure::Failure;
use crate::output::{self, Style};
use crate::platform::{self, Api, Outside, Platform, Role, sample_forever};
use crate::simulate;

/// How long a process that has lost its work waits before it begins anew.
const BEFORE_ANEW: Duration = Duration::from_millis(500);
/// How long nothing may be made of what is there until a process that stands by takes over, and up to twice that: two
/// that stand by do not take over at once.
const PATIENCE_MIN: Duration = Duration::from_secs(5);
/// The same when taking over has not helped before.
const PATIENCE_MAX: Duration = Duration::from_secs(300);
/// After so long, taking over has helped.
const HELD: Duration = Duration::from_secs(600);

/// Starts everything and runs until a signal says stop.
///
/// # Errors
/// When the project is not valid, an address or the data folder is taken, or storage cannot be reached.
pub async fn run(args: UpArgs) -> anyhow::Result<()> {
    let mut started = Instant::now();
    telemetry::start().map_err(anyhow::Error::msg)?;
    let overrides = Overrides { data: args.data, kafka: args.kafka, http: args.http };
    let checked = validate::check(&args.dir, &overrides);
    if let [only] = checked.diagnostics.as_slice()
        && only.code == "no-config"
    {
        return Err(Failure::input(&only.message, only.help.clone().unwrap_or_default()).into());
    }
    if has_errors(&checked.diagnostics) {
        let findings = validate::in_words(&checked.diagnostics, Style::stderr());
        return Err(Failure::input(
            format!("the project at {} is not valid\n{findings}", args.dir.display()),
            "mend what is listed; `vitalake validate` checks it again",
        )
        .into());
    }
    let config = checked.configuration(&overrides)?;
    check_role(args.role, args.simulate, &config)?;
    let shutdown = Arc::new(Shutdown::new());
    let signals = Arc::clone(&shutdown);
    tokio::spawn(async move { signals.signal_on_termination().await });
    let lock = Arc::new(FolderLock::take(&config.data)?);
    let (role, simulate, outside) = (args.role, args.simulate, Outside::new(&Clock::system()));
    let mut process =
        Process { checked, config, role, simulate, lock, shutdown, outside, patience: PATIENCE_MIN, took_over: None };
    loop {
        match process.live(started).await? {
            End::Stopped => break,
            End::Lost => process.give_way().await,
            End::LeftAlone => process.take_over(),
        }
        started = Instant::now();
    }
    tracing::info!("stopped");
    Ok(())
}

/// Refuses a role that the configuration leaves without work.
fn check_role(role: Role, simulate: Option<u32>, config: &Config) -> anyhow::Result<()> {
    if role == Role::All {
        return Ok(());
    }
    if role == Role::Ingest && config.kafka.bootstrap.is_none() {
        return Err(Failure::input(
            "the role ingest needs kafka.bootstrap: the embedded log has one owner, a process with the role all",
            "set kafka.bootstrap, or start without --role (docs/operations.md)",
        )
        .into());
    }
    if config.storage.url.is_none() {
        return Err(Failure::input(
            format!("the role {} needs storage.url: processes meet in a lake that all of them reach", role.as_str()),
            "set storage.url to a folder or a container that the others have too (docs/operations.md)",
        )
        .into());
    }
    if simulate.is_some() {
        return Err(Failure::input(
            "--simulate goes with the role all",
            "send events with `vitalake simulate --kafka ADDR` in a process of its own",
        )
        .into());
    }
    Ok(())
}

/// How a life of the platform ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// By a signal: everything is committed.
    Stopped,
    /// Another process has taken over what this one did, or its source has changed: the next life begins at the tables.
    Lost,
    /// It stood by, and nobody runs the models any longer.
    LeftAlone,
}

/// What stays the same over the lives of the platform in this process.
struct Process {
    checked: Checked,
    config: Config,
    role: Role,
    simulate: Option<u32>,
    lock: Arc<FolderLock>,
    shutdown: Arc<Shutdown>,
    /// What was seen of the outside goes on from life to life.
    outside: Outside,
    /// How long it stands by while nothing is made.
    patience: Duration,
    /// When it last took over from another.
    took_over: Option<Instant>,
}

impl Process {
    /// What another process took over is in the tables. Models have one process at a time: this one stands by. Patience
    /// grows where taking over was undone, so that two slow processes do not undo each other's work for ever.
    async fn give_way(&mut self) {
        self.simulate = None;
        if self.role == Role::Process {
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
        tokio::time::sleep(BEFORE_ANEW).await;
    }

    fn take_over(&mut self) {
        tracing::warn!("nobody makes what there is to be made: this process runs the models now");
        (self.role, self.took_over) = (Role::Process, Some(Instant::now()));
    }

    async fn live(&self, started: Instant) -> anyhow::Result<End> {
        let (config, shutdown) = (&self.config, &self.shutdown);
        let http = listen(config.http.listen, "http.listen", "--http").await?;
        let embedded = config.kafka.bootstrap.is_none() && self.role == Role::All;
        // Both addresses are known to be free before anything is changed on disk.
        let kafka_place = match embedded {
            true => Some(listen(config.kafka.listen, "kafka.listen", "--kafka").await?),
            false => None,
        };
        let mut stop = shutdown.watch();
        let outside = self.outside.clone();
        let limits = platform::Limits { role: self.role, outside, ..platform::Limits::default() };
        let platform = tokio::select! {
            opened = Platform::open(&self.checked, config, &limits, Arc::clone(&self.lock)) => opened?,
            () = stop.wait() => return Ok(End::Stopped),
            () = starting::answer(&http, self.role, &limits.outside) => return Ok(End::Stopped),
        };
        drop(kafka_place);
        let kafka = match platform.log() {
            None => None,
            Some(log) => Some(
                KafkaServer::bind(config.kafka.listen, Arc::clone(log), KafkaOptions::default())
                    .await
                    .with_context(|| taken(config.kafka.listen, "kafka.listen", "--kafka"))?,
            ),
        };
        let kafka_address = kafka.as_ref().map(KafkaServer::local_addr);
        let http_address = http.local_addr()?;
        // Queries have workers of their own: the kernel then shares the cores between them and what arrives.
        let queries = Cpu::new().context("the threads for queries could not be started")?;
        let app = server(&platform, &queries)?;
        let sampling = tokio::spawn(sample_forever(Arc::clone(&platform), Arc::clone(&app.metrics)));
        let close = Arc::new(Shutdown::new());
        let mut http_stop = close.watch();
        let serving =
            tokio::spawn(
                async move { http::serve(http, app, async move { http_stop.wait_for(Stage::Close).await }).await },
            );
        tokio::select! {
            started = platform.start() => started?,
            () = stop.wait() => {
                platform.end().await;
                return Ok(End::Stopped);
            }
        }
        let mut kafka_stop = close.watch();
        let accepting = kafka.map(|kafka| tokio::spawn(kafka.run(async move { kafka_stop.wait().await })));
        announce(config, self.role, kafka_address, http_address, started.elapsed())?;
        if let Some(wearers) = self.simulate {
            let address = kafka_address.map(|address| address.to_string()).or(config.kafka.bootstrap.clone());
            simulated(&address.unwrap_or_default(), wearers, shutdown);
        }
        let end = tokio::select! {
            () = stop.wait() => End::Stopped,
            () = platform.lost() => End::Lost,
            alone = platform.left_alone(self.patience), if self.role == Role::Spare => {
                alone?;
                End::LeftAlone
            }
        };
        close.begin(Stage::StopIntake);
        if let Some(accepting) = accepting {
            let _ = tokio::time::timeout(Duration::from_secs(2), accepting).await;
        }
        match end {
            End::Stopped => {
                tracing::info!("stopping: no new records are taken, what was taken is committed");
                platform.close().await;
            }
            End::Lost | End::LeftAlone => platform.end().await,
        }
        close.begin(Stage::Close);
        sampling.abort();
        let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
        Ok(end)
    }
}

/// The HTTP server's parts over a platform; its queries run on `queries`.
///
/// # Errors
/// When the query engine's memory cannot be set up.
pub fn server(platform: &Arc<Platform>, queries: &Cpu) -> anyhow::Result<App> {
    let engine = Arc::new(QueryEngine::new(QueryLimits::default(), queries.handle().clone())?);
    let (api, metrics) = (Arc::new(Api(Arc::clone(platform))), Arc::new(Metrics::new()));
    let (events, mut reader) = Events::channel();
    let recorded = Arc::clone(&metrics);
    tokio::spawn(async move {
        while let Some(event) = reader.recv().await {
            recorded.record(&event);
        }
    });
    Ok(App {
        sessions: Sessions::new(engine, Arc::clone(&api) as _, Arc::new(DruidSql), events),
        status: Arc::clone(&api) as _,
        deliveries: Arc::clone(&api) as _,
        flush: api,
        metrics,
        limits: HttpLimits::default(),
    })
}

async fn listen(address: SocketAddr, key: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| taken(address, key, flag))
}

fn taken(address: SocketAddr, key: &str, flag: &str) -> String {
    format!("{address} cannot be listened on; end what uses it, or choose another with {key} or {flag}")
}

fn announce(
    config: &Config,
    role: Role,
    kafka: Option<SocketAddr>,
    http: SocketAddr,
    took: Duration,
) -> anyhow::Result<()> {
    let mut out = output::stdout();
    let part = if role == Role::All { String::new() } else { format!(", role {}", role.as_str()) };
    writeln!(out, "{} is up{part} ({} ms)", config.name, took.as_millis())?;
    match (kafka, &config.kafka.bootstrap) {
        (Some(listening), _) => writeln!(out, "  Kafka   {listening}")?,
        (None, Some(bootstrap)) if role.takes_records() => writeln!(out, "  Kafka   {bootstrap}, read from")?,
        (None, _) => {}
    }
    writeln!(out, "  SQL     http://{http}/druid/v2/sql")?;
    writeln!(out, "  status  http://{http}/api/v1/status")?;
    if let Some(url) = &config.storage.url {
        writeln!(out, "  lake    {}", masked_url(url))?;
    }
    writeln!(out, "  data    {}", config.data.display())?;
    out.flush()?;
    Ok(())
}

fn simulated(kafka: &str, wearers: u32, shutdown: &Arc<Shutdown>) {
    let (mut stop, kafka) = (shutdown.watch(), kafka.to_owned());
    tokio::spawn(async move {
        let options = simulate::Options::new(&kafka, wearers);
        let mut stop_run = stop.clone();
        tokio::select! {
            () = stop.wait() => {}
            ended = simulate::run(&options, async move { stop_run.wait().await }, |_| {}) => if let Err(error) = ended {
                tracing::warn!(error = &error as &dyn std::error::Error, "the simulated wearers have stopped");
            },
        }
    });
}
