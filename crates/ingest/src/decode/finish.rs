//! The end of a batch: columns to Arrow, rules over all rows at once, rows that break one to the rejects.
//!
//! Invariant: rows and rejects together are the records that were taken, each once and both in their order.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryViewBuilder, BooleanArray, BooleanBufferBuilder, Int32Array, Int64Array, RecordBatch,
    StringViewBuilder, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use vitalake_contract::check::{self, Violation};
use vitalake_contract::contract::{quarantine_schema, raw_system_fields};
use vitalake_contract::quarantine::{BrokenRule, rules_text};
use vitalake_contract::rule::{Check, RowRule, Severity};
use vitalake_contract::{Contract, Layer, Source};

use super::columns::{Texts, null_buffer};
use super::plan::{Plan, expected};
use super::rows::{Reject, RowBuffer};
use super::{DecodeError, Decoded, RULE_JSON, RULE_TOMBSTONE, RecordMeta};

impl RowBuffer {
    /// Gives what was taken and begins anew.
    pub(super) fn finish(&mut self, plan: &Plan) -> Result<Decoded, DecodeError> {
        let made = self.make(plan, false);
        self.clear();
        made
    }

    /// The same, but keeps the text that the records stand in.
    pub(super) fn finish_within(&mut self, plan: &Plan) -> Result<Decoded, DecodeError> {
        let made = self.make(plan, false);
        let records = std::mem::take(&mut self.records);
        self.clear();
        self.records = records;
        made
    }

    /// The same, but ends before the first row that breaks a fatal rule.
    pub(super) fn finish_before_fatal(&mut self, plan: &Plan) -> Result<Decoded, DecodeError> {
        let made = self.make(plan, true);
        self.clear();
        made
    }

    /// The same for rows whose columns were made elsewhere, with the record of each as JSON text.
    pub(super) fn finish_typed(
        &mut self,
        plan: &Plan,
        mut columns: Vec<ArrayRef>,
        record: &dyn Fn(usize) -> String,
    ) -> Result<Decoded, DecodeError> {
        let build = |source| DecodeError::Build { dataset: plan.contract.dataset.to_string(), source };
        columns.extend(self.system_columns(plan).map_err(build)?);
        let rows = self.table(plan, columns).map_err(build)?;
        let made = self.judge(plan, rows, false, Some(record));
        self.clear();
        made
    }

    fn make(&mut self, plan: &Plan, before_fatal: bool) -> Result<Decoded, DecodeError> {
        let build = |source| DecodeError::Build { dataset: plan.contract.dataset.to_string(), source };
        let rows = self.batch(plan).map_err(build)?;
        self.judge(plan, rows, before_fatal, None)
    }

    /// Rows that keep the contract's rules, and those that do not as rejects.
    fn judge(
        &mut self,
        plan: &Plan,
        mut rows: RecordBatch,
        before_fatal: bool,
        record: Option<&dyn Fn(usize) -> String>,
    ) -> Result<Decoded, DecodeError> {
        let contract = &*plan.contract;
        let build = |source| DecodeError::Build { dataset: contract.dataset.to_string(), source };
        let mut broken = check::violations(&contract.row_rules, &rows)
            .map_err(|source| DecodeError::Check { dataset: contract.dataset.to_string(), source })?;
        if let Some(sql) = &plan.sql {
            broken.extend(sql.violations(&rows));
            broken.sort_unstable();
        }
        let mut fatal = count(&contract.row_rules, &broken, Severity::Fatal);
        let mut stopped_at = None;
        if before_fatal && let Some(first) = broken.iter().find(|v| is_fatal(contract, v)).copied() {
            rows = rows.slice(0, first.row);
            broken.retain(|v| v.row < first.row);
            self.rejects.retain(|reject| reject.row <= first.row);
            let offset = self.metas.get(first.row).map_or(0, |meta| meta.offset);
            stopped_at = contract.row_rules.get(first.rule).map(|rule| (offset, rule.name.clone()));
            self.metas.truncate(first.row);
            fatal = vec![(first.rule, 1)];
        }
        let refused = self.refuse(contract, &broken, record);
        let misfits = self.misfits(refused.as_ref());
        let rows = match refused {
            Some(keep) => filter_record_batch(&rows, &keep).map_err(build)?,
            None => rows,
        };
        let rejects = self.reject_batch(plan).map_err(build)?;
        let count = |severity| count(&contract.row_rules, &broken, severity);
        let (warnings, errors) = (count(Severity::Warning), count(Severity::Error));
        let is = |reject: &Reject, rule: &str| reject.broken.first().is_some_and(|broken| broken.rule == rule);
        let of = |rule: &str| self.rejects.iter().filter(|reject| is(reject, rule)).count() as u64;
        let (not_json, tombstones) = if self.rejects.is_empty() { (0, 0) } else { (of(RULE_JSON), of(RULE_TOMBSTONE)) };
        Ok(Decoded { rows, rejects, warnings, errors, fatal, not_json, tombstones, stopped_at, misfits })
    }

