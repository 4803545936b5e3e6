//! The way to a Druid: its overlord takes tasks, its coordinator says what is loaded, its broker answers in SQL.
//!
//! Each call is one request under a time limit, in a thread that may wait. Redirects are not followed. Invariant: an error
//! names what was asked and what kind of answer came, never Druid's own words nor the password.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use thiserror::Error;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use vitalake_runtime::config::notify::Hidden;
use vitalake_runtime::error::{Class, Classified, Retry};

use super::interval::Interval;

/// How long one request may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Where the parts of a cluster are: a router that passes everything on, or each by itself.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Takes tasks.
    pub overlord: String,
    /// Knows segments.
    pub coordinator: String,
    /// Answers questions.
    pub broker: String,
    /// User and password, where the cluster asks for them.
    pub login: Option<(String, Hidden)>,
}

/// Why Druid could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DruidError {
    /// Nobody answered.
    #[error("Druid's {part} does not answer: {reason}")]
    Away {
        /// Which part.
        part: &'static str,
        /// What kind of failure.
        reason: String,
    },
    /// The user or password is wrong, or may not do that.
    #[error("Druid's {part} refuses the user of engines.druid.user ({status}): see to the password and its rights")]
    Refused {
        /// Which part.
        part: &'static str,
        /// Its status.
        status: u16,
    },
    /// It is too old, or an extension is not loaded.
    #[error(
        "this Druid does not know `{what}`, it knows {known}: load the extension that has it (druid-parquet-extensions for parquet), or take a newer Druid"
    )]
    Lacks {
        /// What a specification names.
        what: String,
        /// What it knows in its place.
        known: String,
    },
    /// It does not take what was sent.
    #[error("Druid's {part} does not take {attempt} ({status}); its own log says why")]
    Rejected {
        /// Which part.
        part: &'static str,
        /// What was asked.
        attempt: &'static str,
        /// Its status.
        status: u16,
    },
    /// It answered what nobody can read.
    #[error("the answer of Druid's {part} to {attempt} is not Druid's: see that the address leads there")]
    Unreadable {
        /// Which part.
        part: &'static str,
        /// What was asked.
        attempt: &'static str,
    },
}

impl Classified for DruidError {
    fn class(&self) -> Class {
        match self {
            Self::Away { .. } => Class::External,
            Self::Refused { .. } | Self::Lacks { .. } | Self::Rejected { .. } | Self::Unreadable { .. } => Class::User,
        }
    }

    fn retry(&self) -> Retry {
        match self {
            Self::Away { .. } => Retry::Later,
            Self::Refused { .. } | Self::Lacks { .. } | Self::Rejected { .. } | Self::Unreadable { .. } => Retry::Never,
        }
    }
}

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

/// A cluster that is asked. Clones are the same.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

struct Inner {
    addresses: Addresses,
    authorization: Option<Hidden>,
    agent: Agent,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("addresses", &self.0.addresses).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy)]
enum Part {
    Overlord,
    Coordinator,
    Broker,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Overlord => "overlord",
            Self::Coordinator => "coordinator",
            Self::Broker => "broker",
        }
    }
}

/// A request: whom it asks, what for, and where that lies.
struct Ask {
    part: Part,
    attempt: &'static str,
    path: String,
    body: Option<Value>,
}

impl Ask {
    fn get(part: Part, attempt: &'static str, path: impl Into<String>) -> Self {
        Self { part, attempt, path: path.into(), body: None }
    }

    fn post(part: Part, attempt: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self { part, attempt, path: path.into(), body: Some(body) }
    }
}

