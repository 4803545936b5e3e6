//! Requests by HTTP into the log: what lies there afterwards, once, also over crashes.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use vitalake_contract::contract::{Column, ColumnType};
use vitalake_contract::{Contract, DatasetName, Layer, Source};
use vitalake_ingest::gateway::{BodyForm, Gateway, GatewayError, GatewayOptions, Packing, Request, Taken};
use vitalake_ingest::log::{Log, LogError, LogOptions, Records, TopicId, TopicPartition};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::disk::CrashDisk;

use crate::support::{NOW_MS, open, options, read_all};

const PARTITIONS: i32 = 3;

/// `patient_id` is the key and says of whom a record is; `n` is what it says.
fn contract() -> Arc<Contract> {
    let subject = Column { subject: true, ..Column::new("patient_id", ColumnType::String) };
    Arc::new(Contract {
        columns: vec![subject, Column::new("n", ColumnType::Long)],
        source: Some(Source::Stream { topic: "readings".to_owned(), partitions: 3 }),
        ..Contract::new(DatasetName::new("readings").unwrap(), Layer::Raw)
    })
}

fn request(body: impl Into<Bytes>) -> Request {
    Request {
        client: "device-7".to_owned(),
        form: BodyForm::Lines,
        packing: Packing::None,
        body: body.into(),
        key: None,
        partition_key: None,
        subject: None,
    }
}

struct Here {
    log: Arc<Log>,
    topic: TopicId,
    gateway: Arc<Gateway>,
}

impl Here {
    fn on(log: Arc<Log>) -> Self {
        let topic = log.ensure_topic("readings", PARTITIONS as u32).unwrap();
        let gateway = Gateway::new(Arc::clone(&log), Clock::manual(NOW_MS), GatewayOptions::default());
        Self { log, topic, gateway: Arc::new(gateway) }
    }

    fn new(disk: &CrashDisk) -> Self {
        Self::on(open(disk, options()).0)
    }

    async fn take(&self, request: Request) -> Result<Taken, GatewayError> {
        self.gateway.take(&contract(), request).await
    }

    /// Everything that the log holds: partition, key, value and the text of its headers.
    fn records(&self) -> Vec<(i32, Option<String>, String, String)> {
        let mut all = Vec::new();
        for partition in 0..PARTITIONS {
            for stored in read_all(&self.log, TopicPartition::new(self.topic, partition)) {
                for record in &Records::open(&stored.batch).unwrap() {
                    let record = record.unwrap();
                    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                    let headers = record.headers.map(|header| text(header.value.unwrap())).collect();
                    all.push((partition, record.key.map(text), text(record.value.unwrap()), headers));
                }
            }
        }
        all
    }

    fn values(&self) -> Vec<String> {
        let mut values: Vec<String> = self.records().into_iter().map(|(_, _, value, _)| value).collect();
        values.sort();
        values
    }
}

fn line(patient: &str, n: u32) -> String {
    format!("{{\"patient_id\":\"{patient}\",\"n\":{n}}}\n")
}

#[tokio::test]
async fn records_go_where_their_key_leads_and_carry_the_requests_id() {
    let here = Here::new(&CrashDisk::new(1));
    let body: String = (0..30).map(|n| line(&format!("p{}", n % 10), n)).collect();
    let taken = here.take(request(body + "no record\n")).await.unwrap();
    assert_eq!((taken.accepted, taken.rejected.len(), taken.rejected[0].index), (30, 1, 30));
    let records = here.records();
    assert_eq!(records.len(), 30);
    assert!(records.iter().all(|(.., headers)| *headers == taken.request.to_string()));
    for (partition, key, value, _) in &records {
        assert!(value.contains(&format!("\"{}\"", key.as_ref().unwrap())));
        assert!(records.iter().all(|(other, of, ..)| of != key || other == partition), "a key has one partition");
    }
    assert!((0..PARTITIONS).all(|partition| records.iter().any(|(of, ..)| *of == partition)));

    let own_key = Request { partition_key: Some("all".to_owned()), ..request("{\"n\":1}\n{\"n\":2}") };
    here.take(own_key).await.unwrap();
    here.take(Request { form: BodyForm::Json, ..request("[{\"n\":3},{\"n\":4}]") }).await.unwrap();
    let later = here.records();
    let of = |values: [&str; 2]| {
        let found: Vec<_> = later.iter().filter(|(_, _, value, _)| values.contains(&value.as_str())).collect();
        (found[0].0 == found[1].0, found[0].1.clone())
    };
    assert_eq!(of(["{\"n\":1}", "{\"n\":2}"]), (true, Some("all".to_owned())));
    assert_eq!(of(["{\"n\":3}", "{\"n\":4}"]), (true, None), "without keys a request is one batch");
}

