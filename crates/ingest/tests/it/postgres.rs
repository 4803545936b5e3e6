//! Reading a real PostgreSQL server: types, snapshots, watermarks, refusals, a server that goes away.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow_ipc::reader::StreamReader;
use rstest::rstest;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use vitalake_ingest::delivery::Piece;
use vitalake_ingest::postgres::{
    Lag, PostgresError, PostgresLimits, PostgresRows, PostgresSource, ReadOutcome, Reading, Watermark, WatermarkColumn,
};
use vitalake_lake::postgres::PostgresAddress;
use vitalake_runtime::error::{Classified as _, Retry, in_full};

use crate::postgres_server::{PASSWORD, PostgresServer};

/// A value that no error may repeat.
const VALUE: &str = "hunter2";

fn source(server: &PostgresServer, rows: PostgresRows) -> PostgresSource {
    let address = PostgresAddress::parse(&server.url()).unwrap();
    PostgresSource { address, rows, watermark: None, limits: PostgresLimits::default() }
}

fn table(server: &PostgresServer, name: &str) -> PostgresSource {
    source(server, PostgresRows::Table(name.to_owned()))
}

fn query(server: &PostgresServer, text: &str) -> PostgresSource {
    source(server, PostgresRows::Query(text.to_owned()))
}

fn by(source: PostgresSource, column: &str, lag: Lag) -> PostgresSource {
    PostgresSource { watermark: Some(WatermarkColumn { column: column.to_owned(), lag }), ..source }
}

async fn connect(server: &PostgresServer) -> PgConnection {
    PgConnection::connect(&server.url()).await.unwrap()
}

async fn run(connection: &mut PgConnection, text: &str) {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(text.to_owned()))).await.unwrap();
}

/// The bytes of a read, its end having been said.
async fn bytes(reading: Reading) -> (Vec<u8>, ReadOutcome) {
    let outcome = reading.outcome();
    let (mut pieces, mut bytes) = (reading.pieces, Vec::new());
    loop {
        match pieces.recv().await.expect("an end is said").unwrap() {
            Piece::Bytes(more) => bytes.extend_from_slice(&more),
            Piece::NextFile => panic!("one file"),
            Piece::End => return (bytes, outcome.get().unwrap().clone()),
        }
    }
}

fn batches(bytes: &[u8]) -> Vec<RecordBatch> {
    StreamReader::try_new(bytes, None).unwrap().map(Result::unwrap).collect()
}

/// Every row as texts; `∅` is null.
fn texts(bytes: &[u8]) -> Vec<Vec<String>> {
    let options = FormatOptions::new().with_null("∅");
    let mut rows = Vec::new();
    for batch in batches(bytes) {
        let columns: Vec<_> =
            batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect()));
    }
    rows
}

async fn whole(source: &PostgresSource) -> Vec<Vec<String>> {
    texts(&bytes(source.read("t", None).await.unwrap().unwrap()).await.0)
}

async fn refused(source: &PostgresSource) -> PostgresError {
    let error = source.read("t", None).await.expect_err("it is refused");
    let said = format!("{} {error:?}", in_full(&error));
    assert!(!said.contains(PASSWORD) && !said.contains(VALUE), "{said}");
    error
}