impl Cluster {
    /// A cluster of which nothing was asked yet.
    #[must_use]
    pub fn new(addresses: Addresses) -> Self {
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(crypto);
        let agent = Agent::config_builder()
            .tls_config(tls.build())
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .timeout_global(Some(ANSWER_MAX))
            .timeout_connect(Some(CONNECT_MAX))
            .user_agent(concat!("vitalake/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent();
        let basic = |(user, password): &(String, Hidden)| {
            let text = format!("{user}:{}", password.expose());
            Hidden::from(format!("Basic {}", base64(text.as_bytes())).as_str())
        };
        let authorization = addresses.login.as_ref().map(basic);
        Self(Arc::new(Inner { addresses, authorization, agent }))
    }

    /// Its version.
    ///
    /// # Errors
    /// As every call: when it does not answer, refuses, or answers what nobody can read.
    pub async fn version(&self) -> Result<String, DruidError> {
        let (part, attempt) = (Part::Overlord, "what version it is");
        let answer = self.done(Ask::get(part, attempt, "/status")).await?;
        let version = answer.get("version").and_then(Value::as_str);
        version.map(str::to_owned).ok_or(DruidError::Unreadable { part: part.name(), attempt })
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
            Some("FAILED") => Ok(TaskState::Failed(super::failure(text("errorMsg").unwrap_or_default()))),
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

    async fn done(&self, ask: Ask) -> Result<Value, DruidError> {
        let (part, attempt) = (ask.part, ask.attempt);
        match self.send(ask).await? {
            (200..=299, answer) => Ok(answer),
            (status, _) if status >= 500 => Err(away(part, format!("it answers {status}"))),
            (status, _) => Err(DruidError::Rejected { part: part.name(), attempt, status }),
        }
    }

    /// Sends a request; gives status and answer, which is null where it is no JSON.
    async fn send(&self, ask: Ask) -> Result<(u16, Value), DruidError> {
        let (cluster, part) = (Arc::clone(&self.0), ask.part);
        let sent = tokio::task::spawn_blocking(move || cluster.send(&ask)).await;
        let (status, answer) = sent.unwrap_or_else(|_| Err(away(part, "the attempt broke off".to_owned())))?;
        match status {
            401 | 403 => Err(DruidError::Refused { part: part.name(), status }),
            300..=399 => Err(away(part, format!("it answers {status}, a redirect, which is not followed"))),
            502..=504 => Err(away(part, format!("it answers {status}"))),
            status => Ok((status, answer)),
        }
    }
}

impl Inner {
    fn send(&self, ask: &Ask) -> Result<(u16, Value), DruidError> {
        let base = match ask.part {
            Part::Overlord => &self.addresses.overlord,
            Part::Coordinator => &self.addresses.coordinator,
            Part::Broker => &self.addresses.broker,
        };
        let url = format!("{base}{}", ask.path);
        let login = self.authorization.as_ref().map(Hidden::expose);
        let sent = match &ask.body {
            Some(body) => {
                let request = self.agent.post(&url);
                let request = login.iter().fold(request, |request, login| request.header("authorization", *login));
                request.send_json(body)
            }
            None => {
                let request = self.agent.get(&url);
                login.iter().fold(request, |request, login| request.header("authorization", *login)).call()
            }
        };
        let response = sent.map_err(|error| away(ask.part, reason(&error)))?;
        let status = response.status().as_u16();
        let text = response.into_body().into_with_config().limit(ANSWER_BYTES_MAX).read_to_string();
        let text = text.map_err(|error| away(ask.part, reason(&error)))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
    }
}

fn away(part: Part, reason: String) -> DruidError {
    DruidError::Away { part: part.name(), reason }
}

/// What a cluster says that it knows in place of what a specification names: words of its own classes.
fn lacks(answer: &Value) -> Option<DruidError> {
    let text = answer.to_string();
    let (_, after) = text.split_once("type id '")?;
    let (what, _) = after.split_once('\'')?;
    let (_, after) = text.split_once("known type ids = [")?;
    let (known, _) = after.split_once(']')?;
    let is_plain =
        |text: &str| text.len() < 400 && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-, .".contains(c));
    (is_plain(what) && is_plain(known)).then(|| DruidError::Lacks { what: what.to_owned(), known: known.to_owned() })
}

/// The kind of a failure, without the address that an error's own words may have.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("no answer within {} s", ANSWER_MAX.as_secs()),
        ureq::Error::HostNotFound => "its host is not known".to_owned(),
        ureq::Error::ConnectionFailed => "no connection came about".to_owned(),
        ureq::Error::Io(error) => error.kind().to_string(),
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) => "its certificate is not trusted".to_owned(),
        ureq::Error::BadUri(_) | ureq::Error::Http(_) => "its address is none".to_owned(),
        _ => "it does not speak HTTP as it should".to_owned(),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place) & 63) as usize;
            let digit = DIGITS.get(index).copied().unwrap_or(b'=');
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_written_as_http_wants_it() {
        let pairs = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
        ];
        for (plain, encoded) in pairs {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn what_an_old_cluster_lacks_is_named_and_nothing_else_of_its_words() {
        let said = "Please make sure to load all the necessary extensions and jars with type 'parquet' on 'druid/overlord' \
                    service. Could not resolve type id 'parquet' as a subtype of `org.apache.druid.data.input.InputFormat` known \
                    type ids = [csv, json, tsv] (for POJO property 'inputFormat')";
        let found = lacks(&json!({"error": said})).map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with("this Druid does not know `parquet`, it knows csv, json, tsv"), "{found}");
        assert_eq!(lacks(&json!({"error": "Cannot construct instance of `X`, problem: patient-7"})), None);
    }
}
