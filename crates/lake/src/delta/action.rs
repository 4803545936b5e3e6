//! The actions of the Delta protocol as they stand in commit files, one JSON object a line.
//!
//! Reading is tolerant: unknown actions and unknown fields are passed over, as the protocol wants. Writing gives only
//! what reader version 1 and writer version 2 know. Source: Delta transaction log protocol, "Actions".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::DeltaError;

/// One action of a commit.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Where the commit came from; the protocol gives it no meaning.
    CommitInfo(Map<String, Value>),
    /// What a reader and a writer must be able to do.
    Protocol(Protocol),
    /// Schema and configuration.
    MetaData(Metadata),
    /// How far an application has come.
    Txn(Txn),
    /// A file that is gone.
    Remove(Remove),
    /// A file that is there.
    Add(Add),
}

/// The versions and features that a table asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Protocol {
    /// Lowest reader version.
    pub min_reader_version: i32,
    /// Lowest writer version.
    pub min_writer_version: i32,
    /// Features that a reader must know (reader version 3).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader_features: Option<Vec<String>>,
    /// Features that a writer must know (writer version 7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer_features: Option<Vec<String>>,
}

impl Protocol {
    /// What our tables ask for: any reader and any writer.
    pub fn plain() -> Self {
        Self { min_reader_version: 1, min_writer_version: 2, reader_features: None, writer_features: None }
    }
}

/// The file format of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// Always `parquet`.
    pub provider: String,
    /// Always empty.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Default for Format {
    fn default() -> Self {
        Self { provider: "parquet".to_owned(), options: BTreeMap::new() }
    }
}

/// The metaData action: a table's identity, schema and configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The table's id, a UUID.
    pub id: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A description for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The files' format.
    #[serde(default)]
    pub format: Format,
    /// The schema as JSON (see [`super::schema`]).
    pub schema_string: String,
    /// Partition columns; ours have none.
    #[serde(default)]
    pub partition_columns: Vec<String>,
    /// Table properties.
    #[serde(default)]
    pub configuration: BTreeMap<String, String>,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_time: Option<i64>,
}

/// The add action: a file that belongs to the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Add {
    /// Relative to the table's root, percent-encoded.
    pub path: String,
    /// Values of the partition columns.
    #[serde(default)]
    pub partition_values: BTreeMap<String, Option<String>>,
    /// Length in bytes.
    pub size: i64,
    /// Milliseconds since 1970.
    pub modification_time: i64,
    /// False where rows were only moved between files.
    pub data_change: bool,
    /// Row count and bounds as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stats: Option<String>,
    /// Free notes on the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Option<String>>>,
    /// Rows that are masked; only there so that such a file can be refused.
    #[serde(default, skip_serializing)]
    pub deletion_vector: Option<Value>,
}

/// The remove action: a file that belongs to the table no more (a tombstone).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remove {
    /// The path exactly as it was added.
    pub path: String,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<i64>,
    /// False where rows were only moved between files.
    pub data_change: bool,
    /// Whether partition values and size are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_file_metadata: Option<bool>,
    /// Values of the partition columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition_values: Option<BTreeMap<String, Option<String>>>,
    /// Length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<i64>,
}

/// The txn action: the newest version of an application's own count that the table includes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Txn {
    /// The application's id, `vitalake/…` for ours.
    pub app_id: String,
    /// Its version.
    pub version: i64,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<i64>,
}

/// A line of a commit file; actions that are not named here are passed over.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    add: Option<Add>,
    remove: Option<Remove>,
    meta_data: Option<Metadata>,
    protocol: Option<Protocol>,
    txn: Option<Txn>,
    commit_info: Option<Map<String, Value>>,
}

impl Line {
    fn into_action(self) -> Option<Action> {
        (self.add.map(Action::Add))
            .or(self.remove.map(Action::Remove))
            .or(self.txn.map(Action::Txn))
            .or(self.meta_data.map(Action::MetaData))
            .or(self.protocol.map(Action::Protocol))
            .or(self.commit_info.map(Action::CommitInfo))
    }
}

/// Reads a commit file's bytes. `path` names the file in errors.
pub fn parse_commit(path: &str, bytes: &[u8]) -> Result<Vec<Action>, DeltaError> {
    let mut actions = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let parsed: Line = serde_json::from_slice(line).map_err(|error| DeltaError::InvalidCommit {
            path: path.to_owned(),
            line: index + 1,
            reason: json_reason(&error),
        })?;
        actions.extend(parsed.into_action());
    }
    Ok(actions)
}

/// Writes actions as a commit file's bytes.
pub fn format_commit(path: &str, actions: &[Action]) -> Result<Vec<u8>, DeltaError> {
    let mut bytes = Vec::with_capacity(256 * actions.len());
    for action in actions {
        serde_json::to_writer(&mut bytes, action).map_err(|error| DeltaError::InvalidCommit {
            path: path.to_owned(),
            line: 0,
            reason: json_reason(&error),
        })?;
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// A parse error's category and column, without the text around it: a log holds values of records.
pub(super) fn json_reason(error: &serde_json::Error) -> String {
    let category = match error.classify() {
        serde_json::error::Category::Io => "unreadable",
        serde_json::error::Category::Syntax => "not JSON",
        serde_json::error::Category::Data => "a field is missing or has the wrong type",
        serde_json::error::Category::Eof => "ends too early",
    };
    format!("{category}, column {}", error.column())
}
