//! Rejects through the decoders again: what comes back, with what came with it, and what stays.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use rstest::rstest;
use vitalake_contract::rule::Check;

use super::*;
use crate::decode::again::Redecoder;

fn mended(columns: &[(&str, ColumnType, &str)], rules: &[(usize, Check, Severity)]) -> Redecoder {
    Redecoder::new(contract(columns, rules).into())
}

const REQUIRED: (usize, Check, Severity) = (0, Check::Required, Severity::Error);

fn date(pattern: &str) -> ColumnType {
    ColumnType::Date(Some(TimeFormat::compile(pattern, None).unwrap()))
}

/// Rejects of a CSV whose first column is a day in the form that the contract does not have.
fn csv_rejects(text: &str) -> (RecordBatch, RecordBatch) {
    let columns = [("day", date("MM-dd-yyyy"), "Day"), ("who", ColumnType::String, "Who")];
    let mut decoder = decode_delivery(contract(&columns, &[REQUIRED]), DeliveryFormat::Csv, text.as_bytes(), 7, 99);
    let decoded = decoder.next().unwrap().unwrap();
    (decoded.rows, decoded.rejects)
}

fn ints(batch: &RecordBatch, name: &str) -> Vec<i64> {
    batch.column_by_name(name).unwrap().as_primitive::<Int64Type>().values().to_vec()
}

fn attempts(batch: &RecordBatch) -> Vec<i32> {
    batch.column_by_name("_attempts").unwrap().as_primitive::<Int32Type>().values().to_vec()
}

