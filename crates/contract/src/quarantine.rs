//! What a quarantined row says of its judgement: every rule that rejected it, and the contract that it was judged by.
//!
//! Landing, deliveries, models and replays write it as the text of `_rules`. Invariant: the first of the rules is the
//! row's `_rule` and `_reason`, and no value stands in it.

use serde::Serialize;

/// A rule that a row breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRule {
    /// The rule's name.
    pub rule: String,
    /// What must hold and does not; never the value.
    pub reason: String,
}

impl BrokenRule {
    /// A rule by its name, with the reason.
    #[must_use]
    pub fn new(rule: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { rule: rule.into(), reason: reason.into() }
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    rule: &'a str,
    reason: &'a str,
    contract: &'a str,
}

/// The text of `_rules`: `[{"rule", "reason", "contract"}]`, the last the fingerprint of the contract that judged.
#[must_use]
pub fn rules_text(broken: &[BrokenRule], fingerprint: &str) -> String {
    let entry = |broken: &BrokenRule| {
        let entry = Entry { rule: &broken.rule, reason: &broken.reason, contract: fingerprint };
        // Texts always have a form in JSON.
        serde_json::to_string(&entry).unwrap_or_default()
    };
    format!("[{}]", broken.iter().map(entry).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_stands_in_the_text_with_its_reason_and_the_contract() {
        let broken = [BrokenRule::new("hour.required", "a \"quoted\" reason"), BrokenRule::new("steps.minimum", "é\n")];
        let text = rules_text(&broken, "ab12");
        let read: Option<serde_json::Value> = serde_json::from_str(&text).ok();
        assert_eq!(
            read,
            Some(serde_json::json!([
                {"rule": "hour.required", "reason": "a \"quoted\" reason", "contract": "ab12"},
                {"rule": "steps.minimum", "reason": "é\n", "contract": "ab12"},
            ]))
        );
    }
}
