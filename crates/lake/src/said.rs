//! What the commits of a table say of themselves, read back.
//!
//! Invariant: the newest commit that says something decides.

use serde_json::Value;

use crate::LakeError;
use crate::delta::TableVersion;
use crate::delta::action::Action;
use crate::side::SideName;
use crate::table::Table;

/// How many commits are looked through.
const COMMITS_MAX: u64 = 2_000;

impl Table {
    /// What the newest commit of rows that says something under this key says; none where none of the last thousands
    /// does, or those that did are cleaned up.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub async fn last_said(&self, key: &str) -> Result<Option<String>, LakeError> {
        let (log, head) = self.at(SideName::Rows);
        let newest = head.version().0;
        for version in (newest.saturating_sub(COMMITS_MAX)..=newest).rev() {
            let read = log.read_commit(TableVersion(version)).await;
            let failed = |source| LakeError::Delta { attempt: "reading what commits say", table: self.id(), source };
            let read = read.map_err(failed)?;
            let Some(actions) = read else { break };
            let said = actions.iter().find_map(|action| match action {
                Action::CommitInfo(info) => info.get(key).and_then(Value::as_str),
                _ => None,
            });
            if let Some(said) = said {
                return Ok(Some(said.to_owned()));
            }
        }
        Ok(None)
    }
}
