//! Publication: what is staged for a gated table becomes HEAD, in one commit that names files and copies none.
//!
//! Whoever judges takes a [`Candidate`], a pinned value that later commits do not change, and has it published or not.
//! Several tables are published together by `Lake::publish_together`, which says first what it is about to do, so that a
//! crash between two of their commits is made good at the next opening. Invariant: nothing but a publication adds rows to
//! HEAD of a gated table; it follows the very version of HEAD that what is staged builds on, and never goes over another
//! writer's commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use vitalake_runtime::events::{Event, Outcome};

use crate::candidate::Candidate;
use crate::catalogue::{TableView, Tail};
use crate::commit::{Commit, Done};
use crate::delta::{Change, DeltaError, FilePath, Snapshot, TableVersion};
use crate::error::LakeError;
use crate::flush::version_of;
use crate::lake::Lake;
use crate::side::SideName;
use crate::staged::{Published, can_be_made_again, foreign_since};
use crate::table::Table;
use crate::txn::TxnId;
use crate::windows::WindowColumn;

/// How many staged files are looked up at once.
pub(crate) const LOOKS_AT_ONCE: usize = 16;
/// The property of a staged log that names a publication of several tables.
const TOGETHER: &str = "vitalake.publishing";
/// The property of a staged log that makes a new version of it where some windows of the last one are published.
const PARTS: &str = "vitalake.parts";

