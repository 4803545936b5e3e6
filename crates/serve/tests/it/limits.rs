//! Text, memory, rows, time and number of queries have limits; reaching one is an answer, and harms no other query.

use std::time::{Duration, Instant};

use serde_json::json;
use vitalake_serve::engine::QueryLimits;
use vitalake_serve::identity::{Door, Identity};

use crate::client::{JSON, failure, post, rows, send, try_send};
use crate::server::Server;

fn still_answers(server: &Server) {
    assert_eq!(rows(server, "SELECT COUNT(*) FROM tiny"), json!([[5]]));
}

#[test]
fn huge_and_deep_texts_are_refused() {
    let server = Server::start();
    let parentheses = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let operators = format!("SELECT COUNT(*) FROM tiny WHERE l = 1{}", " OR l = 2".repeat(50_000));
    let long = format!("SELECT '{}'", "x".repeat(10 << 20));
    let nots = format!("SELECT {} TRUE", "NOT ".repeat(100_000));
    let minuses = format!("SELECT {}1", "- ".repeat(100_000));
    let cases = format!("SELECT {}1{}", "CASE WHEN TRUE THEN ".repeat(5_000), " END".repeat(5_000));
    let subqueries = format!("SELECT * FROM {}tiny{}", "(SELECT * FROM ".repeat(2_000), ")".repeat(2_000));
    for sql in [parentheses, operators, long, nots, minuses, cases, subqueries] {
        let (status, message) = failure(&server, &sql);
        assert_eq!(status, 400, "{message}");
        assert!(message.len() < 300, "{message}");
    }
    still_answers(&server);
}

#[test]
fn texts_at_the_limits_are_answered() {
    let server = Server::start();
    let operators = format!("SELECT COUNT(*) FROM tiny WHERE l = 1{}", " OR l = 2".repeat(990));
    assert_eq!(rows(&server, &operators), json!([[1]]));
    let sum = format!("SELECT MAX(l{}) FROM tiny WHERE s = 'a'", " + 1".repeat(990));
    assert_eq!(rows(&server, &sum), json!([[991]]));
    let list: Vec<String> = (1..50_000).map(|number| number.to_string()).collect();
    let list = format!("SELECT COUNT(*) FROM tiny WHERE l IN ({})", list.join(","));
    assert_eq!(rows(&server, &list), json!([[1]]));
}

fn with_parts(first: &str, next: impl Fn(usize) -> String, count: usize, last: &str) -> String {
    let parts: Vec<String> = (1..=count).map(|part| format!(", c{part} AS ({})", next(part - 1))).collect();
    format!("WITH c0 AS ({first}){} {}", parts.concat(), last.replace("LAST", &format!("c{count}")))
}

fn commas(count: usize) -> String {
    (0..count).map(|number| number.to_string()).collect::<Vec<_>>().join(",")
}

#[test]
fn texts_that_the_planner_would_not_finish_are_refused_at_once() {
    let server = Server::start();
    let twice = |part| format!("SELECT a.x FROM c{part} a, c{part} b");
    let sum = |part| format!("SELECT x+x AS x FROM c{part}");
    let text = |part| format!("SELECT x||x AS x FROM c{part}");
    let one = "SELECT l AS x FROM tiny";
    for (sql, says) in [
        (format!("SELECT {}", commas(20_000)), "select list"),
        (format!("SELECT COUNT(*) FROM tiny WHERE l IN ({})", commas(100_000)), "values"),
        (format!("SELECT 1{}", "+1".repeat(100_000)), "operators"),
        (format!("SELECT COALESCE({}) FROM tiny", commas(50_000)), "expressions"),
        (format!("SELECT COUNT(*) FROM (VALUES ({})) AS t(a)", commas(30_000).replace(',', "),(")), "expressions"),
        (format!("SELECT {} FROM tiny", ["*"; 900].join(",")), "select list"),
        (format!("SELECT COUNT(*) FROM tiny GROUP BY CUBE({})", commas(20)), "CUBE"),
        (with_parts(one, twice, 29, "SELECT COUNT(*) FROM LAST"), "written out"),
        (with_parts(one, sum, 29, "SELECT COUNT(*) FROM LAST WHERE x > 5"), "written out"),
        (with_parts("SELECT 'xx' AS x", text, 29, "SELECT CHAR_LENGTH(x) FROM LAST"), "written out"),
    ] {
        let started = Instant::now();
        let reply = post(&server, &json!({"query": sql}));
        assert_eq!((reply.status, reply.json()["error"].as_str().unwrap()), (400, "Resource limit exceeded"));
        assert!(reply.message().contains(says), "{}", reply.message());
        assert!(started.elapsed() < Duration::from_secs(10), "{says} took {:?}", started.elapsed());
    }
    still_answers(&server);
}

