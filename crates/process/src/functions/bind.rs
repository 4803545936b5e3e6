//! From the text of an expression to one that the engine runs: names are found, every operator and function is given
//! arguments of the types that Spark would give it, and what is not known to mean the same is refused.
//!
//! Used for a model's SELECT and for a contract's rules in SQL. Invariant: an expression that leaves here holds
//! functions of our own table, and the engine's operators only between equal types, where they are Spark's.

use arrow::datatypes::DataType;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::expr::Case;
use datafusion::logical_expr::{Expr, lit};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::ast::{BinaryOperator, Spanned, UnaryOperator};

use crate::functions::kinds::{canonical, common_of, is_instant};
use crate::functions::not_known::not_known;
use crate::functions::{aggregates, literals, operators, special, table};
use crate::plan::spark_name;
use crate::problem::{ModelProblem, Place, nearest};

/// Why an expression is refused, and what to write instead.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) help: String,
    pub(crate) place: Option<Place>,
}

impl Refusal {
    pub(crate) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into(), place: None }
    }

    /// At this place, if it has none yet.
    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = self.place.or(Some(place));
        self
    }

    pub(crate) fn problem(self, otherwise: Place) -> ModelProblem {
        ModelProblem::at(self.place.unwrap_or(otherwise), self.message, self.help)
    }
}

/// An expression and its type.
#[derive(Clone, Debug)]
pub(crate) struct Typed {
    pub(crate) expr: Expr,
    pub(crate) kind: DataType,
    /// Whether it is a constant as it was written, and not one that was computed.
    pub(crate) written: bool,
}

impl Typed {
    pub(crate) fn new(expr: Expr, kind: DataType) -> Self {
        Self { expr, kind, written: false }
    }

    pub(crate) fn flag(expr: Expr) -> Self {
        Self::new(expr, DataType::Boolean)
    }

    /// The value, when it is written as a constant.
    pub(crate) fn literal(&self) -> Option<&ScalarValue> {
        match &self.expr {
            Expr::Literal(value, _) => Some(value),
            _ => None,
        }
    }

    /// The expression as another type, with Spark's cast.
    pub(crate) fn to(self, kind: &DataType) -> Result<Expr, Refusal> {
        let from = self.kind.clone();
        if let Some(ScalarValue::Utf8View(Some(text))) = self.literal()
            && (*kind == DataType::Date32 || is_instant(kind))
            && MOVING.contains(&text.trim().to_lowercase().as_str())
        {
            return Err(Refusal::new(
                "this word stands for a time that is another each day",
                "use a column of the input, such as _ingested_at",
            ));
        }
        crate::functions::cast::cast(self.expr, &from, kind).ok_or_else(|| {
            Refusal::new(
                format!("{} cannot be cast to {}", spark_name(&from), spark_name(kind)),
                cast_help(&from, kind),
            )
        })
    }
}

/// Words that Spark takes for times where they are constants.
const MOVING: [&str; 5] = ["epoch", "now", "today", "tomorrow", "yesterday"];

fn cast_help(from: &DataType, to: &DataType) -> &'static str {
    match (from, to) {
        (DataType::Date32, _) => "use a function that says what is meant: unix_date, date_format, year",
        (_, DataType::Date32) => "use a function that says the unit: date_from_unix_date, timestamp_seconds",
        _ => "cast to another type, or use a function that says what is meant",
    }
}

pub(crate) type Bound = Result<Typed, Refusal>;

/// Binds expressions over the columns of a schema.
pub(crate) struct Binder<'a> {
    pub(crate) schema: &'a DFSchema,
    pub(crate) place: Place,
    /// Columns of a USING: an unqualified name means that of the first table.
    pub(crate) merged: Vec<String>,
    /// Whether aggregates may stand here.
    pub(crate) aggregates: bool,
}

impl<'a> Binder<'a> {
    pub(crate) fn new(schema: &'a DFSchema, place: Place) -> Self {
        Self { schema, place, merged: Vec::new(), aggregates: false }
    }

    /// Binds an expression; a refusal says where.
    pub(crate) fn bind(&self, expr: &ast::Expr) -> Bound {
        self.expression(expr).map_err(|refusal| refusal.at(Place::of(expr.span(), self.place)))
    }

