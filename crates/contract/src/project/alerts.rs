//! alerts/*.yaml as rules, every mistake with its place.
//!
//! What only the rest of the project shows (receivers, runbooks, SQL) is checked where that is known, by the places
//! kept here. Invariant: a rule is given exactly when its file has no error.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::alert::{
    About, AlertDataset, AlertRule, AlertSchedule, AlertSeverity, AlertSource, SEVERITY_WORDS, Signal, Unit,
};
use crate::compile::duration;
use crate::contract::{Contract, DatasetName, Layer, Source};
use crate::diagnostic::Diagnostic;
use crate::verdict::nearest;
use crate::yaml::{self, Node, Place, Value, shorten};

/// The most alerts of a project: each is looked at every second.
pub const ALERTS_MAX: usize = 500;
/// The stretch of time that a rate is taken over where an alert does not say it.
const WINDOW_DEFAULT: Duration = Duration::from_secs(15 * 60);
/// The longest such stretch, and the longest time to wait or to keep firing.
const LENGTH_MAX: Duration = Duration::from_secs(7 * 86_400);
const WINDOW_MAX: Duration = Duration::from_secs(86_400);

const KEYS: [&str; 15] = [
    "name",
    "description",
    "signal",
    "sql",
    "dataset",
    "threshold",
    "window",
    "schedule",
    "timezone",
    "for",
    "keepFiringFor",
    "severity",
    "owner",
    "runbook",
    "notify",
];
const GROUP: &str = "group";

/// An alert and where it is written.
#[derive(Clone, Debug)]
pub struct AlertFile {
    /// The file, relative to the project's directory, with `/`.
    pub path: String,
    /// The file's text.
    pub text: String,
    /// What it says.
    pub rule: AlertRule,
    places: Vec<(String, Place)>,
}

impl AlertFile {
    /// An error that points at the value of a key, or at one item of it.
    #[must_use]
    pub fn error_at(&self, key: &str, code: &'static str, message: impl Into<String>) -> Diagnostic {
        let place =
            self.places.iter().find(|(name, _)| name == key).map_or(Place { line: 1, column: 1, length: 1 }, |p| p.1);
        Diagnostic::error(&self.path, code, message).at(&self.text, place.line, place.column, place.length)
    }
}

/// Reads one alert's file; `stem` is its name without the ending.
pub(super) fn read(path: &str, stem: &str, bytes: &[u8], found: &mut Vec<Diagnostic>) -> Option<AlertFile> {
    let (text, root) = match yaml::parse_bytes(path, bytes) {
        Ok(parsed) => parsed,
        Err(wrong) => {
            found.extend(wrong);
            return None;
        }
    };
    let mut reader = Reader { path, text: &text, found: Vec::new() };
    let rule = reader.rule(stem, &root);
    let whole = reader.found.is_empty();
    found.append(&mut reader.found);
    let places = places(&root);
    rule.filter(|_| whole).map(|rule| AlertFile { path: path.to_owned(), text, rule, places })
}

/// The place of every key's value, and of every item of a list as `key.0`.
fn places(root: &Node) -> Vec<(String, Place)> {
    let mut places = Vec::new();
    for entry in root.entries() {
        places.push((entry.key.clone(), entry.node.place));
        let items = entry.node.items().iter().enumerate();
        places.extend(items.map(|(at, item)| (format!("{}.{at}", entry.key), item.place)));
    }
    places
}

