//! JSON records: every bad form is one reject with its bytes, every good one a row with its values.

use proptest::prelude::*;
use rstest::rstest;

use super::*;

#[rstest]
#[case("id", r#"{"id":"a"}"#, "a")]
#[case("id", r#" { "id" : "a\"\\\/\n\u00e9\uD83D\uDE00" } "#, "a\"\\/\né😀")]
#[case("id", r#"{"\u0069d":"a"}"#, "a")]
#[case("id", "\u{feff}{\"id\":\"a\"}", "a")]
#[case("id", r#"{"x":[1,{"y":[]}],"id":"abcdefghijklmnopqrstuvwxyz"}"#, "abcdefghijklmnopqrstuvwxyz")]
#[case("steps", r#"{"id":"a","steps":9223372036854775807}"#, "9223372036854775807")]
#[case("steps", r#"{"id":"a","steps":12.0}"#, "12")]
#[case("steps", r#"{"id":"a","steps":1.50e1}"#, "15")]
#[case("steps", r#"{"id":"a","steps":0e999999999999}"#, "0")]
#[case("steps", r#"{"id":"a","steps":-0}"#, "0")]
#[case("steps", r#"{"id":"a","steps":100000000000000000000e-2}"#, "1000000000000000000")]
#[case("small", r#"{"id":"a","small":-2147483648}"#, "-2147483648")]
#[case("hr", r#"{"id":"a","vitals":{"hr":72,"spo2":97.5}}"#, "72.0")]
#[case("hr", r#"{"id":"a","vitals":{"hr":0.1}}"#, "0.1")]
#[case("hr", r#"{"id":"a","vitals":{"hr":123456789012345678901234567890}}"#, "1.2345678901234568e29")]
#[case("spo2", r#"{"id":"a","vitals":{"hr":72,"spo2":97.5}}"#, "97.5")]
#[case("hr", r#"{"id":"a","vitals":null}"#, "null")]
#[case("worn", r#"{"id":"a","worn":true}"#, "true")]
#[case("day", r#"{"id":"a","day":"2016-04-12"}"#, "2016-04-12")]
#[case("at", r#"{"id":"a","at":"2016-04-12T01:00:00.5+02:00"}"#, "2016-04-11T23:00:00.500Z")]
#[case("seen", r#"{"id":"a","seen":"4/12/2016 1:00:00 PM"}"#, "2016-04-12T13:00:00Z")]
#[case("seen", r#"{"id":"a","seen":"4\/12\/2016 1:00:00 PM"}"#, "2016-04-12T13:00:00Z")]
#[case("clock", r#"{"id":"a","clock":"12:30"}"#, "12:30")]
#[case("tags", r#"{"id":"a","tags":[1, {"b":null}]}"#, r#"[1, {"b":null}]"#)]
fn reads_values(#[case] name: &str, #[case] record: &str, #[case] expected: &str) {
    let decoded = decode(&wide(), &[record.as_bytes()]);
    assert_eq!((decoded.rows.num_rows(), decoded.rejects.num_rows()), (1, 0));
    assert_eq!(column(&decoded.rows, name), [expected]);
}

