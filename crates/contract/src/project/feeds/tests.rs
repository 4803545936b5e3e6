//! Feeds' files that are whole, and every kind of mistake by its code.
#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::contract::Layer;
use crate::feed::{Complete, PostgresSelect, WatermarkLag};

const WHOLE: &str = "name: a\ndataset: patients\n";
const FOLDER: &str = "source: {folder: in, pattern: 'p_{date:yyyyMMdd}.csv'}\n";

fn read_text(text: &str) -> (Option<Feed>, Vec<Diagnostic>) {
    let mut found = Vec::new();
    let file = read("feeds/a.yaml", "a", text.as_bytes(), &mut found);
    assert_eq!(file.is_some(), found.is_empty(), "{found:?}");
    (file.map(|file| file.feed), found)
}

fn whole(text: &str) -> Feed {
    let (feed, found) = read_text(text);
    feed.unwrap_or_else(|| panic!("{found:?}"))
}

#[test]
fn a_folder_on_arrival_is_read() {
    let feed = whole(&format!(
        "{WHOLE}{FOLDER}on: arrival\nmarker: '{{name}}.done'\ndue: '06:00'\nlate_by: 4h\nzone: Europe/Berlin\n"
    ));
    let files = feed.source.files().unwrap();
    assert_eq!((files.place.as_str(), &files.complete), ("in", &Complete::Marker("{name}.done".into())));
    let due = feed.due.unwrap();
    assert_eq!(
        (due.calendar.pattern(), due.late_by.as_secs(), due.date),
        ("00 06 * * *", 14_400, Some(DueDate::Today))
    );
    assert_eq!(feed.zone, chrono_tz::Europe::Berlin);
}

#[test]
fn a_database_on_a_schedule_is_read() {
    let feed = whole(&format!(
        "{WHOLE}source:\n  postgres: ${{CLINIC}}\n  query: SELECT 1;\n  watermark: changed\nschedule: {{cron: '30 2 * * *', zone: Asia/Tokyo}}\nmissed: skip\n"
    ));
    let FeedSource::Postgres(source) = feed.source else { panic!("a database") };
    assert_eq!(
        (source.select, source.watermark.as_deref()),
        (PostgresSelect::Query("SELECT 1".into()), Some("changed"))
    );
    assert_eq!(source.lag, WatermarkLag::None);
    let FeedTrigger::Schedule { calendar, missed } = feed.trigger else { panic!("a schedule") };
    assert_eq!((calendar.zone(), missed), (chrono_tz::Asia::Tokyo, Missed::Skip));
}

#[rstest::rstest]
#[case("15m", WatermarkLag::Time(Duration::from_secs(900)))]
#[case("100", WatermarkLag::Number(100))]
fn a_lag_is_a_time_or_a_number(#[case] lag: &str, #[case] want: WatermarkLag) {
    let feed = whole(&format!(
        "{WHOLE}source: {{postgres: '${{A}}', table: t, watermark: w, lag: {lag}}}\nschedule: 0 1 * * *\n"
    ));
    let FeedSource::Postgres(source) = feed.source else { panic!("a database") };
    assert_eq!(source.lag, want);
}

