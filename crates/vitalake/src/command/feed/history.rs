//! `vitalake feed history`: the ledger of deliveries, newest first.
//!
//! Invariant: what waits for a decision is shown with its id, by which it is decided.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::Value;
use vitalake_ops::deliveries::LedgerEntry;

use crate::cli::ConnectArgs;
use crate::client::{Answer, Client};
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table;

/// Where a delivery can stand.
const STATES: [&str; 7] = ["loaded", "known", "held", "released", "rejected", "superseded", "refused"];

/// What a star behind a state says.
const GONE: &str = "nothing of it is in the table";

/// `vitalake feed history`
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// The feed, or the dataset [default: all]
    #[arg(value_name = "FEED|DATASET")]
    pub of: Option<String>,
    /// Only what stands there; `held` shows what waits for a decision now
    #[arg(long, value_name = "STATE", value_parser = PossibleValuesParser::new(STATES))]
    pub state: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: usize,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Shows the ledger.
///
/// # Errors
/// When no server answers.
pub fn run(args: &HistoryArgs) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let limit = args.limit.to_string();
    let texts = [("of", args.of.as_deref()), ("state", args.state.as_deref()), ("limit", Some(&limit))];
    let parameters: Vec<(&str, &str)> = texts.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    let entries: Vec<LedgerEntry> = client.get(&["deliveries"], &parameters)?;
    if args.json {
        output::json(&entries)?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = ["at", "dataset", "feed", "date", "state", "delivery", "accepted", "quarantined", "why"];
    let names = names.map(str::to_owned).to_vec();
    let answer = Answer { names, types: Vec::new(), rows: entries.iter().map(row).collect() };
    table::print(&answer)?;
    let (style, mut out) = (Style::stdout(), output::stdout());
    for entry in entries.iter().filter(|entry| entry.open) {
        let (dataset, id) = (&entry.dataset, entry.id.as_deref().unwrap_or_default());
        writeln!(out, "{}", style.yellow(&format!("{dataset} waits for a decision: vitalake feed release {id}")))?;
    }
    if entries.iter().any(|entry| entry.gone) {
        let gone = format!("* {GONE}: the table was removed and made again since");
        writeln!(out, "{}", style.yellow(&gone))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn row(entry: &LedgerEntry) -> Vec<Value> {
    let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::from);
    vec![
        entry.at.as_str().into(),
        entry.dataset.as_str().into(),
        text(&entry.feed),
        text(&entry.business_date),
        format!("{}{}", entry.state, if entry.gone { "*" } else { "" }).into(),
        entry.delivery.map_or(Value::Null, Value::from),
        entry.accepted.into(),
        entry.quarantined.into(),
        text(&entry.reason),
    ]
}