#[rstest]
#[case("steps", r#"{"id":"a","steps":"5"}"#, r#"{"steps":"5"}"#)]
#[case("steps", r#"{"id":"a","steps":5.5}"#, r#"{"steps":5.5}"#)]
#[case("steps", r#"{"id":"a","steps":9223372036854775808}"#, r#"{"steps":9223372036854775808}"#)]
#[case("steps", r#"{"id":"a","steps":1e400}"#, r#"{"steps":1e400}"#)]
#[case("steps", r#"{"id":"a","steps":true}"#, r#"{"steps":true}"#)]
#[case("small", r#"{"id":"a","small":2147483648}"#, r#"{"small":2147483648}"#)]
#[case("hr", r#"{"id":"a","vitals":{"hr":1e400}}"#, r#"{"vitals":{"hr":1e400}}"#)]
#[case("hr", r#"{"id":"a","vitals":{"hr":"72"},"x":{"y":1}}"#, r#"{"vitals":{"hr":"72"},"x":{"y":1}}"#)]
#[case("hr", r#"{"id":"a","vitals":[72]}"#, r#"{"vitals":[72]}"#)]
#[case("worn", r#"{"id":"a","worn":1}"#, r#"{"worn":1}"#)]
#[case("day", r#"{"id":"a","day":"2016-02-30"}"#, r#"{"day":"2016-02-30"}"#)]
#[case("day", r#"{"id":"a","day":16903}"#, r#"{"day":16903}"#)]
#[case("at", r#"{"id":"a","at":"2016-04-12T01:00:00"}"#, r#"{"at":"2016-04-12T01:00:00"}"#)]
#[case("seen", r#"{"id":"a","seen":1460419200}"#, r#"{"seen":1460419200}"#)]
#[case("clock", r#"{"id":"a","clock":"25:00"}"#, r#"{"clock":"25:00"}"#)]
#[case("tags", r#"{"id":"a","tags":"x"}"#, r#"{"tags":"x"}"#)]
fn a_value_of_another_type_is_null_and_rescued(#[case] name: &str, #[case] record: &str, #[case] rescued: &str) {
    let decoded = decode(&wide(), &[record.as_bytes()]);
    assert_eq!((decoded.rows.num_rows(), decoded.rejects.num_rows()), (1, 0));
    assert_eq!(column(&decoded.rows, name), ["null"]);
    assert_eq!(column(&decoded.rows, "_rescued"), [rescued]);
}

