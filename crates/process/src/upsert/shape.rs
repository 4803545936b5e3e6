//! Which columns of an upsert's events and rows are what, and what its header may not say.
//!
//! Made of the model, its contract and the columns that its plan gives. Invariant: an event's first columns are the
//! contract's, its last four say where it comes from.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use vitalake_contract::Contract;

use crate::append;
use crate::graph::Feeding;
use crate::model::Model;
use crate::plan::{lineage_fields, spark_name};
use crate::problem::{ModelProblem, nearest};
use crate::session::instant;

/// The column of an event that marks a delete.
pub(crate) const DELETED: &str = "_deleted";
/// When a version of a row began to hold.
pub(crate) const VALID_FROM: &str = "_valid_from";
/// When it ceased to; null while it holds.
pub(crate) const VALID_TO: &str = "_valid_to";
/// When a whole was delivered.
const DELIVERED_AT: &str = "_delivered_at";
/// Which version of its input a whole was.
const VERSION: &str = "_version";

/// An upsert's columns.
#[derive(Clone, Debug)]
pub(crate) struct UpsertShape {
    /// Of events: the contract's, those of the sequence that the contract lacks, the mark of a delete, the lineage.
    pub(crate) events: SchemaRef,
    /// Of the table.
    pub(crate) stored: SchemaRef,
    /// How many the contract has.
    pub(crate) columns: usize,
    /// The key, as positions in an event.
    pub(crate) key: Vec<usize>,
    /// The sequence, as positions in an event.
    pub(crate) sequence: Vec<usize>,
    /// The mark of a delete, as a position in an event.
    pub(crate) deleted: usize,
    /// Whether every version of a row is kept.
    pub(crate) history: bool,
    /// How rows come to the input.
    pub(crate) feeding: Feeding,
}

impl UpsertShape {
    /// The shape of a model whose plan gives these columns.
    pub(crate) fn of(model: &Model, contract: &Contract, given: &Schema, feeding: Feeding) -> Self {
        let mut fields: Vec<Field> = contract.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        let columns = fields.len();
        if feeding == Feeding::Whole {
            fields.push(Field::new(DELIVERED_AT, instant(), true));
            fields.push(Field::new(VERSION, DataType::Int64, true));
        }
        fields.extend(extra_fields(model, contract, given).into_iter().filter(|field| field.name() != DELETED));
        let deleted = fields.len();
        fields.push(Field::new(DELETED, DataType::Boolean, true));
        fields.extend(lineage_fields());
        let position = |name: &String| fields.iter().position(|field| field.name().to_lowercase() == *name);
        let key = model.key.iter().filter_map(position).collect();
        let sequence = match feeding {
            Feeding::Whole => vec![columns, columns + 1],
            _ => model.sequence.iter().filter_map(position).collect(),
        };
        Self {
            events: Arc::new(Schema::new(fields)),
            stored: stored_schema(contract),
            columns,
            key,
            sequence,
            deleted,
            history: contract.history,
            feeding,
        }
    }

    /// Whether events that decide nothing any longer are dropped: of an input that takes nothing back, and of wholes,
    /// the newest says all.
    pub(crate) fn keeps_newest_alone(&self) -> bool {
        !self.history && self.feeding != Feeding::Corrected
    }

    /// The positions in an event of topic, partition and offset.
    pub(crate) fn place(&self) -> [usize; 3] {
        let lineage = self.deleted + 1;
        [lineage + 1, lineage + 2, lineage + 3]
    }
}

/// The columns of the table: the contract's, the time in which a row holds where all versions are kept, the lineage.
pub(crate) fn stored_schema(contract: &Contract) -> SchemaRef {
    let schema = append::stored_schema(contract);
    if !contract.history {
        return schema;
    }
    let mut fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone()).collect();
    let at = contract.columns.len();
    fields.insert(at, Field::new(VALID_FROM, instant(), true));
    fields.insert(at + 1, Field::new(VALID_TO, instant(), true));
    Arc::new(Schema::new(fields))
}

/// The columns that a plan gives beside the contract's: those of the sequence that the contract lacks, and the mark of a
/// delete.
pub(crate) fn extra_fields(model: &Model, contract: &Contract, given: &Schema) -> Vec<Field> {
    let is_extra = |name: &&String| contract.columns.iter().all(|column| column.name.to_lowercase() != **name);
    let field = |name: &String| {
        let kind = given.field_with_name(name).map_or(DataType::Null, |field| storable(field.data_type()));
        Field::new(name, kind, true)
    };
    let mut fields: Vec<Field> = model.sequence.iter().filter(is_extra).map(field).collect();
    fields.extend(model.deleted.as_ref().map(|_| Field::new(DELETED, DataType::Boolean, true)));
    fields
}

