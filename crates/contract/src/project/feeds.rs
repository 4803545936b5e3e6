//! feeds/*.yaml, and `feeds:` of the project's settings, as feeds, every mistake with its place.
//!
//! Nothing is looked at but the files themselves: no folder, no store, no database. Invariant: a feed is given exactly
//! when its file has no error.

mod source;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono_tz::Tz;

use super::places::Places;
use super::{ContractSource, Project};
use crate::contract::{Contract, DatasetName, Source};
use crate::diagnostic::Diagnostic;
use crate::feed::{Calendar, DueDate, Feed, FeedDue, FeedName, FeedSource, FeedTrigger, Missed};
use crate::length::length;
use crate::verdict::nearest;
use crate::yaml::{self, Node, Place, Value, shorten};

/// The most feeds of a project.
pub const FEEDS_MAX: usize = 1_000;
/// The longest that a delivery may be late.
const LATE_MAX: Duration = Duration::from_secs(31 * 86_400);

const KEYS: [&str; 14] = [
    "name",
    "description",
    "dataset",
    "source",
    "on",
    "schedule",
    "zone",
    "stable",
    "marker",
    "look_every",
    "gather",
    "format",
    "due",
    "late_by",
];
const MISSED: &str = "missed";
const NAME: &str = "name";
/// Where feeds stand in the project's settings.
const SECTION: &str = "feeds";

/// A feed and where it is written.
#[derive(Clone, Debug)]
pub struct FeedFile {
    /// The file, relative to the project's directory, with `/`.
    pub path: String,
    /// The file's text.
    pub text: String,
    /// What it says.
    pub feed: Feed,
    places: Places,
}

impl FeedFile {
    /// An error that points at the value of a key; `source.url` is a key within another.
    #[must_use]
    pub fn error_at(&self, key: &str, code: &'static str, message: impl Into<String>) -> Diagnostic {
        self.places.error_at((&self.path, &self.text), key, code, message)
    }
}

/// Reads one feed's file; `stem` is its name without the ending.
pub(super) fn read(path: &str, stem: &str, bytes: &[u8], found: &mut Vec<Diagnostic>) -> Option<FeedFile> {
    let (text, root) = match yaml::parse_bytes(path, bytes) {
        Ok(parsed) => parsed,
        Err(wrong) => {
            found.extend(wrong);
            return None;
        }
    };
    let mut reader = Reader { path, text: &text, in_settings: false, found: Vec::new() };
    let feed = reader.feed(stem, &root);
    let whole = reader.found.is_empty();
    found.append(&mut reader.found);
    let places = Places(places(&root));
    feed.filter(|_| whole).map(|feed| FeedFile { path: path.to_owned(), text, feed, places })
}

/// Reads the feeds that stand in the project's settings: under `feeds`, by their names.
pub(super) fn in_settings(path: &str, text: &str, found: &mut Vec<Diagnostic>) -> Vec<FeedFile> {
    if !text.lines().any(|line| line.starts_with(SECTION)) {
        return Vec::new();
    }
    let root = match yaml::parse(path, text) {
        Ok(root) => root,
        Err(wrong) => {
            found.extend(wrong);
            return Vec::new();
        }
    };
    let Some(section) = root.get(SECTION) else { return Vec::new() };
    let mut reader = Reader { path, text, in_settings: true, found: Vec::new() };
    if !matches!(section.value, Value::Map(_)) {
        let help = "write each feed under its name, with the keys of a file of feeds/";
        reader.error(section.place, "bad-feed", "`feeds` is a map of feeds", help);
    }
    let mut feeds = Vec::new();
    for entry in section.entries() {
        let before = reader.found.len();
        let feed = reader.feed(&entry.key, &entry.node).filter(|_| reader.found.len() == before);
        let places = [(NAME.to_owned(), entry.place)].into_iter().chain(places(&entry.node));
        let (path, text, places) = (path.to_owned(), text.to_owned(), Places(places.collect()));
        feeds.extend(feed.map(|feed| FeedFile { path, text, feed, places }));
    }
    found.append(&mut reader.found);
    feeds
}

