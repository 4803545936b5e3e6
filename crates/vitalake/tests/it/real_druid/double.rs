//! A Druid that takes tasks and supervisors, and does with them what a test says.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::rehearsal::server::Place;

/// How it is, and what it was sent.
pub struct State {
    pub version: String,
    /// The status that everything is answered with, where it is not well.
    pub status: Option<u16>,
    /// What it says to a task in place of taking it.
    pub refusal: Option<Value>,
    /// What it has by `sys.segments` before anything was sent.
    pub segments: Value,
    /// Tasks as they came.
    pub tasks: Vec<Value>,
    /// What has become of each, by its id; none runs.
    pub outcomes: BTreeMap<String, Value>,
    /// How a task is that has no outcome.
    pub runner: &'static str,
    /// Rows of each datasource, and its answer to the comparison.
    pub rows: BTreeMap<String, (u64, Value)>,
    /// Supervisors by datasource.
    pub supervisors: BTreeMap<String, Value>,
    /// How all of these are.
    pub stream: &'static str,
    /// Supervisors as they were sent.
    pub supervised: Vec<Value>,
}

pub struct Double {
    pub url: String,
    pub state: Arc<Mutex<State>>,
}

impl Double {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(Mutex::new(State {
            version: "33.0.0".to_owned(),
            status: None,
            refusal: None,
            segments: json!([]),
            tasks: Vec::new(),
            outcomes: BTreeMap::new(),
            runner: "RUNNING",
            rows: BTreeMap::new(),
            supervisors: BTreeMap::new(),
            stream: "RUNNING",
            supervised: Vec::new(),
        }));
        let (url, asked) = (format!("http://{}", listener.local_addr().unwrap()), Arc::clone(&state));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let _gone = answer(&stream, &asked);
            }
        });
        Self { url, state }
    }

    /// The tasks of a datasource.
    pub fn tasks(&self, datasource: &str) -> Vec<Value> {
        let of = |task: &&Value| task["spec"]["dataSchema"]["dataSource"] == datasource;
        self.state.lock().tasks.iter().filter(of).cloned().collect()
    }

    /// The last task of a datasource that has not ended.
    pub fn running(&self, datasource: &str) -> Option<Value> {
        let last = self.tasks(datasource).pop()?;
        let has_ended = self.state.lock().outcomes.contains_key(last["id"].as_str().unwrap());
        (!has_ended).then_some(last)
    }

    /// Lets the running task of a datasource fail.
    pub fn fails(&self, datasource: &str, said: &str) {
        let task = self.running(datasource).unwrap();
        let outcome = json!({"statusCode": "FAILED", "errorMsg": said});
        self.state.lock().outcomes.insert(task["id"].as_str().unwrap().to_owned(), outcome);
    }

    /// Lets the rows of a datasource be those of our table: what its task does. All rows are in the last
    /// segment.
    pub fn brings(&self, place: &Place, datasource: &str) {
        let task = self.tasks(datasource).pop().unwrap();
        let schema = &task["spec"]["dataSchema"];
        let numbers = schema["dimensionsSpec"]["dimensions"].as_array().unwrap().iter();
        let numbers =
            numbers.filter(|column| column["type"] != "string").map(|column| column["name"].as_str().unwrap());
        let sums: String = numbers.map(|name| format!(", SUM(\"{name}\")")).collect();
        let ms = |time: &str| chrono::DateTime::parse_from_rfc3339(time).unwrap().timestamp_millis();
        let mut rows = self.state.lock().rows.get(datasource).map_or(json!([]), |(_, rows)| rows.clone());
        let rows = rows.as_array_mut().unwrap();
        for interval in schema["granularitySpec"]["intervals"].as_array().unwrap() {
            let (start, end) = interval.as_str().unwrap().split_once('/').unwrap();
            let (start, end) = (ms(start), ms(end));
            let within = format!("__time >= MILLIS_TO_TIMESTAMP({start}) AND __time < MILLIS_TO_TIMESTAMP({end})");
            let sql = format!("SELECT COUNT(*){sums} FROM serving.\"{datasource}\" WHERE {within}");
            let ours = place.ask(&sql).unwrap().remove(0);
            rows.retain(|row| row[0] != start);
            if ours[0] != 0 {
                rows.push(std::iter::once(json!(start)).chain(ours).collect());
            }
        }
        let count = rows.iter().map(|row| row[1].as_u64().unwrap()).sum();
        self.state.lock().rows.insert(datasource.to_owned(), (count, json!(rows)));
    }

    /// Lets the running task of a datasource end well.
    pub fn ends(&self, datasource: &str) {
        let task = self.running(datasource).unwrap();
        let mut state = self.state.lock();
        let outcome = json!({"statusCode": "SUCCESS", "rows": state.rows[datasource].0});
        state.outcomes.insert(task["id"].as_str().unwrap().to_owned(), outcome);
    }

    /// Lets the running task of a datasource do its work.
    pub fn arrives(&self, place: &Place, datasource: &str) {
        self.brings(place, datasource);
        self.ends(datasource);
    }
}

