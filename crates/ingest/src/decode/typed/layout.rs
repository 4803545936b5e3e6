//! Which field of a typed file fills which column of the contract, and what of a row the contract does not read.
//!
//! Fields are found by their names alone; one within structures by its path. Made once for a file. Invariant: every
//! field is read by a column, leads to one that is, or is rescued.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Fields, Schema};
use vitalake_contract::Contract;

use super::json;
use crate::decode::header;
use crate::decode::refused::DeliveryError;
use crate::headers::quote;

/// How deep structures are followed.
const DEPTH_MAX: usize = 32;
/// How many fields that the contract does not name are told.
const UNNAMED_SHOWN_MAX: usize = 20;

/// A file's fields by a contract.
#[derive(Debug)]
pub(super) struct Layout {
    /// For each column of the contract the way to its field; none where the file has none.
    pub(super) ways: Vec<Option<Vec<usize>>>,
    nodes: Vec<Node>,
    rescues: bool,
}

#[derive(Debug)]
struct Node {
    /// Its name as a JSON string.
    quoted: String,
    /// The columns that read it.
    columns: Vec<u16>,
    /// What stands below, where a column reads something there.
    below: Vec<Node>,
}

impl Layout {
    /// Finds the contract's columns among a file's fields.
    pub(super) fn new(contract: &Contract, schema: &Schema) -> Result<Self, DeliveryError> {
        let mut found = Vec::new();
        names(schema.fields(), &mut Vec::new(), "", &mut found);
        let header: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
        let places = match header::place(contract, &header, b"") {
            Err(DeliveryError::NoHeader { dataset, names }) => {
                return Err(DeliveryError::NothingNamed { dataset, names });
            }
            places => places?,
        };
        let mut ways = vec![None; contract.columns.len()];
        let mut readers: HashMap<Vec<usize>, Vec<u16>> = HashMap::new();
        for ((_, way), columns) in found.into_iter().zip(places) {
            for column in &columns {
                if let Some(place) = ways.get_mut(usize::from(*column)) {
                    *place = Some(way.clone());
                }
            }
            if !columns.is_empty() {
                readers.insert(way, columns);
            }
        }
        let nodes = nodes(schema.fields(), &mut Vec::new(), &readers);
        let rescues = nodes.iter().any(Node::rescues);
        Ok(Self { ways, nodes, rescues })
    }

    /// The file's fields that the contract does not name, the first few of them.
    pub(super) fn unnamed(&self) -> Vec<String> {
        let unnamed = self.nodes.iter().filter(|node| node.columns.is_empty() && node.below.is_empty());
        unnamed.take(UNNAMED_SHOWN_MAX).map(|node| node.quoted.trim_matches('"').to_owned()).collect()
    }

    /// Whether there is a field that nobody reads.
    pub(super) fn rescues(&self) -> bool {
        self.rescues
    }

    /// Appends what the contract does not read of a row, or could not, as one object; nothing where there is none.
    pub(super) fn rescue(&self, batch: &RecordBatch, row: usize, wrong: &[Vec<usize>], into: &mut String) {
        let mut open = 0;
        object(&self.nodes, batch.columns(), row, wrong, into, &mut Vec::new(), &mut open);
        if open > 0 {
            into.push('}');
        }
    }
}

impl Node {
    fn rescues(&self) -> bool {
        if self.below.is_empty() { self.columns.is_empty() } else { self.below.iter().any(Self::rescues) }
    }
}

/// Every field with its dotted name and the way to it.
fn names(fields: &Fields, way: &mut Vec<usize>, before: &str, into: &mut Vec<(String, Vec<usize>)>) {
    for (at, field) in fields.iter().enumerate() {
        let name = format!("{before}{}", field.name());
        way.push(at);
        into.push((name.clone(), way.clone()));
        if let DataType::Struct(below) = field.data_type()
            && way.len() < DEPTH_MAX
        {
            names(below, way, &format!("{name}."), into);
        }
        way.pop();
    }
}

fn nodes(fields: &Fields, way: &mut Vec<usize>, readers: &HashMap<Vec<usize>, Vec<u16>>) -> Vec<Node> {
    let node = |(at, field): (usize, &arrow::datatypes::FieldRef)| {
        way.push(at);
        let read_below = || readers.keys().any(|reader| reader.len() > way.len() && reader.starts_with(way));
        let below = match field.data_type() {
            DataType::Struct(below) if read_below() => nodes(below, way, readers),
            _ => Vec::new(),
        };
        let mut quoted = String::new();
        quote(field.name(), &mut quoted);
        let columns = readers.get(way.as_slice()).cloned().unwrap_or_default();
        way.pop();
        Node { quoted, columns, below }
    };
    fields.iter().enumerate().map(node).collect()
}

/// Appends the rescued fields of one object. `around` are the names on the way to it, `open` how many objects are open.
fn object(
    nodes: &[Node],
    arrays: &[ArrayRef],
    row: usize,
    wrong: &[Vec<usize>],
    into: &mut String,
    around: &mut Vec<String>,
    open: &mut usize,
) {
    for (node, array) in nodes.iter().zip(arrays).filter(|(_, array)| array.is_valid(row)) {
        if let Some(structure) = array.as_struct_opt().filter(|_| !node.below.is_empty()) {
            around.push(node.quoted.clone());
            object(&node.below, structure.columns(), row, wrong, into, around, open);
            around.pop();
            if *open > around.len() + 1 {
                into.push('}');
                *open -= 1;
            }
            continue;
        }
        let is_wrong =
            |column: &u16| wrong.get(usize::from(*column)).is_some_and(|rows| rows.binary_search(&row).is_ok());
        if !node.columns.is_empty() && !node.columns.iter().any(is_wrong) {
            continue;
        }
        if *open == 0 {
            into.push('{');
            *open = 1;
        }
        while let Some(name) = around.get(*open - 1) {
            member(name, into);
            into.push('{');
            *open += 1;
        }
        member(&node.quoted, into);
        json::value(array, row, into);
    }
}

fn member(quoted: &str, into: &mut String) {
    if !into.ends_with('{') {
        into.push(',');
    }
    into.push_str(quoted);
    into.push(':');
}