#[tokio::test]
async fn the_same_key_and_body_are_there_once_over_crashes_and_another_body_is_refused() {
    let disk = CrashDisk::new(2);
    let keyed = |body: String| Request { key: Some("k-1".to_owned()), ..request(body) };
    let body: String = (0..9).map(|n| line(&format!("p{n}"), n)).collect();
    let first = Here::new(&disk).take(keyed(body.clone())).await.unwrap();
    assert!(!first.replayed);
    for _ in 0..3 {
        disk.crash();
        let here = Here::new(&disk);
        let again = here.take(keyed(body.clone())).await.unwrap();
        assert_eq!((again.request, again.accepted, again.replayed), (first.request, 9, true));
        // Also where its records would go where the first ones did not.
        for other in [line("p0", 5), line("elsewhere", 1), body.clone() + "\n"] {
            let refused = here.take(keyed(other)).await.unwrap_err();
            assert!(matches!(refused, GatewayError::KeyReused), "{refused}");
        }
        assert_eq!(here.values().len(), 9);
    }
    let here = Here::new(&disk);
    here.take(Request { client: "device-8".to_owned(), ..keyed(line("p0", 5)) }).await.unwrap();
    assert_eq!(here.values().len(), 10, "a key is its sender's own");
}

#[tokio::test]
async fn a_request_that_a_power_failure_cut_between_partitions_is_completed_by_its_repetition() {
    let body: String = (0..12).map(|n| line(&format!("p{n}"), n)).collect();
    let mut partly = 0;
    for writes in 1..40 {
        let disk = CrashDisk::new(writes);
        let keyed = || Request { key: Some("k".to_owned()), ..request(body.clone()) };
        let here = Here::new(&disk);
        disk.kill_after(writes);
        let _ = here.take(keyed()).await;
        drop(here);
        disk.crash();
        let here = Here::new(&disk);
        partly += usize::from((1..12).contains(&here.values().len()));
        let taken = here.take(keyed()).await.unwrap();
        assert_eq!((taken.accepted, here.values().len()), (12, 12), "killed after {writes} writes");
    }
    assert!(partly > 0, "no power failure fell between two partitions");
}

#[tokio::test]
async fn requests_under_one_key_at_the_same_moment_are_one() {
    let here = Here::new(&CrashDisk::new(3));
    let body: String = (0..50).map(|n| line("p", n)).collect();
    let keyed = || Request { key: Some("k".to_owned()), ..request(body.clone()) };
    let all = join_all((0..20).map(|_| here.take(keyed()))).await;
    assert!(all.iter().any(Result::is_ok));
    for refused in all.into_iter().filter_map(Result::err) {
        assert!(matches!(refused, GatewayError::KeyInUse), "{refused}");
    }
    assert!(here.take(keyed()).await.unwrap().replayed, "a key is free again afterwards");
    assert_eq!(here.values().len(), 50);
}

