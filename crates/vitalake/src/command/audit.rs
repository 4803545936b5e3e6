//! `vitalake audit`: whether the journal is as it was written, what was done lately, and who saw a person.
//!
//! `verify` reads the files by itself and needs no server; it is best run elsewhere, with heads and key that were kept
//! there. Invariant: it ends with 1 when anything is wrong.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::json;
use vitalake_ops::audit::chain::Head;
use vitalake_ops::audit::read::{Because, Disclosure, Disclosures, Listed};
use vitalake_ops::audit::verify::{Against, Report, verify};
use vitalake_ops::audit::{Accessed, HEADS, Shown, heads};
use vitalake_runtime::config::{Config, FILE_NAME, Overrides};
use vitalake_runtime::disk::LocalDisk;

use crate::cli::ConnectArgs;
use crate::client::Client;
use crate::failure::Failure;
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::platform::AUDIT_FOLDER;
use crate::table;

/// `vitalake audit`
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What can be asked of the journal.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that nothing in the journal was changed, cut off or written anew
    Verify(VerifyArgs),
    /// Show who did what lately
    List(ListArgs),
    /// Show who saw a person's data, when, and for which purpose
    Disclosures(DisclosuresArgs),
}

/// `vitalake audit verify`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake audit verify\n  vitalake audit verify --heads /mnt/elsewhere --public-key vitalake.pub\n  \
                  vitalake audit verify --data /backup/data --json\n\n\
                  The status is 0 when nothing is wrong, and 1 when something is."
)]
pub struct VerifyArgs {
    /// The project
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// Its data folder [default: data, inside the project]
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Heads that were kept elsewhere: heads.jsonl, or the folder that has it [default: the folder of audit.export]
    #[arg(long, value_name = "FILE")]
    pub heads: Option<PathBuf>,
    /// The public key as it was noted elsewhere [default: public_key in the folder of the keys]
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `vitalake audit list`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake audit list\n  vitalake audit list --who grafana --since 2026-11-28\n  \
                  vitalake audit list --outcome refused --json")]
pub struct ListArgs {
    /// By this name alone
    #[arg(long, value_name = "NAME")]
    pub who: Option<String>,
    /// Of this dataset alone
    #[arg(long, value_name = "DATASET")]
    pub dataset: Option<String>,
    /// This alone: login, query, read, produce, deliver, decide, erase
    #[arg(long, value_name = "ACTION")]
    pub action: Option<String>,
    /// With this end alone: done, refused, failed, abandoned
    #[arg(long, value_name = "OUTCOME")]
    pub outcome: Option<String>,
    /// From this day or moment on
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// How many at most [default: 50]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake audit disclosures`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake audit disclosures --subject P-1042\n  \
                  vitalake audit disclosures --subject P-1042 --from 2026-01-01 --to 2026-06-30 --json\n\n\
                  An access counts when its statement names the person, or when it read a dataset that holds the person: what 45 CFR 164.528 \
                  asks for, and rather too much than too little. The answer holds no value of any record.")]
pub struct DisclosuresArgs {
    /// The person's id, as queries name it; `-` reads it from standard input
    #[arg(long, value_name = "ID")]
    pub subject: String,
    /// From this day or moment on
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Up to this moment, or to the end of this day
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
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
/// When there is no journal, or no server answers.
pub fn run(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        AuditCommand::Verify(args) => check(args),
        AuditCommand::List(args) => list(args),
        AuditCommand::Disclosures(args) => disclosures(args),
    }
}

fn check(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let overrides = Overrides { data: args.data.clone(), ..Overrides::default() };
    let config = match args.project.join(FILE_NAME).is_file() {
        true => Config::load(&args.project, &overrides)?,
        false => Config::defaults(&args.project),
    };
    let data = args.data.clone().unwrap_or(config.data.clone());
    let folder = data.join(AUDIT_FOLDER);
    let exported = config.audit.export_folder().map(|folder| args.project.join(folder));
    let heads = match (&args.heads, exported) {
        (Some(given), _) => Some(heads_of(given)?),
        (None, Some(exported)) => heads_of(&exported).ok(),
        (None, None) => None,
    };
    let public_key = args.public_key.as_ref().map(|file| {
        std::fs::read_to_string(file).with_context(|| format!("the public key {} cannot be read", file.display()))
    });
    let keys = config.audit.keys.map(|keys| args.project.join(keys));
    let against = Against { heads, public_key: public_key.transpose()? };
    let report = verify(&LocalDisk::shared(), &folder, keys.as_deref(), &against).map_err(|error| {
        let help = "name the project with --project, or its data folder with --data";
        Failure::input(format!("the audit journal in {} cannot be read: {}", folder.display(), error.kind()), help)
    })?;
    if args.json {
        output::json(&report)?;
    } else {
        print_report(&report)?;
    }
    Ok(if report.intact { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn heads_of(place: &Path) -> anyhow::Result<Vec<Head>> {
    let file = if place.is_dir() { place.join(HEADS) } else { place.to_owned() };
    let bytes = std::fs::read(&file).with_context(|| format!("the heads in {} cannot be read", file.display()))?;
    let (found, others) = heads(&bytes);
    if found.is_empty() && others > 0 {
        return Err(Failure::input(
            format!("{} holds no heads", file.display()),
            "give the file that audit.export wrote",
        )
        .into());
    }
    Ok(found)
}

fn print_report(report: &Report) -> anyhow::Result<()> {
    let (mut out, style) = (output::stdout(), Style::stdout());
    for finding in &report.findings {
        writeln!(out, "{} {}", style.red("wrong"), finding.message)?;
    }
    if report.more > 0 {
        writeln!(out, "{} {} more findings", style.red("wrong"), report.more)?;
    }
    for remark in &report.remarks {
        writeln!(out, "{} {remark}", style.dim("note"))?;
    }
    let entries = table::counted(report.entries, "entry", "entries");
    let signed = match &report.signed_at {
        Some(at) => format!("signed up to entry {} at {at}", report.signed),
        None => "not signed".to_owned(),
    };
    let verdict = if report.intact { style.green("intact") } else { style.red("not intact") };
    writeln!(out, "{verdict} {entries} of the journal {}, {signed}", report.chain)?;
    out.flush()?;
    Ok(())
}

fn list(args: &ListArgs) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let limit = args.limit.map(|limit| limit.to_string());
    let asked = [
        ("who", &args.who),
        ("dataset", &args.dataset),
        ("action", &args.action),
        ("outcome", &args.outcome),
        ("since", &args.since),
        ("limit", &limit),
    ];
    let asked: Vec<(&str, &str)> = asked.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
    let found: Vec<Listed> = client.get(&["audit"], &asked)?;
    if args.json {
        output::json(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = ["at", "who", "by", "did", "outcome", "rows", "datasets", "statement"];
    let rows = found.iter().map(|listed| {
        let entry = &listed.entry;
        let did = match &entry.reason {
            Some(reason) => format!("{} ({reason})", word(&entry.action)),
            None => word(&entry.action),
        };
        let datasets: Vec<&str> = entry.datasets.iter().map(|of| of.dataset.as_str()).collect();
        vec![
            listed.at.as_str().into(),
            entry.who.name.as_deref().unwrap_or("nobody known").into(),
            word(&entry.surface).into(),
            did.into(),
            word(&entry.outcome).into(),
            entry.rows.into(),
            datasets.join(", ").into(),
            entry.statement.as_ref().map(|of| of.shape.chars().take(80).collect::<String>()).into(),
        ]
    });
    print_table(&names, rows.collect())
}

fn disclosures(args: &DisclosuresArgs) -> anyhow::Result<ExitCode> {
    let subject = match args.subject.as_str() {
        "-" => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).context("standard input cannot be read")?;
            line.trim_end_matches(['\r', '\n']).to_owned()
        }
        given => given.to_owned(),
    };
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let body = json!({"subject": subject, "from": args.from, "to": args.to});
    let found: Disclosures = client.post(&["audit", "disclosures"], &body)?;
    if args.json {
        output::json(&found)?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = ["at", "who", "roles", "by", "purpose", "because", "datasets", "rows"];
    let rows = found.disclosures.iter().map(|of| {
        vec![
            of.at.as_str().into(),
            of.who.name.as_deref().unwrap_or("nobody known").into(),
            of.who.roles.join(", ").into(),
            word(&of.surface).into(),
            of.purpose.as_deref().into(),
            because(of).into(),
            of.datasets.iter().map(shown).collect::<Vec<_>>().join("; ").into(),
            of.rows.into(),
        ]
    });
    let code = print_table(&names, rows.collect())?;
    let (mut out, style) = (output::stdout(), Style::stdout());
    let which = match &found.datasets {
        Some(holding) if holding.is_empty() => "no dataset holds the person now".to_owned(),
        Some(holding) => {
            format!("datasets that hold the person: {}", holding.iter().cloned().collect::<Vec<_>>().join(", "))
        }
        None => "no contract says which column holds a person's id: every dataset may hold the person".to_owned(),
    };
    writeln!(out, "{}", style.dim(&which))?;
    if found.named_in_vain > 0 {
        writeln!(
            out,
            "{}",
            style.dim(&format!("{} more named the person and were given nothing", found.named_in_vain))
        )?;
    }
    if found.under_other_keys > 0 {
        let message = format!(
            "{} entries are under another key of tokens: whom they name cannot be told",
            found.under_other_keys
        );
        writeln!(out, "{}", style.dim(&message))?;
    }
    out.flush()?;
    Ok(code)
}

fn because(of: &Disclosure) -> &'static str {
    match of.because {
        Because::Named => "names the person",
        Because::Dataset => "read a dataset that holds the person",
        Because::MayHold => "read what may have held the person",
    }
}

/// A dataset with the columns that were seen.
fn shown(of: &Accessed) -> String {
    let columns: Vec<String> = of
        .columns
        .iter()
        .map(|(name, shown)| if *shown == Shown::Masked { format!("{name} (masked)") } else { name.clone() })
        .collect();
    if columns.is_empty() { of.dataset.clone() } else { format!("{}: {}", of.dataset, columns.join(", ")) }
}

/// A word as the journal writes it.
fn word(of: &impl serde::Serialize) -> String {
    serde_json::to_value(of).ok().and_then(|value| value.as_str().map(ToOwned::to_owned)).unwrap_or_default()
}

fn print_table(names: &[&str], rows: Vec<Vec<serde_json::Value>>) -> anyhow::Result<ExitCode> {
    let columns: Vec<(&str, &str)> =
        names.iter().map(|name| (*name, if *name == "rows" { "BIGINT" } else { "" })).collect();
    table::print(&table::answer(&columns, rows))?;
    Ok(ExitCode::SUCCESS)
}
