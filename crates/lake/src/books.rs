//! The books of a table: how much was offered to it, and what became of that.
//!
//! Whoever appends says how much it was offered, counted where it came from: offsets of a log, rows of an input,
//! records of a file. At the commit the rows and rejects of the files are counted, and both must agree; otherwise the
//! commit does not take place. What is offered is added up in `txn` actions of the same commits, which every checkpoint
//! keeps. Invariant: a commit of an epoch whose sum does not come out is never in the log.

use std::fmt;
use std::sync::Arc;

use vitalake_runtime::events::Event;

use crate::delta::{DataFile, Snapshot};
use crate::epoch::Seal;
use crate::error::LakeError;
use crate::side::SideName;
use crate::table::Table;
use crate::txn::{Counter, TxnId, TxnKind};

/// The name of the check in `ops.checks`.
pub const CONSERVATION_RULE: &str = "conservation";

/// What came to a table, counted at its source, and what of it is neither a row nor a reject of the next commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// What was offered.
    pub offered: i64,
    /// What the table has already.
    pub duplicates: i64,
    /// What a model leaves out; below nought where its joins make several rows of one.
    pub filtered: i64,
    /// What an earlier commit has put into quarantine.
    pub quarantined_before: i64,
    /// What was of an erased person, and was refused.
    pub erased: i64,
}

impl Account {
    /// As much as there is.
    pub(crate) fn of(rows: u64) -> Self {
        Self { offered: signed(rows), ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.offered += other.offered;
        self.duplicates += other.duplicates;
        self.filtered += other.filtered;
        self.quarantined_before += other.quarantined_before;
        self.erased += other.erased;
    }
}

/// The two sides of one commit's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// What was offered, counted at the source.
    pub offered: i64,
    /// Rows of the files that are committed.
    pub accepted: i64,
    /// Rejects of the files that are committed, or were before.
    pub quarantined: i64,
    /// What the table had already.
    pub duplicates: i64,
    /// What a model leaves out.
    pub filtered: i64,
    /// What was of an erased person.
    pub erased: i64,
}

impl Balance {
    /// What has a place.
    #[must_use]
    pub fn accounted(&self) -> i64 {
        self.accepted + self.quarantined + self.duplicates + self.filtered + self.erased
    }

    /// Whether everything that was offered has a place, and nothing else has.
    #[must_use]
    pub fn comes_out(&self) -> bool {
        self.offered == self.accounted()
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offered, accepted, quarantined, duplicates, filtered, erased } = self;
        write!(
            f,
            "{offered} offered = {accepted} accepted + {quarantined} quarantined + {duplicates} duplicates + {filtered} filtered"
        )?;
        if *erased == 0 { Ok(()) } else { write!(f, " + {erased} erased") }
    }
}

/// A table's books as a whole, of what is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// What its sources have offered, by the counters in the log.
    pub offered: i64,
    /// Rows in the table; none where a file of another writer does not say how many it holds.
    pub accepted: Option<i64>,
    /// Rows in its quarantine; none where a file does not say.
    pub quarantined: Option<i64>,
    /// What the table had already.
    pub duplicates: i64,
    /// What its model leaves out.
    pub filtered: i64,
    /// Rows and rejects that later deliveries have taken the place of.
    pub replaced: i64,
    /// Rows and rejects that were taken back because what they were made of has changed.
    pub retracted: i64,
    /// Rejects that people have given up.
    pub discarded: i64,
    /// Rows and rejects of erased persons: taken away, or refused as they came.
    pub erased: i64,
    /// The version of the table.
    pub version: u64,
    /// Whether rejects are committed whose epoch's rows are not: a commit was cut short, and the next one brings them.
    pub unfinished: bool,
}

impl Books {
    /// What was offered and has no place; none where something could not be counted.
    #[must_use]
    pub fn missing(&self) -> Option<i64> {
        let elsewhere = self.duplicates + self.filtered + self.replaced + self.retracted + self.discarded + self.erased;
        Some(self.offered - self.accepted? - self.quarantined? - elsewhere)
    }

    fn of(rows: &Snapshot, rejects: &Snapshot) -> Self {
        let mut books = Self {
            accepted: rows.rows().map(signed),
            quarantined: rejects.rows().map(signed),
            version: rows.version().0,
            ..Self::default()
        };
        for txn in rows.txns() {
            match TxnId::parse(&txn.app_id).kind() {
                TxnKind::LandedCount { .. } => books.offered += txn.version,
                TxnKind::Books { counter: Counter::Offered | Counter::Delivered, .. } => books.offered += txn.version,
                TxnKind::Books { counter: Counter::Duplicates, .. } => books.duplicates += txn.version,
                TxnKind::Books { counter: Counter::Filtered, .. } => books.filtered += txn.version,
                TxnKind::Books { counter: Counter::Joined, .. } => books.filtered -= txn.version,
                TxnKind::Books { counter: Counter::Replaced, .. } => books.replaced += txn.version,
                TxnKind::Books { counter: Counter::Retracted, .. } => books.retracted += txn.version,
                TxnKind::Books { counter: Counter::Erased, .. } => books.erased += txn.version,
                _ => {}
            }
        }
        // What leaves quarantine for no table is said where it leaves.
        for txn in rejects.txns() {
            match TxnId::parse(&txn.app_id).kind() {
                TxnKind::LandedCount { .. } | TxnKind::Books { counter: Counter::Offered | Counter::Delivered, .. } => {
                    books.unfinished |= rows.txn(&txn.app_id).is_none_or(|known| known < txn.version);
                }
                TxnKind::Books { counter: Counter::ReplacedRejects, .. } => books.replaced += txn.version,
                TxnKind::Books { counter: Counter::Discarded, .. } => books.discarded += txn.version,
                TxnKind::Books { counter: Counter::ErasedRejects, .. } => books.erased += txn.version,
                TxnKind::Books { counter: Counter::ReplayedDuplicates, .. } => books.duplicates += txn.version,
                TxnKind::Books { counter: Counter::ReplayedFiltered, .. } => books.filtered += txn.version,
                TxnKind::Books { counter: Counter::ReplayedJoined, .. } => books.filtered -= txn.version,
                _ => {}
            }
        }
        books
    }
}

