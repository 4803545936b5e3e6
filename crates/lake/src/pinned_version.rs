//! A published version for a reader outside this process: its files, kept while it reads them, and what changed since another.
//!
//! An engine that copies a table asks which stretches of time changed between the version that it has and the newest; the
//! log tells by the files that came and went, with their statistics. Invariant: what the log does not tell is no answer,
//! never a smaller change than took place.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};

use datafusion::common::ScalarValue;
use parking_lot::Mutex;

use crate::delta::action::Action;
use crate::delta::{DataFile, DeltaError, DeltaLog, FilePath, Snapshot, TableVersion};
use crate::error::LakeError;
use crate::side::SideName;
use crate::table::Table;

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// The versions whose files stay.
#[derive(Debug, Default)]
pub(crate) struct Pins(Mutex<Vec<Weak<Snapshot>>>);

impl Pins {
    /// The files of the versions that somebody still reads.
    pub(crate) fn files(&self) -> HashSet<FilePath> {
        let mut pins = self.0.lock();
        pins.retain(|pin| pin.strong_count() > 0);
        let versions: Vec<Arc<Snapshot>> = pins.iter().filter_map(Weak::upgrade).collect();
        versions.iter().flat_map(|version| version.files().map(|file| file.path().clone())).collect()
    }
}

/// A version whose files are not removed before this is dropped.
#[derive(Clone, Debug)]
pub struct PinnedVersion(Arc<Snapshot>);

impl PinnedVersion {
    /// The version.
    #[must_use]
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.0
    }
}

impl Table {
    /// What readers see now: what the gate has passed, and without a gate the last commit.
    #[must_use]
    pub fn published_head(&self) -> Arc<Snapshot> {
        self.published_side().map_or_else(|| self.head(), |published| published.head)
    }

    /// Keeps the files of a published version for as long as what this gives lives. `None` names the newest; none comes
    /// back where the log no longer reaches back so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn pin_published(&self, version: Option<u64>) -> Result<Option<PinnedVersion>, LakeError> {
        let newest = self.published_head();
        let found = match version.map(TableVersion) {
            Some(wanted) if wanted != newest.version() => {
                let loaded = self.published_log().load_at(wanted).await;
                loaded.map_err(|source| self.unread(source))?.map(Arc::new)
            }
            _ => Some(newest),
        };
        let Some(found) = found else { return Ok(None) };
        self.pins.0.lock().push(Arc::downgrade(&found));
        Ok(Some(PinnedVersion(found)))
    }

    /// The files whose rows came or went after a published version, up to another. `None` where the log no longer tells.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn published_changes(&self, from: u64, to: &Snapshot) -> Result<Option<Vec<Arc<DataFile>>>, LakeError> {
        let (from, log) = (TableVersion(from), self.published_log());
        if from > to.version() {
            return Ok(None);
        }
        let Some(before) = log.load_at(from).await.map_err(|source| self.unread(source))? else { return Ok(None) };
        let mut known: HashMap<FilePath, Arc<DataFile>> =
            before.files().map(|file| (file.path().clone(), Arc::clone(file))).collect();
        let mut changed = Vec::new();
        for version in (from.0 + 1..=to.version().0).map(TableVersion) {
            let Some(actions) = log.read_commit(version).await.map_err(|source| self.unread(source))? else {
                return Ok(None);
            };
            for action in actions {
                match action {
                    Action::Add(add) => {
                        let file = Arc::new(DataFile::new(add));
                        known.insert(file.path().clone(), Arc::clone(&file));
                        changed.extend(file.add.data_change.then_some(file));
                    }
                    Action::Remove(remove) if remove.data_change => {
                        let Some(file) = known.get(&FilePath::of_log(&remove.path)) else { return Ok(None) };
                        changed.push(Arc::clone(file));
                    }
                    _ => {}
                }
            }
        }
        Ok(Some(changed))
    }

    fn published_log(&self) -> DeltaLog {
        self.published_side().map_or_else(|| self.at(SideName::Rows).0, |published| published.log)
    }

    fn unread(&self, source: DeltaError) -> LakeError {
        LakeError::Delta { attempt: "reading what was published", table: self.id(), source }
    }
}

/// The first and the last moment of a column in a file, microseconds since 1970, as its statistics bound them. `None` where
/// they do not.
#[must_use]
pub fn moments_of(file: &DataFile, column: &str, schema: &arrow::datatypes::Schema) -> Option<(i64, i64)> {
    let (kind, stats) = (schema.field_with_name(column).ok()?.data_type(), file.stats()?);
    let micros = |bound: ScalarValue| match bound {
        ScalarValue::TimestampMicrosecond(at, _) => at,
        ScalarValue::Date32(day) => day.and_then(|day| i64::from(day).checked_mul(DAY_US)),
        _ => None,
    };
    Some((micros(stats.min(column, kind)?)?, micros(stats.max(column, kind)?)?))
}