struct Reader<'a> {
    path: &'a str,
    text: &'a str,
    found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn error(&mut self, place: Place, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        let finding = Diagnostic::error(self.path, code, message).at(self.text, place.line, place.column, place.length);
        self.found.push(finding.help(help));
    }

    fn rule(&mut self, stem: &str, root: &Node) -> Option<AlertRule> {
        if !matches!(root.value, Value::Map(_)) {
            self.error(root.place, "bad-alert", "an alert is a map of settings", "begin it with `name:`");
            return None;
        }
        self.keys(root);
        self.secrets(root);
        self.name(stem, root);
        let source = self.source(root)?;
        let severity = self.severity(root);
        let (owner, runbook) = (self.required(root, "owner"), self.required(root, "runbook"));
        let signal = if let AlertSource::Signal(signal) = &source { Some(*signal) } else { None };
        Some(AlertRule {
            name: stem.to_owned(),
            dataset: self.dataset(root, signal),
            threshold: self.threshold(root, signal),
            window: self.length(root, "window", WINDOW_MAX).unwrap_or(WINDOW_DEFAULT),
            schedule: self.schedule(root, signal),
            hold_for: self.length(root, "for", LENGTH_MAX).unwrap_or_default(),
            keep_firing_for: self.length(root, "keepFiringFor", LENGTH_MAX).unwrap_or_default(),
            severity: severity?,
            owner: owner?,
            runbook: runbook?,
            notify: self.notify(root),
            group: self.word(root, GROUP),
            source,
        })
    }

    fn keys(&mut self, root: &Node) {
        for entry in root.entries().iter().filter(|e| e.key != GROUP && !KEYS.contains(&e.key.as_str())) {
            let help = match nearest(&entry.key, KEYS.into_iter().chain([GROUP])) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}, {GROUP}", KEYS.join(", ")),
            };
            self.error(entry.place, "unknown-key", format!("unknown key `{}`", shorten(&entry.key)), help);
        }
    }

    /// No text of an alert may ask for a variable: it would leave with the message.
    fn secrets(&mut self, root: &Node) {
        for entry in root.entries() {
            for node in std::iter::once(&entry.node).chain(entry.node.items()) {
                if node.text().is_some_and(|text| text.contains("${")) {
                    let help = "variables are for `notify:` in vitalake.yaml; write the text itself here";
                    self.error(node.place, "alert-variable", format!("`{}` asks for a variable", entry.key), help);
                }
            }
        }
    }

    fn name(&mut self, stem: &str, root: &Node) {
        if let Err(reason) = DatasetName::new(stem) {
            let message = format!("the file's name is no alert's: {}", reason.replace("a dataset's", "an alert's"));
            self.error(root.place, "bad-name", message, "rename the file");
        }
        match root.get("name") {
            None => self.error(root.place, "missing-key", "the alert has no `name`", format!("add `name: {stem}`")),
            Some(name) if name.text() != Some(stem) => {
                let message = format!("the alert's name is not that of its file, {stem}");
                self.error(name.place, "bad-name", message, "rename one of the two");
            }
            Some(_) => {}
        }
    }

    fn source(&mut self, root: &Node) -> Option<AlertSource> {
        match (root.get("signal"), root.get("sql")) {
            (Some(signal), None) => {
                let word = signal.text().unwrap_or_default();
                let known = Signal::ALL.map(Signal::as_str);
                let found = Signal::ALL.into_iter().find(|signal| signal.as_str() == word);
                if found.is_none() {
                    let help = match nearest(word, known) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("known signals: {}", known.join(", ")),
                    };
                    self.error(signal.place, "unknown-signal", format!("there is no signal `{}`", shorten(word)), help);
                }
                found.map(AlertSource::Signal)
            }
            (None, Some(sql)) => match sql.text().filter(|text| !text.trim().is_empty()) {
                Some(text) => Some(AlertSource::Sql(text.trim().trim_end_matches(';').to_owned())),
                None => {
                    self.error(sql.place, "bad-sql", "`sql` is no query", "write a SELECT whose rows are alerts");
                    None
                }
            },
            (Some(_), Some(sql)) => {
                self.error(sql.place, "bad-alert", "an alert has `signal` or `sql`, not both", "keep one");
                None
            }
            (None, None) => {
                let help = "add `signal:` (docs/alerts.md lists them) or `sql:`";
                self.error(root.place, "missing-key", "nothing makes the alert fire", help);
                None
            }
        }
    }

    fn severity(&mut self, root: &Node) -> Option<AlertSeverity> {
        let Some(node) = root.get("severity") else { return Some(AlertSeverity::Warning) };
        let found = node.text().and_then(AlertSeverity::named);
        if found.is_none() {
            let rows: Vec<String> = SEVERITY_WORDS
                .iter()
                .map(|(severity, words)| format!("{} = {}", severity.as_str(), words.join(" | ")))
                .collect();
            self.error(node.place, "unknown-severity", "this is no severity", rows.join("; "));
        }
        found
    }

    fn required(&mut self, root: &Node, key: &'static str) -> Option<String> {
        let found = self.word(root, key);
        if found.is_none() && root.get(key).is_none() {
            let help = match key {
                "runbook" => "name the file in runbooks/ that says what to do when it fires",
                _ => "name the team that it goes to",
            };
            self.error(root.place, "missing-key", format!("the alert has no `{key}`"), help);
        }
        found
    }

    fn word(&mut self, root: &Node, key: &'static str) -> Option<String> {
        let node = root.get(key)?;
        let text = node.text().map(str::trim).filter(|text| !text.is_empty() && text.len() <= 100);
        if text.is_none() {
            self.error(
                node.place,
                "bad-alert",
                format!("`{key}` must be a word of at most 100 characters"),
                "write one",
            );
        }
        text.map(ToOwned::to_owned)
    }

    fn dataset(&mut self, root: &Node, signal: Option<Signal>) -> Option<AlertDataset> {
        let node = root.get("dataset")?;
        let named = node.text().and_then(|text| text.split_once('.')).and_then(|(layer, name)| {
            let layer = [Layer::Raw, Layer::Curated, Layer::Serving].into_iter().find(|l| l.as_str() == layer)?;
            Some(AlertDataset { layer, name: DatasetName::new(name).ok()? })
        });
        let Some(named) = named else {
            self.error(
                node.place,
                "bad-dataset",
                "this is no dataset",
                "write it as layer.name, such as serving.steps",
            );
            return None;
        };
        let fits = match signal.map(Signal::about) {
            None | Some(About::Datasets) => true,
            Some(About::Serving) => named.layer == Layer::Serving,
            Some(About::Raw) => named.layer == Layer::Raw,
            Some(About::Platform) => false,
        };
        if !fits {
            let about = match signal.map(Signal::about) {
                Some(About::Serving) => "serving datasets",
                Some(About::Raw) => "raw datasets",
                _ => "the platform as a whole",
            };
            let name = signal.map_or("", Signal::as_str);
            self.error(
                node.place,
                "bad-dataset",
                format!("the signal {name} is about {about}"),
                "remove the key, or name another dataset",
            );
        }
        Some(named)
    }

    fn threshold(&mut self, root: &Node, signal: Option<Signal>) -> Option<f64> {
        let unit = signal.map_or(Unit::None, Signal::unit);
        let Some(node) = root.get("threshold") else {
            if unit == Unit::Bytes && signal == Some(Signal::Memory) {
                let help = "say from how many bytes on it fires, such as `threshold: 2 GiB`";
                self.error(root.place, "missing-key", "the signal memory needs a `threshold`", help);
            }
            return None;
        };
        let found = match unit {
            Unit::None => None,
            Unit::Count | Unit::Deviations => node.number(),
            Unit::Seconds => node.text().and_then(length).map(|length| length.as_secs_f64()),
            Unit::Share => share(node),
            Unit::Bytes => bytes(node),
        };
        let found = found.filter(|number| number.is_finite() && *number >= 0.0);
        if found.is_none() {
            let (message, help) = match unit {
                Unit::None => ("this alert takes no threshold", "remove it"),
                Unit::Count => ("the threshold must be a number", "write how many, such as 1000"),
                Unit::Deviations => ("the threshold must be a number", "write how many robust deviations, such as 5"),
                Unit::Seconds => ("the threshold must be a length of time", "write one such as 15m or PT15M"),
                Unit::Share => ("the threshold must be a share", "write one such as 0.05 or 5%"),
                Unit::Bytes => ("the threshold must be a number of bytes", "write one such as 2 GiB"),
            };
            self.error(node.place, "bad-threshold", message, help);
        }
        found
    }

    fn length(&mut self, root: &Node, key: &'static str, most: Duration) -> Option<Duration> {
        let node = root.get(key)?;
        let found = node.text().and_then(length).or_else(|| (node.integer() == Some(0)).then_some(Duration::ZERO));
        let found = found.filter(|length| *length <= most);
        if found.is_none() {
            let help =
                format!("write a number with s, m, h or d, such as 5m; at most {} days", most.as_secs() / 86_400);
            self.error(node.place, "bad-duration", format!("`{key}` is not a length of time"), help);
        }
        found
    }

    fn schedule(&mut self, root: &Node, signal: Option<Signal>) -> Option<AlertSchedule> {
        let zone = match root.get("timezone") {
            None => Some(chrono_tz::UTC),
            Some(node) => {
                let zone = node.text().and_then(|text| text.parse().ok());
                if zone.is_none() {
                    self.error(node.place, "bad-timezone", "this is no time zone", "write one such as Europe/Berlin");
                }
                zone
            }
        };
        let node = root.get("schedule")?;
        if signal != Some(Signal::FeedLate) {
            self.error(node.place, "bad-alert", "`schedule` goes with the signal feed_late", "remove it");
            return None;
        }
        let cron = node.text().map(str::trim).filter(|text| text.split_whitespace().count() == 5);
        if cron.is_none() {
            let help = "write minute, hour, day of the month, month, day of the week, such as `30 5 * * *`";
            self.error(node.place, "bad-schedule", "this is no cron expression of five fields", help);
        }
        Some(AlertSchedule { cron: cron?.to_owned(), zone: zone? })
    }

    fn notify(&mut self, root: &Node) -> Option<Vec<String>> {
        let node = root.get("notify")?;
        let names: Vec<&Node> = if node.text().is_some() { vec![node] } else { node.items().iter().collect() };
        let found: BTreeSet<String> = names.iter().filter_map(|name| name.text()).map(ToOwned::to_owned).collect();
        if found.len() != names.len() || found.is_empty() && !matches!(node.value, Value::List(_)) {
            let help = "list names of `notify:` in vitalake.yaml, each once, such as [ops]";
            self.error(node.place, "bad-alert", "`notify` must be a list of receivers", help);
        }
        Some(found.into_iter().collect())
    }
}