fn answer(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let (mut asked, mut length, mut line) = (String::new(), 0, String::new());
    reader.read_line(&mut asked)?;
    while reader.read_line(&mut line)? > 2 {
        let (name, value) = line.split_once(':').unwrap_or_default();
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (method, path) = asked.split_once(' ').unwrap_or_default();
    let path = path.split([' ', '?']).next().unwrap_or_default();
    let body = serde_json::from_slice(&body).unwrap_or_default();
    let (status, said) = said(&mut state.lock(), (method, path), body);
    let said = said.to_string();
    let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", said.len());
    let mut stream = stream;
    stream.write_all((head + &said).as_bytes())
}

fn said(state: &mut State, (method, path): (&str, &str), body: Value) -> (u16, Value) {
    if let Some(status) = state.status {
        return (status, Value::Null);
    }
    let steps: Vec<&str> = path.trim_start_matches("/druid/").split('/').collect();
    match (method, steps.as_slice()) {
        ("GET", ["", "status"]) => (200, json!({"version": state.version})),
        ("POST", ["v2", "sql"]) => query(state, body["query"].as_str().unwrap()),
        ("POST", ["indexer", "v1", "task"]) => match &state.refusal {
            Some(said) => (400, said.clone()),
            None => {
                let id = body["id"].clone();
                state.tasks.push(body);
                (200, json!({"task": id}))
            }
        },
        ("GET", ["indexer", "v1", "task", id, "status"]) => {
            let running = json!({"statusCode": "RUNNING", "runnerStatusCode": state.runner});
            match state.tasks.iter().any(|task| task["id"] == *id) {
                true => (200, json!({"status": state.outcomes.get(*id).unwrap_or(&running)})),
                false => (404, Value::Null),
            }
        }
        ("GET", ["indexer", "v1", "task", id, "reports"]) => {
            let counts = json!({"processed": state.outcomes[*id]["rows"]});
            (200, json!({"ingestionStatsAndErrors": {"payload": {"rowStats": {"buildSegments": counts}}}}))
        }
        ("GET", ["indexer", "v1", "tasks"]) => (200, json!(state.tasks)),
        ("POST", ["indexer", "v1", "supervisor"]) => {
            let datasource = body["spec"]["dataSchema"]["dataSource"].as_str().unwrap().to_owned();
            state.supervised.push(body.clone());
            state.supervisors.insert(datasource.clone(), body);
            (200, json!({"id": datasource}))
        }
        ("GET", ["indexer", "v1", "supervisor", datasource]) => {
            state.supervisors.get(*datasource).map_or((404, Value::Null), |there| (200, there.clone()))
        }
        ("GET", ["indexer", "v1", "supervisor", _, "status"]) => {
            (200, json!({"payload": {"detailedState": state.stream, "healthy": true, "aggregateLag": 3}}))
        }
        ("POST", ["indexer", "v1", "supervisor", datasource, "terminate"]) => {
            state.supervisors.remove(*datasource);
            (200, json!({"id": datasource}))
        }
        ("POST", ["coordinator", "v1", "rules", _]) => (200, Value::Null),
        _ => (404, Value::Null),
    }
}

fn query(state: &State, sql: &str) -> (u16, Value) {
    if sql.contains("sys.segments") {
        return (200, state.segments.clone());
    }
    let of = |(datasource, _): &(&String, _)| sql.contains(&format!("FROM \"{datasource}\""));
    match state.rows.iter().find(of) {
        None => (400, json!({"errorMessage": "Object 'x' not found"})),
        Some((_, (_, compared))) if sql.contains("TIME_FLOOR") => (200, compared.clone()),
        Some((_, (rows, _))) => (200, json!([[rows]])),
    }
}