#[test]
fn what_a_function_makes_counts_as_memory() {
    let server = Server::with_limits(QueryLimits { query_bytes_max: 64 << 20, ..QueryLimits::default() });
    let doubled = |first: &str, double: &str, last: &str| {
        with_parts(first, |part| format!("SELECT {double} AS x FROM c{part}"), 14, last)
    };
    let text = "SELECT CAST(n AS VARCHAR) AS x FROM raw.numbers";
    let (shown, list) = ("SELECT MAX(CHAR_LENGTH(x)) FROM LAST", "SELECT MAX(ARRAY_LENGTH(x)) FROM LAST");
    for sql in [
        doubled(text, "x||x", shown),
        doubled(text, "CONCAT(x, x)", shown),
        doubled(text, "REPLACE(x, '1', '11111111')", shown),
        doubled(text, "REGEXP_REPLACE(x, '^.*$', '$0$0')", shown),
        doubled("SELECT ARRAY[n, n] AS x FROM raw.numbers", "ARRAY_CONCAT(x, x)", list),
        doubled("SELECT ARRAY[n, n] AS x FROM raw.numbers", "x||x", list),
        format!("SELECT COUNT(DISTINCT '{}') FROM raw.numbers", "x".repeat(100_000)),
    ] {
        let (status, message) = failure(&server, &sql);
        assert_eq!(status, 400, "{message}");
        assert!(message.contains("memory") || message.contains("constant"), "{message}");
    }
    // What was reserved is given back: the same sum of memory is there for the next ones.
    for _ in 0..5 {
        let sql = "SELECT MAX(CHAR_LENGTH(x)) FROM (SELECT s||REPLACE(s, 'a', 'bb')||CONCAT(s, '-') AS x FROM tiny)";
        assert_eq!(rows(&server, sql), json!([[10]]));
        let long = "SELECT MAX(CHAR_LENGTH(CAST(n AS VARCHAR)||'-'||CAST(n AS VARCHAR))) FROM raw.numbers";
        assert_eq!(rows(&server, long), json!([[15]]));
    }
    still_answers(&server);
}

#[test]
fn a_subquery_of_several_rows_where_one_value_is_wanted_is_the_clients_error() {
    let server = Server::start();
    for sql in ["SELECT (SELECT l FROM tiny)", "SELECT COUNT(*) FROM tiny WHERE l = (SELECT l FROM tiny)"] {
        let (status, message) = failure(&server, sql);
        assert_eq!(status, 400, "{message}");
        assert!(message.contains("several rows"), "{message}");
    }
}

#[test]
fn a_query_that_needs_too_much_memory_is_refused() {
    let server = Server::with_limits(QueryLimits { query_bytes_max: 8 << 20, ..QueryLimits::default() });
    let (status, message) = failure(&server, "SELECT n, COUNT(*) FROM raw.numbers GROUP BY n ORDER BY 2");
    assert_eq!(status, 400);
    assert!(message.contains("memory"), "{message}");
    still_answers(&server);
}

#[test]
fn a_result_that_is_too_long_never_looks_complete() {
    let server = Server::with_limits(QueryLimits { result_rows_max: 100_000, ..QueryLimits::default() });
    let body = json!({"query": "SELECT n FROM raw.numbers"}).to_string();
    let reply = try_send(&server, "POST", "/druid/v2/sql", &[JSON], Some(body.as_bytes()));
    // The connection broke, or at the least the document has no end.
    if let Ok(reply) = reply {
        assert!(serde_json::from_str::<serde_json::Value>(&reply.body).is_err());
    }
    still_answers(&server);
}

