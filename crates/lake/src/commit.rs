//! A commit is a value, and there is one way to carry it out.
//!
//! The makers are in `flush`: an epoch, a delivery, a replacement of files. Here a commit is put on top of the head, and
//! settled when others have committed meanwhile: reload, compare the transactions, go on. A failed commit is "unknown"
//! until the log says which it was: it is tried again with the same id (`Change::by`), and found by that. A transaction
//! that is there already without that id is another's, also where it says the same. The rows of a gated table go to its staged log; `publish` brings them to HEAD.
//! Invariant: what a commit adds is in the table once, and only while nobody else does this process's work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vitalake_runtime::error::{Classified, Retry};
use vitalake_runtime::events::{Event, Outcome};
use vitalake_runtime::steps::Step;

use crate::catalogue::{Space, TableId};
use crate::delta::{Change, DataFile, DeltaError, DeltaLog, FilePath, Snapshot};
use crate::error::LakeError;
use crate::side::SideName;
use crate::table::Table;
use crate::txn::{TxnId, TxnKind};

/// How often a commit is put on top of what others have changed before it gives up.
const CONFLICTS_MAX: u32 = 10;

/// The turn to commit to a table. Whoever is given it holds the lock.
#[derive(Debug)]
pub(crate) struct Turn(());

impl Turn {
    pub(crate) fn mutex() -> tokio::sync::Mutex<Self> {
        tokio::sync::Mutex::new(Self(()))
    }
}

/// What shall change in one side of a table.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    pub(crate) to: SideName,
    /// The operation's name in the table's history.
    pub(crate) operation: &'static str,
    pub(crate) adds: Vec<Arc<DataFile>>,
    /// Files of the head that go; each must be there.
    pub(crate) removes: Vec<FilePath>,
    /// Whether all files of the head go.
    pub(crate) replace_all: bool,
    /// How far each source has come with it. What the head says already is not said again.
    pub(crate) txns: BTreeMap<TxnId, i64>,
    /// What it says of itself beside.
    pub(crate) info: BTreeMap<String, String>,
    /// A property of the table that it sets.
    pub(crate) property: Option<(&'static str, String)>,
}

impl Commit {
    /// A commit of nothing yet.
    pub(crate) fn to(side: SideName, operation: &'static str) -> Self {
        Self {
            to: side,
            operation,
            adds: Vec::new(),
            removes: Vec::new(),
            replace_all: false,
            txns: BTreeMap::new(),
            info: BTreeMap::new(),
            property: None,
        }
    }

    /// The files of a head that it takes away.
    fn removed_from(&self, head: &Snapshot, table: &Table) -> Result<Vec<Arc<DataFile>>, LakeError> {
        if self.replace_all {
            return Ok(head.files().cloned().collect());
        }
        let found = |path: &FilePath| {
            let missing = || LakeError::FileNotInHead { table: table.id(), path: path.clone() };
            head.file(path).cloned().ok_or_else(missing)
        };
        self.removes.iter().map(found).collect()
    }

    /// Whether a version holds its files already: their names are of nobody else.
    fn is_in(&self, head: &Snapshot) -> bool {
        !self.adds.is_empty() && self.adds.iter().all(|file| head.file(file.path()).is_some())
    }

    /// The transaction of the delivery that it is of, where it is of one.
    fn delivery(&self) -> Option<&TxnId> {
        self.txns.keys().find(|id| matches!(id.kind(), TxnKind::Delivery { .. }))
    }

    /// The transactions that a head does not say.
    fn news(&self, head: &Snapshot) -> impl Iterator<Item = (&TxnId, i64)> {
        self.txns.iter().filter(|(id, version)| head.txn(id) != Some(**version)).map(|(id, version)| (id, *version))
    }

    fn change(&self, head: &Snapshot, removed: &[Arc<DataFile>], now_ms: i64) -> Change {
        let mut change = Change::new(self.operation, now_ms);
        change.adds = self.adds.iter().map(|file| file.add.clone()).collect();
        change.removes = removed.iter().map(|file| file.to_remove(now_ms, true)).collect();
        change.replaces_all = self.replace_all;
        change.info.extend(self.info.iter().map(|(key, value)| (key.clone(), value.clone().into())));
        change.metadata = self.property.as_ref().map(|(key, value)| head.with_property(key, value.clone()));
        self.news(head).fold(change, |change, (id, version)| change.with_txn(id.as_str(), version))
    }
}

