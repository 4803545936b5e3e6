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
#[case(b"Id,StepTotal\ra,1\rb,2\r", &["a", "b"], &["1", "2"])]
#[case(b"Id,StepTotal\ra,1\rb,2", &["a", "b"], &["1", "2"])]
#[case(b"StepTotal,Id\r1,\"a\rb\"\r2,c\r", &["a\rb", "c"], &["1", "2"])]
#[case(b"Id,StepTotal\r\na,1\nb,2\r\nc,3\rd,4\r\n", &["a", "b", "c", "d"], &["1", "2", "3", "4"])]
#[case(b"\xef\xbb\xbf\"Id\",\"StepTotal\"\ra,1\r\r\r", &["a"], &["1"])]
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
#[case(b"b\0,1", "csv")]
#[case(b"b,1,", "csv")]
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
#[case(
    b"Id,Steps\na,1\n",
    "no column \"StepTotal\", which the contract requires for steps; its header, line 1 of the file, is: Id, Steps"
)]
#[case(b"Id,StepTotl\na,1\n", "requires for steps; the nearest is \"StepTotl\"; its header, line 1 of the file, is")]
#[case(
    b"Id,steptotal \na,1\n",
    "the column \"steptotal \" where the contract reads \"StepTotal\": capitals and spaces count"
)]
#[case(
    b"ID,STEPTOTAL\na,1\n",
    "the column \"ID\" where the contract reads \"Id\", and \"STEPTOTAL\" where it reads \"StepTotal\""
)]
#[case(b"Id,StepTotal, Worn\na,1,true\n", "the column \" Worn\" where the contract reads \"Worn\"")]
#[case(b"Id,StepTotal,WORN\na,1,true\n", "the column \"WORN\" where the contract reads \"Worn\"")]
#[case(b"Id,Step_Total,Worn\na,1,true\n", "the column \"Step_Total\" where the contract reads \"StepTotal\"")]
#[case(b"Id;StepTotal\na;1\n", "has semicolons between its columns")]
#[case(b"Id;StepTotal;Note, if any\na;1;\n", "has semicolons between its columns")]
#[case(b"\"Id\";\"StepTotal\"\n\"a\";1\n", "has semicolons between its columns")]
#[case(b"Id\tStepTotal\na\t1\n", "has tabs between its columns")]
#[case(b"Id|StepTotal\r\na|1\r\n", "has vertical bars between its columns")]
#[case(b"Id,StepTotal,Id\na,1,b\n", "the column \"Id\" twice")]
#[case(
    b"a,1\nb,2\n",
    "no header line with the contract's columns; write their names, in UTF-8 and separated by commas, into its first line: Id, StepTotal, Worn"
)]
#[case(b"Id,StepTotal\na,1\n\"b,2\nc,3\n", "at line 3 that never closes")]
#[case(b"Id,StepTotal\ra,1\r\"b,2\rc,3\r", "at line 3 that never closes")]
#[case(b"{\"Id\":\"a\",\"StepTotal\":1}\n", "looks like JSON and is read as CSV")]
#[case(b"Id,Sch\xf6n,StepTotal\na,b,1\n", "header of the delivery of readings is not UTF-8 at its byte 6")]
#[case(b"I\0d\0,\0S\0\n\0", "is UTF-16 text")]
#[case(b"\0\0\0\0\0\0\0\0", "is nothing but zero bytes")]
#[case(
    b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
    "packed with gzip and cannot be unpacked past byte 0 of its content: it is cut off"
)]
#[case(b"\x28\xb5\x2f\xfd\x04\x00", "packed with Zstandard and cannot be unpacked")]
#[case(b"PK\x03\x04\x14\0", "is a ZIP archive that is not read: its index is not there: it is cut off")]
#[case(b"PAR1\x15\x04", "is a Parquet file")]
#[case(b"<!DOCTYPE html><html>", "is a web page")]
#[case(
    b"Id,StepTotal\na,1,\nb,2,\n",
    "none of the 2 records of the delivery of readings could be read as lines of its header, and nothing of it was loaded; of the first: the line has 3 cells and the header 2"
)]
fn a_file_that_cannot_be_read_is_refused_whole(#[case] file: &[u8], #[case] says: &str) {
    let error = deliver(&steps(), DeliveryFormat::Csv, file).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
    assert!(!error.contains("a,1") && !error.contains("a, 1"), "a value in an error: {error}");
}

