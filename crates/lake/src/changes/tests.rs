//! What readers of a table are given, in which order, and where an increment ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
use super::*;
use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema};

fn batch(n: i64) -> RecordBatch {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![n]))]).unwrap()
}

fn push(changes: &mut Changes, n: i64) {
    let number = changes.advance();
    changes.push_rows(number, &batch(n), 8);
}

fn rows(increment: &Increment) -> usize {
    increment.rows.iter().map(RecordBatch::num_rows).sum()
}

#[test]
fn an_increment_stops_at_a_seal_and_names_it() {
    let mut changes = Changes::default();
    let reader = changes.register(ChangeNumber(0), None);
    push(&mut changes, 1);
    push(&mut changes, 2);
    let seal = changes.seal(BTreeMap::new(), Account::default());
    push(&mut changes, 3);
    let first = changes.take(reader, 100).unwrap();
    assert_eq!((rows(&first), first.seal.map(|s| s.number)), (2, Some(seal.number)));
    let second = changes.take(reader, 100).unwrap();
    assert_eq!((rows(&second), second.seal.is_none()), (1, true));
    assert!(changes.take(reader, 100).is_none());
}

#[test]
fn a_seal_after_the_last_row_was_read_comes_as_an_empty_increment() {
    let mut changes = Changes::default();
    let reader = changes.register(ChangeNumber(0), None);
    push(&mut changes, 1);
    assert_eq!(rows(&changes.take(reader, 100).unwrap()), 1);
    changes.seal(BTreeMap::new(), Account::default());
    let empty = changes.take(reader, 100).unwrap();
    assert_eq!((rows(&empty), empty.seal.is_some()), (0, true));
}

#[test]
fn nobody_passes_a_delivery_before_it_is_known() {
    let mut changes = Changes::default();
    let reader = changes.register(ChangeNumber(0), None);
    push(&mut changes, 1);
    let delivery = changes.advance();
    changes.push_pending(delivery);
    changes.seal(BTreeMap::new(), Account::default());
    push(&mut changes, 3);
    let first = changes.take(reader, 100).unwrap();
    assert_eq!((rows(&first), first.seal.is_none()), (1, true));
    assert!(changes.take(reader, 100).is_none());
    changes.resolve(delivery, Change::default());
    assert!(changes.take(reader, 100).unwrap().seal.is_some());
    assert_eq!(rows(&changes.take(reader, 100).unwrap()), 1);
}

#[test]
fn a_reader_in_the_middle_of_what_was_written_keeps_its_rows() {
    let mut changes = Changes::default();
    let reader = changes.register(ChangeNumber(0), None);
    for n in 0..4 {
        push(&mut changes, n);
    }
    assert_eq!(rows(&changes.take(reader, 2).unwrap()), 2);
    changes.written(ChangeNumber(0), ChangeNumber(4), &[]);
    let rest = changes.take(reader, 100).unwrap();
    assert_eq!(rest.rows.len(), 2);
}

#[test]
fn a_reader_is_past_a_version_once_the_seal_that_it_was_given_is_committed() {
    let mut changes = Changes::default();
    let reader = changes.register(ChangeNumber(0), Some(TableVersion(7)));
    for n in 0..3 {
        push(&mut changes, n);
        let seal = changes.seal(BTreeMap::new(), Account::default());
        assert!(changes.take(reader, 100).unwrap().seal.is_some());
        assert_eq!(changes.consumed_by_all(), Some(TableVersion(7 + u64::try_from(n).unwrap())));
        seal.set_version(8 + n);
        assert_eq!(changes.consumed_by_all(), Some(TableVersion(8 + u64::try_from(n).unwrap())));
    }
}

#[test]
fn the_place_of_a_reader_that_is_gone_is_the_next_ones() {
    let mut changes = Changes::default();
    let stays = changes.register(ChangeNumber(0), None);
    for n in 0..10 {
        let comes = changes.register(changes.last(), None);
        push(&mut changes, n);
        assert_eq!((rows(&changes.take(comes, 100).unwrap()), rows(&changes.take(stays, 100).unwrap())), (1, 1));
        changes.deregister(comes);
    }
    assert_eq!(changes.readers.len(), 2);
}

#[test]
fn a_reader_that_has_not_begun_is_given_the_files() {
    let mut changes = Changes::default();
    let reader = changes.register(ChangeNumber(0), None);
    for n in 0..4 {
        push(&mut changes, n);
    }
    let add = crate::delta::action::parse_commit(
        "c",
        br#"{"add":{"path":"f","partitionValues":{},"size":1,"modificationTime":0,"dataChange":true}}"#,
    );
    let Some(crate::delta::action::Action::Add(add)) = add.unwrap().pop() else { unreachable!() };
    changes.written(ChangeNumber(0), ChangeNumber(3), &[Arc::new(DataFile::new(add))]);
    let first = changes.take(reader, 100).unwrap();
    assert_eq!((first.rows.len(), first.files.len(), first.through), (0, 1, ChangeNumber(3)));
    assert_eq!(changes.take(reader, 100).unwrap().rows.len(), 1);
}