/// The type of a contract that holds every value of one of the engine's.
fn storable(kind: &DataType) -> DataType {
    use DataType::{Date32, Float32, Float64, Int8, Int16, Int32, Int64, Timestamp, Utf8View};
    match kind {
        Int8 | Int16 | Int32 | Int64 => Int64,
        Float32 | Float64 => Float64,
        Timestamp(..) => instant(),
        Date32 => Date32,
        _ => Utf8View,
    }
}

/// Whether the header names this output column, so that the contract need not have it.
pub(crate) fn is_named(model: &Model, name: &str) -> bool {
    model.sequence.iter().chain(&model.deleted).any(|named| named == name)
}

/// What the header says that the plan and the contract do not bear out.
pub(crate) fn problems(model: &Model, contract: &Contract, plan: &LogicalPlan) -> Vec<ModelProblem> {
    let given = plan.schema().as_arrow();
    let mut problems = Vec::new();
    let mut problem = |message: String, help: String| problems.push(ModelProblem::at(model.place, message, help));
    let column = |name: &str| given.fields().iter().find(|field| field.name() == name);
    let lacks = |what: &str, name: &str| {
        let near = nearest(name, given.fields().iter().map(|field| field.name().as_str()));
        let help =
            near.map_or_else(|| format!("add … AS {name} to the SELECT"), |near| format!("did you mean {near:?}?"));
        (format!("the SELECT gives no column {name:?}, which `-- {what}:` names"), help)
    };
    for name in &model.key {
        match column(name) {
            None => {
                let (message, help) = lacks("key", name);
                problem(message, help);
            }
            Some(field) if field.data_type().is_floating() => {
                let message = format!("the key column {name:?} is {}", spark_name(field.data_type()));
                problem(message, "numbers with a fraction are no keys: CAST it to BIGINT or STRING".to_owned());
            }
            Some(_) => {}
        }
    }
    for (index, name) in model.sequence.iter().enumerate() {
        match column(name).map(|field| field.data_type()) {
            None => {
                let (message, help) = lacks("sequence", name);
                problem(message, help);
            }
            Some(kind) if !has_an_order(kind) => {
                let message = format!("rows cannot be ordered by {name:?}, which is {}", spark_name(kind));
                problem(message, "name a number, a date, a timestamp or a text".to_owned());
            }
            Some(kind) if contract.history && index == 0 && !is_time(kind) => {
                let message = format!("{name:?} is {} and no time from which a row could hold", spark_name(kind));
                problem(message, "where history is kept, `-- sequence:` begins with a DATE or TIMESTAMP".to_owned());
            }
            Some(_) => {}
        }
    }
    if let Some(name) = &model.deleted {
        match column(name) {
            None => {
                let (message, help) = lacks("deleted", name);
                problem(message, help);
            }
            Some(field) if *field.data_type() != DataType::Boolean => {
                let message = format!("{name:?}, which marks deletes, is {}", spark_name(field.data_type()));
                problem(message, format!("write a condition that is true for a delete, … AS {name}"));
            }
            Some(_) => {}
        }
    }
    problems.extend(key_problem(model, contract));
    problems
}

fn key_problem(model: &Model, contract: &Contract) -> Option<ModelProblem> {
    let columns = contract.primary_key.iter().filter_map(|index| contract.columns.get(*index));
    let mut wanted: Vec<String> = columns.map(|column| column.name.to_lowercase()).collect();
    let mut said = model.key.clone();
    wanted.sort();
    said.sort();
    (wanted != said).then(|| {
        let wanted = if wanted.is_empty() { "none".to_owned() } else { wanted.join(", ") };
        let message = format!("the contract's primary key is {wanted}, `-- key:` says {}", said.join(", "));
        let help =
            "make them the same columns: `primaryKey: true` at each in the contract, which makes it required too";
        ModelProblem::at(model.place, message, help)
    })
}

fn has_an_order(kind: &DataType) -> bool {
    use DataType::{Date32, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, Timestamp, Utf8, Utf8View};
    matches!(
        kind,
        Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Date32 | Timestamp(..) | Utf8 | LargeUtf8 | Utf8View
    )
}

fn is_time(kind: &DataType) -> bool {
    matches!(kind, DataType::Date32 | DataType::Timestamp(..))
}