#[test]
fn an_optional_column_may_be_absent_and_a_column_of_almost_its_name_is_another_when_both_are_there() {
    let decoded = one(b"Id,StepTotal\na,1\n");
    assert_eq!(column(&decoded.rows, "worn"), ["null"]);
    let decoded = one(b"Id,StepTotal,Worn,worn\na,1,true,left\n");
    assert_eq!(column(&decoded.rows, "worn"), ["true"]);
    assert_eq!(column(&decoded.rows, "_rescued"), [r#"{"worn":"left"}"#]);
}

#[rstest]
#[case::too_many_columns(["x"; 20_000].join(",") + "\n", "has more than 16384 columns")]
#[case::one_endless_line(format!("Id,StepTotal\na,{}", "1".repeat(17 << 20)), "has a record at line 2 of more than 16777216 bytes")]
fn what_has_no_end_is_refused(#[case] file: String, #[case] says: &str) {
    let error = decode_delivery(steps(), DeliveryFormat::Csv, file.as_bytes(), 1, 0).last().unwrap().unwrap_err();
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn values_that_did_not_fit_are_counted_by_column_where_their_row_was_taken() {
    let csv = b"Id,StepTotal,Worn,Mood,\na,1,yes,x,\nb,x,no,,\nc,3,nope,,\nd,4,true,,\n";
    let json = br#"[{"Id":"a","StepTotal":1,"Worn":1},{"Id":"b","StepTotal":"x","Worn":2},{"Id":"c","StepTotal":3,"Worn":"true"}]"#;
    for (format, file, unnamed) in
        [(DeliveryFormat::Csv, csv.as_slice(), vec!["Mood"]), (DeliveryFormat::Ndjson, json.as_slice(), vec![])]
    {
        let mut delivery = decode_delivery(steps(), format, file, 1, 0);
        delivery.by_ref().for_each(|batch| drop(batch.unwrap()));
        let totals = delivery.totals();
        let misfit = Misfit { column: "worn".to_owned(), expected: "true or false".to_owned(), values: 2 };
        assert_eq!(
            (totals.misfits, totals.unnamed, totals.rejects),
            (vec![misfit], unnamed.iter().map(|n| (*n).to_owned()).collect(), 1)
        );
    }
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

#[rstest]
#[case::array(b"[{\"Id\":\"a\",\"StepTotal\":1},{\"Id\":\"b\",\"StepTotal\":2}]", 0)]
#[case::over_lines(
    b"\xef\xbb\xbf [\n  {\n    \"Id\": \"a\",\n    \"StepTotal\": 1\n  },\r\n  {\"Id\":\"b\",\"StepTotal\":2}\n]\n",
    0
)]
#[case::brackets_in_texts(
    b"[{\"Id\":\"a\",\"x\":\"]}\\\"[{\",\"StepTotal\":1},{\"y\":[[{\"z\":[]}]],\"Id\":\"b\",\"StepTotal\":2}]",
    0
)]
#[case::what_is_no_row(
    b"[{\"Id\":\"a\",\"StepTotal\":1}, 7, null, \"x,]\", [1], {\"Id\" 3}, {\"Id\":\"b\",\"StepTotal\":2}]",
    5
)]
#[case::one_object_over_lines(
    b"{\n  \"Id\": \"a\",\n  \"StepTotal\": 1\n}\n{\n  \"Id\": \"b\",\n  \"StepTotal\": 2\n}",
    0
)]
#[case::lines_with_cr(b"{\"Id\":\"a\",\"StepTotal\":1}\r{\"Id\":\"b\",\"StepTotal\":2}\r", 0)]
#[case::first_line_cut_short(
    b"{\"Id\":\"a\",\"Step\n{\"Id\":\"a\",\"StepTotal\":1}\n{\"Id\":\"b\",\"StepTotal\":2}\n",
    1
)]
#[case::first_line_cut_short_after_a_value(
    b"{\"Id\":\"a\"\n{\"Id\":\"a\",\"StepTotal\":1}\n{\"Id\":\"b\",\"StepTotal\":2}\n",
    1
)]
#[case::first_line_with_too_much(
    b"{\"Id\":\"a\"}}\n{\"Id\":\"a\",\"StepTotal\":1}\n{\"Id\":\"b\",\"StepTotal\":2}\n",
    1
)]
fn json_is_rows_whatever_its_shape(#[case] file: &[u8], #[case] rejects: usize) {
    let batches = deliver(&steps(), DeliveryFormat::Ndjson, file).unwrap();
    assert_eq!(batches.len(), 1);
    assert_eq!(column(&batches[0].rows, "id"), ["a", "b"]);
    assert_eq!(column(&batches[0].rows, "steps"), ["1", "2"]);
    assert_eq!(batches[0].rejects.num_rows(), rejects);
}