#[rstest::rstest]
#[case::unknown_key("onn: arrival\n", "unknown-key")]
#[case::no_trigger("", "missing-key")]
#[case::both("on: arrival\nschedule: 0 1 * * *\n", "bad-feed")]
#[case::never("schedule: 0 0 30 2 *\n", "bad-schedule")]
#[case::hour("schedule: 0 24 * * *\n", "bad-schedule")]
#[case::words("schedule: [a]\n", "bad-schedule")]
#[case::zone("schedule: {cron: 0 1 * * *, zone: Europe/Berln}\n", "bad-timezone")]
#[case::two_zones("zone: UTC\nschedule: {cron: 0 1 * * *, zone: Europe/Berlin}\n", "bad-timezone")]
#[case::missed("schedule: 0 1 * * *\nmissed: all\n", "bad-feed")]
#[case::missed_on_arrival("on: arrival\nmissed: once\n", "bad-feed")]
#[case::on("on: friday\n", "bad-feed")]
#[case::stable("on: arrival\nstable: soon\n", "bad-duration")]
#[case::marker("on: arrival\nmarker: done\n", "bad-feed")]
#[case::marker_itself("on: arrival\nmarker: '{name}'\n", "bad-feed")]
#[case::marker_and_stable("on: arrival\nmarker: '{name}.ok'\nstable: 3s\n", "bad-feed")]
#[case::late_by("on: arrival\nlate_by: 3h\n", "bad-feed")]
#[case::due("on: arrival\ndue: '26:00'\n", "bad-schedule")]
#[case::due_date("on: arrival\ndue: {cron: 0 6 * * *, date: monday}\n", "bad-feed")]
#[case::gather("on: arrival\ngather: maybe\n", "bad-feed")]
#[case::format("on: arrival\nformat: xls\n", "bad-feed")]
fn a_mistake_is_told_by_its_code(#[case] lines: &str, #[case] code: &str) {
    let (_, found) = read_text(&format!("{WHOLE}{FOLDER}{lines}"));
    assert!(found.iter().any(|finding| finding.code == code), "{found:?}");
}

#[rstest::rstest]
#[case::none("on: arrival\n", "missing-key")]
#[case::nothing_in_it("on: arrival\nsource: {pattern: a.csv}\n", "missing-key")]
#[case::two("on: arrival\nsource: {folder: in, url: 'az://a/b', pattern: a.csv}\n", "bad-source")]
#[case::climbs("on: arrival\nsource: {folder: ../in, pattern: a.csv}\n", "bad-source")]
#[case::climbs_within("on: arrival\nsource: {folder: in/../../out, pattern: a.csv}\n", "bad-source")]
#[case::pattern_climbs("on: arrival\nsource: {folder: in, pattern: ../a.csv}\n", "bad-pattern")]
#[case::no_pattern("on: arrival\nsource: {folder: in}\n", "missing-key")]
#[case::gather_without_a_date("on: arrival\ngather: true\nsource: {folder: in, pattern: '*.csv'}\n", "no-date")]
#[case::due_date_without_a_date(
    "on: arrival\ndue: {cron: 0 6 * * *, date: today}\nsource: {folder: in, pattern: '*.csv'}\n",
    "no-date"
)]
#[case::scheme("on: arrival\nsource: {url: 's3://a/b', pattern: '*.csv'}\n", "bad-source")]
#[case::database_on_arrival("on: arrival\nsource: {postgres: '${A}', table: t}\n", "bad-feed")]
#[case::database_with_a_marker(
    "schedule: 0 1 * * *\nmarker: '{name}.ok'\nsource: {postgres: '${A}', table: t}\n",
    "bad-feed"
)]
#[case::table_and_query("schedule: 0 1 * * *\nsource: {postgres: '${A}', table: t, query: SELECT 1}\n", "bad-source")]
#[case::no_table("schedule: 0 1 * * *\nsource: {postgres: '${A}'}\n", "missing-key")]
#[case::no_database("schedule: 0 1 * * *\nsource: {postgres: 'mysql://h/d', table: t}\n", "bad-source")]
#[case::lag_of_nothing("schedule: 0 1 * * *\nsource: {postgres: '${A}', table: t, lag: 5m}\n", "bad-source")]
#[case::lag_in_words(
    "schedule: 0 1 * * *\nsource: {postgres: '${A}', table: t, watermark: w, lag: soon}\n",
    "bad-duration"
)]
#[case::secret("schedule: 0 1 * * *\nsource: {postgres: 'postgres://u:HUNTER2@h/d', table: t}\n", "secret")]
fn a_source_that_is_none(#[case] lines: &str, #[case] code: &str) {
    let (_, found) = read_text(&format!("{WHOLE}{lines}"));
    assert!(found.iter().any(|finding| finding.code == code), "{found:?}");
    assert!(!crate::diagnostic::render(&found, false).contains("HUNTER2"));
}