impl Table {
    /// Whether a gate stands between its commits and its readers.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        self.state.lock().rows.published.is_some()
    }

    /// The version that is staged and that of HEAD; `None` for a table without a gate.
    #[must_use]
    pub fn staged_versions(&self) -> Option<(i64, u64)> {
        let state = self.state.lock();
        let head = state.rows.published.as_ref()?.head.version().0;
        Some((version_of(&state.rows.head), head))
    }

    /// What HEAD would be now; `None` for a table without a gate.
    #[must_use]
    pub fn candidate(&self) -> Option<Candidate> {
        let view = self.state.lock().rows.view(None);
        let window = WindowColumn::of(&self.contract);
        view.published.is_some().then(|| Candidate::of(TableView { tail: Tail::default(), ..view }, window))
    }

    /// What HEAD would be with an earlier staged version.
    ///
    /// # Errors
    /// `StagedVersionGone` when the staged log no longer reaches back to it.
    pub async fn candidate_at(&self, version: i64) -> Result<Candidate, LakeError> {
        let table = self.id();
        let gone = || LakeError::StagedVersionGone { table: table.clone(), version };
        let Candidate { view, window, .. } = self.candidate().ok_or_else(gone)?;
        if version_of(&view.head) == version {
            return Ok(Candidate::of(view, window));
        }
        let failed = |source| LakeError::Delta { attempt: "reading what is staged", table: table.clone(), source };
        let wanted = TableVersion(u64::try_from(version).map_err(|_| gone())?);
        let staged = self.at(SideName::Rows).0.load_at(wanted).await.map_err(failed)?.ok_or_else(gone)?;
        Ok(Candidate::of(TableView { head: Arc::new(staged), ..view }, window))
    }

    /// Makes a candidate what every reader sees, and gives HEAD's version that has it; at once when HEAD holds it or a later
    /// one already.
    ///
    /// # Errors
    /// `ForeignCommit` when another writer has changed the table since, `StagedFilesGone` when a file is not there; nothing
    /// is published then, and what is staged stays. Any other failure is unknown: call again.
    pub async fn publish(&self, candidate: &Candidate) -> Result<TableVersion, LakeError> {
        let _one_at_a_time = self.publishing.lock().await;
        let head = self.commit_to_head(candidate).await?;
        let version = head.version();
        let mut state = self.state.lock();
        state.rows.show_published(head);
        self.publish_value(&state);
        Ok(version)
    }

    /// Whether what is staged can be made again from HEAD and the inputs: then who finds another writer's commit begins
    /// anew, and finds the staged log begun anew too.
    #[must_use]
    pub fn can_be_staged_again(&self) -> bool {
        let state = self.state.lock();
        let published = state.rows.published.as_ref();
        published.is_some_and(|published| can_be_made_again(&published.head, &state.rows.head, &state.rows.id))
    }

    /// What was noted beside what is staged; `None` for a table without a gate too.
    #[must_use]
    pub fn noted(&self, key: &str) -> Option<String> {
        let state = self.state.lock();
        state.rows.published.as_ref().and_then(|_| state.rows.head.property(key)).map(str::to_owned)
    }

    /// Notes something beside what is staged, for whoever opens the table next.
    ///
    /// # Errors
    /// As a commit.
    pub async fn note(&self, key: &'static str, value: String) -> Result<(), LakeError> {
        if !self.is_gated() || self.noted(key).as_ref() == Some(&value) {
            return Ok(());
        }
        let mut turn = self.turn().await;
        let commit = Commit { property: Some((key, value)), ..Commit::to(SideName::Rows, "NOTE") };
        let Done { head, .. } = self.carry_out(&mut turn, &commit).await?;
        let mut state = self.state.lock();
        state.rows.head = Arc::new(head);
        self.publish_value(&state);
        Ok(())
    }

    /// HEAD of a gated table.
    pub(crate) fn published_side(&self) -> Option<Published> {
        self.state.lock().rows.published.clone()
    }

    /// A commit to the staged log says which version of HEAD it builds on, where that is news.
    pub(crate) fn saying_what_it_builds_on(&self, change: Change, staged: &Snapshot) -> Change {
        let Some(Published { base, .. }) = self.published_side() else { return change };
        let (id, base) = (TxnId::staged_on(&self.id().dataset), i64::try_from(base.0).unwrap_or(i64::MAX));
        if staged.txn(&id).is_none_or(|said| said < base) { change.with_txn(id.as_str(), base) } else { change }
    }

    /// HEAD with a candidate in it, which is in the log by then and shown to nobody yet.
    async fn commit_to_head(&self, candidate: &Candidate) -> Result<Snapshot, LakeError> {
        self.shared.may_commit("a publication", self)?;
        let started = Instant::now();
        let Some(published) = self.published_side() else {
            return Err(LakeError::StagedVersionGone { table: self.id(), version: candidate.version() });
        };
        let failed = |source| LakeError::Delta { attempt: "a publication", table: self.id(), source };
        let newest = self.on_own_head(&published).await?;
        let publication = TxnId::publication(&self.id().dataset);
        let is_said = |head: &Snapshot| head.txn(&publication).is_some_and(|version| version >= candidate.version());
        let is_in = |head: &Snapshot| is_said(head) && candidate.is_in(head);
        if is_in(&newest) {
            return Ok(newest);
        }
        // A publication that seemed to fail has taken place: what this one takes away and adds is to be seen anew.
        let moved = newest.version() != candidate.follows();
        let on_newest = if moved { candidate.on(&newest) } else { None };
        if moved && (on_newest.is_none() || is_said(&newest)) {
            let mut state = self.state.lock();
            state.rows.show_published(newest.clone());
            self.publish_value(&state);
            let version = newest.version();
            let source = DeltaError::ConcurrentChange { table: self.id().root().to_string(), version, what: "head" };
            return Err(failed(source));
        }
        let candidate = on_newest.as_ref().unwrap_or(candidate);
        self.find_staged_files(candidate).await?;
        let version = if is_said(&newest) { self.next_staged_version().await? } else { candidate.version() };
        let head = match published.log.append(&newest, candidate.change(version, self.shared.clock.now_ms())).await {
            Ok(head) => head,
            // Whoever has published it does this process's work, and the staged log says so to both.
            Err(DeltaError::TxnSuperseded { .. }) => {
                let newest = published.log.reload(&newest).await.map_err(failed)?;
                if !is_in(&newest) {
                    return Err(self.lease_lost());
                }
                newest
            }
            Err(error) => return Err(failed(error)),
        };
        self.shared.options.events.send(Event::Commit {
            table: self.id().to_string().into(),
            outcome: Outcome::Done,
            version: Some(head.version().0),
            rows: candidate.adds.iter().filter_map(|file| file.rows).sum(),
            error: None,
            took: started.elapsed(),
        });
        self.tell_traces(self.id().to_string(), [(&publication, &version)], &head, started.elapsed());
        Ok(head)
    }

    /// A staged version that no publication has named: some windows of the last one are published, and now others are.
    async fn next_staged_version(&self) -> Result<i64, LakeError> {
        let (staged, _) = self.staged_versions().unwrap_or_default();
        self.note(PARTS, staged.to_string()).await?;
        Ok(self.staged_versions().unwrap_or_default().0)
    }

    /// The newest version of HEAD, where others have changed nothing since the one that what is staged builds on.
    async fn on_own_head(&self, published: &Published) -> Result<Snapshot, LakeError> {
        let Published { log, head, base, .. } = published;
        let failed = |source| LakeError::Delta { attempt: "a publication", table: self.id(), source };
        let newest = log.reload(head).await.map_err(failed)?;
        if let Some(version) = foreign_since(log, *base, &newest, &self.id()).await.map_err(failed)? {
            return Err(LakeError::ForeignCommit { table: self.id(), version });
        }
        if newest.schema() != head.schema() {
            return Err(LakeError::ForeignCommit { table: self.id(), version: newest.version() });
        }
        Ok(newest)
    }

    /// Looks whether every file that is to be published is there: somebody may have cleaned up what HEAD did not name.
    async fn find_staged_files(&self, candidate: &Candidate) -> Result<(), LakeError> {
        let files: Vec<(FilePath, Path)> =
            candidate.adds.iter().map(|file| (file.path().clone(), file.location(&candidate.view.root))).collect();
        let looked_up = files.into_iter().map(|(path, location)| {
            let store = Arc::clone(&self.shared.store);
            async move {
                match store.head(&location).await {
                    Ok(_) => Ok(None),
                    Err(object_store::Error::NotFound { .. }) => Ok(Some(path)),
                    Err(source) => Err(DeltaError::store("look for", &location, source)),
                }
            }
        });
        let looks = futures::stream::iter(looked_up).buffer_unordered(LOOKS_AT_ONCE);
        let missing: Vec<FilePath> = looks
            .try_filter_map(|missing| std::future::ready(Ok(missing)))
            .try_collect()
            .await
            .map_err(|source| LakeError::Delta { attempt: "a publication", table: self.id(), source })?;
        match missing.first() {
            Some(first) => {
                Err(LakeError::StagedFilesGone { table: self.id(), files: missing.len(), first: first.clone() })
            }
            None => Ok(()),
        }
    }
}

