//! What of the platform a process does.
//!
//! One process does everything by default. With an external Kafka and a lake that all can reach, intake, models and
//! queries may each have processes of their own; they meet in the Delta logs. Invariant: every table has writers of one
//! role alone, and every other process only follows it.

use clap::ValueEnum;
use vitalake_contract::Layer;

/// A process's part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Everything
    #[default]
    All,
    /// Records and deliveries into raw tables; several share the topics' partitions
    Ingest,
    /// Models: raw tables into curated and serving ones; a second process stands by
    Process,
    /// Queries, ahead of the commits: records read from Kafka, and the models run on them
    Serve,
    /// The role process while another process has it
    #[value(skip)]
    Spare,
}

impl Role {
    /// Its name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Ingest => "ingest",
            Self::Process => "process",
            Self::Serve => "serve",
            Self::Spare => "process, standing by",
        }
    }

    /// Whether it has this layer's tables at all.
    pub(crate) fn opens(self, layer: Layer) -> bool {
        self != Self::Ingest || layer == Layer::Raw
    }

    /// Whether another process commits to this layer's tables.
    pub(crate) fn follows(self, layer: Layer) -> bool {
        match self {
            Self::All | Self::Ingest => false,
            Self::Process => layer == Layer::Raw,
            Self::Serve | Self::Spare => true,
        }
    }

    /// Whether it runs models, to commit what they make or to show it.
    pub(crate) fn runs_models(self) -> bool {
        matches!(self, Self::All | Self::Process | Self::Serve)
    }

    /// Whether files are delivered to it, by feeds too.
    pub(crate) fn takes_deliveries(self) -> bool {
        matches!(self, Self::All | Self::Ingest)
    }

    /// Whether it reads records.
    pub(crate) fn takes_records(self) -> bool {
        !matches!(self, Self::Process | Self::Spare)
    }
}
