//! `vitalake up`: starts the platform on a project directory and stays until it is told to stop.
//!
//! Invariant: on SIGTERM or Ctrl-C intake stops first, then what was taken is committed, then the process leaves.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::net::TcpListener;
use vitalake_contract::diagnostic::has_errors;
use vitalake_ingest::kafka::{KafkaOptions, KafkaServer};
use vitalake_ops::metrics::Metrics;
use vitalake_runtime::config::{Config, Overrides};
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::shutdown::{Shutdown, Stage};
use vitalake_runtime::telemetry;
use vitalake_serve::engine::{Engine, Limits};
use vitalake_serve::http::{self, App, HttpLimits};

use crate::cli::UpArgs;
use crate::command::validate;
use crate::failure::Failure;
use crate::output::{self, Style};
use crate::platform::{Api, Platform, sample_forever};
use crate::simulate;

/// Starts everything and runs until a signal says stop.
///
/// # Errors
/// When the project is not valid, an address or the data folder is taken, or storage cannot be reached.
pub async fn run(args: UpArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    telemetry::start().map_err(anyhow::Error::msg)?;
    let overrides = Overrides { data: args.data, kafka: args.kafka, http: args.http };
    let checked = validate::check(&args.dir, &overrides);
    if has_errors(&checked.diagnostics) {
        let findings = validate::in_words(&checked.diagnostics, Style::stderr());
        return Err(Failure::input(
            format!("the project at {} is not valid\n{findings}", args.dir.display()),
            "mend what is listed; `vitalake validate` checks it again",
        )
        .into());
    }
    let config = checked.configuration(&overrides)?;
    let shutdown = Arc::new(Shutdown::new());
    let signals = Arc::clone(&shutdown);
    tokio::spawn(async move { signals.signal_on_termination().await });
    let http = listen(config.http.listen, "http.listen", "--http").await?;
    // Both addresses are known to be free before anything is changed on disk.
    let kafka_place = listen(config.kafka.listen, "kafka.listen", "--kafka").await?;
    let platform = Platform::open(&checked, &config).await?;
    drop(kafka_place);
    let kafka = KafkaServer::bind(config.kafka.listen, Arc::clone(&platform.log), KafkaOptions::default())
        .await
        .with_context(|| taken(config.kafka.listen, "kafka.listen", "--kafka"))?;
    let kafka_address = kafka.local_addr();
    let http_address = http.local_addr()?;
    // Queries have workers of their own: the kernel then shares the cores between them and what arrives.
    let queries = Cpu::new().context("the threads for queries could not be started")?;
    let app = server(&platform, &queries)?;
    tokio::spawn(sample_forever(Arc::clone(&platform), Arc::clone(&app.metrics)));
    let mut http_stop = shutdown.watch();
    let serving =
        tokio::spawn(
            async move { http::serve(http, app, async move { http_stop.wait_for(Stage::Close).await }).await },
        );
    platform.start().await?;
    let mut kafka_stop = shutdown.watch();
    let accepting = tokio::spawn(kafka.run(async move { kafka_stop.wait().await }));
    announce(&config, kafka_address, http_address, started.elapsed())?;
    if let Some(wearers) = args.simulate {
        simulated(kafka_address, wearers, &shutdown);
    }
    shutdown.watch().wait().await;
    tracing::info!("stopping: no new records are taken, what was taken is committed");
    let _ = tokio::time::timeout(Duration::from_secs(2), accepting).await;
    platform.close().await;
    shutdown.begin(Stage::Close);
    let _ = tokio::time::timeout(Duration::from_secs(1), serving).await;
    tracing::info!("stopped");
    Ok(())
}

/// The HTTP server's parts over a platform; its queries run on `queries`.
///
/// # Errors
/// When the query engine's memory cannot be set up.
pub fn server(platform: &Arc<Platform>, queries: &Cpu) -> anyhow::Result<App> {
    let engine = Engine::over(&platform.lake, Limits::default(), queries.handle().clone())?;
    Ok(App {
        engine: Arc::new(engine),
        platform: Arc::new(Api(Arc::clone(platform))),
        metrics: Arc::new(Metrics::new()),
        limits: HttpLimits::default(),
    })
}

async fn listen(address: SocketAddr, key: &str, flag: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| taken(address, key, flag))
}

fn taken(address: SocketAddr, key: &str, flag: &str) -> String {
    format!("{address} cannot be listened on; end what uses it, or choose another with {key} or {flag}")
}

fn announce(config: &Config, kafka: SocketAddr, http: SocketAddr, took: Duration) -> anyhow::Result<()> {
    let mut out = output::stdout();
    writeln!(out, "{} is up ({} ms)", config.name, took.as_millis())?;
    writeln!(out, "  Kafka   {kafka}")?;
    writeln!(out, "  SQL     http://{http}/druid/v2/sql")?;
    writeln!(out, "  status  http://{http}/api/v1/status")?;
    writeln!(out, "  data    {}", config.data.display())?;
    out.flush()?;
    Ok(())
}

fn simulated(kafka: SocketAddr, wearers: u32, shutdown: &Arc<Shutdown>) {
    let mut stop = shutdown.watch();
    tokio::spawn(async move {
        let options = simulate::Options::new(&kafka.to_string(), wearers);
        let mut stop_run = stop.clone();
        tokio::select! {
            () = stop.wait() => {}
            ended = simulate::run(&options, async move { stop_run.wait().await }, |_| {}) => if let Err(error) = ended {
                tracing::warn!(error = &error as &dyn std::error::Error, "the simulated wearers have stopped");
            },
        }
    });
}