impl crate::side::Side {
    fn show_published(&mut self, head: Snapshot) {
        if let Some(published) = self.published.as_mut().filter(|published| published.head.version() <= head.version())
        {
            (published.base, published.head) = (head.version(), Arc::new(head));
        }
    }
}

impl Lake {
    /// Publishes candidates of several tables: SQL sees all of them or none, a foreign reader one after the other. What is
    /// about to be published is noted before the first commit; the next opening finishes what a crash has cut short.
    ///
    /// # Errors
    /// As [`Table::publish`], of the first that cannot be published; before the first commit each is looked at.
    pub async fn publish_together(&self, candidates: &[Candidate]) -> Result<TableVersion, LakeError> {
        let mut members = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            members.push((Arc::clone(self.table(&candidate.view.id.dataset)?), candidate));
        }
        // Several are locked at once: always in this order.
        members.sort_by_key(|(table, _)| table.id());
        members.dedup_by_key(|(table, _)| table.id());
        let mut locks = Vec::with_capacity(members.len());
        for (table, _) in &members {
            locks.push(table.publishing.lock().await);
        }
        for (table, candidate) in &members {
            if let Some(published) = table.published_side() {
                table.on_own_head(&published).await?;
            }
            table.find_staged_files(candidate).await?;
        }
        if let [(first, _), _, ..] = members.as_slice() {
            let versions = members.iter().map(|(table, c)| (table.id().dataset.to_string(), c.version().into()));
            first.note(TOGETHER, serde_json::Value::Object(versions.collect()).to_string()).await?;
        }
        let mut heads = Vec::with_capacity(members.len());
        for (table, candidate) in &members {
            heads.push(table.commit_to_head(candidate).await?);
        }
        let version = heads.first().map_or(TableVersion(0), Snapshot::version);
        let mut states: Vec<_> = members.iter().map(|(table, _)| table.state.lock()).collect();
        for (state, head) in states.iter_mut().zip(heads) {
            state.rows.show_published(head);
        }
        self.shared.pointer.publish(|catalogue| states.iter().for_each(|state| state.put_into(catalogue)));
        drop(states);
        members.iter().for_each(|(table, _)| table.moved.send_modify(|n| *n += 1));
        Ok(version)
    }

    /// Finishes publications of several tables that a crash has cut short: some of them hold it, and all shall.
    pub(crate) async fn finish_publications(&self) -> Result<(), LakeError> {
        let all: Vec<Arc<Table>> = self.tables().filter(|table| !table.is_followed()).cloned().collect();
        for table in &all {
            let noted =
                table.noted(TOGETHER).and_then(|text| serde_json::from_str::<BTreeMap<String, i64>>(&text).ok());
            let (mut behind, mut begun) = (Vec::new(), false);
            for (name, version) in noted.into_iter().flatten() {
                let Some(member) = all.iter().find(|table| table.id().dataset.as_str() == name) else { continue };
                let published = member.candidate().and_then(|candidate| candidate.published_version());
                match published.is_some_and(|published| published >= version) {
                    true => begun = true,
                    false => behind.push((member, version)),
                }
            }
            if !begun {
                continue;
            }
            for (member, version) in behind {
                let candidate = member.candidate_at(version).await?;
                member.publish(&candidate).await?;
                tracing::warn!(table = %member.id(), version, "a publication of several tables that was cut short is finished");
            }
        }
        Ok(())
    }
}
