//! How a model reads a table: first what was committed before it was there, then what is new, epoch by epoch.
//!
//! A model's cursor survives in the `txn` action of its own output; everything else about a reader is in memory.
//! Invariant: increments never cross a seal, and a seal is given exactly once.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::changes::{Increment, ReaderId};
use crate::delta::{DataFile, TableVersion};
use crate::epoch::{ChangeNumber, Seal};
use crate::error::LakeError;
use crate::flush::signed;
use crate::table::Table;

/// About so many rows make an increment.
const INCREMENT_ROWS_MAX: usize = 65_536;

/// A model's place in a table's changes.
#[derive(Debug)]
pub struct ChangeReader {
    table: Arc<Table>,
    id: ReaderId,
    backlog: VecDeque<Increment>,
}

impl ChangeReader {
    /// The table that is read.
    #[must_use]
    pub fn table(&self) -> &Arc<Table> {
        &self.table
    }

    /// The next increment; waits for one.
    ///
    /// # Errors
    /// `Stopped` when the table is closed.
    pub async fn next(&mut self) -> Result<Increment, LakeError> {
        let mut moved = self.table.watch();
        loop {
            moved.borrow_and_update();
            if let Some(increment) = self.try_next() {
                return Ok(increment);
            }
            if moved.changed().await.is_err() {
                return Err(LakeError::Stopped("reading a table"));
            }
        }
    }

    /// The next increment, if there is one.
    pub fn try_next(&mut self) -> Option<Increment> {
        self.backlog
            .pop_front()
            .or_else(|| self.table.take(self.id, INCREMENT_ROWS_MAX))
    }
}

impl Table {
    /// A reader that has consumed the table up to a Delta version (`None`: nothing yet). Its first increments are the
    /// files that were added since, the last of them with the seal of the version that is there now.
    ///
    /// # Errors
    /// When the table's history since that version cannot be read.
    pub async fn reader(
        self: &Arc<Self>,
        consumed: Option<i64>,
    ) -> Result<ChangeReader, LakeError> {
        let (id, head) = self.register_reader();
        let failed = |source| LakeError::Delta {
            attempt: "reading the history",
            table: self.id(),
            source,
        };
        let from = consumed
            .and_then(|v| u64::try_from(v).ok())
            .map(TableVersion);
        let mut backlog = VecDeque::new();
        if from != Some(head.version()) {
            let files: Vec<Arc<DataFile>> = match from {
                Some(from) => self
                    .rows_log
                    .changes(from, head.version())
                    .await
                    .map_err(failed)?
                    .into_iter()
                    .flat_map(|c| c.added)
                    .collect(),
                None => head.files().cloned().collect(),
            };
            backlog.extend(files.into_iter().map(|file| Increment {
                files: vec![file],
                ..Increment::default()
            }));
            let seal = Arc::new(Seal::committed(0, ChangeNumber(0), signed(&head)));
            backlog.push_back(Increment {
                seal: Some(seal),
                ..Increment::default()
            });
        }
        Ok(ChangeReader {
            table: Arc::clone(self),
            id,
            backlog,
        })
    }
}
