//! The rules of a derived dataset over the rows that its model made: good rows, rejects, and what was only counted.
//!
//! Between a plan and the index of keys. Invariant: every row that goes in comes out once, good or rejected, and a
//! reason holds no value.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewBuilder, BooleanArray, Int32Array, Int64Array, RecordBatch, RecordBatchOptions,
    StringViewArray, TimestampMicrosecondArray, UInt64Array, new_null_array,
};
use arrow::compute::{cast, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use datafusion::common::DFSchema;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::sql::sqlparser::parser::Parser;
use vitalake_contract::Contract;
use vitalake_contract::check::{SqlRules, Violation, reason, violations};
use vitalake_contract::contract::quarantine_schema;
use vitalake_contract::quarantine::{BrokenRule, rules_text};
use vitalake_contract::rule::{Check, RowRule, Severity};

use crate::error::{Error, Result};
use crate::functions::bind::Binder;
use crate::plan::INGESTED_AT;
use crate::problem::{ModelProblem, Place};
use crate::session;
use crate::syntax::{Spark, tokens};

/// The rule that a row breaks whose key is there with other values.
pub const PRIMARY_KEY_RULE: &str = "primaryKey";

/// A rejected row of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reject {
    /// Its index.
    pub(crate) row: usize,
    /// The rules that rejected it, at least one.
    pub(crate) broken: Vec<BrokenRule>,
}

impl Reject {
    /// A row that one rule rejects.
    pub(crate) fn new(row: usize, rule: &str, reason: String) -> Self {
        Self { row, broken: vec![BrokenRule::new(rule, reason)] }
    }
}

/// What the rules say of a batch.
#[derive(Debug)]
pub(crate) struct Checked {
    /// Rows that break a rule of severity `error`, in order, each once.
    pub(crate) rejects: Vec<Reject>,
    /// How many rows break a rule of severity `warning`, by the rule's name.
    pub(crate) warnings: BTreeMap<String, u64>,
    /// A rule of severity `fatal` that a row breaks.
    pub(crate) fatal: Option<String>,
}

/// A contract's rules in SQL as expressions, each with its index in the contract's rules.
#[derive(Debug)]
pub(crate) struct SqlPredicates(Vec<(usize, Arc<dyn PhysicalExpr>)>);

impl SqlPredicates {
    /// Compiles the rules for rows of this schema.
    fn compile(contract: &Contract, schema: &SchemaRef) -> Result<Self> {
        let mut predicates = Vec::new();
        for (index, rule) in contract.row_rules.iter().enumerate() {
            if let Check::NotSql(predicate) = &rule.check {
                let compiled = compile_predicate(predicate, schema).map_err(|message| Error::Model {
                    model: contract.dataset.clone(),
                    problem: Box::new(ModelProblem::at(
                        Place::new(1, 1),
                        format!("rule {} cannot be compiled: {message}", rule.name),
                        "write a condition on the dataset's columns that gives true or false",
                    )),
                })?;
                predicates.push((index, compiled));
            }
        }
        Ok(Self(predicates))
    }
}

impl SqlRules for SqlPredicates {
    fn violations(&self, rows: &RecordBatch) -> Vec<Violation> {
        let broken = |(rule, predicate): &(usize, Arc<dyn PhysicalExpr>)| {
            let rule = *rule;
            broken_rows(predicate, rows).into_iter().map(move |row| Violation { row, rule })
        };
        self.0.iter().flat_map(broken).collect()
    }
}

/// The rules in SQL of a raw dataset's contract, for landing; `None` when it has none.
///
/// # Errors
/// When a rule's query is not a condition on the dataset's columns.
pub fn sql_rules(contract: &Contract) -> Result<Option<Arc<dyn SqlRules>>> {
    let predicates = SqlPredicates::compile(contract, &contract.table_schema())?;
    Ok(if predicates.0.is_empty() { None } else { Some(Arc::new(predicates)) })
}

/// A contract's row rules, compiled.
#[derive(Debug)]
pub(crate) struct RowChecks {
    contract: Arc<Contract>,
    predicates: SqlPredicates,
}

impl RowChecks {
    /// Compiles the rules for rows of this schema, whose first columns are the contract's.
    pub(crate) fn compile(contract: Arc<Contract>, schema: &SchemaRef) -> Result<Self> {
        let predicates = SqlPredicates::compile(&contract, schema)?;
        Ok(Self { contract, predicates })
    }

