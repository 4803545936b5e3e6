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
    ("SELECT SUM(l) a, AVG(l) b, MIN(d) c, MAX(f) d, STDDEV_POP(l) FROM tiny", "we have STDDEV_POP"),
    ("SELECT 1.0, 1.5e0, 10/4, 10/4.0, TRUE, 'x', 3 > 2, 12345678901234567890.12", "we read longer numbers"),
    (
        "SELECT COUNT(*) n, COUNT(s) cs, COUNT(l) cl, SUM(l) sl, AVG(d) ad, MIN(s) ms, MAX(l) FROM tiny",
        "we have MIN of text",
    ),
    ("SELECT SUM(l) s, MAX(d) m, COUNT(*) c, MIN(s) FROM tiny WHERE 1=0", "we have MIN of text"),
    ("SELECT l, COUNT(*) c FROM tiny GROUP BY l ORDER BY l NULLS LAST", "we have NULLS LAST"),
    ("SELECT s FROM tiny ORDER BY l", "we order by any column"),
    ("SELECT ? AS a, ? AS b, ? AS c, ? AS d", "we take parameters everywhere"),
    ("SELECT mv, COUNT(*) FROM tiny GROUP BY 1", "no multi-value strings"),
    ("SELECT MV_TO_ARRAY(mv) m FROM tiny", "no multi-value strings"),
    ("SELECT MV_TO_ARRAY(mv) m, arr FROM tiny LIMIT 1", "no multi-value strings"),
    ("SELECT MV_LENGTH(mv) x, ARRAY_LENGTH(arr) y FROM tiny", "no multi-value strings"),
    ("SELECT t.s, u.x FROM tiny t CROSS JOIN UNNEST(t.arr) AS u(x)", "no UNNEST of another table's column"),
    ("SELECT LOOKUP(s,'nolookup') FROM tiny", "no lookups, and 400 is the right status"),
    (
        "SELECT TIME_FLOOR(__time,'PT1H') t, COUNT(*) c FROM tiny WHERE __time >= TIMESTAMP '2024-03-10 06:00:00' AND __time < TIMESTAMP '2024-03-10 10:00:00' GROUP BY 1",
        "empty buckets are always left out",
    ),
    ("SELECT 1/0", "a constant fails as a column does"),
    ("EXPLAIN PLAN FOR SELECT 1", "the plan is ours"),
    ("SELECT * FROM INFORMATION_SCHEMA.SCHEMATA", "our schemas are listed too"),
    ("SELECT * FROM INFORMATION_SCHEMA.TABLES", "our tables are listed"),
    (
        "SELECT * FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA='druid' AND TABLE_NAME='tiny'",
        "a JSON column is text, and the scale of a double is null where Druid has the smallest integer",
    ),
    ("SELECT COUNT(*) c FROM INFORMATION_SCHEMA.ROUTINES", "our functions are listed"),
    (
        "SELECT * FROM INFORMATION_SCHEMA.ROUTINES WHERE ROUTINE_NAME IN ('TIME_FLOOR','APPROX_COUNT_DISTINCT','EARLIEST')",
        "no signatures",
    ),
    ("SELECT ROUTINE_NAME, IS_AGGREGATOR FROM INFORMATION_SCHEMA.ROUTINES ORDER BY 1", "our functions are listed"),
    ("SELECT * FROM sys.servers", "there are no servers of Druid"),
    ("SELECT * FROM sys.server_segments", "there are no segments"),
    ("SELECT * FROM sys.segments LIMIT 1", "there are no segments"),
    (
        "SELECT datasource, SUM(num_rows) r, SUM(size) b, COUNT(*) segs FROM sys.segments WHERE is_active=1 GROUP BY 1",
        "there are no segments",
    ),
    ("SELECT * FROM sys.tasks LIMIT 1", "there are no tasks of Druid"),
    ("SELECT * FROM sys.supervisors", "there are no supervisors of Druid"),
];

/// Tables and features that only the recording had.
const ELSEWHERE: &[&str] = &["events", "clicks"];

pub fn answers() -> Option<PathBuf> {
    let shared = std::env::var_os("VITALAKE_SHARED").map(PathBuf::from);
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let folder = shared.unwrap_or(beside).join("reference/druid/answers");
    folder.is_dir().then_some(folder)
}

