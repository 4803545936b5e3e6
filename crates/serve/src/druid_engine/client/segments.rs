//! Coordinator and broker: which segments there are, whether they are loaded, and what is asked in SQL.
//!
//! Invariant: a table that is not there has no rows, which is no error.

use serde_json::{Value, json};

use super::error::away;
use super::{Ask, Cluster, DruidError, Part};
use crate::druid_engine::Interval;

/// A segment that Druid has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its id.
    pub id: String,
    /// The stretch of time that it is of.
    pub interval: Interval,
    /// Rows in it.
    pub rows: u64,
    /// Whether it is what answers are made of.
    pub active: bool,
    /// Whether it is loaded.
    pub available: bool,
    /// Whether newer segments cover all of it.
    pub overshadowed: bool,
}

impl Cluster {
    /// Whether everything of an interval is loaded.
    ///
    /// # Errors
    /// As every call.
    pub async fn is_loaded(&self, datasource: &str, interval: Interval) -> Result<bool, DruidError> {
        let path = format!(
            "/druid/coordinator/v1/datasources/{datasource}/loadstatus?forceMetadataRefresh=true&interval={}",
            interval.to_string().replace('/', "%2F")
        );
        let (status, answer) = self.send(Ask::get(Part::Coordinator, "what is loaded", path)).await?;
        if status >= 500 {
            return Err(away(Part::Coordinator, format!("it answers {status}")));
        }
        // Where no segment is used in the interval there is nothing to load.
        Ok(status == 204
            || status == 404
            || answer.get(datasource).and_then(Value::as_f64).is_none_or(|share| share >= 100.0))
    }

    /// Asks in SQL. A table that is not there has no rows.
    ///
    /// # Errors
    /// As every call.
    pub async fn query(&self, sql: &str) -> Result<Vec<Vec<Value>>, DruidError> {
        let (part, attempt) = (Part::Broker, "a question");
        let body =
            json!({"query": sql, "resultFormat": "array", "context": {"useCache": false, "populateCache": false}});
        match self.send(Ask::post(part, attempt, "/druid/v2/sql", body)).await? {
            (200, answer) => {
                serde_json::from_value(answer).map_err(|_| DruidError::Unreadable { part: part.name(), attempt })
            }
            (400, answer) if answer.to_string().contains("not found") => Ok(Vec::new()),
            (status, _) if status >= 500 => Err(away(part, format!("it answers {status}"))),
            (status, _) => Err(DruidError::Rejected { part: part.name(), attempt, status }),
        }
    }

    /// The segments of a datasource, as the broker knows them.
    ///
    /// # Errors
    /// As every call.
    pub async fn segments(&self, datasource: &str) -> Result<Vec<Segment>, DruidError> {
        let sql = format!(
            "SELECT segment_id, \"start\", \"end\", num_rows, is_active, is_available, is_overshadowed FROM sys.segments WHERE datasource = '{}'",
            datasource.replace('\'', "''")
        );
        let rows = self.query(&sql).await?;
        let segment = |row: Vec<Value>| {
            let text = |at: usize| row.get(at).and_then(Value::as_str);
            let count = |at: usize| row.get(at).and_then(Value::as_u64).unwrap_or(0);
            Some(Segment {
                id: text(0)?.to_owned(),
                interval: Interval::parse(&format!("{}/{}", text(1)?, text(2)?))?,
                rows: count(3),
                active: count(4) == 1,
                available: count(5) == 1,
                overshadowed: count(6) == 1,
            })
        };
        Ok(rows.into_iter().filter_map(segment).collect())
    }

    /// Whether the coordinator knows a segment of a datasource that is in use. A broker that has just begun knows none yet.
    ///
    /// # Errors
    /// As every call.
    pub async fn is_used(&self, datasource: &str) -> Result<bool, DruidError> {
        let path = format!("/druid/coordinator/v1/metadata/datasources/{datasource}/segments");
        let (part, attempt) = (Part::Coordinator, "its segments");
        match self.send(Ask::get(part, attempt, path)).await? {
            (404, _) => Ok(false),
            (200..=299, answer) => Ok(answer.as_array().is_some_and(|segments| !segments.is_empty())),
            (status, _) if status >= 500 => Err(away(part, format!("it answers {status}"))),
            (status, _) => Err(DruidError::Rejected { part: part.name(), attempt, status }),
        }
    }

    /// Takes segments out of use; gives how many were in it.
    ///
    /// # Errors
    /// As every call.
    pub async fn mark_unused(&self, datasource: &str, ids: &[String]) -> Result<u64, DruidError> {
        let path = format!("/druid/coordinator/v1/datasources/{datasource}/markUnused");
        let ask = Ask::post(Part::Coordinator, "to take segments out of use", path, json!({"segmentIds": ids}));
        let answer = self.done(ask).await?;
        Ok(answer.get("numChangedSegments").and_then(Value::as_u64).unwrap_or(0))
    }

    /// The segments of a datasource that are out of use and still lie in deep storage.
    ///
    /// # Errors
    /// As every call.
    pub async fn unused(&self, datasource: &str) -> Result<Vec<(String, Interval)>, DruidError> {
        let path = format!("/druid/coordinator/v1/metadata/datasources/{datasource}/unusedSegments");
        let (status, answer) = self.send(Ask::get(Part::Coordinator, "its unused segments", path)).await?;
        if status == 404 {
            return Ok(Vec::new());
        }
        if status != 200 {
            let (part, attempt) = (Part::Coordinator.name(), "its unused segments");
            return Err(DruidError::Rejected { part, attempt, status });
        }
        let segment = |entry: &Value| {
            let whole = entry.get("dataSegment").unwrap_or(entry);
            let text = |name: &str| whole.get(name).and_then(Value::as_str);
            let interval = Interval::parse(text("interval")?)?;
            let id = text("identifier").map(str::to_owned);
            let id = id.unwrap_or_else(|| format!("{interval} {}", text("version").unwrap_or_default()));
            Some((id, interval))
        };
        Ok(answer.as_array().into_iter().flatten().filter_map(segment).collect())
    }
}
