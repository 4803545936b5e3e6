//! From a model's text to a logical plan over slots, and the comparison of what it gives with its contract. Used by
//! `validate` and by the plans that run.
//!
//! Pure: tables are empty slots, so planning touches no file. Invariant: a plan that leaves here is deterministic, since
//! it calls functions of our table alone.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, TableReference};
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::sql::sqlparser::ast::{Query, SelectItem, SetExpr, Spanned};
use datafusion::sql::sqlparser::tokenizer::Token;
use vitalake_contract::{Contract, DatasetName, Layer};

use crate::engine::bounded::bounded;
use crate::functions::select::Planner;
use crate::graph::Contracts;
use crate::model::{Kind, Model};
use crate::problem::{ModelProblem, Place, nearest};
use crate::session;
use crate::slot::{Slot, lower_case};
use crate::syntax::tokens;
use crate::upsert::shape::is_named;
use crate::upsert::stored_schema;

/// The hidden column of every append table: when the row's record was appended to the log.
pub const INGESTED_AT: &str = "_ingested_at";

/// The columns of the driving row that go with a derived row: when its record was appended to the log, and where that
/// record is.
pub(crate) const LINEAGE: [&str; 4] = [INGESTED_AT, "_topic", "_partition", "_offset"];

/// The same as stored columns of an append model's table.
pub(crate) fn lineage_fields() -> [Field; 4] {
    let [ingested_at, topic, partition, offset] = LINEAGE;
    [
        Field::new(ingested_at, session::instant(), true),
        Field::new(topic, DataType::Utf8View, true),
        Field::new(partition, DataType::Int32, true),
        Field::new(offset, DataType::Int64, true),
    ]
}

/// A plan and the slots that it reads, in the order of the model's tables.
pub(crate) struct Planned {
    pub(crate) state: SessionState,
    pub(crate) plan: LogicalPlan,
    pub(crate) slots: Vec<Arc<Slot>>,
}

/// The schema by which a model sees a table: the contract's columns and ours, in lower case.
pub(crate) fn input_schema(contract: &Contract) -> SchemaRef {
    let mut fields: Vec<Field> = contract.table_schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    if contract.layer != Layer::Raw {
        fields = stored_schema(contract).fields().iter().map(|field| field.as_ref().clone()).collect();
    }
    lower_case(&Schema::new(fields))
}

/// The schemas of the model's tables, in their order.
pub(crate) fn input_schemas(model: &Model, contracts: &Contracts) -> Result<Vec<SchemaRef>, ModelProblem> {
    let tables = model.tables.iter();
    tables
        .map(|table| {
            let found = DatasetName::new(&table.table).ok().and_then(|name| contracts.get(&name));
            let found = found.filter(|contract| contract.layer.as_str() == table.schema);
            found.map(|contract| input_schema(contract)).ok_or_else(|| {
                let message = format!("there is no {}.{}", table.schema, table.table);
                ModelProblem::at(table.place, message, format!("add contracts/{}/{}.yaml", table.schema, table.table))
            })
        })
        .collect()
}

/// The same without the columns that the model's text does not name: only those are read. What the optimiser finds
/// needless is named all the same, so that plans made from the text are all over the same columns.
pub(crate) fn named_schemas(model: &Model, contracts: &Contracts) -> Result<Vec<SchemaRef>, ModelProblem> {
    let named: HashSet<String> = tokens(&model.text)?
        .into_iter()
        .filter_map(|token| match token.token {
            Token::Word(word) => Some(word.value.to_lowercase()),
            _ => None,
        })
        .collect();
    let mut schemas = input_schemas(model, contracts)?;
    for (position, schema) in schemas.iter_mut().enumerate() {
        let has_lineage = position == 0 && model.kind != Kind::Full;
        let is_read = |name: &String| named.contains(name) || (has_lineage && LINEAGE.contains(&name.as_str()));
        let kept: Vec<_> = schema.fields().iter().filter(|field| is_read(field.name())).cloned().collect();
        *schema = Arc::new(Schema::new(kept));
    }
    Ok(schemas)
}

