//! What a dashboard shows, in the words of contracts: rows of charts that refer to measures and dimensions by name.
//!
//! `project::dashboards` reads these from files; Superset and the console show them. Invariant: a dashboard of a project
//! without errors names only datasets, measures and columns that are there, and its rows are at most [`COLUMNS`] wide.

mod measure;
pub mod sql;
mod time;
pub mod write;

use serde_json::{Map, Value as Json};

use crate::contract::{Column, ColumnType, Contract, DatasetName};
pub use measure::{Dimension, Measure, MeasureSet, format_of, title_of};
pub use time::{Grain, Period, PeriodUnit};

/// How many columns a row has, for widths.
pub const COLUMNS: u8 = 12;
/// The word that stands for a dataset's time column wherever a dimension may stand.
pub const TIME: &str = "time";
/// How many rows a chart asks for where it does not say.
const LIMIT_DEFAULT: u32 = 1_000;
/// The same of series, whose every point is a row.
const LIMIT_SERIES: u32 = 10_000;

/// One page of charts.
#[derive(Clone, Debug, PartialEq)]
pub struct Dashboard {
    /// Its name: the file's, without the ending.
    pub name: String,
    /// What stands above it.
    pub title: String,
    /// What it is for.
    pub description: Option<String>,
    /// The stretch of time that is shown until a reader chooses another.
    pub period: Period,
    /// How often it is asked again by itself, in seconds; never where it does not say.
    pub refresh_s: Option<u32>,
    /// What a reader can choose, in order: names of dimensions, or [`TIME`].
    pub filters: Vec<Filter>,
    /// The layout: names of pieces, row by row.
    pub rows: Vec<Vec<String>>,
    /// The pieces, in the order of the file; each stands in one row.
    pub pieces: Vec<Piece>,
}

/// Something to choose by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The dimension's name, or [`TIME`].
    pub dimension: String,
    /// What it is called; the dimension's title where it is silent.
    pub title: Option<String>,
    /// Whether several values can be chosen.
    pub multiple: bool,
    /// The values chosen until a reader chooses others.
    pub default: Vec<String>,
    /// The dataset whose values are offered; given when the project is checked.
    pub dataset: Option<DatasetName>,
}

/// One thing in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// Its name in `rows`.
    pub name: String,
    /// How many of the [`COLUMNS`] it takes; an equal share of what the others of its row leave.
    pub width: Option<u8>,
    /// Its height in steps of 8 pixels.
    pub height: Option<u16>,
    /// What it shows.
    pub content: Content,
}

/// What a piece shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Markdown.
    Text {
        /// The text.
        text: String,
        /// A runbook that is linked below it.
        runbook: Option<String>,
    },
    /// A chart.
    Chart(Box<Chart>),
}

/// A question to one dataset, and the form of its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// What stands above it.
    pub title: String,
    /// What it says to who asks.
    pub description: Option<String>,
    /// The serving dataset.
    pub dataset: DatasetName,
    /// Its own stretch of time; the dashboard's where it does not say.
    pub period: Option<Period>,
    /// The step of time; the contract's where it does not say.
    pub grain: Option<Grain>,
    /// A condition on the dataset's rows, in SQL.
    pub only: Option<String>,
    /// What the rows are sorted by.
    pub sort: Option<Sort>,
    /// How many rows at most.
    pub limit: Option<u32>,
    /// The form.
    pub form: Form,
    /// Settings of Superset's own, set as they are.
    pub superset: Map<String, Json>,
}

/// An order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// A measure of the chart.
    pub measure: String,
    /// The largest first.
    pub descending: bool,
}

/// The form of a chart. Wherever a dimension stands, [`TIME`] may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// One number.
    Number {
        /// Of what.
        measure: String,
        /// Its course is drawn below it, and the number is the last of it.
        trend: bool,
    },
    /// Measures along an axis.
    Series {
        /// How they are drawn.
        style: SeriesStyle,
        /// Of what.
        measures: Vec<String>,
        /// The axis.
        x: String,
        /// A series for each value of these.
        by: Vec<String>,
        /// The series add up.
        stacked: bool,
    },
    /// A row for each value.
    Table {
        /// Whose values.
        by: Vec<String>,
        /// What is said of each.
        measures: Vec<String>,
    },
    /// The dataset's rows as they are.
    Rows {
        /// Which columns.
        columns: Vec<String>,
    },
    /// A field for each pair of values, in a colour that is a measure.
    Heatmap {
        /// Across.
        x: String,
        /// Down.
        y: String,
        /// The colour.
        measure: String,
    },
    /// A table with values across, too.
    Pivot {
        /// Down.
        rows: Vec<String>,
        /// Across.
        columns: Vec<String>,
        /// In the fields.
        measures: Vec<String>,
    },
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeriesStyle {
    /// As a line.
    Line,
    /// As bars.
    Bar,
    /// As an area.
    Area,
}

