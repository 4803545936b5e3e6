//! Measures and dimensions of a serving dataset: said once, referred to by every chart.
//!
//! Invariant: a measure of a project without errors has a title and a format.

use crate::contract::{ColumnType, Contract, DatasetName};

/// What can be asked of one dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeasureSet {
    /// The serving dataset: the file's name.
    pub dataset: DatasetName,
    /// Its measures, in the file's order.
    pub measures: Vec<Measure>,
    /// What the file says of dimensions; every column of the contract is one.
    pub dimensions: Vec<Dimension>,
}

/// A number that is computed of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Its name.
    pub name: String,
    /// What it is called; made of the name where the file is silent.
    pub title: String,
    /// What it means.
    pub description: Option<String>,
    /// An aggregate over the dataset's columns, in Druid's SQL.
    pub sql: String,
    /// What it is counted in; that of its columns where the file is silent. Empty: nothing.
    pub unit: String,
    /// How it is written: a d3 format, such as `,.1f`.
    pub format: String,
}

/// What rows are grouped and filtered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dimension {
    /// Its name: a column's, or one of its own where it has SQL.
    pub name: String,
    /// What it is called.
    pub title: Option<String>,
    /// What it means; the contract's words where the file is silent.
    pub description: Option<String>,
    /// How it is computed of columns; a column of the contract where there is none.
    pub sql: Option<String>,
}

impl MeasureSet {
    /// The measure with a name.
    #[must_use]
    pub fn measure(&self, name: &str) -> Option<&Measure> {
        self.measures.iter().find(|measure| measure.name == name)
    }

    /// What the file says of a dimension.
    #[must_use]
    pub fn dimension(&self, name: &str) -> Option<&Dimension> {
        self.dimensions.iter().find(|dimension| dimension.name == name)
    }
}

impl Measure {
    /// The title with the unit: `Heart rate (bpm)`.
    #[must_use]
    pub fn label(&self) -> String {
        if self.unit.is_empty() { self.title.clone() } else { format!("{} ({})", self.title, self.unit) }
    }
}

/// A name as words: `heart_rate_avg` is `Heart rate avg`.
#[must_use]
pub fn title_of(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.trim().chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The unit and the format of a measure, from the contract's columns that its SQL names.
///
/// The unit is that of the columns, where they have one and not several, and nothing is counted. Whole numbers have no
/// decimals: what is counted, and sums and extremes of integers.
#[must_use]
pub fn format_of(sql: &str, contract: &Contract) -> (String, String) {
    let words = words(sql);
    let first = words.first().map(|word| word.to_ascii_uppercase()).unwrap_or_default();
    let named: Vec<_> =
        contract.columns.iter().filter(|column| words.iter().any(|word| *word == &*column.name)).collect();
    let counts = first.starts_with("COUNT") || first.starts_with("APPROX_COUNT");
    let whole = |kind: &ColumnType| matches!(kind, ColumnType::Long | ColumnType::Int);
    let keeps = matches!(first.as_str(), "SUM" | "MIN" | "MAX" | "LATEST" | "EARLIEST") && !sql.contains('/');
    let is_whole = counts && !sql.contains('/') || keeps && named.iter().all(|column| whole(&column.kind));
    let mut units: Vec<&str> = named.iter().filter_map(|column| column.unit.as_deref()).collect();
    units.sort_unstable();
    units.dedup();
    let unit = match units.as_slice() {
        [unit] if !counts => (*unit).to_owned(),
        _ => String::new(),
    };
    (unit, if is_whole { ",d" } else { ",.1f" }.to_owned())
}

/// The words of SQL outside of quoted text.
fn words(sql: &str) -> Vec<&str> {
    sql.split('\'')
        .step_by(2)
        .flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
        .collect()
}
