//! The command line's side of the HTTP interface: finds a server or opens the project here, asks, reads answers.
//!
//! Blocking, one request at a time. Invariant: what the server says of a mistake reaches the user in its own words.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::middleware::MiddlewareNext;
use ureq::{Agent, Body, SendBody, http};
use vitalake_ops::status::{DeliveryReport, ErrorBody, FlushReport, StatusReport};
use vitalake_runtime::config::azure::is_safe;
use vitalake_runtime::config::masked_url;
use vitalake_runtime::http::client;

use crate::cli::{ConnectArgs, FileFormat};
use crate::failure::Failure;
use crate::local::{self, Local, Purpose};

const DEFAULT_SERVER: &str = "http://127.0.0.1:8888";
const CONNECT_SECONDS_MAX: u64 = 5;
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// An answer in rows and columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// The columns' names.
    pub names: Vec<String>,
    /// Their SQL types, in capitals.
    pub types: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

/// A file on its way to the server.
pub struct Outgoing<'a> {
    /// Its bytes.
    pub bytes: &'a mut dyn Read,
    /// How many they are; none of a pipe.
    pub length: Option<u64>,
}

/// Where a command's questions go.
#[derive(Debug)]
pub struct Client {
    agent: Agent,
    url: String,
    _local: Option<Local>,
}

impl Client {
    /// Finds the server that the user means: the one named, else the usual one, else the project opened in this process.
    ///
    /// # Errors
    /// When a named server does not answer, or there is neither a server nor a project.
    pub fn connect(args: &ConnectArgs, purpose: Purpose) -> anyhow::Result<Self> {
        if let Some(running) = Self::running(args)? {
            return Ok(running);
        }
        let (dir, data) = project_of(args)?;
        let local = local::open(&dir, &data, purpose)?;
        let agent = agent_of(Some(bearer(local.secret())));
        Ok(Self { agent, url: local.url().to_owned(), _local: Some(local) })
    }

    /// The server that the user means, where one answers.
    ///
    /// # Errors
    /// When a named server does not answer.
    pub fn running(args: &ConnectArgs) -> anyhow::Result<Option<Self>> {
        let url = args.server.as_deref().unwrap_or(DEFAULT_SERVER).trim_end_matches('/').to_owned();
        let is_plain = !url.contains('@');
        if !is_plain || (!url.starts_with("http://") && !url.starts_with("https://")) {
            let help = "give it as http://HOST:PORT or https://HOST:PORT";
            return Err(Failure::usage(format!("{} is not an address of a server", masked_url(&url)), help).into());
        }
        let agent = agent_of(authorization_for(&url)?);
        match agent.get(format!("{url}/health/live")).call() {
            Ok(_) => Ok(Some(Self { agent, url, _local: None })),
            Err(error) if args.server.is_some() => Err(unreachable(&url, &error)),
            Err(_) => Ok(None),
        }
    }

    /// Asks in SQL.
    ///
    /// # Errors
    /// When the question is wrong, asks for too much, or the server is away.
    pub fn query(&self, sql: &str) -> anyhow::Result<Answer> {
        let question = json!({"query": sql, "resultFormat": "array", "header": true, "sqlTypesHeader": true});
        let sent = self.agent.post(format!("{}/druid/v2/sql", self.url)).send_json(question);
        let mut rows: Vec<Vec<Value>> = self.read(sent)?;
        if rows.len() < 2 {
            anyhow::bail!("the answer of {} has no header", self.url);
        }
        let types = texts(rows.remove(1));
        let names = texts(rows.remove(0));
        Ok(Answer { names, types, rows })
    }

    /// What the server knows of its datasets.
    ///
    /// # Errors
    /// When the server is away.
    pub fn status(&self) -> anyhow::Result<StatusReport> {
        self.read(self.agent.get(format!("{}/api/v1/status", self.url)).call())
    }

    /// Commits what is in memory.
    ///
    /// # Errors
    /// When a commit failed or the server is away.
    pub fn flush(&self) -> anyhow::Result<FlushReport> {
        self.read(self.agent.post(format!("{}/api/v1/flush", self.url)).send_empty())
    }

    /// Delivers a file's bytes to a dataset; what else is `said` of it are parameters of the address.
    ///
    /// # Errors
    /// When the delivery was refused as a whole or the server is away.
    pub fn deliver(
        &self,
        dataset: &str,
        name: &str,
        format: FileFormat,
        said: &[(String, String)],
        file: Outgoing<'_>,
    ) -> anyhow::Result<DeliveryReport> {
        let (format, content_type) = match format {
            FileFormat::Csv => ("csv", "text/csv"),
            FileFormat::Ndjson => ("ndjson", "application/x-ndjson"),
            FileFormat::Parquet => ("parquet", "application/vnd.apache.parquet"),
            FileFormat::Zip => ("zip", "application/zip"),
            FileFormat::Arrow => ("arrow", "application/vnd.apache.arrow.stream"),
        };
        let url = format!("{}/api/v1/deliveries/{}", self.url, percent_encoded(dataset));
        let request = self.agent.post(url).query("name", name).query("format", format).content_type(content_type);
        let request = said.iter().fold(request, |request, (key, value)| request.query(key, value));
        // With its length said, whoever receives it sees by himself whether all of it came.
        let request = match file.length {
            Some(length) => request.header("content-length", length.to_string()),
            None => request,
        };
        // A server that refuses at once says so before the file is sent.
        let sent = request.header("expect", "100-continue").send(SendBody::from_reader(file.bytes));
        if let Err(ureq::Error::Io(error)) = &sent
            && matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
        {
            let message = format!("{} closed the connection before it had the whole file", self.url);
            return Err(Failure::unreachable(message, "see the server's log, and deliver the file again").into());
        }
        self.read(sent)
    }

