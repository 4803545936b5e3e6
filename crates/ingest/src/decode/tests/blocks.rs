//! A CSV in blocks gives what it gives record after record, wherever the blocks are cut.

use proptest::prelude::*;
use rstest::rstest;
use vitalake_contract::file_options::{CsvOptions, FileOptions};

use super::*;
use crate::decode::blocks::Blocks;
use crate::decode::delivery::read_header;
use crate::decode::records::FileRecords;

const HEADER: &[u8] = b"Id,StepTotal\n";

/// With a rule that is about places its files are read record after record.
fn steps(is_about_places: bool) -> Arc<Contract> {
    let condition = if is_about_places { "_offset > 3" } else { "steps > 3" };
    let columns = [("id", ColumnType::String, "Id"), ("steps", ColumnType::Long, "StepTotal")];
    let rules = [(1, Check::Required, Severity::Error), (0, Check::NotSql(condition.to_owned()), Severity::Warning)];
    let contract = Arc::unwrap_or_clone(contract(&columns, &rules));
    let csv = CsvOptions { comment: Some(b'#'), ..CsvOptions::default() };
    Arc::new(Contract { files: FileOptions { csv, ..FileOptions::default() }, ..contract })
}

/// What was read of a file, or why it was refused.
fn told(read: Result<Vec<Decoded>, DeliveryError>) -> Result<Vec<Vec<String>>, String> {
    let all = read.map_err(|error| error.to_string())?;
    let of =
        |side: fn(&Decoded) -> &RecordBatch, name: &str| all.iter().flat_map(|one| column(side(one), name)).collect();
    let rows = ["id", "steps", "_offset", "_rescued"].map(|name| of(|one| &one.rows, name));
    let rejects = ["_raw", "_rule", "_reason", "_offset", "_headers"].map(|name| of(|one| &one.rejects, name));
    Ok(rows.into_iter().chain(rejects).collect())
}

fn one_by_one(file: &[u8]) -> Result<Vec<Vec<String>>, String> {
    let mut decoder = decode_delivery(steps(true), DeliveryFormat::Csv, file, 7, 1_000);
    let mut all = Vec::new();
    loop {
        match decoder.next() {
            // That nothing could be read is said of the whole, after its end.
            None | Some(Err(DeliveryError::NothingReadable { .. })) => return told(Ok(all)),
            Some(Ok(batch)) => all.push(batch),
            Some(Err(error)) => return told(Err(error)),
        }
    }
}

fn in_blocks(file: &[u8], lanes: usize, bytes: usize) -> Result<Vec<Vec<String>>, String> {
    let contract = steps(false);
    let mut records = FileRecords::new("readings".to_owned(), DeliveryFormat::Csv, file, &contract.files);
    let found = records.find().unwrap().unwrap();
    let (line, cells) = records.record(found);
    let csv = read_header(&Rules::from(Arc::clone(&contract)), line, cells, found.malformed).unwrap();
    records.consume(found);
    records.begin().unwrap();
    let mut blocks = Blocks::with(csv, records.line(), lanes, bytes);
    let (mut meta, mut all) = (RecordMeta { partition: 7, ..meta(0) }, Vec::new());
    let read = loop {
        match blocks.next(&mut records, &mut meta) {
            Ok(Some((_, decoded))) => all.push(decoded),
            Ok(None) => break Ok(all),
            Err(error) => break Err(error),
        }
    };
    told(read)
}

#[rstest]
#[case::plain(b"a,1\nb,2\nc,3\n")]
#[case::line_ends_in_quotes(b"\"a\n1\n2\n3\n4\n\",1\n\"b\r\n\r\n\",2\nc,3")]
#[case::bad_lines(b"a,1\nb\n\"c\"x,2\n\xff,1\nd\0,3\ne,4\nId,StepTotal\nf,x\n")]
#[case::blank_lines_and_comments(b"\n\n#a,\"\na,1\n\r\n#\n\nb,2\n")]
#[case::carriage_returns(b"a,1\rb,2\r\"c\r\",3\r\r\nd,4\r")]
#[case::never_closed(b"a,1\nb,2\n\"c,3\nd,4\ne,5\n")]
fn blocks_give_what_records_give(#[case] lines: &[u8]) {
    let file = [HEADER, lines].concat();
    let wanted = one_by_one(&file);
    for bytes in 1..lines.len() + 2 {
        assert_eq!(in_blocks(&file, 1 + bytes % 3, bytes), wanted, "in blocks of {bytes} bytes");
    }
}

#[test]
fn a_batch_ends_within_a_block_and_numbers_go_on() {
    let lines: String = (0..70_000).map(|row| format!("r{row},{row}\n")).collect();
    let file = [HEADER, lines.as_bytes()].concat();
    let wanted = one_by_one(&file).unwrap();
    assert_eq!(wanted[2].last().map(String::as_str), Some("69999"));
    assert_eq!(in_blocks(&file, 1, 1 << 30).unwrap(), wanted);
    assert_eq!(in_blocks(&file, 3, 100_000).unwrap(), wanted);
}

#[test]
fn a_record_over_many_blocks_is_one() {
    let long = "x\n".repeat(30_000);
    let file = [HEADER, b"a,1\n\"", long.as_bytes(), b"\",2\nb,3\n"].concat();
    let read = in_blocks(&file, 2, 10_000).unwrap();
    assert_eq!((read[0].len(), read[0][1].len(), &read[1][2]), (3, long.len(), &"3".to_owned()));
}

#[rstest]
#[case::on_one_line("x")]
#[case::in_quotes("x\n")]
fn a_record_that_is_too_large_is_said_with_its_line(#[case] piece: &str) {
    let long = piece.repeat(17 << 20);
    let file = [HEADER, b"a,1\nb,2\n\"", long.as_bytes(), b"\",2\nc,3\n"].concat();
    let error = in_blocks(&file, 2, 8 << 20).unwrap_err();
    assert!(error.contains("has a record at line 4 of more than"), "{error}");
}

proptest! {
    #[test]
    fn blocks_of_any_bytes_give_what_records_give(
        lines in proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'1'), Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b'#'), Just(0xff)], 0..120),
        bytes in 1_usize..40, lanes in 1_usize..4,
    ) {
        let file = [HEADER, lines.as_slice()].concat();
        prop_assert_eq!(in_blocks(&file, lanes, bytes), one_by_one(&file));
    }
}
