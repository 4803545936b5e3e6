//! `vitalake runbook`: a runbook on the terminal, its queries run and their answers in their places.
//!
//! Invariant: nothing in a runbook or an answer reaches the terminal as a command.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use vitalake_ops::runbooks::{AlertContext, Found, Part, RunbookEntry, RunbookReport};

use crate::cli::ConnectArgs;
use crate::client::{Answer, Client};
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table;

/// `vitalake runbook`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake runbook                                  list them\n  \
                  vitalake runbook gate_held\n  vitalake runbook gate_held --alert 3f9c2a17b0e4d581\n  \
                  vitalake runbook --owner data-platform            that team's first")]
pub struct RunbookArgs {
    /// The runbook; without it all are listed
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// The fingerprint of the alert that it is opened for: its evidence is shown beside today's
    #[arg(long, value_name = "FINGERPRINT", requires = "name")]
    pub alert: Option<String>,
    /// List this team's runbooks first
    #[arg(long, value_name = "TEAM", conflicts_with = "name")]
    pub owner: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Opens a runbook, or lists them.
///
/// # Errors
/// When there is no such runbook or alert, or no server answers.
pub fn run(args: &RunbookArgs) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let Some(name) = &args.name else { return list(args, &client) };
    let asked: Vec<(&str, &str)> = args.alert.iter().map(|alert| ("alert", alert.as_str())).collect();
    let report: RunbookReport = client.get(&["runbooks", name], &asked)?;
    if args.json {
        output::json(&report)?;
    } else {
        let mut out = output::stdout();
        print(&mut out, &report, Style::stdout())?;
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &RunbookArgs, client: &Client) -> anyhow::Result<ExitCode> {
    let asked: Vec<(&str, &str)> = args.owner.iter().map(|owner| ("owner", owner.as_str())).collect();
    let entries: Vec<RunbookEntry> = client.get(&["runbooks"], &asked)?;
    if args.json {
        output::json(&entries)?;
        return Ok(ExitCode::SUCCESS);
    }
    let row = |entry: RunbookEntry| {
        vec![entry.name.into(), entry.title.into(), entry.owners.join(", ").into(), entry.alerts.join(", ").into()]
    };
    let names = ["runbook", "title", "owner", "alerts"].map(str::to_owned).to_vec();
    let answer = Answer { names, types: Vec::new(), rows: entries.into_iter().map(row).collect() };
    table::print(&answer)?;
    Ok(ExitCode::SUCCESS)
}

fn print(out: &mut impl Write, report: &RunbookReport, style: Style) -> anyhow::Result<()> {
    if let Some(alert) = &report.alert {
        about(out, alert, style)?;
    }
    for part in &report.parts {
        match part {
            Part::Prose { markdown } => writeln!(out, "{}\n", plain(markdown))?,
            Part::Evidence { now, then, .. } => {
                if let Some(then) = then {
                    moment(out, "when the alert fired", then, style)?;
                }
                moment(out, "now", now, style)?;
            }
        }
    }
    Ok(())
}

fn about(out: &mut impl Write, alert: &AlertContext, style: Style) -> anyhow::Result<()> {
    let on = alert.dataset.as_deref().unwrap_or("the platform");
    let since = alert.since().map_or_else(String::new, |since| format!(" since {since}"));
    let line = format!("{} on {on}: {}{since}", alert.alert, alert.state);
    writeln!(out, "{}\n{}\n", style.red(&plain(&line)), plain(&alert.summary))?;
    Ok(())
}

fn moment(out: &mut impl Write, when: &str, found: &Found, style: Style) -> anyhow::Result<()> {
    writeln!(out, "{}", style.dim(&plain(&format!("  {when}, {}", found.at))))?;
    match &found.error {
        Some(error) => writeln!(out, "  {}", style.yellow(&plain(&format!("no answer: {error}"))))?,
        None if found.rows.is_empty() => writeln!(out, "  no rows")?,
        None => {
            let answer = Answer { names: found.columns.clone(), types: Vec::new(), rows: found.rows.clone() };
            table::draw(&answer, style).lines().try_for_each(|line| writeln!(out, "  {line}"))?;
            if found.more {
                writeln!(out, "  the first {} rows; there are more", found.rows.len())?;
            }
        }
    }
    writeln!(out)?;
    Ok(())
}

/// A text whose lines stay, and that commands no terminal.
fn plain(text: &str) -> String {
    text.chars().filter(|character| !character.is_control() || matches!(character, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    #[test]
    fn evidence_stands_in_its_place_then_beside_now_and_nothing_commands_the_terminal() {
        let found = |n: i64| Found {
            at: "2026-01-01T00:00:00.000Z".to_owned(),
            columns: vec!["n".to_owned()],
            rows: vec![vec![n.into()]],
            ..Found::default()
        };
        let failed = Found { error: Some("it is away\u{1b}[2J".to_owned()), ..Found::default() };
        let prose = |text: &str| Part::Prose { markdown: text.to_owned() };
        let report = RunbookReport {
            alert: Some(AlertContext { alert: "a\u{7}".to_owned(), ..AlertContext::default() }),
            parts: vec![
                prose("# Held\u{1b}[31m"),
                Part::Evidence { sql: String::new(), now: found(2), then: Some(found(1)) },
                prose("Wait."),
                Part::Evidence { sql: String::new(), now: failed, then: None },
            ],
            ..RunbookReport::default()
        };
        let mut out = Vec::new();
        print(&mut out, &report, Style::plain()).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains(['\u{1b}', '\u{7}']), "{text}");
        let places: Vec<usize> = ["# Held", "when the alert fired", "now", "Wait.", "no answer: it is away"]
            .into_iter()
            .map(|words| text.find(words).unwrap_or_else(|| panic!("{words}: {text}")))
            .collect();
        assert!(places.is_sorted(), "{text}");
    }
}
