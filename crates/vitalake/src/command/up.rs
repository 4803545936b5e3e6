//! `vitalake up`: starts the platform on a project directory and stays until it is told to stop.
//!
//! Invariant: on SIGTERM or Ctrl-C intake stops first, then what was taken is committed, then the process leaves.

use crate::cli::UpArgs;
use crate::failure::Failure;

/// Starts everything and runs until a signal says stop.
///
/// # Errors
/// When the project is not valid, an address or the data folder is taken, or storage cannot be reached.
pub async fn run(args: UpArgs) -> anyhow::Result<()> {
    std::future::ready(()).await;
    Err(Failure::input(
        format!("the platform cannot be started on {} yet", args.dir.display()),
        "this build has the command line only",
    )
    .into())
}
