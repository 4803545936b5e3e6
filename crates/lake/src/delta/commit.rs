//! Committing: one put-if-absent of the next version's file, and the loop around it that settles races.
//!
//! A commit that failed in any way but "the version exists" is unknown: it may have taken place, or may yet. Each
//! commit therefore carries an id of its own in its commitInfo, by which it is found again: a transaction that is there
//! does not say whose commit it is of. Invariant: a change is committed at most once, and never over a conflict that the
//! protocol names.

use std::collections::{BTreeMap, HashSet};

use arrow::datatypes::SchemaRef;
use object_store::{PutMode, PutPayload};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::{Builder, Uuid};

use super::action::{Action, Add, Format, Metadata, Protocol, Remove, Txn, format_commit};
use super::snapshot::check_writable;
use super::{DeltaError, DeltaLog, FilePath, Snapshot, TableVersion, schema};

/// How many versions may go to others before a commit gives up.
const CONFLICTS_MAX: u32 = 100;
/// How often a commit of unknown outcome is looked up and tried again.
const UNKNOWNS_MAX: u32 = 3;
/// The field of commitInfo that holds a commit's own id.
const COMMIT_ID: &str = "vitalakeCommitId";

/// Why one version could not be committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The version exists already; whose it is must be read.
    #[error("the version exists already")]
    Conflict,
    /// It may have been committed or not.
    #[error("it is not known whether the version was committed")]
    Unknown(#[source] object_store::Error),
    /// The actions could not be written as JSON; nothing was sent.
    #[error(transparent)]
    Invalid(DeltaError),
}

/// What a commit shall change.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// By which its commit is told from every other's.
    pub id: Uuid,
    /// The operation's name in the history, such as `WRITE` or `OPTIMIZE`.
    pub operation: String,
    /// The time of the commit, milliseconds since 1970, from the caller's clock.
    pub timestamp_ms: i64,
    /// Files to add.
    pub adds: Vec<Add>,
    /// Files to remove; each must be live.
    pub removes: Vec<Remove>,
    /// Whether the removes are meant to be all that is there: rows that somebody adds meanwhile are a conflict then.
    pub replaces_all: bool,
    /// Whether it may be the next version alone: who has judged it on the one before wants to be asked again when
    /// somebody else has committed meanwhile.
    pub only_next: bool,
    /// Transactions; each must be later than the table's.
    pub txns: Vec<Txn>,
    /// New schema or configuration.
    pub metadata: Option<Metadata>,
    /// More fields for the commitInfo, such as a delivery's content hash.
    pub info: Map<String, Value>,
}

impl Change {
    /// An empty change.
    pub fn new(operation: &str, timestamp_ms: i64) -> Self {
        Self { id: Uuid::new_v4(), operation: operation.to_owned(), timestamp_ms, ..Self::default() }
    }

    /// Adds a transaction.
    pub fn with_txn(mut self, app_id: impl Into<String>, version: i64) -> Self {
        self.txns.push(Txn { app_id: app_id.into(), version, last_updated: Some(self.timestamp_ms) });
        self
    }

    /// Gives it the id that the same change of the same writer always has, so that a try of it that failed is found by the
    /// next, whoever made that one anew. Nothing of it may be changed afterwards that makes it another change.
    #[must_use]
    pub fn by(mut self, writer: Uuid) -> Self {
        let mut digest = Sha256::new_with_prefix(writer);
        let mut add = |text: &str| digest.update([&text.len().to_le_bytes(), text.as_bytes()].concat());
        add(&self.operation);
        self.adds.iter().for_each(|file| add(&file.path));
        self.removes.iter().for_each(|file| add(&file.path));
        self.txns.iter().for_each(|txn| add(&format!("{} {}", txn.version, txn.app_id)));
        self.metadata.iter().flat_map(|metadata| &metadata.configuration).for_each(|(key, value)| {
            add(key);
            add(value);
        });
        let digest: [u8; 32] = digest.finalize().into();
        let (first, _) = digest.split_first_chunk().unwrap_or((&[0; 16], &[]));
        self.id = Builder::from_custom_bytes(*first).into_uuid();
        self
    }

    fn actions(&self, read_version: Option<TableVersion>) -> Vec<Action> {
        let mut info = Map::new();
        info.insert("timestamp".to_owned(), self.timestamp_ms.into());
        info.insert("operation".to_owned(), self.operation.as_str().into());
        info.insert("operationParameters".to_owned(), Map::new().into());
        if let Some(version) = read_version {
            info.insert("readVersion".to_owned(), version.0.into());
        }
        info.insert("isBlindAppend".to_owned(), (self.removes.is_empty() && self.metadata.is_none()).into());
        info.insert("engineInfo".to_owned(), concat!("vitalake/", env!("CARGO_PKG_VERSION")).into());
        info.insert(COMMIT_ID.to_owned(), self.id.to_string().into());
        info.extend(self.info.clone());
        let mut actions = vec![Action::CommitInfo(info)];
        actions.extend(self.metadata.iter().cloned().map(Action::MetaData));
        actions.extend(self.txns.iter().cloned().map(Action::Txn));
        actions.extend(self.removes.iter().cloned().map(Action::Remove));
        actions.extend(self.adds.iter().cloned().map(Action::Add));
        actions
    }
}

