//! The compiled contract: what every other part takes. Nothing past this type reads YAML.
//!
//! Built by `compile` from an ODCS document; immutable afterwards. Invariant: every index into `columns` held by a
//! key or a rule is in range.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::access::{Classification, Mask, Reader};
use crate::consent::Consent;
use crate::dashboard::Grain;
use crate::fhir::View;
use crate::file_options::FileOptions;
use crate::rule::{RowRule, SetRule, Severity};
use crate::time_format::TimeFormat;

/// A dataset's name: `[a-z_][a-z0-9_]*`, at most 100 bytes, unique in a project whatever its layer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatasetName(Arc<str>);

impl DatasetName {
    /// Checks the form of a name.
    ///
    /// # Errors
    /// Gives the reason, in words, when the name cannot be a dataset's.
    pub fn new(name: &str) -> Result<Self, String> {
        let first = name.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c == '_');
        if !first || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            return Err(format!("a dataset's name is made of a-z, 0-9 and _ and begins with a letter, not {name:?}"));
        }
        if name.len() > 100 {
            return Err("a dataset's name has at most 100 characters".to_owned());
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &self.0)
    }
}

/// Where a dataset with a contract lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// What arrived.
    Raw,
    /// What was checked.
    Curated,
    /// What readers see.
    Serving,
    /// What the platform says of itself; no contract of a project is in it.
    Ops,
}

impl Layer {
    /// Its name in SQL, in paths and in the project's folders.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Curated => "curated",
            Self::Serving => "serving",
            Self::Ops => "ops",
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A column's type, with what a decoder needs to read it from text.
#[derive(Clone, Debug)]
pub enum ColumnType {
    /// UTF-8 text (Arrow `Utf8View`, Delta `string`).
    String,
    /// 64-bit signed (ODCS `integer` without a format, or `i64`).
    Long,
    /// 32-bit signed (`format: i32` and narrower).
    Int,
    /// 64-bit floating point (ODCS `number`).
    Double,
    /// 32-bit floating point (`format: f32`).
    Float,
    /// True or false.
    Boolean,
    /// A local day (Arrow `Date32`); the format for text input, ISO `yyyy-MM-dd` when absent.
    Date(Option<TimeFormat>),
    /// An instant (Arrow `Timestamp(µs, "UTC")`); the format for text input, RFC 3339 when absent.
    Timestamp(Option<TimeFormat>),
    /// A time of day, kept as its text (Delta has no such type).
    Time(Option<TimeFormat>),
    /// An object or array, kept as JSON text.
    Json,
}

impl ColumnType {
    /// The Arrow type of the column in memory.
    #[must_use]
    pub fn arrow(&self) -> DataType {
        match self {
            Self::String | Self::Time(_) | Self::Json => DataType::Utf8View,
            Self::Long => DataType::Int64,
            Self::Int => DataType::Int32,
            Self::Double => DataType::Float64,
            Self::Float => DataType::Float32,
            Self::Boolean => DataType::Boolean,
            Self::Date(_) => DataType::Date32,
            Self::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        }
    }
}

/// One column of a dataset.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name in SQL and in Delta.
    pub name: Arc<str>,
    /// Its type.
    pub kind: ColumnType,
    /// Whether a null breaks the contract. A `RowRule` for it stands in `rules` too.
    pub required: bool,
    /// Where the value stands in an arriving record: `$.vitals.hr` is `["vitals", "hr"]`.
    pub path: Vec<String>,
    /// How much harm its values do in the wrong hands; none where the contract is silent.
    pub classification: Option<Classification>,
    /// What a reader sees in the place of a value above its clearance; where there is none, it may not use the column.
    pub mask: Option<Mask>,
    /// Why it is less strict than what it is computed from; where there is no reason, it is as strict.
    pub declassified: Option<String>,
    /// What the column means, as written.
    pub description: Option<String>,
    /// What people call it: the contract's `businessName`.
    pub title: Option<String>,
    /// What its numbers are counted in, such as `bpm`.
    pub unit: Option<String>,
    /// Whether it names the person that a row is about.
    pub subject: bool,
}

impl Column {
    /// A column of a name and type of which a contract says nothing else.
    #[must_use]
    pub fn new(name: &str, kind: ColumnType) -> Self {
        Self {
            name: Arc::from(name),
            kind,
            required: false,
            path: vec![name.to_owned()],
            classification: None,
            mask: None,
            declassified: None,
            description: None,
            title: None,
            unit: None,
            subject: false,
        }
    }
}

