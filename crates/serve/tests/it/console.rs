//! What the console asks, over a real socket: answers that are asked for again, texts that look like pages, and listeners.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use rstest::rstest;

use crate::client::send;
use crate::server::{ODD, Server};

/// Somebody who listens for changes, with what he is told.
fn listener(server: &Server) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    BufReader::new(stream)
}

fn line(of: &mut BufReader<TcpStream>, start: &str) -> String {
    let mut text = String::new();
    loop {
        text.clear();
        assert!(of.read_line(&mut text).unwrap() > 0, "the answer ended before {start}");
        if text.starts_with(start) {
            return text.trim().to_owned();
        }
    }
}

#[rstest]
#[case("/api/v1/session")]
#[case("/api/v1/today")]
#[case("/api/v1/catalogue")]
#[case("/api/v1/catalogue/tiny")]
#[case("/api/v1/catalogue/serving.tiny")]
#[case("/api/v1/lineage")]
#[case("/api/v1/lineage/tiny")]
#[case("/api/v1/dashboards")]
fn a_text_that_looks_like_a_page_is_a_text_of_json(#[case] path: &str) {
    let server = Server::start();
    let reply = send(&server, "GET", path, &[], None);
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_eq!(reply.headers["content-type"], "application/json");
    assert_eq!(reply.headers["x-content-type-options"], "nosniff");
    reply.json();
    if !path.ends_with("dashboards") && !path.ends_with("lineage") {
        assert!(reply.json().to_string().contains(&serde_json::to_string(ODD).unwrap()), "{}", reply.body);
    }
    let head = send(&server, "HEAD", path, &[], None);
    assert_eq!((head.status, head.body.as_str()), (200, ""));
}

#[test]
fn who_looks_again_is_sent_what_is_new_alone_and_many_share_one_look() {
    let server = Server::start();
    let first = send(&server, "GET", "/api/v1/catalogue", &[], None);
    let tag = first.headers["etag"].as_str();
    assert_eq!(first.headers["cache-control"], "private, no-cache");
    let again = send(&server, "GET", "/api/v1/catalogue", &[("if-none-match", tag)], None);
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        assert_eq!(send(&server, "GET", "/api/v1/today", &[], None).status, 200);
    }
    let seconds = begun.elapsed().as_secs() as usize;
    assert!(server.looks() <= seconds + 2, "{} looks in {seconds} s", server.looks());
}

#[rstest]
#[case("/api/v1/catalogue/nothing", 404)]
#[case("/api/v1/catalogue/raw.tiny", 404)]
#[case("/api/v1/lineage/%3Cscript%3E", 404)]
#[case("/api/v1/dashboards/..%2f..%2fvitalake", 404)]
#[case("/api/v1/dashboards/x?from=yesterday", 400)]
#[case("/api/v1/nothing", 404)]
#[case("/api/v2", 404)]
fn what_is_not_there_is_told_as_json(#[case] path: &str, #[case] status: u16) {
    let server = Server::start();
    let reply = send(&server, "GET", path, &[], None);
    assert_eq!(reply.status, status, "{}", reply.body);
    assert!(reply.json()["message"].is_string(), "{}", reply.body);
}

#[test]
fn a_listener_is_told_of_changes_and_not_more_listen_than_may() {
    let server = Server::start();
    let mut first = listener(&server);
    assert_eq!(line(&mut first, "HTTP/1.1"), "HTTP/1.1 200 OK");
    assert_eq!(line(&mut first, "event:"), "event: alive");
    // What the first look finds is no news; a change after it is.
    let begun = std::time::Instant::now();
    let told = std::thread::scope(|scope| {
        let told = scope.spawn(|| {
            loop {
                if line(&mut first, "event:") == "event: changed" {
                    return line(&mut first, "data:");
                }
            }
        });
        while !told.is_finished() {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing was told");
            server.commit();
            std::thread::sleep(Duration::from_millis(100));
        }
        told.join().unwrap()
    });
    assert_eq!(told, r#"data: {"datasets":["serving.tiny"]}"#);
    let mut others: Vec<BufReader<TcpStream>> = (0..400).map(|_| listener(&server)).collect();
    let said: Vec<String> = others.iter_mut().map(|other| line(other, "HTTP/1.1")).collect();
    let taken = said.iter().filter(|said| said.ends_with("200 OK")).count();
    assert_eq!(taken, 127, "with the first");
    assert!(said.iter().all(|said| said.ends_with("200 OK") || said.contains("503")), "{said:?}");
    // Others are answered meanwhile, and a place is free once its listener is gone.
    assert_eq!(send(&server, "GET", "/api/v1/today", &[], None).status, 200);
    drop(others);
    let begun = std::time::Instant::now();
    while !line(&mut listener(&server), "HTTP/1.1").ends_with("200 OK") {
        assert!(begun.elapsed() < Duration::from_secs(60), "no place was given back");
        std::thread::sleep(Duration::from_millis(50));
    }
}