/// Each column with its type, its values in SQL, its Arrow type and the values as text.
const TYPES: &[(&str, &str, &str, &str)] = &[
    ("boolean", "true, false", "Boolean", "true, false"),
    ("smallint", "32767, -32768", "Int16", "32767, -32768"),
    ("integer", "2147483647, -2147483648", "Int32", "2147483647, -2147483648"),
    ("bigint", "9223372036854775807, -9223372036854775808", "Int64", "9223372036854775807, -9223372036854775808"),
    ("real", "1.5, -0.1", "Float32", "1.5, -0.1"),
    ("double precision", "0.1, 1e308", "Float64", "0.1, 1e308"),
    ("numeric(10,2)", "12345678.91, -0.05", "Decimal128(10, 2)", "12345678.91, -0.05"),
    (
        "numeric(38,10)",
        "9999999999999999999999999999.9999999999, 1e-10",
        "Decimal128(38, 10)",
        "9999999999999999999999999999.9999999999, 0.0000000001",
    ),
    ("numeric(3,-2)", "12345, -99949", "Decimal128(5, 0)", "12300, -99900"),
    (
        "numeric",
        "1234567890123456789012345678901234567890.12345, -0.50",
        "Utf8",
        "1234567890123456789012345678901234567890.12345, -0.50",
    ),
    ("text", "'it''s ünïcode', ''", "Utf8", "it's ünïcode, "),
    ("varchar(5)", "'ab', 'abcde'", "Utf8", "ab, abcde"),
    ("char(4)", "'ab', 'abcd'", "Utf8", "ab  , abcd"),
    (
        "uuid",
        "'0191e2f0-0000-7000-8000-00000000000a', '00000000-0000-0000-0000-000000000000'",
        "Utf8",
        "0191e2f0-0000-7000-8000-00000000000a, 00000000-0000-0000-0000-000000000000",
    ),
    ("json", "'{\"b\" : 1}', '[]'", "Utf8", "{\"b\" : 1}, []"),
    ("jsonb", "'{\"b\" : 1}', '[]'", "Utf8", "{\"b\": 1}, []"),
    ("date", "'2024-02-29', '0044-03-15 BC'", "Date32", "2024-02-29, -0043-03-15"),
    ("time", "'23:59:59.999999', '00:00'", "Time64(µs)", "23:59:59.999999, 00:00:00"),
    (
        "timestamp",
        "'2024-02-29 12:00:00.000001', '1969-12-31 23:59:59'",
        "Timestamp(µs)",
        "2024-02-29T12:00:00.000001, 1969-12-31T23:59:59",
    ),
    (
        "timestamptz",
        "'2024-02-29 12:00:00+02', '9999-12-31 23:59:59.999999Z'",
        "Timestamp(µs, \"UTC\")",
        "2024-02-29T10:00:00Z, 9999-12-31T23:59:59.999999Z",
    ),
    ("bytea", "'\\x00ff', ''", "Binary", "00ff, "),
    ("interval", "'1 day 2 hours', '-3 months'", "Utf8", "P1DT2H, P-3M"),
    ("mood", "'glad', 'so so'", "Utf8", "glad, so so"),
    ("cents", "12.34, 5", "Decimal128(6, 2)", "12.34, 5.00"),
    ("inet", "'10.0.0.1/8', '::1'", "Utf8", "10.0.0.1/8, ::1/128"),
    ("int4range", "'[1,5)', 'empty'", "Utf8", "[1,5), empty"),
    ("oid", "4294967295, 0", "Int64", "4294967295, 0"),
    ("integer[]", "'{1,NULL,3}', '{}'", "List(Int32)", "[1, ∅, 3], []"),
    ("text[]", "'{\"a,b\",c}', '{}'", "List(Utf8)", "[a,b, c], []"),
    ("numeric(4,1)[]", "'{1.5}', '{}'", "List(Decimal128(4, 1))", "[1.5], []"),
    ("timestamptz[]", "'{2024-01-01Z}', '{}'", "List(Timestamp(µs, \"UTC\"))", "[2024-01-01T00:00:00Z], []"),
];

#[tokio::test]
async fn every_type_is_taken_exactly() {
    let Some(server) = PostgresServer::start() else { return };
    let mut connection = connect(&server).await;
    run(&mut connection, "CREATE TYPE mood AS ENUM ('glad', 'so so'); CREATE DOMAIN cents AS numeric(6,2)").await;
    for (at, (kind, values, arrow, want)) in TYPES.iter().enumerate() {
        let name = format!("t{at}");
        run(&mut connection, &format!("CREATE TABLE {name} (id int PRIMARY KEY, v {kind})")).await;
        let values = split(values);
        for (id, value) in values.iter().enumerate() {
            run(&mut connection, &format!("INSERT INTO {name} VALUES ({id}, {value})")).await;
        }
        run(&mut connection, &format!("INSERT INTO {name} VALUES (9, NULL)")).await;
        let (read, outcome) = bytes(table(&server, &name).read("t", None).await.unwrap().unwrap()).await;
        let found: Vec<String> = texts(&read).into_iter().map(|mut row| row.remove(1)).collect();
        let mut want: Vec<String> = split_plain(want, values.len());
        want.push("∅".to_owned());
        assert_eq!(found, want, "{kind}");
        let read_type = batches(&read)[0].schema().field(1).data_type().to_string();
        assert!(read_type.starts_with(arrow.trim_end_matches(')')), "{kind} is {read_type}");
        assert_eq!((outcome.rows, outcome.watermark), (3, None));
    }
}