    /// Binds a condition.
    pub(crate) fn condition(&self, expr: &ast::Expr) -> Result<Expr, Refusal> {
        self.bind(expr).and_then(truth).map_err(|refusal| refusal.at(Place::of(expr.span(), self.place)))
    }

    fn expression(&self, expr: &ast::Expr) -> Bound {
        use ast::Expr as E;
        match expr {
            E::Identifier(name) => self.column(None, name),
            E::CompoundIdentifier(parts) => self.compound(parts),
            E::CompoundFieldAccess { root, access_chain } => special::access(self, root, access_chain),
            E::Nested(inner) => self.bind(inner),
            E::Value(value) => literals::value(&value.value).map(|found| Typed { written: true, ..found }),
            E::TypedString(typed) => literals::typed(typed),
            E::UnaryOp { op, expr } => self.unary(*op, expr),
            E::BinaryOp { left, op, right } => self.binary(left, op, right),
            E::InList { expr, list, negated } => self.in_list(expr, list, *negated),
            E::Between { expr, negated, low, high } => self.between(expr, *negated, low, high),
            E::Like { negated, any, expr, pattern, escape_char } => {
                special::like(self, (*negated, *any, false), expr, pattern, escape_char.as_ref())
            }
            E::ILike { negated, any, expr, pattern, escape_char } => {
                special::like(self, (*negated, *any, true), expr, pattern, escape_char.as_ref())
            }
            E::RLike { negated, expr, pattern, .. } => {
                let found = self.function("rlike", vec![self.bind(expr)?, self.bind(pattern)?], expr)?;
                Ok(Typed::flag(if *negated { not(found.expr) } else { found.expr }))
            }
            E::Cast { kind: ast::CastKind::Cast | ast::CastKind::DoubleColon, expr, data_type, .. } => {
                let kind = literals::sql_type(data_type)?;
                Ok(Typed::new(self.bind(expr)?.to(&kind)?, kind))
            }
            E::Case { operand, conditions, else_result, .. } => {
                self.case(operand.as_deref(), conditions, else_result.as_deref())
            }
            E::Function(call) => self.call(call, expr),
            E::Struct { values, .. } => {
                let args = values.iter().map(|v| self.bind(v)).collect::<Result<_, _>>()?;
                self.function("struct", args, expr)
            }
            E::Extract { .. }
            | E::Ceil { .. }
            | E::Floor { .. }
            | E::Position { .. }
            | E::Substring { .. }
            | E::Trim { .. }
            | E::Overlay { .. } => special::syntax(self, expr),
            other => self.test(other),
        }
    }

    /// Binds what asks whether something is null, true, false or distinct.
    fn test(&self, expr: &ast::Expr) -> Bound {
        use ast::Expr as E;
        let same = |a: &E, b: &E| operators::compare(self.bind(a)?, &BinaryOperator::Spaceship, self.bind(b)?);
        let truth = |inner: &E| self.condition(inner).map(Box::new);
        Ok(Typed::flag(match expr {
            E::IsNull(inner) => self.bind(inner)?.expr.is_null(),
            E::IsNotNull(inner) => self.bind(inner)?.expr.is_not_null(),
            E::IsTrue(inner) => Expr::IsTrue(truth(inner)?),
            E::IsNotTrue(inner) => Expr::IsNotTrue(truth(inner)?),
            E::IsFalse(inner) => Expr::IsFalse(truth(inner)?),
            E::IsNotFalse(inner) => Expr::IsNotFalse(truth(inner)?),
            E::IsUnknown(inner) => self.condition(inner)?.is_null(),
            E::IsNotUnknown(inner) => self.condition(inner)?.is_not_null(),
            E::IsNotDistinctFrom(a, b) => return same(a, b),
            E::IsDistinctFrom(a, b) => not(same(a, b)?.expr),
            other => return Err(not_known(other)),
        }))
    }

    fn compound(&self, parts: &[ast::Ident]) -> Bound {
        match parts {
            [name] => self.column(None, name),
            [table, name] => {
                let qualified = self.column(Some(table), name);
                // A name before a point may be a struct.
                match (qualified, self.column(None, table)) {
                    (Ok(found), _) => Ok(found),
                    (Err(_), Ok(root)) if matches!(root.kind, DataType::Struct(_)) => special::field(root, &name.value),
                    (Err(refusal), _) => Err(refusal),
                }
            }
            [_, table, name] => self.column(Some(table), name),
            _ => Err(Refusal::new("this name has too many parts", "write table.column")),
        }
    }

