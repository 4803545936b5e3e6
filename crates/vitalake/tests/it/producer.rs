//! The producer against a broker that fails: one batch stays one batch, a refusal is an error.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::records::{BatchDecodeInfo, RecordBatchDecoder};
use rstest::rstest;
use vitalake::simulate::client::{Outgoing, Producer};
use vitalake::simulate::events::{APP_EVENTS_TOPIC, READINGS_TOPIC};
use vitalake::simulate::{Options, ProducerError, run};

use crate::broker::{Broker, Next};

fn batch(partition: i32, values: &[&str]) -> BTreeMap<(String, i32), Vec<Outgoing>> {
    let records = values.iter().map(|value| Outgoing {
        key: Bytes::from_static(b"k"),
        value: Bytes::copy_from_slice(value.as_bytes()),
        timestamp_ms: 1_000,
    });
    BTreeMap::from([(("t".to_owned(), partition), records.collect())])
}

fn info(bytes: &Bytes) -> BatchDecodeInfo {
    RecordBatchDecoder::decode_batch_info(&mut bytes.clone()).unwrap().remove(0)
}

#[rstest]
#[case::connection_lost(Next::HangUp)]
#[case::not_the_leader(Next::Refuse(6))]
#[case::disk_full_for_a_while(Next::Refuse(56))]
#[tokio::test]
async fn a_batch_sent_again_is_the_same_bytes(#[case] first: Next) {
    let broker = Broker::start(vec![first]).await;
    let mut producer = Producer::connect(&broker.address, &["t"]).await.unwrap();
    assert_eq!(producer.send(batch(0, &["a", "b"])).await.unwrap(), 2);
    let arrived = broker.arrived();
    assert_eq!(arrived.len(), 2);
    assert_eq!(arrived[0], arrived[1]);
}

#[tokio::test]
async fn sequences_go_on_by_partition() {
    let broker = Broker::start(vec![]).await;
    let mut producer = Producer::connect(&broker.address, &["t"]).await.unwrap();
    for (partition, values) in [(0, ["a", "b"].as_slice()), (1, &["c"]), (0, &["d"]), (1, &["e"])] {
        producer.send(batch(partition, values)).await.unwrap();
    }
    let seen: Vec<_> = broker.arrived().iter().map(|(_, partition, bytes)| (*partition, info(bytes))).collect();
    let sequences: Vec<_> =
        seen.iter().map(|(partition, info)| (*partition, info.base_sequence, info.record_count)).collect();
    assert_eq!(sequences, [(0, 0, 2), (1, 0, 1), (0, 2, 1), (1, 1, 1)]);
    assert!(seen.iter().all(|(_, info)| info.producer_id == 4_711 && info.producer_epoch == 0));
}

#[tokio::test]
async fn a_duplicate_was_taken_before() {
    let broker = Broker::start(vec![Next::HangUp, Next::Refuse(46)]).await;
    let mut producer = Producer::connect(&broker.address, &["t"]).await.unwrap();
    assert_eq!(producer.send(batch(0, &["a"])).await.unwrap(), 1);
}

#[rstest]
#[case::sequence_out_of_order(45)]
#[case::record_too_large(10)]
#[tokio::test]
async fn a_refusal_for_good_is_an_error(#[case] code: i16) {
    let broker = Broker::start(vec![Next::Refuse(code)]).await;
    let mut producer = Producer::connect(&broker.address, &["t"]).await.unwrap();
    let refused = producer.send(batch(0, &["a"])).await;
    assert!(matches!(refused, Err(ProducerError::Refused { .. })), "{refused:?}");
    assert_eq!(broker.arrived().len(), 1);
}

#[tokio::test]
async fn a_run_counts_what_the_broker_took() {
    let broker = Broker::start(vec![Next::Take, Next::HangUp]).await;
    let mut options =
        Options { count: Some(12_000), rate: 0.0, history_minutes: 2, ..Options::new(&broker.address, 30) };
    options.shares.duplicate = 0.1;
    let summary = run(&options, std::future::pending(), |_| {}).await.unwrap();
    let mut batches: Vec<_> = broker.arrived();
    batches.sort();
    batches.dedup();
    let taken: u64 = batches.iter().map(|(_, _, bytes)| u64::try_from(info(bytes).record_count).unwrap()).sum();
    assert_eq!((summary.sent, summary.acknowledged), (taken, taken));
    assert_eq!(summary.sent, 12_000 + summary.history + summary.duplicate);
    assert!(batches.iter().any(|(topic, ..)| topic == READINGS_TOPIC));
    assert!(batches.iter().any(|(topic, ..)| topic == APP_EVENTS_TOPIC));
}

#[tokio::test]
async fn a_run_stops_when_it_is_told_to() {
    let broker = Broker::start(vec![]).await;
    let options = Options::new(&broker.address, 10);
    let summary = run(&options, std::future::ready(()), |_| {}).await.unwrap();
    assert_eq!(summary.sent, summary.acknowledged);
}

#[tokio::test]
async fn a_run_that_waits_for_a_broker_that_is_away_stops_soon() {
    let broker = Broker::start(vec![Next::Refuse(5); 10_000]).await;
    let options = Options { count: Some(10), rate: 0.0, ..Options::new(&broker.address, 10) };
    let began = std::time::Instant::now();
    let asked = async {
        while broker.arrived().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    let summary = run(&options, asked, |_| {}).await.unwrap();
    assert!(began.elapsed().as_secs() < 20);
    assert_eq!((summary.sent > 0, summary.acknowledged), (true, 0));
}