/// Two SQL values that are separated by a comma outside of quotes.
fn split(values: &str) -> Vec<String> {
    let mut quoted = false;
    let at = values.char_indices().find(|(at, c)| {
        quoted ^= *c == '\'';
        !quoted && values[*at..].starts_with(", ")
    });
    let (first, second) = values.split_at(at.unwrap().0);
    vec![first.to_owned(), second[2..].to_owned()]
}

/// Two texts; the comma between them is the last that leaves both whole.
fn split_plain(values: &str, count: usize) -> Vec<String> {
    let parts: Vec<&str> = values.split(", ").collect();
    let cut = match parts.len() {
        2 => 1,
        more => more - 1,
    };
    let parts = vec![parts[..cut].join(", "), parts[cut..].join(", ")];
    assert_eq!(parts.len(), count);
    parts
}

#[tokio::test]
async fn a_cast_in_a_query_says_the_precision_of_a_number() {
    let Some(server) = PostgresServer::start() else { return };
    let text = "SELECT x AS bare, (x * 2)::numeric(12,3) AS twice, x::numeric(10,2) + 1 AS sum \
         FROM (VALUES (1.5), (2.25)) AS v(x) -- a comment at the end";
    let (read, _) = bytes(query(&server, text).read("t", None).await.unwrap().unwrap()).await;
    let kinds: Vec<String> =
        batches(&read)[0].schema().fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(kinds, ["Utf8", "Decimal128(12, 3)", "Utf8"]);
    assert_eq!(texts(&read), [["1.5", "3.000", "2.50"], ["2.25", "4.500", "3.25"]]);
}

#[rstest]
#[case::infinite_time("SELECT 1 AS id, 'infinity'::timestamptz AS until", "an infinite time in until")]
#[case::infinite_day("SELECT '-infinity'::date AS until", "an infinite time in until")]
#[case::beyond("SELECT '294276-12-31 23:59:59'::timestamp AS until", "a time beyond")]
#[case::not_a_number("SELECT 'NaN'::numeric(5,2) AS n", "(NaN) in n")]
#[case::two_dimensions("SELECT '{{1,2},{3,4}}'::int[] AS n", "more than one dimension in n")]
#[tokio::test]
async fn a_value_without_an_exact_form_is_refused_by_its_place(#[case] text: &str, #[case] says: &str) {
    let Some(server) = PostgresServer::start() else { return };
    let error = refused(&query(&server, text)).await;
    assert!(error.to_string().starts_with("row 1 of what was read has") && error.to_string().contains(says), "{error}");
}

