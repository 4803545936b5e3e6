//! How far a feed has read, and which rows at that edge it has read already.
//!
//! A row is read again where its watermark is not before the last (less the lag), and left out where it is one of those
//! that were read at that edge, byte for byte. So rows that come later with an equal or, within the lag, an older value
//! are read, and none twice. Invariant: the value moves on only after the delivery's commit; whoever keeps it sees to that.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sqlx::Row as _;
pub use vitalake_contract::feed::WatermarkLag as Lag;
use vitalake_runtime::hex;

use super::PostgresError;
use super::columns::{SourceColumn, SourceColumns};
use super::session::Session;

/// How many rows at the edge are remembered.
pub(super) const EDGE_ROWS_MAX: usize = 50_000;
/// How many of them go into a commit.
const EDGE_ROWS_IN_COMMIT_MAX: usize = 64;

/// The column that tells new rows from those that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatermarkColumn {
    /// Its name.
    pub column: String,
    /// How much older than the newest a row may be that comes to light later.
    pub lag: Lag,
}

/// How far a feed has read. Kept as JSON: a value of the source is in it, so it belongs beside the rows and in no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermark {
    column: String,
    /// What orders its values; none of a read before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<String>,
    value: String,
    edge: Edge,
    /// Which read of the feed it comes of, from 1.
    read: u64,
}

/// The rows at the edge, by the first half of the SHA-256 of their bytes, in hex.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Edge {
    Known(Vec<String>),
    /// They were not kept: they are read again.
    Unknown,
    /// There were too many: what comes later with the same value is not read.
    TooMany,
}

impl std::fmt::Debug for Watermark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watermark").field("column", &self.column).finish_non_exhaustive()
    }
}

impl Watermark {
    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The same where it is to be found again if the state of the feed is lost: without rows at the edge where those are
    /// many, so that they would be read once more.
    #[must_use]
    pub fn for_commit(&self) -> String {
        let edge = match &self.edge {
            Edge::Known(rows) if rows.len() > EDGE_ROWS_IN_COMMIT_MAX => Edge::Unknown,
            edge => edge.clone(),
        };
        Self { edge, ..self.clone() }.to_json()
    }

    /// From JSON; none where it is none of ours.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The one that comes of the later read: where a stop came between a commit and what is kept of it, the commit knows
    /// more, and after a delivery that is held what is kept does.
    #[must_use]
    pub fn later(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if other.read > one.read { other } else { one }),
            (one, other) => one.or(other),
        }
    }

    /// Which of the rows at the edge were read, and how often.
    pub(super) fn read_before(&self) -> HashMap<String, usize> {
        let mut known = HashMap::new();
        if let Edge::Known(rows) = &self.edge {
            rows.iter().for_each(|row| *known.entry(row.clone()).or_default() += 1);
        }
        known
    }
}

/// What stands for a row at the edge.
pub(super) fn mark(row: &[u8]) -> String {
    hex::encode(&Sha256::digest(row)[..16])
}

/// The edge of a read, as its rows pass.
#[derive(Debug)]
pub(super) struct NewEdge {
    pub(super) column: String,
    order: &'static str,
    value: String,
    read: u64,
    rows: Vec<String>,
    is_over: bool,
    /// Whether there may be more than can be remembered: values so fine that equal ones come at one time.
    may_be_over: bool,
}

impl NewEdge {
    /// Remembers a row. Fails where there are too many and that matters.
    pub(super) fn remember(&mut self, row: &[u8]) -> Result<(), PostgresError> {
        if self.rows.len() < EDGE_ROWS_MAX {
            self.rows.push(mark(row));
            return Ok(());
        }
        self.is_over = true;
        match self.may_be_over {
            true => Ok(()),
            false => Err(PostgresError::EdgeTooWide { column: self.column.clone(), most: EDGE_ROWS_MAX }),
        }
    }

    pub(super) fn finish(self) -> Watermark {
        if self.is_over {
            tracing::warn!(
                column = self.column,
                "more rows than can be remembered have the newest watermark: rows that come later with that value are not read"
            );
        }
        let edge = if self.is_over { Edge::TooMany } else { Edge::Known(self.rows) };
        Watermark { column: self.column, order: Some(self.order.to_owned()), value: self.value, edge, read: self.read }
    }
}