    /// All rows that were kept, in the shape of the stored table.
    fn batch(&mut self, plan: &Plan) -> Result<RecordBatch, ArrowError> {
        let texts = Texts { records: &self.records, beside: &self.beside };
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(plan.contract.columns.len() + raw_system_fields().len() + 1);
        for (buffer, column) in self.columns.iter_mut().zip(&plan.contract.columns) {
            arrays.push(buffer.finish(&column.kind, &texts)?);
        }
        arrays.extend(self.system_columns(plan)?);
        self.table(plan, arrays)
    }

    fn table(&self, plan: &Plan, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(self.metas.len()));
        RecordBatch::try_new_with_options(plan.contract.table_schema(), columns, &options)
    }

    /// The columns of ours that a raw row has.
    fn system_columns(&mut self, plan: &Plan) -> Result<Vec<ArrayRef>, ArrowError> {
        let rows = self.metas.len();
        if plan.contract.layer != Layer::Raw {
            return Ok(Vec::new());
        }
        let ingested = self.metas.iter().map(|m| micros(m.ingested_at_ms)).collect::<Vec<_>>();
        let [keys, headers] = self.envelopes.columns(rows)?;
        let mut columns = vec![
            topics(&plan.topic, rows)?,
            Arc::new(Int32Array::from_iter_values(self.metas.iter().map(|m| m.partition))),
            Arc::new(Int64Array::from_iter_values(self.metas.iter().map(|m| m.offset))),
            timestamps(self.metas.iter())?,
            keys,
            headers,
            Arc::new(TimestampMicrosecondArray::from(ingested).with_timezone("UTC")),
            self.rescued.finish(rows)?,
        ];
        if plan.contract.source == Some(Source::Feed) {
            // Whoever delivers knows the day.
            columns.push(new_null_array(&DataType::Date32, rows));
        }
        Ok(columns)
    }

    /// Turns the rows that break a rule of severity error or fatal into rejects; gives the rows that stay, when not all.
    fn refuse(
        &mut self,
        contract: &Contract,
        broken: &[Violation],
        record: Option<&dyn Fn(usize) -> String>,
    ) -> Option<BooleanArray> {
        let refuses = |v: &&Violation| contract.row_rules.get(v.rule).is_some_and(|r| r.severity != Severity::Warning);
        let mut refusing = broken.iter().filter(refuses).peekable();
        refusing.peek()?;
        let mut keep = BooleanBufferBuilder::new(self.metas.len());
        keep.append_n(self.metas.len(), true);
        let early = std::mem::take(&mut self.rejects);
        let mut early = early.into_iter().peekable();
        while let Some(first) = refusing.next() {
            let row = first.row;
            keep.set_bit(row, false);
            let (Some(rule), Some(&meta)) = (contract.row_rules.get(first.rule), self.metas.get(row)) else { continue };
            let mut every = vec![BrokenRule::new(&rule.name, self.reason(contract, rule, row))];
            while let Some(other) = refusing.next_if(|v| v.row == row) {
                let other = contract.row_rules.get(other.rule);
                every.extend(other.map(|other| BrokenRule::new(&other.name, self.reason(contract, other, row))));
            }
            while let Some(reject) = early.next_if(|reject| reject.row <= row) {
                self.rejects.push(reject);
            }
            self.reject_kept(row, meta, every, record.map(|record| record(row)));
        }
        self.rejects.extend(early);
        Some(BooleanArray::new(keep.finish(), None))
    }

    /// How many values of the rows that stay did not fit their column.
    fn misfits(&self, keep: Option<&BooleanArray>) -> Vec<(usize, u64)> {
        let mut counts = std::collections::BTreeMap::new();
        for (row, column) in &self.wrong {
            let stays = |keep: &BooleanArray| *row < keep.len() && keep.value(*row);
            if keep.map_or(*row < self.metas.len(), stays) {
                *counts.entry(usize::from(*column)).or_insert(0) += 1;
            }
        }
        counts.into_iter().collect()
    }

    /// Why a row breaks a rule: a required value that is there but has another type is not the same as none.
    fn reason(&self, contract: &Contract, rule: &RowRule, row: usize) -> String {
        if let (Check::Required, Some(index)) = (&rule.check, rule.column)
            && let Some(column) = contract.columns.get(index)
            && let Ok(narrow) = u16::try_from(index)
        {
            let begin = self.wrong.partition_point(|&(wrong, _)| wrong < row);
            let wrong =
                self.wrong.iter().skip(begin).take_while(|&&(wrong, _)| wrong == row).any(|&(_, c)| c == narrow);
            if wrong {
                return format!("{} is required and the record's value is not {}", column.name, expected(&column.kind));
            }
        }
        check::reason(rule, contract)
    }

    fn reject_batch(&self, plan: &Plan) -> Result<RecordBatch, ArrowError> {
        let rejects = &self.rejects;
        let mut raw = BinaryViewBuilder::with_capacity(rejects.len());
        let [mut rules, mut reasons, mut every] = [(); 3].map(|()| StringViewBuilder::new());
        for reject in rejects {
            match reject.raw.clone().and_then(|range| self.reject_bytes.get(range)) {
                Some(bytes) => raw.try_append_value(bytes)?,
                None => raw.append_null(),
            }
            let first = reject.broken.first();
            rules.try_append_value(first.map_or("", |first| &first.rule))?;
            reasons.try_append_value(first.map_or("", |first| &first.reason))?;
            every.try_append_value(rules_text(&reject.broken, &plan.contract.fingerprint))?;
        }
        let at = |reject: &Reject| micros(reject.meta.ingested_at_ms);
        let [keys, mut headers] = self.envelopes.columns_of(rejects.iter().map(|reject| &reject.envelope))?;
        if let Some(text) = &self.reject_headers {
            headers = topics(text, rejects.len())?;
        }
        RecordBatch::try_new(
            quarantine_schema(),
            vec![
                Arc::new(raw.finish()),
                topics(&plan.topic, rejects.len())?,
                Arc::new(Int32Array::from_iter_values(rejects.iter().map(|r| r.meta.partition))),
                Arc::new(Int64Array::from_iter_values(rejects.iter().map(|r| r.meta.offset))),
                timestamps(rejects.iter().map(|reject| &reject.meta))?,
                keys,
                headers,
                Arc::new(rules.finish()),
                Arc::new(reasons.finish()),
                Arc::new(TimestampMicrosecondArray::from_iter_values(rejects.iter().map(at)).with_timezone("UTC")),
                Arc::new(every.finish()),
                Arc::new(Int32Array::from(vec![0; rejects.len()])),
            ],
        )
    }

    fn clear(&mut self) {
        self.columns.iter_mut().for_each(|column| column.truncate(0));
        self.metas.clear();
        self.records.clear();
        self.places.clear();
        self.wrong.clear();
        self.rejects.clear();
        self.reject_bytes.clear();
        self.rescued.clear();
        self.envelopes.clear();
        self.forget_beside();
    }
}

