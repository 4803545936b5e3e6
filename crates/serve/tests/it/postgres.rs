//! PostgreSQL's protocol over a real socket: rows and types, portions, errors, what is refused, what stops, who is who.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use vitalake_contract::access::Reader;
use vitalake_contract::{Column, ColumnType, Contract, DatasetName, Layer};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::access::{Access, Client, Role, Scope, Token};
use vitalake_serve::engine::QueryLimits;
use vitalake_serve::names::{Names, ScramHash};
use vitalake_serve::postgres::{Postgres, PostgresLimits, PostgresServer};
use vitalake_serve::session::Sessions;

use crate::pg_client::{PgClient, Reply, kinds, message, startup, texts};
use crate::server::Server;

/// A server on a port of its own, over the sessions of another surface.
pub struct Wire {
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
}

impl Wire {
    pub fn over(sessions: &Sessions, access: &Access, limits: PostgresLimits) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let names = Arc::new(Names::new(access, Clock::system()).unwrap());
        let postgres = Postgres { sessions: sessions.clone(), names, certificate: None, limits };
        let (stop, stopped) = oneshot::channel();
        runtime.spawn(PostgresServer::new(listener, postgres).serve(async {
            let _ = stopped.await;
        }));
        Self { address, stop: Some(stop), runtime: Some(runtime) }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.take().map(|stop| stop.send(()));
        self.runtime.take().into_iter().for_each(Runtime::shutdown_background);
    }
}

fn open() -> (Server, Wire) {
    let server = Server::start();
    let wire = Wire::over(&server.sessions, &Access::default(), PostgresLimits::default());
    (server, wire)
}

fn until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn rows_come_with_the_types_of_their_columns() {
    let (_server, wire) = open();
    let mut client = PgClient::connect(wire.address);
    let sql = "SELECT __time, s, l, d, f, arr, l > 0 AS b, CAST(l AS INT) AS i, CAST(__time AS DATE) AS day, \
               1.50 AS n, l::text AS t, NULL AS nothing FROM serving.tiny ORDER BY l";
    let replies = client.simple(&sql.replace("CAST(l AS INT)", "CAST(NULLIF(l, 9007199254740993) AS INT)"));
    assert_eq!(kinds(&replies), "TDDDDDC", "{:?}", replies.iter().map(|reply| reply.field(b'M')).collect::<Vec<_>>());
    let columns = replies[0].columns();
    let expected = [
        ("__time", 1184),
        ("s", 25),
        ("l", 20),
        ("d", 701),
        ("f", 700),
        ("arr", 1016),
        ("b", 16),
        ("i", 23),
        ("day", 1082),
        ("n", 1700),
        ("t", 25),
        ("nothing", 25),
    ];
    assert_eq!(columns, expected.map(|(name, kind)| (name.to_owned(), kind)));
    let rows = texts(&replies);
    let first = ["2024-03-10 12:00:00+00", "b", "-5", "-0", "2.5", "{}", "f", "-5", "2024-03-10", "1.50", "-5", "∅"];
    assert_eq!(rows[0], first);
    assert_eq!(rows[4][1..6], ["", "∅", "∅", "∅", "∅"], "nulls come last");
    assert_eq!(rows[3][3], "1e+300");
}