impl DeltaLog {
    /// Makes an empty table, or loads it where it exists already (then its own schema stands).
    pub async fn create(
        &self,
        name: &str,
        schema: &SchemaRef,
        configuration: BTreeMap<String, String>,
        now_ms: i64,
    ) -> Result<Snapshot, DeltaError> {
        if let Some(snapshot) = self.load().await? {
            return Ok(snapshot);
        }
        let metadata = Metadata {
            id: Uuid::new_v4().to_string(),
            name: Some(name.to_owned()),
            description: None,
            format: Format::default(),
            schema_string: schema::to_schema_string(schema)?,
            partition_columns: Vec::new(),
            configuration,
            created_time: Some(now_ms),
        };
        let change = Change { metadata: Some(metadata), ..Change::new("CREATE TABLE", now_ms) };
        let mut actions = change.actions(None);
        actions.insert(1, Action::Protocol(Protocol::plain()));
        match self.commit(TableVersion(0), &actions).await {
            Ok(()) | Err(CommitError::Conflict) => {}
            Err(CommitError::Invalid(error)) => return Err(error),
            Err(CommitError::Unknown(source)) => return self.created(source).await,
        }
        self.load().await?.ok_or_else(|| DeltaError::Incomplete { table: self.table(), what: "metaData" })
    }

    /// Looks whether a table is there after its creation failed.
    async fn created(&self, source: object_store::Error) -> Result<Snapshot, DeltaError> {
        let unknown = DeltaError::CommitUnknown { table: self.table(), version: TableVersion(0), source };
        self.load().await?.ok_or(unknown)
    }

    /// Writes one version's commit file if it does not exist yet.
    pub async fn commit(&self, version: TableVersion, actions: &[Action]) -> Result<(), CommitError> {
        let path = self.commit_path(version);
        let bytes = format_commit(path.as_ref(), actions).map_err(CommitError::Invalid)?;
        match self.store.put_opts(&path, PutPayload::from(bytes), PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(object_store::Error::AlreadyExists { .. }) => Err(CommitError::Conflict),
            Err(source) => Err(CommitError::Unknown(source)),
        }
    }

    /// Commits a change on top of a snapshot and gives the version that has it.
    ///
    /// Other writers' appends are passed over, unless the change may be the next version alone; a transaction that is already there, a change of schema or protocol and
    /// a file that someone else removed are errors. Where the outcome stays unknown ([`DeltaError::CommitUnknown`]) the
    /// caller comes again with the same snapshot and a change of the same id: if it took place, that finds it.
    pub async fn append(&self, snapshot: &Snapshot, change: Change) -> Result<Snapshot, DeltaError> {
        self.check(snapshot, &change)?;
        let mut current = snapshot.clone();
        let (mut conflicts, mut unknowns) = (0, 0);
        loop {
            let version = current.version().next();
            let actions = change.actions(Some(snapshot.version()));
            let unknown = match self.commit(version, &actions).await {
                Ok(()) => return current.apply(version, &actions),
                Err(CommitError::Invalid(error)) => return Err(error),
                Err(CommitError::Conflict) => None,
                Err(CommitError::Unknown(source)) => Some(source),
            };
            let (newest, ours) = match self.catch_up(&current, &change).await {
                Ok(found) => found,
                Err(error) => return Err(self.outcome(version, unknown, error)),
            };
            if ours {
                return match unknown {
                    Some(_) => self.confirm(version, &actions).await.map(|()| newest),
                    None => Ok(newest),
                };
            }
            if change.only_next && newest.version() > current.version() {
                let version = newest.version();
                return Err(DeltaError::ConcurrentChange { table: self.table(), version, what: "head" });
            }
            conflicts += u32::from(newest.version() > current.version());
            unknowns += u32::from(unknown.is_some());
            current = newest;
            match unknown {
                Some(source) if unknowns >= UNKNOWNS_MAX => {
                    return Err(DeltaError::CommitUnknown { table: self.table(), version, source });
                }
                _ if conflicts >= CONFLICTS_MAX => {
                    return Err(DeltaError::Contended { table: self.table(), attempts: conflicts });
                }
                _ => {}
            }
        }
    }