/// How a raw dataset's rows arrive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A Kafka topic.
    Stream {
        /// The topic's name.
        topic: String,
        /// How many partitions the topic has.
        partitions: u32,
    },
    /// Delivered files only.
    Feed,
}

/// What a delivery does to the rows that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Adds rows.
    Append,
    /// Takes the place of all earlier deliveries, in one commit.
    Replace,
}

/// What a gate does with a candidate that is complete and older than the contract's freshness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStale {
    /// Holds it.
    #[default]
    Hold,
    /// Publishes it, marked as stale.
    Publish,
}

/// What the contract promises about time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sla {
    /// The largest age of the newest row.
    pub freshness: Option<Duration>,
    /// The largest time from an event to its availability.
    pub latency: Option<Duration>,
    /// How long rows are kept.
    pub retention: Option<Duration>,
}

/// Columns whose values must be keys of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The name of the rule that it becomes.
    pub name: String,
    /// The referring columns, indices into the contract's.
    pub columns: Vec<usize>,
    /// The dataset referred to.
    pub dataset: DatasetName,
    /// Its columns, one for each of `columns`.
    pub keys: Vec<String>,
    /// What a key that is missing means.
    pub severity: Severity,
}

/// A dataset's contract, compiled.
#[derive(Clone, Debug)]
pub struct Contract {
    /// The dataset.
    pub dataset: DatasetName,
    /// Its layer.
    pub layer: Layer,
    /// The contract's `id`.
    pub id: String,
    /// The contract's `version`.
    pub version: String,
    /// The name of the team whose dataset it is.
    pub team: Option<String>,
    /// What it is for, as written.
    pub purpose: Option<String>,
    /// Tells what this contract says from what another says: 32 hex digits over its content, the same over restarts and
    /// whatever its comments, layout and order of keys.
    pub fingerprint: Arc<str>,
    /// The dataset's columns in order, without the columns of ours (those that begin with `_`).
    pub columns: Vec<Column>,
    /// The primary key: indices into `columns`, in key order; empty when there is none.
    pub primary_key: Vec<usize>,
    /// Rules that a row must keep.
    pub row_rules: Vec<RowRule>,
    /// Rules on a delivery, a window or the table.
    pub set_rules: Vec<SetRule>,
    /// Columns whose values are keys of other datasets; a project makes rules about sets of them.
    pub references: Vec<Reference>,
    /// The roles that may read it; where none is listed, the layers of a role decide.
    pub readers: Vec<Reader>,
    /// The roles that may hand in its records or files; where none is listed, every role that may deliver.
    pub writers: Vec<String>,
    /// What its rows are bound to; none where they are shown for any purpose.
    pub consent: Option<Consent>,
    /// Time promises.
    pub sla: Sla,
    /// How raw rows arrive; `None` in the other layers.
    pub source: Option<Source>,
    /// The view through which delivered FHIR resources become rows; a project gives it to the contract that names it.
    pub view: Option<Arc<View>>,
    /// What a delivery does.
    pub delivery: Delivery,
    /// Whether each delivery has to come with control totals.
    pub control_totals: bool,
    /// What share of the rows that are there a delivery that takes their place may lose; none where only an empty one is
    /// asked about.
    pub snapshot_loss_max: Option<f64>,
    /// Whether the table keeps each version of a row, with the time from which and to which it held.
    pub history: bool,
    /// How delivered files are written.
    pub files: FileOptions,
    /// The columns by which compaction sorts a raw or curated dataset's files, the first of them first; indices into
    /// `columns`.
    pub sort_by: Vec<usize>,
    /// The column by whose values a serving dataset's gate decides window by window; an index into `columns`.
    pub gate_window: Option<usize>,
    /// Datasets whose freshness a serving dataset's gate asks one by one; none where its own newest row decides.
    pub gate_inputs: Vec<DatasetName>,
    /// What the gate does with a candidate that is complete and past its freshness.
    pub on_stale: OnStale,
    /// Datasets of one group are published together or not at all.
    pub publish_group: Option<String>,
    /// The column that queries know as `__time`: the one that the contract names, or the first required timestamp; an
    /// index into `columns`.
    pub time_column: Option<usize>,
    /// The step of time that its rows stand for, where the contract says it.
    pub time_grain: Option<Grain>,
    /// How long, by log append time, a curated dataset remembers its keys to drop duplicates.
    pub dedup_horizon: Duration,
}

/// The horizon of de-duplication where the contract's `dedupHorizon` is silent.
pub const DEDUP_HORIZON_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);

/// The column of delivered rows that says for which day their delivery stands; null where it had no business date.
pub const BUSINESS_DATE: &str = "_business_date";

