//! A view's columns against its contract's: the same names, and types that its values fit.
//!
//! Invariant: a column of the contract that no delivery could ever fill is an error before any data flows.

use super::types;
use super::view::{View, ViewColumn};
use crate::contract::{Column, ColumnType, Contract};
use crate::diagnostic::Diagnostic;
use crate::project::ContractSource;

/// What does not fit.
pub(crate) fn check(view: &View, contract: &Contract, source: &ContractSource, found: &mut Vec<Diagnostic>) {
    let mut filled = vec![false; view.columns.len()];
    for (index, column) in contract.columns.iter().enumerate() {
        let named = column.path.join(".");
        let Some(at) = view.columns.iter().position(|other| other.name == named) else {
            let message = format!("the view {} gives no column `{named}`", view.name);
            let names: Vec<&str> = view.columns.iter().map(|column| column.name.as_str()).collect();
            let help = format!("it gives: {}", names.join(", "));
            found.push(source.error_at(Some(index), "view-column", message).help(help));
            continue;
        };
        filled.get_mut(at).into_iter().for_each(|filled| *filled = true);
        let Some(given) = view.columns.get(at) else { continue };
        if let Some((wanted, help)) = misfit(given, column) {
            let message = format!("the view {} gives `{named}` as {wanted}", view.name);
            found.push(source.error_at(Some(index), "view-type", message).help(help));
        }
    }
    let left: Vec<&str> = view
        .columns
        .iter()
        .zip(&filled)
        .filter(|(_, filled)| !**filled)
        .map(|(column, _)| column.name.as_str())
        .collect();
    if !left.is_empty() {
        let message = format!("the contract does not name what the view {} gives: {}", view.name, left.join(", "));
        let help = "add these columns to the contract, or take them out of the view";
        found.push(source.error_at(None, "view-column", message).help(help));
    }
}

/// What the view gives and what the contract should say, where the two do not fit.
fn misfit(given: &ViewColumn, column: &Column) -> Option<(String, &'static str)> {
    let is = |right: bool, help| if right { None } else { Some(help) };
    if given.collection {
        let help = "its logicalType is `array`";
        return is(matches!(column.kind, ColumnType::Json), help).map(|help| ("a list".to_owned(), help));
    }
    let kind = given.kind.as_deref()?;
    let fits = match (kind, &column.kind) {
        ("boolean", kind) => is(matches!(kind, ColumnType::Boolean), "its logicalType is `boolean`"),
        ("integer" | "positiveInt" | "unsignedInt", kind) => is(
            matches!(kind, ColumnType::Long | ColumnType::Int | ColumnType::Double | ColumnType::Float),
            "its logicalType is `integer`",
        ),
        ("decimal", kind) => is(matches!(kind, ColumnType::Double | ColumnType::Float), "its logicalType is `number`"),
        ("date", kind) => {
            is(matches!(kind, ColumnType::Date(_) | ColumnType::String), "its logicalType is `date` or `string`")
        }
        ("dateTime" | "instant", kind) => is(
            matches!(kind, ColumnType::Timestamp(_) | ColumnType::String) || matches!(kind, ColumnType::Date(Some(_))),
            "its logicalType is `timestamp` or `string`",
        ),
        ("time", kind) => {
            is(matches!(kind, ColumnType::Time(_) | ColumnType::String), "its logicalType is `time` or `string`")
        }
        (text, kind) if types::is_text(text) => is(matches!(kind, ColumnType::String), "its logicalType is `string`"),
        (_, kind) => is(matches!(kind, ColumnType::Json), "its logicalType is `object`"),
    };
    fits.map(|help| (format!("`{kind}`"), help))
}
