//! `vitalake feed list`: where each feed stands.
//!
//! Invariant: with --json standard output holds the API's own JSON and nothing else.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;
use vitalake_ops::feeds::FeedReport;

use crate::cli::ConnectArgs;
use crate::client::{Answer, Client};
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table;

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

/// Shows feeds.
///
/// # Errors
/// When no server answers.
pub fn run(args: &FeedListArgs) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&args.connect, Purpose::Look)?;
    list(&client.get::<Vec<FeedReport>>(&["feeds"], &[])?, args.json)
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
        let refused = feed.refused.iter().map(|entry| format!("{}: {}", entry.name, entry.reason));
        for refused in refused.filter(|refused| feed.message.as_ref() != Some(refused)) {
            writeln!(out, "{}", style.yellow(&format!("{}: {refused}", feed.feed)))?;
        }
        for entry in &feed.not_read {
            writeln!(out, "{}", style.yellow(&format!("{}: {} is not read: {}", feed.feed, entry.name, entry.reason)))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
