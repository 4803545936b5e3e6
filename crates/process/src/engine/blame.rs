//! Which expression of a model a row fails at: each item of the SELECT is run on the row by itself.
//!
//! Compiled when the first row fails, and never before. Invariant: what is said names a place in the model's file and a
//! kind of failure, never a value.

use arrow::array::RecordBatch;
use datafusion::sql::sqlparser::ast::{
    Expr as SqlExpr, GroupByExpr, Query, Select, SelectItem, SetExpr, Spanned, Value,
};

use crate::engine::{Engine, FailedRow};
use crate::graph::Contracts;
use crate::model::Model;
use crate::plan::{named_schemas, plan};
use crate::problem::Place;

/// The parts of a model's SELECT, each as a plan of its own.
#[derive(Default)]
pub(crate) struct Blame {
    parts: Option<Vec<Part>>,
}

struct Part {
    place: Place,
    engine: Engine,
}

impl Blame {
    /// The reason why a row is rejected, in full.
    pub(crate) async fn reason(&mut self, model: &Model, contracts: &Contracts, failed: &FailedRow) -> String {
        let place = match failed.place {
            Some(place) => place,
            None => self.place(model, contracts, &failed.row).await,
        };
        format!(
            "the expression at models/{}/{}.sql:{place} cannot be computed for this row: {}",
            model.layer, model.dataset, failed.cause
        )
    }

    /// Where the expression stands that fails on these rows; where the SELECT does when none does by itself.
    pub(crate) async fn place(&mut self, model: &Model, contracts: &Contracts, rows: &RecordBatch) -> Place {
        if self.parts.is_none() {
            self.parts = Some(parts(model, contracts).await);
        }
        let mut found = None;
        let parts = self.parts.as_deref_mut().unwrap_or_default();
        for (index, part) in parts.iter().enumerate() {
            if part.engine.run(std::slice::from_ref(rows)).await.is_err() {
                found = Some((index, part.place));
                break;
            }
        }
        let place = found.map_or(model.place, |(_, place)| place);
        if let Some((index, _)) = found {
            // Rows that fail mostly fail at the same place: it is asked first the next time.
            parts.get_mut(..=index).into_iter().for_each(|before| before.rotate_right(1));
        }
        place
    }
}

async fn parts(model: &Model, contracts: &Contracts) -> Vec<Part> {
    let Ok(schemas) = named_schemas(model, contracts) else { return Vec::new() };
    let mut parts = Vec::new();
    for (place, query) in queries(model) {
        // An item that is no plan by itself, such as one over an alias, is left out.
        let Ok(planned) = plan(model, query, &schemas) else { continue };
        if let Ok(engine) = Engine::compile(model, planned, "running a part of the model").await {
            parts.push(Part { place, engine });
        }
    }
    parts
}

/// The condition first, since every item is computed for the rows that it lets through; then the groups, then the items.
fn queries(model: &Model) -> Vec<(Place, Query)> {
    let Some(select) = model.select() else { return Vec::new() };
    let mut queries = Vec::new();
    if let Some(condition) = &select.selection {
        let one = SelectItem::UnnamedExpr(SqlExpr::value(Value::Number("1".to_owned(), false)));
        queries.push((Place::of(condition.span(), model.place), with_item(model, select, one)));
    }
    if let GroupByExpr::Expressions(groups, _) = &select.group_by {
        for group in groups {
            let item = SelectItem::UnnamedExpr(group.clone());
            queries.push((Place::of(group.span(), model.place), with_item(model, select, item)));
        }
    }
    for item in &select.projection {
        queries.push((Place::of(item.span(), model.place), with_item(model, select, item.clone())));
    }
    queries
}

fn with_item(model: &Model, select: &Select, item: SelectItem) -> Query {
    let select =
        Select { projection: vec![item], group_by: GroupByExpr::Expressions(Vec::new(), Vec::new()), ..select.clone() };
    let mut query: Query = model.query.as_ref().clone();
    query.body = Box::new(SetExpr::Select(Box::new(select)));
    query
}
