//! `vitalake feed run`: a run of a feed now.
//!
//! Invariant: with --json standard output holds the API's own JSON and nothing else.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use vitalake_ops::feeds::{FeedDelivery, FeedRunReport};
use vitalake_ops::status::{DeliveryReport, DeliveryState};

use crate::cli::ConnectArgs;
use crate::client::Client;
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table;

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

/// Runs a feed.
///
/// # Errors
/// When there is no such feed, its source cannot be read, or no server answers.
pub fn run(args: &FeedRunArgs) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&args.connect, Purpose::Deliver)?;
    let nothing = serde_json::json!({});
    ran(&client.post::<FeedRunReport>(&["feeds", &args.name, "run"], &nothing)?, args.json)
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
