//! What HEAD of a gated table would be: a pinned value that whoever judges takes, and that later commits do not change.
//!
//! Invariant: what a candidate changes is what differs between what is staged and HEAD as both were when it was taken.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::TableProvider;

use crate::catalogue::{TableId, TableView};
use crate::delta::{Change, DataFile, FilePath, Snapshot, TableVersion};
use crate::flush::version_of;
use crate::provider::LakeTable;
use crate::txn::{TxnId, TxnKind};
use crate::windows::{WindowColumn, may_be_parted};

/// What HEAD of a gated table would be. It stays as it is while more is staged.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub(crate) view: TableView,
    pub(crate) adds: Vec<Arc<DataFile>>,
    pub(crate) removes: Vec<Arc<DataFile>>,
    pub(crate) in_part: bool,
    pub(crate) window: Option<WindowColumn>,
}

impl Candidate {
    pub(crate) fn of(view: TableView, window: Option<WindowColumn>) -> Self {
        let (staged, head) = (&view.head, view.published());
        let adds = staged.files().filter(|file| head.file(file.path()).is_none()).cloned().collect();
        let removes = head.files().filter(|file| staged.file(file.path()).is_none()).cloned().collect();
        Self { adds, removes, in_part: false, window, view }
    }

    /// The same table as what it changes of another version of HEAD; `None` of a part, whose windows are of the version that it
    /// was taken beside.
    pub(crate) fn on(&self, head: &Snapshot) -> Option<Self> {
        let view = TableView { published: Some(Arc::new(head.clone())), ..self.view.clone() };
        (!self.in_part).then(|| Self::of(view, self.window.clone()))
    }

    /// The windows in which it is another table than HEAD; none where it cannot be published in parts.
    #[must_use]
    pub fn changed_windows(&self) -> BTreeSet<String> {
        let Some(window) = &self.window else { return BTreeSet::new() };
        let changed = self.adds.iter().chain(&self.removes).map(|file| window.of_file(file)).collect();
        if may_be_parted(&changed) { changed } else { BTreeSet::new() }
    }

    /// The rows of one window.
    #[must_use]
    pub fn rows_of(&self, name: &str) -> Arc<dyn TableProvider> {
        let mut files = self.files();
        files.retain(|file| self.window.as_ref().is_some_and(|window| window.of_file(file) == name));
        Arc::new(LakeTable::of_files(self.view.clone(), files))
    }

    /// The same with some windows as HEAD has them.
    #[must_use]
    pub fn without(&self, held: &BTreeSet<String>) -> Self {
        let mut parted = self.clone();
        if let Some(window) = &self.window {
            let goes = |file: &Arc<DataFile>| !held.contains(&window.of_file(file));
            parted.adds.retain(goes);
            parted.removes.retain(goes);
        }
        parted.in_part |= parted.adds.len() < self.adds.len() || parted.removes.len() < self.removes.len();
        parted
    }

    /// The table.
    #[must_use]
    pub fn table(&self) -> &TableId {
        &self.view.id
    }

    /// The staged version that it is.
    #[must_use]
    pub fn version(&self) -> i64 {
        version_of(&self.view.head)
    }

    /// The version of HEAD that it would follow.
    #[must_use]
    pub fn follows(&self) -> TableVersion {
        self.view.published().version()
    }

    /// The staged version that HEAD holds.
    #[must_use]
    pub fn published_version(&self) -> Option<i64> {
        self.view.published().txn(TxnId::publication(&self.view.id.dataset))
    }

    /// Files that it would add.
    #[must_use]
    pub fn adds(&self) -> &[Arc<DataFile>] {
        &self.adds
    }

    /// Files of HEAD that it would take away.
    #[must_use]
    pub fn removes(&self) -> &[Arc<DataFile>] {
        &self.removes
    }

    /// Whether it is another table than HEAD: other files, or inputs that have come further.
    #[must_use]
    pub fn waits(&self) -> bool {
        let knows_more = || !self.in_part && !self.txns().is_empty();
        !self.adds.is_empty() || !self.removes.is_empty() || knows_more()
    }

    /// Whether its rows are others than HEAD's: it may hold the same in other files, or only know of inputs without rows.
    #[must_use]
    pub fn changes_rows(&self) -> bool {
        (!self.adds.is_empty() || !self.removes.is_empty()) && !self.rearranges()
    }

    pub(crate) fn rearranges(&self) -> bool {
        !self.adds.is_empty() && self.adds.iter().all(|file| !file.add.data_change)
    }

    /// The tables that it is made of, by their ids, with the version of each.
    #[must_use]
    pub fn consumed(&self) -> Vec<(String, i64)> {
        self.view.head.txns().filter_map(|txn| TxnId::parse(&txn.app_id).consumed(txn.version)).collect()
    }

    /// Whether it has no file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files().is_empty()
    }

    /// Its rows.
    #[must_use]
    pub fn rows(&self) -> Arc<dyn TableProvider> {
        Arc::new(LakeTable::of_files(self.view.clone(), self.files()))
    }

    pub(crate) fn files(&self) -> Vec<Arc<DataFile>> {
        let gone: BTreeSet<&FilePath> = self.removes.iter().map(|file| file.path()).collect();
        let kept = self.view.published().files().filter(|file| !gone.contains(file.path()));
        kept.chain(&self.adds).cloned().collect()
    }

    /// Whether a version of HEAD holds it, whatever else came.
    pub(crate) fn is_in(&self, head: &Snapshot) -> bool {
        let is_there = |file: &Arc<DataFile>| head.file(file.path()).is_some();
        self.adds.iter().all(is_there) && !self.removes.iter().any(is_there)
    }

    /// The transactions of its sources that HEAD does not say.
    pub(crate) fn txns(&self) -> BTreeMap<TxnId, i64> {
        let head = self.view.published();
        let of_sources = self.view.head.txns().map(|txn| (TxnId::parse(&txn.app_id), txn.version)).filter(|(id, _)| {
            !matches!(
                id.kind(),
                TxnKind::StagedOn { .. } | TxnKind::Publication { .. } | TxnKind::PublishedInPart { .. }
            )
        });
        of_sources.filter(|(id, version)| head.txn(id).is_none_or(|known| known < *version)).collect()
    }

    pub(crate) fn change(&self, version: i64, now_ms: i64) -> Change {
        // Rows that came and files that were joined in one commit cannot be told apart by who reads HEAD's changes.
        let data_change = !self.rearranges();
        let mut change = Change::new("PUBLISH", now_ms);
        change.adds = self.adds.iter().map(|file| file.add.clone()).collect();
        change.adds.iter_mut().for_each(|add| add.data_change = data_change);
        change.removes = self.removes.iter().map(|file| file.to_remove(now_ms, data_change)).collect();
        change.only_next = true;
        let dataset = &self.view.id.dataset;
        change = change.with_txn(TxnId::publication(dataset).as_str(), version);
        if self.in_part {
            return change.with_txn(TxnId::published_in_part(dataset).as_str(), version);
        }
        self.txns().into_iter().fold(change, |change, (id, version)| change.with_txn(id.as_str(), version))
    }
}