#[tokio::test]
async fn what_is_no_single_select_or_would_write_is_refused() {
    let Some(server) = PostgresServer::start() else { return };
    let mut connection = connect(&server).await;
    run(&mut connection, "CREATE TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x'); CREATE SEQUENCE s").await;
    run(
        &mut connection,
        "CREATE FUNCTION writes() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM t; RETURN 1; END $$",
    )
    .await;
    for text in [
        "DELETE FROM t",
        "WITH gone AS (DELETE FROM t RETURNING a) SELECT a FROM gone",
        "SELECT 1; DELETE FROM t",
        "SELECT 1) AS x; DELETE FROM t; SELECT * FROM (SELECT 1",
        "SELECT 1) AS x; COMMIT; DELETE FROM t; --",
        "SELECT writes()",
        "SELECT nextval('s')",
        "SELECT a FROM t FOR UPDATE",
        "SELECT set_config('transaction_read_only', 'off', true), writes()",
        "SELECT nothing FROM t",
        "SELECT $1::int AS a",
        "SELECT 1 /*",
        "",
    ] {
        let error = refused(&query(&server, text)).await;
        assert!(matches!(error, PostgresError::Query { .. }), "{text}: {error}");
    }
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM t").fetch_one(&mut connection).await.unwrap();
    assert_eq!(count, 1, "nothing was written");
    assert!(matches!(refused(&table(&server, "t; DELETE FROM t")).await, PostgresError::NoTable { .. }));
    assert!(matches!(refused(&table(&server, "not_there")).await, PostgresError::NoTable { .. }));
    let twice = refused(&query(&server, "SELECT 1 AS a, 2 AS a")).await;
    assert!(matches!(twice, PostgresError::TwoColumns { ref column } if column == "a"), "{twice}");
    let of_value = refused(&query(&server, &format!("SELECT '{VALUE}'::text::int AS a"))).await;
    assert!(of_value.to_string().contains("22P02"), "{of_value}");
    let names = whole(&query(&server, "SELECT a AS \"we\"\"ird; --\" FROM t;")).await;
    assert_eq!(names, [["1"]]);
    run(&mut connection, "CREATE SCHEMA \"Odd.Name\"; CREATE TABLE \"Odd.Name\".\"T;\" (a int)").await;
    assert_eq!(whole(&table(&server, "\"Odd.Name\".\"T;\"")).await, Vec::<Vec<String>>::new(), "an empty table");
}

#[tokio::test]
async fn the_same_rows_are_the_same_bytes() {
    let Some(server) = PostgresServer::start() else { return };
    let mut connection = connect(&server).await;
    run(
        &mut connection,
        "CREATE TABLE t (b int, id int PRIMARY KEY); INSERT INTO t SELECT n, n FROM generate_series(1, 40000) n",
    )
    .await;
    let source = table(&server, "t");
    let first = bytes(source.read("t", None).await.unwrap().unwrap()).await;
    // The rows move: another order on the server's disk.
    run(&mut connection, "UPDATE t SET b = b + 1 WHERE id % 3 = 0; UPDATE t SET b = b - 1 WHERE id % 3 = 0").await;
    assert_eq!(bytes(source.read("t", None).await.unwrap().unwrap()).await, first);
    run(&mut connection, "UPDATE t SET b = 0 WHERE id = 17").await;
    assert_ne!(bytes(source.read("t", None).await.unwrap().unwrap()).await, first);
}

#[tokio::test]
async fn a_source_that_is_written_meanwhile_gives_one_moment_and_is_not_locked() {
    let Some(server) = PostgresServer::start() else { return };
    let mut connection = connect(&server).await;
    run(
        &mut connection,
        "CREATE TABLE t (id int PRIMARY KEY, balance bigint, filler text); \
         INSERT INTO t SELECT n, 100, repeat('x', 200) FROM generate_series(1, 50000) n",
    )
    .await;
    let mut other = connect(&server).await;
    let writing = tokio::spawn(async move {
        // Every transaction leaves the sum as it was.
        for n in 0..2_000 {
            let (from, to) = (1 + n % 500, 49_500 + n % 500);
            let text = format!(
                "BEGIN; UPDATE t SET balance = balance - 7 WHERE id = {from}; UPDATE t SET balance = balance + 7 WHERE id = {to}; COMMIT"
            );
            run(&mut other, &text).await;
        }
    });
    let mut reads = 0;
    while reads < 3 || !writing.is_finished() {
        let reading = table(&server, "t").read("t", None).await.unwrap().unwrap();
        if reads == 0 {
            // The read stands open, and whoever writes or cleans up does not wait for it.
            run(&mut connection, "SET lock_timeout = '5s'; DELETE FROM t WHERE id = 25000").await;
            run(&mut connection, "VACUUM t").await;
        }
        let rows = texts(&bytes(reading).await.0);
        let sum: i64 = rows.iter().map(|row| row[1].parse::<i64>().unwrap()).sum();
        assert_eq!(sum, 100 * i64::try_from(rows.len()).unwrap());
        reads += 1;
    }
    writing.await.unwrap();

    run(&mut connection, "BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE").await;
    let short = PostgresLimits { lock: Duration::from_millis(50), ..PostgresLimits::default() };
    let error = refused(&PostgresSource { limits: short, ..table(&server, "t") }).await;
    assert!(error.retry() == Retry::Later && error.to_string().contains("55P03"), "{error}");
}

