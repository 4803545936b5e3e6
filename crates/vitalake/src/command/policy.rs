//! `vitalake policy explain`: what a client's query would read, what it would see of that, and why.
//!
//! From the project's files alone; nothing is run and no server is asked. Invariant: it says what the platform would do
//! with these files.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use vitalake_contract::diagnostic::has_errors;
use vitalake_ops::tables::OpsTable;
use vitalake_process::table_specs;
use vitalake_runtime::config::Overrides;
use vitalake_runtime::config::access::Scope;
use vitalake_serve::identity::Identity;
use vitalake_serve::policy::{ColumnSeen, Explained, explain};

use super::safe_harbor::{self, SafeHarborArgs};
use super::validate::{self, contracts_of};
use super::validate_access::access_of;
use crate::failure::Failure;
use crate::output::{self, Style};

/// `vitalake policy`
#[derive(Debug, Args)]
pub struct PolicyArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: PolicyCommand,
}

/// What can be asked of policies.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Show what a client's query would read and see, and why
    Explain(ExplainArgs),
    /// Make a view of a dataset without the eighteen identifiers of HIPAA's Safe Harbor method, and say what it cannot give
    SafeHarbor(SafeHarborArgs),
}

/// `vitalake policy explain`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake policy explain grafana \"SELECT * FROM serving.vitals_hourly\"\n  \
                  vitalake policy explain --role analyst \"SELECT postal_code FROM raw.patients\"")]
pub struct ExplainArgs {
    /// The client, as access.clients names it; left out with --role
    #[arg(value_name = "CLIENT")]
    pub client: Option<String>,
    /// The query
    #[arg(value_name = "SQL")]
    pub sql: Option<String>,
    /// Roles in place of a client's; may be given several times
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// The project
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Answers.
///
/// # Errors
/// When the project is not valid, there is no such client, or the client would be refused.
pub fn run(args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        PolicyCommand::Explain(args) => explained(args),
        PolicyCommand::SafeHarbor(args) => safe_harbor::run(args),
    }
}

fn explained(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let checked = validate::check(&args.project, &Overrides::default());
    if has_errors(&checked.diagnostics) {
        let message = format!("the project at {} is not valid", args.project.display());
        return Err(Failure::input(message, "`vitalake validate` says why").into());
    }
    let mut settings = checked.configuration(&Overrides::default())?.access;
    // The key itself changes nothing of what is explained.
    settings.mask_key = settings.mask_key.map(|_| "a key that masks nothing".into());
    // With --role alone the one text that stands there is the query.
    let (client, sql) = match (&args.client, &args.sql) {
        (Some(sql), None) if !args.roles.is_empty() => (None, sql),
        (client, Some(sql)) => (client.as_ref(), sql),
        (_, None) => return Err(Failure::usage("there is no query", "write CLIENT and SQL, or --role and SQL").into()),
    };
    let (name, roles): (&str, Vec<String>) = match client {
        _ if !args.roles.is_empty() => ("somebody", args.roles.clone()),
        Some(name) => match settings.clients.get(name) {
            Some(client) => (name.as_str(), client.roles.iter().cloned().collect()),
            None => return Err(unknown(name, settings.clients.keys()).into()),
        },
        None => ("somebody", Vec::new()),
    };
    if let Some(role) = roles.iter().find(|role| !settings.roles.contains_key(*role)) {
        return Err(unknown(role, settings.roles.keys()).into());
    }
    let access = access_of(&checked, &settings)?;
    let specs: Vec<_> =
        table_specs(&checked.models, &contracts_of(&checked.project))?.into_iter().chain(OpsTable::specs()).collect();
    let scope = settings.clients.get(name).filter(|_| args.roles.is_empty()).map(|client| &client.scope);
    let identity = Identity::client(name, roles.iter().cloned()).narrowed(scope.unwrap_or(&Scope::default()));
    let explained = explain(&access, &identity, &specs, sql)
        .map_err(|refused| Failure::input(format!("{name} ({}) is refused: {refused}", roles.join(", ")), ""))?;
    if args.json {
        output::json(&explained)?;
    } else {
        print(name, &roles, &explained)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown<'n>(name: &str, known: impl Iterator<Item = &'n String>) -> Failure {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let help =
        if known.is_empty() { "vitalake.yaml lists none".to_owned() } else { format!("known: {}", known.join(", ")) };
    Failure::input(format!("there is no {name} under access"), help)
}

fn print(name: &str, roles: &[String], explained: &Explained) -> anyhow::Result<()> {
    let (mut out, style) = (output::stdout(), Style::stdout());
    writeln!(out, "{name} ({}) is answered", roles.join(", "))?;
    for table in &explained.tables {
        let rows = table.rows.as_ref().map_or("all rows".to_owned(), |rows| format!("rows where {rows}"));
        writeln!(out, "\n{}: {rows}", table.table)?;
        let width = table.columns.iter().map(|column| column.column.len()).max().unwrap_or_default();
        for column in &table.columns {
            writeln!(out, "  {:<width$}  {}", column.column, in_words(column))?;
        }
        if !table.hidden.is_empty() {
            let names: Vec<&str> = table.hidden.iter().map(|column| column.column.as_str()).collect();
            writeln!(out, "  {}", style.dim(&format!("not there for it: {}", names.join(", "))))?;
        }
    }
    out.flush()?;
    Ok(())
}

fn in_words(column: &ColumnSeen) -> String {
    let class = column.classification.map_or_else(String::new, |class| format!(" ({class})"));
    match column.mask {
        None => format!("as it is{class}"),
        Some(mask) if column.ask.is_empty() => format!("masked by {mask}{class}"),
        Some(mask) => format!("masked by {mask}{class}; in the clear for {}", column.ask.join(", ")),
    }
}
