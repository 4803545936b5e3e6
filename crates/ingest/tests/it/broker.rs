//! An external broker's answers about its topics, whichever of its addresses answers.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::net::TcpListener;
use vitalake_ingest::kafka::KafkaOptions;
use vitalake_ingest::log::TopicId;
use vitalake_ingest::source::kafka::{BrokerOptions, KafkaSource};
use vitalake_ingest::source::{RecordSource as _, TopicCheck};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::health::Health;

use crate::kafka_round_trip::Served;

fn source(bootstrap: String) -> std::sync::Arc<KafkaSource> {
    let options = BrokerOptions { bootstrap, group: "test".to_owned(), properties: BTreeMap::new() };
    KafkaSource::connect(options, Health::new("Kafka", Clock::system()), Clock::system()).unwrap()
}

/// Takes connections and never answers, as an address behind a firewall does.
async fn black_hole() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_made_anew_is_seen_though_the_first_address_never_answers() {
    let served = Served::start(KafkaOptions::default()).await;
    let (_listener, silent) = black_hole().await;
    let source = source(format!("{silent}, {}", served.address));
    let (real, other) = (served.log.topic("readings").unwrap().id, TopicId(uuid::Uuid::new_v4()));
    source.register(real, "readings");
    assert_eq!(source.check_topic(real).await, TopicCheck::Same);
    source.register(other, "readings");
    assert_eq!(source.check_topic(other).await, TopicCheck::Replaced);
    tokio::time::timeout(Duration::from_secs(5), source.must_restart()).await.expect("everything begins anew");
    tokio::task::spawn_blocking(move || source.close()).await.unwrap();
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_nobody_answers_is_not_taken_for_an_answer() {
    let (_listener, silent) = black_hole().await;
    let source = source(silent);
    let topic = TopicId(uuid::Uuid::new_v4());
    source.register(topic, "readings");
    let TopicCheck::Unanswered(reason) = source.check_topic(topic).await else { panic!("somebody answered") };
    assert!(reason.contains("no answer within"), "{reason}");
    tokio::task::spawn_blocking(move || source.close()).await.unwrap();
}