/// The place of every key's value, and of every key's within it as `source.url`.
fn places(root: &Node) -> Vec<(String, Place)> {
    let mut places = Vec::new();
    for entry in root.entries() {
        places.push((entry.key.clone(), entry.node.place));
        let inner = entry.node.entries().iter();
        places.extend(inner.map(|inner| (format!("{}.{}", entry.key, inner.key), inner.node.place)));
    }
    places
}

struct Reader<'a> {
    path: &'a str,
    text: &'a str,
    /// Whether feeds stand there by their names, and not each in a file of its name.
    in_settings: bool,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn error(&mut self, place: Place, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        let finding = Diagnostic::error(self.path, code, message).at(self.text, place.line, place.column, place.length);
        self.found.push(finding.help(help));
    }

    fn feed(&mut self, stem: &str, root: &Node) -> Option<Feed> {
        if !matches!(root.value, Value::Map(_)) {
            self.error(root.place, "bad-feed", "a feed is a map of settings", "begin it with `name:`");
            return None;
        }
        self.keys(root, &KEYS, Some(MISSED));
        let name = self.name(stem, root);
        let dataset = self.dataset(root);
        let zone = self.zone(root);
        let source = self.source(root);
        let trigger = self.trigger(root, source.as_ref(), zone);
        let due = self.due(root, source.as_ref(), zone);
        Some(Feed { name: name?, dataset: dataset?, source: source?, trigger: trigger?, due, zone })
    }

    fn keys(&mut self, node: &Node, known: &[&'static str], also: Option<&'static str>) {
        let all = || known.iter().copied().chain(also);
        for entry in node.entries().iter().filter(|entry| !all().any(|key| key == entry.key)) {
            let help = match nearest(&entry.key, all()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", all().collect::<Vec<_>>().join(", ")),
            };
            self.error(entry.place, "unknown-key", format!("unknown key `{}`", shorten(&entry.key)), help);
        }
    }

    fn name(&mut self, stem: &str, root: &Node) -> Option<FeedName> {
        match root.get("name") {
            None if self.in_settings => {}
            None => self.error(root.place, "missing-key", "the feed has no `name`", format!("add `name: {stem}`")),
            Some(name) if name.text() != Some(stem) => {
                let place = if self.in_settings { "under which it stands" } else { "of its file" };
                let message = format!("the feed's name is not that {place}, {}", shorten(stem));
                self.error(name.place, "bad-name", message, "rename one of the two");
            }
            Some(_) => {}
        }
        let name = FeedName::new(stem);
        name.map_err(|reason| {
            let (what, help) = if self.in_settings {
                ("this name", "rename the feed")
            } else {
                ("the file's name", "rename the file")
            };
            self.error(root.place, "bad-name", format!("{what} is no feed's: {reason}"), help);
        })
        .ok()
    }

    fn dataset(&mut self, root: &Node) -> Option<DatasetName> {
        let Some(node) = root.get("dataset") else {
            let help = "add `dataset:` with the name of a raw contract";
            self.error(root.place, "missing-key", "the feed has no `dataset`", help);
            return None;
        };
        let name = node.text().map(|text| text.strip_prefix("raw.").unwrap_or(text)).map(DatasetName::new);
        let name = name.and_then(Result::ok);
        if name.is_none() {
            self.error(node.place, "bad-dataset", "this is no dataset", "write the name of a raw contract's file");
        }
        name
    }

    /// The zone of the feed, which may also stand in its schedule.
    fn zone(&mut self, root: &Node) -> Tz {
        let within = root.get("schedule").and_then(|schedule| schedule.get("zone"));
        let mut zones = Vec::new();
        for node in root.get("zone").into_iter().chain(within) {
            match node.text().map(str::parse::<Tz>) {
                Some(Ok(zone)) => zones.push((zone, node.place)),
                _ => self.error(node.place, "bad-timezone", "this is no time zone", "write one such as Europe/Berlin"),
            }
        }
        if let [(first, _), (second, place)] = zones.as_slice()
            && first != second
        {
            let message = format!("the feed's zone is {first} above, and {second} here");
            self.error(*place, "bad-timezone", message, "a feed has one zone: keep one of the two");
        }
        zones.first().map_or(chrono_tz::UTC, |(zone, _)| *zone)
    }

    fn trigger(&mut self, root: &Node, source: Option<&FeedSource>, zone: Tz) -> Option<FeedTrigger> {
        let missed = self.missed(root);
        match (root.get("on"), root.get("schedule")) {
            (Some(_), Some(schedule)) => {
                self.error(schedule.place, "bad-feed", "a feed has `on` or `schedule`, not both", "keep one");
                None
            }
            (Some(on), None) => self.arrival(root, on, source),
            (None, Some(schedule)) => {
                self.keys(schedule, &["cron", "zone"], None);
                let calendar = self.calendar(schedule, zone)?;
                Some(FeedTrigger::Schedule { calendar, missed: missed? })
            }
            (None, None) => {
                let help = "add `on: arrival`, or `schedule: {cron: \"30 2 * * *\", zone: Europe/Berlin}`";
                self.error(root.place, "missing-key", "nothing says when the feed is run", help);
                None
            }
        }
    }

    fn arrival(&mut self, root: &Node, on: &Node, source: Option<&FeedSource>) -> Option<FeedTrigger> {
        if on.text() != Some("arrival") {
            self.error(on.place, "bad-feed", "`on` is not known", "write `on: arrival`, or give a `schedule`");
            return None;
        }
        if matches!(source, Some(FeedSource::Postgres(_))) {
            let help = "give a `schedule`";
            self.error(on.place, "bad-feed", "nothing tells when rows arrive in a database", help);
            return None;
        }
        if let Some(missed) = root.get(MISSED) {
            self.error(missed.place, "bad-feed", "`missed` goes with a `schedule`", "remove it");
        }
        Some(FeedTrigger::Arrival)
    }

    fn missed(&mut self, root: &Node) -> Option<Missed> {
        match root.get(MISSED).map(|node| (node.text(), node.place)) {
            None | Some((Some("once"), _)) => Some(Missed::Once),
            Some((Some("skip"), _)) => Some(Missed::Skip),
            Some((_, place)) => {
                let help = "`once`: runs that fell into a stop are made up for by one; `skip`: they are left out";
                self.error(place, "bad-feed", "this is not known of `missed`", help);
                None
            }
        }
    }

    /// A pattern, given as text or under `cron`; a time of day such as 06:00 stands for every day.
    fn calendar(&mut self, node: &Node, zone: Tz) -> Option<Calendar> {
        let Some(pattern) = node.get("cron").unwrap_or(node).text() else {
            let help = "write minute, hour, day of the month, month, day of the week, such as \"30 2 * * *\"";
            self.error(node.place, "bad-schedule", "this is no cron pattern of five fields", help);
            return None;
        };
        let daily = pattern.split_once(':').map(|(hour, minute)| format!("{minute} {hour} * * *"));
        let calendar = Calendar::new(daily.as_deref().unwrap_or(pattern), zone);
        calendar
            .map_err(|reason| {
                let place = node.get("cron").unwrap_or(node).place;
                let message = format!("the pattern `{}` names no time that ever comes: {reason}", shorten(pattern));
                let help = "write minute, hour, day of the month, month, day of the week, such as \"30 2 * * *\"";
                self.error(place, "bad-schedule", message, help);
            })
            .ok()
    }

    fn due(&mut self, root: &Node, source: Option<&FeedSource>, zone: Tz) -> Option<FeedDue> {
        let late_by = self.length(root, "late_by", LATE_MAX);
        let Some(node) = root.get("due") else {
            if let Some(late) = root.get("late_by") {
                let help = "add `due:` with the time at which a delivery is due, such as \"06:00\"";
                self.error(late.place, "bad-feed", "`late_by` goes with `due`", help);
            }
            return None;
        };
        self.keys(node, &["cron", "date"], None);
        let dated = source.and_then(FeedSource::files).is_some_and(|files| files.pattern.has_date());
        let date = match node.get("date").map(|date| (date.text(), date.place)) {
            None => dated.then_some(DueDate::Today),
            Some((_, place)) if !dated => {
                let help = "write the date in the pattern, such as patients_{date:yyyyMMdd}.csv";
                self.error(place, "no-date", "the feed's files have no date", help);
                None
            }
            Some((Some("today"), _)) => Some(DueDate::Today),
            Some((Some("yesterday"), _)) => Some(DueDate::Yesterday),
            Some((_, place)) => {
                let help = "`today` or `yesterday`: the date of the delivery, seen from the day on which it is due";
                self.error(place, "bad-feed", "this is no date", help);
                None
            }
        };
        let calendar = self.calendar(node, zone)?;
        Some(FeedDue { calendar, late_by: late_by.unwrap_or_default(), date })
    }

    fn length(&mut self, root: &Node, key: &'static str, most: Duration) -> Option<Duration> {
        let node = root.get(key)?;
        let found = node.text().and_then(length).filter(|length| *length <= most);
        if found.is_none() {
            let help = format!("write a number with s, m, h or d, such as 30s; at most {}", in_words(most));
            self.error(node.place, "bad-duration", format!("`{key}` is not a length of time"), help);
        }
        found
    }
}