fn request(server: &Server, request: &Value) -> Reply {
    let method = request["method"].as_str().unwrap();
    let path = request["path"].as_str().unwrap();
    let raw = request.get("rawBody").and_then(Value::as_str).map(str::to_owned);
    let body = raw.or_else(|| request.get("body").map(Value::to_string));
    let mut headers = vec![];
    if let Some(given) = request.get("headers").and_then(Value::as_object) {
        headers.extend(given.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())));
    }
    if body.is_some() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        headers.push(JSON);
    }
    send(server, method, path, &headers, body.as_deref().map(str::as_bytes))
}

/// JSON columns are text here; and GROUP BY alone promises no order.
fn comparable(body: &str, query: &str) -> String {
    let body = body
        .replace("\"type\":\"COMPLEX<json>\",\"sqlType\":\"OTHER\"", "\"type\":\"STRING\",\"sqlType\":\"VARCHAR\"")
        .replace("COMPLEX<json>", "STRING")
        .replace("VARCHAR\",\"OTHER\"", "VARCHAR\",\"VARCHAR\"")
        .replace("VARCHAR,OTHER", "VARCHAR,VARCHAR");
    if !query.contains("GROUP BY") || query.contains("ORDER BY") {
        return body;
    }
    match serde_json::from_str::<Value>(&body) {
        Ok(Value::Array(rows)) => {
            let mut rows: Vec<String> = rows.iter().map(Value::to_string).collect();
            rows.sort();
            rows.join("\n")
        }
        _ => body,
    }
}

fn difference(recorded: &Value, reply: &Reply) -> Option<String> {
    let mut status = recorded["status"].as_u64().unwrap();
    let answered_html =
        recorded.pointer("/headers/Content-Type").and_then(Value::as_str).is_some_and(|kind| kind.contains("html"));
    if status == 500 && answered_html {
        // Druid's own fault: the request is wrong, and we say so.
        status = 400;
    }
    let query = recorded.pointer("/request/body/query").and_then(Value::as_str).unwrap_or_default();
    if u64::from(reply.status) != status {
        return Some(format!(
            "status {} where Druid has {status}: {}",
            reply.status,
            reply.body.chars().take(300).collect::<String>()
        ));
    }
    if status == 200 {
        let body = recorded["body"].as_str().unwrap();
        if comparable(&reply.body, query) != comparable(body, query) {
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
    let keys: Vec<&String> =
        theirs.as_object().unwrap().keys().filter(|key| *key != "error" || theirs.get("category").is_some()).collect();
    if let Some(missing) = keys.iter().find(|key| theirs.get("category").is_some() && ours.get(key.as_str()).is_none())
    {
        return Some(format!("no {missing} in {ours}"));
    }
    if theirs.get("category").is_some() && (ours["category"] != theirs["category"] || ours["error"] != theirs["error"])
    {
        return Some(format!(
            "{} / {} where Druid has {} / {}",
            ours["error"], ours["category"], theirs["error"], theirs["category"]
        ));
    }
    None
}

#[test]
fn recorded_answers_agree() {
    let Some(folder) = answers() else {
        println!(
            "skipped: the recorded answers of Druid are not here; set VITALAKE_SHARED to the folder that has them"
        );
        return;
    };
    let server = Server::start();
    let exceptions: BTreeMap<&str, &str> = EXCEPTIONS.iter().copied().collect();
    let (mut agreed, mut differences, mut unused) = (0, vec![], exceptions.clone());
    for file in [
        "resultformats",
        "aggregates",
        "nulls",
        "time",
        "parameters",
        "errors",
        "misc",
        "query_id_and_cancel",
        "explain",
        "schema",
    ] {
        let text = std::fs::read_to_string(folder.join(format!("{file}.ndjson"))).unwrap();
        for line in text.lines() {
            let recorded: Value = serde_json::from_str(line).unwrap();
            let asked = &recorded["request"];
            let query = asked.pointer("/body/query").and_then(Value::as_str).unwrap_or_default();
            let is_sql =
                asked["path"].as_str().unwrap().trim_end_matches('/') == "/druid/v2/sql" && asked["method"] == "POST";
            // Bodies are sent plain.
            let compressed = asked.pointer("/headers/Accept-Encoding").is_some();
            if !is_sql || compressed || ELSEWHERE.iter().any(|table| query.contains(table)) {
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
