//! One module a command; this one sends each to its own.
//!
//! Invariant: a command prints its answer to standard output and everything else to standard error.

pub mod alert;
pub mod audit;
pub mod azure;
pub mod druid;
pub mod erase;
mod example;
pub mod feed;
pub mod functions;
pub mod gate;
pub mod import;
pub mod ingest;
pub mod init;
pub mod lineage;
pub mod lint;
pub mod list;
pub mod password;
pub mod policy;
pub mod quarantine;
pub mod query;
pub mod reconcile;
pub mod runbook;
mod safe_harbor;
pub mod simulate;
mod simulate_feed;
pub mod superset;
mod superset_data;
pub mod token;
pub mod up;
pub mod validate;
pub mod validate_access;
mod validate_alerts;
mod validate_consent;
mod validate_dashboards;
mod validate_feeds;
mod validate_runbooks;
mod validate_subjects;
mod who;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::cli::{Command, ContractCommand};

/// Runs a command to its end.
///
/// # Errors
/// Whatever the command failed with; `failure::report` prints it.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(args) => init::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Contract(args) => match args.command {
            ContractCommand::Lint(args) => lint::run(&args),
            ContractCommand::Import(args) => import::run(&args),
        },
        Command::Up(args) => {
            runtime()?.block_on(up::run(args))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Query(args) => query::run(&args),
        Command::Quarantine(args) => quarantine::run(&args),
        Command::Alert(args) => alert::run(&args),
        Command::Feed(args) => feed::run(&args),
        Command::Gate(args) => gate::run(&args),
        Command::Druid(args) => druid::run(&args),
        Command::Erase(args) => erase::run(&args),
        Command::Superset(args) => superset::run(&args),
        Command::Runbook(args) => runbook::run(&args),
        Command::Ingest(args) => ingest::run(&args),
        Command::Datasets(args) => list::datasets(&args),
        Command::Status(args) => list::status(&args),
        Command::Flush(args) => list::flush(&args),
        Command::Reconcile(args) => reconcile::run(&args),
        Command::Policy(args) => policy::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Lineage(args) => lineage::run(&args),
        Command::Azure(args) => azure::run(&args),
        Command::Functions(_) => runtime()?.block_on(functions::run()),
        Command::Token(args) => token::run(&args),
        Command::Password(args) => password::run(&args),
        Command::Simulate(args) => runtime()?.block_on(simulate::run(&args)),
    }
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the async runtime could not be started")
}
