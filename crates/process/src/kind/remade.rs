//! Rows of an append model that are made again: those of some rows of its input, told by where these come from.
//!
//! Whether rows of the input are gone, were corrected, or are explained by a joined table that has changed: what the table
//! and its quarantine hold of them is set to what the input and the joined tables make of them now. What comes out as it is
//! stays where it is; of the others the files are rewritten, found by their statistics. It is done between two epochs, as a
//! correction of the table. Invariant: to do it twice changes nothing, so that a crash, or pieces, do no harm; only the last
//! piece says how far the sources have come.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::not;
use futures::TryStreamExt;
use vitalake_lake::{Account, Correction, DataFile, Increment, TxnId, signed};

use super::append::{AppendWork, Keys, count};
use super::derive::{Checked, judge, stored};
use super::regroup::{files_at, is_gone, moved, unknown};
use super::seen::Seen;
use crate::error::{Error, Result};
use crate::increment::{Signed, SignedIncrement, Surplus, chosen, marks};
use crate::kind::Made;
use crate::lineage::{Lineages, PLACE};
use crate::run::Job;
use crate::run::progress::Counts;

/// Rows of the input that are made again at once.
const PIECE_ROWS_MAX: i64 = 1 << 18;
/// Spans of a set beyond which the whole table is made again.
const SPANS_MAX: usize = 1 << 22;
/// Bytes of rows that become a file.
const FILE_BYTES: usize = 64 << 20;
/// How often a piece is made again because its files have moved.
const TRIES_MAX: u32 = 10;
/// The columns by which a reject is known again.
const REJECT: [&str; 5] = ["_raw", "_rule", "_topic", "_partition", "_offset"];

/// What is to be made again, and of which version of the input.
pub(super) struct Again {
    /// `None` for everything.
    pub(super) rows: Option<Lineages>,
    pub(super) version: i64,
    /// How far the sources have come with it.
    pub(super) txns: Vec<(TxnId, i64)>,
}

impl AppendWork {
    /// Takes in a commit that took rows of the input away.
    pub(crate) async fn take_back(&mut self, job: &Job, increment: &Increment, counts: &mut Counts) -> Result<()> {
        let version = increment.version.ok_or_else(|| unknown("the version of a commit that took rows away"))?;
        let rows = match self.changed(job, increment).await {
            Err(error) if is_gone(&error) => None,
            rows => rows?,
        };
        let again = Again { rows, version, txns: vec![(job.txn.clone(), version)] };
        self.make_again(job, again, counts).await
    }

    /// Where the rows come from that went or came; `None` where they are too many to be told one by one.
    async fn changed(&self, job: &Job, increment: &Increment) -> Result<Option<Lineages>> {
        let mut rows = Lineages::default();
        let mut signed = SignedIncrement::of(&job.input, increment, self.needed());
        while let Some(Signed { retracted, added }) = signed.next().await? {
            retracted.iter().chain(&added).try_for_each(|batch| rows.add(batch))?;
            if rows.spans() > SPANS_MAX {
                return Ok(None);
            }
        }
        rows.settle();
        Ok(Some(rows))
    }

    /// Makes rows again. Nothing of this process may be in the table that is not committed.
    pub(super) async fn make_again(&mut self, job: &Job, again: Again, counts: &mut Counts) -> Result<()> {
        job.output.rest().await?;
        if !job.output.is_at_rest() {
            return Err(moved(job));
        }
        let files = files_at(job, again.version).await?;
        let Some(rows) = again.rows else { return self.make_all_again(job, &files, again.txns, counts).await };
        let pieces = rows.pieces(PIECE_ROWS_MAX);
        let last = pieces.len().saturating_sub(1);
        for (number, piece) in pieces.into_iter().enumerate() {
            let txns = if number == last { again.txns.clone() } else { Vec::new() };
            self.make_piece_again(job, piece, (&files, txns), counts).await?;
        }
        Ok(())
    }

