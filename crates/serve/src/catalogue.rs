//! A pinned value as one session sees it: one catalogue whose schemas are the layers, under its dialect's names.
//!
//! Invariant: the introspection tables are made of the same view as the tables, so they name nothing that it hides.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::{DataFusionError, Result};

use crate::error::QueryError;
use crate::pinned::Pinned;
use crate::surface::Surface;

/// What one query can see.
#[derive(Debug, Clone)]
pub struct SessionCatalogue {
    pinned: Arc<dyn Pinned>,
    surface: Arc<Surface>,
}

impl SessionCatalogue {
    /// A view of a pinned value.
    pub fn new(pinned: Arc<dyn Pinned>, surface: Arc<Surface>) -> Self {
        Self { pinned, surface }
    }

    /// The names of a schema's tables; `None` when there is no such schema.
    pub fn tables_of(&self, schema: &str) -> Option<Vec<String>> {
        let dialect = self.surface.dialect();
        if !dialect.schemata().contains(&schema) {
            return None;
        }
        if let Some(names) = dialect.system_tables(schema) {
            return Some(names.iter().map(|name| (*name).to_owned()).collect());
        }
        let layer = dialect.layer(schema);
        let names = self.pinned.table_names().into_iter();
        Some(names.filter(|(schema, _)| schema == layer).map(|(_, table)| table).collect())
    }

    /// Says what is missing when a name has no table.
    pub fn missing(&self, parts: &[&str]) -> Option<String> {
        let dialect = self.surface.dialect();
        let (schema, table, within) = match parts {
            [table] => (dialect.catalogue(), *table, false),
            [schema, table] => (*schema, *table, true),
            [catalogue, schema, table] if *catalogue == dialect.catalogue() => (*schema, *table, true),
            _ => return Some(format!("Object '{}' not found", parts.join("."))),
        };
        let Some(tables) = self.tables_of(schema) else {
            return Some(format!("Object '{schema}' not found{}", nearest(schema, dialect.schemata().iter().copied())));
        };
        let not_open = || self.pinned.not_open(dialect.layer(schema), table).is_some();
        if tables.iter().any(|name| name == table) || not_open() {
            return None;
        }
        if let Some(refused) = self.pinned.refused_table(dialect.layer(schema), table) {
            return Some(refused);
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

impl CatalogProviderList for SessionCatalogue {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![self.surface.dialect().catalogue().to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        if name == self.surface.dialect().catalogue() { Some(Arc::new(self.clone())) } else { None }
    }
}

impl CatalogProvider for SessionCatalogue {
    fn schema_names(&self) -> Vec<String> {
        self.surface.dialect().schemata().iter().map(|name| (*name).to_owned()).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        self.surface.dialect().schemata().contains(&name).then(|| {
            let schema: Arc<dyn SchemaProvider> = Arc::new(Schema { catalogue: self.clone(), name: name.to_owned() });
            schema
        })
    }
}

#[derive(Debug)]
struct Schema {
    catalogue: SessionCatalogue,
    name: String,
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        self.catalogue.tables_of(&self.name).unwrap_or_default()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let SessionCatalogue { pinned, surface } = &self.catalogue;
        let dialect = surface.dialect();
        if dialect.system_tables(&self.name).is_some() {
            return dialect.system_table(&self.name, name, &**pinned, &surface.library().routines);
        }
        let layer = dialect.layer(&self.name);
        if let Some(reason) = pinned.not_open(layer, name) {
            return Err(DataFusionError::External(Box::new(QueryError::NotOpen(reason))));
        }
        if let Some(waiting_for) = pinned.waiting_for(layer, name) {
            return Err(DataFusionError::External(Box::new(QueryError::NotReady(vec![waiting_for]))));
        }
        dialect.table(&**pinned, layer, name)
    }

    fn table_exist(&self, name: &str) -> bool {
        self.table_names().iter().any(|table| table == name)
    }
}
