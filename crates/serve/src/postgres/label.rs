//! What columns without a name are called, as PostgreSQL calls them.
//!
//! A name that comes twice has another inside the plan, which ends in a mark. Invariant: a client never sees the mark.

use std::collections::BTreeSet;

use datafusion::sql::sqlparser::ast::{Expr, Ident, Select, SelectItem, SetExpr};

use super::function::tells_of_session;

/// Begins what is added to a name so that it comes once.
const MARK: char = '\u{1}';

/// A name as a client sees it.
pub fn shown(name: &str) -> &str {
    name.split(MARK).next().unwrap_or_default()
}

/// An identifier as it counts: in small letters where it has no quotes.
pub fn counted(ident: &Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// What an expression is called.
pub fn label_of(expr: &Expr) -> String {
    match expr {
        Expr::Identifier(ident) => counted(ident),
        Expr::CompoundIdentifier(idents) => idents.last().map(counted).unwrap_or_default(),
        Expr::Function(function) => {
            function.name.0.last().and_then(|part| part.as_ident()).map(counted).unwrap_or_default()
        }
        Expr::Cast { expr, data_type, .. } => match label_of(expr) {
            unnamed if unnamed == UNNAMED => cast_label(&data_type.to_string()),
            named => named,
        },
        Expr::Nested(expr) | Expr::Collate { expr, .. } => label_of(expr),
        Expr::Case { .. } => "case".to_owned(),
        Expr::Exists { .. } => "exists".to_owned(),
        Expr::Extract { .. } => "extract".to_owned(),
        Expr::Substring { .. } => "substring".to_owned(),
        Expr::Position { .. } => "position".to_owned(),
        Expr::Trim { .. } => "btrim".to_owned(),
        Expr::Overlay { .. } => "overlay".to_owned(),
        Expr::Ceil { .. } => "ceil".to_owned(),
        Expr::Floor { .. } => "floor".to_owned(),
        Expr::AtTimeZone { .. } => "timezone".to_owned(),
        Expr::Array(_) => "array".to_owned(),
        Expr::Interval(_) => "interval".to_owned(),
        Expr::TypedString(typed) => cast_label(&typed.data_type.to_string()),
        Expr::Subquery(query) => match query.body.as_ref() {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::UnnamedExpr(expr)) => label_of(expr),
                Some(SelectItem::ExprWithAlias { alias, .. }) => counted(alias),
                _ => UNNAMED.to_owned(),
            },
            _ => UNNAMED.to_owned(),
        },
        _ => UNNAMED.to_owned(),
    }
}

const UNNAMED: &str = "?column?";

/// What a type is called as the name of a column.
fn cast_label(kind: &str) -> String {
    let kind = kind.to_lowercase();
    let kind = kind.split(['(', ' ', '[']).next().unwrap_or_default();
    let kind = kind.rsplit('.').next().unwrap_or_default();
    match kind {
        "integer" | "int" => "int4",
        "bigint" => "int8",
        "smallint" => "int2",
        "boolean" => "bool",
        "real" => "float4",
        "double" => "float8",
        "decimal" => "numeric",
        "character" => "varchar",
        "timestamptz" => "timestamptz",
        other => other,
    }
    .to_owned()
}

/// Names the columns of a select list. Those that are no column keep their name inside the plan where it comes once; beside
/// a `*`, which may give any name, none without an alias does.
pub fn name(select: &mut Select) {
    let mut seen = BTreeSet::new();
    let mut marked = 0;
    let is_all = |item: &SelectItem| matches!(item, SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..));
    let beside_all = select.projection.iter().any(is_all);
    let mut free = |label: String, is_alias: bool| {
        if seen.insert(label.clone()) && (is_alias || !beside_all) {
            return label;
        }
        marked += 1;
        format!("{label}{MARK}{marked}")
    };
    for item in &mut select.projection {
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => {
                let label = counted(ident);
                let unique = free(label.clone(), false);
                if unique != label || tells_of_session(ident) {
                    rename(item, unique);
                }
            }
            SelectItem::UnnamedExpr(expr) => {
                let unique = free(label_of(expr), false);
                rename(item, unique);
            }
            SelectItem::ExprWithAlias { alias, .. } => {
                let unique = free(counted(alias), true);
                *alias = Ident::with_quote('"', unique);
            }
            _ => {}
        }
    }
}

fn rename(item: &mut SelectItem, label: String) {
    if let SelectItem::UnnamedExpr(expr) = item {
        *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::with_quote('"', label) };
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use datafusion::sql::sqlparser::ast::SetExpr;

    use super::*;
    use crate::sql::parse::TextLimits;

    #[test]
    fn columns_are_called_as_in_postgresql() {
        let sql = "SELECT 1, a.B, \"C\", count(*), x::int, 1::bigint, CASE WHEN x THEN 1 END, max(y) AS \"Top\", 2, count(z), (SELECT m FROM t)";
        let mut query = crate::postgres::parse::parse(sql, &TextLimits::default()).unwrap().query;
        let SetExpr::Select(select) = query.body.as_mut() else { unreachable!("{sql}") };
        name(select);
        let labels = select.projection.iter().map(|item| match item {
            SelectItem::ExprWithAlias { alias, .. } => shown(&alias.value).to_owned(),
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident.value.clone(),
            other => other.to_string(),
        });
        let expected = ["?column?", "b", "C", "count", "x", "int8", "case", "Top", "?column?", "count", "m"];
        assert_eq!(labels.collect::<Vec<_>>(), expected);
    }
}
