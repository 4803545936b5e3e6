//! `vitalake feed release` and `reject`: a person's word on a delivery that is held.
//!
//! Invariant: nothing is decided without a reason.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Args;
use vitalake_ops::deliveries::{DeliveryDecision, RejectedDelivery};
use vitalake_ops::status::{DeliveryReport, DeliveryState};

use crate::cli::ConnectArgs;
use crate::client::Client;
use crate::local::Purpose;
use crate::output;
use crate::table::counted;

/// Whose word it is, and why.
#[derive(Debug, Args)]
pub struct WordArgs {
    /// The id under which it is held, as `vitalake feed history --state held` shows it
    #[arg(value_name = "ID")]
    pub id: String,
    /// Why, for whoever reads ops.deliveries later
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who decides [default: the user that runs this]
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    pub by: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

impl WordArgs {
    fn decision(&self, replaces_newer: bool) -> DeliveryDecision {
        DeliveryDecision { reason: self.reason.clone(), by: self.by.clone(), replaces_newer }
    }
}

/// `vitalake feed release`
#[derive(Debug, Args)]
pub struct ReleaseDeliveryArgs {
    /// Which, and why.
    #[command(flatten)]
    pub word: WordArgs,
    /// Let it take the place of a delivery that has come since it was held
    #[arg(long)]
    pub replace_newer: bool,
}

/// `vitalake feed reject`
#[derive(Debug, Args)]
pub struct RejectDeliveryArgs {
    /// Which, and why.
    #[command(flatten)]
    pub word: WordArgs,
}

/// Lets a held delivery in.
///
/// # Errors
/// When none is held as that, a newer delivery is in its place, or no server answers.
pub fn release(args: &ReleaseDeliveryArgs) -> anyhow::Result<ExitCode> {
    let word = &args.word;
    let client = Client::connect(&word.connect, Purpose::Deliver)?;
    let decision = word.decision(args.replace_newer);
    let report: DeliveryReport = client.post(&["deliveries", &word.id, "release"], &decision)?;
    if word.json {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (dataset, delivery) = (&report.dataset, report.delivery.unwrap_or_default());
    let words = match report.state {
        DeliveryState::AlreadyLoaded => format!("it is in {dataset} already, as delivery {delivery}"),
        DeliveryState::Superseded => format!("it changes nothing: {dataset} shows a newer day already"),
        DeliveryState::Loaded | DeliveryState::Held => {
            let accepted = counted(report.accepted, "row", "rows");
            format!("into {dataset}: {accepted} accepted, {} quarantined, as delivery {delivery}", report.quarantined)
        }
    };
    writeln!(output::stdout(), "{words}")?;
    Ok(ExitCode::SUCCESS)
}

/// Gives a held delivery up.
///
/// # Errors
/// When none is held as that, or no server answers.
pub fn reject(args: &RejectDeliveryArgs) -> anyhow::Result<ExitCode> {
    let word = &args.word;
    let client = Client::connect(&word.connect, Purpose::Deliver)?;
    let report: RejectedDelivery = client.post(&["deliveries", &word.id, "reject"], &word.decision(false))?;
    if word.json {
        output::json(&report)?;
    } else {
        writeln!(output::stdout(), "{} is given up: nothing of it is in {}", report.id, report.dataset)?;
    }
    Ok(ExitCode::SUCCESS)
}
