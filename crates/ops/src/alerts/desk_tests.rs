//! A desk with a lake and receivers that are really there: what is kept, what arrives, who takes over.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Inbox, channel};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use vitalake_contract::alert::AlertRule;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::notify::Receiver;
use vitalake_runtime::events::Events;

use super::ask::{Rows, observations};
use super::desk::{Desk, DeskSetup};
use super::lineage::Lineage;
use super::report::{AckRequest, SilenceRequest};
use super::rule::rules;
use super::send::{SendError, Sender};
use super::signal::Facts;

/// Answers every request with these lines until dropped, and passes on the bodies.
fn receiver(answer: &'static str) -> (SocketAddr, Inbox<String>) {
    receiver_by(move |_| answer)
}

/// Answers every request by its body until dropped, and passes on the bodies.
pub(super) fn receiver_by(answer: impl Fn(&str) -> &'static str + Send + 'static) -> (SocketAddr, Inbox<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (sender, inbox)) = (listener.local_addr().unwrap(), channel());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut length, mut line) = (0, String::new());
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                let (name, value) = line.trim().split_once(':').unwrap_or_default();
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let body = String::from_utf8(body).unwrap();
            let answer = answer(&body);
            if sender.send(body).is_err() {
                return;
            }
            if answer.is_empty() {
                // It hangs until the other side goes away.
                let _ = reader.read_line(&mut line);
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, inbox)
}

pub(super) const DONE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

pub(super) fn webhook(address: SocketAddr) -> Receiver {
    Receiver::Webhook { url: format!("http://{address}/hook").as_str().into(), headers: BTreeMap::new() }
}

pub(super) fn disk_rule() -> AlertRule {
    let shipped = rules(&[], &BTreeMap::new());
    let disk = shipped.into_iter().find(|rule| rule.alert.name == "disk_full").unwrap().alert;
    AlertRule { hold_for: Duration::ZERO, keep_firing_for: Duration::ZERO, notify: Some(vec!["ops".into()]), ..disk }
}

fn desk(receivers: BTreeMap<String, Receiver>, clock: &Clock) -> Arc<Desk> {
    desk_of(&[disk_rule()], receivers, clock)
}

pub(super) fn desk_of(alerts: &[AlertRule], receivers: BTreeMap<String, Receiver>, clock: &Clock) -> Arc<Desk> {
    Desk::new(DeskSetup {
        rules: rules(alerts, &receivers),
        receivers,
        lineage: Lineage::default(),
        names: BTreeSet::new(),
        teams: BTreeMap::new(),
        time_columns: BTreeMap::new(),
        project: "care".to_owned(),
        address: "http://127.0.0.1:8888".to_owned(),
        clock: clock.clone(),
        events: Events::unread(),
        recorder: None,
        evidence: None,
        sender: Sender::new(Duration::from_millis(500)),
    })
}

fn facts(free: u64) -> Facts {
    Facts { disk_free_bytes: Some(free), disk_reserve_bytes: 1 << 30, ..Facts::default() }
}

const FULL: u64 = 1;
pub(super) const ROOM: u64 = 1 << 40;

pub(super) async fn deliver(desk: &Desk) -> usize {
    let receivers = desk.setup.receivers.clone();
    let mut sent = 0;
    for (name, receiver) in &receivers {
        while desk.deliver_one(name, receiver, &mut BTreeSet::new()).await.unwrap() {
            sent += 1;
        }
    }
    sent
}

#[tokio::test]
async fn what_was_sent_is_known_to_the_next_owner_and_the_last_one_takes_it_up() {
    let (address, inbox) = receiver(DONE);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let clock = Clock::manual(1_700_000_000_000);
    let receivers = BTreeMap::from([("ops".to_owned(), webhook(address))]);
    let first = desk(receivers.clone(), &clock);
    first.open(Arc::clone(&store)).await.unwrap();
    first.tick(&facts(FULL)).await;
    assert_eq!(deliver(&first).await, 1);
    let body: serde_json::Value = serde_json::from_str(&inbox.recv().unwrap()).unwrap();
    assert_eq!((&body["alert"], &body["state"]), (&"disk_full".into(), &"firing".into()));
    assert_eq!(body["runbook"], "http://127.0.0.1:8888/runbooks/disk_full");

    let second = desk(receivers, &clock);
    second.open(Arc::clone(&store)).await.unwrap();
    second.tick(&facts(FULL)).await;
    assert_eq!(deliver(&second).await, 0);
    second.tick(&facts(ROOM)).await;
    assert_eq!(deliver(&second).await, 1);
    // The one that believes that it is still the owner finds the other's book when it writes its own.
    first.tick(&facts(ROOM)).await;
    assert_eq!(deliver(&first).await, 0);
    assert_eq!(first.report(&store).await.unwrap(), second.report(&store).await.unwrap());
}

