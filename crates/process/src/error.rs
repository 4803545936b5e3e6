//! What can go wrong in this crate. Messages name datasets, columns and rules, never a record's value.

use vitalake_contract::{DatasetName, Layer};
use vitalake_lake::LakeError;
use vitalake_runtime::error::{Class, Classified, Retry};

use crate::engine::spark::Failure;
use crate::problem::{ModelProblem, Place};

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of models and their runs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A model that cannot be run as written.
    #[error("model {model}: {problem}")]
    Model {
        /// The model's dataset.
        model: DatasetName,
        /// The first thing wrong with it.
        problem: Box<ModelProblem>,
    },
    /// The engine could not make or run a plan.
    #[error("model {model}: {attempted} failed in the query engine")]
    Engine {
        /// The model's dataset.
        model: DatasetName,
        /// What was attempted.
        attempted: &'static str,
        /// Why; may quote values, so it is shown in no log.
        #[source]
        source: Box<datafusion::error::DataFusionError>,
    },
    /// The engine, or a step of ours, panicked.
    #[error(
        "model {model}: {attempted} broke down, which is a mistake in vitalake; the log has the place, please report it"
    )]
    Panicked {
        /// The model's dataset.
        model: DatasetName,
        /// What was attempted.
        attempted: &'static str,
    },
    /// The engine fails whatever the rows are.
    #[error(
        "model {model}: the expression at models/{layer}/{model}.sql:{place} cannot be computed for any row; mend it, then start the server again"
    )]
    Unrunnable {
        /// The model's dataset.
        model: DatasetName,
        /// Its layer.
        layer: Layer,
        /// Where the expression stands.
        place: Place,
        /// Why; may quote values, so it is shown in no log.
        #[source]
        source: Box<Error>,
    },
    /// A statement has given nothing.
    #[error("model {model}: {}", of_spark(failure, *layer, model, *place))]
    Spark {
        /// The model's dataset.
        model: DatasetName,
        /// Its layer.
        layer: Layer,
        /// Where in the model, as far as Spark says it.
        place: Place,
        /// What went wrong.
        failure: Failure,
    },
    /// Spark cannot run a model whatever the rows are.
    #[error(
        "model {model}: Spark cannot run models/{layer}/{model}.sql:{place}: {failure}; mend it, or write `-- engine: datafusion` into its header, then start the server again"
    )]
    RefusedBySpark {
        /// The model's dataset.
        model: DatasetName,
        /// Its layer.
        layer: Layer,
        /// Where in the model.
        place: Place,
        /// What Spark says.
        failure: Failure,
    },
    /// A model is to run on a Spark, and none is named.
    #[error(
        "model {model} is to run on Spark, and vitalake.yaml names none; add `engines: {{spark: 'sc://HOST:15002'}}`, or write `-- engine: datafusion` into its header"
    )]
    NoSpark {
        /// The model's dataset.
        model: DatasetName,
    },
    /// What is corrected in a table has moved again and again meanwhile.
    #[error("{dataset} has moved while rows of it were made again: that is tried once more")]
    Moved {
        /// The dataset.
        dataset: DatasetName,
    },
    /// Rejects of a dataset cannot be put through again.
    #[error("rejects of {dataset} cannot be replayed: {why}")]
    NoReplay {
        /// The dataset.
        dataset: DatasetName,
        /// Why, and what to do.
        why: &'static str,
    },
    /// Columns that are not as the table's schema says.
    #[error("{what} does not have the columns expected: {detail}")]
    Columns {
        /// Which rows.
        what: String,
        /// Which column, and how it differs.
        detail: String,
    },
    /// A computation on columns failed.
    #[error("{attempted} failed on columns in memory")]
    Arrow {
        /// What was attempted.
        attempted: &'static str,
        /// Why; may quote values, so it is shown in no log.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// The lake refused.
    #[error(transparent)]
    Lake(Box<LakeError>),
    /// A row breaks a rule of severity `fatal`: nothing more is promoted.
    #[error(
        "rows for {dataset} break the fatal rule {rule}; the batch and what follows it wait until the contract or the model is changed and the server is started again"
    )]
    Fatal {
        /// The dataset.
        dataset: DatasetName,
        /// The rule.
        rule: String,
    },
    /// The owner of a followed table is so far behind that this process does not run ahead of it.
    #[error(
        "{rows} rows wait for the process that runs the models, more than the {rows_max} that are made here ahead of it; {dataset} is shown as it was last committed"
    )]
    FarBehind {
        /// The dataset.
        dataset: DatasetName,
        /// The rows.
        rows: u64,
        /// How many are made ahead.
        rows_max: u64,
    },
    /// The input of a model is shown as it was committed, and so is its output.
    #[error("{dataset} is shown as it was last committed, because {input} is")]
    InputWaits {
        /// The dataset.
        dataset: DatasetName,
        /// The input.
        input: DatasetName,
    },
    /// The owner of a followed table has consumed a version of its input that was not found here yet.
    #[error("the input of {dataset} is not here yet as its owner has read it")]
    Overtaken {
        /// The dataset.
        dataset: DatasetName,
    },
    /// A rollup holds groups of an input that is not there any longer.
    #[error(
        "{table} was made of another table than the {input} that is there now, whose rows it would count a second time; stop the server, remove the folder of {table} and start it again: it is made anew"
    )]
    InputMadeAnew {
        /// The rollup.
        table: String,
        /// Its input.
        input: String,
    },
    /// The events from which a table's rows follow are gone.
    #[error(
        "the events that the rows of {table} follow from are gone from state/; stop the server, remove the folder of {table} too and start it again: it is made anew"
    )]
    StateGone {
        /// The table.
        table: String,
    },
    /// The inputs of a full model, or what it makes of them, do not fit into memory.
    #[error(
        "{dataset} is too large to be computed as a whole: {bytes} bytes in memory, at most {bytes_max}; make it a rollup or an upsert, or filter its input in a model of its own"
    )]
    TooLargeAsAWhole {
        /// The model's dataset.
        dataset: DatasetName,
        /// The size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A snapshot does not fit into memory.
    #[error(
        "{input} comes as a whole that is too large to compare with what {dataset} holds: {bytes} bytes in memory, at most {bytes_max}; let what changed be delivered alone, with `delivery: append` and a `-- sequence:`"
    )]
    SnapshotTooLarge {
        /// The model's dataset.
        dataset: DatasetName,
        /// Its input.
        input: DatasetName,
        /// The size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A joined table does not fit into memory.
    #[error(
        "{table} is too large to join: {bytes} bytes in memory, at most {bytes_max}; filter it in a model of its own"
    )]
    JoinedTooLarge {
        /// The table.
        table: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The spilled part of the index of keys could not be written or read.
    #[error("the index of keys in {path} could not be {attempted}; check the disk")]
    Index {
        /// Its folder.
        path: String,
        /// What was attempted.
        attempted: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// What a statement that gave nothing says: with the place where the statement is to blame.
fn of_spark(failure: &Failure, layer: Layer, model: &DatasetName, place: Place) -> String {
    match failure.is_of_statement() {
        true => format!("the statement at models/{layer}/{model}.sql:{place} gave nothing: {failure}"),
        false => failure.to_string(),
    }
}

impl From<LakeError> for Error {
    fn from(source: LakeError) -> Self {
        Self::Lake(Box::new(source))
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Model { .. } => Class::User,
            Self::Index { .. }
            | Self::FarBehind { .. }
            | Self::InputWaits { .. }
            | Self::Overtaken { .. }
            | Self::Moved { .. } => Class::External,
            Self::Spark { failure, .. } if failure.is_of_statement() => Class::User,
            Self::Spark { .. } => Class::External,
            Self::Lake(source) => source.class(),
            Self::Engine { .. } | Self::Panicked { .. } | Self::Columns { .. } | Self::Arrow { .. } => Class::Internal,
            Self::Unrunnable { .. }
            | Self::RefusedBySpark { .. }
            | Self::NoSpark { .. }
            | Self::Fatal { .. }
            | Self::NoReplay { .. }
            | Self::InputMadeAnew { .. }
            | Self::StateGone { .. }
            | Self::TooLargeAsAWhole { .. }
            | Self::SnapshotTooLarge { .. }
            | Self::JoinedTooLarge { .. } => Class::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Model { .. }
            | Self::Unrunnable { .. }
            | Self::RefusedBySpark { .. }
            | Self::NoSpark { .. }
            | Self::Fatal { .. }
            | Self::StateGone { .. }
            | Self::SnapshotTooLarge { .. }
            | Self::InputMadeAnew { .. } => Retry::Never,
            Self::Spark { failure, .. } if failure.is_of_text() => Retry::Never,
            Self::Lake(source) => source.retry(),
            _ => Retry::Later,
        }
    }
}
