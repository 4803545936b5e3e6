//! Files on their way in: what says their end, what does not, and who stands still.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use rstest::rstest;
use vitalake_serve::engine::QueryLimits;
use vitalake_serve::http::HttpLimits;

use crate::server::Server;

const LINE: &str = "POST /api/v1/deliveries/tiny?name=a.csv HTTP/1.1\r\nHost: localhost\r\n";

/// Sends a request as it is given, and what comes back; nothing when nothing does.
fn sent(server: &Server, request: &str, then: impl FnOnce(&TcpStream)) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    then(&stream);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[rstest]
#[case::length("Content-Length: 10\r\n", "0123456789", Some(10))]
#[case::shorter("Content-Length: 11\r\n", "0123456789", None)]
#[case::nothing_of_it("Content-Length: 11\r\n", "", None)]
#[case::chunks("Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n0\r\n\r\n", Some(10))]
#[case::no_last_chunk("Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n", None)]
#[case::within_a_chunk("Transfer-Encoding: chunked\r\n", "b\r\n0123456789", None)]
#[case::within_the_last_chunk("Transfer-Encoding: chunked\r\n", "a\r\n0123456789\r\n0\r\n", None)]
fn a_body_ends_where_it_said_it_would(#[case] head: &str, #[case] body: &str, #[case] whole: Option<u64>) {
    let server = Server::start();
    let request = format!("{LINE}{head}Connection: close\r\n\r\n{body}");
    sent(&server, &request, |stream| {
        // The rest will not come.
        if whole.is_none() {
            stream.shutdown(Shutdown::Write).unwrap();
        }
    });
    server.seen_by_the_platform(1);
    assert_eq!(server.files(), [whole]);
}

#[rstest]
#[case("", "HTTP/1.1 411 ", "nothing says where the file ends")]
#[case("Content-Length: 2\r\nContent-Encoding: gzip\r\n", "HTTP/1.1 415 ", "send it without that header, packed")]
fn a_file_whose_end_or_form_is_not_said_is_refused(#[case] head: &str, #[case] status: &str, #[case] says: &str) {
    let server = Server::start();
    let answer = sent(&server, &format!("{LINE}{head}Connection: close\r\n\r\nxx"), |_| {});
    assert!(answer.starts_with(status) && answer.contains(says), "{answer}");
    assert_eq!(server.files(), []);
}

#[test]
fn who_stands_still_is_told_so_and_holds_nobody_up() {
    let limits = HttpLimits { pause_max: Duration::from_millis(300), ..HttpLimits::default() };
    let server = Server::with(QueryLimits::default(), limits);
    let answer = sent(&server, &format!("{LINE}Content-Length: 10\r\n\r\n01234"), |_| {
        let other = sent(&server, &format!("{LINE}Content-Length: 2\r\nConnection: close\r\n\r\nok"), |_| {});
        assert!(other.starts_with("HTTP/1.1 200 "), "{other}");
    });
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"timed_out\""), "{answer}");
}

#[test]
fn more_files_than_may_come_at_once_wait_and_then_are_told_so() {
    let limits =
        HttpLimits { deliveries_max: 1, delivery_wait_max: Duration::from_millis(200), ..HttpLimits::default() };
    let server = Server::with(QueryLimits::default(), limits);
    let first = sent(&server, &format!("{LINE}Content-Length: 3\r\nConnection: close\r\n\r\n0"), |mut first| {
        server.begun_by_the_platform(1);
        let second = sent(&server, &format!("{LINE}Content-Length: 2\r\nConnection: close\r\n\r\nno"), |_| {});
        assert!(second.starts_with("HTTP/1.1 503 ") && second.contains("1 files are being delivered"), "{second}");
        first.write_all(b"12").unwrap();
    });
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    let third = sent(&server, &format!("{LINE}Content-Length: 2\r\nConnection: close\r\n\r\nok"), |_| {});
    assert!(third.starts_with("HTTP/1.1 200 "), "{third}");
}
