//! The columns of a query: what each is called, what it is in Arrow, and how it is selected.
//!
//! Invariant: a type that has no exact form of ours comes as its text, and is told of; none is guessed.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use sqlx::postgres::{PgColumn, PgTypeInfo, PgTypeKind};
use sqlx::{Column as _, Row as _, Statement as _, TypeInfo as _};

use super::PostgresError;
use super::numeric::{limits, precision_and_scale};
use super::session::Session;

/// The form in which a value travels, and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    Boolean,
    Int16,
    Int32,
    Int64,
    /// An object id, unsigned on the way.
    Oid,
    Float32,
    Float64,
    Decimal {
        precision: u8,
        scale: i8,
    },
    /// A numeric without limits, as text.
    Numeric,
    Text,
    /// JSON after the byte of its version.
    JsonB,
    Uuid,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampUtc,
    List(Box<Kind>),
}

impl Kind {
    pub(super) fn arrow(&self) -> DataType {
        match self {
            Self::Boolean => DataType::Boolean,
            Self::Int16 => DataType::Int16,
            Self::Int32 => DataType::Int32,
            Self::Int64 | Self::Oid => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Numeric | Self::Text | Self::JsonB | Self::Uuid => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampUtc => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::List(of) => DataType::List(element(of)),
        }
    }
}

/// The field of a list's elements.
pub(super) fn element(of: &Kind) -> Arc<Field> {
    Arc::new(Field::new("item", of.arrow(), true))
}

/// A column of what is read.
#[derive(Clone, Debug)]
pub(super) struct SourceColumn {
    pub(super) name: String,
    /// Its type as the server calls it.
    pub(super) type_name: String,
    pub(super) type_oid: u32,
    pub(super) kind: Kind,
    /// Whether the server is asked for its text.
    pub(super) as_text: bool,
}

/// All columns, in order.
#[derive(Clone, Debug)]
pub(super) struct SourceColumns(pub(super) Vec<SourceColumn>);

impl SourceColumns {
    /// Asks the server what columns a SELECT has.
    pub(super) async fn of(session: &mut Session, from: &str) -> Result<Self, PostgresError> {
        let select = format!("SELECT * FROM {from} AS vitalake_source");
        let statement = session.prepare(select.clone()).await?;
        let columns = statement.columns();
        let mut names = BTreeSet::new();
        if let Some(twice) = columns.iter().find(|column| !names.insert(column.name())) {
            return Err(PostgresError::TwoColumns { column: twice.name().to_owned() });
        }
        let modifiers = modifiers(session, columns, select).await?;
        let column = |(column, modifier): (&PgColumn, Option<(u8, i8)>)| {
            let info = column.type_info();
            let kind = kind(info, modifier);
            SourceColumn {
                name: column.name().to_owned(),
                type_name: info.name().to_lowercase(),
                type_oid: info.oid().map_or(0, |oid| oid.0),
                as_text: kind.is_none(),
                kind: kind.unwrap_or(Kind::Text),
            }
        };
        Ok(Self(columns.iter().zip(modifiers).map(column).collect()))
    }

    /// What they are in Arrow.
    pub(super) fn schema(&self) -> SchemaRef {
        let field = |column: &SourceColumn| Field::new(&column.name, column.kind.arrow(), true);
        Arc::new(Schema::new(self.0.iter().map(field).collect::<Vec<_>>()))
    }

    /// `s(c1, c2, …)`: names that no column of the source can disturb.
    pub(super) fn alias(&self) -> String {
        let names: Vec<String> = (1..=self.0.len()).map(|at| format!("c{at}")).collect();
        format!("AS s({})", names.join(", "))
    }

    /// What is selected of that.
    pub(super) fn selected(&self) -> Vec<String> {
        let one = |(at, column): (usize, &SourceColumn)| match column.as_text {
            true => format!("s.c{at}::text"),
            false => format!("s.c{at}"),
        };
        (1..).zip(&self.0).map(one).collect()
    }

    /// Those that come as text because nothing of ours is what they are, each with its type.
    pub(super) fn texts(&self) -> Vec<String> {
        let texts = self.0.iter().filter(|column| column.as_text || column.kind == Kind::Numeric);
        texts.map(|column| format!("{} ({})", column.name, column.type_name)).collect()
    }
}

/// What a type is in Arrow; none where only its text is known. By the numbers of `pg_type.dat`, which never change.
fn kind(info: &PgTypeInfo, limits: Option<(u8, i8)>) -> Option<Kind> {
    Some(match info.oid().map_or(0, |oid| oid.0) {
        16 => Kind::Boolean,
        17 => Kind::Bytes,
        20 => Kind::Int64,
        21 => Kind::Int16,
        23 => Kind::Int32,
        26 => Kind::Oid,
        700 => Kind::Float32,
        701 => Kind::Float64,
        1082 => Kind::Date,
        1083 => Kind::Time,
        1114 => Kind::Timestamp,
        1184 => Kind::TimestampUtc,
        1700 => limits.map_or(Kind::Numeric, |(precision, scale)| Kind::Decimal { precision, scale }),
        // text, varchar, character, name, json
        25 | 1043 | 1042 | 19 | 114 => Kind::Text,
        2950 => Kind::Uuid,
        3802 => Kind::JsonB,
        _ => match info.kind() {
            PgTypeKind::Enum(_) => Kind::Text,
            PgTypeKind::Domain(of) => kind(of, limits)?,
            PgTypeKind::Array(of) => Kind::List(Box::new(kind(of, limits)?)),
            _ => return None,
        },
    })
}

