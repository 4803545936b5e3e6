//! `vitalake simulate`: sends simulated events, with a line a second and a summary at the end.
//!
//! Invariant: the exit status is 0 only when everything that was sent was acknowledged.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;

use super::simulate_feed;
use crate::cli::SimulateArgs;
use crate::failure::Failure;
use crate::output;
use crate::simulate::events::Shares;
use crate::simulate::guide::Guide;
use crate::simulate::incident::Incident;
use crate::simulate::{self, Options, ProducerError, Summary};
use crate::table::thousands;

/// How long an incident lasts where nothing else is said.
const INCIDENT: Duration = Duration::from_secs(30);

/// Runs the simulation.
///
/// # Errors
/// When no broker answers or it refuses.
pub async fn run(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    let options = options(args)?;
    if args.dry_run {
        return print_events(&options);
    }
    if !args.json {
        eprintln!("{}", headline(&options));
    }
    if let Some(incident) = args.incident.filter(|incident| incident.is_of_a_feed()) {
        let (server, now) = (args.server.clone(), Utc::now());
        let said = tokio::task::spawn_blocking(move || simulate_feed::deliver(incident, server, now)).await??;
        eprint!("{said}");
    }
    let terminal = output::stderr_is_terminal() && !args.json;
    let mut before = Summary::default();
    let tell = |now: &Summary| {
        if terminal {
            eprint!("\r\x1b[K{}", progress(&before, now));
        }
        before = *now;
    };
    let ended = simulate::run(&options, interrupted(), tell).await;
    if terminal {
        eprintln!();
    }
    let summary = ended.map_err(explain)?;
    if args.json {
        output::json(&summary)?;
    } else {
        let mut out = output::stdout();
        writeln!(out, "{}", in_words(&summary))?;
        if let Some(incident) = args.incident {
            write!(out, "{}", told(incident))?;
        }
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn options(args: &SimulateArgs) -> anyhow::Result<Options> {
    let shares = match args.incident {
        // One thing goes wrong at a time.
        Some(_) => Shares { late: 0.0, duplicate: 0.0, malformed: 0.0 },
        None => Shares { late: args.late, duplicate: args.duplicate, malformed: args.malformed },
    };
    if shares.late + shares.duplicate + shares.malformed > 1.0 {
        return Err(
            Failure::usage("--late, --duplicate and --malformed add up to more than 1", "lower one of them").into()
        );
    }
    let rate = args.rate.unwrap_or_else(|| f64::from(args.wearers));
    if !rate.is_finite() || rate < 0.0 {
        return Err(Failure::usage("--rate is not a number of events a second", "give 0 or more, such as 500").into());
    }
    Ok(Options {
        kafka: args.kafka.clone(),
        wearers: args.wearers,
        rate,
        seed: args.seed,
        shares,
        history_minutes: args.history.saturating_mul(60),
        duration: args.duration.map(Duration::from_secs).or(args.incident.map(|_| INCIDENT)),
        count: args.count,
        start: args.start,
        incident: args.incident,
    })
}

/// What was done, what the platform makes of it, and where to look.
fn told(incident: Incident) -> String {
    let Guide { what, caught, alert, runbook, look } = incident.guide();
    let mut text = format!("\nWhat was sent: {what}.\nWhat comes of it: {caught}.\n");
    if !alert.is_empty() {
        text += &format!("The alert {alert} fires within a minute or so; its runbook is {runbook}. ");
    }
    text += "Look at it:\n";
    look.iter().for_each(|command| text += &format!("  {command}\n"));
    text
}

fn print_events(options: &Options) -> anyhow::Result<ExitCode> {
    let mut out = output::stdout();
    for event in simulate::dry_run(options, Utc::now()) {
        writeln!(out, "{}", event.value)?;
    }
    out.flush().context("the events could not be printed")?;
    Ok(ExitCode::SUCCESS)
}

fn headline(options: &Options) -> String {
    let rate = if options.rate > 0.0 {
        format!("{} events/s", options.rate)
    } else {
        "as many events as are taken".to_owned()
    };
    let history = match options.history_minutes {
        0 => String::new(),
        minutes => format!(", after {} h of history", minutes / 60),
    };
    format!("{} wearers to {}: {rate}{history}, seed {}; Ctrl-C stops", options.wearers, options.kafka, options.seed)
}

fn progress(before: &Summary, now: &Summary) -> String {
    let seconds = (now.seconds - before.seconds).max(0.001);
    #[expect(clippy::cast_precision_loss, reason = "a number for the eye")]
    let rate = (now.acknowledged - before.acknowledged) as f64 / seconds;
    format!(
        "{:>5.0} s  {} acknowledged ({rate:.0}/s), {} late, {} twice, {} malformed",
        now.seconds,
        thousands(now.acknowledged),
        thousands(now.late),
        thousands(now.duplicate),
        thousands(now.malformed)
    )
}

fn in_words(summary: &Summary) -> String {
    format!(
        "sent {} records in {:.1} s, {} acknowledged: {} of history, {} late, {} second copies, {} malformed",
        thousands(summary.sent),
        summary.seconds,
        thousands(summary.acknowledged),
        thousands(summary.history),
        thousands(summary.late),
        thousands(summary.duplicate),
        thousands(summary.malformed)
    )
}

fn explain(error: ProducerError) -> anyhow::Error {
    let help = match &error {
        ProducerError::Unreachable { .. } => {
            "start the platform with `vitalake up`, or name its Kafka address with --kafka"
        }
        ProducerError::NoTopic { .. } => {
            "start the platform on examples/remote-care, whose contracts name the topic, or make the topic on your broker"
        }
        ProducerError::TimedOut { .. } => "see what the broker's log says; nothing that was acknowledged is lost",
        ProducerError::Refused { .. } | ProducerError::Encode(_) => "see what the broker's log says",
    };
    let unreachable = matches!(error, ProducerError::Unreachable { .. });
    let message = error.to_string();
    let failure = if unreachable { Failure::unreachable(message, help) } else { Failure::input(message, help) };
    match std::error::Error::source(&error) {
        Some(source) => anyhow::anyhow!("{source}: {}", source.source().map(ToString::to_string).unwrap_or_default())
            .context(failure),
        None => failure.into(),
    }
}

/// Resolves on Ctrl-C or SIGTERM.
async fn interrupted() {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).ok();
    let terminated = async {
        match terminate.as_mut() {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! { _ = tokio::signal::ctrl_c() => {}, () = terminated => {} }
}