/// `90s`, `15m`, `2h`, `1d`, or an ISO 8601 duration.
pub(super) fn length(text: &str) -> Option<Duration> {
    let text = text.trim();
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(at);
    if number.is_empty() {
        return duration::iso(text);
    }
    let unit = if unit == "m" { "min" } else { unit };
    duration::with_unit(number.trim().parse().ok().filter(|number| *number >= 0.0)?, unit)
}

fn share(node: &Node) -> Option<f64> {
    let written = || node.text()?.trim().strip_suffix('%')?.trim().parse::<f64>().ok().map(|number| number / 100.0);
    node.number().or_else(written).filter(|share| *share <= 1.0)
}

fn bytes(node: &Node) -> Option<f64> {
    let written = || {
        let text = node.text()?.trim();
        let (unit, scale) =
            [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)].into_iter().find(|(unit, _)| text.ends_with(unit))?;
        text.strip_suffix(unit)?.trim().parse::<f64>().ok().map(|number| number * f64::from(scale).exp2())
    };
    node.number().or_else(written)
}

/// What only the project shows: a dataset that is not there, a threshold that neither alert nor contract gives, too
/// many alerts.
pub(super) fn check(alerts: &[AlertFile], contracts: &[&Contract], found: &mut Vec<Diagnostic>) {
    if let Some(first) = alerts.get(ALERTS_MAX) {
        let message = format!("the project has {} alerts, and at most {ALERTS_MAX} are evaluated", alerts.len());
        found.push(
            first
                .error_at("name", "too-many-alerts", message)
                .help("let one alert be about many datasets, or one query give many rows"),
        );
    }
    for alert in alerts {
        let Some(named) = &alert.rule.dataset else { continue };
        let contract = contracts.iter().find(|c| c.layer == named.layer && c.dataset == named.name);
        let Some(contract) = contract else {
            let names: Vec<String> = contracts.iter().map(|c| format!("{}.{}", c.layer, c.dataset)).collect();
            let help = match nearest(&named.to_string(), names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name a dataset that has a contract".to_owned(),
            };
            found.push(alert.error_at("dataset", "unknown-dataset", format!("there is no dataset {named}")).help(help));
            continue;
        };
        if let AlertSource::Signal(signal) = alert.rule.source {
            found.extend(unfit(alert, signal, contract));
        }
    }
}

