//! The overlord: takes tasks, and says where they stand.
//!
//! Invariant: the same id is the same task, however often it is sent.

use serde_json::{Value, json};

use super::error::{away, lacks, too_old};
use super::{Ask, Cluster, DruidError, Part};
use crate::druid_engine::Interval;
use crate::druid_engine::judge::failure;

/// What became of a task that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitOutcome {
    /// It is taken.
    Taken,
    /// One of this id was there already: it is the same.
    Known,
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Nobody knows it.
    Unknown,
    /// It has no place to run in, or waits for another on its intervals.
    Waiting,
    /// It runs.
    Running,
    /// It says that it has done everything.
    Succeeded,
    /// It failed, for this reason in our words.
    Failed(&'static str),
}

impl Cluster {
    /// Sees that the cluster is no older than what is sent to it.
    ///
    /// # Errors
    /// `TooOld`, and as every call: when it does not answer, refuses, or answers what nobody can read.
    pub async fn is_new_enough(&self) -> Result<(), DruidError> {
        let (part, attempt) = (Part::Overlord, "what version it is");
        let answer = self.done(Ask::get(part, attempt, "/status")).await?;
        let version = answer.get("version").and_then(Value::as_str);
        let version = version.ok_or(DruidError::Unreadable { part: part.name(), attempt })?;
        too_old(version).map_or(Ok(()), Err)
    }

    /// Sends a task.
    ///
    /// # Errors
    /// `Lacks` where the cluster does not know what the task names.
    pub async fn submit(&self, task: Value) -> Result<SubmitOutcome, DruidError> {
        let ask = Ask::post(Part::Overlord, "a task", "/druid/indexer/v1/task", task);
        let (status, answer) = self.send(ask).await?;
        let text = answer.to_string();
        match status {
            200 => Ok(SubmitOutcome::Taken),
            400 if text.contains("entryAlreadyExists") || text.contains("already exists") => Ok(SubmitOutcome::Known),
            status => {
                Err(lacks(&answer).unwrap_or(DruidError::Rejected { part: "overlord", attempt: "a task", status }))
            }
        }
    }

    /// Where a task stands.
    ///
    /// # Errors
    /// As every call.
    pub async fn task(&self, id: &str) -> Result<TaskState, DruidError> {
        let (part, attempt) = (Part::Overlord, "the state of a task");
        let (status, answer) =
            self.send(Ask::get(part, attempt, format!("/druid/indexer/v1/task/{id}/status"))).await?;
        if status == 404 {
            return Ok(TaskState::Unknown);
        }
        let text = |name: &str| answer.pointer(&format!("/status/{name}")).and_then(Value::as_str);
        match text("statusCode") {
            Some("SUCCESS") => Ok(TaskState::Succeeded),
            Some("FAILED") => Ok(TaskState::Failed(failure(text("errorMsg").unwrap_or_default()))),
            Some("RUNNING") if matches!(text("runnerStatusCode"), Some("WAITING" | "PENDING")) => {
                Ok(TaskState::Waiting)
            }
            Some(_) => Ok(TaskState::Running),
            None if status >= 500 => Err(away(part, format!("it answers {status}"))),
            None => Err(DruidError::Unreadable { part: part.name(), attempt }),
        }
    }

    /// A task's report; null where there is none yet.
    ///
    /// # Errors
    /// As every call.
    pub async fn report(&self, id: &str) -> Result<Value, DruidError> {
        let ask = Ask::get(Part::Overlord, "a task's report", format!("/druid/indexer/v1/task/{id}/reports"));
        match self.send(ask).await? {
            (404, _) => Ok(Value::Null),
            (_, answer) => Ok(answer),
        }
    }

    /// Asks what Druid would make of the first rows: how many it read and how many of these it could take.
    ///
    /// # Errors
    /// `Lacks` where the cluster does not know what the specification names.
    pub async fn sample(&self, specification: Value) -> Result<(u64, u64), DruidError> {
        let ask = Ask::post(Part::Overlord, "a sample", "/druid/indexer/v1/sampler", specification);
        let (status, answer) = self.send(ask).await?;
        let count = |name: &str| answer.get(name).and_then(Value::as_u64);
        match (status, count("numRowsRead"), count("numRowsIndexed")) {
            (200, Some(read), Some(indexed)) => Ok((read, indexed)),
            (status, ..) => {
                Err(lacks(&answer).unwrap_or(DruidError::Rejected { part: "overlord", attempt: "a sample", status }))
            }
        }
    }

    /// Whether Druid has run a task with one of these beginnings of an id for a datasource.
    ///
    /// # Errors
    /// As every call.
    pub async fn has_run(&self, datasource: &str, beginning: &str) -> Result<bool, DruidError> {
        let path = format!("/druid/indexer/v1/tasks?datasource={datasource}&max=100");
        let answer = self.done(Ask::get(Part::Overlord, "its tasks", path)).await?;
        let ids = answer.as_array().into_iter().flatten().filter_map(|task| task.get("id").and_then(Value::as_str));
        Ok(ids.into_iter().any(|id| id.starts_with(beginning)))
    }

    /// Sends the task that removes what is out of use in an interval from deep storage.
    ///
    /// # Errors
    /// As every call.
    pub async fn kill(&self, datasource: &str, id: &str, interval: Interval) -> Result<SubmitOutcome, DruidError> {
        let task = json!({"type": "kill", "id": id, "dataSource": datasource, "interval": interval.to_string()});
        self.submit(task).await
    }
}
