//! Delivered files: quotes, line ends, headers, and what makes a line or a whole file unfit.

use std::io::Read;
use std::path::PathBuf;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

/// Gives one byte at a time, so that every record is met unfinished.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let (Some((first, rest)), Some(place)) = (self.0.split_first(), into.first_mut()) else { return Ok(0) };
        *place = *first;
        self.0 = rest;
        Ok(1)
    }
}

fn steps() -> Arc<Contract> {
    contract(
        &[
            ("id", ColumnType::String, "Id"),
            ("steps", ColumnType::Long, "StepTotal"),
            ("worn", ColumnType::Boolean, "Worn"),
        ],
        &[(0, Check::Required, Severity::Error), (1, Check::Required, Severity::Error)],
    )
}

fn deliver(contract: &Arc<Contract>, format: DeliveryFormat, file: &[u8]) -> Result<Vec<Decoded>, DeliveryError> {
    decode_delivery(Arc::clone(contract), format, Trickle(file), 7, 1_000).collect()
}

fn one(file: &[u8]) -> Decoded {
    let mut batches = deliver(&steps(), DeliveryFormat::Csv, file).unwrap();
    assert_eq!(batches.len(), 1);
    batches.remove(0)
}

#[rstest]
#[case(b"Id,StepTotal\na,1\n", &["a"], &["1"])]
#[case(b"\xef\xbb\xbfId,StepTotal\r\na,1\r\nb,2", &["a", "b"], &["1", "2"])]
#[case(b"StepTotal,Id\n\"1\",\"a,\"\"b\"\"\n\"\n", &["a,\"b\"\n"], &["1"])]
#[case(b"Id,StepTotal\n\na,1\n\r\nb,2\n\n", &["a", "b"], &["1", "2"])]
#[case(b"Id,StepTotal\na, 007 \nb,5.0\nc,+3\n", &["a", "b", "c"], &["7", "5", "3"])]
#[case(b"Id,StepTotal\n1.46223E+12,1\n", &["1.46223E+12"], &["1"])]
fn reads_csv(#[case] file: &[u8], #[case] ids: &[&str], #[case] steps: &[&str]) {
    let decoded = one(file);
    assert_eq!(decoded.rejects.num_rows(), 0);
    assert_eq!(column(&decoded.rows, "id"), ids);
    assert_eq!(column(&decoded.rows, "steps"), steps);
}

#[test]
fn positions_of_delivered_rows() {
    let decoded = one(b"Id,StepTotal,Worn\na,1,TRUE\nb,x,\nc,3,false\n");
    assert_eq!(column(&decoded.rows, "_topic"), ["feed/readings", "feed/readings"]);
    assert_eq!(column(&decoded.rows, "_partition"), ["7", "7"]);
    assert_eq!(column(&decoded.rows, "_offset"), ["0", "2"]);
    assert_eq!(column(&decoded.rows, "_timestamp"), ["null", "null"]);
    assert_eq!(column(&decoded.rows, "worn"), ["true", "false"]);
    assert_eq!(column(&decoded.rejects, "_rule"), ["steps.required"]);
    assert_eq!(
        column(&decoded.rejects, "_reason"),
        ["steps is required and the record's value is not a whole number of 64 bits"]
    );
    assert_eq!(raws(&decoded.rejects), [Some(b"b,x,".to_vec())]);
}

#[rstest]
#[case(b"b,2,3", "csv")]
#[case(b"b", "csv")]
#[case(b"\"b\"x,2", "csv")]
#[case(b"b\xff,2", "csv")]
#[case(b"b,1E+3", "steps.required")]
#[case(b",1", "id.required")]
fn a_bad_line_is_one_reject_and_its_neighbours_are_rows(#[case] bad: &[u8], #[case] rule: &str) {
    let file = [b"Id,StepTotal\na,1\n", bad, b"\r\nc,3\n"].concat();
    let decoded = one(&file);
    assert_eq!(column(&decoded.rows, "id"), ["a", "c"]);
    assert_eq!(raws(&decoded.rejects), [Some(bad.to_vec())]);
    assert_eq!(column(&decoded.rejects, "_rule"), [rule]);
    assert_eq!(column(&decoded.rejects, "_offset"), ["1"]);
}

