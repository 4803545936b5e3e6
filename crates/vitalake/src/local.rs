//! A project opened in this process, for a command that finds no server.
//!
//! It takes the data folder's LOCK, recovers, and answers HTTP on a loopback port of its own without opening Kafka's, so
//! that a command speaks to it as to any server. Invariant: it ends with the command, everything committed.

use std::path::Path;

use crate::failure::Failure;

/// An opened project; dropping it closes it.
#[derive(Debug)]
pub struct Local {
    url: String,
}

impl Local {
    /// Where it answers: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Opens a project on its data folder.
///
/// # Errors
/// When the project is not valid or another process holds the data folder.
pub fn open(dir: &Path, _data: &Path) -> anyhow::Result<Local> {
    Err(Failure::unreachable(
        format!("no server answers, and {} cannot be opened in this process yet", dir.display()),
        "start one with `vitalake up`, or name one with --server URL",
    )
    .into())
}
