//! PostgreSQL's functions under the planner's names, and those that tell of the session as constants.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Array, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName,
    ObjectNamePart, Value,
};

use super::catalogue::PG_CATALOG;
use super::form::{call, counted_name, number, relation};
use super::label::counted;
use super::parameter::{cast, literal, text};
use super::rewrite::{Flow, Rewriter};
use super::settings::{DATABASE, VERSION};
use crate::error::QueryError;

/// PostgreSQL's names, and those here.
const RENAMED: &[(&str, &str)] = &[
    ("array_lower", "__array_lower"),
    ("array_upper", "array_length"),
    ("char_length", "character_length"),
    ("clock_timestamp", "now"),
    ("current_timestamp", "now"),
    ("every", "bool_and"),
    ("length", "character_length"),
    ("log", "log10"),
    ("pg_postmaster_start_time", "now"),
    ("pow", "power"),
    ("statement_timestamp", "now"),
    ("stddev_samp", "stddev"),
    ("substring", "substr"),
    ("transaction_timestamp", "now"),
    ("var_samp", "var"),
    ("variance", "var"),
];

/// Rewrites a call.
pub fn rewrite(expr: &mut Expr, rewriter: &Rewriter<'_>) -> Flow {
    if let Expr::Identifier(ident) = expr
        && tells_of_session(ident)
        && let Some(value) = of_session(&counted(ident), rewriter)
    {
        *expr = value;
        return ControlFlow::Continue(());
    }
    let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
    if let [schema, _] = function.name.0.as_slice()
        && schema.as_ident().is_some_and(|schema| counted(schema) == PG_CATALOG)
    {
        function.name.0.remove(0);
    }
    if function.name.0.len() != 1 {
        return ControlFlow::Continue(());
    }
    let name = counted_name(function);
    if let Some((_, ours)) = RENAMED.iter().find(|(theirs, _)| *theirs == name) {
        function.name = ObjectName(vec![ObjectNamePart::Identifier(Ident::new(*ours))]);
        if matches!(function.args, FunctionArguments::None) {
            *expr = call(ours, vec![]);
        }
        return ControlFlow::Continue(());
    }
    let said = constants(function);
    let value = match (name.as_str(), said.as_slice()) {
        ("current_setting", [Some(setting), ..]) => match rewriter.settings.get(setting) {
            Some(value) => Some(text(value)),
            None if said.len() > 1 => Some(literal(Value::Null)),
            None => {
                let message = format!("the setting \"{setting}\" is not supported");
                return ControlFlow::Break(QueryError::invalid(message));
            }
        },
        ("set_config", [Some(setting), Some(value), ..]) => {
            match rewriter.settings.set(setting, Some(std::slice::from_ref(value))) {
                Ok(_) => Some(text(value.clone())),
                Err(_) => {
                    let message = format!("setting \"{setting}\" so is not supported");
                    return ControlFlow::Break(QueryError::invalid(message));
                }
            }
        }
        ("parse_ident", [Some(said), ..]) => {
            let part = |part: &str| match part.trim().strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
                Some(quoted) => text(quoted),
                None => text(part.trim().to_lowercase()),
            };
            Some(Expr::Array(Array { elem: said.split('.').map(part).collect(), named: true }))
        }
        ("format", [Some(form), ..]) => match formatted(form, function) {
            Some(value) => Some(value),
            None => {
                let message = "format is not supported here: its form has %s, %I and %L, one for each value";
                return ControlFlow::Break(QueryError::invalid(message));
            }
        },
        ("to_regclass", [Some(said)]) => Some(relation(said, rewriter).map_or_else(|| literal(Value::Null), number)),
        ("current_schemas", [implicit]) => {
            let mut schemata = rewriter.settings.search_path();
            if implicit.as_deref() != Some("false") {
                schemata.insert(0, PG_CATALOG.to_owned());
            }
            Some(Expr::Array(Array { elem: schemata.into_iter().map(text).collect(), named: true }))
        }
        (name, []) => of_session(name, rewriter),
        _ => None,
    };
    if let Some(value) = value {
        *expr = value;
    }
    ControlFlow::Continue(())
}

/// Words that are calls without parentheses.
const WORDS: [&str; 6] = ["current_catalog", "current_role", "current_schema", "current_user", "session_user", "user"];

/// Whether a word is a call that tells of the session.
pub fn tells_of_session(ident: &Ident) -> bool {
    ident.quote_style.is_none() && WORDS.contains(&counted(ident).as_str())
}

/// What a function without arguments tells of the session.
fn of_session(name: &str, rewriter: &Rewriter<'_>) -> Option<Expr> {
    Some(match name {
        "current_user" | "session_user" | "user" | "current_role" => text(rewriter.settings.user()),
        "current_database" | "current_catalog" => text(DATABASE),
        "current_schema" => rewriter.settings.search_path().first().map_or_else(|| literal(Value::Null), text),
        "version" => text(format!("PostgreSQL {VERSION} (vitalake {})", env!("CARGO_PKG_VERSION"))),
        "pg_is_in_recovery" => literal(Value::Boolean(false)),
        "pg_my_temp_schema" | "pg_backend_pid" => number(0),
        "inet_server_addr" | "inet_client_addr" => literal(Value::Null),
        _ => return None,
    })
}

/// The texts and values of `format` one after the other; none where its form asks for more than that.
fn formatted(form: &str, function: &Function) -> Option<Expr> {
    let FunctionArguments::List(list) = &function.args else { return None };
    let mut values = list.args.iter().skip(1).map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    let mut parts = vec![text("")];
    let mut rest = form;
    while let Some((before, after)) = rest.split_once('%') {
        parts.push(text(before));
        let sign = after.chars().next()?;
        let mut value = || values.next().flatten().map(|value| cast(value, DataType::Text));
        parts.push(match sign {
            '%' => text("%"),
            's' => value()?,
            'I' => call("quote_ident", vec![value()?]),
            'L' => call("quote_literal", vec![value()?]),
            _ => return None,
        });
        rest = after.get(1..)?;
    }
    parts.push(text(rest));
    values.next().is_none().then(|| call("concat", parts))
}

/// The constants among a call's arguments, as texts.
fn constants(function: &Function) -> Vec<Option<String>> {
    let FunctionArguments::List(list) = &function.args else { return Vec::new() };
    let constant = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(value))) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Boolean(truth) => Some(truth.to_string()),
            Value::Number(digits, _) => Some(digits.clone()),
            _ => None,
        },
        _ => None,
    };
    list.args.iter().map(constant).collect()
}
