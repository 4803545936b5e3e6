//! A model file: a header of comments and one SELECT, parsed in Spark's dialect. The first step of `validate` and of
//! a run; the graph and the plans are made from it.
//!
//! Pure. Invariant: a [`Model`] that exists has a known kind, one SELECT over plain tables, and no header key that
//! was not understood.

use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, JoinConstraint, JoinOperator, Query, Select, SetExpr, Spanned, Statement, TableFactor,
    visit_expressions,
};
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::Token;
use vitalake_contract::{DatasetName, Layer};

use crate::header::{self, Header};
use crate::problem::{ModelProblem, Place};
use crate::syntax::{Spark, tokens};

/// How a model's table follows from its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Each new row of the input gives rows: filter, map, join to delivered tables.
    Append,
    /// One final row per group of a time bucket and dimensions.
    Rollup,
    /// The newest row of each key, or each version of it.
    Upsert,
    /// The whole, computed anew when an input has changed.
    Full,
}

impl Kind {
    /// Its name in a header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Rollup => "rollup",
            Self::Upsert => "upsert",
            Self::Full => "full",
        }
    }
}

/// What runs a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineName {
    /// This process.
    #[default]
    DataFusion,
    /// A Spark, by Spark Connect.
    Spark,
}

impl EngineName {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::DataFusion, Self::Spark];

    /// Its name in a header.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DataFusion => "datafusion",
            Self::Spark => "spark",
        }
    }
}

/// A table named in a model's FROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUse {
    /// The schema as written, in lower case.
    pub schema: String,
    /// The table as written, in lower case.
    pub table: String,
    /// The name by which the SELECT knows it.
    pub alias: String,
    /// Where it stands in the file.
    pub place: Place,
}

/// A parsed model.
#[derive(Clone, Debug)]
pub struct Model {
    /// The dataset that it makes.
    pub dataset: DatasetName,
    /// The layer of that dataset.
    pub layer: Layer,
    /// Its kind.
    pub kind: Kind,
    /// The rollup's time column.
    pub time: Option<String>,
    /// The columns of an upsert's key, in lower case.
    pub key: Vec<String>,
    /// The columns by which an upsert's rows are ordered, in lower case.
    pub sequence: Vec<String>,
    /// The column that marks an upsert's deletes, in lower case.
    pub deleted: Option<String>,
    /// What runs it, where its header says so.
    pub engine: Option<EngineName>,
    /// The tables of FROM, the driving one first.
    pub tables: Vec<TableUse>,
    /// Where the SELECT begins.
    pub place: Place,
    /// The whole text, as written.
    pub text: String,
    pub(crate) query: Box<Query>,
}

impl Model {
    /// Parses a model file.
    ///
    /// # Errors
    /// Everything that is wrong with the file, as far as it could be read.
    pub fn parse(dataset: DatasetName, layer: Layer, text: &str) -> Result<Self, Vec<ModelProblem>> {
        let mut problems = Vec::new();
        let header = header::parse(text, &mut problems);
        let parsed = parse_query(text).map_err(|problem| problems.push(problem)).ok();
        let Some((query, place)) = parsed else { return Err(problems) };
        let tables = match select_of(&query) {
            Some(select) => shape_problems(&query, select, place, &mut problems),
            None => {
                problems.push(ModelProblem::at(
                    place,
                    "a model is one SELECT, without UNION, INTERSECT or VALUES",
                    "make a model for each part, or put the conditions into one WHERE",
                ));
                Vec::new()
            }
        };
        let Header { kind, time, key, sequence, deleted, engine } = header;
        if let (Some(kind), Some(select)) = (kind, select_of(&query)) {
            kind_problems(kind, &query, select, place, &mut problems);
        }
        match kind {
            Some(kind) if problems.is_empty() => {
                let text = text.to_owned();
                Ok(Self { dataset, layer, kind, time, key, sequence, deleted, engine, tables, place, text, query })
            }
            _ => Err(problems),
        }
    }

    /// The SELECT; parsing has made sure that there is one.
    pub(crate) fn select(&self) -> Option<&Select> {
        select_of(&self.query)
    }

