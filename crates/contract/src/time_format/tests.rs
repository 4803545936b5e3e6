//! Answers of JDK 17 (`DateTimeFormatter.ofPattern(pattern, ENGLISH).withZone(UTC)`), and where ours differ on purpose.
#![allow(clippy::unwrap_used)]

use chrono_tz::Tz;
use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn instant(pattern: &str, zone: Tz, text: &str) -> Option<i64> {
    TimeFormat::compile(pattern, Some(zone)).unwrap().parse_timestamp(text.as_bytes())
}

#[rstest]
#[case("M/d/yyyy h:mm:ss a", "4/12/2016 1:00:00 AM", Some(1460422800000000))]
#[case("M/d/yyyy h:mm:ss a", "04/12/2016 01:00:00 AM", Some(1460422800000000))]
#[case("M/d/yyyy h:mm:ss a", "4/12/2016 12:00:00 AM", Some(1460419200000000))]
#[case("M/d/yyyy h:mm:ss a", "4/12/2016 12:00:00 PM", Some(1460462400000000))]
#[case("M/d/yyyy h:mm:ss a", "4/12/2016 13:00:00 AM", None)]
#[case("M/d/yyyy h:mm:ss a", "4/12/2016 0:00:00 AM", Some(1460419200000000))]
#[case("M/d/yyyy h:mm:ss a", "4/12/2016 1:0:00 AM", None)]
#[case("M/d/yyyy h:mm:ss a", "4/12/16 1:00:00 AM", None)]
#[case("M/d/yyyy h:mm:ss a", "4/12/2016 1:00:00AM", None)]
#[case("M/d/yyyy h:mm:ss a", "4/12/2016 1:00:00 AM ", None)]
#[case("M/d/yyyy h:mm:ss a", "4/12/2016 1:00:60 AM", None)]
#[case("M/d/yyyy h:mm:ss a", "004/12/2016 1:00:00 AM", Some(1460422800000000))]
#[case("yyyy-MM-dd HH:mm:ss", "2016-04-12 24:00:00", Some(1460505600000000))]
#[case("yyyy-MM-dd HH:mm:ss", "2016-04-12 24:00:01", None)]
#[case("yyyy-MM-dd HH:mm:ss", "2016-04-12 23:59:59", Some(1460505599000000))]
#[case("yyyy-MM-dd HH:mm:ss", "12016-04-12 23:59:59", None)]
#[case("yyyy-MM-dd HH:mm:ss", "216-04-12 23:59:59", None)]
#[case("yyyy-MM-dd HH:mm:ss", "-2016-04-12 23:59:59", None)]
#[case("yyyy-MM-dd HH:mm:ss", "2016-4-12 23:59:59", None)]
#[case("y-M-d H:m:s", "2016-4-2 3:5:7", Some(1459566307000000))]
#[case("y-M-d H:m:s", "16-4-2 3:5:7", Some(-61654337693000000))]
#[case("yy-MM-dd HH:mm:ss", "16-04-02 03:05:07", Some(1459566307000000))]
#[case("yy-MM-dd HH:mm:ss", "99-04-02 03:05:07", Some(4078782307000000))]
#[case("yyyyMMddHHmmss", "20160412010203", Some(1460422923000000))]
#[case("yyyyMMddHHmmssSSS", "20160412010203456", Some(1460422923456000))]
#[case("yyyyMMdd'T'HHmmss", "20160412T010203", Some(1460422923000000))]
#[case("uuuuMMddHHmmss", "20160412010203", Some(1460422923000000))]
#[case("yMMddHHmmss", "20160412010203", Some(1460422923000000))]
#[case("dd MMM yyyy HH:mm:ss", "12 Apr 2016 01:02:03", Some(1460422923000000))]
#[case("dd MMMM yyyy HH:mm:ss", "12 April 2016 01:02:03", Some(1460422923000000))]
#[case("dd MMMM yyyy HH:mm:ss", "12 Apr 2016 01:02:03", None)]
#[case("dd MMM yyyy HH:mm:ss", "12 Sept 2016 01:02:03", None)]
#[case("dd MMM yyyy HH:mm:ss", "12 Sep 2016 01:02:03", Some(1473642123000000))]
#[case("yyyy-MM-dd HH:mm:ss.SSS", "2016-04-12 01:02:03.5", None)]
#[case("yyyy-MM-dd HH:mm:ss.SSS", "2016-04-12 01:02:03.500", Some(1460422923500000))]
#[case("yyyy-MM-dd HH:mm:ss.S", "2016-04-12 01:02:03.5", Some(1460422923500000))]
#[case("yyyy-MM-dd HH:mm:ss.SSSSSSSSS", "2016-04-12 01:02:03.123456789", Some(1460422923123456))]
#[case("yyyy-MM-dd HH:mm[:ss[.SSS]]", "2016-04-12 01:02", Some(1460422920000000))]
#[case("yyyy-MM-dd HH:mm[:ss[.SSS]]", "2016-04-12 01:02:03", Some(1460422923000000))]
#[case("yyyy-MM-dd HH:mm[:ss[.SSS]]", "2016-04-12 01:02:03.123", Some(1460422923123000))]
#[case("yyyy-MM-dd HH:mm[:ss[.SSS]]", "2016-04-12 01:02:", None)]
#[case("yyyy-MM-dd'T'HH:mm:ssX", "2016-04-12T01:02:03Z", Some(1460422923000000))]
#[case("yyyy-MM-dd'T'HH:mm:ssX", "2016-04-12T01:02:03+02", Some(1460415723000000))]
#[case("yyyy-MM-dd'T'HH:mm:ssX", "2016-04-12T01:02:03+0230", Some(1460413923000000))]
#[case("yyyy-MM-dd'T'HH:mm:ssX", "2016-04-12T01:02:03+02:30", None)]
#[case("yyyy-MM-dd'T'HH:mm:ssX", "2016-04-12T01:02:03z", None)]
#[case("yyyy-MM-dd'T'HH:mm:ssXX", "2016-04-12T01:02:03+0230", Some(1460413923000000))]
#[case("yyyy-MM-dd'T'HH:mm:ssXX", "2016-04-12T01:02:03+02", None)]
#[case("yyyy-MM-dd'T'HH:mm:ssXX", "2016-04-12T01:02:03Z", Some(1460422923000000))]
#[case("yyyy-MM-dd'T'HH:mm:ssXXX", "2016-04-12T01:02:03-05:00", Some(1460440923000000))]
#[case("yyyy-MM-dd'T'HH:mm:ssXXX", "2016-04-12T01:02:03-0500", None)]
#[case("yyyy-MM-dd'T'HH:mm:ssXXX", "2016-04-12T01:02:03+19:00", None)]
#[case("yyyy-MM-dd'T'HH:mm:ssxxx", "2016-04-12T01:02:03Z", None)]
#[case("yyyy-MM-dd'T'HH:mm:ssxxx", "2016-04-12T01:02:03+00:00", Some(1460422923000000))]
#[case("yyyy-MM-dd'T'HH:mm:ssx", "2016-04-12T01:02:03+00", Some(1460422923000000))]
#[case("yyyy-MM-dd'T'HH:mm:ssZ", "2016-04-12T01:02:03+0100", Some(1460419323000000))]
#[case("yyyy-MM-dd'T'HH:mm:ssZ", "2016-04-12T01:02:03Z", None)]
#[case("yyyy-MM-dd'T'HH:mm:ssZZZZZ", "2016-04-12T01:02:03+01:00", Some(1460419323000000))]
#[case("yyyy-MM-dd'T'HH:mm:ssZZZZZ", "2016-04-12T01:02:03Z", Some(1460422923000000))]
#[case("yyyy-MM-dd'T'HH:mm:ssXXXXX", "2016-04-12T01:02:03+01:00:30", Some(1460419293000000))]
#[case("yyyy-MM-dd HH:mm:ss VV", "2016-07-12 01:02:03 Europe/Paris", Some(1468278123000000))]
#[case("yyyy-MM-dd HH:mm:ss VV", "2016-07-12 01:02:03 Z", Some(1468285323000000))]
#[case("yyyy-MM-dd HH:mm:ss VV", "2016-07-12 01:02:03 +01:00", Some(1468281723000000))]
#[case("yyyy-MM-dd HH:mm:ss VV", "2016-07-12 01:02:03 UTC", Some(1468285323000000))]
#[case("yyyy-MM-dd HH:mm:ss z", "2016-07-12 01:02:03 UTC", Some(1468285323000000))]
#[case("yyyy-MM-dd HH:mm:ss z", "2016-07-12 01:02:03 PST", Some(1468310523000000))]
#[case("yyyy-MM-dd HH:mm:ss z", "2016-07-12 01:02:03 EST", Some(1468299723000000))]
#[case("yyyy-MM-dd HH:mm:ss z", "2016-07-12 01:02:03 EDT", Some(1468299723000000))]
#[case("yyyy-MM-dd HH:mm:ss z", "2016-07-12 01:02:03 GMT", Some(1468285323000000))]
#[case("yyyy-MM-dd HH:mm:ss z", "2016-07-12 01:02:03 CET", Some(1468278123000000))]
#[case("yyyy-MM-dd kk:mm:ss", "2016-04-12 24:00:00", Some(1460419200000000))]
#[case("yyyy-MM-dd kk:mm:ss", "2016-04-12 00:00:00", Some(1460419200000000))]
#[case("yyyy-MM-dd KK:mm:ss a", "2016-04-12 00:00:00 PM", Some(1460462400000000))]
#[case("yyyy-MM-dd KK:mm:ss a", "2016-04-12 12:00:00 PM", None)]
#[case("yyyy-MM-dd HH", "2016-04-12 10", Some(1460455200000000))]
#[case("yyyy-MM-dd 'o''clock' HH", "2016-04-12 o'clock 10", Some(1460455200000000))]
#[case("yyyy-MM-dd''HH", "2016-04-12'10", Some(1460455200000000))]
#[case("EEE, dd MMM yyyy HH:mm:ss Z", "Tue, 12 Apr 2016 01:02:03 +0000", Some(1460422923000000))]
#[case("EEE, dd MMM yyyy HH:mm:ss Z", "Wed, 12 Apr 2016 01:02:03 +0000", None)]
#[case("EEEE dd MMM yyyy HH:mm:ss", "Tuesday 12 Apr 2016 01:02:03", Some(1460422923000000))]
#[case("uuuu-DDD HH:mm", "2016-103 10:00", Some(1460455200000000))]
#[case("yyyy-MM-dd HH:mm:ss", "0000-04-12 00:00:00", None)]
#[case("uuuu-MM-dd HH:mm:ss", "0000-04-12 00:00:00", Some(-62158406400000000))]
#[case("yyyy-MM-dd HH:mm:ss n", "2016-04-12 01:02:03 500000", Some(1460422923000500))]
#[case("yyyy-MM-dd HH:mm", "2016-13-01 10:00", None)]
#[case("yyyy-MM-dd HH:mm", "2016-00-01 10:00", None)]
#[case("yyyy-MM-dd HH:mm", "2016-01-00 10:00", None)]
#[case("yyy-MM-dd HH:mm", "2016-01-02 10:00", Some(1451728800000000))]
#[case("yyyyy-MM-dd HH:mm", "02016-01-02 10:00", Some(1451728800000000))]
#[case("H:mm d/M/y", "9:05 2/3/2016", Some(1456909500000000))]
#[case("yyyyMMddHHmmssSSSSSS", "20160412010203456789", Some(1460422923456789))]
#[case("yyyy-MM-dd HH:mm z", "2016-01-12 01:02 EDT", Some(1452578520000000))]
#[case("yyyy-MM-dd HH:mm z", "2016-01-12 01:02 Europe/Paris", Some(1452556920000000))]
#[case("yyyy-MM-dd HH:mm VV", "2016-01-12 01:02 GMT+2", None)]
#[case("yyyy-MM-dd HH:mm VV", "2016-01-12 01:02 UTC+02:00", Some(1452553320000000))]
#[case("yyyy-MM-dd HH:mmX", "2016-01-12 01:02+1", None)]
#[case("yyyy-MM-dd HH:mm[X]", "2016-01-12 01:02", Some(1452560520000000))]
#[case("[yyyy-MM-dd][dd.MM.yyyy] HH:mm", "12.01.2016 01:02", Some(1452560520000000))]
fn reads_as_the_jdk_does(#[case] pattern: &str, #[case] text: &str, #[case] expected: Option<i64>) {
    assert_eq!(instant(pattern, Tz::UTC, text), expected);
}

