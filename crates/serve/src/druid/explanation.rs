//! What Druid answers to EXPLAIN: one row of a plan, the tables it reads and what kind of statement it is.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::common::Result;
use datafusion::logical_expr::LogicalPlan;
use serde_json::json;

use super::types::field_names;

const COLUMNS: [&str; 3] = ["PLAN", "RESOURCES", "ATTRIBUTES"];

/// The row.
///
/// # Errors
/// When the batch cannot be made, which would be a mistake of ours.
pub fn batch(plan: &LogicalPlan, labels: &[String]) -> Result<RecordBatch> {
    let types: Vec<_> = plan.schema().fields().iter().map(|field| field_names(field).native).collect();
    let signature: Vec<_> =
        labels.iter().zip(&types).map(|(name, native)| json!({"name": name, "type": native})).collect();
    let mappings: Vec<_> = labels.iter().map(|name| json!({"queryColumn": name, "outputColumn": name})).collect();
    let text = json!([{
        "query": {"queryType": "plan", "plan": plan.display_indent().to_string()},
        "signature": signature,
        "columnMappings": mappings,
    }]);
    let mut tables = vec![];
    collect_tables(plan, &mut tables);
    let resources: Vec<_> = tables.iter().map(|name| json!({"name": name, "type": "DATASOURCE"})).collect();
    let cells = [text.to_string(), json!(resources).to_string(), json!({"statementType": "SELECT"}).to_string()];
    let schema = Schema::new(COLUMNS.map(|name| Field::new(name, DataType::Utf8, false)).to_vec());
    let arrays = cells.into_iter().map(|cell| Arc::new(StringArray::from(vec![cell])) as ArrayRef).collect();
    Ok(RecordBatch::try_new(Arc::new(schema), arrays)?)
}

fn collect_tables(plan: &LogicalPlan, names: &mut Vec<String>) {
    if let LogicalPlan::TableScan(scan) = plan {
        let name = scan.table_name.table().to_owned();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for input in plan.inputs() {
        collect_tables(input, names);
    }
}
