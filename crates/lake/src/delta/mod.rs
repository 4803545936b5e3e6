//! Delta tables: our own small layer over the open format, so that a commit costs the same at the ten-thousandth as at
//! the tenth and its durability is ours.
//!
//! [`DeltaLog`] is a table's log on an object store; a [`Snapshot`] is one version of the table, a value that is cheap
//! to clone and to advance. Flow: `open` or `create` → [`Snapshot`] → [`DeltaLog::append`] → the next [`Snapshot`].
//! Maintenance (checkpoint, compaction, clean-up, vacuum) is called by the table's owner, nothing runs by itself here.
//! Invariant: tables need reader version 1 and writer version 2, so that any Delta reader opens them.

pub mod action;
mod checkpoint;
mod clean;
mod commit;
mod compact;
mod error;
mod file_path;
mod history;
mod log;
mod prune;
mod redact;
pub mod schema;
mod snapshot;
mod stats;
mod vacuum;

pub use checkpoint::CheckpointOptions;
pub use clean::{CleanOptions, Cleaned};
pub use commit::{Change, CommitError};
pub use compact::{CompactOptions, CompactTask, Compacted};
pub use error::DeltaError;
pub use file_path::FilePath;
pub use history::VersionChanges;
pub use log::{DeltaLog, TableVersion};
pub use prune::prune;
pub(crate) use redact::Redaction;
pub use snapshot::{DataFile, Snapshot};
pub use stats::FileStats;
pub use vacuum::{VacuumOptions, Vacuumed};