fn in_words(length: Duration) -> String {
    match length.as_secs() {
        seconds if seconds >= 86_400 => format!("{} days", seconds / 86_400),
        seconds => format!("{} minutes", seconds / 60),
    }
}

/// What only the project shows: a dataset that is not there or takes no files, two feeds of one, too many feeds.
pub(super) fn check(feeds: &[FeedFile], contracts: &[&Contract], found: &mut Vec<Diagnostic>) {
    if let Some(first) = feeds.get(FEEDS_MAX) {
        let message = format!("the project has {} feeds, and at most {FEEDS_MAX} are run", feeds.len());
        found.push(first.error_at("name", "too-many-feeds", message).help("let one pattern match several files"));
    }
    let mut fed: BTreeMap<&DatasetName, &FeedFile> = BTreeMap::new();
    let mut named: BTreeMap<&str, &FeedFile> = BTreeMap::new();
    for file in feeds {
        if let Some(first) = named.insert(file.feed.name.as_str(), file).filter(|first| first.path != file.path) {
            for (here, there) in [(first, file), (file, first)] {
                let message = format!("the feed {} stands in {} too", file.feed.name, there.path);
                found.push(here.error_at(NAME, "duplicate-feed", message).help("keep one of the two"));
            }
            continue;
        }
        let dataset = &file.feed.dataset;
        if let Some(first) = fed.insert(dataset, file) {
            let message = format!("{dataset} has a feed already, in {}", first.path);
            let help = "one would take the other's deliveries for its own corrected ones: let each have a raw dataset, \
                        and bring them together in a model";
            found.push(file.error_at("dataset", "duplicate-dataset", message).help(help));
        }
        found.extend(unfit(file, contracts));
    }
}