/// Precision and scale of each column that has them: from the table's column that it is, else from the cast that it ends
/// with.
async fn modifiers(
    session: &mut Session,
    columns: &[PgColumn],
    select: String,
) -> Result<Vec<Option<(u8, i8)>>, PostgresError> {
    const OF_TABLES: &str = "SELECT CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END \
         FROM unnest($1::bigint[], $2::int[]) WITH ORDINALITY AS c(relation, number, at) \
         LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.relation::oid AND a.attnum = c.number \
         LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid ORDER BY c.at";
    const ATTEMPT: &str = "asking for the precision of numbers";
    if !columns.iter().any(|column| is_numeric(column.type_info())) {
        return Ok(vec![None; columns.len()]);
    }
    let relations: Vec<i64> = columns.iter().map(|c| c.relation_id().map_or(0, |oid| i64::from(oid.0))).collect();
    let numbers: Vec<i32> = columns.iter().map(|c| c.relation_attribute_no().map_or(0, i32::from)).collect();
    let rows = session.rows(ATTEMPT, sqlx::query(OF_TABLES).bind(relations).bind(numbers)).await?;
    let known = rows.iter().map(|row| row.try_get::<Option<i32>, _>(0).ok().flatten().and_then(precision_and_scale));
    let mut known: Vec<_> = known.collect();
    known.resize(columns.len(), None);
    let is_open = |(column, known): (&PgColumn, &Option<_>)| known.is_none() && is_numeric(column.type_info());
    if columns.iter().zip(&known).any(is_open) {
        let casts = casts(session, select).await?;
        if casts.len() == known.len() {
            known.iter_mut().zip(casts).for_each(|(known, cast)| *known = known.or(cast));
        }
    }
    Ok(known)
}

fn is_numeric(info: &PgTypeInfo) -> bool {
    const NUMERIC: u32 = 1700;
    match info.kind() {
        _ if info.oid().is_some_and(|oid| oid.0 == NUMERIC) => true,
        PgTypeKind::Domain(of) | PgTypeKind::Array(of) => is_numeric(of),
        _ => false,
    }
}

/// The casts that the columns of a SELECT end with, from the server's own plan of it; the driver does not give the
/// modifiers of expressions.
async fn casts(session: &mut Session, select: String) -> Result<Vec<Option<(u8, i8)>>, PostgresError> {
    let plan = format!("EXPLAIN (VERBOSE, COSTS OFF, FORMAT JSON) {select}");
    let row = session.first("asking for the query's plan", plan, &[]).await?;
    let text = row.and_then(|row| row.try_get_unchecked::<String, _>(0).ok()).unwrap_or_default();
    let plan: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let output = plan.pointer("/0/Plan/Output").and_then(serde_json::Value::as_array);
    Ok(output.into_iter().flatten().map(|one| one.as_str().and_then(cast)).collect())
}

/// Precision and scale of the cast that an expression is as a whole: `(price * 2)::numeric(10,2)`. A value that does not
/// keep to them is found when it comes, so that nothing depends on reading this right.
fn cast(expression: &str) -> Option<(u8, i8)> {
    let expression = without_brackets(expression.trim());
    let (value, rest) = expression.rsplit_once("::numeric(")?;
    let (precision, scale) = rest.strip_suffix(')')?.split_once(',')?;
    let is_whole = without_brackets(value) != value || !value.contains(char::is_whitespace);
    let limits = || limits(precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    if is_whole { limits() } else { None }
}

/// An expression without the brackets that go around all of it.
fn without_brackets(expression: &str) -> &str {
    let Some(inner) = expression.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else { return expression };
    let mut depth = 0_i32;
    for c in inner.chars() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        if depth < 0 {
            return expression;
        }
    }
    if depth == 0 { without_brackets(inner) } else { expression }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("(t.a)::numeric(10,2)", Some((10, 2)))]
    #[case("(((a * '2'::numeric))::numeric(12,4))", Some((12, 4)))]
    #[case("a::numeric(5,0)", Some((5, 0)))]
    #[case("((a)::numeric(10,2) + (b)::numeric(10,2))", None)]
    #[case("sum((a)::numeric(10,2))", None)]
    #[case("a", None)]
    #[case("(a)::numeric", None)]
    fn a_cast_is_read_where_it_is_the_whole_expression(#[case] expression: &str, #[case] want: Option<(u8, i8)>) {
        assert_eq!(cast(expression), want);
    }
}
