//! `vitalake contract lint`: the standard's own verdict on single contract files.
//!
//! Invariant: asks nothing beyond the Open Data Contract Standard; what a project needs more is `validate`'s.

use std::process::ExitCode;

use crate::cli::LintArgs;
use crate::failure::Failure;

/// Lints contract files.
///
/// # Errors
/// When a file cannot be read.
pub fn run(args: &LintArgs) -> anyhow::Result<ExitCode> {
    let message = format!("{} files cannot be checked yet", args.files.len());
    Err(Failure::input(message, "this build has the command line only").into())
}
