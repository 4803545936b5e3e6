//! What is taken for a success, and what for a difference.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::super::spec::DruidType;
use super::*;

fn report(processed: u64, with_error: u64, thrown_away: u64, unparseable: u64) -> Value {
    let counts = json!({"processed": processed, "processedWithError": with_error, "thrownAway": thrown_away,
        "unparseable": unparseable, "processedBytes": 4096});
    json!({"ingestionStatsAndErrors": {"payload": {"ingestionState": "COMPLETED", "rowStats": {"buildSegments": counts}}}})
}

#[test]
fn a_success_that_took_other_rows_than_it_was_given_is_none() {
    let expected = Expected { rows: 10, outside: 2 };
    assert_eq!(ingested(&report(10, 0, 2, 0)).unwrap().differs(expected), None);
    // A file that a worker cannot see is no error to Druid: nothing is read, and the interval is emptied.
    for (processed, with_error, thrown_away, unparseable) in
        [(0, 0, 0, 0), (9, 0, 3, 0), (9, 1, 2, 0), (10, 0, 2, 1), (10, 0, 0, 0)]
    {
        let found = ingested(&report(processed, with_error, thrown_away, unparseable)).unwrap();
        assert!(found.differs(expected).unwrap().contains("of 10 rows"));
    }
    let nothing = Expected { rows: 0, outside: 0 };
    assert_eq!(ingested(&report(0, 0, 1, 0)).unwrap().differs(nothing), None);
    assert_eq!(ingested(&json!({"ingestionStatsAndErrors": {}})), None);
}

#[test]
fn a_failure_is_told_in_our_words_whatever_druid_quotes() {
    for (said, word) in [
        ("Shutdown request from user", "ended by somebody"),
        (
            "org.apache.druid.java.util.common.parsers.ParseException: Timestamp[patient-7] is unparseable!",
            "could not read a row",
        ),
        ("java.io.IOException: No space left on device", "no room"),
        ("java.io.IOException: Server returned HTTP response code: 403 for URL: http://x?sig=1", "could not fetch"),
        ("This task disappeared on the worker where it was assigned. See overlord logs", "went away"),
        ("java.lang.IllegalStateException: patient-7", "its task failed"),
    ] {
        let words = failure(said);
        assert!(words.contains(word) && !words.contains("patient-7"), "{said}: {words}");
    }
}

#[test]
fn counts_and_sums_are_compared_by_segment() {
    let columns = [
        PublishedColumn { name: "site".to_owned(), kind: DruidType::Text },
        PublishedColumn { name: "n".to_owned(), kind: DruidType::Long },
        PublishedColumn { name: "bpm".to_owned(), kind: DruidType::Double },
    ];
    let day = 86_400_000;
    let intervals = [Interval { start_ms: 0, end_ms: 3 * day }];
    let counted = |rows, n, bpm: f64| Counted { rows, sums: vec![Sum::Long(n), Sum::Double(bpm, bpm.abs())] };
    let ours = BTreeMap::from([(0, counted(2, 5, 1.5)), (day, counted(1, i128::from(i64::MAX) + 1, f64::NAN))]);
    let same = [vec![json!(0), json!(2), json!(5), json!(1.5)], vec![json!(day), json!(1), json!(7), json!("NaN")]];
    assert!(compare(&columns, &intervals, &ours, &same).is_none());
    let elsewhere = [same.to_vec(), vec![vec![json!(5 * day), json!(9), json!(1), json!(1)]]].concat();
    assert!(compare(&columns, &intervals, &ours, &elsewhere).is_none(), "what lies outside is not looked at");
    let more = [same.to_vec(), vec![vec![json!(2 * day), json!(9), json!(1), json!(1)]]].concat();
    let found = compare(&columns, &intervals, &ours, &more);
    assert_eq!((found.counts_off, found.rows_there), (1, 12));
    let off = [vec![json!(0), json!(2), json!(5), json!(1.6)], vec![json!(day), json!(1), Value::Null, Value::Null]];
    assert_eq!(compare(&columns, &intervals, &ours, &off).sums_off, ["bpm"]);
    assert_eq!(compare(&columns, &intervals, &ours, &[]).words(), "Druid has 0 rows where this version has 3");
}

#[test]
fn names_are_quoted_in_the_question() {
    let columns = [PublishedColumn { name: "a\"b".to_owned(), kind: DruidType::Long }];
    let asked = question("x", &columns, Granularity::Month, &[Interval { start_ms: 0, end_ms: 5 }]);
    insta::assert_snapshot!(asked, @r#"SELECT TIMESTAMP_TO_MILLIS(TIME_FLOOR(__time, 'P1M')), COUNT(*), SUM("a""b") FROM "x" WHERE (__time >= MILLIS_TO_TIMESTAMP(0) AND __time < MILLIS_TO_TIMESTAMP(5)) GROUP BY 1"#);
}
