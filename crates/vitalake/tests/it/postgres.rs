//! A feed that reads a real PostgreSQL server, over the real binary: the values of every type in SQL, a watermark over
//! stops and the loss of its state, a server that goes away in the middle of a read.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::postgres_server::{PASSWORD, PostgresServer};
use crate::rehearsal::server::{Place, Server};

struct Here {
    database: PostgresServer,
    _folder: TempDir,
    place: Place,
    server: Option<Server>,
}

impl Here {
    /// A dataset of these properties, `name: type and more`, and a feed with these lines of its source.
    fn new(sql: &str, properties: &[&str], delivery: &str, source: &str) -> Option<Self> {
        let database = PostgresServer::start()?;
        database.sql(sql);
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        let put = |name: &str, text: &str| {
            let path = project.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("vitalake.yaml", "name: clinic\nstorage:\n  reserve_bytes: 0\n");
        put("contracts/raw/claims.yaml", &contract(properties, delivery));
        let url = database.url().replace(PASSWORD, "${CLINIC_PASSWORD}");
        // Runs by hand alone.
        let feed =
            format!("name: claims\ndataset: claims\nschedule: 0 0 29 2 *\nsource:\n  postgres: \"{url}\"\n{source}");
        put("feeds/claims.yaml", &feed);
        let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
        let place = place.set("CLINIC_PASSWORD", PASSWORD);
        let mut here = Self { database, _folder: folder, place, server: None };
        here.start();
        Some(here)
    }

    fn start(&mut self) {
        self.server = Some(self.place.start().ready());
    }

    /// Exit status and output of a run by hand.
    fn run(&self) -> (i32, String) {
        let mut command = Command::new(crate::binary());
        command.args(["feed", "run", "claims", "--server", &format!("http://{}", self.place.http)]);
        let output = command.env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains(PASSWORD), "{said}");
        (output.status.code().unwrap(), said)
    }

    fn ids(&self) -> Vec<i64> {
        let rows = self.place.ask("SELECT id FROM raw.claims ORDER BY id").unwrap();
        rows.iter().map(|row| row[0].as_i64().unwrap()).collect()
    }
}

fn contract(properties: &[&str], delivery: &str) -> String {
    let property = |line: &&str| {
        let (name, rest) = line.split_once(": ").unwrap();
        format!("      - {{name: {name}, logicalType: {rest}}}\n")
    };
    let properties: String = properties.iter().map(property).collect();
    format!(
        "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-000000000001\nname: claims\nversion: 1.0.0\n\
         status: active\nschema:\n  - name: claims\n    properties:\n{properties}customProperties:\n  \
         - {{property: source, value: feed}}\n  - {{property: delivery, value: {delivery}}}\n"
    )
}