#[test]
fn unknown_columns_are_rescued_also_without_a_name() {
    let decoded = one(b"Id,,StepTotal,Mood,Mood\na,11:59 PM,1,\"so \"\"so\"\"\",\n");
    assert_eq!(column(&decoded.rows, "_rescued"), [r#"{"":"11:59 PM","Mood":"so \"so\""}"#]);
}

#[rstest]
#[case(b"", "no header line")]
#[case(b"\n", "no header line")]
#[case(b"Id,Steps\na,1\n", "no column \"StepTotal\", which the contract requires for steps; its header is: Id, Steps")]
#[case(
    b"Id,steptotal \na,1\n",
    "the column \"steptotal \" where the contract reads \"StepTotal\": capitals and spaces count"
)]
#[case(b"ID,STEPTOTAL\na,1\n", "the column \"ID\" where the contract reads \"Id\"")]
#[case(b"Id;StepTotal\na;1\n", "has semicolons between its columns")]
#[case(b"\"Id\";\"StepTotal\"\n\"a\";1\n", "has semicolons between its columns")]
#[case(b"Id\tStepTotal\na\t1\n", "has tabs between its columns")]
#[case(b"Id,StepTotal,Id\na,1,b\n", "the column \"Id\" twice")]
#[case(b"a,1\nb,2\n", "no header line")]
#[case(b"Id,StepTotal\na,1\n\"b,2\nc,3\n", "at line 3 that never closes")]
fn a_file_that_cannot_be_read_is_refused_whole(#[case] file: &[u8], #[case] says: &str) {
    let error = deliver(&steps(), DeliveryFormat::Csv, file).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
    assert!(!error.contains("a,1") && !error.contains("a, 1"), "a value in an error: {error}");
}

#[test]
fn ndjson_is_read_line_by_line() {
    let file = b"{\"Id\":\"a\",\"StepTotal\":1}\r\n\n{\"Id\":\"b\"\n{\"Id\":\"c\",\"StepTotal\":3}";
    let batches = deliver(&steps(), DeliveryFormat::Ndjson, file).unwrap();
    assert_eq!(column(&batches[0].rows, "id"), ["a", "c"]);
    assert_eq!(column(&batches[0].rows, "_offset"), ["0", "2"]);
    assert_eq!(raws(&batches[0].rejects), [Some(b"{\"Id\":\"b\"".to_vec())]);
    assert!(deliver(&steps(), DeliveryFormat::Ndjson, b"").unwrap().is_empty());
}

#[test]
fn large_files_come_in_batches() {
    let mut file = b"Id,StepTotal\n".to_vec();
    (0..150_000).for_each(|row| file.extend_from_slice(format!("wearer-{row},{row}\n").as_bytes()));
    let mut delivery = decode_delivery(steps(), DeliveryFormat::Csv, file.as_slice(), 1, 0);
    let sizes: Vec<usize> = delivery.by_ref().map(|batch| batch.unwrap().rows.num_rows()).collect();
    assert_eq!(sizes, [65_536, 65_536, 18_928]);
    let totals = DeliveryTotals { records: 150_000, rows: 150_000, rejects: 0, bytes: file.len() as u64 };
    assert_eq!(delivery.totals(), totals);
}

#[test]
fn the_spreadsheet_export_gives_8278_rows_and_13821_rejects() {
    let shared = std::env::var_os("VITALAKE_SHARED").map_or_else(|| PathBuf::from("../../../shared"), PathBuf::from);
    let path = shared.join("data/fitbit-broken-reexport-a/hourlySteps_merged.csv");
    let Ok(file) = std::fs::read(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return;
    };
    let day = TimeFormat::compile("MM-dd-yyyy", None).unwrap();
    let columns = [
        ("subject_id", ColumnType::String, "Id"),
        ("day", ColumnType::Date(Some(day)), "Date"),
        ("time_of_day", ColumnType::String, "ActivityHour"),
        ("steps", ColumnType::Long, "StepTotal"),
    ];
    let mut rules: Vec<_> = (0..4).map(|column| (column, Check::Required, Severity::Error)).collect();
    rules.push((3, Check::Minimum(Bound::Whole(0)), Severity::Error));
    let batches: Vec<Decoded> = decode_delivery(contract(&columns, &rules), DeliveryFormat::Csv, file.as_slice(), 0, 0)
        .map(Result::unwrap)
        .collect();
    let count = |of: fn(&Decoded) -> usize| batches.iter().map(of).sum::<usize>();
    assert_eq!((count(|b| b.rows.num_rows()), count(|b| b.rejects.num_rows())), (8_278, 13_821));
    let reason = "day is required and the record's value is not a date in the form MM-dd-yyyy";
    assert!(batches.iter().all(|batch| column(&batch.rejects, "_reason").iter().all(|r| r == reason)));
}

proptest! {
    #[test]
    fn any_bytes_are_rows_rejects_or_an_error(file in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b','), Just(b'\n')], 0..200)) {
        let file = [b"Id,StepTotal\n", file.as_slice()].concat();
        let _ = deliver(&steps(), DeliveryFormat::Csv, &file);
        let _ = deliver(&steps(), DeliveryFormat::Ndjson, &file);
    }

    #[test]
    fn cells_come_back_as_they_were_quoted(cells in proptest::collection::vec("[ -~\n\r\"é]{1,12}", 1..20)) {
        let mut file = b"Id,StepTotal\r\n".to_vec();
        for cell in &cells {
            file.extend_from_slice(format!("\"{}\",1\r\n", cell.replace('"', "\"\"")).as_bytes());
        }
        prop_assert_eq!(&column(&one(&file).rows, "id"), &cells);
    }
}
