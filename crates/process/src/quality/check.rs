//! What `validate` says of a rule about a set: its query planned over the tables that the project will have.
//!
//! Pure: no row and no file is read. Invariant: a rule without a problem here fails, if at all, on the rows that are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::datasource::empty::EmptyTable;
use futures::FutureExt;
use vitalake_contract::Contract;
use vitalake_contract::rule::SetRule;
use vitalake_lake::TableSpec;
use vitalake_lake::provider::live_schema;

use crate::quality::sql::{Evaluator, Others};

/// Columns of tables by schema and name in SQL.
pub type TableSchemas = BTreeMap<(String, String), SchemaRef>;

/// The tables that these will be in SQL, their rejects and what is not published yet among them.
#[must_use]
pub fn table_schemas<'s>(specs: impl IntoIterator<Item = &'s TableSpec>) -> TableSchemas {
    let mut schemas = TableSchemas::new();
    for spec in specs {
        let (layer, dataset) = (spec.contract.layer.as_str(), spec.contract.dataset.to_string());
        schemas.insert((layer.to_owned(), format!("{dataset}_live")), live_schema(&spec.schema));
        schemas.insert((layer.to_owned(), dataset.clone()), Arc::clone(&spec.schema));
        schemas.insert(("quarantine".to_owned(), dataset), vitalake_contract::contract::quarantine_schema());
    }
    schemas.retain(|(schema, table), _| schema == "serving" || !table.ends_with("_live"));
    schemas
}

/// Why a rule of a contract can never be evaluated; none when it can.
#[must_use]
pub fn problem(contract: &Contract, rule: &SetRule, tables: &Arc<TableSchemas>) -> Option<String> {
    let own = (contract.layer.as_str().to_owned(), contract.dataset.to_string());
    let schema = tables.get(&own).cloned().unwrap_or_else(|| contract.table_schema());
    let rows = Arc::new(EmptyTable::new(schema));
    let Some(query) = rule.measure.query(&contract.columns) else {
        return Some("it names a column that is not there".to_owned());
    };
    let planned = async {
        let evaluator = Evaluator::over(contract, rows, Others::Planned(Arc::clone(tables)))?;
        let plan = evaluator.plan(&query).await?;
        match plan.schema().fields().as_ref() {
            [one] if one.data_type().is_numeric() || one.data_type().is_null() => Ok(()),
            [_] => Err("its query does not give a number".to_owned()),
            _ => Err("its query does not give one column".to_owned()),
        }
    };
    // Nothing is waited for: the tables are at hand.
    match planned.now_or_never() {
        Some(planned) => planned.err(),
        None => Some("its query cannot be planned without reading".to_owned()),
    }
}
