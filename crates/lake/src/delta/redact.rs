//! Log files without a person: bounds of data files that held rows of theirs, and texts that name them.
//!
//! The one place where what is in a log is written again. A version means what it meant: the same files, transactions and
//! columns, with fewer bounds and notes. Invariant: each file is replaced in one step, and says nothing that it did not say.

use std::collections::HashSet;

use object_store::{ObjectStoreExt, PutPayload};
use serde_json::{Value, json};

use super::action::{Action, format_commit, parse_commit};
use super::checkpoint::{encode_actions, read_checkpoint};
use super::log::{LogEntry, LogFile};
use super::{DeltaError, DeltaLog, FilePath};
use crate::erase::{ERASED, Subject};

/// What has to go from a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Redaction<'a> {
    /// Whose name must not stand in it.
    pub(crate) subject: &'a Subject,
    /// Files of which no bounds may stand in it.
    pub(crate) files: &'a HashSet<FilePath>,
    /// Whether it is only counted what would be written again.
    pub(crate) dry_run: bool,
}

impl DeltaLog {
    /// Writes the log's files again that say what must go, and gives how many.
    pub(crate) async fn redact(&self, redaction: Redaction<'_>) -> Result<u64, DeltaError> {
        let mut files = 0;
        for entry in self.entries_from(None).await? {
            files += u64::from(match entry.file {
                LogFile::Commit => self.redact_commit(&entry, redaction).await?,
                LogFile::Checkpoint { .. } => self.redact_checkpoint(&entry, redaction).await?,
                LogFile::CheckpointV2 => false,
            });
        }
        Ok(files)
    }

    async fn redact_commit(&self, entry: &LogEntry, redaction: Redaction<'_>) -> Result<bool, DeltaError> {
        let path = &entry.meta.location;
        let Some(bytes) = self.get(path).await? else { return Ok(false) };
        let Some(redacted) = redaction.lines(&bytes) else { return Ok(false) };
        if !redaction.dry_run {
            self.write_again(path, redacted).await?;
        }
        Ok(true)
    }

    async fn redact_checkpoint(&self, entry: &LogEntry, redaction: Redaction<'_>) -> Result<bool, DeltaError> {
        let path = &entry.meta.location;
        let mut actions = read_checkpoint(&self.store, &entry.meta).await?;
        for action in &mut actions {
            if let Action::Add(add) = action {
                add.data_change = false;
            }
        }
        let Some(redacted) = redaction.lines(&format_commit(path.as_ref(), &actions)?) else { return Ok(false) };
        if redaction.dry_run {
            return Ok(true);
        }
        let actions = parse_commit(path.as_ref(), &redacted)?;
        let (bytes, count) = encode_actions(actions.into_iter()).map_err(|error| DeltaError::parquet(path, error))?;
        self.write_again(path, bytes).await?;
        if self.last_checkpoint().await? == Some(entry.version) {
            let hint = json!({"version": entry.version.0, "size": count}).to_string();
            self.write_again(&self.log_path().join("_last_checkpoint"), hint.into_bytes()).await?;
        }
        Ok(true)
    }

    async fn write_again(&self, path: &object_store::path::Path, bytes: Vec<u8>) -> Result<(), DeltaError> {
        let written = self.store.put(path, PutPayload::from(bytes)).await;
        written.map(|_| ()).map_err(|error| DeltaError::store("write", path, error))
    }
}

impl Redaction<'_> {
    /// The lines of a commit without what must go; `None` where nothing does.
    fn lines(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (mut out, mut changed) = (Vec::with_capacity(bytes.len()), false);
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let parsed = serde_json::from_slice::<Value>(line).ok();
            match parsed.and_then(|mut value| self.value(&mut value).then_some(value)) {
                Some(value) => {
                    changed = true;
                    out.extend_from_slice(value.to_string().as_bytes());
                    out.push(b'\n');
                }
                None => out.extend_from_slice(line),
            }
        }
        changed.then_some(out)
    }

    /// Takes out of a value what must go, and says whether there was any.
    fn value(&self, value: &mut Value) -> bool {
        match value {
            Value::Object(fields) => {
                let path = fields.get("path").and_then(Value::as_str).map(FilePath::of_log);
                let is_concerned = path.is_some_and(|path| self.files.contains(&path));
                let mut changed = false;
                for (name, value) in fields.iter_mut() {
                    changed |= match value {
                        Value::String(text) if name == "stats" => self.statistics(text, is_concerned),
                        other => self.value(other),
                    };
                }
                changed
            }
            Value::Array(items) => items.iter_mut().fold(false, |changed, item| self.value(item) | changed),
            Value::String(text) => self.text(text),
            _ => false,
        }
    }

    /// A bound is cut, and cannot be made another: where one must go, all do.
    fn statistics(&self, text: &mut String, is_concerned: bool) -> bool {
        if !is_concerned && !self.subject.is_in(text.as_bytes()) {
            return false;
        }
        let Ok(Value::Object(mut fields)) = serde_json::from_str::<Value>(text) else {
            return std::mem::replace(text, "{}".to_owned()) != "{}";
        };
        let (least, most) = (fields.remove("minValues"), fields.remove("maxValues"));
        let changed = least.is_some() || most.is_some();
        *text = Value::Object(fields).to_string();
        changed
    }

    fn text(&self, text: &mut String) -> bool {
        if text.starts_with(['{', '['])
            && let Ok(mut inner) = serde_json::from_str::<Value>(text)
            && self.value(&mut inner)
        {
            *text = inner.to_string();
            return true;
        }
        if !self.subject.is_in(text.as_bytes()) {
            return false;
        }
        let without = self.subject.without(text, ERASED).filter(|text| !self.subject.is_in(text.as_bytes()));
        *text = without.unwrap_or_else(|| ERASED.to_owned());
        true
    }
}
