//! `vitalake up` as a process of its own, on addresses that it has again after a restart.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::Agent;

const WAIT_MAX: Duration = Duration::from_secs(60);

/// Where a server runs, whether or not it does now.
#[derive(Clone, Debug)]
pub struct Place {
    pub project: PathBuf,
    pub data: PathBuf,
    pub kafka: String,
    pub http: String,
    pub settings: Vec<(String, String)>,
    /// Where standard error goes.
    pub log: PathBuf,
}

impl Place {
    pub fn new(project: &Path, data: &Path, log: &Path) -> Self {
        // Both are held until both are known, so that they differ.
        let free = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [kafka, http] = free.map(|listener| listener.local_addr().unwrap().to_string());
        let (project, data, log) = (project.to_owned(), data.to_owned(), log.to_owned());
        Self { project, data, kafka, http, settings: Vec::new(), log }
    }

    pub fn set(mut self, variable: &str, value: impl ToString) -> Self {
        self.settings.push((variable.to_owned(), value.to_string()));
        self
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(crate::binary());
        command.arg("up").arg(&self.project).arg("--data").arg(&self.data);
        command.args(["--kafka", &self.kafka, "--http", &self.http]);
        command.env_remove("VITALAKE_SERVER").env("NO_COLOR", "1").current_dir(self.log.parent().unwrap());
        command.envs(self.settings.iter().map(|(variable, value)| (variable, value)));
        command
    }

    pub fn start(&self) -> Server {
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        let process = self.command().stdout(Stdio::null()).stderr(log).spawn().unwrap();
        Server { process, place: self.clone() }
    }

    /// What a start says that must be refused.
    pub fn refusal(&self) -> (Option<i32>, String) {
        let ended = self.command().output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    }

    /// Rows of an answer; an error says what came instead.
    pub fn ask(&self, sql: &str) -> Result<Vec<Vec<Value>>, Refused> {
        let question = json!({"query": sql, "resultFormat": "array"});
        let sent = agent().post(format!("http://{}/druid/v2/sql", self.http)).send_json(question);
        let mut answer = sent.map_err(|_| Refused::Away)?;
        match answer.status().as_u16() {
            // A body that breaks off is a server that ended.
            200 => answer.body_mut().read_json().map_err(|_| Refused::Away),
            503 => Err(Refused::NotReady),
            other => {
                Err(Refused::Wrong(format!("{other}: {}", answer.body_mut().read_to_string().unwrap_or_default())))
            }
        }
    }

    /// The only row of an answer that must come, as numbers.
    pub fn numbers(&self, sql: &str) -> Vec<i64> {
        let rows = self.ask(sql).unwrap_or_else(|refused| panic!("{sql}: {refused:?}\n{}", self.said()));
        rows[0].iter().map(|value| value.as_i64().unwrap_or(0)).collect()
    }

    pub fn status(&self) -> Option<Value> {
        let mut answer = agent().get(format!("http://{}/api/v1/status", self.http)).call().ok()?;
        answer.body_mut().read_json().ok()
    }

    /// The errors in the status, joined.
    pub fn troubles(&self) -> String {
        let status = self.status().unwrap_or_default();
        let errors =
            status["datasets"].as_array().into_iter().flatten().filter_map(|dataset| dataset["error"].as_str());
        errors.collect::<Vec<_>>().join("\n")
    }

    pub fn is_ready(&self) -> bool {
        agent().get(format!("http://{}/health/ready", self.http)).call().is_ok_and(|answer| answer.status() == 200)
    }

    pub fn flush(&self) -> bool {
        let sent = agent().post(format!("http://{}/api/v1/flush", self.http)).send_empty();
        sent.is_ok_and(|answer| answer.status() == 200)
    }

    /// What it logged so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + WAIT_MAX;
        while !is_so() {
            assert!(Instant::now() < end, "not {what} within a minute\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nobody answers, or the answer breaks off.
    Away,
    /// It recovers.
    NotReady,
    /// It answers with an error.
    Wrong(String),
}

fn agent() -> Agent {
    let timeout = Some(Duration::from_secs(30));
    Agent::config_builder().http_status_as_error(false).timeout_global(timeout).proxy(None).build().new_agent()
}

/// A server that runs; killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: Child,
    place: Place,
}

impl Server {
    /// Waits until it is ready.
    pub fn ready(mut self) -> Self {
        let place = self.place.clone();
        place.until("ready", || {
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("it ended with {status}\n{}", place.said());
            }
            place.is_ready()
        });
        self
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// SIGTERM; it must end well.
    pub fn stop(mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = self.process.wait().unwrap();
        assert!(status.success(), "it ended with {status}\n{}", self.place.said());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_ended = self.process.kill();
        let _status = self.process.wait();
    }
}
