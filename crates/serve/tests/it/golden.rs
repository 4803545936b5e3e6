//! What a real Druid answered over the same rows: status and body must be the same, errors in their form.
//!
//! The recorded answers are found by VITALAKE_SHARED, or beside the workspace; without them this says so and stops.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::client::{JSON, Reply, send};
use crate::server::Server;

/// Queries whose answer differs, and why. A query that is listed here and agrees is a failure too.
const EXCEPTIONS: &[(&str, &str)] = &[
];

/// Tables and features that only the recording had.
const ELSEWHERE: &[&str] = &["events", "clicks"];

fn answers() -> Option<PathBuf> {
    let shared = std::env::var_os("VITALAKE_SHARED").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = shared.unwrap_or(beside).join("reference/druid/answers");
    folder.is_dir().then_some(folder)
}

fn request(server: &Server, request: &Value) -> Reply {
    let method = request["method"].as_str().unwrap();
    let path = request["path"].as_str().unwrap();
    let body = request.get("body").map(|body| match body {
        Value::String(raw) => raw.clone(),
        other => other.to_string(),
    });
    let mut headers = vec![];
    if let Some(given) = request.get("headers").and_then(Value::as_object) {
        headers.extend(given.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())));
    }
    if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        headers.push(JSON);
    }
    send(server, method, path, &headers, body.as_deref().map(str::as_bytes))
}

fn difference(recorded: &Value, reply: &Reply) -> Option<String> {
    let status = recorded["status"].as_u64().unwrap();
    if u64::from(reply.status) != status {
        return Some(format!("status {} where Druid has {status}: {}", reply.status, reply.body.chars().take(300).collect::<String>()));
    }
    if status == 200 {
        let body = recorded["body"].as_str().unwrap();
        if reply.body != body {
            return Some(format!("\n  ours  {}\n  Druid {}", reply.body.trim_end(), body.trim_end()));
        }
        for (name, value) in recorded["headers"].as_object().unwrap() {
            let ours = reply.headers.get(&name.to_ascii_lowercase()).map(String::as_str);
            let value = value.as_str().unwrap();
            if value != "{uuid}" && ours != Some(value) {
                return Some(format!("header {name}: {ours:?} where Druid has {value}"));
            }
        }
        return None;
    }
    let Ok(theirs) = serde_json::from_str::<Value>(recorded["body"].as_str().unwrap()) else { return None };
    let ours: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    // The oldest form has only `error`; ours has the newer keys as well.
    let keys: Vec<&String> = theirs.as_object().unwrap().keys().filter(|key| *key != "error" || theirs.get("category").is_some()).collect();
    if let Some(missing) = keys.iter().find(|key| theirs.get("category").is_some() && ours.get(key.as_str()).is_none()) {
        return Some(format!("no {missing} in {ours}"));
    }
    if theirs.get("category").is_some() && (ours["category"] != theirs["category"] || ours["error"] != theirs["error"]) {
        return Some(format!("{} / {} where Druid has {} / {}", ours["error"], ours["category"], theirs["error"], theirs["category"]));
    }
    None
}

#[test]
fn recorded_answers_agree() {
    let Some(folder) = answers() else {
        println!("skipped: the recorded answers of Druid are not here; set VITALAKE_SHARED to the folder that has them");
        return;
    };
    let server = Server::start();
    let exceptions: BTreeMap<&str, &str> = EXCEPTIONS.iter().copied().collect();
    let (mut agreed, mut differences, mut unused) = (0, vec![], exceptions.clone());
    for file in ["resultformats", "aggregates", "nulls", "time", "parameters", "errors", "misc", "query_id_and_cancel", "explain", "schema"] {
        let text = std::fs::read_to_string(folder.join(format!("{file}.ndjson"))).unwrap();
        for line in text.lines() {
            let recorded: Value = serde_json::from_str(line).unwrap();
            let asked = &recorded["request"];
            let query = asked.pointer("/body/query").and_then(Value::as_str).unwrap_or_default();
            let is_sql = asked["path"].as_str().unwrap().trim_end_matches('/') == "/druid/v2/sql" && asked["method"] == "POST";
            if !is_sql || ELSEWHERE.iter().any(|table| query.contains(table)) {
                continue;
            }
            let reply = request(&server, asked);
            let excepted = unused.remove(query).is_some() || exceptions.contains_key(query);
            match (difference(&recorded, &reply), excepted) {
                (None, false) => agreed += 1,
                (Some(_), true) => {}
                (None, true) if query.is_empty() => {}
                (None, true) => differences.push(format!("{file}: {query}: listed as an exception, and agrees")),
                (Some(difference), false) => differences.push(format!("{file}: {asked}: {difference}")),
            }
        }
    }
    differences.extend(unused.keys().map(|query| format!("{query}: listed as an exception, and never asked")));
    println!("{agreed} recorded answers agree, {} are exceptions", exceptions.len());
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