    /// The table whose new rows wake the model.
    #[must_use]
    pub fn driving(&self) -> Option<&TableUse> {
        self.tables.first()
    }
}

fn select_of(query: &Query) -> Option<&Select> {
    match query.body.as_ref() {
        SetExpr::Select(select) => Some(select),
        _ => None,
    }
}

pub(crate) fn parse_query(text: &str) -> Result<(Box<Query>, Place), ModelProblem> {
    let tokens = tokens(text)?;
    let start = tokens.iter().find(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
    let place = start.map_or(Place::new(1, 1), |t| Place::of(t.span, Place::new(1, 1)));
    if start.is_none() {
        return Err(ModelProblem::at(place, "the model has no SELECT", "write one SELECT after the header"));
    }
    let mut parser = Parser::new(&Spark).with_recursion_limit(64).with_tokens_with_locations(tokens);
    let mut statements = parser.parse_statements().map_err(|error| parser_problem(&error.to_string(), place))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(Statement::Query(query)), true) => Ok((query, place)),
        (Some(_), true) => Err(ModelProblem::at(place, "a model is a SELECT", "write one SELECT after the header")),
        _ => Err(ModelProblem::at(place, "a model is one statement", "make a file for each dataset")),
    }
}

/// A parser's error says where in words, `… at Line: 3, Column: 8`.
fn parser_problem(message: &str, otherwise: Place) -> ModelProblem {
    let message = message.trim_start_matches("sql parser error: ");
    let (what, place) = match message.rsplit_once(" at Line: ") {
        Some((what, position)) => {
            let mut numbers = position.split(", Column: ").map(|n| n.trim().parse::<usize>().unwrap_or(1));
            (what, Place::new(numbers.next().unwrap_or(1), numbers.next().unwrap_or(1)))
        }
        None => (message, otherwise),
    };
    ModelProblem::at(place, format!("this is not Spark SQL: {}", lower_first(what)), "mend the SELECT at this place")
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

/// What no model may have, whatever its kind; gives the tables of FROM.
fn shape_problems(query: &Query, select: &Select, start: Place, problems: &mut Vec<ModelProblem>) -> Vec<TableUse> {
    let mut refuse = |found: bool, what: &str, help: &str| {
        if found {
            problems.push(ModelProblem::at(start, format!("a model cannot have {what}"), help));
        }
    };
    let one_select = "write the model as one SELECT over tables; what should be shared is a model of its own";
    refuse(query.with.is_some(), "WITH", one_select);
    refuse(
        query.limit_clause.is_some() || query.fetch.is_some(),
        "LIMIT",
        "a table has no first rows; filter with WHERE",
    );
    refuse(
        query.order_by.is_some()
            || !select.sort_by.is_empty()
            || !select.cluster_by.is_empty()
            || !select.distribute_by.is_empty(),
        "an order",
        "a table has no order; sort where it is read",
    );
    refuse(!select.lateral_views.is_empty(), "LATERAL VIEW", one_select);
    refuse(select.qualify.is_some() || !select.named_window.is_empty(), "a window", "aggregate in a rollup model");
    refuse(!query.pipe_operators.is_empty(), "pipe operators", one_select);
    let mut tables = Vec::new();
    if select.from.len() != 1 {
        problems.push(ModelProblem::at(
            start,
            "a model selects from one table, with JOINs to delivered ones",
            "write FROM raw.x JOIN raw.y ON …",
        ));
    }
    for from in select.from.iter().take(1) {
        table_use(&from.relation, start, problems, &mut tables);
        for join in &from.joins {
            let constraint = match &join.join_operator {
                JoinOperator::Join(c) | JoinOperator::Inner(c) | JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => {
                    Some(c)
                }
                _ => None,
            };
            if !matches!(constraint, Some(JoinConstraint::On(_) | JoinConstraint::Using(_))) {
                problems.push(ModelProblem::at(
                    Place::of(join.relation.span(), start),
                    "this form of join cannot be made from new rows alone",
                    "use JOIN … ON or LEFT JOIN … ON, with the streaming table first",
                ));
            }
            table_use(&join.relation, start, problems, &mut tables);
        }
    }
    subquery_problems(select, start, problems);
    tables
}

fn table_use(factor: &TableFactor, start: Place, problems: &mut Vec<ModelProblem>, tables: &mut Vec<TableUse>) {
    let place = Place::of(factor.span(), start);
    let TableFactor::Table { name, alias, args: None, sample: None, version: None, .. } = factor else {
        problems.push(ModelProblem::at(
            place,
            "FROM can only name tables",
            "make a model of the inner SELECT and name its table here",
        ));
        return;
    };
    let parts: Vec<String> =
        name.0.iter().filter_map(|part| part.as_ident()).map(|ident| ident.value.to_lowercase()).collect();
    let [schema, table] = parts.as_slice() else {
        problems.push(ModelProblem::at(
            place,
            format!("{:?} does not say which layer it is in", name.to_string()),
            "name tables as raw.x or curated.x",
        ));
        return;
    };
    let alias = alias.as_ref().map_or_else(|| table.clone(), |a| a.name.value.to_lowercase());
    tables.push(TableUse { schema: schema.clone(), table: table.clone(), alias, place });
}

fn subquery_problems(select: &Select, start: Place, problems: &mut Vec<ModelProblem>) {
    let _ = visit_expressions(select, |expr: &Expr| {
        if matches!(expr, Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. }) {
            problems.push(ModelProblem::at(
                Place::of(expr.span(), start),
                "a model cannot have a subquery",
                "JOIN the delivered table instead",
            ));
        }
        std::ops::ControlFlow::<()>::Continue(())
    });
}