fn unfit(alert: &AlertFile, signal: Signal, contract: &Contract) -> Option<Diagnostic> {
    let (unbound, feed) = (alert.rule.threshold.is_none(), matches!(contract.source, Some(Source::Feed)));
    match signal {
        Signal::FeedLate if !feed => {
            let message = format!("{} is no feed: records come into it all day", contract.dataset);
            Some(alert.error_at("dataset", "bad-dataset", message).help("use the signal freshness"))
        }
        Signal::Freshness | Signal::FeedLate
            if unbound && alert.rule.schedule.is_none() && contract.sla.freshness.is_none() =>
        {
            let message = format!("nothing says how old {} may be", contract.dataset);
            Some(
                alert
                    .error_at("signal", "missing-key", message)
                    .help("give a `threshold`, or a freshness SLA in the contract"),
            )
        }
        Signal::Volume if contract.layer != Layer::Raw && contract.time_column.is_none() => {
            let message = format!("{} has no time to count its rows by", contract.dataset);
            Some(alert.error_at("dataset", "bad-dataset", message).help("give its contract a `timeColumn`"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WHOLE: &str = "name: a\nsignal: lag\nowner: ops\nrunbook: r\n";

    fn codes(text: &str) -> Vec<&'static str> {
        let mut found = Vec::new();
        let rule = read("alerts/a.yaml", "a", text.as_bytes(), &mut found);
        assert_eq!(rule.is_some(), found.is_empty(), "{found:?}");
        found.iter().map(|d| d.code).collect()
    }

    #[test]
    fn a_whole_alert_is_read() {
        let text = format!(
            "{WHOLE}dataset: raw.x\nthreshold: 10\nfor: 5m\nkeepFiringFor: PT1H\nseverity: High\nnotify: [ops]\ngroup: g\n"
        );
        let mut found = Vec::new();
        let rule = read("alerts/a.yaml", "a", text.as_bytes(), &mut found).unwrap().rule;
        assert_eq!((rule.hold_for.as_secs(), rule.keep_firing_for.as_secs()), (300, 3600));
        assert_eq!((rule.severity, rule.threshold), (AlertSeverity::Error, Some(10.0)));
        assert_eq!((rule.notify, rule.group.as_deref()), (Some(vec!["ops".to_owned()]), Some("g")));
    }

    #[rstest::rstest]
    #[case::unknown_key("severty: high\n", "unknown-key")]
    #[case::severity("severity: awful\n", "unknown-severity")]
    #[case::duration("for: soon\n", "bad-duration")]
    #[case::too_long("for: 30d\n", "bad-duration")]
    #[case::dataset("dataset: x\n", "bad-dataset")]
    #[case::threshold("threshold: many\n", "bad-threshold")]
    #[case::secret("description: ${TOKEN}\n", "alert-variable")]
    #[case::secret_in_a_list("notify: ['${TOKEN}']\n", "alert-variable")]
    #[case::both("sql: SELECT 1\n", "bad-alert")]
    #[case::schedule("schedule: 0 5 * * *\n", "bad-alert")]
    #[case::notify("notify: {a: b}\n", "bad-alert")]
    fn a_mistake_is_told_by_its_code(#[case] line: &str, #[case] code: &str) {
        assert_eq!(codes(&format!("{WHOLE}{line}")), [code]);
    }

    #[rstest::rstest]
    #[case::no_runbook("name: a\nsignal: lag\nowner: o\n", "missing-key")]
    #[case::no_owner("name: a\nsignal: lag\nrunbook: r\n", "missing-key")]
    #[case::signal("name: a\nsignal: lagg\nowner: o\nrunbook: r\n", "unknown-signal")]
    #[case::other_name("name: b\nsignal: lag\nowner: o\nrunbook: r\n", "bad-name")]
    #[case::nothing("name: a\nowner: o\nrunbook: r\n", "missing-key")]
    #[case::memory("name: a\nsignal: memory\nowner: o\nrunbook: r\n", "missing-key")]
    #[case::layer("name: a\nsignal: gate_held\ndataset: raw.x\nowner: o\nrunbook: r\n", "bad-dataset")]
    fn an_alert_without_what_it_needs_is_refused(#[case] text: &str, #[case] code: &str) {
        assert_eq!(codes(text), [code]);
    }

    #[rstest::rstest]
    #[case("90s", Some(90.0))]
    #[case("15m", Some(900.0))]
    #[case("1.5h", Some(5400.0))]
    #[case("PT15M", Some(900.0))]
    #[case("m", None)]
    #[case("-5m", None)]
    #[case("5", None)]
    fn lengths_of_time(#[case] text: &str, #[case] seconds: Option<f64>) {
        assert_eq!(length(text).map(|length| length.as_secs_f64()), seconds);
    }
}