    /// What lies at an address under `/api/v1`, given by its segments and the parameters of the question.
    ///
    /// # Errors
    /// When there is no such thing or the server is away.
    pub fn get<T: DeserializeOwned>(&self, segments: &[&str], parameters: &[(&str, &str)]) -> anyhow::Result<T> {
        let path: Vec<String> = segments.iter().map(|segment| percent_encoded(segment)).collect();
        let request = self.agent.get(format!("{}/api/v1/{}", self.url, path.join("/")));
        self.read(request.query_pairs(parameters.iter().copied()).call())
    }

    /// Sends something to an address under `/api/v1`, and reads the answer.
    ///
    /// # Errors
    /// When it is refused or the server is away.
    pub fn post<T: DeserializeOwned>(&self, segments: &[&str], body: &impl serde::Serialize) -> anyhow::Result<T> {
        let path: Vec<String> = segments.iter().map(|segment| percent_encoded(segment)).collect();
        self.read(self.agent.post(format!("{}/api/v1/{}", self.url, path.join("/"))).send_json(body))
    }

    fn read<T: DeserializeOwned>(&self, sent: Result<http::Response<Body>, ureq::Error>) -> anyhow::Result<T> {
        let response = sent.map_err(|error| unreachable(&self.url, &error))?;
        let status = response.status();
        let mut body = response.into_body().into_with_config().limit(ANSWER_BYTES_MAX).reader();
        if status.is_success() {
            return serde_json::from_reader(io::BufReader::new(body)).map_err(|error| self.unreadable(&error));
        }
        let mut text = String::new();
        // A body that breaks off still says more than none.
        let _read = body.read_to_string(&mut text);
        Err(refused(&self.url, status, &text).into())
    }

    fn unreadable(&self, error: &serde_json::Error) -> anyhow::Error {
        let help = "the answer broke off or is not vitalake's; see the server's log";
        Failure::unreachable(format!("the answer of {} could not be read ({error})", self.url), help).into()
    }
}

/// The project that a command works on where no server answers, and its data folder.
///
/// # Errors
/// When there is no project.
pub fn project_of(args: &ConnectArgs) -> anyhow::Result<(PathBuf, PathBuf)> {
    let dir = args.project.as_deref().unwrap_or(Path::new("."));
    if !dir.join("vitalake.yaml").is_file() {
        let message = format!("no server answers at {DEFAULT_SERVER}, and {} is not a project", dir.display());
        let help = "start one with `vitalake up DIR`, name one with --server URL, or name a project with --project DIR";
        return Err(Failure::unreachable(message, help).into());
    }
    Ok((dir.to_path_buf(), args.data.clone().unwrap_or_else(|| dir.join("data"))))
}

/// What says who asks: the token of VITALAKE_TOKEN, else VITALAKE_USER with VITALAKE_PASSWORD; for a server to which
/// nobody else listens.
fn authorization_for(url: &str) -> anyhow::Result<Option<String>> {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let pair = || {
        let pair = format!("{}:{}", set("VITALAKE_USER")?, set("VITALAKE_PASSWORD")?);
        Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
    };
    let authorization = set("VITALAKE_TOKEN").map(|token| bearer(&token)).or_else(pair);
    if authorization.is_some() && !is_safe(url) {
        let help = "use https://, reach the server through a tunnel to this machine, or unset VITALAKE_TOKEN and VITALAKE_PASSWORD";
        return Err(Failure::usage(format!("neither token nor password is sent to {url} in the clear"), help).into());
    }
    Ok(authorization)
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn agent_of(authorization: Option<String>) -> Agent {
    client()
        .middleware(move |mut request: http::Request<SendBody<'_>>, next: MiddlewareNext<'_>| {
            if let Some(value) = authorization.as_deref().and_then(|text| http::HeaderValue::from_str(text).ok()) {
                request.headers_mut().insert(http::header::AUTHORIZATION, value);
            }
            next.handle(request)
        })
        .timeout_connect(Some(Duration::from_secs(CONNECT_SECONDS_MAX)))
        .proxy(None)
        .build()
        .new_agent()
}

fn unreachable(url: &str, error: &ureq::Error) -> anyhow::Error {
    let reason = match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    let help = "start one with `vitalake up`, or name another with --server URL or VITALAKE_SERVER";
    Failure::unreachable(format!("no server answers at {url}: {reason}"), help).into()
}

/// The server's own words: the platform's `{error, message}` or Druid's `{error, errorMessage}`.
fn refused(url: &str, status: http::StatusCode, body: &str) -> Failure {
    let said = serde_json::from_str::<ErrorBody>(body).map(|body| body.message).ok().or_else(|| {
        let body: Value = serde_json::from_str(body).ok()?;
        body.get("errorMessage").and_then(Value::as_str).map(ToOwned::to_owned)
    });
    let said = said.unwrap_or_else(|| format!("{url} answered {status}"));
    match status.as_u16() {
        401 => Failure::input(said, "give a token as VITALAKE_TOKEN, or VITALAKE_USER and VITALAKE_PASSWORD"),
        502..=504 => {
            Failure::unreachable(said, "`vitalake status` says what is waited for; try again when it is there")
        }
        _ => Failure::input(said, ""),
    }
}

fn texts(row: Vec<Value>) -> Vec<String> {
    row.into_iter().map(|value| value.as_str().map(ToOwned::to_owned).unwrap_or_else(|| value.to_string())).collect()
}

/// A path segment in which everything but letters, digits, `-`, `_` and `.` is written as `%XX`.
fn percent_encoded(segment: &str) -> String {
    segment.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
        encoded
    })
}
