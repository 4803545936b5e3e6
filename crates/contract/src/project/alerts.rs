//! alerts/*.yaml as rules, every mistake with its place.
//!
//! What only the rest of the project shows (receivers, runbooks, SQL) is checked where that is known, by the places
//! kept here. Invariant: a rule is given exactly when its file has no error.

mod check;
mod reader;

use super::places::Places;
use crate::alert::AlertRule;
use crate::diagnostic::Diagnostic;
use crate::yaml::{self, Node, Place};

pub(super) use check::check;
use reader::Reader;

/// The most alerts of a project: each is looked at every second.
pub const ALERTS_MAX: usize = 500;
/// An alert and where it is written.
#[derive(Clone, Debug)]
pub struct AlertFile {
    /// The file, relative to the project's directory, with `/`.
    pub path: String,
    /// The file's text.
    pub text: String,
    /// What it says.
    pub rule: AlertRule,
    places: Places,
}

impl AlertFile {
    /// An error that points at the value of a key, or at one item of it.
    #[must_use]
    pub fn error_at(&self, key: &str, code: &'static str, message: impl Into<String>) -> Diagnostic {
        self.places.error_at((&self.path, &self.text), key, code, message)
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
    let places = Places(places(&root));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::alert::AlertSeverity;

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
}
