//! The books of landing: what a source offers is counted by its offsets, and a record that is lost on the way stops the
//! commits of its table.

use std::sync::Arc;

use tokio::sync::watch;
use vitalake_ingest::landing::LandingError;
use vitalake_ingest::log::{TopicId, TopicPartition};
use vitalake_ingest::source::{FetchedRecord, Item, RecordSource, SourceError};
use vitalake_lake::LakeError;
use vitalake_runtime::cpu::Cpu;

use crate::landing::{contract, landing, open};

/// Records at these offsets, and the end that the source says.
#[derive(Debug)]
struct Offsets(Vec<i64>, i64);

impl RecordSource for Offsets {
    fn start_offset(&self, _: TopicPartition) -> Result<i64, SourceError> {
        Ok(0)
    }

    fn end_offset(&self, _: TopicPartition) -> Result<i64, SourceError> {
        Ok(self.1)
    }

    fn watch(&self, _: TopicId) -> Option<watch::Receiver<u64>> {
        None
    }

    fn read(&self, _: TopicPartition, from: i64, _: usize, sink: &mut dyn FnMut(Item<'_>)) -> Result<i64, SourceError> {
        for offset in self.0.iter().copied().filter(|offset| *offset >= from) {
            let value = Some(if offset % 3 == 0 { b"{".as_slice() } else { br#"{"who":"a","n":1}"#.as_slice() });
            sink(Item::Record(FetchedRecord { offset, timestamp_ms: Some(1), key: None, value, headers: &[] }));
        }
        Ok(self.1)
    }

    fn committed(&self, _: TopicId, _: &[(i32, i64)]) -> Result<(), SourceError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_in_a_brokers_offsets_are_no_records_and_the_books_balance() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let (_lake, table) = open(folder.path(), contract(0), &cpu).await;
    let landing = landing(Arc::new(Offsets(vec![0, 1, 5, 6, 10], 11)), &table, &cpu);
    landing.take_partitions([0]).await.unwrap();
    landing.step().await.unwrap();
    landing.flush().await.unwrap();
    let books = table.books().await.unwrap();
    assert_eq!((books.offered, books.accepted, books.quarantined), (5, Some(3), Some(2)));
    assert_eq!((books.missing(), landing.unbalanced()), (Some(0), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_stepped_over_without_a_word_stops_the_commits_of_its_table() {
    let (folder, cpu) = (tempfile::tempdir().unwrap(), Cpu::with_workers(1).unwrap());
    let (lake, table) = open(folder.path(), contract(0), &cpu).await;
    // The source moves past an offset that it has not handed over.
    let landing = landing(Arc::new(Offsets(vec![0, 1, 2], 4)), &table, &cpu);
    landing.take_partitions([0]).await.unwrap();
    landing.step().await.unwrap();
    for _ in 0..2 {
        let flushed = landing.flush().await;
        assert!(matches!(flushed, Err(LandingError::Lake(LakeError::Unbalanced { .. }))), "{flushed:?}");
    }
    let said = landing.unbalanced().unwrap();
    assert!(said.contains("4 offered = 2 accepted + 1 quarantined"), "{said}");
    assert_eq!(lake.pin().tables().map(|view| view.head.rows().unwrap()).sum::<u64>(), 0, "nothing is committed");
}
