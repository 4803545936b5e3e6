//! `WITH RECURSIVE` over the catalogue, which drivers send to know what a type is made of, as a few steps written out.
//!
//! Nothing in the catalogue is nested deeper than an array of a type. Invariant: a query that reads anything else, or
//! whose step reads nothing, is left as it is, and refused.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Cte, Ident, ObjectName, ObjectNamePart, Query, SetExpr, SetOperator, TableAlias, TableFactor, Visit, VisitMut,
    Visitor, VisitorMut, visit_relations,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::catalogue;
use super::label::counted;

/// Steps that are taken.
const STEPS: usize = 3;

/// Writes a query's recursion out where it is over the catalogue alone.
pub fn write_out(query: &mut Query) {
    let Some(with) = &query.with else { return };
    let names: BTreeSet<String> = with.cte_tables.iter().map(|table| counted(&table.alias.name)).collect();
    if !with.recursive || !reads_catalogue(&*query, &names) {
        return;
    }
    let Some(with) = &mut query.with else { return };
    let mut tables = Vec::new();
    for table in &with.cte_tables {
        let name = counted(&table.alias.name);
        match steps(table, &name).filter(|_| reads(&table.query, &name)) {
            Some(steps) => tables.extend(steps),
            None if reads(&table.query, &name) => return,
            None => tables.push(table.clone()),
        }
    }
    (with.cte_tables, with.recursive) = (tables, false);
}

/// The parts of a relation's name, as they count.
fn parts(name: &ObjectName) -> Vec<String> {
    name.0.iter().filter_map(ObjectNamePart::as_ident).map(counted).collect()
}

/// Whether every table of something is of the catalogue or one of those names, and one is of the catalogue.
pub fn reads_catalogue<V: Visit>(part: &V, names: &BTreeSet<String>) -> bool {
    let mut tables = Tables { named: names.clone(), of_catalogue: false };
    Visit::visit(part, &mut tables).is_continue() && tables.of_catalogue
}

/// Looks at the tables that something reads, until one is neither named in it nor of the catalogue.
struct Tables {
    named: BTreeSet<String>,
    of_catalogue: bool,
}

impl Visitor for Tables {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let tables = query.with.iter().flat_map(|with| &with.cte_tables);
        self.named.extend(tables.map(|table| counted(&table.alias.name)));
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        let known = match parts(relation).as_slice() {
            [table] if self.named.contains(table) => return ControlFlow::Continue(()),
            [table] => catalogue::columns::find(catalogue::PG_CATALOG, table).is_some(),
            [.., schema, table] => catalogue::columns::find(schema, table).is_some(),
            [] => false,
        };
        self.of_catalogue |= known;
        if known { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

fn reads(query: &Query, table: &str) -> bool {
    visit_relations(
        query,
        |name| if parts(name) == [table] { ControlFlow::Break(()) } else { ControlFlow::Continue(()) },
    )
    .is_break()
}

/// The tables that a recursive one is written out as: its beginning, each step over the one before, and all of them.
fn steps(table: &Cte, name: &str) -> Option<Vec<Cte>> {
    let SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } = table.query.body.as_ref() else {
        return None;
    };
    if !reads_catalogue(right, &BTreeSet::from([name.to_owned()])) {
        return None;
    }
    let called = |step: usize| format!("__{name}_{step}");
    let part = |body: &SetExpr, called: String| {
        let alias = TableAlias { name: Ident::with_quote('"', called), ..table.alias.clone() };
        let query = Query { body: Box::new(body.clone()), ..(*table.query).clone() };
        Cte { alias, query: Box::new(query), ..table.clone() }
    };
    let mut tables = vec![part(left, called(0))];
    for step in 1..=STEPS {
        let mut body = right.clone();
        let _ = VisitMut::visit(&mut body, &mut Before { name, before: called(step - 1) });
        tables.push(part(&body, called(step)));
    }
    let all: Vec<String> = (0..=STEPS).map(|step| format!("SELECT * FROM \"{}\"", called(step))).collect();
    let dialect = PostgreSqlDialect {};
    let all = Parser::new(&dialect).try_with_sql(&all.join(" UNION ALL ")).and_then(|mut parser| parser.parse_query());
    tables.push(Cte { query: all.ok()?, ..table.clone() });
    Some(tables)
}

/// Puts the step before in the place of the table itself, under its name.
struct Before<'a> {
    name: &'a str,
    before: String,
}

impl VisitorMut for Before<'_> {
    type Break = ();

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { name, alias, .. } = factor
            && parts(name) == [self.name]
        {
            let own = Ident::with_quote('"', self.name);
            let bare = TableAlias { explicit: true, name: own, columns: Vec::new(), at: None };
            alias.get_or_insert(bare);
            name.0 = vec![ObjectNamePart::Identifier(Ident::with_quote('"', &self.before))];
        }
        ControlFlow::Continue(())
    }
}