#[rstest]
#[case(r#"{"id":"a","x":1,"vitals":{"y":[2],"hr":1,"z":{}},"x":3}"#, r#"{"x":1,"vitals":{"y":[2],"z":{}},"x":3}"#)]
#[case(r#"{"id":"a","é\n":"\ud800"}"#, r#"{"é\n":"\ud800"}"#)]
fn unknown_fields_are_rescued_where_they_stood(#[case] record: &str, #[case] rescued: &str) {
    let decoded = decode(&wide(), &[record.as_bytes(), br#"{"id":"b"}"#]);
    assert_eq!(column(&decoded.rows, "_rescued"), [rescued, "null"]);
}

#[rstest]
#[case(b"")]
#[case(b" ")]
#[case(b"null")]
#[case(b"[]")]
#[case(b"[{\"id\":\"a\"}]")]
#[case(b"5")]
#[case(b"\"id\"")]
#[case(b"{\"id\":\"a\"}{\"id\":\"b\"}")]
#[case(b"{\"id\":\"a\"}\n{\"id\":\"b\"}")]
#[case(b"{\"id\":\"a\"} x")]
#[case(b"{\"id\":\"a\"}\0")]
#[case(b"{\"id\":\"a\"")]
#[case(b"{\"id\":\"a")]
#[case(b"{\"id\":\"a\\")]
#[case(b"{\"id\"")]
#[case(b"{")]
#[case(b"{\"id\":\"a\",}")]
#[case(b"{,\"id\":\"a\"}")]
#[case(b"{\"id\" \"a\"}")]
#[case(b"{'id':'a'}")]
#[case(b"{id:\"a\"}")]
#[case(b"{\"id\":\"a\xff\"}")]
#[case(b"{\"id\":\"a\tb\"}")]
#[case(b"{\"id\":\"\\x41\"}")]
#[case(b"{\"id\":\"\\u12g4\"}")]
#[case(b"{\"id\":\"\\ud800\"}")]
#[case(b"{\"id\":\"\\udc00\\ud800\"}")]
#[case(b"{\"id\":\"a\",\"steps\":01}")]
#[case(b"{\"id\":\"a\",\"steps\":-}")]
#[case(b"{\"id\":\"a\",\"steps\":1.}")]
#[case(b"{\"id\":\"a\",\"steps\":.5}")]
#[case(b"{\"id\":\"a\",\"steps\":+1}")]
#[case(b"{\"id\":\"a\",\"steps\":1e}")]
#[case(b"{\"id\":\"a\",\"steps\":NaN}")]
#[case(b"{\"id\":\"a\",\"worn\":tru}")]
#[case(b"{\"id\":\"a\",\"steps\":1,\"steps\":2}")]
#[case(b"{\"vitals\":{\"hr\":1},\"id\":\"a\",\"vitals\":{\"spo2\":2}}")]
#[case(b"{\"id\":\"a\",\"vitals\":{\"hr\":1}")]
#[case(b"{\"id\":\"a\",\"x\":[1,]}")]
fn a_bad_record_is_one_reject_and_its_neighbours_are_rows(#[case] bad: &[u8]) {
    let good = br#"{"id":"a","steps":7,"vitals":{"hr":70},"x":1}"#;
    let decoded = decode(&wide(), &[good, bad, good]);
    assert_eq!(column(&decoded.rows, "_offset"), ["0", "2"]);
    assert_eq!(column(&decoded.rows, "steps"), ["7", "7"]);
    assert_eq!(column(&decoded.rows, "_rescued"), ["{\"x\":1}", "{\"x\":1}"]);
    assert_eq!(raws(&decoded.rejects), [Some(bad.to_vec())]);
    assert_eq!(column(&decoded.rejects, "_rule"), ["json"]);
    assert_eq!(column(&decoded.rejects, "_offset"), ["1"]);
    assert_eq!(column(&decoded.rejects, "_quarantined_at"), ["1970-01-01T00:00:01Z"]);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{{\"id\":\"a\",\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let (fits, deep, huge) = (nested(63), nested(64), "[".repeat(1_000_000));
    let decoded = decode(&wide(), &[fits.as_bytes(), deep.as_bytes(), huge.as_bytes()]);
    assert_eq!((decoded.rows.num_rows(), decoded.rejects.num_rows()), (1, 2));
    assert!(column(&decoded.rejects, "_reason")[0].contains("nested deeper than 64"));
}

#[test]
fn a_record_without_value_is_a_reject_without_bytes() {
    let mut decoder = JsonDecoder::new(wide());
    decoder.append(None, meta(9));
    let rejects = decoder.finish().unwrap().rejects;
    assert_eq!(raws(&rejects), [None]);
    assert_eq!(column(&rejects, "_topic"), ["readings"]);
}

#[test]
fn rules_reject_rows_with_their_bytes_and_say_what_was_expected() {
    let records: [&[u8]; 6] = [
        br#"{"id":5,"steps":-1}"#,
        b"x",
        br#"{"id":"a","small":1}"#,
        br#"{"steps":1}"#,
        br#"{"id":"a","steps":-1}"#,
        b"{}",
    ];
    let mut decoder = JsonDecoder::new(wide());
    for round in 0..2 {
        for (offset, record) in records.iter().enumerate() {
            decoder.append(Some(record), meta(offset as i64));
        }
        let decoded = decoder.finish().unwrap();
        assert_eq!(column(&decoded.rows, "_offset"), ["2"], "round {round}");
        assert_eq!(column(&decoded.rejects, "_offset"), ["0", "1", "3", "4", "5"]);
        assert_eq!(
            column(&decoded.rejects, "_rule"),
            ["id.required", "json", "id.required", "steps.minimum", "id.required"]
        );
        let reasons = column(&decoded.rejects, "_reason");
        assert_eq!(reasons[0], "id is required and the record's value is not text");
        assert_eq!(reasons[1], "not one JSON object: an object was expected, at byte 0");
        assert_eq!(reasons[2], "id is required and is absent or null");
        assert_eq!(reasons[3], "steps is below the minimum of 0");
        assert_eq!(raws(&decoded.rejects)[3].as_deref(), Some(records[4]));
        assert_eq!(decoded.errors, [(0, 3), (1, 2)]);
        let rules = column(&decoded.rejects, "_rules");
        let every = concat!(
            r#"[{"rule":"id.required","reason":"id is required and the record's value is not text","contract":"ab12"},"#,
            r#"{"rule":"steps.minimum","reason":"steps is below the minimum of 0","contract":"ab12"}]"#
        );
        assert_eq!(rules[0], every);
        assert!(
            rules[1].starts_with(r#"[{"rule":"json","reason":"not one JSON object"#)
                && rules[1].ends_with(r#""contract":"ab12"}]"#)
        );
        assert_eq!(column(&decoded.rejects, "_attempts"), ["0"; 5]);
        assert_eq!(decoded.warnings, [(2, 1)]);
        assert!(decoded.fatal.is_empty());
    }
}

#[test]
fn field_order_may_change_from_record_to_record() {
    let records: [&[u8]; 4] = [
        br#"{"id":"1","steps":1,"small":11}"#,
        br#"{"small":22,"id":"2","steps":2}"#,
        br#"{"steps":3,"u":0,"id":"3","small":33}"#,
        br#"{"id":"4","steps":4,"small":44}"#,
    ];
    let rows = decode(&wide(), &records).rows;
    assert_eq!(column(&rows, "id"), ["1", "2", "3", "4"]);
    assert_eq!(column(&rows, "steps"), ["1", "2", "3", "4"]);
    assert_eq!(column(&rows, "small"), ["11", "22", "33", "44"]);
}

fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        (-1e300..1e300).prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
    ];
    let name = prop_oneof![Just("id"), Just("steps"), Just("vitals"), Just("hr"), Just("x"), Just("tags")];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            proptest::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..5)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_a_row_or_a_reject(records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let decoded = decode(&wide(), &records);
        prop_assert_eq!(decoded.rows.num_rows() + decoded.rejects.num_rows(), records.len());
    }

    #[test]
    fn rows_and_rejects_are_the_records_in_their_order(
        values in proptest::collection::vec((arbitrary_json(), 0usize..8), 1..12)
    ) {
        let texts: Vec<String> = values.iter().map(|(value, cut)| {
            let text = value.to_string();
            if *cut == 1 { text.chars().take(text.chars().count() / 2).collect() } else { text }
        }).collect();
        let records: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let decoded = decode(&wide(), &records);
        let kept = column(&decoded.rows, "_offset");
        let refused = column(&decoded.rejects, "_offset");
        for (offset, text) in texts.iter().enumerate() {
            let id = serde_json::from_str::<serde_json::Value>(text).ok().filter(serde_json::Value::is_object);
            let negative = |steps: &serde_json::Value| match steps.as_i64() {
                Some(steps) => steps < 0,
                None => steps.as_f64().is_some_and(|steps| steps < 0.0 && steps.fract() == 0.0 && steps >= -9.3e18),
            };
            let good = id.as_ref().is_some_and(|record| record["id"].is_string() && !negative(&record["steps"]));
            prop_assert_eq!(kept.contains(&offset.to_string()), good, "{}", text);
            prop_assert_eq!(refused.contains(&offset.to_string()), !good, "{}", text);
        }
        for rescued in column(&decoded.rows, "_rescued").iter().filter(|r| *r != "null") {
            prop_assert!(serde_json::from_str::<serde_json::Value>(rescued).is_ok_and(|r| r.is_object()), "{}", rescued);
        }
        let bytes: Vec<Option<Vec<u8>>> = refused.iter().map(|o| Some(texts[o.parse::<usize>().unwrap()].clone().into_bytes())).collect();
        prop_assert_eq!(raws(&decoded.rejects), bytes);
    }

    #[test]
    fn what_was_written_is_read(rows in proptest::collection::vec((".{0,30}", 0..i64::MAX, any::<i32>(), -1e300..1e300, any::<bool>()), 1..10)) {
        let texts: Vec<String> = rows.iter().map(|(id, steps, small, hr, worn)| {
            serde_json::json!({"id": id, "steps": steps, "vitals": {"hr": hr}, "small": small, "worn": worn}).to_string()
        }).collect();
        let records: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
        let decoded = decode(&wide(), &records).rows;
        prop_assert_eq!(decoded.num_rows(), rows.len());
        for (row, (id, steps, small, hr, worn)) in rows.iter().enumerate() {
            prop_assert_eq!(decoded.column(0).as_string_view().value(row), id);
            prop_assert_eq!(decoded.column(1).as_primitive::<arrow::datatypes::Int64Type>().value(row), *steps);
            prop_assert_eq!(decoded.column(2).as_primitive::<arrow::datatypes::Int32Type>().value(row), *small);
            prop_assert_eq!(decoded.column(3).as_primitive::<arrow::datatypes::Float64Type>().value(row), *hr);
            prop_assert_eq!(decoded.column(5).as_boolean().value(row), *worn);
        }
    }
}

/// Forbids every row from the second on by the first rule, and the third by the last one.
#[derive(Debug)]
struct FromTheSecondOn;

impl vitalake_contract::check::SqlRules for FromTheSecondOn {
    fn violations(&self, rows: &RecordBatch) -> Vec<vitalake_contract::check::Violation> {
        let violation = |row, rule| vitalake_contract::check::Violation { row, rule };
        std::iter::once(violation(2, 1)).chain((1..rows.num_rows()).map(|row| violation(row, 0))).collect()
    }
}

#[test]
fn rules_in_sql_and_the_others_reject_a_row_once_in_order() {
    let contract = contract(
        &[("n", ColumnType::Long, "n")],
        &[
            (0, Check::NotSql("n > 0".to_owned()), Severity::Error),
            (0, Check::NotSql("n = 2".to_owned()), Severity::Warning),
            (0, Check::Minimum(Bound::Whole(0)), Severity::Error),
        ],
    );
    let mut decoder = JsonDecoder::new(Rules::new(contract, Some(Arc::new(FromTheSecondOn))));
    for (offset, record) in [r#"{"n":-1}"#, "no", r#"{"n":1}"#, r#"{"n":-2}"#].iter().enumerate() {
        decoder.append(Some(record.as_bytes()), meta(offset as i64));
    }
    let decoded = decoder.finish().unwrap();
    assert_eq!(decoded.rows.num_rows(), 0);
    assert_eq!(column(&decoded.rejects, "_offset"), ["0", "1", "2", "3"]);
    assert_eq!(column(&decoded.rejects, "_rule"), ["n.minimum", "json", "n.check", "n.check"]);
    assert_eq!(raws(&decoded.rejects)[2].as_deref(), Some(br#"{"n":1}"#.as_slice()));
    assert_eq!((decoded.errors, decoded.warnings), (vec![(0, 2), (2, 2)], vec![(1, 1)]));
}

#[rstest]
#[case::registry(b"\0\0\0\0\x07{\"id\":\"a\"}", "the five bytes of a schema registry")]
#[case::registry_with_a_large_id(b"\0\x80\x01\x02\xff{\"id\":\"a\"}", "the five bytes of a schema registry")]
#[case::glue(b"\x03\x000123456789abcdef{}", "AWS Glue schema registry")]
#[case::utf16_with_a_mark(b"\xff\xfe{\0\"\0", "the mark of UTF-16")]
#[case::utf16_the_other_way(b"\xfe\xff\0{\0\"", "the mark of UTF-16")]
#[case::utf16_without_a_mark(b"{\0\"\0i\0", "it is UTF-16")]
#[case::utf16_without_a_mark_the_other_way(b"\0{\0\"\0i", "it is UTF-16")]
#[case::utf32(b"\0\0\xfe\xff\0\0\0{", "the mark of UTF-32")]
#[case::gzip(b"\x1f\x8b\x08\0", "it is gzip")]
#[case::zstd(b"\x28\xb5\x2f\xfd\0", "it is zstd")]
#[case::lz4(b"\x04\x22\x4d\x18\0", "it is LZ4")]
#[case::avro(b"Obj\x01\x04", "it is an Avro file")]
#[case::java(b"\xac\xed\0\x05t", "a serialized Java object")]
#[case::a_mark_and_nothing(b"\xef\xbb\xbf", "the record ends too early, at byte 3")]
#[case::broken_after_a_mark(b"\xef\xbb\xbf{]", "a field's name was expected, at byte 4")]
fn what_a_record_is_whose_first_bytes_are_no_json_is_named(#[case] record: &[u8], #[case] named: &str) {
    let decoded = decode(&wide(), &[record, br#"{"id":"b"}"#]);
    assert_eq!(column(&decoded.rows, "id"), ["b"]);
    assert_eq!(raws(&decoded.rejects), [Some(record.to_vec())]);
    assert_eq!((column(&decoded.rejects, "_rule"), decoded.not_json), (vec!["json".to_owned()], 1));
    let reason = &column(&decoded.rejects, "_reason")[0];
    assert!(reason.starts_with("not one JSON object: ") && reason.contains(named), "{reason}");
}

#[test]
fn a_tombstone_is_told_from_broken_json() {
    let mut decoder = JsonDecoder::new(wide());
    decoder.append(None, meta(0));
    decoder.append(Some(b"{"), meta(1));
    let decoded = decoder.finish().unwrap();
    assert_eq!(column(&decoded.rejects, "_rule"), ["tombstone", "json"]);
    assert_eq!((decoded.tombstones, decoded.not_json), (1, 1));
}

#[test]
fn key_and_headers_go_where_their_record_goes() {
    let mut decoder = JsonDecoder::new(wide());
    let keys =
        [Some(b"k0".as_slice()), None, Some(b"\xff\0"), Some(b""), Some(b"a key of more than twelve bytes"), None];
    let records =
        [r#"{"id":"a"}"#, "broken", r#"{"id":"b","steps":-1}"#, r#"{"id":"c"}"#, "broken too", r#"{"id":"d"}"#];
    for (at, (key, record)) in keys.iter().zip(records).enumerate() {
        let headers = (at % 2 == 0).then(|| format!("[{at}]"));
        let envelope = Envelope { key: *key, headers: headers.as_deref() };
        let meta = RecordMeta { timestamp_ms: (at > 0).then_some(5), ..meta(at as i64) };
        decoder.append_with(Some(record.as_bytes()), envelope, meta);
    }
    let decoded = decoder.finish().unwrap();
    let keys = |batch: &RecordBatch| {
        let keys = batch.column_by_name("_key").unwrap().as_binary_view();
        keys.iter().map(|key| key.map(<[u8]>::to_vec)).collect::<Vec<_>>()
    };
    assert_eq!(column(&decoded.rows, "id"), ["a", "c", "d"]);
    assert_eq!(keys(&decoded.rows), [Some(b"k0".to_vec()), Some(vec![]), None]);
    assert_eq!(column(&decoded.rows, "_headers"), ["[0]", "null", "null"]);
    assert_eq!(column(&decoded.rejects, "_offset"), ["1", "2", "4"]);
    assert_eq!(
        keys(&decoded.rejects),
        [None, Some(b"\xff\0".to_vec()), Some(b"a key of more than twelve bytes".to_vec())]
    );
    assert_eq!(column(&decoded.rejects, "_headers"), ["null", "[2]", "[4]"]);
    assert_eq!(column(&decoded.rejects, "_timestamp"), ["1970-01-01T00:00:00.005Z"; 3]);
    // Nothing is left of them in the next batch.
    decoder.append(Some(br#"{"id":"e"}"#), meta(9));
    let next = decoder.finish().unwrap();
    assert_eq!((keys(&next.rows), column(&next.rows, "_headers")), (vec![None], vec!["null".to_owned()]));
}

#[test]
fn a_stream_ends_before_the_first_record_that_breaks_a_fatal_rule() {
    let contract = contract(
        &[("id", ColumnType::String, "id"), ("steps", ColumnType::Long, "steps")],
        &[
            (0, Check::Required, Severity::Error),
            (1, Check::Minimum(Bound::Whole(10)), Severity::Warning),
            (1, Check::Minimum(Bound::Whole(0)), Severity::Fatal),
        ],
    );
    let records: [&[u8]; 8] = [
        br#"{"id":"a","steps":1}"#,
        b"broken",
        br#"{"steps":1}"#,
        b"broken",
        br#"{"steps":-1}"#,
        b"broken",
        br#"{"id":"b","steps":-1}"#,
        br#"{"id":"c","steps":1}"#,
    ];
    let mut decoder = JsonDecoder::new(contract);
    for (offset, record) in records.iter().enumerate() {
        decoder.append(Some(record), meta(offset as i64));
    }
    let decoded = decoder.finish_before_fatal().unwrap();
    assert_eq!(decoded.stopped_at, Some((4, "steps.minimum".to_owned())));
    assert_eq!(column(&decoded.rows, "_offset"), ["0"]);
    assert_eq!(column(&decoded.rejects, "_offset"), ["1", "2", "3"]);
    assert_eq!((decoded.warnings, decoded.errors, decoded.fatal), (vec![(1, 2)], vec![(0, 1)], vec![(2, 1)]));
    assert_eq!(decoded.not_json, 2);
}