#[test]
fn words_of_postgresql_mean_what_they_mean_there() {
    let (_server, wire) = open();
    let mut client = PgClient::connect(wire.address);
    for (sql, expected) in [
        ("SELECT count(*) FROM tiny", "5"),
        ("SELECT COUNT(*) FROM Serving.Tiny", "5"),
        ("SELECT max(s) FROM tiny WHERE s ~ '^[ab]$'", "b"),
        ("SELECT l FROM tiny WHERE s = 'a' FOR UPDATE", "42"),
        ("SELECT 7 / 2", "3"),
        ("SELECT round(2.567, 1)", "2.6"),
        ("SELECT 'a' || 1 || 'b'", "a1b"),
        ("SELECT length('üx')", "2"),
        ("SELECT current_database()", "vitalake"),
        ("SELECT current_user", "somebody"),
        ("SELECT date_trunc('day', __time) FROM tiny WHERE s = 'a'", "2024-03-09 00:00:00+00"),
        ("SELECT extract(year FROM __time) FROM tiny WHERE s = 'a'", "2024"),
        ("SELECT __time AT TIME ZONE 'America/New_York' FROM tiny WHERE s = 'a'", "2024-03-09 18:30:00"),
        ("SELECT count(*) FROM tiny WHERE __time >= '2024-03-10'", "4"),
        ("SELECT count(*) FROM tiny WHERE l > '0'", "2"),
        ("SELECT count(*) FROM tiny WHERE l = ANY('{1,-5}'::bigint[])", "2"),
        ("SELECT count(*) FROM tiny WHERE s = ANY(ARRAY['a', 'b'])", "2"),
        ("VALUES (1)", "1"),
        (
            "SELECT count(*) FROM tiny WHERE __time >= TO_TIMESTAMP('2024-03-10 00:00:00.000000', 'YYYY-MM-DD HH24:MI:SS.US')",
            "4",
        ),
        ("SELECT TO_DATE('2024-03-10', 'YYYY-MM-DD')", "2024-03-10"),
        ("SELECT to_timestamp(1700000000.5)", "2023-11-14 22:13:20.5+00"),
        ("SELECT to_char(__time, 'FMDay DD.MM.YYYY') FROM tiny WHERE s = 'a'", "Saturday 09.03.2024"),
        ("SELECT '\"t\"'::text", "\"t\""),
        ("SELECT 'serving.tiny'::regclass::oid = (SELECT oid FROM pg_class WHERE relname = 'tiny')", "t"),
    ] {
        assert!(!client.rows(&format!("EXPLAIN {}", sql.replace(" FOR UPDATE", ""))).is_empty(), "{sql}");
        if sql.contains("FOR UPDATE") {
            assert_eq!(client.refused(sql), "0A000", "{sql}");
            continue;
        }
        assert_eq!(client.rows(sql), [[expected]], "{sql}");
    }
}

#[test]
fn what_is_no_question_is_refused_in_every_form() {
    let (_server, wire) = open();
    let mut client = PgClient::connect(wire.address);
    for (sql, code) in [
        ("INSERT INTO tiny VALUES (1)", "25006"),
        ("UPDATE tiny SET l = 1", "25006"),
        ("DELETE FROM tiny", "25006"),
        ("CREATE TABLE x (a int)", "25006"),
        ("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", "25006"),
        ("DROP TABLE tiny", "25006"),
        ("COPY tiny TO '/tmp/x'", "0A000"),
        ("COPY tiny TO STDOUT", "0A000"),
        ("COPY tiny FROM STDIN", "0A000"),
        ("SELECT 1 INTO x", "0A000"),
        ("WITH x AS (DELETE FROM tiny RETURNING *) SELECT * FROM x", "0A000"),
        ("EXPLAIN INSERT INTO tiny VALUES (1)", "0A000"),
        ("EXPLAIN ANALYZE SELECT 1", "0A000"),
        ("DECLARE c CURSOR WITH HOLD FOR INSERT INTO tiny VALUES (1)", "25006"),
        ("PREPARE p AS DELETE FROM tiny", "0A000"),
        ("SET ROLE steward", "42501"),
        ("SET SESSION AUTHORIZATION steward", "42501"),
        ("SET datafusion.execution.batch_size = 1", "42704"),
        ("SELECT set_config('role', 'steward', false)", "0A000"),
        ("SELECT * FROM read_csv('/etc/passwd')", "0A000"),
        ("SELECT * FROM \"/etc/passwd\"", "42P01"),
        ("SELECT pg_read_file('/etc/passwd')", "42883"),
        ("SELECT lo_import('/etc/passwd')", "42883"),
        ("SELECT * FROM generate_series(1, 1000000000)", "0A000"),
        ("WITH RECURSIVE r AS (SELECT 1) SELECT * FROM r", "0A000"),
        ("SELECT nosuch FROM tiny", "42703"),
        ("SELECT * FROM nosuch", "42P01"),
        ("SELECT 1 +", "42601"),
        ("SELECT 1 / 0", "22012"),
        ("DO $$ BEGIN END $$", "0A000"),
    ] {
        assert_eq!(client.refused(sql), code, "{sql}");
        assert_eq!(client.refused(&format!("SELECT 1; {sql}")), code, "{sql} behind another");
        client.parse("", sql, &[]);
        client.bind("", "", &[], 0);
        client.execute("", 0);
        let (replies, state) = client.sync();
        let refusal = replies.iter().find(|reply| reply.0 == b'E').unwrap_or_else(|| panic!("{sql} is let through"));
        assert_eq!((refusal.field(b'C').as_str(), state), (code, b'I'), "{sql} as messages");
    }
    for sql in ["SELECT 1; DROP TABLE tiny", "SELECT 1; SELECT 2"] {
        client.parse("", sql, &[]);
        let (replies, _) = client.sync();
        assert_eq!(replies[0].field(b'C'), "42601", "{sql}: a prepared statement is one");
    }
    assert_eq!(client.rows("SELECT count(*) FROM tiny"), [["5"]]);
    // A place is told in characters of the whole text.
    let replies = client.simple("SELECT 'ü'; SELECT nosuch FROM tiny");
    assert_eq!(replies.last().unwrap().field(b'P'), "20");
}

