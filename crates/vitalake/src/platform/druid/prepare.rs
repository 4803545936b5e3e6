//! What a publication replaces, with which rows: from the table's log, before anything is sent.
//!
//! Files that came or went since the version that Druid has say by their statistics which stretches of time changed. Our
//! own counts of these are what Druid's are held against. Invariant: where the log or a statistic does not tell, everything
//! is replaced.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use vitalake_lake::{DataFile, LakeError, PinnedVersion, Table, moments_of};
use vitalake_serve::druid_engine::{
    Counted, Counter, Expected, Granularity, Interval, PublishedColumn, Segment, aligned,
};

use super::known::{Known, Sent};

/// What is to be published, and what comes of it.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The version, whose files stay meanwhile.
    pub(super) pin: PinnedVersion,
    /// The version that Druid has; none where everything is replaced.
    pub(super) from: Option<u64>,
    pub(super) granularity: Granularity,
    pub(super) intervals: Vec<Interval>,
    /// The files with rows of these.
    pub(super) files: Vec<Arc<DataFile>>,
    /// Our counts of them, by segment.
    pub(super) segments: BTreeMap<i64, Counted>,
    pub(super) expected: Expected,
    /// Rows without a time.
    pub(super) timeless: u64,
}

impl Prepared {
    pub(super) fn version(&self) -> u64 {
        self.pin.snapshot().version().0
    }
}

/// A table with what Druid gets of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) table: &'a Table,
    pub(super) columns: &'a [PublishedColumn],
    /// The column of time, and whether it holds days.
    pub(super) time: Option<(&'a str, bool)>,
}

impl Source<'_> {
    /// What has changed since what Druid has. `there` are the segments that Druid has.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(super) async fn prepare(
        &self,
        pin: PinnedVersion,
        known: &Known,
        there: &[Segment],
    ) -> Result<Prepared, LakeError> {
        let snapshot = pin.snapshot();
        let same_table = known.table == snapshot.metadata().id;
        if let (Some(from), Some(granularity), true) = (known.version, known.granularity, same_table)
            && let Some(changed) = self.table.published_changes(from, snapshot).await?
            && let Some(stretches) = self.stretches(&changed)
        {
            let intervals = aligned(stretches, granularity);
            return self.with(pin, Some(from), granularity, intervals).await;
        }
        self.whole(pin, known.granularity.filter(|_| same_table), there).await
    }

    /// The same publication that was sent before.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(super) async fn again(&self, pin: PinnedVersion, sent: &Sent) -> Result<Prepared, LakeError> {
        self.with(pin, sent.from, sent.granularity, sent.intervals.clone()).await
    }

    /// Everything, in place of everything that is there.
    async fn whole(
        &self,
        pin: PinnedVersion,
        kept: Option<Granularity>,
        there: &[Segment],
    ) -> Result<Prepared, LakeError> {
        let files: Vec<Arc<DataFile>> = pin.snapshot().files().cloned().collect();
        let always = [Interval { start_ms: i64::MIN, end_ms: i64::MAX }];
        let by_day = self.count(&files, Granularity::Day, &always).await?;
        let days = || by_day.segments.keys().copied();
        let span = days().next().zip(days().next_back());
        let granularity = kept.unwrap_or_else(|| match self.time {
            Some((_, by_day)) => Granularity::of(by_day, pin.snapshot().rows().unwrap_or(0), span),
            None => Granularity::Year,
        });
        let old = there.iter().filter(|segment| segment.active).map(|segment| segment.interval);
        let old = old.map(|interval| (interval.start_ms, interval.end_ms - 1));
        let intervals = aligned(days().map(|day| (day, day)).chain(old), granularity);
        self.with(pin, None, granularity, intervals).await
    }

    async fn with(
        &self,
        pin: PinnedVersion,
        from: Option<u64>,
        granularity: Granularity,
        intervals: Vec<Interval>,
    ) -> Result<Prepared, LakeError> {
        let meets = |file: &Arc<DataFile>| {
            let moments = self.moments(file);
            moments.is_none_or(|(first, last)| intervals.iter().any(|interval| interval.meets(first, last)))
        };
        let files: Vec<Arc<DataFile>> = match intervals.is_empty() {
            true => Vec::new(),
            false => pin.snapshot().files().filter(|file| meets(file)).cloned().collect(),
        };
        let counted = self.count(&files, granularity, &intervals).await?;
        let rows = counted.segments.values().map(|counted| counted.rows).sum();
        let Tally { segments, outside, timeless } = counted;
        let files = if rows == 0 { Vec::new() } else { files };
        let expected = Expected { rows, outside: if rows == 0 { 0 } else { outside } };
        Ok(Prepared { pin, from, granularity, intervals, files, segments, expected, timeless })
    }

    /// When the rows of files lie, milliseconds since 1970; `None` where a file does not say.
    fn stretches(&self, files: &[Arc<DataFile>]) -> Option<Vec<(i64, i64)>> {
        files.iter().filter(|file| file.rows != Some(0)).map(|file| self.moments(file)).collect()
    }

    fn moments(&self, file: &DataFile) -> Option<(i64, i64)> {
        let Some((time, _)) = self.time else { return Some((0, 0)) };
        let (first, last) = moments_of(file, time, &self.table.schema())?;
        Some((first.div_euclid(1_000), last.div_euclid(1_000)))
    }

    async fn count(
        &self,
        files: &[Arc<DataFile>],
        granularity: Granularity,
        intervals: &[Interval],
    ) -> Result<Tally, LakeError> {
        let mut counter = Counter::new(self.columns, self.time.map(|(time, _)| time), granularity, intervals);
        let columns = counter.reads();
        for file in files {
            let mut rows = self.table.stream_columns(file, &columns).await?;
            while let Some(batch) = rows.try_next().await? {
                let counted = counter.take(&batch);
                counted
                    .map_err(|error| LakeError::WrongColumns { table: self.table.id(), reason: error.to_string() })?;
            }
        }
        Ok(Tally { segments: counter.segments, outside: counter.outside, timeless: counter.timeless })
    }
}

/// What a [`Counter`] found.
struct Tally {
    segments: BTreeMap<i64, Counted>,
    outside: u64,
    timeless: u64,
}
