//! A joined table that has changed: which rows of the input its changed rows explain, or explained.
//!
//! The model's joins up to that table are run over the input with the changed rows in its place: what comes out are the
//! rows of the input that are to be made again. Conditions of WHERE are left aside, since they may hold of the new rows and
//! not of the old. Of the input only files are read whose bounds allow a match. Invariant: no row of the input is left out
//! whose derived rows would be others now.

use std::cmp::Ordering;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{SortOptions, concat, sort_to_indices};
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, SelectItem, SetExpr};
use futures::TryStreamExt;
use vitalake_contract::DatasetName;
use vitalake_lake::{DataFile, Increment, TxnId};

use super::append::AppendWork;
use super::joined::rows_of;
use super::regroup::{files_at, is_gone};
use super::remade::Again;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::increment::{Signed, SignedIncrement};
use crate::lineage::Lineages;
use crate::model::Model;
use crate::plan::{LINEAGE, named_schemas, plan};
use crate::run::progress::Counts;
use crate::run::{Job, table_id};

impl AppendWork {
    /// Whether a joined table has another version than the one that all rows are made with.
    pub(crate) fn joined_has_moved(&self) -> bool {
        self.derive.joined.has_moved()
    }

    /// Waits until one has.
    pub(crate) async fn joined_moves(&self) {
        self.derive.joined.moves().await;
    }

    /// Makes the rows again that changed rows of joined tables explain. Nothing of this process may be in the table that is
    /// not committed.
    pub(crate) async fn follow_joined(&mut self, job: &Job, counts: &mut Counts) -> Result<()> {
        job.output.rest().await?;
        for index in 0..self.derive.joined.tables.len() {
            let Some(version) = self.follow_joined_table(job, index, counts).await? else { continue };
            if let Some(joined) = self.derive.joined.tables.get_mut(index) {
                joined.made_with = Some(version);
                let id = joined.id();
                job.progress.joined(&id, version);
            }
        }
        Ok(())
    }

    /// The same of one joined table; gives the version that all rows are made with now.
    async fn follow_joined_table(&mut self, job: &Job, index: usize, counts: &mut Counts) -> Result<Option<i64>> {
        let Some(joined) = self.derive.joined.tables.get(index) else { return Ok(None) };
        let head = joined.table.head();
        let version = i64::try_from(head.version().0).unwrap_or(i64::MAX);
        let consumed = job.output.committed_txn(&job.txn);
        let (Some(consumed), true) = (consumed, joined.made_with != Some(version)) else { return Ok(Some(version)) };
        let txns = vec![(joined.txn.clone(), version)];
        let rows = match joined.made_with {
            Some(from) => match joined.table.changed_between(from, &head).await? {
                Some(changes) => match self.explained(job, index, (&changes, consumed)).await {
                    Err(error) if is_gone(&error) => None,
                    rows => Some(rows?),
                },
                None => None,
            },
            None => None,
        };
        match rows {
            Some(rows) if rows.is_empty() => {}
            Some(rows) => self.make_again(job, Again { rows: Some(rows), version: consumed, txns }, counts).await?,
            None => {
                let table = self.derive.joined.tables.get(index).map(|joined| joined.table.id().to_string());
                tracing::warn!(model = %job.model.dataset, joined = table, "what has changed in a joined table is not known any longer");
                let all = self.derive.joined.tables.iter().map(|joined| (joined.txn.clone(), joined.version()));
                let again =
                    Again { rows: None, version: consumed, txns: all.chain(txns).collect::<Vec<(TxnId, i64)>>() };
                self.make_again(job, again, counts).await?;
            }
        }
        Ok(Some(version))
    }

    /// Where the input's rows come from that rows which changed explain, at the version that is consumed.
    async fn explained(&self, job: &Job, index: usize, (changes, consumed): (&[Increment], i64)) -> Result<Lineages> {
        let mut found = Lineages::default();
        let Some(joined) = self.derive.joined.tables.get(index) else { return Ok(found) };
        let columns = self.derive.plan.needed(joined.position).to_vec();
        let changed = self.changed_rows(index, changes, &columns).await?;
        if changed.is_empty() {
            return Ok(found);
        }
        let (explaining, bounds) = explaining(job, joined.position, &changed).await?;
        explaining.set_joined(joined.position, &changed)?;
        let pinned = job.lake.pin();
        for before in self.derive.joined.tables.iter().filter(|before| before.position < joined.position) {
            let contract = before.table.contract();
            let Some(view) = pinned.table(&table_id(contract.layer, &contract.dataset)) else { continue };
            let needed = self.derive.plan.needed(before.position);
            explaining.set_joined(
                before.position,
                &rows_of(&before.table, view, needed, self.derive.joined.bytes_max).await?,
            )?;
        }
        let files = files_at(job, consumed).await?;
        let (mut read, mut bytes) = (0_usize, 0);
        let columns = explaining.needed(0).to_vec();
        for file in files.iter().filter(|file| bounds.iter().all(|bound| bound.may_be_in(file))) {
            (read, bytes) = (read + 1, bytes + file.size_bytes());
            let mut batches = job.input.stream_columns(file, &columns).await?;
            while let Some(batch) = batches.try_next().await? {
                let ran = explaining.run_each(&[batch]).await?;
                if let Some((_, failure)) = ran.unrunnable {
                    return Err(failure);
                }
                ran.made
                    .iter()
                    .chain(ran.failed.iter().map(|failed| &failed.row))
                    .try_for_each(|rows| found.add(rows))?;
            }
        }
        found.settle();
        let (joined, of) = (joined.table.id().to_string(), files.len());
        tracing::info!(model = %job.model.dataset, joined, files = read, of, bytes, "the input was looked through for rows that a joined table explains anew");
        Ok(found)
    }

