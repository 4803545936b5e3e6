//! `vitalake erase`: a person out of everything that the platform holds, with a receipt; and the check of a receipt.
//!
//! A running server does it between two of its lives; without one the command takes the data folder. Invariant: the id is
//! printed nowhere.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::Value;
use vitalake_ops::erasures::{DONE, DRY_RUN, EraseRequest, OPERATOR, Receipt};
use vitalake_ops::signing::is_signed;
use vitalake_runtime::events::Events;
use vitalake_runtime::hex;
use vitalake_runtime::lock::FolderLock;

use super::who::who;
use crate::cli::ConnectArgs;
use crate::client::{Answer, Client, project_of};
use crate::failure::{self, Failure};
use crate::output::{self, Style};
use crate::platform::{Setup, erase_here};
use crate::{local, table};

/// Bytes of an id.
const ID_BYTES_MAX: u64 = 4096;

/// `vitalake erase`
#[derive(Debug, Args)]
#[command(
    subcommand_negates_reqs = true,
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  vitalake erase --subject-file - --dry-run < id.txt\n  \
                  vitalake erase --subject-file id.txt --receipt erasure.json\n  vitalake erase verify erasure.json"
)]
pub struct EraseArgs {
    /// Check a receipt instead
    #[command(subcommand)]
    pub command: Option<EraseCommand>,
    /// The person's id, as the datasets have it; other users of this machine see it while the command runs
    #[arg(long, value_name = "ID", required_unless_present = "subject_file", conflicts_with = "subject_file")]
    pub subject: Option<String>,
    /// A file with the person's id, `-` for standard input; a line end after it is left out
    #[arg(long, value_name = "FILE")]
    pub subject_file: Option<PathBuf>,
    /// Say what would go; change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Write the receipt to this file too
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    /// Who asks for it [default: the user of this terminal]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Print the receipt as JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// What else can be done.
#[derive(Debug, Subcommand)]
pub enum EraseCommand {
    /// Check that a receipt is as it was signed, and show the key that signed it
    Verify(VerifyArgs),
}

/// `vitalake erase verify`
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The receipt
    #[arg(value_name = "RECEIPT")]
    pub receipt: PathBuf,
    /// The public key that must have signed it, in hex
    #[arg(long, value_name = "HEX")]
    pub key: Option<String>,
}

/// Erases a person, or checks a receipt.
///
/// # Errors
/// When the id cannot be read, the erasure is refused, or it cannot be carried out now.
pub fn run(args: &EraseArgs) -> anyhow::Result<ExitCode> {
    if let Some(EraseCommand::Verify(args)) = &args.command {
        return verify(args);
    }
    let request = EraseRequest { subject: subject(args)?, dry_run: args.dry_run, by: who(args.by.as_deref()) };
    let receipt: Receipt = match Client::running(&args.connect)? {
        Some(client) => client.post(&["erase"], &request)?,
        None => here(args, &request)?,
    };
    if let Some(path) = &args.receipt {
        let text = serde_json::to_vec_pretty(&receipt).context("the receipt cannot be written")?;
        std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    if args.json {
        output::json(&receipt)?;
    } else {
        print(&receipt)?;
    }
    let is_well = receipt.state == DONE || receipt.state == DRY_RUN;
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(failure::NOT_WELL) })
}

/// Without a server the data folder is this command's.
fn here(args: &EraseArgs, request: &EraseRequest) -> anyhow::Result<Receipt> {
    let (dir, data) = project_of(&args.connect)?;
    let (checked, config) = local::checked(&dir, &data)?;
    let runtime = super::runtime()?;
    runtime.block_on(async {
        let lock = Arc::new(FolderLock::take(&config.data)?);
        let setup = Setup::new(checked, config, lock, Events::unread())?;
        Box::pin(erase_here(&setup, request)).await
    })
}

fn subject(args: &EraseArgs) -> anyhow::Result<String> {
    let Some(path) = &args.subject_file else { return Ok(args.subject.clone().unwrap_or_default()) };
    let mut text = String::new();
    let read = |from: &mut dyn Read, text: &mut String| from.take(ID_BYTES_MAX).read_to_string(text).map(|_| ());
    let outcome = match path == Path::new("-") {
        true => read(&mut std::io::stdin().lock(), &mut text),
        false => std::fs::File::open(path).and_then(|mut file| read(&mut file, &mut text)),
    };
    outcome.with_context(|| format!("the id could not be read from {}", path.display()))?;
    let id = text.strip_suffix('\n').unwrap_or(&text);
    Ok(id.strip_suffix('\r').unwrap_or(id).to_owned())
}

fn print(receipt: &Receipt) -> anyhow::Result<()> {
    let names = ["table", "rows", "cells", "files", "older files", "log files"];
    let row = |table: &vitalake_ops::erasures::ErasedTable| -> Vec<Value> {
        let counts = [table.rows, table.cells, table.files, table.past_files, table.log_files];
        std::iter::once(table.table.as_str().into()).chain(counts.into_iter().map(Into::into)).collect()
    };
    let answer = Answer {
        names: names.map(str::to_owned).to_vec(),
        types: names.map(|name| if name == "table" { "" } else { "BIGINT" }.to_owned()).to_vec(),
        rows: receipt.tables.iter().map(row).collect(),
    };
    table::print(&answer)?;
    let (style, mut out) = (Style::stdout(), output::stdout());
    let log = receipt.log;
    writeln!(out, "log: {} records in {} batches of {} segments", log.records, log.batches, log.segments)?;
    if receipt.state == DRY_RUN {
        writeln!(out, "nothing was changed; models would take out of derived tables what stands there")?;
        out.flush()?;
        return Ok(());
    }
    writeln!(out, "other files removed: {}", receipt.other_files)?;
    let proof = &receipt.proof;
    writeln!(out, "read afterwards: {} files, {} bytes; found in {}", proof.files, proof.bytes, proof.found_in.len())?;
    for outside in receipt.outside.iter().filter(|outside| outside.state == OPERATOR) {
        writeln!(out, "yours to do: {}: {}", outside.what, outside.note)?;
    }
    for reason in &receipt.reasons {
        writeln!(out, "{}", style.yellow(&format!("not complete: {reason}")))?;
    }
    writeln!(out, "erasure {} is {}, signed by {}", receipt.number, receipt.state, receipt.key)?;
    out.flush()?;
    Ok(())
}

fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let text = std::fs::read(&args.receipt).with_context(|| format!("{} cannot be read", args.receipt.display()))?;
    let receipt: Receipt = serde_json::from_slice(&text).map_err(|_| {
        Failure::input(
            format!("{} is not a receipt", args.receipt.display()),
            "give the file that `vitalake erase --receipt` wrote",
        )
    })?;
    let unsigned = Receipt { signature: String::new(), ..receipt.clone() };
    let bytes = serde_json::to_vec(&unsigned).context("the receipt cannot be read")?;
    let key = args.key.clone().unwrap_or_else(|| receipt.key.clone());
    let is_signed = match (hex::decode(&key), hex::decode(&receipt.signature)) {
        (Some(key), Some(signature)) => is_signed(&key, &bytes, &signature),
        _ => false,
    };
    if !is_signed {
        let message = format!("{} is not as the key {key} signed it", args.receipt.display());
        return Err(Failure::input(message, "get the receipt again from whoever erased, and compare the key").into());
    }
    let mut out = output::stdout();
    writeln!(out, "erasure {} of {}: {}, {}", receipt.number, receipt.project, receipt.state, receipt.finished)?;
    writeln!(out, "signed by {key}")?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
