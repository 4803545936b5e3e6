//! How a command ends badly: one exit status per kind of failure, one form of message.
//!
//! Invariant: 1 means that the input is wrong or a check failed, 2 that the command line is, 3 that no server answered,
//! 4 that it answered and something there is not well.

use std::io;
use std::process::ExitCode;

use crate::output::{self, Style};

/// The exit status of `status` and `flush` when a dataset is failed, stalled or behind.
pub const NOT_WELL: u8 = 4;

/// A failure with an exit status of its own and a word on what to do. Any other error ends with status 1.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The user's input is wrong, or a check failed.
    #[error("{message}")]
    Input {
        /// What happened, to what.
        message: String,
        /// What to do.
        help: String,
    },
    /// The command line asks for something that does not go together.
    #[error("{message}")]
    Usage {
        /// What happened, to what.
        message: String,
        /// What to do.
        help: String,
    },
    /// No server answered, or it is not ready to.
    #[error("{message}")]
    Unreachable {
        /// What happened, to what.
        message: String,
        /// What to do.
        help: String,
    },
}

impl Failure {
    /// The user's input is wrong, or a check failed.
    pub fn input(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Input { message: message.into(), help: help.into() }
    }

    /// The command line asks for something that does not go together.
    pub fn usage(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), help: help.into() }
    }

    /// No server answered.
    pub fn unreachable(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Unreachable { message: message.into(), help: help.into() }
    }

    fn help(&self) -> &str {
        match self {
            Self::Input { help, .. } | Self::Usage { help, .. } | Self::Unreachable { help, .. } => help,
        }
    }

    fn status(&self) -> u8 {
        match self {
            Self::Input { .. } => 1,
            Self::Usage { .. } => 2,
            Self::Unreachable { .. } => 3,
        }
    }
}

/// Prints an error with its causes and what to do, and gives the exit status that belongs to it.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if broken_pipe(error) {
        // The reader of our output (`head`, say) has had enough: not an error of ours.
        return ExitCode::SUCCESS;
    }
    let style = Style::stderr();
    eprintln!("{} {error}", style.red("error:"));
    let mut last = error.to_string();
    for cause in error.chain().skip(1) {
        let text = cause.to_string();
        if !last.contains(&text) {
            eprintln!("  {} {text}", style.dim("cause:"));
        }
        last = text;
    }
    let failure = error.downcast_ref::<Failure>();
    if let Some(failure) = failure.filter(|failure| !failure.help().is_empty()) {
        eprintln!("  {} {}", style.bold("help:"), failure.help());
    }
    ExitCode::from(failure.map_or(1, Failure::status))
}

fn broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(output::is_broken_pipe))
}