    /// The rows of a joined table that went and came, as far as the model reads them. Rows of the output may have been made
    /// with any of the versions, so that what came and went between counts too.
    async fn changed_rows(&self, index: usize, changes: &[Increment], columns: &[String]) -> Result<Vec<RecordBatch>> {
        let (mut changed, mut bytes) = (Vec::new(), 0);
        let Some(joined) = self.derive.joined.tables.get(index) else { return Ok(changed) };
        let bytes_max = self.derive.joined.bytes_max;
        for change in changes {
            let mut signed = SignedIncrement::of(&joined.table, change, columns);
            while let Some(Signed { retracted, added }) = signed.next().await? {
                for batch in retracted.into_iter().chain(added) {
                    bytes += batch.get_array_memory_size();
                    changed.push(batch);
                }
                if bytes > bytes_max {
                    return Err(Error::JoinedTooLarge { table: joined.table.id().to_string(), bytes, bytes_max });
                }
            }
        }
        Ok(changed)
    }
}

/// The plan that finds rows of the input by changed rows of a joined table, and what bounds these set.
async fn explaining(job: &Job, position: usize, changed: &[RecordBatch]) -> Result<(Engine, Vec<Bound>)> {
    let problem = |problem| Error::Model { model: job.model.dataset.clone(), problem: Box::new(problem) };
    let mut schemas = named_schemas(&job.model, &job.contracts).map_err(problem)?;
    schemas.truncate(position + 1);
    let (model, condition) = up_to(&job.model, position);
    let bounds = condition.map(|condition| bounds(job, position, &condition, changed)).transpose()?.unwrap_or_default();
    let planned = plan(&model, model.query.as_ref().clone(), &schemas).map_err(problem)?;
    Ok((Engine::compile(&model, planned, "finding rows that a joined table explains").await?, bounds))
}

/// The model as far as one of its joins, which must match, for the places of the driving rows alone; with that join's
/// condition.
fn up_to(model: &Model, position: usize) -> (Model, Option<Expr>) {
    let mut model = model.clone();
    let driving = model.driving().map(|table| table.alias.clone()).unwrap_or_default();
    let mut condition = None;
    if let SetExpr::Select(select) = model.query.body.as_mut() {
        let place = |name: &str| {
            let column = vec![Ident::with_quote('`', &driving), Ident::with_quote('`', name)];
            SelectItem::ExprWithAlias { expr: Expr::CompoundIdentifier(column), alias: Ident::with_quote('`', name) }
        };
        select.projection = LINEAGE.map(place).to_vec();
        select.selection = None;
        if let Some(from) = select.from.first_mut() {
            from.joins.truncate(position);
            if let Some(last) = from.joins.last_mut() {
                let constraint = match &last.join_operator {
                    JoinOperator::Join(c)
                    | JoinOperator::Inner(c)
                    | JoinOperator::Left(c)
                    | JoinOperator::LeftOuter(c) => c.clone(),
                    _ => JoinConstraint::None,
                };
                if let JoinConstraint::On(on) = &constraint {
                    condition = Some(on.clone());
                }
                last.join_operator = JoinOperator::Inner(constraint);
            }
        }
    }
    model.tables.truncate(position + 1);
    (model, condition)
}

/// What changed rows say of a column of the rows that they can match.
struct Bound {
    column: String,
    min: Option<ScalarValue>,
    max: Option<ScalarValue>,
}

impl Bound {
    /// Whether a file may hold rows within it, by its statistics.
    fn may_be_in(&self, file: &DataFile) -> bool {
        let Some(stats) = file.stats() else { return true };
        let kind = |value: &ScalarValue| value.data_type();
        let is_after = |file: Option<ScalarValue>, bound: &ScalarValue| {
            file.and_then(|file| file.partial_cmp(bound)) == Some(Ordering::Greater)
        };
        let is_before = |file: Option<ScalarValue>, bound: &ScalarValue| {
            file.and_then(|file| file.partial_cmp(bound)) == Some(Ordering::Less)
        };
        let below = self.min.as_ref().is_some_and(|min| is_before(stats.max(&self.column, &kind(min)), min));
        let above = self.max.as_ref().is_some_and(|max| is_after(stats.min(&self.column, &kind(max)), max));
        !below && !above
    }
}

