//! What `validate` says of a rule about a set: its query planned over the tables that the project will have.
//!
//! Pure: no row and no file is read. Invariant: a rule without a problem here fails, if at all, on the rows that are there.

use std::sync::Arc;

use datafusion::datasource::empty::EmptyTable;
use futures::FutureExt;
use vitalake_contract::Contract;
use vitalake_contract::rule::SetRule;
use vitalake_lake::planned::TableSchemas;

use crate::quality::sql::{Evaluator, Others};

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
