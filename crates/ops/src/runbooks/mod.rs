//! Runbooks: what to do when an alert fires, as Markdown whose SQL blocks show the evidence.
//!
//! A project's own come from `runbooks/*.md`, those for the platform's alerts are in the binary; `serve` runs the SQL and
//! puts the page on the wire. Pure. Invariant: a runbook's SQL is text of its author alone; what an alert brings is put in
//! as a literal.

mod built_in;
mod parameters;
mod parse;
mod prose;
mod report;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use vitalake_contract::project::RunbookFile;

pub use parameters::{AlertContext, Statement, bind};
pub use parse::{Block, Piece, Runbook, RunbookProblem};
pub use prose::{escaped, html};
pub use report::{Found, Origin, Part, RunbookEntry, RunbookReport};

/// All runbooks of a process, by name. A project's own goes before a built-in one of its name.
#[derive(Clone, Debug)]
pub struct Library {
    runbooks: BTreeMap<String, Arc<Runbook>>,
}

impl Library {
    /// The built-in runbooks and those of a project.
    #[must_use]
    pub fn new(files: &[RunbookFile]) -> Self {
        let own = |file: &RunbookFile| Runbook::parse(&file.name, Origin::Project, &file.text);
        let built_in = built_in::ALL.iter().map(|(name, text)| Runbook::parse(name, Origin::BuiltIn, text));
        let all = built_in.chain(files.iter().map(own));
        Self { runbooks: all.map(|runbook| (runbook.name.clone(), Arc::new(runbook))).collect() }
    }

    /// The runbook of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Runbook>> {
        self.runbooks.get(name)
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Runbook>> {
        self.runbooks.values()
    }
}

/// Keeps the evidence of the moment when an alert fires.
#[async_trait]
pub trait EvidenceKeeper: Send + Sync + 'static {
    /// Runs the queries of the alert's runbook, and keeps what they find with the alert. Takes as long as the queries do,
    /// at most a minute; to be called beside the alert's messages, not before them.
    async fn keep(&self, runbook: &str, alert: &AlertContext);
}

/// The names of the runbooks that every project has.
pub fn built_in_names() -> impl Iterator<Item = &'static str> {
    built_in::ALL.iter().map(|(name, _)| *name)
}
