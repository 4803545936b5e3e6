//! `vitalake reconcile`: whether everything that was offered to a dataset has a place.
//!
//! Invariant: it ends with 4 when something does not balance, so that a script can call somebody.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use vitalake_ops::books::DatasetBooks;

use crate::cli::ConnectArgs;
use crate::client::Client;
use crate::failure;
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table;

/// `vitalake reconcile`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake reconcile\n  vitalake reconcile curated.steps\n  \
                  vitalake reconcile --json | jq '.[] | select(.balanced | not)'")]
pub struct ReconcileArgs {
    /// The dataset; without it all that have books
    #[arg(value_name = "DATASET")]
    pub dataset: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Shows the books.
///
/// # Errors
/// When there is no such dataset, or no server answers.
pub fn run(args: &ReconcileArgs) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let asked: Vec<(&str, &str)> = args.dataset.iter().map(|dataset| ("dataset", dataset.as_str())).collect();
    let books: Vec<DatasetBooks> = client.get(&["books"], &asked)?;
    if args.json {
        output::json(&books)?;
    } else {
        print(&books)?;
    }
    let balanced = books.iter().all(|books| books.balanced);
    Ok(if balanced { ExitCode::SUCCESS } else { ExitCode::from(failure::NOT_WELL) })
}

fn print(all: &[DatasetBooks]) -> anyhow::Result<()> {
    let names = ["dataset", "offered", "accepted", "quarantined", "duplicates", "filtered", "elsewhere", "missing"];
    let row = |books: &DatasetBooks| {
        let counts = [books.offered, books.accepted, books.quarantined, books.duplicates, books.filtered];
        let rest = [books.replaced + books.retracted + books.discarded + books.erased, books.missing];
        let cells = counts.into_iter().chain(rest).map(Into::into);
        std::iter::once(books.dataset.as_str().into()).chain(cells).collect()
    };
    let rows = all.iter().map(row).collect();
    let columns = names.map(|name| (name, if name == "dataset" { "" } else { "BIGINT" }));
    table::print(&table::answer(&columns, rows))?;
    let (mut out, style) = (output::stdout(), Style::stdout());
    for books in all.iter().filter(|books| !books.balanced) {
        writeln!(out, "{} {}: {}", style.red("not balanced"), books.dataset, books.note)?;
    }
    let balanced = all.iter().filter(|books| books.balanced).fold(0, |count, _| count + 1);
    if balanced > 0 {
        let how_many = table::counted(balanced, "dataset", "datasets");
        writeln!(out, "{} {how_many}: everything that was offered has a place", style.green("balanced"))?;
    }
    out.flush()?;
    Ok(())
}