#[test]
fn rows_in_portions_are_all_of_them() {
    let (_server, wire) = open();
    let mut client = PgClient::connect(wire.address);
    client.simple("BEGIN");
    client.parse("s", "SELECT n FROM raw.numbers WHERE n < 10000 ORDER BY n", &[]);
    client.bind("p", "s", &[], 0);
    client.describe(b'P', "p");
    client.execute("p", 1000);
    let (mut replies, state) = client.sync();
    assert_eq!((kinds(&replies).chars().filter(|kind| *kind != 'D').collect::<String>(), state), ("12Ts".into(), b'T'));
    let mut rows = texts(&replies);
    while replies.last().unwrap().0 == b's' {
        client.execute("p", 1000);
        replies = client.sync().0;
        rows.extend(texts(&replies));
    }
    let expected: Vec<Vec<String>> = (0..10_000).map(|number: u32| vec![number.to_string()]).collect();
    assert_eq!(rows, expected);
    client.simple("COMMIT");
    client.execute("p", 1);
    let (replies, state) = client.sync();
    assert_eq!((replies[0].field(b'C').as_str(), state), ("34000", b'I'), "a portal ends with its transaction");
}

#[test]
fn parameters_have_types_and_are_values_alone() {
    let (_server, wire) = open();
    let mut client = PgClient::connect(wire.address);
    for (sql, types, values, told, expected) in [
        ("SELECT count(*) FROM tiny WHERE l > $1", vec![], vec!["0"], vec![20], "2"),
        ("SELECT count(*) FROM tiny WHERE s = $1", vec![], vec!["a' OR 'a' = 'a"], vec![25], "0"),
        ("SELECT count(*) FROM tiny WHERE __time >= $1", vec![], vec!["2024-03-10"], vec![1184], "4"),
        ("SELECT $1", vec![], vec!["x"], vec![25], "x"),
        ("SELECT $1 + 1", vec![23], vec!["41"], vec![23], "42"),
        ("SELECT $2::int - $1::int", vec![], vec!["1", "43"], vec![23, 23], "42"),
        ("SELECT count(*) FROM (SELECT l FROM tiny LIMIT $1) x", vec![], vec!["3"], vec![20], "3"),
        ("SELECT count(*) FROM tiny WHERE l = ANY($1)", vec![1016], vec!["{1,-5,7}"], vec![1016], "2"),
        (
            "SELECT count(*) FROM tiny WHERE s LIKE $1 AND d BETWEEN $2 AND $3",
            vec![],
            vec!["%a%", "1", "2"],
            vec![25, 701, 701],
            "1",
        ),
        ("SELECT upper($1)", vec![], vec!["x"], vec![25], "X"),
    ] {
        client.parse("", sql, &types);
        client.describe(b'S', "");
        let values: Vec<Option<&str>> = values.into_iter().map(Some).collect();
        client.bind("", "", &values, 0);
        client.execute("", 0);
        let (replies, _) = client.sync();
        if let Some(error) = replies.iter().find(|reply| reply.0 == b'E') {
            panic!("{sql}: {}", error.field(b'M'));
        }
        assert_eq!(kinds(&replies), "1tT2DC", "{sql}");
        let found: Vec<u32> =
            replies[1].1[2..].chunks(4).map(|kind| u32::from_be_bytes(kind.try_into().unwrap())).collect();
        assert_eq!(found, told, "{sql}");
        assert_eq!(texts(&replies), [[expected]], "{sql}");
    }
}