    fn column(&self, table: Option<&ast::Ident>, name: &ast::Ident) -> Bound {
        let wanted = name.value.to_lowercase();
        let table = table.map(|t| t.value.to_lowercase());
        let mut found = Vec::new();
        for (qualifier, field) in self.schema.iter() {
            let of_table = match (&table, qualifier) {
                (Some(table), Some(q)) => q.table() == table,
                (Some(_), None) => false,
                (None, _) => true,
            };
            if of_table && field.name().to_lowercase() == wanted {
                found.push((qualifier.cloned(), field));
            }
        }
        if found.len() > 1 && !self.merged.contains(&wanted) {
            return Err(Refusal::new(
                format!("{wanted:?} is a column of more than one table"),
                "write the table before it, as in table.column",
            ));
        }
        match found.into_iter().next() {
            Some((qualifier, field)) => {
                let from = field.data_type().clone();
                let kind = canonical(&from);
                let column = Expr::Column(Column::new(qualifier, field.name()));
                Ok(Typed::new(Typed::new(column, from).to(&kind)?, kind))
            }
            None => Err(self.unknown_column(&wanted)),
        }
    }

    fn unknown_column(&self, wanted: &str) -> Refusal {
        let names = self.schema.fields().iter().map(|f| f.name().as_str());
        let help = nearest(wanted, names).map_or_else(
            || "the columns are those of the contracts of the tables in FROM".to_owned(),
            |near| format!("did you mean {near:?}?"),
        );
        Refusal::new(format!("there is no column {wanted:?} in the tables of FROM"), help)
    }

    fn unary(&self, op: UnaryOperator, inner: &ast::Expr) -> Bound {
        match op {
            UnaryOperator::Not | UnaryOperator::BangNot => Ok(Typed::flag(not(self.condition(inner)?))),
            UnaryOperator::Minus => {
                if let Some(negative) = literals::negative(inner) {
                    return negative.map(|found| Typed { written: true, ..found });
                }
                self.function("negative", vec![self.bind(inner)?], inner)
            }
            UnaryOperator::Plus => self.function("positive", vec![self.bind(inner)?], inner),
            UnaryOperator::BitwiseNot => self.function("~", vec![self.bind(inner)?], inner),
            other => Err(Refusal::new(format!("the operator {other} is not known here"), "use a function")),
        }
    }

    fn binary(&self, left: &ast::Expr, op: &BinaryOperator, right: &ast::Expr) -> Bound {
        if matches!(op, BinaryOperator::And | BinaryOperator::Or) {
            let (a, b) = (self.condition(left)?, self.condition(right)?);
            return Ok(Typed::flag(if *op == BinaryOperator::And { a.and(b) } else { a.or(b) }));
        }
        if let Some(moved) = special::interval_arithmetic(self, left, op, right) {
            return moved;
        }
        operators::binary(self.bind(left)?, op, self.bind(right)?)
    }

    fn in_list(&self, expr: &ast::Expr, list: &[ast::Expr], negated: bool) -> Bound {
        let mut members = vec![self.bind(expr)?];
        for member in list {
            members.push(self.bind(member)?);
        }
        let kind = common_of(members.iter().map(|m| &m.kind)).ok_or_else(|| no_common("IN", &members))?;
        let mut values = Vec::with_capacity(members.len());
        for member in members {
            values.push(operators::comparable(Typed::new(member.to(&kind)?, kind.clone())));
        }
        let value = values.remove(0);
        Ok(Typed::flag(value.in_list(values, negated)))
    }

    fn between(&self, expr: &ast::Expr, negated: bool, low: &ast::Expr, high: &ast::Expr) -> Bound {
        let value = self.bind(expr)?;
        let above = operators::compare(value.clone(), &BinaryOperator::GtEq, self.bind(low)?)?;
        let below = operators::compare(value, &BinaryOperator::LtEq, self.bind(high)?)?;
        let both = above.expr.and(below.expr);
        Ok(Typed::flag(if negated { not(both) } else { both }))
    }

