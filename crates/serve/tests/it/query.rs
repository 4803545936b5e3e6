//! `/api/v1/query` over a real socket: each form of an answer read back, limits, refusals, and clients that go away.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use serde_json::{Value, json};

use crate::client::{JSON, Reply, send};
use crate::server::Server;

fn ask(server: &Server, body: &Value, headers: &[(&str, &str)]) -> Reply {
    let headers: Vec<_> = [JSON].into_iter().chain(headers.iter().copied()).collect();
    send(server, "POST", "/api/v1/query", &headers, Some(body.to_string().as_bytes()))
}

/// An answer's status, media type and bytes.
fn bytes(server: &Server, body: &Value) -> (u16, String, Vec<u8>) {
    let url = format!("http://{}/api/v1/query", server.address);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.post(url).header(JSON.0, JSON.1).send(body.to_string()).unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    let read = answer.body_mut().with_config().limit(1 << 30).read_to_vec().unwrap();
    (answer.status().as_u16(), kind, read)
}

#[test]
fn the_same_rows_come_in_every_form() {
    let server = Server::start();
    let sql = "SELECT n AS number, CASE WHEN n = 2 THEN NULL ELSE 'a \"b\", ' || CAST(n AS VARCHAR) END AS words FROM raw.numbers WHERE n < 4 ORDER BY n";
    let plain = ask(&server, &json!({"sql": sql}), &[]);
    assert_eq!((plain.status, plain.headers["content-type"].as_str()), (200, "application/json"), "{}", plain.body);
    assert!(plain.headers.contains_key("x-query-id"));
    let rows = plain.json();
    assert_eq!(rows[1], json!({"number": 1, "words": "a \"b\", 1"}));
    assert_eq!((rows.as_array().unwrap().len(), &rows[2]["words"]), (4, &Value::Null));

    let lines = ask(&server, &json!({"sql": sql}), &[("Accept", "application/x-ndjson")]);
    let of_lines: Vec<Value> = lines.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(Value::from(of_lines), rows);
    let csv = ask(&server, &json!({"sql": sql, "format": "csv"}), &[]);
    assert_eq!(csv.body.lines().next(), Some("number,words"));
    assert_eq!(csv.body.lines().count(), 5, "{}", csv.body);

    let as_rows = |batches: Vec<RecordBatch>| {
        let mut writer = arrow::json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, arrow::json::writer::JsonArray>(Vec::new());
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.finish().unwrap();
        serde_json::from_slice::<Value>(&writer.into_inner()).unwrap()
    };
    let (status, kind, stream) = bytes(&server, &json!({"sql": sql, "format": "arrow"}));
    assert_eq!((status, kind.as_str()), (200, "application/vnd.apache.arrow.stream"));
    let read = arrow_ipc::reader::StreamReader::try_new(stream.as_slice(), None).unwrap();
    assert_eq!(as_rows(read.map(Result::unwrap).collect()), rows);
    let (status, kind, file) = bytes(&server, &json!({"sql": sql, "format": "parquet"}));
    assert_eq!((status, kind.as_str()), (200, "application/vnd.apache.parquet"));
    let read = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes::Bytes::from(file), 1024).unwrap();
    assert_eq!(as_rows(read.map(Result::unwrap).collect()), rows);
}

#[test]
fn a_long_answer_is_whole_in_every_form_and_ends_at_the_limit() {
    let server = Server::start();
    for (format, limit) in
        [("json", None), ("ndjson", None), ("arrow", None), ("parquet", None), ("ndjson", Some(100_001))]
    {
        let mut body = json!({"sql": "SELECT n, 2 * n AS twice FROM raw.numbers", "format": format});
        if let Some(limit) = limit {
            body["limit"] = json!(limit);
        }
        let (status, _, read) = bytes(&server, &body);
        assert_eq!(status, 200);
        let count = match format {
            "json" => serde_json::from_slice::<Vec<Value>>(&read).unwrap().len(),
            "ndjson" => read.iter().filter(|byte| **byte == b'\n').count(),
            "arrow" => {
                let reader = arrow_ipc::reader::StreamReader::try_new(read.as_slice(), None).unwrap();
                reader.map(|batch| batch.unwrap().num_rows()).sum()
            }
            _ => {
                let file = bytes::Bytes::from(read);
                let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 8192).unwrap();
                reader.map(|batch| batch.unwrap().num_rows()).sum()
            }
        };
        assert_eq!(count, limit.unwrap_or(2_000_000), "{format}");
    }
    assert_eq!(ask(&server, &json!({"sql": "SELECT 1", "limit": 0}), &[]).json(), json!([]));
}

