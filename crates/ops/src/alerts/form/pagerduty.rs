//! PagerDuty's Events API v2: trigger, acknowledge and resolve under one `dedup_key`, the alert's fingerprint.
//!
//! <https://developer.pagerduty.com/docs/events-api-v2/trigger-events/>. A digest pages nobody: it is a change event.

use serde_json::{Value, json};

use super::Letter;
use crate::alerts::notice::Kind;

/// The longest `summary` that PagerDuty takes.
const SUMMARY_CHARS_MAX: usize = 1024;

/// The event of a letter.
pub(super) fn event(letter: &Letter<'_>, routing_key: &str) -> Value {
    let message = letter.message;
    let action = match message.kind {
        Kind::Digest => return change(letter, routing_key),
        Kind::Firing => "trigger",
        Kind::Acknowledged => "acknowledge",
        Kind::Resolved => "resolve",
        // A test that nobody resolves would stay open: its own key, and of no weight.
        Kind::Test => "trigger",
    };
    let key =
        if message.kind == Kind::Test { format!("test-{}", message.fingerprint) } else { message.fingerprint.clone() };
    if matches!(message.kind, Kind::Acknowledged | Kind::Resolved) {
        return json!({"routing_key": routing_key, "event_action": action, "dedup_key": key});
    }
    let severity = if message.kind == Kind::Test { "info" } else { message.severity.as_str() };
    let links: Vec<Value> = letter.runbook().map(|href| json!({"href": href, "text": "Runbook"})).into_iter().collect();
    json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": key,
        "client": "vitalake",
        "client_url": letter.address,
        "payload": {
            "summary": cut(&format!("{}: {}", letter.headline(), letter.summary())),
            "source": message.dataset.as_deref().unwrap_or(letter.project),
            "severity": severity,
            "timestamp": letter.since(),
            "component": letter.project,
            "group": message.owner,
            "class": message.alert,
            "custom_details": {"owner": message.owner, "dataset": message.dataset, "summary": letter.summary()},
        },
        "links": links,
    })
}

/// <https://developer.pagerduty.com/docs/events-api-v2/send-change-events/>
fn change(letter: &Letter<'_>, routing_key: &str) -> Value {
    json!({
        "routing_key": routing_key,
        "payload": {
            "summary": cut(&format!("{}: {}", letter.headline(), letter.summary())),
            "source": letter.project,
            "timestamp": letter.since(),
        },
    })
}

/// Where change events go, of where events go.
#[must_use]
pub fn change_address(url: &str) -> String {
    match url.strip_suffix("/v2/enqueue") {
        Some(host) => format!("{host}/v2/change/enqueue"),
        None => url.to_owned(),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(SUMMARY_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::tests::form;
    use super::*;
    use vitalake_runtime::config::notify::{PAGERDUTY_URL, Receiver};

    #[rstest::rstest]
    #[case(Kind::Firing, "trigger")]
    #[case(Kind::Acknowledged, "acknowledge")]
    #[case(Kind::Resolved, "resolve")]
    fn actions_share_the_fingerprint_as_their_key(#[case] kind: Kind, #[case] action: &str) {
        let receiver = Receiver::PagerDuty { routing_key: "key".into(), url: PAGERDUTY_URL.into() };
        let body = form(&receiver, kind);
        assert_eq!((&body["event_action"], &body["dedup_key"]), (&json!(action), &json!("0011223344556677")));
        assert_eq!(body["routing_key"], "key");
        if kind == Kind::Firing {
            assert_eq!(body["payload"]["severity"], "error");
            assert_eq!(body["links"][0]["href"], "http://127.0.0.1:8888/runbooks/steps_held");
        }
    }

    #[test]
    fn a_digest_is_a_change_event_and_goes_to_their_address() {
        let receiver = Receiver::PagerDuty { routing_key: "key".into(), url: PAGERDUTY_URL.into() };
        assert!(form(&receiver, Kind::Digest).get("event_action").is_none());
        assert_eq!(change_address(PAGERDUTY_URL), "https://events.pagerduty.com/v2/change/enqueue");
    }
}