/// What a kind does not allow, as far as the text alone shows it; aggregates are seen when the SELECT is planned.
fn kind_problems(kind: Kind, query: &Query, select: &Select, start: Place, problems: &mut Vec<ModelProblem>) {
    let mut refuse = |found: bool, what: &str, help: &str| {
        if found {
            problems.push(ModelProblem::at(start, what.to_owned(), help));
        }
    };
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(e, m) if e.is_empty() && m.is_empty());
    let joined = select.from.iter().any(|from| !from.joins.is_empty());
    match kind {
        Kind::Append => {
            refuse(
                select.distinct.is_some(),
                "an append model cannot have DISTINCT",
                "give the contract a primary key: rows with the same key and the same values are kept once",
            );
            refuse(
                grouped || select.having.is_some(),
                "an append model cannot group",
                "make it a rollup: -- kind: rollup and -- time: COLUMN",
            );
        }
        Kind::Rollup => {
            refuse(select.distinct.is_some(), "a rollup cannot have DISTINCT", "its groups are distinct already");
            refuse(
                !grouped,
                "a rollup needs GROUP BY",
                "group by a time bucket, such as date_trunc('hour', t), and dimensions",
            );
            refuse(
                matches!(&select.group_by, GroupByExpr::All(_))
                    || matches!(&select.group_by, GroupByExpr::Expressions(_, m) if !m.is_empty()),
                "a rollup groups by expressions only",
                "write the expressions of GROUP BY out, without ALL, ROLLUP, CUBE or TOTALS",
            );
            refuse(
                select.having.is_some(),
                "a rollup cannot have HAVING",
                "a group may still grow; filter where it is read",
            );
            refuse(joined, "a rollup reads one table", "make the join an append model and roll that one up");
            let _ = query;
        }
        Kind::Upsert => {
            refuse(
                select.distinct.is_some(),
                "an upsert model cannot have DISTINCT",
                "each key has one row already; rows of one key are ordered by `-- sequence:`",
            );
            refuse(
                grouped || select.having.is_some(),
                "an upsert model cannot group",
                "make it a rollup, or `-- kind: full` for a small table",
            );
            refuse(joined, "an upsert model reads one table", "make the join an append model and upsert that one");
        }
        Kind::Full => {
            refuse(select.having.is_some(), "a full model cannot have HAVING", "filter where it is read");
            refuse(
                matches!(&select.group_by, GroupByExpr::All(_))
                    || matches!(&select.group_by, GroupByExpr::Expressions(_, m) if !m.is_empty()),
                "a full model groups by expressions only",
                "write the expressions of GROUP BY out, without ALL, ROLLUP, CUBE or TOTALS",
            );
        }
    }
}
