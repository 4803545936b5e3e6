//! What a model's expressions mean: Spark's functions, operators, types and casts, in one table, and the binder that
//! gives each expression its meaning.
//!
//! `bind` and `select` go from the parsed text to the engine's plan; `table` holds what may be called; the other modules
//! are the functions by concern. Invariant: what leaves the binder gives Spark's answer with
//! `spark.sql.ansi.enabled=false` in UTC, for every row, and fails on none but where Spark fails too: on a pattern of a
//! column that is none.

mod aggregates;
mod arrays;
pub(crate) mod bind;
mod bits;
mod calendar;
mod call;
mod cast;
mod conditional;
mod conversion;
mod datetime;
mod decimals;
mod formatted;
mod hashes;
mod java_regex;
mod json;
mod json_text;
mod kinds;
mod lists;
pub(crate) mod literals;
mod making_times;
mod maps;
mod math;
mod not_known;
pub(crate) mod operators;
mod patterns;
mod refused;
mod regex;
mod rounding;
pub(crate) mod select;
mod show;
mod special;
mod strings;
mod table;
mod text_number;
mod text_time;
mod texts;
mod url;

use datafusion::common::ScalarValue;

/// The functions that a model may call, in order.
#[must_use]
pub fn supported() -> Vec<&'static str> {
    table::names()
}

/// Spark's functions that a model may not call, each with what to write instead.
#[must_use]
pub fn refused() -> Vec<(&'static str, &'static str)> {
    refused::all().collect()
}

/// A value as Spark's cast to STRING writes it.
#[must_use]
pub fn shown(value: &ScalarValue) -> String {
    show::text(value)
}
