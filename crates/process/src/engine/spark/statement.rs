//! The statement for Spark: the model's own text with its tables under plain names and further columns, and around it a
//! SELECT of the columns that are wanted with their types.
//!
//! Pure. The text is copied and never written anew, so that Spark's places are those of the model's file. Invariant: a
//! place in what was copied is the place of the same character in the file.

use std::fmt::Write as _;
use std::ops::Range;

use arrow::datatypes::{DataType, TimeUnit};

use crate::engine::spark::order::NUMBER;
use crate::model::Model;
use crate::plan::LINEAGE;
use crate::problem::{ModelProblem, Place};

pub(crate) use super::layout::Layout;
use super::layout::shift_in_a_type;

/// A statement, and which of its characters stand in the model's file.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    /// The names under which it reads the model's tables, in their order.
    pub(crate) inputs: Vec<String>,
    /// Whether a row gives the same whatever the others are, so that rows may be sent in portions.
    pub(crate) is_divisible: bool,
    /// Whether rows go with a number.
    pub(crate) is_numbered: bool,
    copied: Vec<Copied>,
}

/// A piece that was copied, in bytes.
#[derive(Clone, Debug)]
struct Copied {
    /// In the statement.
    at: Range<usize>,
    /// Where it begins in the model's text.
    from: usize,
}

/// A part of a column that is added to the model's own.
#[derive(Clone, Debug)]
pub(crate) enum Part {
    /// Text of ours.
    Text(String),
    /// A piece of the model's text.
    Source(Range<usize>),
}

/// A column of what the statement gives.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    /// What the model calls it.
    pub(crate) from: String,
    /// Its name.
    pub(crate) to: String,
    /// Its type.
    pub(crate) kind: DataType,
}

/// What a statement gives beside the model's columns, and which columns of all these are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) added: Vec<Vec<Part>>,
    pub(crate) columns: Vec<Column>,
    pub(crate) is_divisible: bool,
    pub(crate) is_numbered: bool,
}

impl Wanted {
    /// These columns of every row, where the row comes from, and its number.
    pub(crate) fn by_row(model: &Model, columns: Vec<Column>) -> Self {
        let alias = model.driving().map(|table| quoted(&table.alias)).unwrap_or_default();
        let added = LINEAGE.iter().chain([&NUMBER]);
        let added = added.map(|name| vec![Part::Text(format!("{alias}.{name} AS {name}", name = quoted(name)))]);
        Self { added: added.collect(), columns, is_divisible: true, is_numbered: true }
    }
}

impl Statement {
    /// The statement of a model.
    ///
    /// # Errors
    /// When the text is not laid out as a model's is.
    pub(crate) fn of(model: &Model, wanted: Wanted) -> Result<Self, ModelProblem> {
        let layout = Layout::of(model)?;
        shift_in_a_type(&model.text)?;
        let name = |table: &crate::model::TableUse| format!("{}_{}", table.schema, table.table);
        let inputs: Vec<String> = model.tables.iter().map(name).collect();
        let mut writer = Writer::new(model);
        writer.write("SELECT ");
        for (index, Column { from, to, kind }) in wanted.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            writer.write(&format!("{comma}CAST({} AS {}) AS {}", quoted(from), spark_type(kind), quoted(to)));
        }
        if wanted.is_numbered {
            writer.write(&format!(", {}", quoted(NUMBER)));
        }
        writer.write(" FROM (\n");
        writer.copy(layout.select..layout.from);
        for part in wanted.added.iter().flat_map(|parts| [Part::Text(", ".to_owned())].into_iter().chain(parts.clone()))
        {
            match part {
                Part::Text(text) => writer.write(&text),
                Part::Source(range) => writer.copy(range),
            }
        }
        writer.write(" ");
        let mut at = layout.from;
        for (table, (name, alias)) in layout.tables.iter().zip(inputs.iter().zip(&model.tables)) {
            writer.copy(at..table.at.start);
            writer.write(&quoted(name));
            if !table.has_alias {
                writer.write(&format!(" AS {}", quoted(&alias.alias)));
            }
            at = table.at.end;
        }
        writer.copy(at..layout.end);
        writer.write("\n) AS `model`");
        let Writer { sql, copied, .. } = writer;
        let Wanted { is_divisible, is_numbered, .. } = wanted;
        Ok(Self { sql, inputs, is_divisible, is_numbered, copied })
    }

    /// Where a byte of the statement stands in the model's file.
    pub(crate) fn place(&self, model: &Model, at: usize) -> Option<Place> {
        let copied = self.copied.iter().find(|copied| copied.at.contains(&at))?;
        let before = model.text.get(..copied.from + (at - copied.at.start))?;
        let line = before.rsplit('\n').next().unwrap_or_default();
        Some(Place::new(1 + before.matches('\n').count(), 1 + line.chars().count()))
    }
}

struct Writer<'a> {
    text: &'a str,
    sql: String,
    copied: Vec<Copied>,
}

impl<'a> Writer<'a> {
    fn new(model: &'a Model) -> Self {
        Self { text: &model.text, sql: String::new(), copied: Vec::new() }
    }

    fn write(&mut self, text: &str) {
        self.sql.push_str(text);
    }

    fn copy(&mut self, range: Range<usize>) {
        let (from, start) = (range.start, self.sql.len());
        self.sql.push_str(self.text.get(range).unwrap_or_default());
        self.copied.push(Copied { at: start..self.sql.len(), from });
    }
}

/// A name in backquotes.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A type as Spark's SQL writes it.
fn spark_type(kind: &DataType) -> String {
    match kind {
        DataType::List(item) | DataType::LargeList(item) => format!("ARRAY<{}>", spark_type(item.data_type())),
        DataType::Struct(fields) => {
            let mut text = "STRUCT<".to_owned();
            for (index, field) in fields.iter().enumerate() {
                let comma = if index == 0 { "" } else { ", " };
                let _ = write!(text, "{comma}{}: {}", quoted(field.name()), spark_type(field.data_type()));
            }
            text + ">"
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => "TIMESTAMP_NTZ".to_owned(),
        other => crate::plan::spark_name(other),
    }
}
