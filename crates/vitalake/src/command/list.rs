//! `vitalake datasets`, `status` and `flush`: what there is, how it is, and commit it now.
//!
//! Invariant: `status` ends with 1 while recovery is not over and with 4 when it is and something is not well, so that a
//! script can wait on the one and call somebody for the other.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};
use vitalake_ops::alerts::report::AlertReport;
use vitalake_ops::gates::GateReport;
use vitalake_ops::status::{DatasetStatus, FAILED, FlushReport, MonitorStatus, RunningReport, STALLED, StatusReport};

use crate::cli::ListArgs;
use crate::client::Client;
use crate::failure;
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table::{self, counted};

/// Lists the datasets.
///
/// # Errors
/// When no server answers.
pub fn datasets(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let report = Client::connect(&args.connect, Purpose::Look)?.status()?;
    if args.json {
        let names: Vec<Value> =
            report.datasets.iter().map(|d| json!({"dataset": d.dataset, "layer": d.layer, "rows": d.rows})).collect();
        output::json(&names)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows = report.datasets.iter().map(|d| vec![qualified(d).into(), d.rows.into(), d.quarantined.into()]);
    table::print(&table::answer(&[("dataset", ""), ("rows", "BIGINT"), ("quarantined", "BIGINT")], rows.collect()))?;
    Ok(ExitCode::SUCCESS)
}

/// Shows how fresh, large and far behind every dataset is.
///
/// # Errors
/// When no server answers.
pub fn status(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let report = client.status()?;
    if args.json {
        output::json(&report)?;
    } else {
        // Where they cannot be read, the status says why by itself.
        let alerts: Vec<AlertReport> = client.get(&["alerts"], &[]).unwrap_or_default();
        print_status(&report, &alerts)?;
    }
    Ok(exit_status(&report))
}

fn exit_status(report: &StatusReport) -> ExitCode {
    let is_unwell = |dataset: &DatasetStatus| [FAILED, STALLED].contains(&dataset.state.as_str());
    if !report.ready {
        ExitCode::FAILURE
    } else if !report.troubles.is_empty() || report.datasets.iter().any(is_unwell) {
        ExitCode::from(failure::NOT_WELL)
    } else {
        ExitCode::SUCCESS
    }
}

fn print_status(report: &StatusReport, alerts: &[AlertReport]) -> anyhow::Result<()> {
    let columns = [
        ("dataset", ""),
        ("state", ""),
        ("rows", "BIGINT"),
        ("in memory", "BIGINT"),
        ("behind", "BIGINT"),
        ("fresh", "BIGINT"),
        ("quarantined", "BIGINT"),
        ("version", "BIGINT"),
        ("last commit", ""),
        ("gate", ""),
    ];
    let rows = report.datasets.iter().map(|dataset| {
        vec![
            qualified(dataset).into(),
            dataset.state.as_str().into(),
            dataset.rows.into(),
            dataset.tail_rows.into(),
            dataset.lag_records.map_or(Value::Null, Value::from),
            dataset.freshness_seconds.map_or(Value::Null, |seconds| age(seconds).into()),
            dataset.quarantined.into(),
            dataset.version.map_or(Value::Null, Value::from),
            dataset.last_commit.as_deref().map_or(Value::Null, Value::from),
            dataset.gate.as_ref().map_or(Value::Null, |gate| gate_of(gate).into()),
        ]
    });
    table::print(&table::answer(&columns, rows.collect()))?;
    let style = Style::stdout();
    let mut out = output::stdout();
    for trouble in &report.troubles {
        let dataset = trouble.dataset.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
        let state = if trouble.state == STALLED { style.yellow(STALLED) } else { style.red(FAILED) };
        writeln!(out, "{state}{dataset}: {}", trouble.message)?;
    }
    let told = |dataset: &&DatasetStatus| {
        report.troubles.iter().any(|trouble| trouble.dataset.as_deref() == Some(&dataset.dataset))
    };
    for dataset in report.datasets.iter().filter(|dataset| !told(dataset)) {
        if let Some(error) = &dataset.error {
            writeln!(out, "{} {}: {error}", style.red(&dataset.state), qualified(dataset))?;
        }
    }
    for dataset in &report.datasets {
        let Some(run) = &dataset.running else { continue };
        let (name, took) = (qualified(dataset), age(run.seconds));
        let RunningReport { tasks, tasks_done, bytes_read, .. } = run;
        writeln!(out, "Spark runs {name} for {took}: {tasks_done} of {tasks} tasks done, {bytes_read} bytes read")?;
    }
    for away in &report.away {
        let (part, since) = (style.yellow(&format!("{} is away", away.part)), &away.since);
        writeln!(out, "{part} since {since} ({}): {}", age(away.seconds), away.reason)?;
    }
    if let Some(line) = open_alerts(alerts) {
        writeln!(out, "{}: {line}; `vitalake alert list` says more", style.red("alerts"))?;
    }
    if let Some(control) = report.control.as_ref().filter(|control| control.kind != "sqlite") {
        writeln!(out, "control store: {} at {}", control.kind, control.place)?;
    }
    if let Some(monitor) = &report.monitor {
        writeln!(out, "{}", sent_to_monitor(monitor))?;
    }
    if report.role != "all" {
        writeln!(out, "role: {}", report.role)?;
    }
    if report.ready {
        writeln!(out, "{}: {}", style.green("ready"), counted(report.datasets.len() as u64, "dataset", "datasets"))?;
    } else {
        writeln!(out, "{}: {}", style.yellow("not ready"), report.waiting_for.join("; "))?;
    }
    out.flush()?;
    Ok(())
}

/// How far the workspace of Azure Monitor is behind.
fn sent_to_monitor(monitor: &MonitorStatus) -> String {
    if !monitor.sends {
        return "Azure Monitor: another process sends the ops datasets, or none does yet".to_owned();
    }
    let mut line = match monitor.commits_waiting {
        0 => "Azure Monitor: has all of the ops datasets that is committed".to_owned(),
        waiting => {
            let commits = counted(waiting, "commit", "commits");
            format!("Azure Monitor: {commits} of the ops datasets wait, for {}", age(monitor.behind_seconds))
        }
    };
    if monitor.rows_refused > 0 {
        line.push_str(&format!("; {} refused for good", counted(monitor.rows_refused, "row", "rows")));
    }
    if monitor.commits_given_up > 0 {
        let commits = counted(monitor.commits_given_up, "commit", "commits");
        line.push_str(&format!("; {commits} older than a day given up"));
    }
    if monitor.clock_behind_seconds != 0 {
        line.push_str(&format!("; this machine's clock is {} seconds behind Azure's", monitor.clock_behind_seconds));
    }
    line
}

/// A gate's state in a word or two.
fn gate_of(gate: &GateReport) -> String {
    let stale = if gate.stale { ", stale" } else { "" };
    format!("{}{stale}", gate.state)
}

/// Alerts that fire, by name and dataset, the first of them; none where none does.
fn open_alerts(alerts: &[AlertReport]) -> Option<String> {
    const SHOWN_MAX: usize = 5;
    let open: Vec<&AlertReport> = alerts.iter().filter(|alert| alert.open && alert.inhibited_by.is_none()).collect();
    let name = |alert: &&AlertReport| match &alert.dataset {
        Some(dataset) => format!("{} ({dataset})", alert.alert),
        None => alert.alert.clone(),
    };
    let names: Vec<String> = open.iter().take(SHOWN_MAX).map(name).collect();
    let more = open.len().saturating_sub(SHOWN_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!open.is_empty()).then(|| format!("{}{rest}", names.join(", ")))
}

/// Commits what is in memory.
///
/// # Errors
/// When a commit failed or no server answers.
pub fn flush(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let report = Client::connect(&args.connect, Purpose::Look)?.flush()?;
    if args.json {
        output::json(&report)?;
    } else {
        print_flush(&report)?;
    }
    Ok(if report.behind.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(failure::NOT_WELL) })
}

fn print_flush(report: &FlushReport) -> anyhow::Result<()> {
    for behind in &report.behind {
        eprintln!("{} is behind: {}", behind.dataset, behind.reason);
    }
    if report.tables.is_empty() {
        if !report.behind.is_empty() {
            return Ok(());
        }
        writeln!(output::stdout(), "nothing was waiting: every table is as it was")?;
        return Ok(());
    }
    let rows = report
        .tables
        .iter()
        .map(|t| vec![format!("{}.{}", t.layer, t.dataset).into(), t.version.into(), t.rows.into()]);
    table::print(&table::answer(&[("dataset", ""), ("version", "BIGINT"), ("rows", "BIGINT")], rows.collect()))
}

fn qualified(dataset: &DatasetStatus) -> String {
    format!("{}.{}", dataset.layer, dataset.dataset)
}

/// An age in the unit that fits it: `0.4 s`, `12 min`, `3.5 h`, `2.1 d`.
fn age(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3_600.0 => format!("{:.0} min", s / 60.0),
        s if s < 86_400.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} d", s / 86_400.0),
    }
}