#[tokio::test]
async fn acknowledged_and_silenced_by_a_process_that_does_not_evaluate_holds_for_the_one_that_does() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let clock = Clock::manual(1_700_000_000_000);
    let owner = desk(BTreeMap::new(), &clock);
    owner.open(Arc::clone(&store)).await.unwrap();
    owner.tick(&facts(FULL)).await;
    let fingerprint = owner.report(&store).await.unwrap()[0].fingerprint.clone();
    owner.close().await;
    let command = desk(BTreeMap::new(), &clock);
    let ack = || AckRequest { by: "me".to_owned(), comment: None };
    assert_eq!(command.acknowledge(&store, &fingerprint, ack()).await.unwrap().state, "acknowledged");
    assert!(command.acknowledge(&store, "0000", ack()).await.is_err());
    let silence = |alert: &str, until: &str| SilenceRequest {
        alert: alert.to_owned(),
        until: until.to_owned(),
        reason: "planned".to_owned(),
        by: "me".to_owned(),
    };
    command.silence(&store, silence("disk_full", "2023-11-14T23:00:00Z")).await.unwrap();
    for (alert, until) in
        [("no_such", "2023-11-14T23:00:00Z"), ("disk_full", "soon"), ("disk_full", "2030-01-01T00:00:00Z")]
    {
        assert!(command.silence(&store, silence(alert, until)).await.is_err(), "{alert} {until}");
    }
    owner.open(Arc::clone(&store)).await.unwrap();
    owner.tick(&facts(FULL)).await;
    let report = owner.report(&store).await.unwrap();
    assert_eq!((report[0].state.as_str(), report[0].silenced_until.is_some()), ("acknowledged", true));
    // The acknowledgement ends with the alert, the silence with its time.
    owner.tick(&facts(ROOM)).await;
    clock.advance(Duration::from_secs(3_600));
    owner.tick(&facts(FULL)).await;
    let report = owner.report(&store).await.unwrap();
    assert_eq!((report[0].state.as_str(), report[0].silenced_until.clone()), ("firing", None));
}

#[tokio::test]
async fn a_receiver_that_hangs_fails_or_sends_us_elsewhere_has_not_been_told() {
    let (elsewhere, seen_elsewhere) = receiver(DONE);
    let redirect: &'static str = Box::leak(
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .into_boxed_str(),
    );
    let failing = "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\nconnection: close\r\n\r\nbusy";
    let clock = Clock::manual(1_700_000_000_000);
    let cases = [
        (redirect, SendError::Redirected(307)),
        (failing, SendError::Refused { status: 500, answer: "busy".to_owned() }),
        ("", SendError::TimedOut),
    ];
    for (answer, expected) in cases {
        let (address, _inbox) = receiver(answer);
        let desk = desk(BTreeMap::from([("ops".to_owned(), webhook(address))]), &clock);
        desk.open(Arc::new(InMemory::new())).await.unwrap();
        desk.tick(&facts(FULL)).await;
        for _ in 0..2 {
            assert_eq!(
                desk.deliver_one("ops", &webhook(address), &mut BTreeSet::new()).await,
                Err(expected.to_string())
            );
        }
        let tested = desk.test("disk_full").await.unwrap();
        assert_eq!((tested[0].delivered, tested[0].said.clone()), (false, expected.to_string()));
    }
    assert!(seen_elsewhere.try_recv().is_err());
}