#[test]
fn lines_of_a_csv_come_back_by_the_header_of_their_file() {
    let text = "More,Who,Day\nx,\"O\"\"Hara, Jo\",25-12-2016\ny,b,01-02-2016\n,\"two\nlines\",26-12-2016\n";
    let (rows, rejects) = csv_rejects(text);
    assert_eq!((rows.num_rows(), rejects.num_rows()), (1, 2));
    let columns = [("day", date("dd-MM-yyyy"), "Day"), ("who", ColumnType::String, "Who")];
    let again = mended(&columns, &[REQUIRED]).redecode(&rejects).unwrap();
    assert!(again.rejects.is_empty());
    let back = &again.rows[0];
    assert_eq!(back.schema(), contract(&columns, &[]).table_schema());
    assert_eq!(column(back, "day"), ["2016-12-25", "2016-12-26"]);
    assert_eq!(column(back, "who"), ["O\"Hara, Jo", "two\nlines"]);
    assert_eq!(column(back, "_topic"), ["feed/readings"; 2]);
    assert_eq!(column(back, "_partition"), ["7"; 2]);
    assert_eq!(ints(back, "_offset"), [0, 2]);
    let ingested = back.column_by_name("_ingested_at").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(ingested.values(), &[99_000; 2]);
    assert_eq!(
        (back.column_by_name("_headers").unwrap().null_count(), column(back, "_rescued")[0].as_str()),
        (2, r#"{"More":"x"}"#)
    );
}

#[test]
fn a_line_that_fails_again_keeps_everything_but_its_rules_and_counts() {
    let (_, rejects) = csv_rejects("Day,Who\nsoon,a\n01-02-2016,b,c\n");
    assert_eq!(column(&rejects, "_rule"), ["day.required", "csv"]);
    let columns = [("day", date("dd-MM-yyyy"), "Day"), ("who", ColumnType::String, "Who")];
    let rules = [(0, Check::Required, Severity::Error), (1, Check::MinLength(3), Severity::Error)];
    let mut decoder = mended(&columns, &rules);
    let mut left = rejects.clone();
    for attempt in 1..=2 {
        let again = decoder.redecode(&left).unwrap();
        assert!(again.rows.is_empty());
        left = arrow::compute::concat_batches(&left.schema(), &again.rejects).unwrap();
        assert_eq!(attempts(&left), [attempt; 2]);
    }
    assert_eq!(column(&left, "_rule"), ["day.required", "csv"]);
    assert!(column(&left, "_rules")[0].contains("who.check"), "{}", column(&left, "_rules")[0]);
    for same in ["_topic", "_partition", "_offset", "_headers", "_quarantined_at"] {
        assert_eq!(column(&left, same), column(&rejects, same), "{same}");
    }
    assert_eq!(raws(&left), raws(&rejects));
}

#[test]
fn a_header_that_no_longer_fits_and_one_that_was_not_kept_are_told_apart() {
    let (_, rejects) = csv_rejects("Day,Who\nsoon,a\n");
    let renamed = [("day", date("dd-MM-yyyy"), "OnDay"), ("who", ColumnType::String, "Who")];
    let again = mended(&renamed, &[REQUIRED]).redecode(&rejects).unwrap();
    assert_eq!(column(&again.rejects[0], "_rule"), ["csv"]);
    assert!(column(&again.rejects[0], "_reason")[0].contains("OnDay"), "{:?}", column(&again.rejects[0], "_reason"));
    let at = rejects.schema().index_of("_headers").unwrap();
    let mut columns = rejects.columns().to_vec();
    columns[at] = arrow::array::new_null_array(columns[at].data_type(), 1);
    let old = RecordBatch::try_new(rejects.schema(), columns).unwrap();
    let same = [("day", date("dd-MM-yyyy"), "Day"), ("who", ColumnType::String, "Who")];
    let again = mended(&same, &[REQUIRED]).redecode(&old).unwrap();
    assert!(column(&again.rejects[0], "_reason")[0].contains("deliver the file again"));
    assert_eq!(attempts(&again.rejects[0]), [1]);
}

#[rstest]
#[case::mended(ColumnType::String, 2, 2)]
#[case::not_mended(ColumnType::Long, 0, 4)]
fn records_of_a_topic_come_back_with_key_headers_and_time(
    #[case] kind: ColumnType,
    #[case] back: usize,
    #[case] stay: usize,
) {
    let mut decoder = JsonDecoder::new(contract(&[("id", ColumnType::Long, "id")], &[REQUIRED]));
    let headers = r#"[{"key":"tenant","value":"north"}]"#;
    let records: [Option<&[u8]>; 4] = [Some(br#"{"id":"a1"}"#), Some(b"{"), None, Some(br#"{"id":"b2","x":1}"#)];
    for (offset, record) in records.into_iter().enumerate() {
        let meta = RecordMeta { partition: 3, offset: 40 + offset as i64, timestamp_ms: Some(5), ingested_at_ms: 6 };
        let envelope = Envelope { key: Some(b"k\xff"), headers: Some(headers) };
        decoder.append_with(record, envelope, meta);
    }
    let rejects = decoder.finish().unwrap().rejects;
    assert_eq!(rejects.num_rows(), 4);
    let again = mended(&[("id", kind, "id")], &[REQUIRED]).redecode(&rejects).unwrap();
    let count = |batches: &[RecordBatch]| batches.iter().map(RecordBatch::num_rows).sum::<usize>();
    assert_eq!((count(&again.rows), count(&again.rejects)), (back, stay));
    let Some(rows) = again.rows.first() else { return };
    assert_eq!((column(rows, "id"), ints(rows, "_offset")), (vec!["a1".to_owned(), "b2".to_owned()], vec![40, 43]));
    assert_eq!(
        (column(rows, "_topic"), column(rows, "_partition")),
        (vec!["readings".to_owned(); 2], vec!["3".to_owned(); 2])
    );
    assert_eq!(column(rows, "_headers"), [headers; 2]);
    let times =
        |name: &str| rows.column_by_name(name).unwrap().as_primitive::<TimestampMicrosecondType>().values().to_vec();
    assert_eq!((times("_timestamp"), times("_ingested_at")), (vec![5_000; 2], vec![6_000; 2]));
    let keys = rows.column_by_name("_key").unwrap().as_binary_view();
    assert_eq!((keys.value(0), keys.value(1)), (b"k\xff".as_slice(), b"k\xff".as_slice()));
    assert_eq!(column(&again.rejects[0], "_rule"), ["json", "tombstone"]);
    assert_eq!((ints(&again.rejects[0], "_offset"), attempts(&again.rejects[0])), (vec![41, 42], vec![1, 1]));
}
