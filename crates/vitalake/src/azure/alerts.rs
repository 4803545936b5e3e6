//! The alerts of a project and the platform's own, as scheduled query rules with an action group.
//!
//! Invariant: an alert that is sent to nobody here is sent to nobody there; its rule shows in Azure's list alone.

use std::fmt::Write as _;

use vitalake_contract::Project;
use vitalake_contract::alert::{AlertRule, AlertSeverity};
use vitalake_ops::alerts::rule::Rule;
use vitalake_runtime::config::Config;

use super::bicep::{MADE, quoted, symbol};
use super::kql::{Asked, asked, silent};

const HEAD: &str = "// Rules over the tables of the ops datasets, made from alerts/*.yaml and the platform's own alerts.\n\
    @description('Region')\nparam location string\n\
    @description('Short name that everything begins with')\nparam name string\n\
    @description('Id of the workspace')\nparam workspaceId string\n\
    @description('Id of the action group')\nparam actionGroupId string\n\
    @description('Where the platform answers: links to runbooks lead there')\nparam platformUrl string\n";
/// The alert that only Azure can give.
const SILENT: &str = "platform_silent";

/// How a result becomes an alert.
enum Fires {
    /// Each row's dataset has its own.
    ByRow,
    /// There is no row.
    WithoutRows,
}

pub(super) fn render(rules: &[Rule], project: &Project, config: &Config) -> String {
    let mut text = format!("{MADE}{HEAD}");
    let mut rules: Vec<&Rule> = rules.iter().collect();
    rules.sort_by(|one, other| one.alert.name.cmp(&other.alert.name));
    for rule in rules {
        if let Some(asked) = asked(rule, project, config) {
            let by = if asked.is_computed { "computed of the ops datasets" } else { "as the platform found it" };
            let of = rule.alert.dataset.as_ref().map_or(String::new(), |dataset| format!(" of {dataset}"));
            let title = format!("vitalake: {}{of}", rule.alert.name);
            one(&rule.alert, &title, by, &asked, &Fires::ByRow, &mut text);
        }
    }
    if !project.alerts.iter().any(|file| file.rule.name == SILENT) {
        let title = "vitalake: no platform has sent a sample for a quarter of an hour";
        one(&nobody_speaks(), title, "what Azure alone can tell", &silent(), &Fires::WithoutRows, &mut text);
    }
    text
}

fn nobody_speaks() -> AlertRule {
    AlertRule {
        name: SILENT.to_owned(),
        source: vitalake_contract::alert::AlertSource::Sql(String::new()),
        dataset: None,
        threshold: None,
        window: std::time::Duration::ZERO,
        schedule: None,
        hold_for: std::time::Duration::ZERO,
        keep_firing_for: std::time::Duration::ZERO,
        severity: AlertSeverity::Critical,
        owner: String::new(),
        runbook: "store_unreachable".to_owned(),
        notify: None,
        group: None,
    }
}

fn one(alert: &AlertRule, title: &str, by: &str, asked: &Asked, fires: &Fires, text: &mut String) {
    let owner = if alert.owner.is_empty() { "platform" } else { &alert.owner };
    let (compared, dimensions) = match fires {
        Fires::ByRow => ("operator: 'GreaterThan'\n          threshold: 0", DIMENSIONS),
        Fires::WithoutRows => ("operator: 'LessThan'\n          threshold: 1", ""),
    };
    let groups = match &alert.notify {
        Some(receivers) if receivers.is_empty() => "[]",
        _ => "[ actionGroupId ]",
    };
    let query = asked.query.lines().collect::<Vec<_>>().join("\n");
    let _ = write!(
        text,
        "\n// {name}: {by}\nresource {symbol} 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = {{\n  \
         name: '${{name}}-{dashed}'\n  location: location\n  kind: 'LogAlert'\n  properties: {{\n    displayName: {title}\n    \
         description: '${{platformUrl}}/runbooks/{runbook}'\n    severity: {severity}\n    enabled: true\n    \
         scopes: [ workspaceId ]\n    evaluationFrequency: 'PT5M'\n    windowSize: '{window}'\n    criteria: {{\n      allOf: [\n        \
         {{\n          query: {query}\n          timeAggregation: 'Count'\n{dimensions}          {compared}\n          \
         failingPeriods: {{\n            numberOfEvaluationPeriods: 1\n            minFailingPeriodsToAlert: 1\n          }}\n        \
         }}\n      ]\n    }}\n    autoMitigate: true\n    actions: {{\n      actionGroups: {groups}\n      customProperties: {{\n        \
         alert: {alert_name}\n        owner: {owner}\n        runbook: '${{platformUrl}}/runbooks/{runbook}'\n      }}\n    }}\n  }}\n}}\n",
        name = alert.name,
        symbol = symbol("alert", &alert.name),
        dashed = alert.name.replace('_', "-"),
        title = quoted(title),
        runbook = alert.runbook,
        severity = severity(alert.severity),
        window = iso(asked.window_minutes),
        query = quoted(&query),
        alert_name = quoted(&alert.name),
        owner = quoted(owner),
    );
}

const DIMENSIONS: &str = "          dimensions: [\n            {\n              name: 'Project'\n              operator: 'Include'\n              \
    values: [ '*' ]\n            }\n            {\n              name: 'Dataset'\n              operator: 'Include'\n              \
    values: [ '*' ]\n            }\n          ]\n";

/// Azure counts from 0, the worst.
fn severity(of: AlertSeverity) -> u8 {
    match of {
        AlertSeverity::Critical => 0,
        AlertSeverity::Error => 1,
        AlertSeverity::Warning => 2,
        AlertSeverity::Info => 3,
    }
}

fn iso(minutes: u64) -> String {
    match minutes {
        days if days % 1_440 == 0 => format!("P{}D", days / 1_440),
        hours if hours % 60 == 0 => format!("PT{}H", hours / 60),
        minutes => format!("PT{minutes}M"),
    }
}
