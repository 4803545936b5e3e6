//! Files delivered to the real server by clients that hang up, stand still or end, and what `ingest` says of a file.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rstest::rstest;
use tempfile::TempDir;

use crate::rehearsal::server::{Place, Server};

const ROWS: usize = 20_000;

/// A project of one delivered dataset, and its server.
struct Here {
    folder: TempDir,
    place: Place,
    server: Option<Server>,
}

fn contract(delivery: &str) -> String {
    format!(
        "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-000000000001\nname: people\nversion: 1.0.0\n\
         status: active\nschema:\n  - name: people\n    properties:\n      - name: who\n        logicalType: string\n        required: true\n\
         \x20     - name: weight\n        logicalType: number\n      - name: seen_on\n        logicalType: date\n\
         customProperties:\n  - {{property: source, value: feed}}\n  - {{property: delivery, value: {delivery}}}\n"
    )
}

impl Here {
    fn new(delivery: &str) -> Self {
        Self::of(&contract(delivery))
    }

    fn of(contract: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        std::fs::create_dir_all(project.join("contracts/raw")).unwrap();
        std::fs::write(project.join("vitalake.yaml"), "name: people\nstorage:\n  reserve_bytes: 0\n").unwrap();
        std::fs::write(project.join("contracts/raw/people.yaml"), contract).unwrap();
        let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
        let server = Some(place.start().ready());
        Self { folder, place, server }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn ingest(&self, file: &Path) -> Command {
        let mut command = Command::new(crate::binary());
        command.arg("ingest").arg("people").arg(file).args(["--server", &format!("http://{}", self.place.http)]);
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Exit status, and what was said on both outputs.
    fn ingested(&self, file: &Path) -> (i32, String) {
        let output = self.ingest(file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    fn rows(&self) -> i64 {
        self.place.numbers("SELECT COUNT(*) FROM raw.people")[0]
    }

    fn connect(&self, length: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.place.http).unwrap();
        write!(
            stream,
            "POST /api/v1/deliveries/people?name=all.ndjson HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n"
        )
        .unwrap();
        stream
    }

    fn until_given_up(&self, deliveries: usize) {
        let given_up = || self.place.said().matches("a delivery was given up").count() >= deliveries;
        self.place.until("given up", given_up);
    }
}

fn body(rows: usize) -> Vec<u8> {
    let row =
        |n| format!("{{\"who\":\"w{n}\",\"more\":\"some text that is long enough to fill a few packets {n}\"}}\n");
    (0..rows).map(row).collect::<String>().into_bytes()
}

#[derive(Clone, Copy, PartialEq)]
enum Ends {
    Within,
    BeforeTheLastByte,
    AfterTheLastByte,
}

#[rstest]
fn a_client_that_hangs_up_has_all_of_its_file_delivered_or_nothing(
    #[values(false, true)] chunked: bool,
    #[values(Ends::Within, Ends::BeforeTheLastByte, Ends::AfterTheLastByte)] ends: Ends,
) {
    let here = Here::new("replace");
    assert_eq!(here.ingested(&here.file("first.ndjson", "{\"who\":\"a\"}\n{\"who\":\"b\"}\n")).0, 0);
    let mut sent = body(ROWS);
    let length = format!("Content-Length: {}", sent.len());
    if chunked {
        let whole = std::mem::take(&mut sent);
        for chunk in whole.chunks(65_536) {
            sent.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            sent.extend_from_slice(chunk);
            sent.extend_from_slice(b"\r\n");
        }
        sent.extend_from_slice(b"0\r\n\r\n");
    }
    let length = if chunked { "Transfer-Encoding: chunked".to_owned() } else { length };
    let until = match ends {
        Ends::Within => sent.len() / 2,
        Ends::BeforeTheLastByte => sent.len() - 1,
        Ends::AfterTheLastByte => sent.len(),
    };
    let mut stream = here.connect(&length);
    stream.write_all(&sent[..until]).unwrap();
    drop(stream);
    if ends == Ends::AfterTheLastByte {
        // Everything came; nobody waits for the answer. It is all there, and never a part of it.
        here.place.until("delivered", || here.rows() != 2);
        assert_eq!(here.rows(), ROWS as i64);
        return;
    }
    here.until_given_up(1);
    assert!(here.place.said().contains("dataset=\"people\"") || here.place.said().contains("dataset=people"));
    assert!(!here.place.said().contains("w17"), "a value in the log");
    assert_eq!(here.rows(), 2);
    // Nothing stays behind of it: the next file is taken as ever.
    assert_eq!(here.ingested(&here.file("next.ndjson", "{\"who\":\"c\"}\n")).0, 0);
    assert_eq!(here.rows(), 1);
}

#[test]
fn a_client_that_is_killed_delivers_nothing() {
    let here = Here::new("append");
    let pipe = here.folder.path().join("pipe.ndjson");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut client = here.ingest(&pipe).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    writer.write_all(&body(ROWS)).unwrap();
    client.kill().unwrap();
    client.wait().unwrap();
    here.until_given_up(1);
    assert_eq!(here.rows(), 0);
}

#[test]
fn a_platform_that_ends_takes_nothing_of_a_file_that_still_comes() {
    let mut here = Here::new("append");
    let sent = body(ROWS);
    let mut stream = here.connect(&format!("Content-Length: {}", sent.len()));
    stream.write_all(&sent[..sent.len() / 2]).unwrap();
    here.server.take().unwrap().stop();
    drop(stream);
    here.server = Some(here.place.start().ready());
    assert_eq!(here.rows(), 0);
}

#[test]
fn a_sender_who_stands_still_holds_up_nobody() {
    let here = Here::new("append");
    let mut slow = here.connect("Content-Length: 24");
    slow.write_all(b"{\"who\":\"a\"}\n").unwrap();
    assert_eq!(here.ingested(&here.file("other.ndjson", "{\"who\":\"b\"}\n")).0, 0);
    assert_eq!(here.rows(), 1);
    assert!(here.place.flush());
    slow.write_all(b"{\"who\":\"c\"}\n").unwrap();
    slow.shutdown(Shutdown::Write).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    here.place.until("delivered", || here.rows() == 3);
    let by_delivery = "SELECT COUNT(*) FROM raw.people WHERE \"_partition\" = 2";
    assert_eq!(here.place.numbers(by_delivery), [2]);
    let mut answer = String::new();
    let _ = slow.read_to_string(&mut answer);
}

#[test]
fn a_file_that_changes_while_it_is_read_is_not_delivered() {
    let here = Here::new("append");
    let sent = body(200_000);
    let path = here.folder.path().join("growing.ndjson");
    std::fs::write(&path, &sent).unwrap();
    // The server reads no further until it is told to: the file grows while most of it is still to be read.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(crate::binary());
    command.arg("ingest").arg("people").arg(&path).env("NO_COLOR", "1");
    command.args(["--server", &format!("http://{}", listener.local_addr().unwrap())]);
    let client = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut health, _) = listener.accept().unwrap();
    let mut request = [0; 1024];
    assert!(health.read(&mut request).unwrap() > 0);
    health.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}").unwrap();
    drop(health);
    let (mut upload, _) = listener.accept().unwrap();
    assert!(upload.read(&mut request).unwrap() > 0);
    std::fs::File::options().append(true).open(&path).unwrap().write_all(b"{\"who\":\"late\"}\n").unwrap();
    upload.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
    let mut received = Vec::new();
    let _ = upload.read_to_end(&mut received);
    drop(upload);
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("changed while it was read; nothing of it was loaded"), "{said}");
    assert!(received.len() < sent.len(), "the whole file was sent as if it were whole");
}

