//! Functions that stand in FROM: series of numbers, the server's words, and a value as one row.
//!
//! Tools write them over what the session tells of itself. Invariant: their arguments are constants, and what they give
//! has a limit.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, Int64Builder, ListBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type};
use datafusion::common::{DataFusionError, Result, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, ObjectNamePart, Query, SelectItem, SetExpr, TableAlias,
    TableAliasColumnDef, TableFactor,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::form::call;
use super::label::counted;
use crate::error::QueryError;
use crate::sql::rewrite::is_constant;

/// The function that a series is made by.
const SERIES: &str = "__series";
/// Numbers of a series.
const ITEMS_MAX: usize = 10_000;
/// Functions that stand as one row with one value.
const VALUES: [&str; 4] = ["current_schemas", "current_setting", "parse_ident", "string_to_array"];
/// Words that are no names without quotes.
const RESERVED: &str = "all analyse analyze and any array as asc asymmetric both case cast check collate column \
    constraint create current_catalog current_date current_role current_time current_timestamp current_user default \
    deferrable desc distinct do else end except false fetch for foreign from grant group having in initially intersect \
    into lateral leading limit localtime localtimestamp not null offset on only or order placing primary references \
    returning select session_user some symmetric table then to trailing true union unique user using variadic when where \
    window with";

/// Puts a query or a list in the place of a function that is known; others stay, and are refused.
pub fn rewrite(factor: &mut TableFactor) {
    let (name, args, alias) = match &*factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } => (name, &args.args, alias),
        TableFactor::Function { name, args, alias, with_ordinality: false, .. } => (name, args, alias),
        _ => return,
    };
    let name = own_name(name);
    let Some(arguments) = args.iter().map(constant).collect::<Option<Vec<Expr>>>() else { return };
    let alias = Some(named(alias.clone(), &name));
    let new = match name.as_str() {
        "generate_series" => TableFactor::UNNEST {
            alias,
            array_exprs: vec![call(SERIES, arguments)],
            with_offset: false,
            with_offset_alias: None,
            with_ordinality: false,
        },
        "pg_get_keywords" => match parsed(&keywords()) {
            Some(subquery) => derived(subquery, alias.map(|alias| TableAlias { columns: Vec::new(), ..alias })),
            None => return,
        },
        name if VALUES.contains(&name) => match one_row(call(name, arguments)) {
            Some(subquery) => derived(subquery, alias),
            None => return,
        },
        _ => return,
    };
    *factor = new;
}

/// A function's name without the catalogue's; empty for one of another schema.
fn own_name(name: &ObjectName) -> String {
    let parts: Vec<String> = name.0.iter().filter_map(ObjectNamePart::as_ident).map(counted).collect();
    match parts.as_slice() {
        [name] => name.clone(),
        [schema, name] if schema == super::catalogue::PG_CATALOG => name.clone(),
        _ => String::new(),
    }
}

fn constant(argument: &FunctionArg) -> Option<Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) if is_constant(expr) => Some(expr.clone()),
        _ => None,
    }
}

/// The alias with a column's name, which is that of the alias, and of the function where there is none.
fn named(alias: Option<TableAlias>, function: &str) -> TableAlias {
    let of = |name: Ident| TableAlias { explicit: true, name, columns: Vec::new(), at: None };
    let mut alias = alias.unwrap_or_else(|| of(Ident::with_quote('"', function)));
    if alias.columns.is_empty() {
        alias.columns = vec![TableAliasColumnDef { name: alias.name.clone(), data_type: None }];
    }
    alias
}

fn derived(subquery: Box<Query>, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Derived { lateral: false, subquery, alias, sample: None }
}

fn parsed(sql: &str) -> Option<Box<Query>> {
    let dialect = PostgreSqlDialect {};
    Parser::new(&dialect).try_with_sql(sql).and_then(|mut parser| parser.parse_query()).ok()
}

fn one_row(value: Expr) -> Option<Box<Query>> {
    let mut query = parsed("SELECT NULL")?;
    let SetExpr::Select(select) = query.body.as_mut() else { return None };
    select.projection = vec![SelectItem::UnnamedExpr(value)];
    Some(query)
}

/// Whether a word stands where a name does, and is none without quotes.
pub fn is_reserved(ident: &Ident) -> bool {
    let word = ident.value.to_lowercase();
    ident.quote_style.is_none() && RESERVED.split_whitespace().any(|reserved| reserved == word)
}

fn keywords() -> String {
    let word =
        |word: &str| format!("SELECT '{word}' AS word, 'R' AS catcode, true AS barelabel, 'reserved' AS catdesc");
    RESERVED.split_whitespace().map(word).collect::<Vec<_>>().join(" UNION ALL ")
}

/// The numbers from one to another as a list.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Series {
    signature: Signature,
}

/// What makes a series.
pub fn series() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Series { signature: Signature::variadic_any(Volatility::Immutable) }))
}

fn items() -> Arc<Field> {
    Arc::new(Field::new_list_field(DataType::Int64, true))
}

impl ScalarUDFImpl for Series {
    fn name(&self) -> &str {
        SERIES
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(items()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let integer = |array: &ArrayRef| cast(array, &DataType::Int64);
        let [from, to, rest @ ..] = arrays.as_slice() else { return plan_err!("wrong number of arguments") };
        let (from, to, step) = (integer(from)?, integer(to)?, rest.first().map(integer).transpose()?);
        let (from, to) = (from.as_primitive::<Int64Type>(), to.as_primitive::<Int64Type>());
        let step = step.as_ref().map(|step| step.as_primitive::<Int64Type>());
        let mut lists = ListBuilder::new(Int64Builder::new()).with_field(items());
        for row in 0..from.len() {
            let step = step.map_or(Some(1), |step| step.is_valid(row).then(|| step.value(row)));
            if let Some(step) = step.filter(|_| from.is_valid(row) && to.is_valid(row)) {
                numbers(from.value(row), to.value(row), step, lists.values())?;
            }
            lists.append(true);
        }
        Ok(ColumnarValue::Array(Arc::new(lists.finish())))
    }
}

fn numbers(from: i64, to: i64, step: i64, list: &mut Int64Builder) -> Result<()> {
    let refused = |message: String| Err(DataFusionError::External(Box::new(QueryError::invalid(message))));
    if step == 0 {
        return refused("a series with steps of zero is not supported".to_owned());
    }
    let mut next = Some(from);
    let mut count = 0;
    while let Some(number) = next.filter(|number| if step > 0 { *number <= to } else { *number >= to }) {
        count += 1;
        if count > ITEMS_MAX {
            return refused(format!("a series of more than {ITEMS_MAX} numbers is not supported"));
        }
        list.append_value(number);
        next = number.checked_add(step);
    }
    Ok(())
}