#[tokio::test]
async fn a_server_that_goes_away_in_the_middle_leaves_no_end() {
    let Some(server) = PostgresServer::start() else { return };
    let mut connection = connect(&server).await;
    run(
        &mut connection,
        "CREATE TABLE t (id int PRIMARY KEY, filler text); \
         INSERT INTO t SELECT n, repeat('x', 300) FROM generate_series(1, 200000) n",
    )
    .await;
    let source = table(&server, "t");
    let mut reading = source.read("t", None).await.unwrap().unwrap();
    let outcome = reading.outcome();
    assert!(matches!(reading.pieces.recv().await, Some(Ok(Piece::Bytes(_)))));
    server.stop("immediate");
    let ended = loop {
        match reading.pieces.recv().await {
            Some(Ok(Piece::Bytes(_))) => {}
            other => break other,
        }
    };
    let error = ended.expect("it is said").expect_err("the end is not said");
    let said = format!("{error} {error:?}");
    assert!(said.contains("PostgreSQL") && !said.contains(PASSWORD), "{said}");
    assert!(outcome.get().is_none());
    let away = source.read("t", None).await.unwrap_err();
    assert_eq!(away.retry(), Retry::Later, "{away}");
    server.start_again();
    assert_eq!(bytes(source.read("t", None).await.unwrap().unwrap()).await.1.rows, 200_000);
    assert!(!server.log().contains(PASSWORD));

    let wrong = PostgresAddress::parse(&server.url_of("postgres", VALUE)).unwrap();
    let error = refused(&PostgresSource { address: wrong, ..source }).await;
    assert!(error.to_string().contains("28P01"), "{error}");
}

#[tokio::test]
async fn a_connection_is_encrypted_as_its_address_says() {
    let Some(server) = PostgresServer::start() else { return };
    let asked = |more: &str| {
        let address = PostgresAddress::parse(&format!("{}?{more}", server.url())).unwrap();
        let rows = PostgresRows::Query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()".to_owned());
        PostgresSource { address, rows, watermark: None, limits: PostgresLimits::default() }
    };
    let plain = refused(&asked("sslmode=require")).await;
    assert!(plain.to_string().contains("no encrypted connection"), "{plain}");
    assert_eq!(whole(&asked("sslmode=prefer")).await, [["false"]]);
    let Some(authority) = server.speak_tls() else { return };
    let by_it = format!("sslrootcert={}", authority.display());
    for more in ["sslmode=prefer", "sslmode=require", &format!("sslmode=verify-full&{by_it}")] {
        assert_eq!(whole(&asked(more)).await, [["true"]], "{more}");
    }
    assert_eq!(whole(&asked("sslmode=disable")).await, [["false"]]);
    // Nobody that this machine trusts has signed it.
    let unknown = refused(&asked("sslmode=verify-full")).await;
    assert!(unknown.to_string().contains("invalid peer certificate"), "{unknown}");
}