#[test]
fn the_report_counts_what_did_not_fit() {
    let here = Here::new("append");
    let file = here.file(
        "cells.csv",
        "who,weight,seen_on,mood\na,\"70,5\", 2026-05-01 ,well\nb,x,2026-05-01,\nc,1,2026-05-01,\n,1,,\n",
    );
    let (status, said) = here.ingested(&file);
    assert_eq!(status, 0, "{said}");
    insta::assert_snapshot!("ingest_did_not_fit", said);
}

#[rstest]
#[case::array("[\n{\"who\":\"a\"},\n{\"who\":\"b\"}\n]\n", 2)]
#[case::pretty("{\n  \"who\": \"a\"\n}\n", 1)]
#[case::lines("{\"who\":\"a\"}\r{\"who\":\"b\"}\r{\"who\":\"c\"}", 3)]
fn json_of_any_shape_replaces_by_all_of_its_rows(#[case] file: &str, #[case] rows: i64) {
    let here = Here::new("replace");
    let (status, said) = here.ingested(&here.file("people.json", file));
    assert_eq!(status, 0, "{said}");
    assert_eq!(here.rows(), rows);
    let (status, said) = here.ingested(&here.file("cut.json", "[{\"who\":\"a\"},"));
    assert!(status == 1 && said.contains("the file ends before the array is closed"), "{said}");
    assert_eq!(here.rows(), rows);
}

#[test]
fn rules_about_a_delivery_refuse_it_whole_or_are_said_of_it() {
    let rules = "    quality:
      - {id: enough, metric: rowCount, mustBeGreaterOrEqualTo: 2, severity: fatal}
      - {id: weighed, metric: nullValues, arguments: {properties: [weight]}, unit: percent, mustBeLessThan: 40}
      - {id: once, metric: duplicateValues, arguments: {properties: [who]}, mustBe: 0, severity: warn}
      - {id: known, type: sql, mustBe: 0, query: 'SELECT SUM(weight / (weight - weight)) FROM {object}'}
customProperties:
";
    let here = Here::of(&contract("append").replace("customProperties:\n", rules));
    let (status, said) = here.ingested(&here.file("few.csv", "who,weight,seen_on\na,1,2026-01-01\n"));
    assert_ne!(status, 0);
    assert!(said.contains("enough") && said.contains("1 in place of at least 2"), "{said}");
    assert_eq!(here.rows(), 0);
    let (status, said) =
        here.ingested(&here.file("more.csv", "who,weight,seen_on\na,1,2026-01-01\na,,today\nb,heavy,2026-01-01\n"));
    assert_eq!(status, 0, "{said}");
    for said_of in [
        "weighed does not hold (error): 66.6",
        "once does not hold (warning): 2 in place of 0",
        "known does not hold (error): could not be evaluated",
    ] {
        assert!(said.contains(said_of), "{said_of}: {said}");
    }
    assert!(!said.contains("enough"), "{said}");
    assert_eq!(here.rows(), 3);
    let of_second = "SELECT rule, got, passed FROM ops.checks WHERE scope = 'delivery 1' ORDER BY rule";
    here.place.until("told", || here.place.ask(of_second).is_ok_and(|rows| rows.len() >= 6));
    let rows = here.place.ask(of_second).unwrap();
    let found: Vec<String> =
        rows.iter().map(|row| format!("{} {} {}", row[0].as_str().unwrap(), row[1], row[2])).collect();
    assert_eq!(
        found.iter().map(|f| f.split(' ').next().unwrap()).collect::<Vec<_>>(),
        ["enough", "known", "once", "seen_on.unread", "weighed", "weight.unread"]
    );
    assert_eq!((found[0].as_str(), found[3].as_str()), ("enough 3.0 true", "seen_on.unread 1.0 false"));
}