#[rstest]
#[case(
    b"[{\"Id\":\"a\",\"StepTotal\":1},\n{\"Id\":\"b\",\"StepTotal\":2}",
    "at line 2, byte 51 of the file: the file ends before the array is closed"
)]
#[case(b"[{\"Id\":\"a\",\"StepTotal\":1},", "the file ends before the array is closed")]
#[case(b"[\n{\"Id\":\"a\",\"StepTotal\":1", "the file ends within an element")]
#[case(
    b"[{\"Id\":\"a\",\"StepTotal\":1}\n{\"Id\":\"b\"}]",
    "at line 2, byte 26 of the file: a comma or ] was expected"
)]
#[case(b"[{\"Id\":\"a\",\"StepTotal\":1},]", "a value was expected")]
#[case(b"[{\"Id\":[\"a\"}]]", "a bracket closes what was not opened")]
#[case(
    b"[{\"Id\":\"a\",\"StepTotal\":1}]\n[{\"Id\":\"b\"}]",
    "at line 2, byte 27 of the file: more follows after the array"
)]
#[case(b"{\n\"Id\":\"a\",\n\"StepTotal\":1", "the file ends within an element")]
#[case(b"{\n\"Id\":\"a\",\n\"StepTotal\":1}\nx", "an object was expected")]
#[case(b"Id,StepTotal\na,1\nb,2\n", "none of the 3 records of the delivery of readings could be read as JSON objects")]
#[case(b"[1,2]", "none of the 2 records")]
#[case(
    b"{\"data\":[{\"Id\":\"a\",\"StepTotal\":1}],\"next\":null}",
    "no record of the delivery of readings has any of the contract's fields, and nothing of it was loaded; it reads: Id, StepTotal, Worn"
)]
fn json_whose_rows_cannot_be_told_apart_is_refused_whole(#[case] file: &[u8], #[case] says: &str) {
    let contract = contract(
        &[
            ("id", ColumnType::String, "Id"),
            ("steps", ColumnType::Long, "StepTotal"),
            ("worn", ColumnType::Boolean, "Worn"),
        ],
        &[],
    );
    let error = deliver(&contract, DeliveryFormat::Ndjson, file).unwrap_err().to_string();
    assert!(error.contains(says), "{error}");
}

#[test]
fn large_files_come_in_batches() {
    let mut file = b"Id,StepTotal\n".to_vec();
    (0..150_000).for_each(|row| file.extend_from_slice(format!("wearer-{row},{row}\n").as_bytes()));
    let mut delivery = decode_delivery(steps(), DeliveryFormat::Csv, file.as_slice(), 1, 0);
    let sizes: Vec<usize> = delivery.by_ref().map(|batch| batch.unwrap().rows.num_rows()).collect();
    assert!(sizes.iter().all(|size| *size <= 65_536), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<usize>(), 150_000);
    let bytes = file.len() as u64;
    let totals = DeliveryTotals { records: 150_000, rows: 150_000, bytes, ..DeliveryTotals::default() };
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
    fn an_array_is_the_same_rows_as_its_elements_in_lines(texts in proptest::collection::vec(("[ -~é]{0,9}", any::<i32>()), 1..20), space in "[ \n\r\t]{0,3}") {
        let objects: Vec<String> = texts.iter().map(|(text, n)| serde_json::json!({"Id": format!("x{text}"), "StepTotal": n, "other": [text, {"deep": text}]}).to_string()).collect();
        let lines = deliver(&steps(), DeliveryFormat::Ndjson, objects.join("\n").as_bytes()).unwrap();
        let array = format!("{space}[{space}{}{space}]{space}", objects.join(&format!("{space},{space}")));
        let array = deliver(&steps(), DeliveryFormat::Ndjson, array.as_bytes()).unwrap();
        for name in ["id", "steps", "_offset", "_rescued"] {
            prop_assert_eq!(column(&lines[0].rows, name), column(&array[0].rows, name));
        }
    }

    #[test]
    fn an_array_that_is_cut_anywhere_is_never_taken_for_whole(cut in 1_usize..100) {
        let array = br#"[{"Id":"a]}","StepTotal":1}, {"Id":"b","StepTotal":2}, 7, {"Id":"c", "StepTotal":[{}]}, {"Id":"\"d"}]"#;
        prop_assume!(cut < array.len());
        prop_assert!(deliver(&steps(), DeliveryFormat::Ndjson, &array[..cut]).is_err());
    }

    #[test]
    fn any_bytes_are_rows_rejects_or_an_error(file in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b'{'), Just(b'['), Just(b'}'), Just(b']')], 0..200)) {
        let _ = deliver(&steps(), DeliveryFormat::Ndjson, &[b"[", file.as_slice()].concat());
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