    async fn make_piece_again(
        &mut self,
        job: &Job,
        mut piece: Lineages,
        (files, txns): (&[Arc<DataFile>], Vec<(TxnId, i64)>),
        counts: &mut Counts,
    ) -> Result<()> {
        for _ in 0..TRIES_MAX {
            self.read_keys_again(job).await?;
            self.keys_ahead = true;
            let mut of_piece = Counts::default();
            let mut made = self.corrected(job, &piece, files, &mut of_piece).await?;
            // A key that is free again may be that of other rows, which were none because of it.
            if let Some(freed) = made.freed.take()
                && let Some(more) = self.held_back(job, &piece, files, &freed).await?
            {
                piece.extend(&more);
                continue;
            }
            let mut correction = made.correction;
            correction.txns.clone_from(&txns);
            let is_nothing = correction.removed.is_empty()
                && correction.added.is_empty()
                && correction.rejects_removed.is_empty()
                && correction.rejects_added.is_empty();
            if is_nothing && correction.txns.is_empty() || job.output.correct(&correction).await?.is_some() {
                self.keys_ahead = false;
                tell(job, &correction, &of_piece);
                counts.add(of_piece);
                return Ok(());
            }
        }
        Err(moved(job))
    }

    /// What takes the place of what the table holds of these rows of the input.
    async fn corrected(
        &mut self,
        job: &Job,
        piece: &Lineages,
        files: &[Arc<DataFile>],
        counts: &mut Counts,
    ) -> Result<Corrected> {
        let columns = job.output.contract().columns.len();
        let mut checked = self.made_of(job, piece, files, counts).await?;
        let mut surplus = Surplus::default();
        for made in &checked {
            surplus.add(&marks(&stored(&made.rows, columns)?)?);
        }
        let offered = signed(counts.rows_in);
        let made_rows: u64 = checked.iter().map(|made| made.rows.num_rows() as u64).sum();
        let mut correction = Correction::default();
        let mut retracted = Vec::new();
        for file in job.output.head().files().filter(|file| piece.may_be_in(file)) {
            self.correct_file(job, (piece, file), &mut surplus, (&mut correction, &mut retracted)).await?;
        }
        for made in &mut checked {
            let new = surplus.take_surplus(&marks(&stored(&made.rows, columns)?)?);
            made.rows = chosen(&made.rows, &new)?;
        }
        let new_rows: u64 = checked.iter().map(|made| made.rows.num_rows() as u64).sum();
        correction.unchanged = made_rows - new_rows;
        let freed = self.forget(&retracted)?;
        let Made { rows, rejects, .. } = self.judged(job, checked, counts)?;
        let freed = self.still_free(freed, &rows)?;
        correction.added.extend(job.output.write_rows(rows.clone()).await?);
        self.correct_rejects(job, piece, rejects, &mut correction).await?;
        correction.account = Account {
            offered,
            duplicates: signed(counts.duplicates),
            filtered: counts.filtered,
            quarantined_before: 0,
            erased: 0,
        };
        counts.rows_out += count(&rows);
        Ok(Corrected { correction, freed })
    }

    /// What the input's rows come to now, with the joined tables as they are.
    async fn made_of(
        &mut self,
        job: &Job,
        piece: &Lineages,
        files: &[Arc<DataFile>],
        counts: &mut Counts,
    ) -> Result<Vec<Checked>> {
        let columns = self.needed().to_vec();
        let mut made = Vec::new();
        for file in files.iter().filter(|file| piece.may_be_in(file)) {
            let mut batches = job.input.stream_columns(file, &columns).await?;
            while let Some(batch) = batches.try_next().await? {
                let rows = chosen(&batch, &piece.mask(&batch)?)?;
                if rows.num_rows() > 0 {
                    made.extend(self.derive.check(job, &[rows], counts).await?);
                }
            }
        }
        Ok(made)
    }

    /// Leaves out of a file what is not made again as it is; a file in which everything stays is left alone.
    async fn correct_file(
        &self,
        job: &Job,
        (piece, file): (&Lineages, &Arc<DataFile>),
        surplus: &mut Surplus,
        (correction, retracted): (&mut Correction, &mut Vec<RecordBatch>),
    ) -> Result<()> {
        let arrow = |source| Error::Arrow { attempted: "taking rows back", source };
        let place = PLACE.map(str::to_owned);
        let mut places = job.output.stream_columns(file, &place).await?;
        let mut is_touched = false;
        while let Some(batch) = places.try_next().await? {
            is_touched |= piece.mask(&batch)?.true_count() > 0;
        }
        if !is_touched {
            return Ok(());
        }
        let (mut stays, mut went) = (Vec::new(), 0);
        let mut batches = job.output.stream_file(file).await?;
        while let Some(batch) = batches.try_next().await? {
            let meant = piece.mask(&batch)?;
            let found = surplus.take(&marks(&chosen(&batch, &meant)?)?);
            let gone = spread(&meant, &found);
            let rows = chosen(&batch, &gone)?;
            went += rows.num_rows();
            if rows.num_rows() > 0 {
                retracted.push(rows);
            }
            stays.push(not(&gone).map_err(arrow)?);
        }
        if went == 0 {
            return Ok(());
        }
        correction.retracted += went as u64;
        correction.removed.push(Arc::clone(file));
        let (mut kept, mut bytes) = (Vec::new(), 0);
        let mut batches = job.output.stream_file(file).await?;
        for mask in stays {
            let Some(batch) = batches.try_next().await? else { break };
            let batch = chosen(&batch, &mask)?;
            bytes += batch.get_array_memory_size();
            kept.push(batch);
            if bytes >= FILE_BYTES {
                correction.added.extend(job.output.write_rows(std::mem::take(&mut kept)).await?);
                bytes = 0;
            }
        }
        correction.added.extend(job.output.write_rows(kept).await?);
        Ok(())
    }

