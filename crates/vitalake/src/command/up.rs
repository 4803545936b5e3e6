//! `vitalake up`: starts the platform on a project directory and stays until it is told to stop.
//!
//! Invariant: on SIGTERM or Ctrl-C intake stops first, then what was taken is committed, then the process leaves.

use std::io::Write as _;
use std::sync::Arc;

use vitalake_contract::Source;
use vitalake_contract::diagnostic::has_errors;
use vitalake_runtime::config::{Config, Overrides, masked_url, notify, process_environment};
use vitalake_runtime::events::Events;
use vitalake_runtime::lock::FolderLock;
use vitalake_runtime::shutdown::Shutdown;
use vitalake_runtime::telemetry;

use crate::cli::UpArgs;
use crate::command::{example, validate};
use crate::failure::Failure;
use crate::output::{self, Style};
use crate::platform::{Process, Role, Setup, Started, app_service};
use crate::simulate;

/// Starts everything and runs until a signal says stop.
///
/// # Errors
/// When the project is not valid, an address or the data folder is taken, or storage cannot be reached.
pub async fn run(args: UpArgs) -> anyhow::Result<()> {
    telemetry::start().map_err(anyhow::Error::msg)?;
    let overrides = Overrides { data: args.data, kafka: args.kafka, http: args.http };
    let dir = if args.example { example::prepare(&args.dir)? } else { args.dir };
    let checked = validate::check(&dir, &overrides);
    if let [only] = checked.diagnostics.as_slice()
        && only.code == "no-config"
    {
        return Err(Failure::input(&only.message, only.help.clone().unwrap_or_default()).into());
    }
    if validate::keeps_from_starting(&checked.diagnostics) {
        let findings = validate::in_words(&checked.diagnostics, Style::stderr());
        return Err(Failure::input(
            format!("the project at {} is not valid\n{findings}", dir.display()),
            "mend what is listed; `vitalake validate` checks it again",
        )
        .into());
    }
    if has_errors(&checked.diagnostics) {
        tracing::warn!("a dashboard has a mistake: its page in the console says where, as `vitalake validate` does");
    }
    let mut config = checked.configuration(&overrides)?;
    let has_topics =
        checked.project.contracts.iter().any(|contract| matches!(contract.source, Some(Source::Stream { .. })));
    check_role(args.role, args.simulate, has_topics, &config)?;
    app_service::check(&config, &process_environment())?;
    if matches!(args.role, Role::All | Role::Process) {
        config.notify = notify::resolve(&config.notify, &process_environment())?;
    } else {
        config.notify = notify::resolvable(&config.notify, &process_environment());
    }
    let shutdown = Arc::new(Shutdown::new());
    let signals = Arc::clone(&shutdown);
    tokio::spawn(async move { signals.signal_on_termination().await });
    let lock = Arc::new(FolderLock::take(&config.data)?);
    let (events, reader) = Events::channel();
    let setup = Setup::new(checked, config.clone(), lock, events)?;
    let process = Process::new(setup, args.role, Arc::clone(&shutdown));
    let mut simulate = args.simulate.or(args.example.then_some(example::WEARERS));
    process
        .run(reader, |started| {
            announce(&config, started)?;
            if let Some(wearers) = simulate.take() {
                let address = started.kafka.map(|address| address.to_string()).or(config.kafka.bootstrap.clone());
                let address = address.unwrap_or_default();
                match args.example {
                    true => example::feed(server_of(&config, started), address, wearers, &shutdown),
                    false => simulated(&address, wearers, &shutdown),
                }
            }
            Ok(())
        })
        .await?;
    tracing::info!("stopped");
    Ok(())
}

/// Refuses a role that the configuration leaves without work.
fn check_role(role: Role, simulate: Option<u32>, has_topics: bool, config: &Config) -> anyhow::Result<()> {
    if role == Role::All {
        return Ok(());
    }
    if role == Role::Ingest && has_topics && config.kafka.bootstrap.is_none() {
        return Err(Failure::input(
            "the role ingest needs kafka.bootstrap where contracts name topics: the embedded log has one owner, a process with \
             the role all",
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

fn announce(config: &Config, started: &Started) -> anyhow::Result<()> {
    let Started { role, kafka, http, postgres, flight, took } = *started;
    let mut out = output::stdout();
    let part = if role == Role::All { String::new() } else { format!(", role {}", role.as_str()) };
    writeln!(out, "{} is up{part} ({} ms)", config.name, took.as_millis())?;
    match (kafka, &config.kafka.bootstrap) {
        (Some(listening), _) => writeln!(out, "  Kafka   {listening}")?,
        (None, Some(bootstrap)) if role.takes_records() => writeln!(out, "  Kafka   {bootstrap}, read from")?,
        (None, _) => {}
    }
    let scheme = config.http.scheme();
    writeln!(out, "  page    {scheme}://{http}/")?;
    writeln!(out, "  SQL     {scheme}://{http}/druid/v2/sql")?;
    if let Some(postgres) = postgres {
        writeln!(out, "  psql    postgres://{postgres}/vitalake")?;
    }
    if let Some(flight) = flight {
        writeln!(out, "  Flight  grpc://{flight}")?;
    }
    writeln!(out, "  status  {scheme}://{http}/api/v1/status")?;
    if let Some(url) = &config.storage.url {
        writeln!(out, "  lake    {}", masked_url(url))?;
    }
    writeln!(out, "  data    {}", config.data.display())?;
    out.flush()?;
    Ok(())
}

fn server_of(config: &Config, started: &Started) -> String {
    format!("{}://{}", config.http.scheme(), started.http)
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
