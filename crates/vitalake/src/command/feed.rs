//! `vitalake feed`: where feeds stand, what they bring, and what people decide about it.
//!
//! Each subcommand has its own file. Invariant: with --json standard output holds the API's own JSON and nothing else.

pub mod decide;
pub mod history;
pub mod list;
pub mod now;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use decide::{RejectDeliveryArgs, ReleaseDeliveryArgs};
use history::HistoryArgs;
use list::FeedListArgs;
use now::FeedRunArgs;

/// `vitalake feed`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake feed list\n  vitalake feed history\n  vitalake feed history --state held\n  \
                  vitalake feed release 01987c1e-… --reason \"the clinic confirms the count\"\n  \
                  vitalake feed reject 01987c1e-… --reason \"half of the file is missing; it comes again\""
)]
pub struct FeedArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: FeedCommand,
}

/// What can be done with feeds and their deliveries.
#[derive(Debug, Subcommand)]
pub enum FeedCommand {
    /// Show where each feed stands: what came last, what is due, and what is not well
    List(FeedListArgs),
    /// Look for deliveries of a feed now, and take those that are complete
    Run(FeedRunArgs),
    /// Show what became of deliveries: loaded, known, held, released, rejected, superseded, refused
    History(HistoryArgs),
    /// Let a held delivery in, in spite of what holds it
    Release(ReleaseDeliveryArgs),
    /// Give a held delivery up: its bytes are removed
    Reject(RejectDeliveryArgs),
}

/// Runs a subcommand.
///
/// # Errors
/// Whatever it failed with.
pub fn run(args: &FeedArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        FeedCommand::List(args) => list::run(args),
        FeedCommand::Run(args) => now::run(args),
        FeedCommand::History(args) => history::run(args),
        FeedCommand::Release(args) => decide::release(args),
        FeedCommand::Reject(args) => decide::reject(args),
    }
}