#[rstest]
#[case("M/d/yyyy h:mm:ss a", "4/12/2016 1:00:00 am", Some(1460422800000000))]
#[case("M/d/yyyy h:mm:ss a", "2/30/2016 1:00:00 AM", None)]
#[case("dd MMM yyyy HH:mm:ss", "12 APR 2016 01:02:03", Some(1460422923000000))]
#[case("yyyy-MM-dd HH:mm", "2015-02-29 10:00", None)]
#[case("yyyy-MM-dd", "2016-04-12", Some(1460419200000000))]
fn reads_names_in_any_case_and_refuses_days_that_do_not_exist(
    #[case] pattern: &str,
    #[case] text: &str,
    #[case] expected: Option<i64>,
) {
    assert_eq!(instant(pattern, Tz::UTC, text), expected);
}

#[rstest]
#[case("Europe/Paris", "2016-03-27 02:30:00", 1459042200)]
#[case("Europe/Paris", "2016-10-30 02:30:00", 1477787400)]
#[case("America/New_York", "2016-03-13 02:30:00", 1457854200)]
#[case("America/New_York", "2016-11-06 01:30:00", 1478410200)]
#[case("America/New_York", "2016-07-01 12:00:00", 1467388800)]
#[case("Asia/Kolkata", "2016-07-01 12:00:00", 1467354600)]
#[case("Australia/Lord_Howe", "2016-10-02 02:15:00", 1475336700)]
#[case("Australia/Lord_Howe", "2016-04-03 01:45:00", 1459608300)]
#[case("Pacific/Apia", "2011-12-30 12:00:00", 1325282400)]
#[case("America/New_York", "1850-01-01 00:00:00", -3786807838)]
#[case("Europe/Paris", "2060-07-01 00:00:00", 2855858400)]
#[case("Africa/Casablanca", "2020-04-19 03:30:00", 1587267000)]
fn resolves_gaps_and_overlaps_as_java_time_does(#[case] zone: Tz, #[case] text: &str, #[case] seconds: i64) {
    assert_eq!(instant("yyyy-MM-dd HH:mm:ss", zone, text), Some(seconds * 1_000_000));
}