/// The columns that every raw row carries beside its contract's, in this order, after the contract's.
#[must_use]
pub fn raw_system_fields() -> Vec<Field> {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    vec![
        Field::new("_topic", DataType::Utf8View, false),
        Field::new("_partition", DataType::Int32, false),
        Field::new("_offset", DataType::Int64, false),
        Field::new("_timestamp", instant.clone(), true),
        Field::new("_key", DataType::BinaryView, true),
        Field::new("_headers", DataType::Utf8View, true),
        Field::new("_ingested_at", instant, false),
        Field::new("_rescued", DataType::Utf8View, true),
    ]
}

/// The schema of every `quarantine.x`: a record with all that came with it, so that it can be put through again.
#[must_use]
pub fn quarantine_schema() -> SchemaRef {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("_raw", DataType::BinaryView, true),
        Field::new("_topic", DataType::Utf8View, true),
        Field::new("_partition", DataType::Int32, true),
        Field::new("_offset", DataType::Int64, true),
        Field::new("_timestamp", instant.clone(), true),
        Field::new("_key", DataType::BinaryView, true),
        Field::new("_headers", DataType::Utf8View, true),
        Field::new("_rule", DataType::Utf8View, false),
        Field::new("_reason", DataType::Utf8View, false),
        Field::new("_quarantined_at", instant, false),
        // Nullable, as columns that an older quarantine gains have to be.
        Field::new("_rules", DataType::Utf8View, true),
        Field::new("_attempts", DataType::Int32, true),
    ]))
}

impl Contract {
    /// The columns that name the persons that a row is about.
    pub fn subjects(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.subject)
    }

    /// The rules that a serving dataset's gate wants kept: those on sets of rows that are no mere warnings.
    pub fn gate_rules(&self) -> impl Iterator<Item = &SetRule> {
        self.set_rules.iter().filter(|rule| rule.severity != Severity::Warning)
    }

    /// Whether a gate decides what readers see of it.
    #[must_use]
    pub fn is_gated(&self) -> bool {
        let has_conditions = self.gate_rules().next().is_some() || self.sla.freshness.is_some();
        let has_terms = !self.gate_inputs.is_empty() || self.publish_group.is_some() || self.gate_window.is_some();
        self.layer == Layer::Serving && (has_conditions || has_terms)
    }

    /// Whether it says which roles it is for; else roles say by themselves which layers they read.
    #[must_use]
    pub fn lists_roles(&self) -> bool {
        !self.readers.is_empty() || !self.writers.is_empty()
    }

    /// A contract that says nothing yet: no columns, no rules, the defaults for all else.
    #[must_use]
    pub fn new(dataset: DatasetName, layer: Layer) -> Self {
        Self {
            dataset,
            layer,
            id: String::new(),
            version: String::new(),
            fingerprint: Arc::from(""),
            columns: Vec::new(),
            primary_key: Vec::new(),
            row_rules: Vec::new(),
            set_rules: Vec::new(),
            references: Vec::new(),
            readers: Vec::new(),
            writers: Vec::new(),
            consent: None,
            sla: Sla::default(),
            source: None,
            view: None,
            delivery: Delivery::Append,
            control_totals: false,
            snapshot_loss_max: None,
            history: false,
            files: FileOptions::default(),
            sort_by: Vec::new(),
            gate_window: None,
            gate_inputs: Vec::new(),
            on_stale: OnStale::Hold,
            team: None,
            purpose: None,
            publish_group: None,
            time_column: None,
            time_grain: None,
            dedup_horizon: DEDUP_HORIZON_DEFAULT,
        }
    }

    /// The contract's own columns as an Arrow schema. Columns are nullable here whatever the contract requires: the
    /// rules decide, and a Delta table whose columns may become optional later must not have said `not null`.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields()))
    }

    /// The schema of the stored table: the contract's columns, then for raw the columns of ours, and [`BUSINESS_DATE`]
    /// where only files are delivered.
    #[must_use]
    pub fn table_schema(&self) -> SchemaRef {
        let mut fields = self.fields();
        if self.layer == Layer::Raw {
            fields.extend(raw_system_fields().into_iter().map(|f| f.with_nullable(true)));
            if self.source == Some(Source::Feed) {
                fields.push(Field::new(BUSINESS_DATE, DataType::Date32, true));
            }
        }
        Arc::new(Schema::new(fields))
    }

    fn fields(&self) -> Vec<Field> {
        self.columns.iter().map(|c| Field::new(c.name.as_ref(), c.kind.arrow(), true)).collect()
    }
}
