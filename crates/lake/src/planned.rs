//! The tables that a lake of some specifications makes, before there is a lake: their names in SQL and their columns.
//!
//! `validate` plans queries against them. Invariant: the names are those of [`crate::catalogue::Catalogue::table_names`]
//! once the lake is open.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use vitalake_contract::Layer;
use vitalake_contract::contract::quarantine_schema;

use crate::lake::TableSpec;
use crate::provider::live_schema;

/// Columns of tables by schema and name in SQL.
pub type TableSchemas = BTreeMap<(String, String), SchemaRef>;

/// The tables that these will be in SQL, their rejects and what is not published yet among them.
#[must_use]
pub fn table_schemas<'s>(specs: impl IntoIterator<Item = &'s TableSpec>) -> TableSchemas {
    let mut schemas = TableSchemas::new();
    for TableSpec { contract, schema, .. } in specs {
        let (layer, name) = (contract.layer.as_str().to_owned(), contract.dataset.to_string());
        if contract.layer == Layer::Serving {
            schemas.insert((layer.clone(), format!("{name}_live")), live_schema(schema));
        }
        if contract.layer != Layer::Ops {
            schemas.insert(("quarantine".to_owned(), name.clone()), quarantine_schema());
        }
        schemas.insert((layer, name), Arc::clone(schema));
    }
    schemas
}