fn is_fatal(contract: &Contract, violation: &Violation) -> bool {
    contract.row_rules.get(violation.rule).is_some_and(|rule| rule.severity == Severity::Fatal)
}

fn count(rules: &[RowRule], broken: &[Violation], severity: Severity) -> Vec<(usize, u64)> {
    let mut counts: Vec<(usize, u64)> = Vec::new();
    for violation in broken.iter().filter(|v| rules.get(v.rule).is_some_and(|r| r.severity == severity)) {
        match counts.iter_mut().find(|(rule, _)| *rule == violation.rule) {
            Some((_, count)) => *count += 1,
            None => counts.push((violation.rule, 1)),
        }
    }
    counts.sort_unstable();
    counts
}

/// A column with the same text in every row, its bytes there once.
fn topics(topic: &str, rows: usize) -> Result<ArrayRef, ArrowError> {
    let mut builder = StringViewBuilder::with_capacity(rows)
        .with_fixed_block_size(u32::try_from(topic.len().max(1)).unwrap_or(u32::MAX));
    builder.try_append_value_n(topic, rows)?;
    Ok(Arc::new(builder.finish()))
}

/// The records' own times; null where they have none.
fn timestamps<'a>(metas: impl ExactSizeIterator<Item = &'a RecordMeta>) -> Result<ArrayRef, ArrowError> {
    let (mut times, mut absent) = (Vec::with_capacity(metas.len()), Vec::new());
    for (row, meta) in metas.enumerate() {
        if meta.timestamp_ms.is_none() {
            absent.push(row);
        }
        times.push(micros(meta.timestamp_ms.unwrap_or(0)));
    }
    let nulls = null_buffer(times.len(), &absent);
    Ok(Arc::new(TimestampMicrosecondArray::try_new(times.into(), nulls)?.with_timezone("UTC")))
}

fn micros(millis: i64) -> i64 {
    millis.saturating_mul(1000)
}
