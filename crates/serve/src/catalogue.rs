//! A pinned catalogue value as the engine sees it: one catalogue `druid` whose schemas are the layers.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Result;

use crate::druid::information_schema::{
    DRUID, INFORMATION_SCHEMA, INFORMATION_TABLES, SCHEMATA, SYS_TABLES, information_table, sys_table,
};
use crate::pinned::Pinned;

/// What one query can see.
#[derive(Debug, Clone)]
pub struct Catalogue {
    pinned: Arc<dyn Pinned>,
    /// Names of functions, and whether each makes one value of many.
    functions: Arc<[(String, bool)]>,
}

impl Catalogue {
    /// A view of a pinned value.
    pub fn new(pinned: Arc<dyn Pinned>, functions: Arc<[(String, bool)]>) -> Self {
        Self { pinned, functions }
    }

    /// The names of a schema's tables; `None` when there is no such schema.
    pub fn tables_of(&self, schema: &str) -> Option<Vec<String>> {
        if !SCHEMATA.contains(&schema) {
            return None;
        }
        Some(match schema {
            INFORMATION_SCHEMA => INFORMATION_TABLES.iter().map(|name| (*name).to_owned()).collect(),
            "sys" => SYS_TABLES.iter().map(|name| (*name).to_owned()).collect(),
            _ => {
                let stored = stored(schema);
                let names = self.pinned.table_names().into_iter();
                names.filter(|(schema, _)| schema == stored).map(|(_, table)| table).collect()
            }
        })
    }

    /// Says what is missing when a name has no table.
    pub fn missing(&self, parts: &[&str]) -> Option<String> {
        let (schema, table, within) = match parts {
            [table] => (DRUID, *table, false),
            [schema, table] => (*schema, *table, true),
            [catalogue, schema, table] if *catalogue == DRUID => (*schema, *table, true),
            _ => return Some(format!("Object '{}' not found", parts.join("."))),
        };
        let Some(tables) = self.tables_of(schema) else {
            return Some(format!("Object '{schema}' not found{}", nearest(schema, SCHEMATA.iter().copied())));
        };
        if tables.iter().any(|name| name == table) {
            return None;
        }
        let place = if within { format!(" within '{schema}'") } else { String::new() };
        Some(format!("Object '{table}' not found{place}{}", nearest(table, tables.iter().map(String::as_str))))
    }
}

/// `; did you mean 'x'?` when a name is near.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let wanted = wanted.to_lowercase();
    let far = (wanted.chars().count() / 2).clamp(1, 3);
    let measured = names.map(|name| (strsim::damerau_levenshtein(&wanted, &name.to_lowercase()), name));
    match measured.filter(|(distance, _)| *distance <= far).min() {
        Some((_, name)) => format!("; did you mean '{name}'?"),
        None => String::new(),
    }
}

/// The layer that a schema's name stands for.
fn stored(schema: &str) -> &str {
    if schema == DRUID { "serving" } else { schema }
}

impl CatalogProviderList for Catalogue {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![DRUID.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        if name == DRUID { Some(Arc::new(self.clone())) } else { None }
    }
}

impl CatalogProvider for Catalogue {
    fn schema_names(&self) -> Vec<String> {
        SCHEMATA.iter().map(|name| (*name).to_owned()).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        SCHEMATA.contains(&name).then(|| {
            let schema: Arc<dyn SchemaProvider> = Arc::new(Schema { catalogue: self.clone(), name: name.to_owned() });
            schema
        })
    }
}

#[derive(Debug)]
struct Schema {
    catalogue: Catalogue,
    name: String,
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        self.catalogue.tables_of(&self.name).unwrap_or_default()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match self.name.as_str() {
            INFORMATION_SCHEMA => information_table(name, &*self.catalogue.pinned, &self.catalogue.functions),
            "sys" => sys_table(name),
            schema => Ok(self.catalogue.pinned.provider(stored(schema), name)),
        }
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|table| table == name)
    }
}