#[tokio::test]
async fn who_may_write_of_one_subject_writes_of_that_one_or_nothing() {
    let here = Here::new(&CrashDisk::new(4));
    let device = |body: &str| Request { subject: Some("p1".to_owned()), ..request(body.to_owned()) };
    for other in [
        line("p1", 1) + &line("p2", 2),
        "{\"n\":1}".to_owned(),
        "{\"patient_id\":null}".to_owned(),
        "{\"patient_id\":\"p2\",\"patient_id\":\"p1\"}".to_owned(),
        "{\"patient_id\":\"p1\",\"pati\\u0065nt_id\":\"p2\"}".to_owned(),
        "{\"patient_id\":[\"p1\"]}".to_owned(),
        "{\"Patient_id\":\"p1\"}".to_owned(),
    ] {
        let refused = here.take(device(&other)).await.unwrap_err();
        assert!(matches!(refused, GatewayError::OtherSubject { .. }), "{other}: {refused}");
    }
    let Err(GatewayError::OtherSubject { index }) =
        here.take(device(&format!("x\n{}{}", line("p1", 1), line("p2", 2)))).await
    else {
        panic!("it was taken");
    };
    assert_eq!(index, 2, "the record's number counts what is no record too");
    assert!(here.values().is_empty());
    here.take(device("{\"patient_id\":\"p\\u0031\",\"n\":1}")).await.unwrap();
    assert_eq!(here.values().len(), 1);
    // A contract without a column that says of whom a record is takes nothing from such a client.
    let nobody =
        Arc::new(Contract { columns: vec![Column::new("patient_id", ColumnType::String)], ..(*contract()).clone() });
    let refused = here.gateway.take(&nobody, device(&line("p1", 1))).await.unwrap_err();
    assert!(matches!(refused, GatewayError::OtherSubject { .. }), "{refused}");
}

#[tokio::test]
async fn limits_and_faults_are_refusals_of_their_own_kind_and_leave_nothing() {
    let here = Here::new(&CrashDisk::new(5));
    let of = |body: &str, form| Request { form, ..request(body.to_owned()) };
    let cases = [
        (of("", BodyForm::Lines), "no record in the body"),
        (of("[]", BodyForm::Json), "no record in the body"),
        (of("{\"a\":\n1,,}", BodyForm::Json), "none of the 1 records"),
        (of("[{\"a\":1}", BodyForm::Json), "line 1, byte 8: the body ends before the array is closed"),
        (of("1\n2\n", BodyForm::Lines), "none of the 2 records"),
        (of(&"{}\n".repeat(100_001), BodyForm::Lines), "more than 100000 records"),
        (Request { packing: Packing::Gzip, ..request("{}") }, "not gzip that can be unpacked"),
    ];
    for (request, says) in cases {
        let refused = here.take(request).await.unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
    }
    assert!(here.values().is_empty());
    let packed = zstd::encode_all(line("p", 1).as_bytes(), 3).unwrap();
    here.take(Request { packing: Packing::Zstandard, ..request(packed) }).await.unwrap();
    assert_eq!(here.values(), [line("p", 1).trim()]);
}

#[tokio::test]
async fn a_disk_below_its_reserve_and_a_landing_that_is_behind_refuse_before_anything_is_written() {
    let full = LogOptions { reserve_bytes: u64::MAX, ..options() };
    let here = Here::on(open(&CrashDisk::new(6), full).0);
    let refused = here.take(request(line("p", 1))).await.unwrap_err();
    assert!(matches!(refused, GatewayError::Log(LogError::DiskFull { .. })), "{refused}");

    let behind = LogOptions { unlanded_bytes_max: Some(10), pressure_wait_ms_max: 1, ..options() };
    let here = Here::on(open(&CrashDisk::new(7), behind).0);
    here.take(request(line("p", 1))).await.unwrap();
    let refused = here.take(request(line("p", 2))).await.unwrap_err();
    assert!(matches!(refused, GatewayError::Behind(_)), "{refused}");
    assert_eq!(here.values().len(), 1);
}
