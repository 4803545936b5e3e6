//! A drafted contract as text, for samples whose types are known: its columns with what a person should look at.
//!
//! Invariant: what is written is a valid contract of a raw dataset.

use uuid::Uuid;

use crate::command::init::draft::{in_comment, quoted};
use crate::command::init::name;

/// Columns beyond which the rest is left out.
const COLUMNS_MAX: usize = 400;

/// Columns that are named as left out, beyond which nothing more is looked at.
const LEFT_OUT_MAX: usize = 100;

/// A contract on its way.
#[derive(Debug)]
pub(super) struct Page {
    dataset: String,
    /// Lines of comments at the top.
    about: Vec<String>,
    columns: Vec<Column>,
    left_out: Vec<String>,
    /// Custom properties, each with a remark.
    custom: Vec<(&'static str, String, &'static str)>,
}

/// A column.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    /// Its name in the table.
    pub(super) name: String,
    /// The names on the way to it.
    pub(super) path: Vec<String>,
    pub(super) logical: &'static str,
    pub(super) format: Option<&'static str>,
    pub(super) zone: Option<&'static str>,
    pub(super) required: bool,
    pub(super) description: Option<String>,
    pub(super) remark: &'static str,
}

impl Page {
    pub(super) fn new(dataset: &str, about: Vec<String>) -> Self {
        let (columns, left_out, custom) = Default::default();
        Self { dataset: dataset.to_owned(), about, columns, left_out, custom }
    }

    pub(super) fn custom(&mut self, name: &'static str, value: impl Into<String>, remark: &'static str) {
        self.custom.push((name, value.into(), remark));
    }

    /// Adds a column under a free name, unless no contract can say where it stands.
    pub(super) fn add(&mut self, column: Column) {
        let shown = column.path.join(".");
        if !column.path.iter().all(|step| name::is_path(step) && !step.contains('.')) {
            return self.left_out.push(format!("{shown:?}, a name that `path` cannot say"));
        }
        if self.columns.len() >= COLUMNS_MAX {
            return self.left_out.push(format!("{shown:?}, beyond {COLUMNS_MAX} columns"));
        }
        let taken: Vec<String> = self.columns.iter().map(|column| column.name.clone()).collect();
        let name = name::column(&column.path, &taken);
        self.columns.push(Column { name, ..column });
    }

    pub(super) fn left_out(&mut self, why: impl Into<String>) {
        self.left_out.push(why.into());
    }

    /// Whether so much was left out that the rest is not looked at.
    pub(super) fn is_full(&self) -> bool {
        self.columns.len() + self.left_out.len() >= COLUMNS_MAX + LEFT_OUT_MAX
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Columns are named by what gives them, and not by where a value stands in a record.
    pub(super) fn named_alone(&mut self) {
        self.columns.iter_mut().for_each(|column| column.path = vec![column.name.clone()]);
    }

    pub(super) fn text(&self) -> String {
        let dataset = &self.dataset;
        let mut text: String = self.about.iter().map(|line| format!("# {}\n", in_comment(line))).collect();
        text += &format!(
            "apiVersion: v3.1.0\nkind: DataContract\nid: {}\nname: {dataset}\nversion: 0.1.0\nstatus: draft\n\
             description:\n  purpose: What these rows are, and who writes them. # to be written\nschema:\n  - name: {dataset}\n\
             \x20   physicalType: table\n    properties:\n",
            Uuid::now_v7()
        );
        self.columns.iter().for_each(|column| column.write(&mut text));
        if !self.left_out.is_empty() {
            text += "# Left out:\n";
            self.left_out.iter().for_each(|why| text += &format!("#   {}\n", in_comment(why)));
            if self.is_full() {
                text += "#   and what comes after it\n";
            }
        }
        if !self.custom.is_empty() {
            text += "customProperties:\n";
        }
        for (name, value, remark) in &self.custom {
            text += &format!("  - property: {name}\n    value: {}{}\n", quoted(value), remarked(remark));
        }
        text
    }
}

fn remarked(remark: &str) -> String {
    if remark.is_empty() { String::new() } else { format!(" # {remark}") }
}

impl Column {
    fn write(&self, text: &mut String) {
        *text +=
            &format!("      - name: {}\n        logicalType: {}{}\n", self.name, self.logical, remarked(self.remark));
        if let Some(format) = self.format {
            *text += &format!("        logicalTypeOptions:\n          format: {}\n", quoted(format));
            if let Some(zone) = self.zone {
                *text += &format!("          defaultTimezone: {zone} # assumed: write the one its writer uses\n");
            }
        }
        if self.required {
            *text += "        required: true\n";
        }
        if let Some(description) = &self.description {
            *text += &format!("        description: {}\n", serde_json::Value::from(in_comment(description)));
        }
        let path = self.path.join(".");
        if path != self.name {
            *text += &format!(
                "        customProperties:\n          - property: path\n            value: {}\n",
                quoted(&format!("$.{path}"))
            );
        }
    }
}