/// What of the rows is read, and how it is marked.
#[derive(Debug)]
pub(super) struct Window {
    /// The condition on a row, if any.
    pub(super) condition: Option<String>,
    /// The column that rows are ordered by.
    pub(super) order: String,
    /// Whether a row may have been read before, as an expression.
    pub(super) is_old: String,
    /// Whether it is at the new edge, as an expression.
    pub(super) is_edge: String,
    pub(super) edge: NewEdge,
}

/// A watermark's column in a query.
struct Asked<'a> {
    from: &'a str,
    columns: &'a SourceColumns,
    column: &'a SourceColumn,
    /// `s.cN`.
    name: String,
    lag: Lag,
}

/// Finds what is to be read; none where the query has no rows.
pub(super) async fn window(
    session: &mut Session,
    from: &str,
    columns: &SourceColumns,
    (watermark, before): (&WatermarkColumn, Option<&Watermark>),
) -> Result<Option<Window>, PostgresError> {
    let name = &watermark.column;
    if let Some(before) = before.filter(|before| before.column != *name) {
        return Err(PostgresError::WatermarkChanged { column: name.clone(), was: before.column.clone() });
    }
    let found = columns.0.iter().position(|column| column.name == *name);
    let (at, column) = found
        .and_then(|at| Some((at, columns.0.get(at)?)))
        .ok_or_else(|| PostgresError::NoWatermark { column: name.clone() })?;
    let asked = Asked { from, columns, column, name: format!("s.c{}", at + 1), lag: watermark.lag };
    asked.check()?;
    let order = asked.order();
    if let Some(was) = before.and_then(|before| before.order.clone()).filter(|was| was != order) {
        return Err(PostgresError::WatermarkOrder { column: name.clone(), now: order, was });
    }
    asked.refuse_nulls(session).await?;
    let Some(newest) = asked.newest(session, before).await? else { return Ok(None) };
    let type_name = asked.type_name();
    let newest_text = asked.literal(session, &newest).await?;
    let edge_from = asked.less_lag(&newest_text);
    let (condition, is_old) = match before {
        None => (None, "false".to_owned()),
        Some(before) => {
            let last = asked.literal(session, &before.value).await?;
            let condition = match before.edge {
                Edge::TooMany => format!("{} > {last}", asked.name),
                Edge::Known(_) | Edge::Unknown => format!("{} >= {}", asked.name, asked.less_lag(&last)),
            };
            (Some(condition), format!("{} <= {last}", asked.name))
        }
    };
    let edge = NewEdge {
        column: name.clone(),
        order,
        value: newest,
        read: before.map_or(0, |before| before.read) + 1,
        rows: Vec::new(),
        is_over: false,
        may_be_over: asked.lag == Lag::None && type_name != "date",
    };
    let is_edge = format!("{} >= {edge_from}", asked.name);
    Ok(Some(Window { condition, order: asked.name.clone(), is_old, is_edge, edge }))
}

