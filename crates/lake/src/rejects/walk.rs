//! The way through all rejects that are meant, portion by portion, each given once.
//!
//! Whoever puts them through asks for the next portion, commits it and says what came of it. Invariant: rejects that stay
//! are not met a second time on the same way.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::AtomicU64;

use super::RejectFilter;
use super::through::{Portion, Tried};
use crate::delta::{DeltaError, FilePath};
use crate::error::LakeError;
use crate::table::Table;

/// How often a portion that has moved is looked for again.
const CONFLICTS_MAX: u32 = 10;

/// How far a replay is.
#[derive(Debug, Default)]
pub struct ReplayProgress {
    /// Rejects that have been put through.
    pub done: AtomicU64,
    /// How many there are to put through.
    pub of: AtomicU64,
}

/// A walk over the committed rejects of a table.
#[derive(Debug)]
pub struct Walk {
    filter: RejectFilter,
    portions: VecDeque<Portion>,
    /// Files with rejects that stay.
    kept: HashSet<FilePath>,
    conflicts: u32,
    tried: Tried,
    /// How many rejects are meant.
    pub rejects: u64,
}

impl Walk {
    /// Finds the rejects that are meant.
    ///
    /// # Errors
    /// When a file of quarantine cannot be read.
    pub async fn begin(table: &Table, filter: RejectFilter) -> Result<Self, LakeError> {
        let kept = HashSet::new();
        let portions: VecDeque<Portion> = table.portions(&filter, &kept).await?.into();
        let rejects = portions.iter().map(|portion| portion.rejects).sum();
        Ok(Self { filter, portions, kept, conflicts: 0, tried: Tried::default(), rejects })
    }

    /// Those that are meant.
    #[must_use]
    pub fn filter(&self) -> &RejectFilter {
        &self.filter
    }

    /// Means others from now on: what was meant has changed meanwhile. It is looked for with the next outcome that is none.
    pub fn mean(&mut self, filter: RejectFilter) {
        self.filter = filter;
    }

    /// The next portion.
    pub fn next_portion(&mut self) -> Option<Portion> {
        self.portions.pop_front()
    }

    /// Says what came of the portion that was given last; none where something had moved, so that what is left is looked
    /// for again.
    ///
    /// # Errors
    /// When quarantine cannot be read, or something moves again and again.
    pub async fn came(&mut self, table: &Table, outcome: Option<(Tried, Vec<FilePath>)>) -> Result<(), LakeError> {
        match outcome {
            Some((tried, kept)) => {
                self.tried.add(&tried);
                self.kept.extend(kept);
                Ok(())
            }
            None if self.conflicts < CONFLICTS_MAX => {
                self.conflicts += 1;
                self.portions = table.portions(&self.filter, &self.kept).await?.into();
                Ok(())
            }
            None => {
                let source = DeltaError::Contended { table: table.id().root().to_string(), attempts: self.conflicts };
                Err(LakeError::Delta { attempt: "a replay", table: table.id(), source })
            }
        }
    }

    /// What came of all portions so far.
    #[must_use]
    pub fn tried(&self) -> &Tried {
        &self.tried
    }
}
