//! What is answered over HTTP while the platform is opened, which may have to wait for storage, a broker or its topics.
//!
//! Invariant: liveness is answered, nothing else is promised; status says what is waited for.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use vitalake_ops::status::StatusReport;
use vitalake_runtime::clock::Clock;

use crate::platform::{Outside, Role, away_parts};

/// How long a client may take to ask and to be answered.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Answers on the address of HTTP until dropped.
pub(super) async fn answer(listener: &TcpListener, role: Role, outside: &Outside) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let outside = outside.clone();
        tokio::spawn(async move { tokio::time::timeout(ANSWER_MAX, one(stream, role, &outside)).await });
    }
}

async fn one(mut stream: TcpStream, role: Role, outside: &Outside) -> std::io::Result<()> {
    let mut request = [0; 2048];
    let count = stream.read(&mut request).await?;
    let asks = |path: &[u8]| request.get(..count).is_some_and(|bytes| bytes.starts_with(path));
    let (status, body) = if asks(b"GET /health/live") {
        ("200 OK", json!({"live": true}))
    } else if asks(b"GET /api/v1/status") {
        ("200 OK", serde_json::to_value(report(role, outside))?)
    } else {
        ("503 Service Unavailable", refusal(&report(role, outside)))
    };
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

fn report(role: Role, outside: &Outside) -> StatusReport {
    StatusReport {
        role: role.as_str().to_owned(),
        away: away_parts(outside.away(), Clock::system().now_ms()),
        waiting_for: vec!["tables and the source of records to be opened".to_owned()],
        ..StatusReport::default()
    }
}

/// The answer to everything else: it has the fields of a readiness and of an error.
fn refusal(report: &StatusReport) -> Value {
    let away: Vec<String> =
        report.away.iter().map(|part| format!("{} is away since {}: {}", part.part, part.since, part.reason)).collect();
    let waits = if away.is_empty() { "its log says what they wait for".to_owned() } else { away.join("; ") };
    json!({
        "ready": false,
        "waiting_for": report.waiting_for,
        "away": report.away,
        "error": "unavailable",
        "message": format!("vitalake is starting: tables and the source of records are being opened; {waits}"),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn ask(path: &str, outside: &Outside) -> (String, Value) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        tokio::select! {
            () = answer(&listener, Role::All, outside) => {}
            read = client.read_to_string(&mut text) => { read.unwrap(); }
        }
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap())
    }

    #[tokio::test]
    async fn what_is_waited_for_is_said_before_the_platform_is_open() {
        let outside = Outside::new(&Clock::system());
        outside.kafka.failed("the token endpoint answered 401");
        let (status, body) = ask("/api/v1/status", &outside).await;
        assert!(status.ends_with("200 OK"), "{status}");
        let report: StatusReport = serde_json::from_value(body).unwrap();
        assert_eq!((report.ready, report.away.len(), report.role.as_str()), (false, 1, "all"));
        let (status, body) = ask("/health/ready", &outside).await;
        assert!(status.contains("503"), "{status}");
        assert_eq!(body["away"][0]["part"], "Kafka");
        assert!(body["message"].as_str().unwrap().contains("the token endpoint answered 401"), "{body}");
        assert!(ask("/health/live", &outside).await.0.ends_with("200 OK"));
    }
}