/// The bounds that a join's condition sets where it compares a column of the driving table with one of the joined table, as
/// one of conditions that must all hold.
fn bounds(job: &Job, position: usize, condition: &Expr, changed: &[RecordBatch]) -> Result<Vec<Bound>> {
    let (Some(driving), Some(joined)) = (job.model.driving(), job.model.tables.get(position)) else {
        return Ok(Vec::new());
    };
    let contract = DatasetName::new(&driving.table).ok().and_then(|name| job.contracts.get(&name));
    let mut bounds = Vec::new();
    for (left, operator, right) in comparisons(condition) {
        let sides = [(column(left, &driving.alias), column(right, &joined.alias), operator.clone()), {
            (column(right, &driving.alias), column(left, &joined.alias), flipped(&operator))
        }];
        for (of_driving, of_joined, operator) in sides {
            let (Some(of_driving), Some(of_joined)) = (of_driving, of_joined) else { continue };
            let Some((min, max)) = extremes(changed, &of_joined)? else { continue };
            let known = contract.and_then(|contract| {
                let columns = &contract.table_schema();
                let field = columns.fields().iter().find(|field| field.name().eq_ignore_ascii_case(&of_driving))?;
                Some((field.name().clone(), field.data_type().clone()))
            });
            let Some((column, kind)) = known else { continue };
            if kind != min.data_type() || kind.is_floating() {
                continue;
            }
            let (min, max) = match operator {
                BinaryOperator::Eq => (Some(min), Some(max)),
                BinaryOperator::Gt | BinaryOperator::GtEq => (Some(min), None),
                BinaryOperator::Lt | BinaryOperator::LtEq => (None, Some(max)),
                _ => continue,
            };
            bounds.push(Bound { column, min, max });
        }
    }
    Ok(bounds)
}

/// The comparisons that must all hold for a condition to.
fn comparisons(condition: &Expr) -> Vec<(&Expr, BinaryOperator, &Expr)> {
    match condition {
        Expr::Nested(inner) => comparisons(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And, right } => {
            comparisons(left).into_iter().chain(comparisons(right)).collect()
        }
        Expr::BinaryOp { left, op, right } => vec![(left.as_ref(), op.clone(), right.as_ref())],
        Expr::Between { expr, negated: false, low, high } => {
            vec![
                (expr.as_ref(), BinaryOperator::GtEq, low.as_ref()),
                (expr.as_ref(), BinaryOperator::LtEq, high.as_ref()),
            ]
        }
        _ => Vec::new(),
    }
}

fn flipped(operator: &BinaryOperator) -> BinaryOperator {
    match operator {
        BinaryOperator::Lt => BinaryOperator::Gt,
        BinaryOperator::LtEq => BinaryOperator::GtEq,
        BinaryOperator::Gt => BinaryOperator::Lt,
        BinaryOperator::GtEq => BinaryOperator::LtEq,
        other => other.clone(),
    }
}

/// The column of a table that an expression is.
fn column(expr: &Expr, alias: &str) -> Option<String> {
    match expr {
        Expr::Nested(inner) => column(inner, alias),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [table, column] if table.value.eq_ignore_ascii_case(alias) => Some(column.value.to_lowercase()),
            _ => None,
        },
        _ => None,
    }
}

/// The smallest and the largest value of a column; `None` where it has none.
fn extremes(rows: &[RecordBatch], column: &str) -> Result<Option<(ScalarValue, ScalarValue)>> {
    let arrow = |source| Error::Arrow { attempted: "finding the bounds of joined rows", source };
    let of_batch = |batch: &RecordBatch| -> Option<ArrayRef> {
        let place = batch.schema_ref().fields().iter().position(|field| field.name().eq_ignore_ascii_case(column))?;
        batch.columns().get(place).cloned()
    };
    let Some(columns) = rows.iter().map(of_batch).collect::<Option<Vec<_>>>() else { return Ok(None) };
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    if columns.is_empty() {
        return Ok(None);
    }
    let values = concat(&columns).map_err(arrow)?;
    if values.null_count() == values.len() {
        return Ok(None);
    }
    let first = |descending: bool| -> Result<Option<ScalarValue>> {
        let options = SortOptions { descending, nulls_first: false };
        let order = sort_to_indices(&values, Some(options), Some(1)).map_err(arrow)?;
        let value = order.values().first().and_then(|row| ScalarValue::try_from_array(&values, *row as usize).ok());
        Ok(value)
    };
    Ok(first(false)?.zip(first(true)?))
}
