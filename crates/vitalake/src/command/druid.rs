//! `vitalake druid`: where each serving dataset stands in a real Druid, what would be sent, and a person's word on it.
//!
//! Invariant: with --json standard output holds the API's own JSON and nothing else.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vitalake_ops::druid::{DruidPlan, DruidReceipt, DruidReport, FAILED, REFUSED};

use crate::cli::ConnectArgs;
use crate::client::{Answer, Client};
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table;

/// `vitalake druid`
#[derive(Debug, Args)]
pub struct DruidArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DruidCommand,
}

/// What can be done with a real Druid.
#[derive(Debug, Subcommand)]
pub enum DruidCommand {
    /// Show which version of each dataset Druid answers from, and what is waited for
    Status(DruidStatusArgs),
    /// Show what would be sent for a dataset, and have Druid try its first rows
    Plan(DruidDatasetArgs),
    /// Take a datasource over that vitalake did not make: all of it is replaced
    Adopt(DruidDatasetArgs),
    /// Remove what newer versions have replaced from Druid's deep storage, with a receipt
    Kill(DruidDatasetArgs),
}

/// `vitalake druid status`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake druid status\n  vitalake druid status --json")]
pub struct DruidStatusArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake druid plan`, `adopt` and `kill`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake druid plan serving.vitals_hourly\n  vitalake druid plan vitals_hourly --json | jq .task\n  vitalake druid kill vitals_hourly"
)]
pub struct DruidDatasetArgs {
    /// The serving dataset
    #[arg(value_name = "DATASET")]
    pub dataset: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Shows where datasets stand, or does what is asked.
///
/// # Errors
/// When nothing is published, Druid does not answer, or no server does.
pub fn run(args: &DruidArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        DruidCommand::Status(args) => {
            let client = Client::connect(&args.connect, Purpose::Look)?;
            status(&client.get::<Vec<DruidReport>>(&["druid"], &[])?, args.json)
        }
        DruidCommand::Plan(args) => {
            let client = Client::connect(&args.connect, Purpose::Look)?;
            plan(&client.get(&["druid", &args.dataset, "plan"], &[])?, args.json)
        }
        DruidCommand::Adopt(args) => {
            let client = Client::connect(&args.connect, Purpose::Look)?;
            let report: DruidReport = client.post(&["druid", &args.dataset, "adopt"], &json!({}))?;
            status(&[report], args.json)
        }
        DruidCommand::Kill(args) => {
            let client = Client::connect(&args.connect, Purpose::Look)?;
            receipt(&client.post(&["druid", &args.dataset, "kill"], &json!({}))?, args.json)
        }
    }
}

fn status(reports: &[DruidReport], json: bool) -> anyhow::Result<ExitCode> {
    let is_well = !reports.iter().any(|report| matches!(report.state.as_str(), FAILED | REFUSED));
    let code = if is_well { ExitCode::SUCCESS } else { ExitCode::from(4) };
    if json {
        output::json(&reports)?;
        return Ok(code);
    }
    let names = ["dataset", "datasource", "state", "version", "in Druid", "rows", "behind", "since"]
        .map(str::to_owned)
        .to_vec();
    let row = |report: &DruidReport| -> Vec<Value> {
        vec![
            report.dataset.as_str().into(),
            report.datasource.as_str().into(),
            report.state.as_str().into(),
            report.version.into(),
            report.published_version.map_or(Value::Null, Value::from),
            report.rows.map_or(Value::Null, Value::from),
            report.lag_records.map_or(Value::Null, Value::from),
            report.since.as_str().into(),
        ]
    };
    table::print(&Answer { names, types: Vec::new(), rows: reports.iter().map(row).collect() })?;
    let (style, mut out) = (Style::stdout(), output::stdout());
    for report in reports.iter().filter(|report| !report.message.is_empty()) {
        writeln!(out, "{}", style.yellow(&format!("{}: {}", report.dataset, report.message)))?;
    }
    out.flush()?;
    Ok(code)
}

fn plan(plan: &DruidPlan, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = output::stdout();
    let builds_on = match plan.from {
        Some(from) if plan.intervals.is_empty() => {
            format!("Druid has version {from}, with the same rows: nothing would be sent")
        }
        Some(from) => format!("what changed since version {from}, which Druid has"),
        None => "all of it, in place of all that is there".to_owned(),
    };
    writeln!(out, "{} version {} as {}: {builds_on}", plan.dataset, plan.version, plan.datasource)?;
    let time = plan.time.as_deref().unwrap_or("none: every row is at 1970-01-01");
    writeln!(out, "  __time     {time}")?;
    writeln!(out, "  segments   {}", plan.segment_granularity)?;
    writeln!(out, "  rows       {} in {} files", plan.rows, plan.files)?;
    for interval in &plan.intervals {
        writeln!(out, "  replaces   {interval}")?;
    }
    writeln!(out, "  {}", plan.sample)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn receipt(receipt: &DruidReceipt, json: bool) -> anyhow::Result<ExitCode> {
    let code = if receipt.left == 0 { ExitCode::SUCCESS } else { ExitCode::from(4) };
    if json {
        output::json(receipt)?;
        return Ok(code);
    }
    let mut out = output::stdout();
    writeln!(out, "{} as {}, {}: {}", receipt.dataset, receipt.datasource, receipt.at, receipt.note)?;
    if let Some(task) = &receipt.task {
        writeln!(out, "  task       {task}")?;
    }
    for segment in &receipt.segments {
        writeln!(out, "  removed    {segment}")?;
    }
    out.flush()?;
    Ok(code)
}
