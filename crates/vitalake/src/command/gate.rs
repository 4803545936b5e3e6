//! `vitalake gate`: what each gate holds back and why, and a person's word on it.
//!
//! Invariant: with --json standard output holds the API's own JSON and nothing else.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::Value;
use vitalake_ops::gates::{GateDecision, GateReport, HELD};

use super::who::who;
use crate::cli::ConnectArgs;
use crate::client::{Answer, Client};
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table;

/// `vitalake gate`
#[derive(Debug, Args)]
pub struct GateArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: GateCommand,
}

/// What can be done with gates.
#[derive(Debug, Subcommand)]
pub enum GateCommand {
    /// Show what each gate says: passed, or held back since when and by which rules
    Status(GateStatusArgs),
    /// Hold a dataset back until it is released, whatever its rules say
    Hold(GateDecisionArgs),
    /// End a hold, and publish what is staged in spite of the rules, once
    Release(GateDecisionArgs),
}

/// `vitalake gate status`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  vitalake gate status\n  vitalake gate status serving.steps_daily --json")]
pub struct GateStatusArgs {
    /// The serving dataset; without it all that have a gate
    #[arg(value_name = "DATASET")]
    pub dataset: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// `vitalake gate hold` and `release`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake gate hold serving.steps_daily --reason \"the clinic sends a correction\"\n  \
                  vitalake gate release serving.steps_daily --reason \"checked by hand\" --by ada"
)]
pub struct GateDecisionArgs {
    /// The serving dataset
    #[arg(value_name = "DATASET")]
    pub dataset: String,
    /// Why, for whoever reads ops.gates later
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Who decides [default: the user of this terminal]
    #[arg(long, value_name = "NAME")]
    pub by: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Where to ask.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Shows gates, or decides for one.
///
/// # Errors
/// When there is no such gate, the decision cannot be carried out, or no server answers.
pub fn run(args: &GateArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        GateCommand::Status(args) => {
            let client = Client::connect(&args.connect, Purpose::Look)?;
            let segments: Vec<&str> = ["gates"].into_iter().chain(args.dataset.as_deref()).collect();
            show(&client.get::<Vec<GateReport>>(&segments, &[])?, args.json)
        }
        GateCommand::Hold(args) => decide(args, "hold"),
        GateCommand::Release(args) => decide(args, "release"),
    }
}

fn decide(args: &GateDecisionArgs, act: &str) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let decision = GateDecision { reason: args.reason.clone(), by: who(args.by.as_deref()) };
    let report: GateReport = client.post(&["gates", &args.dataset, act], &decision)?;
    if args.json {
        output::json(&report)?;
        return Ok(ExitCode::SUCCESS);
    }
    show(&[report], false)
}

fn show(gates: &[GateReport], json: bool) -> anyhow::Result<ExitCode> {
    if json {
        output::json(&gates)?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = ["dataset", "state", "since", "stale"].map(str::to_owned).to_vec();
    let row = |gate: &GateReport| -> Vec<Value> {
        let stale = if gate.stale { "stale" } else { "" };
        vec![gate.dataset.as_str().into(), gate.state.as_str().into(), gate.since.as_str().into(), stale.into()]
    };
    let answer = Answer { names, types: Vec::new(), rows: gates.iter().map(row).collect() };
    table::print(&answer)?;
    let (style, mut out) = (Style::stdout(), output::stdout());
    for gate in gates.iter().filter(|gate| gate.state == HELD) {
        for reason in &gate.reasons {
            let line = format!("{} is held by {}: {} (wanted: {})", gate.dataset, reason.rule, reason.got, reason.want);
            writeln!(out, "{}", style.yellow(&line))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
