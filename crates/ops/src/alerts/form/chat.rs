//! The forms of Slack (incoming webhooks) and Teams (a workflow that posts an adaptive card).

use serde_json::{Value, json};
use vitalake_contract::alert::AlertSeverity;

use super::Letter;
use crate::alerts::notice::Kind;

/// <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>
pub(super) fn slack(letter: &Letter<'_>) -> Value {
    let link = letter.runbook().map(|runbook| format!("\n<{runbook}|Runbook>")).unwrap_or_default();
    let words = format!("*{}*\n{}{link}", escaped(&letter.headline()), escaped(&letter.summary()));
    let about = format!("{} · since {} · {}", letter.message.owner, letter.since(), letter.message.fingerprint);
    json!({
        "text": letter.headline(),
        "blocks": [
            {"type": "section", "text": {"type": "mrkdwn", "text": words}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": escaped(&about)}]},
        ],
    })
}

/// Slack reads these three as its own.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// <https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using>
pub(super) fn teams(letter: &Letter<'_>) -> Value {
    let message = letter.message;
    let color = match (message.kind, message.severity) {
        (Kind::Resolved | Kind::Digest | Kind::Test, _) => "Good",
        (_, AlertSeverity::Critical | AlertSeverity::Error) => "Attention",
        (_, AlertSeverity::Warning) => "Warning",
        (_, AlertSeverity::Info) => "Default",
    };
    let fact = |title: &str, value: &str| json!({"title": title, "value": value});
    let mut facts = vec![fact("State", letter.state()), fact("Severity", message.severity.as_str())];
    facts.extend(message.dataset.as_deref().map(|dataset| fact("Dataset", dataset)));
    facts.extend([fact("Owner", &message.owner), fact("Since", &letter.since())]);
    let actions: Vec<Value> = letter
        .runbook()
        .map(|runbook| json!({"type": "Action.OpenUrl", "title": "Runbook", "url": runbook}))
        .into_iter()
        .collect();
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": [
                    {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "wrap": true, "color": color, "text": letter.headline()},
                    {"type": "TextBlock", "wrap": true, "text": letter.summary()},
                    {"type": "FactSet", "facts": facts},
                ],
                "actions": actions,
            },
        }],
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::tests::form;
    use super::*;
    use vitalake_runtime::config::notify::Receiver;

    #[test]
    fn slack_is_given_text_and_blocks_with_its_signs_escaped() {
        let body = form(&Receiver::Slack { url: "http://x".into() }, Kind::Firing);
        assert_eq!(body["text"], "[error] steps_held (serving.steps) is firing");
        let words = body["blocks"][0]["text"]["text"].as_str().unwrap();
        assert!(words.contains("3 &lt;rows&gt; &amp; more"), "{words}");
        assert!(words.contains("<http://127.0.0.1:8888/runbooks/steps_held|Runbook>"), "{words}");
    }

    #[test]
    fn teams_is_given_an_adaptive_card_with_the_runbook_as_its_action() {
        let body = form(&Receiver::Teams { url: "http://x".into() }, Kind::Firing);
        let card = &body["attachments"][0]["content"];
        assert_eq!((&card["type"], &card["version"]), (&json!("AdaptiveCard"), &json!("1.4")));
        assert_eq!(card["body"][0]["color"], "Attention");
        assert_eq!(card["actions"][0]["url"], "http://127.0.0.1:8888/runbooks/steps_held");
    }
}
