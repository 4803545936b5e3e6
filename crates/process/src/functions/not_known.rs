//! Forms of expressions that the parser reads and a model may not have, each with what to write instead.

use datafusion::sql::sqlparser::ast::Expr;

use super::bind::Refusal;

/// Why this form is refused.
pub(super) fn not_known(expr: &Expr) -> Refusal {
    let (message, help) = match expr {
        Expr::Prefixed { .. } => ("this form of text is not known here", "write it in single quotes"),
        Expr::Interval(_) => ("an INTERVAL can only be added to a date or a timestamp", "write t + INTERVAL '1' DAY"),
        Expr::Cast { .. } => {
            ("TRY_CAST refuses what CAST takes with ANSI off", "write CAST: what cannot be cast is null")
        }
        Expr::Subquery(_) | Expr::Exists { .. } | Expr::InSubquery { .. } => {
            ("a model cannot have a subquery", "JOIN the delivered table instead")
        }
        Expr::Lambda(_) => ("a function with an arrow is not known here", "write it out without one"),
        Expr::AtTimeZone { .. } => {
            ("AT TIME ZONE is not Spark's", "use from_utc_timestamp(t, 'Europe/Berlin') or to_utc_timestamp")
        }
        other => return Refusal::new(format!("{other} is not known here"), "docs/spark-functions.md lists what is"),
    };
    Refusal::new(message, help)
}