impl Table {
    /// Its books; none of a table with one row per group, whose rows are not those of its input.
    pub async fn books(&self) -> Option<Books> {
        if self.grouped {
            return None;
        }
        // With the turn nothing is committed here between the two sides, and nothing elsewhere where both looks agree.
        let _turn = self.turn().await;
        let mut rejects = self.newest(SideName::Rejects).await;
        loop {
            let rows = self.newest(SideName::Rows).await;
            let again = self.newest(SideName::Rejects).await;
            if again.version() == rejects.version() {
                return Some(Books::of(&rows, &rejects));
            }
            rejects = again;
        }
    }

    /// What a log holds now, whoever wrote it; where the store does not answer, what is known of it.
    async fn newest(&self, side: SideName) -> Arc<Snapshot> {
        let (log, known) = self.at(side);
        log.reload(&known).await.map_or(known, Arc::new)
    }

    /// Takes into account what came beside the rows and rejects that are appended.
    pub fn take_into_account(&self, account: Account) {
        self.state.lock().account.add(account);
    }

    /// The sum of a sealed epoch, with what is committed beside it.
    pub(crate) fn balance(
        &self,
        account: Account,
        rows: &[Arc<DataFile>],
        rejects: &[Arc<DataFile>],
    ) -> Option<Balance> {
        let count = |files: &[Arc<DataFile>]| files.iter().map(|file| file.rows).sum::<Option<u64>>().map(signed);
        Some(Balance {
            offered: account.offered,
            accepted: count(rows)?,
            quarantined: count(rejects)? + account.quarantined_before,
            duplicates: account.duplicates,
            filtered: account.filtered,
            erased: account.erased,
        })
    }

    /// Refuses an epoch whose sum does not come out, and tells it once.
    pub(crate) fn check_balance(&self, seal: &Seal, balance: &Balance) -> Result<(), LakeError> {
        if balance.comes_out() {
            return Ok(());
        }
        let before = self.state.lock().unbalanced.replace(seal.number);
        if before != Some(seal.number) {
            let next = self.head().version().next();
            tracing::error!(table = %self.id(), %balance, "the books of an epoch do not balance: nothing of it is committed");
            self.tell_balance(balance, next.0);
        }
        Err(LakeError::Unbalanced { table: self.id(), balance: *balance })
    }

    /// Tells the sum of a commit.
    pub(crate) fn tell_balance(&self, balance: &Balance, version: u64) {
        self.shared.options.events.send(Event::Measured {
            dataset: self.id().to_string().into(),
            rule: CONSERVATION_RULE.into(),
            severity: "error",
            scope: format!("commit {version}").into(),
            got: Some(balance.accounted() as f64),
            want: balance.to_string().into(),
            passed: Some(balance.comes_out()),
        });
    }

    /// The counters of an epoch's books, added to those of the head: what a model was offered and what became of it. The
    /// records of a topic are counted by their partitions, which several processes may share.
    pub(crate) fn counted(&self, account: Account) -> Vec<(TxnId, i64)> {
        if self.grouped || self.contract.source.is_some() {
            return Vec::new();
        }
        let (more, fewer) = (account.filtered.max(0), (-account.filtered).max(0));
        let counters = [
            (Counter::Offered, account.offered + self.offered_before_books()),
            (Counter::Duplicates, account.duplicates),
            (Counter::Filtered, more),
            (Counter::Joined, fewer),
        ];
        counters.into_iter().filter_map(|(counter, count)| self.counted_on(SideName::Rows, counter, count)).collect()
    }

    /// What a model's table from before there were books holds: it was offered at least that.
    fn offered_before_books(&self) -> i64 {
        let (rows, rejects) = (self.head(), self.at(SideName::Rejects).1);
        let is_model = |id: &str| matches!(TxnId::parse(id).kind(), TxnKind::Model { .. });
        let has_books = rows.txn(TxnId::books(&self.contract.dataset, Counter::Offered)).is_some();
        if has_books || !rows.txns().any(|txn| is_model(&txn.app_id)) {
            return 0;
        }
        signed(rows.rows().unwrap_or(0) + rejects.rows().unwrap_or(0))
    }

    /// A counter of a side's head, raised by as much.
    pub(crate) fn counted_on(&self, side: SideName, counter: Counter, count: i64) -> Option<(TxnId, i64)> {
        let id = TxnId::books(&self.contract.dataset, counter);
        let before = self.at(side).1.txn(&id);
        // That there are books is said from the first commit on.
        let begins = counter == Counter::Offered && before.is_none();
        (count > 0 || begins).then(|| (id, before.unwrap_or(0) + count))
    }
}

/// A number of records as books and differences have it.
#[must_use]
pub fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