    fn case(
        &self,
        operand: Option<&ast::Expr>,
        conditions: &[ast::CaseWhen],
        else_result: Option<&ast::Expr>,
    ) -> Bound {
        let operand = operand.map(|o| self.bind(o)).transpose()?;
        let mut whens = Vec::new();
        for branch in conditions {
            let when = match &operand {
                Some(value) => {
                    operators::compare(value.clone(), &BinaryOperator::Eq, self.bind(&branch.condition)?)?.expr
                }
                None => self.condition(&branch.condition)?,
            };
            whens.push((when, self.bind(&branch.result)?));
        }
        let otherwise = else_result.map(|e| self.bind(e)).transpose()?;
        choose(whens, otherwise)
    }

    fn call(&self, call: &ast::Function, expr: &ast::Expr) -> Bound {
        let name = call.name.to_string().to_lowercase().replace('`', "");
        if call.over.is_some() {
            return Err(Refusal::new("a model cannot have window functions", "aggregate in a rollup model"));
        }
        if aggregates::is_aggregate(&name) {
            return aggregates::bind(self, &name, call);
        }
        if call.filter.is_some() || !call.within_group.is_empty() || call.null_treatment.is_some() {
            return Err(Refusal::new(format!("{name} takes no FILTER, WITHIN GROUP or IGNORE NULLS"), "remove it"));
        }
        if let Some(made) = special::by_name(self, &name, call) {
            return made;
        }
        let args = arguments(call)?.iter().map(|a| self.bind(a)).collect::<Result<Vec<_>, _>>()?;
        self.function(&name, args, expr)
    }

    /// A call of a function of the table.
    pub(crate) fn function(&self, name: &str, args: Vec<Typed>, at: &ast::Expr) -> Bound {
        table::bind(name, args).map_err(|refusal| refusal.at(Place::of(at.span(), self.place)))
    }
}

/// The arguments of a call, when they are plain ones.
pub(crate) fn arguments(call: &ast::Function) -> Result<Vec<&ast::Expr>, Refusal> {
    let ast::FunctionArguments::List(list) = &call.args else { return Ok(Vec::new()) };
    if list.duplicate_treatment.is_some() || !list.clauses.is_empty() {
        return Err(Refusal::new("DISTINCT and ORDER BY belong to aggregates", "remove them"));
    }
    list.args
        .iter()
        .map(|arg| match arg {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr),
            _ => Err(Refusal::new("an argument is an expression here", "write it without a name, and without *")),
        })
        .collect()
}

/// A CASE whose branches have their common type.
pub(crate) fn choose(whens: Vec<(Expr, Typed)>, otherwise: Option<Typed>) -> Bound {
    let branches: Vec<Typed> = whens.iter().map(|(_, t)| t.clone()).chain(otherwise.clone()).collect();
    let kind = common_of(branches.iter().map(|b| &b.kind)).ok_or_else(|| no_common("the branches", &branches))?;
    let mut pairs = Vec::with_capacity(whens.len());
    for (when, then) in whens {
        pairs.push((Box::new(when), Box::new(then.to(&kind)?)));
    }
    let otherwise = otherwise.map(|o| o.to(&kind)).transpose()?.map(Box::new);
    Ok(Typed::new(Expr::Case(Case::new(None, pairs, otherwise)), kind))
}

pub(crate) fn no_common(what: &str, members: &[Typed]) -> Refusal {
    let kinds: Vec<String> = members.iter().map(|m| spark_name(&m.kind)).collect();
    Refusal::new(format!("{what} cannot be of the types {}", kinds.join(", ")), "write a CAST to one type")
}

/// A truth value, which no other type is without a cast.
pub(crate) fn truth(value: Typed) -> Result<Expr, Refusal> {
    match value.kind {
        DataType::Boolean => Ok(value.expr),
        DataType::Null => Ok(lit(ScalarValue::Boolean(None))),
        other => Err(Refusal::new(
            format!("a condition is BOOLEAN, and this is {}", spark_name(&other)),
            "compare it with a value, or write CAST(… AS BOOLEAN)",
        )),
    }
}

fn not(expr: Expr) -> Expr {
    Expr::Not(Box::new(expr))
}