impl Asked<'_> {
    /// The type's name in a cast.
    fn type_name(&self) -> &'static str {
        match self.column.type_oid {
            20 => "bigint",
            21 => "smallint",
            23 => "integer",
            1082 => "date",
            1114 => "timestamp",
            1184 => "timestamptz",
            1700 => "numeric",
            2950 => "uuid",
            25 | 1043 => "text",
            _ => "",
        }
    }

    /// What orders values: types that one order has may take each other's place.
    fn order(&self) -> &'static str {
        match self.type_name() {
            "bigint" | "smallint" | "integer" | "numeric" => "a number",
            "date" => "a date",
            "timestamp" => "a timestamp without a zone",
            "timestamptz" => "a timestamp with a zone",
            "uuid" => "a uuid",
            _ => "a text",
        }
    }

    fn is_time(&self) -> bool {
        matches!(self.type_name(), "date" | "timestamp" | "timestamptz")
    }

    /// Whether the type orders rows, and the lag is of its kind.
    fn check(&self) -> Result<(), PostgresError> {
        let wrong = match (self.type_name(), self.lag) {
            ("", _) => "which orders no rows: use a time, a whole number, a numeric, a uuid or a text that only grows",
            (_, Lag::Time(_)) if !self.is_time() => "of which a lag is no time: write a number, or none",
            ("bigint" | "smallint" | "integer" | "numeric", _) | (_, Lag::None) => return Ok(()),
            (_, Lag::Time(_)) => return Ok(()),
            (_, Lag::Number(_)) => "of which a lag is no number: write a time such as 15m, or none",
        };
        let (column, kind) = (self.column.name.clone(), self.column.type_name.clone());
        Err(PostgresError::WatermarkType { column, kind, wrong })
    }

    fn source(&self) -> String {
        format!("{} {}", self.from, self.columns.alias())
    }

    /// The newest value as text; refused where it is before the last or cannot be gone on from.
    async fn newest(&self, session: &mut Session, before: Option<&Watermark>) -> Result<Option<String>, PostgresError> {
        let (name, kind) = (&self.name, self.type_name());
        let future =
            if self.is_time() { format!("{name} > CAST(now() + interval '1 day' AS {kind})") } else { "false".into() };
        let special = match kind {
            "numeric" => format!("{name} IN ('NaN', 'Infinity', '-Infinity')"),
            _ if self.is_time() => format!("NOT isfinite({name})"),
            _ => "false".to_owned(),
        };
        let last = before.map(|before| before.value.as_str());
        let back = if last.is_some() { format!("{name} < CAST($1::text AS {kind})") } else { "false".to_owned() };
        let text = format!(
            "SELECT {name}::text, {special}, {future}, {back} FROM {} WHERE {name} IS NOT NULL ORDER BY {name} DESC LIMIT 1",
            self.source()
        );
        let parameters: Vec<&str> = last.into_iter().collect();
        let Some(row) = session.first("asking for the newest watermark", text, &parameters).await? else {
            return Ok(None);
        };
        let is = |at: usize| row.try_get::<bool, _>(at).unwrap_or(false);
        let column = self.column.name.clone();
        match (is(1), is(2), is(3)) {
            (true, ..) => Err(PostgresError::WatermarkBeyond { column, what: "is infinite or no number" }),
            (_, true, _) => Err(PostgresError::WatermarkBeyond { column, what: "lies more than a day in the future" }),
            (.., true) => Err(PostgresError::WatermarkWentBack { column }),
            _ => {
                let read = row.try_get::<String, _>(0);
                let failed = |error| PostgresError::server(&session.place, "asking for the newest watermark", &error);
                read.map(Some).map_err(failed)
            }
        }
    }

    async fn refuse_nulls(&self, session: &mut Session) -> Result<(), PostgresError> {
        let text = format!("SELECT 1 FROM {} WHERE {} IS NULL LIMIT 1", self.source(), self.name);
        match session.first("asking for rows without a watermark", text, &[]).await? {
            None => Ok(()),
            Some(_) => Err(PostgresError::WatermarkNull { column: self.column.name.clone() }),
        }
    }

    /// A value in a statement that takes no parameters; the server itself writes it so that it is one.
    async fn literal(&self, session: &mut Session, value: &str) -> Result<String, PostgresError> {
        const ATTEMPT: &str = "writing a watermark";
        let row = session.first(ATTEMPT, "SELECT quote_literal($1::text)".to_owned(), &[value]).await?;
        let literal = row.map_or(Err(sqlx::Error::RowNotFound), |row| row.try_get::<String, _>(0));
        let literal = literal.map_err(|error| PostgresError::server(&session.place, ATTEMPT, &error))?;
        Ok(format!("CAST({literal} AS {})", self.type_name()))
    }

    fn less_lag(&self, value: &str) -> String {
        match self.lag {
            Lag::None => value.to_owned(),
            Lag::Time(lag) => format!("{value} - interval '{} microseconds'", lag.as_micros()),
            Lag::Number(lag) => format!("{value} - {lag}"),
        }
    }
}