#[test]
fn after_an_error_nothing_is_done_until_sync_and_a_failed_transaction_says_so() {
    let (_server, wire) = open();
    let mut client = PgClient::connect(wire.address);
    client.parse("bad", "SELECT 1 +", &[]);
    client.bind("", "bad", &[], 0);
    client.execute("", 0);
    client.parse("good", "SELECT 1", &[]);
    let (replies, state) = client.sync();
    assert_eq!((kinds(&replies), state), ("E".to_owned(), b'I'));
    client.bind("", "good", &[], 0);
    assert_eq!(client.sync().0[0].field(b'C'), "26000", "what came after the error was not done");

    client.simple("BEGIN");
    assert_eq!(client.refused("SELECT nosuch"), "42703");
    assert_eq!(client.refused("SELECT 1"), "25P02");
    client.parse("", "SELECT 1", &[]);
    let (replies, state) = client.sync();
    assert_eq!((replies[0].field(b'C').as_str(), state), ("25P02", b'E'));
    let replies = client.simple("COMMIT");
    assert_eq!(replies[0].1, b"ROLLBACK\0");
    assert_eq!(client.rows("SELECT 1; SELECT 2"), [["1"], ["2"]]);
    let replies = client.simple("SELECT 1; SELECT nosuch; SELECT 3");
    assert_eq!(kinds(&replies), "TDCE");
}

#[test]
fn the_binary_form_holds_the_same_values() {
    let (_server, wire) = open();
    let mut client = PgClient::connect(wire.address);
    client.parse("", "SELECT l, d, __time, s, l > 0, 1.5, arr, CAST(__time AS DATE) FROM tiny WHERE s = 'a'", &[]);
    client.bind("", "", &[], 1);
    client.execute("", 0);
    let (replies, _) = client.sync();
    let values = replies.iter().find(|reply| reply.0 == b'D').unwrap().values();
    let value = |index: usize| values[index].clone().unwrap();
    assert_eq!(value(0), 1_i64.to_be_bytes());
    assert_eq!(value(1), 1.5_f64.to_be_bytes());
    assert_eq!(value(2), (1_710_027_000_000_000_i64 - 946_684_800_000_000).to_be_bytes());
    assert_eq!((value(3), value(4)), (b"a".to_vec(), vec![1]));
    assert_eq!(value(5), [0, 2, 0, 0, 0, 0, 0, 1, 0, 1, 0x13, 0x88]);
    assert_eq!(value(6)[..20], [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, 1]);
    assert_eq!(value(7), 8834_i32.to_be_bytes());
}

#[test]
fn cursors_go_forward_and_end_with_their_transaction() {
    let (_server, wire) = open();
    let mut client = PgClient::connect(wire.address);
    assert_eq!(client.refused("DECLARE c CURSOR FOR SELECT 1"), "25P01");
    client.simple("BEGIN");
    client.rows("DECLARE c NO SCROLL CURSOR FOR SELECT n FROM raw.numbers WHERE n < 5 ORDER BY n");
    assert_eq!(client.rows("SELECT name FROM pg_cursors"), [["c"]]);
    assert_eq!(client.rows("FETCH 2 FROM c"), [["0"], ["1"]]);
    assert_eq!(client.rows("FETCH FORWARD ALL FROM c"), [["2"], ["3"], ["4"]]);
    assert_eq!(client.rows("FETCH NEXT FROM c"), Vec::<Vec<String>>::new());
    client.rows("DECLARE \"SQL_CUR1\" CURSOR WITH HOLD FOR SELECT n FROM raw.numbers ORDER BY n");
    client.simple("COMMIT");
    assert_eq!(client.refused("FETCH c"), "34000");
    assert_eq!(client.rows("FETCH 1 IN \"SQL_CUR1\""), [["0"]]);
    client.rows("CLOSE ALL");
    assert_eq!(client.refused("FETCH 1 IN \"SQL_CUR1\""), "34000");
}

#[test]
fn a_connection_keeps_so_many_cursors_and_no_more() {
    let server = Server::start();
    let limits = PostgresLimits { portals_max: 2, ..PostgresLimits::default() };
    let wire = Wire::over(&server.sessions, &Access::default(), limits);
    let mut client = PgClient::connect(wire.address);
    for name in ["a", "b"] {
        client.rows(&format!("DECLARE {name} CURSOR WITH HOLD FOR SELECT 1"));
    }
    assert_eq!(client.refused("DECLARE c CURSOR WITH HOLD FOR SELECT 1"), "53000");
}

const ENDLESS: &str = "SELECT COUNT(*) FROM raw.numbers a CROSS JOIN raw.numbers b WHERE a.n + b.n > 5";
/// Rows that never end: what is stopped is the stream, not the planning.
const STREAM: &str = "SELECT a.n, b.n FROM raw.numbers a CROSS JOIN raw.numbers b";

