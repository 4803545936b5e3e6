//! The field plan of a contract: where in a record each column's value stands, as a tree over the columns' paths.
//!
//! `$.vitals.hr` and `$.vitals.spo2` share the node `vitals`, so a record is walked once. Built once per contract.
//! Invariant: a node's index and a column's index in it are in range of the plan's nodes and the contract's columns.

use std::collections::HashMap;
use std::sync::Arc;

use vitalake_contract::check::SqlRules;
use vitalake_contract::{ColumnType, Contract, Source};

use super::Rules;
pub(super) use crate::headers::quote;

/// The root's index.
pub(super) const ROOT: u16 = 0;

/// With so few children a comparison with each is faster than a hash.
const LINEAR_MAX: usize = 12;

/// One name on the way to a value.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// The field's name.
    pub(super) name: String,
    /// The name as it usually stands in a record: in quotes, escaped where it must be.
    pub(super) quoted: String,
    /// The columns whose value stands here; mostly one, none on the way.
    pub(super) columns: Vec<u16>,
    /// The names below.
    pub(super) children: Vec<u16>,
    by_name: HashMap<String, u16>,
}

/// A contract with what decoders look up for every record.
#[derive(Debug)]
pub(super) struct Plan {
    /// The contract.
    pub(super) contract: Arc<Contract>,
    /// Its rules in SQL.
    pub(super) sql: Option<Arc<dyn SqlRules>>,
    /// The value of `_topic`.
    pub(super) topic: String,
    /// The root first.
    pub(super) nodes: Vec<Node>,
}

impl Plan {
    /// Lays the columns' paths out as a tree.
    pub(super) fn new(rules: Rules, topic: String) -> Self {
        let Rules { contract, sql } = rules;
        let mut plan = Self { topic, nodes: vec![Node::default()], contract: Arc::clone(&contract), sql };
        for (index, column) in contract.columns.iter().enumerate() {
            let mut node = ROOT;
            for name in &column.path {
                node = plan.child(node, name).unwrap_or_else(|| plan.add(node, name));
            }
            if let Some(node) = plan.nodes.get_mut(usize::from(node)) {
                node.columns.push(small(index));
            }
        }
        plan
    }

    /// The `_topic` of a contract's rows: its topic, or `feed/{dataset}`.
    pub(super) fn topic_of(contract: &Contract) -> String {
        match &contract.source {
            Some(Source::Stream { topic, .. }) => topic.clone(),
            _ => Self::feed_of(contract),
        }
    }

    /// The `_topic` of delivered rows.
    pub(super) fn feed_of(contract: &Contract) -> String {
        format!("feed/{}", contract.dataset)
    }

    /// The child of that name.
    #[inline]
    pub(super) fn child(&self, node: u16, name: &str) -> Option<u16> {
        let node = self.nodes.get(usize::from(node))?;
        if !node.by_name.is_empty() {
            return node.by_name.get(name).copied();
        }
        node.children.iter().copied().find(|&child| self.nodes.get(usize::from(child)).is_some_and(|c| c.name == name))
    }

    /// A column's type; text where the index is none of the contract's, which the invariant excludes.
    #[inline(always)]
    pub(super) fn kind(&self, column: u16) -> &ColumnType {
        self.contract.columns.get(usize::from(column)).map_or(&ColumnType::String, |c| &c.kind)
    }

    /// Every column whose value stands at the node or below it.
    pub(super) fn columns_under(&self, node: u16, into: &mut Vec<u16>) {
        if let Some(node) = self.nodes.get(usize::from(node)) {
            into.extend(&node.columns);
            node.children.iter().for_each(|&child| self.columns_under(child, into));
        }
    }

    fn add(&mut self, parent: u16, name: &str) -> u16 {
        let index = small(self.nodes.len());
        let mut quoted = String::with_capacity(name.len() + 2);
        quote(name, &mut quoted);
        self.nodes.push(Node { name: name.to_owned(), quoted, ..Node::default() });
        let names: Vec<String> = self.nodes.iter().map(|n| n.name.clone()).collect();
        if let Some(parent) = self.nodes.get_mut(usize::from(parent)) {
            parent.children.push(index);
            if parent.children.len() > LINEAR_MAX {
                let named = |&child: &u16| names.get(usize::from(child)).map(|name| (name.clone(), child));
                parent.by_name = parent.children.iter().filter_map(named).collect();
            }
        }
        index
    }
}

/// What a value of the type looks like, for a reason.
pub(super) fn expected(kind: &ColumnType) -> String {
    let form = |what: &str, pattern: Option<&str>, standard: &str| match pattern {
        Some(pattern) => format!("{what} in the form {pattern}"),
        None => format!("{what} in the form {standard}"),
    };
    match kind {
        ColumnType::String => "text".to_owned(),
        ColumnType::Long => "a whole number of 64 bits".to_owned(),
        ColumnType::Int => "a whole number of 32 bits".to_owned(),
        ColumnType::Double | ColumnType::Float => "a number".to_owned(),
        ColumnType::Boolean => "true or false".to_owned(),
        ColumnType::Date(format) => form("a date", format.as_ref().map(|f| f.pattern.as_str()), "yyyy-MM-dd"),
        ColumnType::Timestamp(format) => {
            form("a timestamp", format.as_ref().map(|f| f.pattern.as_str()), "of RFC 3339")
        }
        ColumnType::Time(format) => form("a time of day", format.as_ref().map(|f| f.pattern.as_str()), "HH:mm:ss"),
        ColumnType::Json => "an object or an array".to_owned(),
    }
}

/// Contracts have far fewer columns than this type counts; one that had more would lose the last ones' names.
fn small(index: usize) -> u16 {
    u16::try_from(index).unwrap_or(u16::MAX)
}