/// Plans a query over empty slots with these schemas; says the first thing that is wrong.
pub(crate) fn plan(model: &Model, query: Query, schemas: &[SchemaRef]) -> Result<Planned, ModelProblem> {
    plan_all(model, &query, schemas).map_err(|problems| {
        let first = problems.into_iter().next();
        first.unwrap_or_else(|| ModelProblem::at(model.place, "the SELECT cannot be planned", "simplify it"))
    })
}

/// Plans a query over empty slots with these schemas; says all that is wrong.
pub(crate) fn plan_all(model: &Model, query: &Query, schemas: &[SchemaRef]) -> Result<Planned, Vec<ModelProblem>> {
    let state = session::state();
    let mut slots = Vec::new();
    let mut tables = Vec::new();
    let internal = |error: DataFusionError| vec![engine_problem(&error, model.place)];
    for (index, (table, schema)) in model.tables.iter().zip(schemas).enumerate() {
        let again = model.tables.iter().take(index).any(|t| t.schema == table.schema && t.table == table.table);
        if again {
            let message = format!("{}.{} stands in FROM twice", table.schema, table.table);
            return Err(vec![ModelProblem::at(table.place, message, "name each table once")]);
        }
        let slot = Slot::new(Arc::clone(schema));
        let partition: Arc<dyn PartitionStream> = Arc::clone(&slot) as Arc<dyn PartitionStream>;
        let provider = StreamingTable::try_new(Arc::clone(schema), vec![partition]).map_err(internal)?;
        let name = TableReference::partial(table.schema.clone(), table.table.clone());
        let mut scan =
            LogicalPlanBuilder::scan(name, provider_as_source(Arc::new(provider)), None).map_err(internal)?;
        if table.alias != table.table {
            scan = scan.alias(table.alias.clone()).map_err(internal)?;
        }
        tables.push(scan.build().map_err(internal)?);
        slots.push(slot);
    }
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(vec![ModelProblem::at(model.place, "a model is one SELECT", "write one SELECT after the header")]);
    };
    let plan = bounded(Planner::new(model.place).plan(select, tables)?).map_err(internal)?;
    Ok(Planned { state, plan, slots })
}

/// An error of the engine as a problem, at the place that it names.
pub(crate) fn engine_problem(error: &DataFusionError, otherwise: Place) -> ModelProblem {
    let place = error.diagnostic().and_then(|d| d.span).map_or(otherwise, |span| {
        Place::new(usize::try_from(span.start.line).unwrap_or(1), usize::try_from(span.start.column).unwrap_or(1))
    });
    let text = error.strip_backtrace();
    let text = text.lines().next().unwrap_or_default();
    let text = text.trim_start_matches("Error during planning: ").trim_start_matches("Schema error: ");
    ModelProblem::at(
        place,
        format!("the SELECT cannot be planned: {text}"),
        "check names and types against the contracts",
    )
}