    /// Checks rows.
    pub(crate) fn check(&self, batch: &RecordBatch) -> Result<Checked> {
        let mut broken: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let found = violations(&self.contract.row_rules, batch).map_err(|error| Error::Columns {
            what: format!("rows for {}", self.contract.dataset),
            detail: error.to_string(),
        })?;
        for violation in found.into_iter().chain(self.predicates.violations(batch)) {
            broken.entry(violation.row).or_default().push(violation.rule);
        }
        let mut checked = Checked { rejects: Vec::new(), warnings: BTreeMap::new(), fatal: None };
        for (row, mut rules) in broken {
            rules.sort_unstable();
            self.judge(row, &rules, &mut checked);
        }
        Ok(checked)
    }

    fn judge(&self, row: usize, rules: &[usize], checked: &mut Checked) {
        let rules: Vec<&RowRule> = rules.iter().filter_map(|index| self.contract.row_rules.get(*index)).collect();
        for rule in &rules {
            match rule.severity {
                Severity::Warning => *checked.warnings.entry(rule.name.clone()).or_default() += 1,
                Severity::Fatal => checked.fatal = checked.fatal.take().or_else(|| Some(rule.name.clone())),
                Severity::Error => {}
            }
        }
        let errors = rules.iter().filter(|rule| rule.severity == Severity::Error);
        let broken: Vec<_> = errors.map(|rule| BrokenRule::new(&rule.name, reason(rule, &self.contract))).collect();
        if !broken.is_empty() {
            checked.rejects.push(Reject { row, broken });
        }
    }
}

