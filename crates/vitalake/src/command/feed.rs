//! `vitalake feed`: where each feed stands, and a run now.
//!
//! Invariant: with --json standard output holds the API's own JSON and nothing else.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;
use vitalake_ops::feeds::{FeedDelivery, FeedReport, FeedRunReport};
use vitalake_ops::status::{DeliveryReport, DeliveryState};

use crate::cli::ConnectArgs;
use crate::client::{Answer, Client};
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table;

/// `vitalake feed`
#[derive(Debug, Args)]
pub struct FeedArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: FeedCommand,
}

/// What can be done with feeds.
#[derive(Debug, Subcommand)]
pub enum FeedCommand {
    /// Show where each feed stands: what came last, what is due, and what is not well
    List(FeedListArgs),
    /// Look for deliveries of a feed now, and take those that are complete
    Run(FeedRunArgs),
}

/// `vitalake feed list`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake feed list\n  vitalake feed list --json | jq '.[] | {feed, state}'")]
pub struct FeedListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake feed run`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake feed run patients\n  vitalake feed run patients --json\n\n\
                  Files that are not complete yet are waited for, up to two minutes. The status is 1 when a delivery was refused.")]
pub struct FeedRunArgs {
    /// The feed, as in its file's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Shows feeds, or runs one.
///
/// # Errors
/// When there is no such feed, its source cannot be read, or no server answers.
pub fn run(args: &FeedArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        FeedCommand::List(args) => {
            let client = Client::connect(&args.connect, Purpose::Look)?;
            list(&client.get::<Vec<FeedReport>>(&["feeds"], &[])?, args.json)
        }
        FeedCommand::Run(args) => {
            let client = Client::connect(&args.connect, Purpose::Deliver)?;
            let nothing = serde_json::json!({});
            ran(&client.post::<FeedRunReport>(&["feeds", &args.name, "run"], &nothing)?, args.json)
        }
    }
}

fn list(feeds: &[FeedReport], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(&feeds)?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = ["feed", "dataset", "runs", "state", "last_delivery_at", "last_date", "next_due_at"];
    let text = |value: &Option<String>| value.as_deref().map_or(Value::Null, Value::from);
    let row = |feed: &FeedReport| -> Vec<Value> {
        let said = [&feed.feed, &feed.dataset, &feed.runs, &feed.state].map(|value| Value::from(value.as_str()));
        let known = [&feed.last_delivery_at, &feed.last_date, &feed.next_due_at].map(text);
        said.into_iter().chain(known).collect()
    };
    let names = names.map(str::to_owned).to_vec();
    table::print(&Answer { names, types: Vec::new(), rows: feeds.iter().map(row).collect() })?;
    let (style, mut out) = (Style::stdout(), output::stdout());
    for feed in feeds {
        if let Some(message) = &feed.message {
            writeln!(out, "{}", style.yellow(&format!("{}: {message}", feed.feed)))?;
        }
        if feed.missed_runs > 0 {
            writeln!(out, "{}: {} runs fell into a stop and were made up for by one", feed.feed, feed.missed_runs)?;
        }
        for entry in &feed.not_read {
            writeln!(out, "{}", style.yellow(&format!("{}: {} is not read: {}", feed.feed, entry.name, entry.reason)))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn ran(run: &FeedRunReport, json: bool) -> anyhow::Result<ExitCode> {
    let refused = run.deliveries.iter().any(|delivery| delivery.error.is_some());
    let status = if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    if json {
        output::json(run)?;
        return Ok(status);
    }
    let (style, mut out) = (Style::stdout(), output::stdout());
    if run.deliveries.is_empty() {
        writeln!(out, "{}: nothing new", run.feed)?;
    }
    for delivery in &run.deliveries {
        writeln!(out, "{}", sentence(delivery, style))?;
    }
    if run.files_waiting > 0 {
        let files = table::counted(run.files_waiting, "file is", "files are");
        writeln!(out, "{files} not complete yet")?;
    }
    out.flush()?;
    Ok(status)
}

fn sentence(delivery: &FeedDelivery, style: Style) -> String {
    let name = &delivery.name;
    let number = |report: &DeliveryReport| report.delivery.map_or_else(String::new, |number| number.to_string());
    match (delivery.report.as_ref().map(|report| (report, report.state)), &delivery.error) {
        (Some((report, DeliveryState::AlreadyLoaded)), _) => {
            format!("{name}: loaded before, as delivery {}", number(report))
        }
        (Some((report, DeliveryState::Loaded)), _) => format!(
            "{name}: loaded as delivery {}: {} accepted, {} quarantined",
            number(report),
            table::thousands(report.accepted),
            table::thousands(report.quarantined)
        ),
        (Some((_, DeliveryState::Superseded)), _) => {
            format!("{name}: not loaded: the dataset shows a newer day already")
        }
        (Some((report, DeliveryState::Held)), _) => {
            let rules: Vec<String> = report
                .not_kept
                .iter()
                .map(|rule| format!("{}: {} in place of {}", rule.rule, rule.got, rule.want))
                .collect();
            let id = report.held.as_deref().unwrap_or_default();
            style.yellow(&format!("{name}: held as {id}: {}; release or reject it", rules.join("; ")))
        }
        (None, error) => style.red(&format!("{name}: {}", error.as_deref().unwrap_or("not loaded"))),
    }
}