/// What may stand in no plan of a model of this kind.
pub(crate) fn plan_problems(model: &Model, plan: &LogicalPlan) -> Vec<ModelProblem> {
    let mut problems = Vec::new();
    let _ = plan.apply(|node| {
        if matches!(model.kind, Kind::Append | Kind::Upsert) && matches!(node, LogicalPlan::Aggregate(_)) {
            let help = "make it a rollup: -- kind: rollup and -- time: COLUMN";
            problems.push(ModelProblem::at(
                model.place,
                format!("an {} model cannot aggregate", model.kind.as_str()),
                help,
            ));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    problems
}

/// Compares what a plan gives with the contract: columns by name, whatever their order.
pub(crate) fn contract_problems(model: &Model, contract: &Contract, given: &Schema) -> Vec<ModelProblem> {
    let mut problems = Vec::new();
    for column in &contract.columns {
        let name = column.name.to_lowercase();
        let want = column.kind.arrow();
        match given.fields().iter().position(|f| *f.name() == name) {
            None => {
                let extra = given.fields().iter().map(|f| f.name().as_str());
                let extra = extra.filter(|n| contract.columns.iter().all(|c| c.name.to_lowercase() != *n));
                let help = nearest(&name, extra).map_or_else(
                    || format!("add … AS {name} to the SELECT, or take the column out of the contract"),
                    |near| format!("did you mean {near:?} to be {name:?}?"),
                );
                let message =
                    format!("the model gives no column {name:?}, which its contract has as {}", spark_name(&want));
                problems.push(ModelProblem::at(model.place, message, help));
            }
            Some(position) => {
                let field = given.field(position);
                if !widens(field.data_type(), &want) {
                    let (got, want) = (spark_name(field.data_type()), spark_name(&want));
                    let message = format!("column {name:?} is {got} in the model and {want} in its contract");
                    let help = format!("write CAST(… AS {want}) AS {name}, or change the contract");
                    problems.push(ModelProblem::at(item_place(model, position), message, help));
                } else if column.required && field.data_type().is_null() {
                    let message = format!("column {name:?} is always null in the model and required in its contract");
                    problems.push(ModelProblem::at(item_place(model, position), message, "select a value"));
                }
            }
        }
    }
    for (position, field) in given.fields().iter().enumerate() {
        if contract.columns.iter().all(|c| c.name.to_lowercase() != *field.name()) && !is_named(model, field.name()) {
            let got = spark_name(field.data_type());
            let message =
                format!("the model gives a column {:?} ({got}) that its contract does not have", field.name());
            let help =
                format!("add it to contracts/{}/{}.yaml, or take it out of the SELECT", model.layer, model.dataset);
            problems.push(ModelProblem::at(item_place(model, position), message, help));
        }
    }
    problems
}

/// Where an output column stands in the SELECT.
fn item_place(model: &Model, position: usize) -> Place {
    let item = model.select().and_then(|select| select.projection.get(position));
    item.map_or(model.place, |item| Place::of(item.span(), model.place))
}

/// `*` is refused: what it gives changes with the input's contract, and the model's own contract does not.
pub(crate) fn wildcard_problems(model: &Model) -> Vec<ModelProblem> {
    let items = model.select().map(|select| select.projection.as_slice()).unwrap_or_default();
    items
        .iter()
        .filter(|item| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)))
        .map(|item| {
            ModelProblem::at(
                Place::of(item.span(), model.place),
                "a model cannot SELECT *",
                "write the contract's columns out",
            )
        })
        .collect()
}

/// Whether every value of one type is a value of the other: these are cast without a word.
pub(crate) fn widens(from: &DataType, to: &DataType) -> bool {
    use DataType::{Date32, Float32, Float64, Int8, Int16, Int32, Int64, LargeUtf8, Null, Timestamp, Utf8, Utf8View};
    match (from, to) {
        (from, to) if from == to => true,
        (Null, _)
        | (Utf8 | LargeUtf8, Utf8View)
        | (Int8 | Int16 | Int32, Int64 | Float64)
        | (Int8 | Int16, Int32 | Float32)
        | (Float32, Float64)
        | (Timestamp(_, _), Timestamp(_, _)) => true,
        (DataType::Date64, Date32) => true,
        _ => false,
    }
}

/// A type by the name that Spark gives it.
pub(crate) fn spark_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "STRING".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(_, _) => "TIMESTAMP".to_owned(),
        DataType::Null => "VOID".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BINARY".to_owned(),
        DataType::List(field) => format!("ARRAY<{}>", spark_name(field.data_type())),
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::Map(_, _) => "MAP".to_owned(),
        DataType::Decimal128(p, s) | DataType::Decimal256(p, s) => format!("DECIMAL({p},{s})"),
        other => other.to_string().to_uppercase(),
    }
}