#[test]
fn groups_count_with_their_own_bytes_though_they_come_as_slices_of_one_batch() {
    let server = Server::with_limits(QueryLimits { result_bytes_max: 8 << 20, ..QueryLimits::default() });
    for column in ["n", "CAST(n AS VARCHAR)", "ARRAY[CAST(n AS VARCHAR)]"] {
        let sql = format!("SELECT {column} AS x, COUNT(*) AS c FROM raw.numbers WHERE n < 200000 GROUP BY {column}");
        let sql = match column.starts_with("ARRAY") {
            true => {
                format!("SELECT ARRAY[x], c FROM ({})", sql.replace("ARRAY[CAST(n AS VARCHAR)]", "CAST(n AS VARCHAR)"))
            }
            false => sql,
        };
        let reply = post(&server, &json!({"query": sql, "resultFormat": "arrayLines"}));
        assert_eq!(reply.body.lines().filter(|line| !line.is_empty()).count(), 200_000, "{column}");
    }
    let body = json!({"query": "SELECT n FROM raw.numbers"}).to_string();
    let reply = try_send(&server, "POST", "/druid/v2/sql", &[JSON], Some(body.as_bytes()));
    assert!(reply.is_err() || serde_json::from_str::<serde_json::Value>(&reply.unwrap().body).is_err());
}

#[test]
fn a_long_result_arrives_whole() {
    let server = Server::start();
    let reply = post(&server, &json!({"query": "SELECT n FROM raw.numbers", "resultFormat": "arrayLines"}));
    assert_eq!(reply.body.lines().filter(|line| !line.is_empty()).count(), 2_000_000);
}

const ENDLESS: &str = "SELECT COUNT(*) FROM raw.numbers a CROSS JOIN raw.numbers b WHERE a.n + b.n > 5";

#[test]
fn a_slow_query_times_out() {
    let server = Server::start();
    let started = Instant::now();
    let reply = post(&server, &json!({"query": ENDLESS, "context": {"timeout": 300}}));
    assert_eq!(reply.status, 504);
    assert_eq!(reply.json()["error"], "Query timeout");
    assert!(started.elapsed() < Duration::from_secs(20));
    still_answers(&server);
}

#[test]
fn a_query_can_be_cancelled_by_its_id() {
    let server = Server::start();
    assert_eq!(send(&server, "DELETE", "/druid/v2/sql/no-such-id", &[], None).status, 404);
    std::thread::scope(|scope| {
        let query = scope.spawn(|| post(&server, &json!({"query": ENDLESS, "context": {"sqlQueryId": "mine"}})));
        let started = Instant::now();
        loop {
            let reply = send(&server, "DELETE", "/druid/v2/sql/mine", &[], None);
            if reply.status == 202 {
                assert_eq!(reply.body, "");
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "the query never ran");
            std::thread::yield_now();
        }
        let reply = query.join().unwrap();
        assert_eq!((reply.status, reply.headers["x-druid-sql-query-id"].as_str()), (500, "mine"));
        assert_eq!(reply.json()["error"], "Query cancelled");
    });
    still_answers(&server);
}

#[test]
fn a_client_that_goes_away_stops_its_query() {
    use std::io::Write as _;
    let server = Server::start();
    let body = json!({"query": ENDLESS, "context": {"sqlQueryId": "gone"}}).to_string();
    let mut stream = std::net::TcpStream::connect(server.address).unwrap();
    write!(stream, "POST /druid/v2/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
    let started = Instant::now();
    while server.engine.running() == 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "the query never ran");
        std::thread::yield_now();
    }
    drop(stream);
    while server.engine.running() > 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "the query goes on");
        std::thread::yield_now();
    }
}

#[test]
fn more_queries_than_may_wait_are_refused() {
    let server = Server::with_limits(QueryLimits { queries_max: 1, waiting_max: 0, ..QueryLimits::default() });
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| post(&server, &json!({"query": ENDLESS, "context": {"sqlQueryId": "slow"}})));
        let started = Instant::now();
        while server.engine.running() == 0 {
            assert!(started.elapsed() < Duration::from_secs(20), "the query never ran");
            std::thread::yield_now();
        }
        let reply = post(&server, &json!({"query": "SELECT 1"}));
        assert_eq!((reply.status, reply.json()["error"].as_str().unwrap()), (429, "Query capacity exceeded"));
        // Nobody stops another's query by knowing its id, or learns that it runs.
        assert!(!server.sessions.cancel(&Identity::new(Door::Loopback, "another"), "slow"));
        assert_eq!(server.engine.running(), 1);
        assert!(server.sessions.cancel(&Identity::local(), "slow"));
        assert_eq!(slow.join().unwrap().status, 500);
    });
}
