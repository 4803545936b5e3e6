//! `vitalake azure render`: what a project needs in Azure, as files.
//!
//! Invariant: touches no network, and writes nowhere but into the folder that is named.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use vitalake_contract::diagnostic::has_errors;
use vitalake_runtime::config::Overrides;

use crate::azure::{differing, render, write};
use crate::command::validate;
use crate::failure::Failure;
use crate::output::{self, Style};
use crate::table::counted;

/// `vitalake azure`
#[derive(Debug, Args)]
pub struct AzureArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AzureCommand,
}

/// What can be done for Azure.
#[derive(Debug, Subcommand)]
pub enum AzureCommand {
    /// Write the deployment of a project: Bicep, alert rules, the workbook and the Functions app
    Render(RenderArgs),
}

/// `vitalake azure render`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake azure render my-lake --out my-lake/azure\n  vitalake azure render my-lake --out my-lake/azure --check\n\n\
                  What is the same for every project (main.bicep, modules/) is written once and is yours to change; project/ follows from \
                  the project and is written each time. README.md in the folder says how to go on."
)]
pub struct RenderArgs {
    /// The project directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// The folder of the deployment
    #[arg(long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Write nothing; fail when the folder is not what the project says
    #[arg(long)]
    pub check: bool,
}

/// Renders a project's deployment.
///
/// # Errors
/// When the project is not valid, or the folder cannot be read or written.
pub fn run(args: &AzureArgs) -> anyhow::Result<ExitCode> {
    let AzureCommand::Render(args) = &args.command;
    let overrides = Overrides::default();
    let checked = validate::check(&args.dir, &overrides);
    if has_errors(&checked.diagnostics) {
        let findings = validate::in_words(&checked.diagnostics, Style::stderr());
        return Err(Failure::input(
            format!("the project at {} is not valid\n{findings}", args.dir.display()),
            "mend what is listed; `vitalake validate` checks it again",
        )
        .into());
    }
    let deployment = render(&checked.project, &checked.configuration(&overrides)?);
    let folder = args.out.display();
    if args.check {
        let differing = differing(&deployment, &args.out).with_context(|| format!("{folder} cannot be read"))?;
        if !differing.is_empty() {
            return Err(Failure::input(
                format!("{folder} is not what the project says: {}", differing.join(", ")),
                "run `vitalake azure render` without --check, and look at what changed",
            )
            .into());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let changed = write(&deployment, &args.out).with_context(|| format!("{folder} cannot be written"))?;
    let mut out = output::stdout();
    changed.iter().try_for_each(|path| writeln!(out, "{folder}/{path}"))?;
    writeln!(out, "{} written; {folder}/README.md says how to go on", counted(changed.len() as u64, "file", "files"))?;
    out.flush()?;
    let style = Style::stderr();
    let mut told = std::io::stderr().lock();
    deployment.left_out.iter().try_for_each(|words| writeln!(told, "{}", style.yellow(words)))?;
    Ok(ExitCode::SUCCESS)
}