fn contract(name: &str, source: Option<Source>) -> Contract {
    let layer = if source.is_some() { Layer::Raw } else { Layer::Curated };
    Contract { source, ..Contract::new(DatasetName::new(name).unwrap(), layer) }
}

#[test]
fn a_feed_needs_a_raw_dataset_of_its_own_that_takes_files() {
    let stream = Source::Stream { topic: "t".into(), partitions: 1 };
    let contracts =
        [contract("patients", Some(Source::Feed)), contract("readings", Some(stream)), contract("vitals", None)];
    let contracts: Vec<&Contract> = contracts.iter().collect();
    let codes = |datasets: &[&str]| {
        let mut found = Vec::new();
        let file = |dataset: &&str| {
            let text = format!("name: a\ndataset: {dataset}\non: arrival\n{FOLDER}");
            read("feeds/a.yaml", "a", text.as_bytes(), &mut Vec::new()).unwrap()
        };
        let files: Vec<FeedFile> = datasets.iter().map(file).collect();
        check(&files, &contracts, &mut found);
        assert!(found.iter().all(|finding| finding.line == 2 && finding.help.is_some()), "{found:?}");
        found.iter().map(|finding| finding.code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&["patients"]), [""; 0]);
    assert_eq!(codes(&["patients", "raw.patients"]), ["duplicate-dataset"]);
    assert_eq!(codes(&["patient"]), ["unknown-dataset"]);
    assert_eq!(codes(&["readings"]), ["bad-dataset"]);
    assert_eq!(codes(&["vitals"]), ["bad-dataset"]);
}

const SETTINGS: &str =
    "name: x\nfeeds:\n  a:\n    dataset: patients\n    source: {folder: in, pattern: '*.csv'}\n    on: arrival\n";

/// A project of these settings and one feed's file, the feeds and codes with their places.
fn project(settings: &str, file: &str) -> (Vec<String>, Vec<(String, String, usize)>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("feeds")).unwrap();
    std::fs::create_dir_all(folder.path().join("in")).unwrap();
    std::fs::write(folder.path().join("vitalake.yaml"), settings).unwrap();
    if !file.is_empty() {
        std::fs::write(folder.path().join("feeds/a.yaml"), file).unwrap();
    }
    let (project, found) = Project::load(folder.path());
    let said =
        found.iter().filter(|one| !["unknown-dataset", "duplicate-dataset", "unknown-folder"].contains(&one.code));
    let said = said.map(|one| (one.code.to_string(), one.file.clone(), one.line)).collect();
    (project.feeds.iter().map(|file| format!("{} {}", file.feed.name, file.path)).collect(), said)
}

#[test]
fn feeds_stand_in_the_settings_too_and_one_name_stands_once() {
    assert_eq!(project(SETTINGS, ""), (vec!["a vitalake.yaml".to_owned()], Vec::new()));
    let (_, said) = project(SETTINGS, &format!("{WHOLE}{FOLDER}on: arrival\n"));
    let place = |file: &str, line| ("duplicate-feed".to_owned(), file.to_owned(), line);
    assert_eq!(said, [place("feeds/a.yaml", 1), place("vitalake.yaml", 3)]);
    let wrong =
        |settings: String| project(&settings, "").1.iter().map(|one| (one.0.clone(), one.2)).collect::<Vec<_>>();
    assert_eq!(wrong(SETTINGS.replace("on:", "onn:")), [("missing-key".into(), 4), ("unknown-key".into(), 6)]);
    assert_eq!(wrong(SETTINGS.replace("    dataset", "    name: b\n    dataset")), [("bad-name".into(), 4)]);
    assert_eq!(wrong("name: x\nfeeds: [a]\n".to_owned()), [("bad-feed".into(), 2)]);
}