#[rstest]
#[case("MM-dd-yyyy", "04-12-2016", Some(16903))]
#[case("MM-dd-yyyy", "13-04-2016", None)]
#[case("MM-dd-yyyy", "4-12-2016", None)]
#[case("MM-dd-yyyy", "04-12-2016 ", None)]
#[case("d.M.yy", "1.2.70", Some(36556))]
#[case("yyyy-MM-dd HH:mm", "2016-04-12 24:00", Some(16904))]
fn reads_days(#[case] pattern: &str, #[case] text: &str, #[case] expected: Option<i32>) {
    assert_eq!(TimeFormat::compile(pattern, None).unwrap().parse_date(text.as_bytes()), expected);
}

#[rstest]
#[case("2016-04-12T01:00:00Z", Some(1460422800000000))]
#[case("2016-04-12t01:00:00z", Some(1460422800000000))]
#[case("2016-04-12 01:00:00.5+02:00", Some(1460415600500000))]
#[case("2016-04-12T01:00:00.1234567-00:30", Some(1460424600123456))]
#[case("2016-12-31T23:59:60Z", Some(1483228800000000))]
#[case("1969-12-31T23:59:59.999999Z", Some(-1))]
#[case("2016-02-29T00:00:00Z", Some(1456704000000000))]
#[case("2015-02-29T00:00:00Z", None)]
#[case("2016-04-12T24:00:00Z", None)]
#[case("2016-04-12T01:00:00", None)]
#[case("2016-04-12T01:00:00.Z", None)]
#[case("2016-04-12T01:00Z", None)]
#[case("2016-04-12T01:00:00+0200", None)]
#[case("2016-04-12T01:00:00ZZ", None)]
#[case("", None)]
fn reads_rfc_3339(#[case] text: &str, #[case] expected: Option<i64>) {
    assert_eq!(parse_rfc3339(text.as_bytes()), expected);
}