impl Chart {
    /// How many rows it asks for at most.
    #[must_use]
    pub fn limit(&self) -> u32 {
        let by_form = match self.form {
            Form::Series { .. } | Form::Number { .. } | Form::Heatmap { .. } => LIMIT_SERIES,
            _ => LIMIT_DEFAULT,
        };
        self.limit.unwrap_or(by_form)
    }
}

impl Form {
    /// The word of `type:`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Number { .. } => "number",
            Self::Series { style: SeriesStyle::Line, .. } => "line",
            Self::Series { style: SeriesStyle::Bar, .. } => "bar",
            Self::Series { style: SeriesStyle::Area, .. } => "area",
            Self::Table { .. } | Self::Rows { .. } => "table",
            Self::Heatmap { .. } => "heatmap",
            Self::Pivot { .. } => "pivot",
        }
    }

    /// The measures, in order.
    #[must_use]
    pub fn measures(&self) -> Vec<&str> {
        match self {
            Self::Number { measure, .. } | Self::Heatmap { measure, .. } => vec![measure],
            Self::Series { measures, .. } | Self::Table { measures, .. } | Self::Pivot { measures, .. } => {
                measures.iter().map(String::as_str).collect()
            }
            Self::Rows { .. } => Vec::new(),
        }
    }

    /// What it groups by, in order; [`TIME`] among them where it does so by time.
    #[must_use]
    pub fn dimensions(&self) -> Vec<&str> {
        fn all<'a>(lists: &[&'a [String]]) -> Vec<&'a str> {
            lists.iter().flat_map(|list| list.iter()).map(String::as_str).collect()
        }
        match self {
            Self::Number { trend: true, .. } => vec![TIME],
            Self::Number { .. } => Vec::new(),
            Self::Series { x, by, .. } => all(&[std::slice::from_ref(x), by]),
            Self::Table { by, .. } => all(&[by]),
            Self::Rows { columns } => all(&[columns]),
            Self::Heatmap { x, y, .. } => vec![x, y],
            Self::Pivot { rows, columns, .. } => all(&[rows, columns]),
        }
    }
}

/// What a dataset is shown by along time.
#[derive(Clone, Copy, Debug)]
pub struct TimeAxis<'a> {
    /// Its name in Druid's SQL: `__time`, or a date's own.
    pub sql_name: &'a str,
    /// The contract's column.
    pub column: &'a Column,
    /// The step that a row stands for.
    pub grain: Grain,
}

/// The time of a dataset: the column that queries know as `__time`, else the first required date.
#[must_use]
pub fn time_of(contract: &Contract) -> Option<TimeAxis<'_>> {
    if let Some(column) = contract.time_column.and_then(|index| contract.columns.get(index)) {
        return Some(TimeAxis { sql_name: "__time", column, grain: contract.time_grain.unwrap_or(Grain::HOUR) });
    }
    let is_day = |column: &&Column| column.required && matches!(column.kind, ColumnType::Date(_));
    let column = contract.columns.iter().find(is_day)?;
    Some(TimeAxis { sql_name: &column.name, column, grain: contract.time_grain.unwrap_or(Grain::DAY) })
}

impl Dashboard {
    /// The piece with a name.
    #[must_use]
    pub fn piece(&self, name: &str) -> Option<&Piece> {
        self.pieces.iter().find(|piece| piece.name == name)
    }

    /// The charts with their names, in the file's order.
    pub fn charts(&self) -> impl Iterator<Item = (&str, &Chart)> {
        self.pieces.iter().filter_map(|piece| match &piece.content {
            Content::Chart(chart) => Some((piece.name.as_str(), chart.as_ref())),
            Content::Text { .. } => None,
        })
    }

    /// The widths of a row's pieces: what they say, and equal shares of the rest.
    #[must_use]
    pub fn widths(&self, row: &[String]) -> Vec<u8> {
        let said = |name: &String| self.piece(name).and_then(|piece| piece.width);
        let taken: u8 = row.iter().filter_map(said).fold(0, u8::saturating_add);
        let silent = u8::try_from(row.iter().filter(|name| said(name).is_none()).count()).unwrap_or(COLUMNS);
        let rest = COLUMNS.saturating_sub(taken);
        let mut before = 0;
        row.iter()
            .map(|name| {
                said(name).unwrap_or_else(|| {
                    let share = rest / silent.max(1) + u8::from(before < rest % silent.max(1));
                    before += 1;
                    share.max(1)
                })
            })
            .collect()
    }
}