    /// Sets what quarantine holds of these rows of the input.
    async fn correct_rejects(
        &self,
        job: &Job,
        piece: &Lineages,
        mut rejects: Vec<RecordBatch>,
        correction: &mut Correction,
    ) -> Result<()> {
        let mut surplus = Surplus::default();
        for batch in &rejects {
            surplus.add(&marks_of_rejects(batch)?);
        }
        let made = count(&rejects);
        for file in job.output.rejects_head().files().filter(|file| piece.may_be_in(file)) {
            let (mut kept, mut went) = (Vec::new(), 0);
            for batch in job.output.read_rejects(file).await? {
                let meant = piece.mask(&batch)?;
                let found = surplus.take(&marks_of_rejects(&chosen(&batch, &meant)?)?);
                let gone = spread(&meant, &found);
                went += gone.true_count() as u64;
                let stays = not(&gone).map_err(|source| Error::Arrow { attempted: "taking rejects back", source })?;
                kept.push(chosen(&batch, &stays)?);
            }
            if went > 0 {
                correction.retracted += went;
                correction.rejects_removed.push(Arc::clone(file));
                correction.rejects_added.extend(job.output.write_rejects(kept).await?);
            }
        }
        for batch in &mut rejects {
            *batch = chosen(batch, &surplus.take_surplus(&marks_of_rejects(batch)?))?;
        }
        correction.unchanged += made - count(&rejects);
        correction.rejects_added.extend(job.output.write_rejects(rejects).await?);
        Ok(())
    }

    fn judged(&mut self, job: &Job, checked: Vec<Checked>, counts: &mut Counts) -> Result<Made> {
        match &mut self.keys {
            Keys::Owned(Some(seen)) => judge(job, checked, Some(&mut |rows| seen.judge(rows)), counts),
            Keys::Owned(None) | Keys::Beside(..) => judge(job, checked, None, counts),
        }
    }

    /// Forgets the keys of rows that go; gives them.
    fn forget(&mut self, retracted: &[RecordBatch]) -> Result<Vec<u64>> {
        let Keys::Owned(Some(seen)) = &mut self.keys else { return Ok(Vec::new()) };
        let mut freed = Vec::new();
        for batch in retracted {
            seen.forget(batch)?;
            freed.extend(seen.keys(batch)?);
        }
        Ok(freed)
    }

    /// The keys that no new row has taken again; none where there are none.
    fn still_free(&self, freed: Vec<u64>, rows: &[RecordBatch]) -> Result<Option<Vec<u64>>> {
        let Keys::Owned(Some(seen)) = &self.keys else { return Ok(None) };
        let mut taken = std::collections::HashSet::new();
        for batch in rows {
            taken.extend(seen.keys(batch)?);
        }
        let mut free: Vec<u64> = freed.into_iter().filter(|key| !taken.contains(key)).collect();
        free.sort_unstable();
        free.dedup();
        Ok((!free.is_empty()).then_some(free))
    }

    /// Rows of the input outside of a piece that have one of these keys: they were duplicates or in conflict, and are so no
    /// longer. Looked for only where the table has ever had any, since the whole input is gone through for them.
    async fn held_back(
        &mut self,
        job: &Job,
        piece: &Lineages,
        files: &[Arc<DataFile>],
        freed: &[u64],
    ) -> Result<Option<Lineages>> {
        let had = |books: &vitalake_lake::Books| books.duplicates > 0 || books.quarantined != Some(0);
        if !job.output.books().await.as_ref().is_none_or(had) {
            return Ok(None);
        }
        let columns = self.needed().to_vec();
        let mut found = Lineages::default();
        for file in files {
            let mut batches = job.input.stream_columns(file, &columns).await?;
            while let Some(batch) = batches.try_next().await? {
                let others = not(&piece.mask(&batch)?);
                let others = others.map_err(|source| Error::Arrow { attempted: "looking for keys", source })?;
                let made = self.derive.check(job, &[chosen(&batch, &others)?], &mut Counts::default()).await?;
                let Keys::Owned(Some(seen)) = &self.keys else { return Ok(None) };
                for Checked { rows, .. } in made {
                    let has = seen.keys(&rows)?.into_iter().map(|key| Some(freed.binary_search(&key).is_ok()));
                    found.add(&chosen(&rows, &has.collect::<BooleanArray>())?)?;
                }
            }
        }
        found.settle();
        Ok((!found.is_empty()).then_some(found))
    }