fn compile_predicate(predicate: &str, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>, String> {
    let engine = |error: datafusion::common::DataFusionError| error.strip_backtrace();
    let tokens = tokens(predicate).map_err(|problem| problem.message)?;
    let mut parser = Parser::new(&Spark).with_recursion_limit(64).with_tokens_with_locations(tokens);
    let parsed = parser.parse_expr().map_err(|error| error.to_string())?;
    let lower = DFSchema::try_from(crate::slot::lower_case(schema)).map_err(engine)?;
    let binder = Binder::new(&lower, Place::new(1, 1));
    let bound = binder.condition(&parsed).map_err(|refusal| format!("{}; {}", refusal.message, refusal.help))?;
    session::state().create_physical_expr(bound, &lower).map_err(engine)
}

/// The rows for which a condition holds. Where the batch as a whole cannot be computed or its computation panics, its
/// rows are computed one by one, so that a bad one stops none of its neighbours; a row for which nobody can say is not
/// let through.
pub(crate) fn broken_rows(predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Vec<usize> {
    let holds = |batch: &RecordBatch| {
        let value = || predicate.evaluate(batch).and_then(|value| value.into_array(batch.num_rows())).ok();
        let value = catch_unwind(AssertUnwindSafe(value)).ok().flatten()?;
        let flags = value.as_boolean_opt()?.clone();
        Some((0..flags.len()).filter(|row| flags.is_valid(*row) && flags.value(*row)).collect::<Vec<_>>())
    };
    let one_by_one =
        || (0..batch.num_rows()).filter(|row| holds(&batch.slice(*row, 1)).is_none_or(|rows| !rows.is_empty()));
    holds(batch).unwrap_or_else(|| one_by_one().collect())
}

/// The rows that are not rejected.
pub(crate) fn without(batch: &RecordBatch, rejected: &[Reject]) -> Result<RecordBatch> {
    if rejected.is_empty() {
        return Ok(batch.clone());
    }
    let mut keep = vec![true; batch.num_rows()];
    for reject in rejected {
        if let Some(flag) = keep.get_mut(reject.row) {
            *flag = false;
        }
    }
    let kept = filter_record_batch(batch, &BooleanArray::from(keep));
    kept.map_err(|source| Error::Arrow { attempted: "taking good rows", source })
}

/// Rejected rows as rows of the quarantine: the contract's columns as JSON, where the record came from if the model's
/// input knows, and as the time that of its arrival.
pub(crate) fn quarantined(
    batch: &RecordBatch,
    columns: usize,
    rejected: &[Reject],
    fingerprint: &str,
    now_us: i64,
) -> Result<RecordBatch> {
    let arrow = |source| Error::Arrow { attempted: "putting rows into quarantine", source };
    let indices: UInt64Array = rejected.iter().map(|reject| reject.row as u64).collect();
    let rows = take_record_batch(batch, &indices).map_err(arrow)?;
    let values = rows.project(&(0..columns.min(rows.num_columns())).collect::<Vec<_>>()).map_err(arrow)?;
    let mut raw = BinaryViewBuilder::with_capacity(rows.num_rows());
    for line in json_lines(&values)? {
        raw.append_value(line);
    }
    let count = rows.num_rows();
    let column = |name: &str| rows.column_by_name(name).cloned();
    let at = match column(INGESTED_AT) {
        Some(times) => {
            let times = times.as_primitive_opt::<TimestampMicrosecondType>().cloned();
            times.map(|t| TimestampMicrosecondArray::from_iter_values(t.iter().map(|t| t.unwrap_or(now_us))))
        }
        None => None,
    };
    let at = at.unwrap_or_else(|| TimestampMicrosecondArray::from(vec![now_us; count]));
    let first = |pick: fn(&BrokenRule) -> &str| -> ArrayRef {
        Arc::new(rejected.iter().map(|r| Some(r.broken.first().map_or("", pick))).collect::<StringViewArray>())
    };
    let every: StringViewArray = rejected.iter().map(|r| Some(rules_text(&r.broken, fingerprint))).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(raw.finish()),
        column("_topic")
            .unwrap_or_else(|| Arc::new(StringViewArray::from_iter(std::iter::repeat_n(None::<&str>, count)))),
        column("_partition").unwrap_or_else(|| Arc::new(Int32Array::from(vec![None; count]))),
        column("_offset").unwrap_or_else(|| Arc::new(Int64Array::from(vec![None; count]))),
        // A derived row has no time, key or headers of its own; its position leads to the record that has.
        Arc::new(TimestampMicrosecondArray::new_null(count).with_timezone("UTC")),
        new_null_array(&DataType::BinaryView, count),
        new_null_array(&DataType::Utf8View, count),
        first(|broken| &broken.rule),
        first(|broken| &broken.reason),
        Arc::new(at.with_timezone("UTC")),
        Arc::new(every),
        Arc::new(Int32Array::from(vec![0; count])),
    ];
    RecordBatch::try_new(quarantine_schema(), columns).map_err(arrow)
}

/// Each row as one JSON object.
fn json_lines(rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    let arrow = |source| Error::Arrow { attempted: "writing rows as JSON", source };
    let mut lines = Vec::with_capacity(rows.num_rows());
    for row in 0..rows.num_rows() {
        // A row by itself: what its neighbours hold must not show in it.
        let row = with_spelled_numbers(&rows.slice(row, 1))?;
        // A time beyond the calendar of the writer fails the whole row: what can be written is.
        let line = json_line(&row).or_else(|_| json_line(&with_numbers_of_times(&row)?));
        lines.push(line.map_err(arrow)?);
    }
    Ok(lines)
}

fn json_line(row: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(Vec::new());
    writer.write(row)?;
    writer.finish()?;
    let mut line = writer.into_inner();
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(line)
}

/// Numbers that JSON has no word for, such as NaN, as texts; columns without any stay as they are. Of one row.
fn with_spelled_numbers(rows: &RecordBatch) -> Result<RecordBatch> {
    let arrow = |source| Error::Arrow { attempted: "writing rows as JSON", source };
    let spelled = |column: &ArrayRef| -> Result<ArrayRef> {
        if !column.data_type().is_floating() {
            return Ok(Arc::clone(column));
        }
        let numbers = cast(column, &DataType::Float64).map_err(arrow)?;
        let Some(numbers) = numbers.as_primitive_opt::<Float64Type>() else { return Ok(Arc::clone(column)) };
        if numbers.iter().flatten().all(f64::is_finite) {
            return Ok(Arc::clone(column));
        }
        cast(column, &DataType::Utf8View).map_err(arrow)
    };
    with_columns(rows, rows.columns().iter().map(spelled).collect::<Result<_>>()?).map_err(arrow)
}

/// Times as the numbers that are stored.
fn with_numbers_of_times(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let number = |column: &ArrayRef| match column.data_type() {
        DataType::Timestamp(..) => cast(column, &DataType::Int64),
        DataType::Date32 => cast(column, &DataType::Int32),
        _ => Ok(Arc::clone(column)),
    };
    with_columns(rows, rows.columns().iter().map(number).collect::<Result<_, _>>()?)
}

fn with_columns(rows: &RecordBatch, columns: Vec<ArrayRef>) -> Result<RecordBatch, ArrowError> {
    let fields = rows.schema_ref().fields().iter().zip(&columns);
    let fields: Vec<Field> =
        fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use arrow::array::Float64Array;

    #[test]
    fn a_number_is_written_as_one_beside_rows_that_hold_none() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 1.5]));
        let lines = json_lines(&RecordBatch::try_from_iter([("d", numbers)]).unwrap()).unwrap();
        assert_eq!(lines, [br#"{"d":"NaN"}"#.to_vec(), br#"{"d":1.5}"#.to_vec()]);
    }
}