/// Reads by a watermark and keeps what a commit would; the ids that came.
async fn next(source: &PostgresSource, kept: &mut Option<Watermark>) -> Vec<i64> {
    let Some(reading) = source.read("t", kept.as_ref()).await.unwrap() else { return Vec::new() };
    let (read, outcome) = bytes(reading).await;
    *kept = Some(Watermark::from_json(&outcome.watermark.unwrap().to_json()).unwrap());
    let mut ids: Vec<i64> = texts(&read).iter().map(|row| row[0].parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

#[rstest]
#[case::instant("timestamptz", "timestamptz '2024-01-01 00:00Z' + interval '1 second' *")]
#[case::local_time("timestamp", "timestamp '2024-01-01' + interval '1 second' *")]
#[case::day("date", "date '2024-01-01' +")]
#[case::number("bigint", "1000 +")]
#[case::numeric("numeric(20,5)", "0.5 +")]
#[case::text("text", "'it''s \\ ' || chr(64 +")]
#[tokio::test]
async fn every_row_is_read_once_by_its_watermark(#[case] kind: &str, #[case] at: &str) {
    let Some(server) = PostgresServer::start() else { return };
    let mut connection = connect(&server).await;
    run(&mut connection, &format!("CREATE TABLE t (id int, changed {kind}, note text)")).await;
    let insert = async |connection: &mut PgConnection, id: i32, changed: i32| {
        let close = if kind == "text" { ")" } else { "" };
        run(connection, &format!("INSERT INTO t VALUES ({id}, {at} {changed}{close}, 'n')")).await;
    };
    let (source, mut kept) = (by(table(&server, "t"), "changed", Lag::None), None);
    assert_eq!(next(&source, &mut kept).await, [0; 0], "an empty table is nothing new");
    insert(&mut connection, 1, 1).await;
    insert(&mut connection, 2, 2).await;
    assert_eq!(next(&source, &mut kept).await, [1, 2]);
    assert_eq!(next(&source, &mut kept).await, [0; 0]);
    // Equal at the edge; the second twice and equal in everything.
    insert(&mut connection, 3, 2).await;
    insert(&mut connection, 4, 2).await;
    insert(&mut connection, 4, 2).await;
    assert_eq!(next(&source, &mut kept).await, [3, 4, 4]);
    assert_eq!(next(&source, &mut kept).await, [0; 0]);
    insert(&mut connection, 5, 3).await;
    insert(&mut connection, 6, 2).await;
    assert_eq!(next(&source, &mut kept).await, [5, 6]);
    run(&mut connection, "UPDATE t SET note = 'm' WHERE id = 5").await;
    assert_eq!(next(&source, &mut kept).await, [5], "a row that changed and kept its watermark is another row");
    assert_eq!(next(&source, &mut kept).await, [0; 0]);
    // A run that failed after its read begins where the last commit was.
    insert(&mut connection, 7, 4).await;
    assert_eq!(next(&source, &mut kept.clone()).await, [7]);
    assert_eq!(next(&source, &mut kept).await, [7]);
    let earlier = Watermark::from_json(&kept.as_ref().unwrap().to_json());
    insert(&mut connection, 9, 5).await;
    assert_eq!(next(&source, &mut kept).await, [9]);
    assert_eq!(Watermark::later(earlier.clone(), kept.clone()), kept);
    assert_eq!(Watermark::later(kept.clone(), earlier), kept);
    assert_eq!(Watermark::later(None, kept.clone()), kept);
    // As it is found again in a commit.
    let mut again = Watermark::from_json(&kept.as_ref().unwrap().for_commit());
    insert(&mut connection, 8, 5).await;
    assert_eq!(next(&source, &mut again).await, [8]);
    assert!(!format!("{kept:?}").contains("2024"), "{kept:?}");
}

#[tokio::test]
async fn rows_that_come_to_light_late_are_read_within_the_lag() {
    let Some(server) = PostgresServer::start() else { return };
    let mut connection = connect(&server).await;
    run(&mut connection, "CREATE TABLE t (id int, changed timestamptz)").await;
    let insert = async |connection: &mut PgConnection, id: i32, minute: i32| {
        run(connection, &format!("INSERT INTO t VALUES ({id}, '2024-01-01 00:{minute:02}Z')")).await;
    };
    let (source, mut kept) = (by(table(&server, "t"), "changed", Lag::Time(Duration::from_secs(600))), None);
    insert(&mut connection, 1, 10).await;
    insert(&mut connection, 2, 20).await;
    assert_eq!(next(&source, &mut kept).await, [1, 2]);
    insert(&mut connection, 3, 11).await;
    insert(&mut connection, 4, 9).await;
    assert_eq!(next(&source, &mut kept).await, [3], "what comes later than the lag is not seen");
    insert(&mut connection, 5, 25).await;
    assert_eq!(next(&source, &mut kept).await, [5]);
    insert(&mut connection, 6, 15).await;
    assert_eq!(next(&source, &mut kept).await, [6]);
    assert_eq!(next(&source, &mut kept).await, [0; 0]);
    let number = by(query(&server, "SELECT id, id::bigint * 10 AS n FROM t"), "n", Lag::Number(5));
    let mut kept = None;
    assert_eq!(next(&number, &mut kept).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(next(&number, &mut kept).await, [0; 0]);
}

#[tokio::test]
async fn a_watermark_that_cannot_be_gone_on_from_is_refused() {
    let Some(server) = PostgresServer::start() else { return };
    let mut connection = connect(&server).await;
    run(&mut connection, "CREATE TABLE t (id int, changed timestamptz, ok boolean)").await;
    run(&mut connection, "INSERT INTO t VALUES (1, '2024-01-01Z'), (2, '2024-01-02Z')").await;
    let source = by(table(&server, "t"), "changed", Lag::None);
    let mut kept = None;
    assert_eq!(next(&source, &mut kept).await, [1, 2]);
    type IsIt = fn(&PostgresError) -> bool;
    let cases: [(&str, IsIt); 4] = [
        ("DELETE FROM t WHERE id = 2", |e| matches!(e, PostgresError::WatermarkWentBack { .. })),
        ("INSERT INTO t VALUES (3, NULL)", |e| matches!(e, PostgresError::WatermarkNull { .. })),
        ("INSERT INTO t VALUES (3, 'infinity')", |e| matches!(e, PostgresError::WatermarkBeyond { .. })),
        ("INSERT INTO t VALUES (3, now() + interval '3 days')", |e| matches!(e, PostgresError::WatermarkBeyond { .. })),
    ];
    for (change, is_it) in cases {
        run(&mut connection, "DELETE FROM t WHERE id > 1; INSERT INTO t VALUES (2, '2024-01-02Z')").await;
        run(&mut connection, change).await;
        let error = source.read("t", kept.as_ref()).await.unwrap_err();
        assert!(is_it(&error) && error.retry() == Retry::Later, "{change}: {error}");
        assert!(!error.to_string().contains("2024"), "{error}");
    }
    for (column, lag) in [
        ("missing", Lag::None),
        ("ok", Lag::None),
        ("id", Lag::Time(Duration::from_secs(1))),
        ("changed", Lag::Number(1)),
    ] {
        let error = refused(&by(table(&server, "t"), column, lag)).await;
        assert_eq!(error.retry(), Retry::Never, "{error}");
    }
    let other = by(table(&server, "t"), "id", Lag::None);
    let error = other.read("t", kept.as_ref()).await.unwrap_err();
    assert!(matches!(error, PostgresError::WatermarkChanged { .. }), "{error}");
    run(&mut connection, "ALTER TABLE t ALTER COLUMN changed TYPE text").await;
    let error = source.read("t", kept.as_ref()).await.unwrap_err();
    let said = "the watermark changed is a text now and was a timestamp with a zone";
    assert!(error.to_string().contains(said), "{error}");
}

/// Resident memory of this process, in MiB.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_rows_pass_in_bounded_memory() {
    let Some(server) = PostgresServer::start() else { return };
    let mut connection = connect(&server).await;
    run(
        &mut connection,
        "CREATE TABLE t (id bigint PRIMARY KEY, who text, at timestamptz, amount numeric(12,2), ok boolean); \
         INSERT INTO t SELECT n, 'patient-' || n % 5000, '2024-01-01Z'::timestamptz + n * interval '1 second', n * 0.01, n % 2 = 0 \
         FROM generate_series(1, 1000000) n",
    )
    .await;
    let (before, began) = (resident_mib(), Instant::now());
    let reading = table(&server, "t").read("t", None).await.unwrap().unwrap();
    let outcome = reading.outcome();
    let (mut pieces, mut total, mut most) = (reading.pieces, 0, 0);
    while let Some(Ok(Piece::Bytes(bytes))) = pieces.recv().await {
        total += bytes.len();
        most = most.max(resident_mib());
    }
    let took = began.elapsed().as_secs_f64();
    assert_eq!(outcome.get().unwrap().rows, 1_000_000);
    eprintln!("1,000,000 rows, {total} bytes in {took:.2} s; resident {before} MiB before, {most} MiB at most");
    // Other tests share the process: what is asserted is that it does not hold the stream.
    assert!(most < before + 256, "{most} MiB after {before}");
}