#[rstest::rstest]
#[case::a_page_that_names_the_address("Cannot POST /hook/8f2KQ0w1/in?token=s3cr3tTOKEN")]
#[case::a_word_of_it_in_other_letters("no such token: S3CR3TTOKEN")]
#[case::a_header("Authorization was Bearer a1b2c3d4e5")]
#[case::quoted("unknown path %2Fhook%2F8f2KQ0w1%2Fin")]
#[case::the_user_of_the_address("no user robot77")]
#[tokio::test]
async fn an_answer_that_repeats_the_address_or_a_header_is_not_shown(
    #[case] words: &str,
    #[values("404 Not Found", "200 OK")] status: &str,
) {
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{words}", words.len());
    let (address, _inbox) = receiver(Box::leak(answer.into_boxed_str()));
    let receiver = Receiver::Webhook {
        url: format!("http://robot77:x@{address}/hook/8f2KQ0w1/in?token=s3cr3tTOKEN").as_str().into(),
        headers: BTreeMap::from([("authorization".to_owned(), "Bearer a1b2c3d4e5".into())]),
    };
    let clock = Clock::manual(1_700_000_000_000);
    let desk = desk(BTreeMap::from([("ops".to_owned(), receiver.clone())]), &clock);
    desk.open(Arc::new(InMemory::new())).await.unwrap();
    desk.tick(&facts(FULL)).await;
    let tested = desk.test("disk_full").await.unwrap().remove(0).said;
    let sent = format!("{:?}", desk.deliver_one("ops", &receiver, &mut BTreeSet::new()).await);
    for said in [tested, sent] {
        assert!(!said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_message_that_is_refused_keeps_no_other_from_its_receiver() {
    const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let alert = |body: &str| serde_json::from_str::<serde_json::Value>(body).unwrap()["alert"].clone();
    let (address, _inbox) = receiver_by(move |body| if alert(body) == "disk_full" { REFUSED } else { DONE });
    let clock = Clock::manual(1_700_000_000_000);
    let later = AlertRule { name: "disk_low".to_owned(), ..disk_rule() };
    let receivers = BTreeMap::from([("ops".to_owned(), webhook(address))]);
    let desk = desk_of(&[disk_rule(), later], receivers, &clock);
    desk.open(Arc::new(InMemory::new())).await.unwrap();
    desk.tick(&facts(FULL)).await;
    let mut not_taken = BTreeSet::new();
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        outcomes.push(desk.deliver_one("ops", &webhook(address), &mut not_taken).await == Ok(true));
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes, [false, false, false, true]);
}

/// A mail server that takes one message, and gives what it was told line by line.
fn mail_server() -> (SocketAddr, Inbox<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, (sender, inbox)) = (listener.local_addr().unwrap(), channel());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 here\r\n").unwrap();
        let (mut line, mut in_message) = (String::new(), false);
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while reader.read_line(&mut line).unwrap_or(0) > 0 {
            let said = line.trim_end().to_owned();
            line.clear();
            let answer = match said.as_str() {
                "." if in_message => "250 taken",
                _ if in_message => "",
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                _ => "250 ok",
            };
            in_message = said == "DATA" || in_message && said != ".";
            let _ = sender.send(said);
            if !answer.is_empty() {
                stream.write_all(format!("{answer}\r\n").as_bytes()).unwrap();
            }
        }
    });
    (address, inbox)
}

#[tokio::test]
async fn mail_has_its_subject_its_text_and_its_receivers() {
    let (address, inbox) = mail_server();
    let clock = Clock::manual(1_700_000_000_000);
    let receiver = Receiver::Email {
        smtp: format!("smtp://{address}").as_str().into(),
        from: "vitalake <alerts@care.example>".to_owned(),
        to: vec!["ops@care.example".to_owned(), "night@care.example".to_owned()],
    };
    let desk = desk(BTreeMap::from([("ops".to_owned(), receiver.clone())]), &clock);
    desk.open(Arc::new(InMemory::new())).await.unwrap();
    desk.tick(&facts(FULL)).await;
    assert_eq!(desk.deliver_one("ops", &receiver, &mut BTreeSet::new()).await, Ok(true));
    assert_eq!(desk.deliver_one("ops", &receiver, &mut BTreeSet::new()).await, Ok(false));
    let said: Vec<String> = inbox.try_iter().collect();
    for expected in [
        "MAIL FROM:<alerts@care.example>",
        "RCPT TO:<night@care.example>",
        "Subject: [critical] disk_full is firing",
        "runbook     http://127.0.0.1:8888/runbooks/disk_full",
    ] {
        assert!(said.iter().any(|line| line.starts_with(expected)), "{expected}: {said:#?}");
    }
}

