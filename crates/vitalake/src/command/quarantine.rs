//! `vitalake quarantine`: what was rejected, how it comes back, how it is given up.
//!
//! Invariant: what cannot be undone is done only under the dataset's name and, to give rejects up, a reason.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde_json::Value;
use vitalake_ops::quarantine::{
    DiscardReport, DiscardRequest, RejectCount, RejectedRow, ReplayProgress, ReplayReport, ReplayRequest, Which,
};

use super::who::who;
use crate::cli::ConnectArgs;
use crate::client::Client;
use crate::local::Purpose;
use crate::output;
use crate::table::{self, counted, thousands};

/// How long a replay runs before it is told how far it is.
const QUIET: Duration = Duration::from_secs(2);
/// How often it is told.
const TOLD_EVERY: Duration = Duration::from_secs(2);
/// How often it is looked whether it is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// `vitalake quarantine`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake quarantine list\n  vitalake quarantine show wearable_readings --rule heart_rate.maximum --limit 5\n  \
                  vitalake quarantine replay wearable_readings --dry-run\n  vitalake quarantine replay wearable_readings --since 2026-11-28\n  \
                  vitalake quarantine discard wearable_readings --rule json --reason \"test device, ticket 4711\""
)]
pub struct QuarantineArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: QuarantineCommand,
}

/// What can be done with rejects.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Count rejects by dataset, rule and contract
    List(ListRejectsArgs),
    /// Show rejects: where they came from, which rules they break and why
    Show(ShowArgs),
    /// Put rejects through the contract or model as it is now; what passes comes into the dataset, once
    Replay(ReplayArgs),
    /// Give rejects up, for a reason that is kept
    Discard(DiscardArgs),
}

/// Which rejects.
#[derive(Clone, Debug, Default, Args)]
pub struct WhichArgs {
    /// Only those that break this rule
    #[arg(long, value_name = "NAME")]
    pub rule: Option<String>,
    /// Only those quarantined at this time or after it: 2026-11-28T10:00:00Z, or a day (UTC)
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only those quarantined before this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only those of this delivery
    #[arg(long, value_name = "NUMBER")]
    pub delivery: Option<i64>,
}

impl WhichArgs {
    fn which(&self) -> Which {
        let Self { rule, since, until, delivery } = self.clone();
        Which { rule, since, until, delivery }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let Self { rule, since, until, delivery } = self.clone();
        let texts = [("rule", rule), ("since", since), ("until", until)];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text?)));
        texts.chain(delivery.map(|number| ("delivery", number.to_string()))).collect()
    }
}