    /// Makes the table again whole from the input, in one commit.
    async fn make_all_again(
        &mut self,
        job: &Job,
        files: &[Arc<DataFile>],
        txns: Vec<(TxnId, i64)>,
        counts: &mut Counts,
    ) -> Result<()> {
        tracing::warn!(model = %job.model.dataset, files = files.len(), "the table is made again whole from its input: what has changed is not known row by row");
        self.keys_ahead = true;
        if let Keys::Owned(seen) = &mut self.keys {
            // The old one ends first: both write to one folder.
            *seen = None;
            *seen = Seen::none(job)?;
        }
        let (mut correction, mut all) = (Correction { txns, ..Correction::default() }, Counts::default());
        let (mut rows, mut rejects, mut bytes) = (Vec::new(), Vec::new(), 0);
        let columns = self.needed().to_vec();
        for file in files {
            let mut batches = job.input.stream_columns(file, &columns).await?;
            while let Some(batch) = batches.try_next().await? {
                let checked = self.derive.check(job, &[batch], &mut all).await?;
                let made = self.judged(job, checked, &mut all)?;
                all.rows_out += count(&made.rows);
                bytes += made.rows.iter().chain(&made.rejects).map(RecordBatch::get_array_memory_size).sum::<usize>();
                rows.extend(made.rows);
                rejects.extend(made.rejects);
                if bytes >= FILE_BYTES {
                    correction.added.extend(job.output.write_rows(std::mem::take(&mut rows)).await?);
                    correction.rejects_added.extend(job.output.write_rejects(std::mem::take(&mut rejects)).await?);
                    bytes = 0;
                }
            }
        }
        correction.added.extend(job.output.write_rows(rows).await?);
        correction.rejects_added.extend(job.output.write_rejects(rejects).await?);
        correction.account = Account {
            offered: signed(all.rows_in),
            duplicates: signed(all.duplicates),
            filtered: all.filtered,
            quarantined_before: 0,
            erased: 0,
        };
        for _ in 0..TRIES_MAX {
            correction.removed = job.output.head().files().cloned().collect();
            correction.rejects_removed = job.output.rejects_head().files().cloned().collect();
            let going = correction.removed.iter().chain(&correction.rejects_removed);
            correction.retracted = going.filter_map(|file| file.rows).sum();
            if job.output.correct(&correction).await?.is_some() {
                self.keys_ahead = false;
                tell(job, &correction, &all);
                counts.add(all);
                return Ok(());
            }
        }
        Err(moved(job))
    }
}

/// A correction, and the keys that it leaves free.
struct Corrected {
    correction: Correction,
    freed: Option<Vec<u64>>,
}

fn tell(job: &Job, correction: &Correction, counts: &Counts) {
    let bytes = |files: &[Arc<DataFile>]| files.iter().map(|file| file.size_bytes()).sum::<u64>();
    tracing::info!(
        model = %job.model.dataset,
        rows_in = counts.rows_in,
        retracted = correction.retracted,
        added = counts.rows_out,
        unchanged = correction.unchanged,
        files_rewritten = correction.removed.len(),
        bytes_rewritten = bytes(&correction.removed),
        bytes_written = bytes(&correction.added),
        "rows were made again because what they are made of has changed"
    );
}

/// The rows of a batch that are meant and, of those alone, found.
fn spread(meant: &BooleanArray, found: &BooleanArray) -> BooleanArray {
    let mut found = found.iter();
    meant.iter().map(|meant| Some(meant == Some(true) && found.next().flatten() == Some(true))).collect()
}

fn marks_of_rejects(rejects: &RecordBatch) -> Result<Vec<u128>> {
    let places = REJECT.iter().filter_map(|name| rejects.schema_ref().index_of(name).ok()).collect::<Vec<_>>();
    let known = rejects.project(&places).map_err(|source| Error::Arrow { attempted: "comparing rejects", source })?;
    marks(&known)
}