fn cancel(address: SocketAddr, process: i32, secret: &[u8]) {
    let mut packet = u32::try_from(12 + secret.len()).unwrap().to_be_bytes().to_vec();
    packet.extend(80_877_102_i32.to_be_bytes());
    packet.extend(process.to_be_bytes());
    packet.extend(secret);
    let mut other = PgClient::silent(address);
    other.send(&packet);
    assert!(other.read().is_none());
}

#[test]
fn a_query_is_cancelled_by_its_secret_alone_also_while_its_rows_are_sent() {
    let (server, wire) = open();
    for sql in [ENDLESS, STREAM] {
        let mut client = PgClient::connect(wire.address);
        client.send(&message(b'Q', &[sql.as_bytes(), &[0]].concat()));
        until("the query never ran", || server.engine.running() > 0);
        let (process, secret) = client.key.clone();
        cancel(wire.address, process, b"\0\0\0\0");
        assert!(server.engine.running() > 0, "it is not stopped by another secret");
        let address = wire.address;
        std::thread::spawn(move || cancel(address, process, &secret));
        let (replies, state) = client.round();
        assert_eq!((replies.last().unwrap().field(b'C').as_str(), state), ("57014", b'I'), "{sql}");
        until("the work goes on", || server.engine.running() == 0);
        assert_eq!(client.rows("SELECT 1"), [["1"]]);
    }
}

#[test]
fn a_statement_has_its_time_and_a_client_that_goes_stops_its_work() {
    let (server, wire) = open();
    for sql in [ENDLESS, STREAM] {
        let mut client = PgClient::connect(wire.address);
        client.rows("SET statement_timeout = '300ms'");
        let started = Instant::now();
        client.send(&message(b'Q', &[sql.as_bytes(), &[0]].concat()));
        let (replies, _) = client.round();
        assert_eq!(replies.last().unwrap().field(b'C'), "57014", "{sql}");
        assert!(started.elapsed() < Duration::from_secs(20), "{sql}");

        client.rows("SET statement_timeout = 0");
        client.send(&message(b'Q', &[sql.as_bytes(), &[0]].concat()));
        until("the query never ran", || server.engine.running() > 0);
        drop(client);
        let gone = Instant::now();
        until("the query goes on", || server.engine.running() == 0);
        assert!(gone.elapsed() < Duration::from_secs(5), "{sql}: {:?}", gone.elapsed());
    }
}

fn names(users: usize) -> Access {
    let mut access = Access::default();
    for user in 0..users {
        let client = Client {
            roles: ["steward".to_owned()].into(),
            tokens: vec![Token {
                sha256: Sha256::digest(format!("token-{user}")).into(),
                expires: None,
                scope: Scope::default(),
            }],
            ..Client::default()
        };
        access.clients.insert(format!("user{user}"), client);
    }
    access
}

#[test]
fn interleaved_log_ins_make_nobody_another() {
    let server = Server::start();
    let wire = Wire::over(&server.sessions, &names(8), PostgresLimits::default());
    let address = wire.address;
    std::thread::scope(|scope| {
        for thread in 0..64 {
            scope.spawn(move || {
                for turn in 0..8 {
                    let user = (thread + turn) % 8;
                    let name = format!("user{user}");
                    let mut client = PgClient::try_connect(address, &name, Some(&format!("token-{user}"))).unwrap();
                    assert_eq!(client.rows("SELECT current_user"), [[name.clone()]]);
                }
            });
        }
    });
}

