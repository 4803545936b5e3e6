//! Evidence: what a runbook's query finds, and whether it would be a query at all.
//!
//! It runs as any client's query, under the identity of runbooks and limits of its own. Invariant: a query that fails, or
//! finds too much, gives evidence that says so; nothing here fails.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use serde_json::Value;
use vitalake_lake::TableSpec;
use vitalake_ops::runbooks::Found;

use crate::druid::dialect::DruidSql;
use crate::druid::request::ResultFormat;
use crate::druid::result::{Headers, ResultWriter};
use crate::druid::value::Style;
use crate::error::QueryError;
use crate::identity::Identity;
use crate::pinned::{Pinned, Schemas};
use crate::plan;
use crate::policy::{Access, Policy};
use crate::session::{QueryOptions, Sessions};
use crate::surface::Surface;

/// Rows of one query that are shown.
pub const ROWS_MAX: usize = 100;
/// How long one query may take.
pub const TIME_MAX: Duration = Duration::from_secs(10);
/// Characters of a value that are shown.
const VALUE_CHARACTERS_MAX: usize = 500;
/// Columns that are shown.
const COLUMNS_MAX: usize = 50;

/// What a query finds now.
pub async fn find(sessions: &Sessions, sql: String, at: String) -> Found {
    match answer(sessions, sql).await {
        Ok(mut found) => {
            found.rows.iter_mut().flatten().for_each(cut);
            Found { at, ..found }
        }
        Err(error) => Found { at, error: Some(error.to_string()), ..Found::default() },
    }
}

/// The first rows of a query, whole.
///
/// # Errors
/// What a session says to it.
pub async fn answer(sessions: &Sessions, sql: String) -> Result<Found, QueryError> {
    let options = QueryOptions { timeout: Some(TIME_MAX), ..QueryOptions::default() };
    let mut answer = sessions.open(Identity::runbook())?.query(sql, Vec::new(), options).await?;
    let mut found = Found { columns: answer.labels().to_vec(), ..Found::default() };
    let schema = Arc::clone(answer.schema());
    while let Some(batch) = answer.next().await? {
        let room = ROWS_MAX - found.rows.len();
        found.more = batch.num_rows() > room;
        found.rows.extend(values(&batch.slice(0, batch.num_rows().min(room)), &schema, &found.columns)?);
        if found.more {
            break;
        }
    }
    if found.columns.len() > COLUMNS_MAX {
        let message = format!("the query has more than {COLUMNS_MAX} columns; name those that are looked at");
        return Err(QueryError::ResourceLimit(message));
    }
    Ok(found)
}

/// Rows as the surface writes them.
fn values(batch: &RecordBatch, schema: &Schema, labels: &[String]) -> Result<Vec<Vec<Value>>, QueryError> {
    let style = Style { zone: crate::functions::zone::Zone::UTC, stringify_arrays: true };
    let mut writer = ResultWriter::new(ResultFormat::Array, Headers::default(), style, schema, labels.to_vec());
    let mut text = Vec::new();
    writer.begin(&mut text);
    writer.batch(batch, &mut text).map_err(|_| unreadable())?;
    writer.end(&mut text);
    serde_json::from_slice(&text).map_err(|_| unreadable())
}

fn unreadable() -> QueryError {
    QueryError::Runtime("the result has a value that cannot be shown; select other columns".to_owned())
}

fn cut(value: &mut Value) {
    if let Value::String(text) = value
        && let Some((at, _)) = text.char_indices().nth(VALUE_CHARACTERS_MAX)
    {
        text.truncate(at);
        text.push('…');
    }
}

/// The tables of a project without any row, as runbooks see them: texts are planned against them.
pub struct Blueprint {
    surface: Arc<Surface>,
    pinned: Arc<dyn Pinned>,
}

impl Blueprint {
    /// The tables that these are to be, those of the platform's own among them.
    #[must_use]
    pub fn new(specs: &[TableSpec]) -> Self {
        let pinned = Policy::of(&Identity::runbook(), &Arc::<Access>::default()).view(Arc::new(Schemas::of(specs)));
        Self { surface: Arc::new(Surface::new(Arc::new(DruidSql))), pinned }
    }

    /// Whether a text is a query over them.
    ///
    /// # Errors
    /// What is wrong, with its place where that is known.
    pub fn check(&self, sql: &str) -> Result<(), QueryError> {
        plan::check(&self.surface, Arc::clone(&self.pinned), sql)
    }
}

#[cfg(test)]
mod tests {
    use vitalake_ops::runbooks::{Library, bind};
    use vitalake_ops::tables::OpsTable;

    use super::*;

    #[test]
    fn every_query_of_a_built_in_runbook_is_one_over_the_ops_datasets_alone() {
        let blueprint = Blueprint::new(&OpsTable::specs());
        for runbook in Library::new(&[]).all() {
            assert_eq!(runbook.problems, [], "{}", runbook.name);
            assert!(runbook.blocks().next().is_some(), "{} shows no evidence", runbook.name);
            for block in runbook.blocks() {
                let bound = bind(block, None).map(|statement| blueprint.check(&statement.sql));
                assert_eq!(bound, Ok(Ok(())), "{}, line {}: {}", runbook.name, block.line, block.sql);
            }
        }
    }
}