#[test]
fn refusals_are_documents_with_a_word_of_the_list() {
    let server = Server::start();
    let cases = [
        (json!({"sql": "SELEC"}), 400, "invalid"),
        (json!({"sql": "SELECT nosuch FROM serving.tiny"}), 400, "invalid"),
        (json!({"sql": "DROP TABLE serving.tiny"}), 400, "invalid"),
        (json!({"sql": "SELECT ?", "parameters": []}), 400, "invalid"),
        (json!({"sql": "SELECT 1", "limt": 5}), 400, "invalid"),
        (json!({"sql": "SELECT 1", "format": "xml"}), 400, "invalid"),
        (json!({"sql": "SELECT 1", "query_id": "\n"}), 400, "invalid"),
        (json!({"query": "SELECT 1"}), 400, "invalid"),
        (json!([]), 400, "invalid"),
        (json!({"sql": "SELECT 1 / n FROM raw.numbers WHERE n < 2"}), 422, "failed"),
        (
            json!({"sql": "SELECT COUNT(*) FROM raw.numbers a JOIN raw.numbers b ON a.n <> b.n", "timeout_ms": 50}),
            504,
            "timeout",
        ),
    ];
    for (body, status, word) in cases {
        let reply = ask(&server, &body, &[]);
        assert_eq!((reply.status, &reply.json()["error"]), (status, &json!(word)), "{body}: {}", reply.body);
        assert_eq!(reply.headers["content-type"], "application/problem+json");
    }
    assert_eq!(ask(&server, &json!({"sql": "SELECT 1"}), &[("Accept", "text/html")]).status, 406);
    let text = send(&server, "POST", "/api/v1/query", &[("Content-Type", "text/plain")], Some(b"SELECT 1"));
    assert_eq!(text.status, 415);
    let both = ask(&server, &json!({"sql": "SELECT 1", "purpose": "care"}), &[("X-Purpose", "research")]);
    assert_eq!(both.status, 400);
    assert_eq!(send(&server, "DELETE", "/api/v1/query/none", &[], None).status, 404);
}

#[test]
fn a_value_takes_a_placeholders_place_as_what_it_is() {
    let server = Server::start();
    let body = json!({"sql": "SELECT ? AS a, ? AS b, ? + 1 AS c, ? AS d", "parameters": ["x' OR 1=1 --", true, 41, {"type": "DOUBLE", "value": 2.5}]});
    assert_eq!(ask(&server, &body, &[]).json(), json!([{"a": "x' OR 1=1 --", "b": true, "c": 42, "d": 2.5}]));
}

#[test]
fn a_client_that_goes_away_ends_its_query() {
    let server = Server::start();
    let until = |running: usize| {
        let began = Instant::now();
        while server.engine.running() != running {
            assert!(began.elapsed() < Duration::from_secs(20), "{} run", server.engine.running());
            std::thread::sleep(Duration::from_millis(1));
        }
        began.elapsed()
    };
    // One that works before its first row, and one whose answer nobody reads.
    for sql in [
        "SELECT COUNT(*) FROM raw.numbers a JOIN raw.numbers b ON a.n <> b.n",
        "SELECT n, n + 1, n + 2 FROM raw.numbers",
    ] {
        let body = json!({"sql": sql, "format": "ndjson"}).to_string();
        let mut stream = TcpStream::connect(server.address).unwrap();
        let head = format!(
            "POST /api/v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).unwrap();
        until(1);
        if sql.starts_with("SELECT n") {
            stream.read_exact(&mut [0; 100]).unwrap();
        }
        drop(stream);
        println!("ended {:?} after its client: {sql}", until(0));
    }
}

#[test]
fn a_table_is_shown_as_the_session_has_it() {
    let server = Server::start();
    let reply = send(&server, "GET", "/api/v1/tables/raw.numbers", &[], None);
    assert_eq!(reply.status, 200, "{}", reply.body);
    let columns = reply.json()["columns"].clone();
    assert!(
        columns.as_array().unwrap().iter().any(|column| column["name"] == "n" && column["type"] == "BIGINT"),
        "{columns}"
    );
    for missing in ["raw.nosuch", "nosuch", "%ff"] {
        assert_eq!(send(&server, "GET", &format!("/api/v1/tables/{missing}"), &[], None).status, 404, "{missing}");
    }
    let document = send(&server, "GET", "/api/v1/openapi.json", &[], None).json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/api/v1/query"]["post"]["responses"]["422"].is_object());
}