/// A commit that is in the log.
#[derive(Debug)]
pub(crate) struct Done {
    /// The version that has it, and whatever others committed before it.
    pub(crate) head: Snapshot,
    /// The files that it took away.
    pub(crate) removed: Vec<Arc<DataFile>>,
}

impl Table {
    /// Brings a side's head up to what other processes have committed.
    pub(crate) async fn catch_up(&self, _turn: &mut Turn, side: SideName) -> Result<(), LakeError> {
        let (log, head) = self.at(side);
        let newest = self.on_top_of_others(&log, &head).await?;
        if newest.version() > head.version() {
            self.advance(&log, &head, side, newest).await;
        }
        Ok(())
    }

    /// Refuses a commit whose transactions have gone to another, or that the table as it is does not allow.
    pub(crate) fn check(&self, commit: &Commit) -> Result<(), LakeError> {
        let (log, head) = self.at(commit.to);
        for (txn, version) in &commit.txns {
            if let Some(committed) = head.txn(txn.as_str()).filter(|committed| committed >= version) {
                return Err(LakeError::Superseded { table: self.id(), txn: txn.clone(), committed });
            }
        }
        let change = commit.change(&head, &commit.removed_from(&head, self)?, 0);
        let failed = |source| LakeError::Delta { attempt: "a commit", table: self.id(), source };
        log.check(&head, &change).map_err(failed)
    }

    /// Commits, or finds that an earlier try had taken place. The caller makes the version the head.
    pub(crate) async fn carry_out(&self, _turn: &mut Turn, commit: &Commit) -> Result<Done, LakeError> {
        let started = Instant::now();
        let done = self.add_version(commit).await;
        let outcome = match &done {
            Ok(_) => Outcome::Done,
            Err(error) if error.retry() == Retry::Later => Outcome::Retried,
            Err(_) => Outcome::Failed,
        };
        self.shared.options.events.send(Event::Commit {
            table: self.name_of(commit.to).into(),
            outcome,
            version: done.as_ref().ok().map(|done| done.head.version().0),
            rows: commit.adds.iter().filter_map(|file| file.rows).sum(),
            error: done.as_ref().err().map(|error| error.class().as_str()),
            took: started.elapsed(),
        });
        if let Ok(done) = &done {
            self.tell_traces(self.name_of(commit.to), &commit.txns, &done.head, started.elapsed());
        }
        done
    }

