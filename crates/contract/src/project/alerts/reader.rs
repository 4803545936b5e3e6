//! One alert's file, key by key.
//!
//! Invariant: whatever is not a rule's value is a finding with its place.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::alert::{
    About, AlertDataset, AlertRule, AlertSchedule, AlertSeverity, AlertSource, SEVERITY_WORDS, Signal, Unit,
};
use crate::contract::{DatasetName, Layer};
use crate::diagnostic::Diagnostic;
use crate::length::length;
use crate::verdict::nearest;
use crate::yaml::{Node, Place, Value, shorten};

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

/// A file, and what is wrong with it.
pub(super) struct Reader<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
    pub(super) found: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn error(&mut self, place: Place, code: &'static str, message: impl Into<String>, help: impl Into<String>) {
        let finding = Diagnostic::error(self.path, code, message).at(self.text, place.line, place.column, place.length);
        self.found.push(finding.help(help));
    }

    /// The rule of a file whose name without its ending is `stem`.
    pub(super) fn rule(&mut self, stem: &str, root: &Node) -> Option<AlertRule> {
        if !matches!(root.value, Value::Map(_)) {
            self.error(root.place, "bad-alert", "an alert is a map of settings", "begin it with `name:`");
            return None;
        }
        self.keys(root);
        self.secrets(root);
        self.name(stem, root);
        let source = self.source(root)?;
        let severity = self.severity(root);
        // The team of the dataset that it names is the owner of one that names none.
        let owner = match root.get("dataset").is_some() && root.get("owner").is_none() {
            true => Some(String::new()),
            false => self.required(root, "owner"),
        };
        let runbook = self.required(root, "runbook");
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
                _ => "name the team that it goes to, or a `dataset` whose contract has a team",
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