#[rstest]
#[case("YYYY-MM-dd")]
#[case("yyyy-MM-dd hh:mm")]
#[case("yyyy-MM-ddTHH:mm")]
#[case("yyyy-MM-dd'T")]
#[case("yyyy-MMMMM")]
#[case("ddd")]
#[case("yyyy]")]
#[case("{yyyy}")]
#[case("")]
fn refuses_patterns_in_words(#[case] pattern: &str) {
    assert!(TimeFormat::compile(pattern, None).is_err());
}

#[test]
fn zoneless_input_without_a_default_zone_is_no_instant() {
    let format = TimeFormat::compile("yyyy-MM-dd HH:mm", None).unwrap();
    assert!(!format.has_zone() && format.has_date() && format.has_time());
    assert_eq!(format.parse_timestamp(b"2016-04-12 01:00"), None);
}

proptest! {
    #[test]
    fn never_panics(pattern in "[yuMdHhkKmsSaXxZVzn' :/\\[\\]-]{0,12}", text in proptest::collection::vec(any::<u8>(), 0..40)) {
        if let Ok(format) = TimeFormat::compile(&pattern, Some(Tz::Europe__Paris)) {
            let _ = (format.parse_timestamp(&text), format.parse_date(&text), format.parse_time(&text));
        }
        let _ = (parse_rfc3339(&text), parse_iso_date(&text), parse_iso_time(&text));
    }

    #[test]
    fn never_panics_on_almost_right(text in "[0-9]{1,5}[-/:. T][0-9]{1,3}[-/:. T][0-9]{1,3}[T ][0-9:.]{0,12}[Zz+-]?[0-9:]{0,6}") {
        for pattern in ["yyyy-MM-dd'T'HH:mm:ss[.SSS][X]", "y-M-d H:m:s", "M/d/yyyy h:mm:ss a", "yyyyMMddHHmmss"] {
            let format = TimeFormat::compile(pattern, Some(Tz::America__New_York)).unwrap();
            let _ = format.parse_timestamp(text.as_bytes());
        }
        let _ = parse_rfc3339(text.as_bytes());
    }

    #[test]
    fn reads_back_what_chrono_writes(seconds in -62_135_596_800_i64..253_402_300_799) {
        let at = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
        prop_assert_eq!(parse_rfc3339(at.to_rfc3339().as_bytes()), Some(seconds * 1_000_000));
        let text = at.format("%d %B %Y %I:%M:%S %p").to_string();
        prop_assert_eq!(instant("dd MMMM yyyy hh:mm:ss a", Tz::UTC, &text), Some(seconds * 1_000_000));
    }
}