    /// A commit that failed is there to be read all the same. Only the store's answer that it exists says that it will
    /// be there after a crash too.
    async fn confirm(&self, version: TableVersion, actions: &[Action]) -> Result<(), DeltaError> {
        match self.commit(version, actions).await {
            Ok(()) | Err(CommitError::Conflict) => Ok(()),
            Err(CommitError::Invalid(error)) => Err(error),
            Err(CommitError::Unknown(source)) => {
                Err(DeltaError::CommitUnknown { table: self.table(), version, source })
            }
        }
    }

    /// A conflict that was found is certain. A look-up that failed leaves the commit unknown.
    fn outcome(&self, version: TableVersion, unknown: Option<object_store::Error>, error: DeltaError) -> DeltaError {
        match (unknown, error) {
            (_, DeltaError::Store { source, .. }) => DeltaError::CommitUnknown { table: self.table(), version, source },
            (_, error) => error,
        }
    }

    /// Reads the commits after a version; says whether the commit with our id is among them, and fails on a conflict.
    async fn catch_up(&self, from: &Snapshot, change: &Change) -> Result<(Snapshot, bool), DeltaError> {
        let mut current = from.clone();
        let mut ours = false;
        while let Some(actions) = self.read_commit(current.version().next()).await? {
            let version = current.version().next();
            if !ours && (is_commit(&actions, change.id) || adds_the_same(&actions, change)) {
                ours = true;
            } else if !ours {
                self.check_conflict(version, &actions, change)?;
            }
            current = current.apply(version, &actions)?;
        }
        Ok((current, ours))
    }

    /// Whether a change can be committed on top of a snapshot, as far as the snapshot says.
    pub fn check(&self, snapshot: &Snapshot, change: &Change) -> Result<(), DeltaError> {
        check_writable(snapshot)?;
        for txn in &change.txns {
            if let Some(committed) = snapshot.txn(&txn.app_id).filter(|committed| *committed >= txn.version) {
                return Err(self.superseded(&txn.app_id, committed));
            }
        }
        let append_only =
            snapshot.metadata().configuration.get("delta.appendOnly").is_some_and(|value| value == "true");
        for remove in &change.removes {
            if snapshot.file(&FilePath::of_log(&remove.path)).is_none() {
                return Err(DeltaError::FileNotLive { table: self.table(), path: remove.path.clone() });
            }
            if append_only && remove.data_change {
                return Err(DeltaError::AppendOnly { table: self.table() });
            }
        }
        Ok(())
    }

    fn check_conflict(&self, version: TableVersion, actions: &[Action], change: &Change) -> Result<(), DeltaError> {
        let concurrent = |what| Err(DeltaError::ConcurrentChange { table: self.table(), version, what });
        let removes: HashSet<FilePath> = change.removes.iter().map(|ours| FilePath::of_log(&ours.path)).collect();
        for action in actions {
            match action {
                Action::MetaData(_) => return concurrent("metadata"),
                Action::Protocol(_) => return concurrent("protocol"),
                Action::Txn(theirs) if change.txns.iter().any(|ours| ours.app_id == theirs.app_id) => {
                    return Err(self.superseded(&theirs.app_id, theirs.version));
                }
                Action::Remove(theirs) if removes.contains(&FilePath::of_log(&theirs.path)) => {
                    return Err(DeltaError::FileNotLive { table: self.table(), path: theirs.path.clone() });
                }
                Action::Add(theirs) if change.replaces_all && theirs.data_change => return concurrent("rows"),
                _ => {}
            }
        }
        Ok(())
    }

    fn superseded(&self, app_id: &str, committed: i64) -> DeltaError {
        DeltaError::TxnSuperseded { table: self.table(), app_id: app_id.to_owned(), committed }
    }
}

impl Snapshot {
    /// The metaData action for a new schema of this table; identity and configuration stay.
    pub fn evolved(&self, schema: &SchemaRef) -> Result<Metadata, DeltaError> {
        Ok(Metadata { schema_string: schema::to_schema_string(schema)?, ..self.metadata().clone() })
    }
}

fn is_commit(actions: &[Action], id: Uuid) -> bool {
    let said = actions.iter().find_map(|action| match action {
        Action::CommitInfo(info) => info.get(COMMIT_ID).and_then(Value::as_str),
        _ => None,
    });
    said.and_then(|said| Uuid::try_parse(said).ok()) == Some(id)
}

/// Whether a commit is an earlier try of a change: nobody else gives files the same names.
fn adds_the_same(actions: &[Action], change: &Change) -> bool {
    let Some(first) = change.adds.first() else { return false };
    actions.iter().any(|action| matches!(action, Action::Add(theirs) if theirs.path == first.path))
}
