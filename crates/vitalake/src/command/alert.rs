//! `vitalake alert`: what fires, and what people do about it.
//!
//! Invariant: nothing of an alert reaches the terminal as a command.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use serde_json::Value;
use vitalake_ops::alerts::report::{AckRequest, AlertReport, SilenceReport, SilenceRequest, TestReport};

use super::who::who;
use crate::cli::ConnectArgs;
use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table;

/// `vitalake alert`
#[derive(Debug, Args)]
pub struct AlertArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AlertCommand,
}

/// What can be done with alerts.
#[derive(Debug, Subcommand)]
pub enum AlertCommand {
    /// Show the alerts that fire, are pending, cannot be evaluated, or were resolved within a day
    #[command(after_help = "Example:\n  vitalake alert list")]
    List(ListArgs),
    /// Take an alert on: it stays open, and whoever looks sees who has it
    #[command(
        after_help = "Example:\n  vitalake alert ack 3f9c2a17b0d1e2f4 --comment \"the clinic sends the file again\""
    )]
    Ack(AckArgs),
    /// Keep an alert from being sent for a while; it is evaluated all the same
    #[command(
        after_help = "Examples:\n  vitalake alert silence gate_held --for 2h --reason \"planned maintenance\"\n  \
                      vitalake alert silence gate_held --end --reason \"it is done\""
    )]
    Silence(SilenceArgs),
    /// Send a marked message to an alert's receivers and show what came back
    #[command(after_help = "Example:\n  vitalake alert test steps_daily_held")]
    Test(TestArgs),
}

/// `vitalake alert list`
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake alert ack`
#[derive(Debug, Args)]
pub struct AckArgs {
    /// The alert's fingerprint, as `alert list` shows it
    #[arg(value_name = "FINGERPRINT")]
    pub fingerprint: String,
    /// What is being done about it
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Who takes it on [default: the user of this terminal]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake alert silence`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("end_of_it").required(true))]
pub struct SilenceArgs {
    /// The alert's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Until when, as RFC 3339
    #[arg(long, value_name = "TIME", group = "end_of_it")]
    pub until: Option<String>,
    /// For how long: 30m, 2h, 1d
    #[arg(long = "for", value_name = "TIME", group = "end_of_it")]
    pub length: Option<String>,
    /// End the alert's silence now
    #[arg(long, group = "end_of_it")]
    pub end: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who silences it [default: the user of this terminal]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake alert test`
#[derive(Debug, Args)]
pub struct TestArgs {
    /// The alert's name
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Does what is asked.
///
/// # Errors
/// When there is no such alert, or no server answers.
pub fn run(args: &AlertArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        AlertCommand::List(args) => list(args),
        AlertCommand::Ack(args) => acknowledge(args),
        AlertCommand::Silence(args) => silence(args),
        AlertCommand::Test(args) => test(args),
    }
}

fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let alerts: Vec<AlertReport> = Client::connect(&args.connect, Purpose::Look)?.get(&["alerts"], &[])?;
    if args.json {
        output::json(&alerts)?;
        return Ok(ExitCode::SUCCESS);
    }
    if alerts.is_empty() {
        say("no alert fires")?;
    } else {
        let names =
            ["fingerprint", "alert", "state", "dataset", "severity", "owner", "since", "what"].map(str::to_owned);
        let rows = alerts.iter().map(row).collect();
        table::print(&Answer { names: names.to_vec(), types: Vec::new(), rows })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(alert: &AlertReport) -> Vec<Value> {
    let mut words = alert.reason.clone().unwrap_or_else(|| alert.summary.clone());
    if let Some(by) = &alert.acknowledged_by {
        words = format!("taken on by {by}: {words}");
    }
    if let Some(until) = &alert.silenced_until {
        words = format!("silent until {until}: {words}");
    }
    if let Some(by) = &alert.inhibited_by {
        words = format!("told with {by}: {words}");
    }
    vec![
        alert.fingerprint.as_str().into(),
        alert.alert.as_str().into(),
        alert.state.as_str().into(),
        alert.dataset.as_deref().map_or(Value::Null, Value::from),
        alert.severity.as_str().into(),
        alert.owner.as_str().into(),
        alert.since.as_str().into(),
        words.into(),
    ]
}

fn acknowledge(args: &AckArgs) -> anyhow::Result<ExitCode> {
    let request = AckRequest { by: who(args.by.as_deref()), comment: args.comment.clone() };
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let report: AlertReport = client.post(&["alerts", &args.fingerprint, "ack"], &request)?;
    if args.json {
        output::json(&report)?;
    } else {
        let by = report.acknowledged_by.unwrap_or_default();
        say(&format!("{} is taken on by {by}, until it is resolved", report.alert))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn silence(args: &SilenceArgs) -> anyhow::Result<ExitCode> {
    let request = SilenceRequest {
        alert: args.name.clone(),
        until: until(args)?,
        reason: args.reason.clone(),
        by: who(args.by.as_deref()),
    };
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let report: SilenceReport = client.post(&["silences"], &request)?;
    if args.json {
        output::json(&report)?;
    } else if args.end {
        say(&format!("{} is sent again", report.alert))?;
    } else {
        say(&format!("{} is not sent until {}", report.alert, report.until))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn test(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let reports: Vec<TestReport> = client.post(&["alerts", &args.name, "test"], &serde_json::json!({}))?;
    let style = Style::stdout();
    if args.json {
        output::json(&reports)?;
    } else if reports.is_empty() {
        say(&format!(
            "{} is sent to nobody: give it `notify:`, name a receiver `default`, or set the variables that its receiver asks for",
            args.name
        ))?;
    } else {
        for TestReport { receiver, kind, delivered, said } in &reports {
            let how = if *delivered { style.green("delivered") } else { style.red("not delivered") };
            let said: String = said.chars().filter(|c| !c.is_control()).collect();
            writeln!(output::stdout(), "{receiver} ({kind}): {how}: {said}")?;
        }
    }
    let whole = reports.iter().all(|report| report.delivered);
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn until(args: &SilenceArgs) -> anyhow::Result<String> {
    let written = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Millis, true);
    if let Some(until) = &args.until {
        return Ok(until.clone());
    }
    let now = Utc::now();
    let Some(length) = &args.length else { return Ok(written(now)) };
    let help = "write a number with s, m, h or d, such as 2h";
    let wrong = || Failure::usage(format!("--for {length} is not a length of time"), help);
    let length = vitalake_contract::length::length(length).ok_or_else(wrong)?;
    let length = chrono::TimeDelta::from_std(length).context("the time is too long")?;
    Ok(written(now.checked_add_signed(length).context("the time is too long")?))
}

fn say(line: &str) -> anyhow::Result<()> {
    let mut out = output::stdout();
    writeln!(out, "{}", line.chars().filter(|c| !c.is_control()).collect::<String>())?;
    out.flush()?;
    Ok(())
}