#[tokio::test]
async fn nothing_is_begun_once_it_is_to_be_quiet_and_what_is_under_way_is_waited_for() {
    let (address, inbox) = receiver(DONE);
    let clock = Clock::manual(1_700_000_000_000);
    let desk = desk(BTreeMap::from([("ops".to_owned(), webhook(address))]), &clock);
    desk.open(Arc::new(InMemory::new())).await.unwrap();
    desk.tick(&facts(FULL)).await;
    desk.quiesce(Duration::from_secs(5)).await;
    assert_eq!(deliver(&desk).await, 0);
    assert!(inbox.try_recv().is_err());
}

#[tokio::test]
async fn an_address_is_in_no_error() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let clock = Clock::manual(1_700_000_000_000);
    let urls = [format!("http://hunter2@{closed}/hunter2?hunter2"), "http:// hunter2/".to_owned()];
    for url in urls {
        let receiver = Receiver::Slack { url: url.as_str().into() };
        let desk = desk(BTreeMap::from([("ops".to_owned(), receiver)]), &clock);
        let tested = desk.test("disk_full").await.unwrap();
        assert!(!tested[0].delivered && !tested[0].said.contains("hunter2"), "{tested:?}");
    }
    let receiver = Receiver::Email {
        smtp: format!("smtp://hunter2:hunter2@{closed}").as_str().into(),
        from: "a@b.example".to_owned(),
        to: vec!["c@d.example".to_owned()],
    };
    let desk = desk(BTreeMap::from([("ops".to_owned(), receiver)]), &clock);
    let tested = desk.test("disk_full").await.unwrap();
    assert!(!tested[0].delivered && !tested[0].said.contains("hunter2"), "{tested:?}");
}

#[test]
fn an_alert_that_names_no_owner_goes_to_the_team_of_its_dataset() {
    let clock = Clock::manual(1_700_000_000_000);
    let mut setup = Arc::into_inner(desk(BTreeMap::new(), &clock)).unwrap().setup;
    setup.teams = BTreeMap::from([("raw.steps".to_owned(), "wearables".to_owned())]);
    setup.rules = rules(&[], &BTreeMap::new());
    let desk = Desk::new(setup);
    let lag = desk.rules().iter().find(|rule| rule.alert.name == "landing_lag").unwrap().clone();
    let owners = |rule| [Some("raw.steps"), Some("raw.others"), None].map(|dataset| desk.owner(rule, dataset));
    assert_eq!(owners(&lag), ["wearables", "platform", "platform"]);
    let named =
        super::rule::Rule { alert: AlertRule { owner: "clinic".to_owned(), ..lag.alert.clone() }, ..lag.clone() };
    assert_eq!(owners(&named), ["clinic", "clinic", "clinic"]);
}

#[tokio::test]
async fn a_query_that_fails_is_seen_on_its_alert_and_its_rows_resolve_it() {
    let sql = AlertRule {
        name: "late".to_owned(),
        source: vitalake_contract::alert::AlertSource::Sql("SELECT 1".to_owned()),
        ..disk_rule()
    };
    let clock = Clock::manual(1_700_000_000_000);
    let mut setup = Arc::into_inner(desk(BTreeMap::new(), &clock)).unwrap().setup;
    setup.rules = rules(&[sql], &BTreeMap::new());
    let desk = Desk::new(setup);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    desk.open(Arc::clone(&store)).await.unwrap();
    let names = BTreeSet::new();
    let states = async |answer| {
        desk.answered("late", clock.now_ms(), observations(answer, &names));
        desk.tick(&Facts { disk_free_bytes: Some(ROOM), ..Facts::default() }).await;
        let reports = desk.report(&store).await.unwrap();
        let of = reports.iter().filter(|report| report.alert == "late");
        of.map(|report| (report.state.clone(), report.open)).collect::<Vec<_>>()
    };
    let row = super::ask::Cell::Plain("7".to_owned());
    let one = || Ok(Rows { names: vec!["n".to_owned()], rows: vec![vec![row.clone()]] });
    assert_eq!(states(one()).await, [("firing".to_owned(), true)]);
    assert_eq!(states(Err("cut".to_owned())).await, [("error".to_owned(), true)]);
    assert_eq!(states(one()).await, [("firing".to_owned(), true)]);
    assert_eq!(states(Ok(Rows::default())).await, [("resolved".to_owned(), false)]);
}