fn unfit(file: &FeedFile, contracts: &[&Contract]) -> Option<Diagnostic> {
    let dataset = &file.feed.dataset;
    let Some(contract) = contracts.iter().find(|contract| contract.dataset == *dataset) else {
        let names = contracts.iter().filter(|contract| contract.source.is_some());
        let help = match nearest(dataset.as_str(), names.map(|contract| contract.dataset.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add its contract: contracts/raw/{dataset}.yaml"),
        };
        let message = format!("there is no raw dataset {dataset}");
        return Some(file.error_at("dataset", "unknown-dataset", message).help(help));
    };
    match &contract.source {
        Some(Source::Feed) => None,
        Some(Source::Stream { .. }) => {
            let message = format!("{dataset} takes the records of a topic");
            let help = "add `- {property: source, value: feed}` to its customProperties, or name another dataset";
            Some(file.error_at("dataset", "bad-dataset", message).help(help))
        }
        None => {
            let message = format!("{dataset} is a {} dataset, which a model makes", contract.layer);
            Some(file.error_at("dataset", "bad-dataset", message).help("name a raw dataset"))
        }
    }
}

impl Project {
    /// Where the contract of a feed's dataset is written.
    #[must_use]
    pub fn feed_contract(&self, feed: &Feed) -> Option<&ContractSource> {
        self.contract_source(feed.dataset.as_str())
    }
}

#[cfg(test)]
mod tests;