#[test]
fn a_name_is_proved_and_whoever_proves_none_waits() {
    let server = Server::start();
    let wire = Wire::over(&server.sessions, &names(2), PostgresLimits::default());
    let code = |user: &str, password: Option<&str>| {
        let started = Instant::now();
        let refused = PgClient::try_connect(wire.address, user, password).err().map(|reply| reply.field(b'C'));
        (refused.unwrap_or_default(), started.elapsed())
    };
    assert_eq!(code("user0", Some("token-0")).0, "");
    assert_eq!(code("__token__", Some("token-1")).0, "");
    for (user, password) in [("user0", "token-1"), ("user0", ""), ("nobody", "token-0"), ("user0", "user0")] {
        let (refused, took) = code(user, Some(password));
        assert_eq!(refused, "28P01", "{user}");
        assert!(took >= Duration::from_millis(400), "{user} waits");
    }
    let mut client = PgClient::silent(wire.address);
    client.send(&startup(&[("user", "user0"), ("database", "elsewhere")]));
    client.read();
    client.send(&message(b'p', b"token-0\0"));
    assert_eq!(client.read().unwrap().field(b'C'), "3D000");
    // Whoever has no name yet can ask nothing.
    let mut client = PgClient::silent(wire.address);
    client.send(&startup(&[("user", "user0")]));
    client.read();
    client.send(&message(b'Q', b"SELECT 1\0"));
    assert_eq!(client.read().unwrap().field(b'C'), "08P01");
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

/// Plays a client's part of SCRAM-SHA-256; the refusal where it is refused.
fn scram(address: SocketAddr, user: &str, password: &str) -> Result<(), Reply> {
    let mut client = PgClient::silent(address);
    client.send(&startup(&[("user", user), ("database", "vitalake")]));
    let asked = client.read().unwrap();
    let expected = b"\0\0\0\x0aSCRAM-SHA-256\0\0";
    assert_eq!((asked.0, asked.1.as_slice()), (b'R', &expected[..]), "no password is asked for as it is");
    let bare = "n=,r=abc";
    let first = format!("n,,{bare}");
    let length = u32::try_from(first.len()).unwrap().to_be_bytes();
    client.send(&message(b'p', &[b"SCRAM-SHA-256\0", &length[..], first.as_bytes()].concat()));
    let answer = client.read().unwrap();
    assert_eq!(answer.1[..4], [0, 0, 0, 11]);
    let answer = String::from_utf8(answer.1[4..].to_vec()).unwrap();
    let of = |prefix: &str| answer.split(',').find_map(|field| field.strip_prefix(prefix)).unwrap();
    let salt = BASE64_STANDARD.decode(of("s=")).unwrap();
    let mut last = mac(password.as_bytes(), &[&salt[..], &[0, 0, 0, 1]].concat());
    let mut salted = last.clone();
    for _ in 1..of("i=").parse::<u32>().unwrap() {
        last = mac(password.as_bytes(), &last);
        salted.iter_mut().zip(&last).for_each(|(all, last)| *all ^= last);
    }
    let key = mac(&salted, b"Client Key");
    let without_proof = format!("c=biws,r={}", of("r="));
    let signature = mac(&Sha256::digest(&key), format!("{bare},{answer},{without_proof}").as_bytes());
    let proof: Vec<u8> = key.iter().zip(&signature).map(|(key, signature)| key ^ signature).collect();
    client.send(&message(b'p', format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)).as_bytes()));
    let told = client.read().unwrap();
    if told.0 == b'E' {
        return Err(told);
    }
    assert_eq!(told.1[..4], [0, 0, 0, 12]);
    assert_eq!(client.read().unwrap().1, [0; 4]);
    Ok(())
}

#[test]
fn a_password_is_proved_and_not_sent_and_a_token_is_asked_for_as_it_is() {
    let server = Server::start();
    let mut access = names(1);
    let password = vec![ScramHash::Sha256.verifier("correct horse").as_str().into()];
    access.clients.insert("ada".to_owned(), Client { password, ..Client::default() });
    let wire = Wire::over(&server.sessions, &access, PostgresLimits::default());
    assert!(scram(wire.address, "ada", "correct horse").is_ok());
    let refused = scram(wire.address, "ada", "another").unwrap_err();
    assert_eq!(refused.field(b'C'), "28P01");
    assert!(PgClient::try_connect(wire.address, "user0", Some("token-0")).is_ok());
    // A name that there is none of is asked for one of the two, and always for the same.
    let asked = |name: &str| {
        let mut client = PgClient::silent(wire.address);
        client.send(&startup(&[("user", name)]));
        client.read().unwrap().1[3]
    };
    for name in ["nobody", "somebody", "anybody"] {
        assert_eq!(asked(name), asked(name), "{name}");
    }
}