/// `vitalake quarantine list`
#[derive(Debug, Args)]
pub struct ListRejectsArgs {
    /// The dataset [default: all]
    #[arg(value_name = "DATASET")]
    pub dataset: Option<String>,
    /// Which rejects.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake quarantine show`
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The dataset
    #[arg(value_name = "DATASET")]
    pub dataset: String,
    /// Which rejects.
    #[command(flatten)]
    pub which: WhichArgs,
    /// At most so many
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: usize,
    /// With the records' bytes, which may identify persons
    #[arg(long)]
    pub raw: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake quarantine replay`
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The dataset
    #[arg(value_name = "DATASET")]
    pub dataset: String,
    /// Which rejects.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Say what would come back and what would fail again; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake quarantine discard`
#[derive(Debug, Args)]
pub struct DiscardArgs {
    /// The dataset
    #[arg(value_name = "DATASET")]
    pub dataset: String,
    /// Which rejects.
    #[command(flatten)]
    pub which: WhichArgs,
    /// Why they are given up; it is kept in ops.discards
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who gives them up [default: the user of this terminal]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Does what was asked.
///
/// # Errors
/// When there is no such dataset, nothing is meant, another process writes the dataset, or no server answers.
pub fn run(args: &QuarantineArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        QuarantineCommand::List(args) => list(args),
        QuarantineCommand::Show(args) => show(args),
        QuarantineCommand::Replay(args) => replay(args),
        QuarantineCommand::Discard(args) => discard(args),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn list(args: &ListRejectsArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let mut parameters = args.which.parameters();
    parameters.extend(args.dataset.iter().map(|dataset| ("dataset", dataset.clone())));
    let counts: Vec<RejectCount> = client.get(&["quarantine"], &borrowed(&parameters))?;
    if args.json {
        return output::json(&counts);
    }
    if counts.is_empty() {
        writeln!(output::stdout(), "nothing is in quarantine that was asked for")?;
        return Ok(());
    }
    let columns = [("dataset", ""), ("rule", ""), ("contract", ""), ("rows", "BIGINT"), ("first", ""), ("last", "")];
    let row = |count: RejectCount| {
        let contract = count.contract.map(|contract| contract.chars().take(8).collect::<String>());
        vec![
            count.dataset.into(),
            count.rule.into(),
            contract.into(),
            count.rows.into(),
            count.first.into(),
            count.last.into(),
        ]
    };
    table::print(&table::answer(&columns, counts.into_iter().map(row).collect()))
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let mut parameters = args.which.parameters();
    parameters.extend([("limit", args.limit.to_string()), ("raw", args.raw.to_string())]);
    let rows: Vec<RejectedRow> = client.get(&["quarantine", &args.dataset], &borrowed(&parameters))?;
    if args.json {
        return output::json(&rows);
    }
    let mut columns = vec![
        ("topic", ""),
        ("partition", "BIGINT"),
        ("offset", "BIGINT"),
        ("quarantined at", ""),
        ("attempts", "BIGINT"),
        ("rules", ""),
        ("reason", ""),
    ];
    columns.extend(args.raw.then_some(("raw", "")));
    let row = |row: RejectedRow| {
        let rules = rules(&row);
        let mut cells: Vec<Value> = vec![
            row.topic.into(),
            row.partition.into(),
            row.offset.into(),
            row.quarantined_at.into(),
            row.attempts.into(),
            rules.into(),
            row.reason.into(),
        ];
        cells.extend(args.raw.then(|| row.raw.or(row.raw_base64).into()));
        cells
    };
    table::print(&table::answer(&columns, rows.into_iter().map(row).collect()))
}

/// The names of all rules that a reject breaks.
fn rules(row: &RejectedRow) -> String {
    let named = row.rules.as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<&str> = named.iter().filter_map(|rule| rule.get("rule")?.as_str()).collect();
    if names.is_empty() { row.rule.clone() } else { names.join(", ") }
}

fn replay(args: &ReplayArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.connect, Purpose::Deliver)?;
    let request = ReplayRequest { which: args.which.which(), dry_run: args.dry_run };
    let report: ReplayReport =
        with_progress(&client, &args.dataset, || client.post(&["quarantine", &args.dataset, "replay"], &request))?;
    if args.json {
        return output::json(&report);
    }
    let mut out = output::stdout();
    write!(out, "{}", in_words(&report))?;
    out.flush()?;
    Ok(())
}

/// A replay's end as people read it.
fn in_words(report: &ReplayReport) -> String {
    let rows = |number: u64| counted(number, "row", "rows");
    let name = report.dataset.split_once('.').map_or(report.dataset.as_str(), |(_, name)| name);
    if report.taken == 0 && report.superseded == 0 {
        return format!("quarantine.{name} is empty\n");
    }
    let (come, fail) = match report.dry_run {
        true => ("would come back", "would fail again"),
        false => ("came back", "failed again"),
    };
    let mut said = format!("{}: {} {come}, {} {fail}", report.dataset, rows(report.replayed), thousands(report.failed));
    if report.duplicates > 0 {
        said.push_str(&format!(", {} there already", thousands(report.duplicates)));
    }
    if report.without_row > 0 {
        said.push_str(&format!(", the model makes no row of {}", thousands(report.without_row)));
    }
    said.push('\n');
    for failed in &report.failed_by_rule {
        said.push_str(&format!("  {} under {}\n", thousands(failed.rows), failed.rule));
    }
    if report.superseded > 0 {
        said.push_str(&format!(
            "  {} of deliveries whose rows are not in the dataset stay in quarantine\n",
            thousands(report.superseded)
        ));
    }
    said
}

/// Does something and tells meanwhile how far it is.
fn with_progress<T>(client: &Client, dataset: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (started, mut told) = (Instant::now(), Instant::now());
            while !over.load(Ordering::Acquire) {
                std::thread::sleep(LOOK_EVERY);
                if started.elapsed() < QUIET || told.elapsed() < TOLD_EVERY {
                    continue;
                }
                told = Instant::now();
                let far: Option<ReplayProgress> = client.get(&["quarantine", dataset, "replay"], &[]).ok();
                if let Some(far) = far.filter(|far| far.running && far.of > 0) {
                    let mut out = std::io::stderr();
                    let _ = writeln!(out, "{} of {} rejects put through", thousands(far.done), thousands(far.of));
                }
            }
        });
        let done = work();
        over.store(true, Ordering::Release);
        done
    })
}

fn discard(args: &DiscardArgs) -> anyhow::Result<()> {
    let client = Client::connect(&args.connect, Purpose::Deliver)?;
    let request =
        DiscardRequest { which: args.which.which(), reason: args.reason.clone(), by: Some(who(args.by.as_deref())) };
    let report: DiscardReport =
        with_progress(&client, &args.dataset, || client.post(&["quarantine", &args.dataset, "discard"], &request))?;
    if args.json {
        return output::json(&report);
    }
    let mut out = output::stdout();
    writeln!(out, "{}: {} discarded", report.dataset, counted(report.discarded, "reject", "rejects"))?;
    out.flush()?;
    Ok(())
}

fn borrowed<'a>(parameters: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    parameters.iter().map(|(name, text)| (*name, text.as_str())).collect()
}
