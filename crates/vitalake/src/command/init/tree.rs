//! The fields of a sample's records as a tree, and what was seen at each of them.
//!
//! A JSON object's fields are columns of their own as long as they are names; an object that is a map (from ids, days) is
//! kept whole. Invariant: the tree has no more nodes than a contract should have columns.

use serde_json::Value as Json;

use super::guess::{Seen, Value};
use super::name::{is_like_a_value, is_path};

/// How deep objects become columns.
const DEPTH_MAX: usize = 6;
/// Fields of one object beyond which it is a map.
const FIELDS_MAX: usize = 100;

/// One field.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Its name; none of the record itself.
    pub(super) name: String,
    /// Its values.
    pub(super) seen: Seen,
    /// How many of them are objects whose fields are below.
    pub(super) objects: u64,
    /// The fields below, in the order in which they came.
    pub(super) fields: Vec<Node>,
    /// Whether it is kept whole.
    whole: bool,
}

/// A field that becomes a column.
#[derive(Debug)]
pub(super) struct Leaf<'a> {
    /// The names on the way to it.
    pub(super) path: Vec<String>,
    /// What was seen of it.
    pub(super) seen: &'a Seen,
}

impl Node {
    /// A field of that name.
    pub(super) fn named(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Takes a record.
    pub(super) fn see_record(&mut self, record: &serde_json::Map<String, Json>) {
        self.objects += 1;
        for (name, value) in record {
            self.field(name).see(value, 1);
        }
    }

    fn field(&mut self, name: &str) -> &mut Self {
        let at = self.fields.iter().position(|field| field.name == name).unwrap_or_else(|| {
            self.fields.push(Self::named(name));
            self.fields.len() - 1
        });
        // The position was found or made just now.
        #[expect(clippy::indexing_slicing, reason = "the index is of the vector's own")]
        &mut self.fields[at]
    }

    fn see(&mut self, value: &Json, depth: usize) {
        match value {
            Json::Null => {}
            Json::Object(object) if self.is_map(object, depth) => {
                self.whole = true;
                self.fields.clear();
                self.seen.see(Value::Object);
            }
            Json::Object(object) => {
                self.objects += 1;
                for (name, value) in object {
                    self.field(name).see(value, depth + 1);
                }
            }
            Json::Array(_) => self.seen.see(Value::Array),
            Json::Bool(_) => self.seen.see(Value::Boolean),
            Json::String(text) => {
                self.seen.see(Value::Text(text));
                self.seen.see_again(text);
            }
            Json::Number(number) => {
                let whole = number.as_i64().is_some() || number.as_f64().is_some_and(is_whole);
                self.seen.see(if whole { Value::Whole } else { Value::Real });
                self.seen.see_again(&number.to_string());
            }
        }
    }

    fn is_map(&self, object: &serde_json::Map<String, Json>, depth: usize) -> bool {
        let fields =
            self.fields.len() + object.keys().filter(|key| self.fields.iter().all(|f| f.name != **key)).count();
        let is_name = |key: &String| is_path(key) && !key.contains('.') && !is_like_a_value(key);
        self.whole || depth >= DEPTH_MAX || fields > FIELDS_MAX || !object.keys().all(is_name)
    }

    /// The columns below, in order, and the names on the way to those that no contract can name.
    pub(super) fn leaves(&self) -> Vec<Leaf<'_>> {
        let mut leaves = Vec::new();
        self.gather(&[], &mut leaves);
        leaves
    }

    fn gather<'a>(&'a self, above: &[String], leaves: &mut Vec<Leaf<'a>>) {
        for field in &self.fields {
            let path: Vec<String> = above.iter().chain([&field.name]).cloned().collect();
            // Where a field is an object in one record and a value in another, the objects are what does not fit.
            if field.fields.is_empty() || field.seen.values > 0 {
                leaves.push(Leaf { path, seen: &field.seen });
            } else {
                field.gather(&path, leaves);
            }
        }
    }
}

/// Whether a number of JSON is read as an integer: `5.0` and `5e3` are.
fn is_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() < 9.0e15
}