#[test]
fn whoever_says_nothing_or_too_much_is_let_go() {
    let server = Server::start();
    let limits =
        PostgresLimits { startup_timeout: Duration::from_secs(2), connections_max: 2, ..PostgresLimits::default() };
    let wire = Wire::over(&server.sessions, &Access::default(), limits);
    assert!(PgClient::silent(wire.address).read().is_none(), "it has its time");
    let mut huge = PgClient::silent(wire.address);
    huge.send(&u32::MAX.to_be_bytes());
    assert!(huge.read().is_none());
    let mut asks = PgClient::silent(wire.address);
    asks.send(&[0, 0, 0, 8, 4, 210, 22, 47]);
    let mut answer = [0];
    std::io::Read::read_exact(&mut asks.stream, &mut answer).unwrap();
    assert_eq!(&answer, b"N", "there is no certificate");
    drop(asks);
    let settled = || PgClient::try_connect(wire.address, "a", None);
    // Those that have gone leave their places when the server sees it.
    let mut held = Vec::new();
    until("there is no room", || settled().is_ok());
    let started = Instant::now();
    while held.len() < 2 {
        held.extend(settled().ok());
        assert!(started.elapsed() < Duration::from_secs(30), "there is no room");
    }
    let third = settled().err().map(|reply| reply.field(b'C'));
    assert_eq!(third.as_deref(), Some("53300"));
}

#[test]
fn open_cursors_and_portals_hold_no_place_among_the_queries_that_run() {
    let server = Server::with_limits(QueryLimits { queries_max: 2, ..QueryLimits::default() });
    let wire = Wire::over(&server.sessions, &Access::default(), PostgresLimits::default());
    let mut holder = PgClient::connect(wire.address);
    holder.rows("BEGIN");
    for number in 0..4 {
        holder.rows(&format!("DECLARE c{number} CURSOR FOR {STREAM}"));
        assert_eq!(holder.rows(&format!("FETCH 5 FROM c{number}")).len(), 5);
        let name = format!("p{number}");
        holder.parse(&name, STREAM, &[]);
        holder.bind(&name, &name, &[], 0);
        holder.execute(&name, 5);
        assert_eq!(texts(&holder.sync().0).len(), 5);
    }
    assert_eq!(PgClient::connect(wire.address).rows("SELECT count(*) FROM tiny"), [["5"]]);
    for number in 0..4 {
        assert_eq!(holder.rows(&format!("FETCH 20000 FROM c{number}")).len(), 20_000, "it goes on where it was");
        holder.execute(&format!("p{number}"), 20_000);
        assert_eq!(texts(&holder.sync().0).len(), 20_000);
    }
    assert_eq!(server.engine.running(), 8);
    drop(holder);
    until("cursors of a client that has gone are open", || server.engine.running() == 0);
}

#[test]
fn one_client_never_has_all_places() {
    let server = Server::with_limits(QueryLimits { queries_max: 4, ..QueryLimits::default() });
    let read = |name: &str, layer, columns| Contract {
        columns,
        readers: vec![Reader { role: "steward".to_owned(), rows: None, written: None }],
        ..Contract::new(DatasetName::new(name).unwrap(), layer)
    };
    let contracts = [
        read("tiny", Layer::Serving, Vec::new()),
        read("numbers", Layer::Raw, vec![Column::new("n", ColumnType::Long)]),
    ];
    let mut settings = Access::default();
    settings.roles.insert("steward".to_owned(), Role { clearance: "restricted".to_owned(), ..Role::default() });
    let policy = vitalake_serve::policy::Access::new(&settings, &contracts).unwrap();
    let wire = Wire::over(&server.sessions.clone().with_access(Arc::new(policy)), &names(2), PostgresLimits::default());
    let connect = |user: usize| {
        PgClient::try_connect(wire.address, &format!("user{user}"), Some(&format!("token-{user}"))).unwrap()
    };
    let mut busy: Vec<PgClient> = (0..8).map(|_| connect(0)).collect();
    for client in &mut busy {
        client.send(&message(b'Q', &[ENDLESS.as_bytes(), &[0]].concat()));
    }
    until("its queries never ran", || server.engine.running() == 3);
    assert_eq!(connect(1).rows("SELECT count(*) FROM tiny"), [["5"]]);
}

#[test]
fn a_query_that_waits_for_its_turn_is_told_when_too_many_do() {
    let server = Server::with_limits(QueryLimits { queries_max: 1, waiting_max: 0, ..QueryLimits::default() });
    let wire = Wire::over(&server.sessions, &Access::default(), PostgresLimits::default());
    let mut slow = PgClient::connect(wire.address);
    slow.send(&message(b'Q', &[ENDLESS.as_bytes(), &[0]].concat()));
    until("the query never ran", || server.engine.running() > 0);
    assert_eq!(PgClient::connect(wire.address).refused("SELECT 1"), "53300");
}
