//! A pinned value as some roles see it: tables that they may read, each behind its barrier.
//!
//! Invariant: a table whose rules cannot be kept is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::catalog::TableProvider;
use datafusion::object_store::ObjectStore;
use parking_lot::Mutex;
use vitalake_contract::access::Classification;

use super::barrier::GuardedTable;
use super::consent::Binding;
use super::rules::{Roles, Shown, Sight};
use crate::pinned::{Pinned, Standing};

/// The decisions that a table is bound to are not there.
struct NoDecisions;

/// A value behind some roles.
#[derive(Debug)]
pub(super) struct PolicyView {
    pinned: Arc<dyn Pinned>,
    roles: Roles,
    /// Columns that the tables asked for so far have and do not show.
    hidden: Mutex<BTreeMap<String, (String, Classification)>>,
    asked: Mutex<BTreeSet<(String, String)>>,
    refused: AtomicBool,
}

impl PolicyView {
    pub(super) fn new(pinned: Arc<dyn Pinned>, roles: Roles) -> Self {
        Self { pinned, roles, hidden: Mutex::default(), asked: Mutex::default(), refused: AtomicBool::new(false) }
    }

    /// Where the decisions are that a table's rows are bound to.
    fn decisions(&self, sight: &Sight) -> Option<(String, String)> {
        let dataset = sight.consent.as_ref()?.dataset.as_str();
        Some((self.roles.layer(dataset)?.as_str().to_owned(), dataset.to_owned()))
    }

    /// What binds a table's rows, where something does.
    fn binding(&self, sight: &Sight) -> Result<Option<Binding>, NoDecisions> {
        let Some(consent) = &sight.consent else { return Ok(None) };
        let (schema, dataset) = self.decisions(sight).ok_or(NoDecisions)?;
        let decisions = self.pinned.provider(&schema, &dataset).ok_or(NoDecisions)?;
        let own = sight.columns.get(consent.own).ok_or(NoDecisions)?;
        let (consent, purpose) = (Arc::clone(consent), self.roles.purpose().cloned());
        Ok(Some(Binding { decisions, consent, purpose, own: Arc::clone(&own.name) }))
    }

    /// The tables that were asked for so far.
    pub(super) fn asked(&self) -> BTreeSet<(String, String)> {
        self.asked.lock().clone()
    }
}

impl Pinned for PolicyView {
    fn table_names(&self) -> Vec<(String, String)> {
        let mut names = self.pinned.table_names();
        names.retain(|(schema, table)| self.roles.sight(schema, table).is_some());
        names
    }

    fn provider(&self, schema: &str, table: &str) -> Option<Arc<dyn TableProvider>> {
        let sight = self.roles.sight(schema, table)?;
        let stored = self.pinned.provider(schema, table)?;
        self.asked.lock().insert((schema.to_owned(), table.to_owned()));
        for field in stored.schema().fields() {
            if let Shown::Not(class) = sight.of(field.name()) {
                self.hidden.lock().insert(field.name().clone(), (format!("{schema}.{table}"), class));
            }
        }
        let binding = match self.binding(&sight) {
            Ok(binding) => binding,
            Err(NoDecisions) => return None,
        };
        GuardedTable::of(stored, &sight, (binding, self.roles.key().cloned())).ok()
    }

    fn time_column(&self, schema: &str, table: &str) -> Option<String> {
        let sight = self.roles.sight(schema, table)?;
        let time = self.pinned.time_column(schema, table)?;
        (!matches!(sight.of(&time), Shown::Not(_))).then_some(time)
    }

    fn waiting_for(&self, schema: &str, table: &str) -> Option<String> {
        let sight = self.roles.sight(schema, table)?;
        let of_decisions = || {
            let (schema, decisions) = self.decisions(&sight)?;
            self.pinned.waiting_for(&schema, &decisions)
        };
        self.pinned.waiting_for(schema, table).or_else(of_decisions)
    }

    fn not_open(&self, schema: &str, table: &str) -> Option<String> {
        let sight = self.roles.sight(schema, table)?;
        let of_decisions = || {
            let (schema, decisions) = self.decisions(&sight)?;
            self.pinned.not_open(&schema, &decisions)
        };
        self.pinned.not_open(schema, table).or_else(of_decisions)
    }

    fn store(&self) -> Option<Arc<dyn ObjectStore>> {
        self.pinned.store()
    }

    fn standings(&self) -> Vec<Standing> {
        self.pinned.standings()
    }

    fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    fn refused_table(&self, schema: &str, table: &str) -> Option<String> {
        let is_there = self.pinned.table_names().iter().any(|(s, t)| s == schema && t == table);
        if !is_there || self.roles.sight(schema, table).is_some() {
            return None;
        }
        self.refused.store(true, Ordering::Relaxed);
        let ask = asked_for(&self.roles.readers(schema, table));
        Some(format!("you may not read '{schema}.{table}'{ask}"))
    }

    fn refused_column(&self, column: &str) -> Option<String> {
        let hidden = self.hidden.lock();
        let (table, class) = hidden.get(column)?;
        self.refused.store(true, Ordering::Relaxed);
        let ask = asked_for(&self.roles.cleared(*class));
        Some(format!("the column '{column}' of '{table}' is {} and you may not use it{ask}", class.as_str()))
    }
}

fn asked_for(roles: &[String]) -> String {
    match roles {
        [] => String::new(),
        [only] => format!("; ask for the role '{only}'"),
        several => format!("; ask for one of the roles {}", several.join(", ")),
    }
}