const TYPES: &str = "CREATE TYPE mood AS ENUM ('glad', 'so so');
    CREATE TABLE t (id int PRIMARY KEY, yes boolean, small smallint, large bigint, single real, dbl double precision,
        money numeric(12,2), exact numeric(30,10), bare numeric, word text, name varchar(9), key uuid, doc jsonb, day date,
        tod time, seen timestamp, at timestamptz, span interval, feels mood, list int[], net inet);
    INSERT INTO t VALUES
      (1, true, -32768, 9223372036854775807, 1.5, 0.1, 1234567.89, 12345678901234567890.0123456789, 1.50, 'it''s ü', 'ab',
       '0191e2f0-0000-7000-8000-00000000000a', '{\"a\": [1, null]}', '2024-02-29', '23:59:59.5', '2024-07-01 12:00:00',
       '2024-07-01 12:00:00.000001+02', '1 day 2 hours', 'so so', '{1,NULL}', '10.0.0.0/8'),
      (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
      (3, false, 32767, -9223372036854775808, -0.1, 1e300, -0.05, -0.0000000001, 0, '', '', '00000000-0000-0000-0000-000000000000',
       '[]', '1582-10-15', '00:00', '1969-12-31 23:00:00', '9999-12-31 23:59:59.999999+00', '-3 months', 'glad', '{}', '::1')";
const PROPERTIES: &[&str] = &[
    "id: integer, required: true",
    "yes: boolean",
    "small: integer",
    "large: integer",
    "single: number",
    "dbl: number",
    "money: number",
    "exact: string",
    "bare: string",
    "word: string",
    "name: string",
    "key: string",
    "doc: object",
    "day: date",
    "tod: string",
    "seen: timestamp, logicalTypeOptions: {format: 'yyyy-MM-dd HH:mm:ss', defaultTimezone: Europe/Berlin}",
    "at: timestamp",
    "span: string",
    "feels: string",
    "list: array",
    "net: string",
];

#[test]
fn a_table_of_every_type_is_in_raw_with_the_values_that_it_has() {
    let source = "  table: public.t\n";
    let Some(here) = Here::new(TYPES, PROPERTIES, "replace", source) else { return };
    let (status, said) = here.run();
    assert!(status == 0 && said.contains("3 accepted"), "{said}");
    let columns: Vec<&str> = PROPERTIES.iter().map(|line| line.split_once(':').unwrap().0).collect();
    let rows = here.place.ask(&format!("SELECT \"{}\" FROM raw.claims ORDER BY id", columns.join("\", \""))).unwrap();
    let all = |row: &[Value]| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    let want = [
        r#"1 | true | -32768 | 9223372036854775807 | 1.5 | 0.1 | 1234567.89 | "12345678901234567890.0123456789" | "1.50" | "it's ü" | "ab" | "0191e2f0-0000-7000-8000-00000000000a" | "{\"a\": [1, null]}" | "2024-02-29T00:00:00.000Z" | "23:59:59.500" | "2024-07-01T10:00:00.000Z" | "2024-07-01T10:00:00.000Z" | "P1DT2H" | "so so" | "[1,null]" | "10.0.0.0/8""#,
        "2 | null | null | null | null | null | null | null | null | null | null | null | null | null | null | null | null | null | null | null | null",
        r#"3 | false | 32767 | -9223372036854775808 | -0.10000000149011612 | 1e+300 | -0.05 | "-0.0000000001" | "0" | "" | "" | "00000000-0000-0000-0000-000000000000" | "[]" | "1582-10-15T00:00:00.000Z" | "00:00:00" | "1969-12-31T22:00:00.000Z" | "9999-12-31T23:59:59.999Z" | "P-3M" | "glad" | "[]" | "::1/128""#,
    ];
    assert_eq!(rows.iter().map(|row| all(row)).collect::<Vec<_>>(), want);
    let (status, said) = here.run();
    assert!(status == 0 && said.contains("loaded before"), "the same rows are the same delivery: {said}");
    here.database.sql("DELETE FROM t WHERE id = 2; UPDATE t SET word = 'changed' WHERE id = 1");
    let (status, said) = here.run();
    assert_eq!(status, 0, "{said}");
    assert_eq!(here.ids(), [1, 3], "what is absent is gone");
}

#[test]
fn rows_after_a_watermark_are_loaded_once_over_stops_and_the_loss_of_the_control_store() {
    let sql =
        "CREATE TABLE t (id int, changed timestamptz); INSERT INTO t VALUES (1, '2024-01-01Z'), (2, '2024-01-02Z')";
    let source = "  table: t\n  watermark: changed\n  lag: 1h\n";
    let properties = &["id: integer, required: true", "changed: timestamp"];
    let Some(mut here) = Here::new(sql, properties, "append", source) else { return };
    assert!(here.run().1.contains("2 accepted"));
    assert!(here.run().1.contains("nothing new"));
    here.database.sql("INSERT INTO t VALUES (3, '2024-01-02Z'), (4, '2024-01-01 23:30Z'), (5, '2024-01-01 22:30Z')");
    assert!(here.run().1.contains("2 accepted"), "equal, and late within the lag");
    assert_eq!(here.ids(), [1, 2, 3, 4]);

    // Killed, and without what it kept: the commit says how far it was.
    here.server.take().unwrap().kill();
    fs::remove_file(here.place.data.join("control.db")).unwrap();
    here.start();
    assert!(here.run().1.contains("nothing new"));
    here.database.sql("INSERT INTO t VALUES (6, '2024-01-02Z'), (7, '2024-01-03Z')");
    assert!(here.run().1.contains("2 accepted"));
    assert_eq!(here.ids(), [1, 2, 3, 4, 6, 7]);

    here.database.sql("INSERT INTO t VALUES (8, NULL)");
    let (_, said) = here.run();
    assert!(said.contains("some rows have no changed"), "{said}");
    here.database.sql("DELETE FROM t WHERE id IN (7, 8)");
    let (_, said) = here.run();
    assert!(said.contains("the newest changed is before the last"), "{said}");
    here.database.sql("INSERT INTO t VALUES (9, '2024-01-04Z')");
    assert!(here.run().1.contains("1 accepted"));
    assert_eq!(here.ids(), [1, 2, 3, 4, 6, 7, 9]);
}

#[test]
fn a_server_that_goes_away_in_the_middle_of_a_read_leaves_nothing_and_is_read_again() {
    // Each row takes the server a while, so that its end comes within the read.
    let query = "SELECT id, repeat('x', 2000) AS filler FROM generate_series(1, 60000) AS g(id) WHERE pg_sleep(CASE WHEN id % 100 = 0 THEN pause ELSE 0 END) IS NOT NULL";
    let source = format!("  query: {}\n", query.replace("pause", "(SELECT seconds FROM pauses)"));
    let sql = "CREATE TABLE pauses (seconds float8); INSERT INTO pauses VALUES (0.05)";
    let properties = &["id: integer, required: true", "filler: string"];
    let Some(here) = Here::new(sql, properties, "append", &source) else { return };
    let reading =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'vitalake feed claims' AND query LIKE 'COPY%'";
    let said = std::thread::scope(|scope| {
        let running = scope.spawn(|| here.run());
        here.place.until("it reads", || here.database.sql(reading) == "1");
        // The first rows are in the platform's hands by then, or will be: either way nothing of them is loaded.
        here.database.stop("immediate");
        running.join().unwrap()
    });
    assert_ne!(said.0, 0, "{said:?}");
    assert!(said.1.contains("PostgreSQL"), "{said:?}");
    assert_eq!(here.ids(), [0_i64; 0]);
    assert!(here.place.is_ready());
    here.database.start_again();
    here.database.sql("UPDATE pauses SET seconds = 0");
    // It is tried again by itself, too; either way it is loaded once.
    let _ = here.run();
    here.place.until("it is loaded", || {
        here.place.numbers("SELECT COUNT(*), COUNT(DISTINCT id) FROM raw.claims") == [60_000, 60_000]
    });
    assert!(!here.place.said().contains(PASSWORD) && !here.database.log().contains(PASSWORD));
    let files = Command::new("grep").args(["-rlF", PASSWORD]).arg(&here.place.data).output().unwrap();
    assert!(files.stdout.is_empty(), "{}", String::from_utf8_lossy(&files.stdout));
    assert!(Path::new(&here.place.data).exists());
}