    /// Tells whoever follows batches of records what a version holds.
    pub(crate) fn tell_traces<'a>(
        &self,
        table: String,
        txns: impl IntoIterator<Item = (&'a TxnId, &'a i64)>,
        head: &Snapshot,
        took: Duration,
    ) {
        let events = self.events();
        if events.following().is_any() {
            events.send(Event::Step(Step::Committed {
                table: table.into(),
                table_id: head.metadata().id.as_str().into(),
                version: head.version().0,
                txns: txns.into_iter().map(|(id, version)| (id.as_str().into(), *version)).collect(),
                took,
            }));
        }
    }

    /// A side as SQL names it.
    fn name_of(&self, side: SideName) -> String {
        match side {
            SideName::Rows if self.is_gated() => format!("staged.{}", self.id().dataset),
            SideName::Rows => self.id().to_string(),
            SideName::Rejects => TableId::new(Space::Quarantine, self.id().dataset).to_string(),
        }
    }

    async fn add_version(&self, commit: &Commit) -> Result<Done, LakeError> {
        let (log, mut head) = self.at(commit.to);
        let (first, mut conflicts) = (Arc::clone(&head), 0);
        loop {
            self.shared.may_commit("a commit", self)?;
            if commit.is_in(&head) {
                return Ok(Done { head: Snapshot::clone(&head), removed: Vec::new() });
            }
            let removed = commit.removed_from(&head, self)?;
            let mut change = commit.change(&head, &removed, self.shared.clock.now_ms()).by(self.shared.id);
            if commit.to == SideName::Rows {
                change = self.saying_what_it_builds_on(change, &head);
            }
            match log.append(&head, change).await {
                Ok(newest) => {
                    self.beside_others(&log, &first, &newest, commit).await?;
                    return Ok(Done { head: newest, removed });
                }
                Err(error) => head = Arc::new(self.settle(&log, &head, commit, error).await?),
            }
            conflicts += 1;
            if conflicts > CONFLICTS_MAX {
                let source = DeltaError::Contended { table: self.id().root().to_string(), attempts: conflicts };
                return Err(LakeError::Delta { attempt: "a commit", table: self.id(), source });
            }
        }
    }

    /// What this process has to do about others' commits before its own.
    async fn beside_others(
        &self,
        log: &DeltaLog,
        before: &Snapshot,
        newest: &Snapshot,
        commit: &Commit,
    ) -> Result<(), LakeError> {
        if newest.version() == before.version().next() {
            return Ok(());
        }
        if self.is_taken_over(before, newest, &commit.txns) {
            self.lose_lease();
        }
        if commit.to == SideName::Rows && self.others_moved_rows(log, before, newest, &commit.adds).await {
            let table = self.id();
            tracing::warn!(%table, "another writer has changed the table under this process, which begins anew from it");
            self.lose_lease();
            // Groups are known by their files: to show these beside what is in memory could count rows twice.
            return if self.grouped { Err(self.lease_lost()) } else { Ok(()) };
        }
        Ok(())
    }

    /// After a failed try: the newest version where the commit may be tried on top of it, else why not. That it is in the
    /// log was found before.
    async fn settle(
        &self,
        log: &DeltaLog,
        head: &Snapshot,
        commit: &Commit,
        error: DeltaError,
    ) -> Result<Snapshot, LakeError> {
        let failed = |source| LakeError::Delta { attempt: "a commit", table: self.id(), source };
        match error {
            DeltaError::TxnSuperseded { app_id, committed, .. } => {
                let newest = log.reload(head).await.map_err(failed)?;
                let txn = TxnId::parse(&app_id);
                match txn.kind() {
                    // Another delivery came first. Its number is taken, and nothing else is lost.
                    TxnKind::Delivery { .. }
                    | TxnKind::DeliveryOfDate { .. }
                    | TxnKind::DeliveredContent { .. }
                    | TxnKind::Released { .. }
                    | TxnKind::Books { .. }
                        if !self.is_taken_over(head, &newest, []) =>
                    {
                        self.advance(log, head, commit.to, newest).await;
                        Err(LakeError::Superseded { table: self.id(), txn, committed })
                    }
                    _ => Err(self.lease_lost()),
                }
            }
            DeltaError::ConcurrentChange { .. } => self.on_top_of_others(log, head).await,
            DeltaError::FileNotLive { .. } if commit.replace_all => self.on_top_of_others(log, head).await,
            // A corrected delivery looks again for the files of the one that it takes the place of.
            DeltaError::FileNotLive { .. } if commit.delivery().is_some() && commit.to == SideName::Rows => {
                let newest = log.reload(head).await.map_err(failed)?;
                let delivery = commit.delivery().cloned();
                let txn =
                    delivery.filter(|_| !self.is_taken_over(head, &newest, [])).ok_or_else(|| self.lease_lost())?;
                let committed = newest.txn(&txn).unwrap_or(0);
                self.advance(log, head, commit.to, newest).await;
                Err(LakeError::Superseded { table: self.id(), txn, committed })
            }
            // Only another process rewrites or removes what this one is about to.
            DeltaError::FileNotLive { .. } => Err(self.lease_lost()),
            error => Err(failed(error)),
        }
    }

    /// The newest version, where nobody else does this process's work and the columns are the same.
    async fn on_top_of_others(&self, log: &DeltaLog, head: &Snapshot) -> Result<Snapshot, LakeError> {
        let failed = |source| LakeError::Delta { attempt: "a commit", table: self.id(), source };
        let newest = log.reload(head).await.map_err(failed)?;
        if self.is_taken_over(head, &newest, []) {
            return Err(self.lease_lost());
        }
        if newest.schema() != head.schema() {
            let reason = "another writer has changed the columns of the table".to_owned();
            return Err(LakeError::ContractChanged { table: self.id(), reason });
        }
        Ok(newest)
    }

    /// Makes what others have committed the head of a side.
    async fn advance(&self, log: &DeltaLog, head: &Snapshot, side: SideName, newest: Snapshot) {
        if side == SideName::Rows && self.others_moved_rows(log, head, &newest, &[]).await {
            self.lose_lease();
        }
        let mut state = self.state.lock();
        state.side_mut(side).head = Arc::new(newest);
        self.publish_value(&state);
    }
}
