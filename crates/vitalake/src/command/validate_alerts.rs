//! What `validate` says about a project's alerts beyond their files: receivers, runbooks, and SQL that is planned.
//!
//! Invariant: touches no network, starts nothing, and needs no variable that a receiver refers to.

use vitalake_contract::alert::AlertSource;
use vitalake_contract::project::alerts::AlertFile;
use vitalake_contract::{Diagnostic, Project};
use vitalake_ops::alerts::signal::last_due;
use vitalake_ops::runbooks::Library;
use vitalake_runtime::config::Config;
use vitalake_serve::evidence::Blueprint;

/// A schedule is tried on a day of no meaning: `validate` gives the same verdict at any time.
const SOME_DAY_MS: i64 = 1_767_225_600_000;

/// Finds what is wrong with alerts, with their SQL where the tables are known.
pub(super) fn check_alerts(
    project: &Project,
    config: Option<&Config>,
    blueprint: Option<&Blueprint>,
    found: &mut Vec<Diagnostic>,
) {
    let library = Library::new(&project.runbooks);
    for alert in &project.alerts {
        let rule = &alert.rule;
        if library.get(&rule.runbook).is_none() {
            let message = format!("there is no runbook {}", rule.runbook);
            let finding = alert.error_at("runbook", "unknown-runbook", message);
            found.push(
                finding.help(format!("write runbooks/{}.md; `vitalake runbook` lists those there are", rule.runbook)),
            );
        }
        if let Some(config) = config {
            found.extend(receivers(alert, config));
        }
        if let Some(schedule) = &rule.schedule
            && let Err(reason) = last_due(schedule, SOME_DAY_MS)
        {
            let finding = alert.error_at("schedule", "bad-schedule", reason);
            found.push(
                finding.help("write minute, hour, day of the month, month, day of the week, such as `30 5 * * *`"),
            );
        }
        if let (AlertSource::Sql(sql), Some(blueprint)) = (&rule.source, blueprint)
            && let Err(error) = blueprint.check(sql)
        {
            let finding = alert.error_at("sql", "bad-sql", error.to_string());
            found.push(finding.help(
                "an alert is one SELECT over ops and the project's datasets; docs/alerts.md says how its rows are read",
            ));
        }
    }
}

fn receivers(alert: &AlertFile, config: &Config) -> Vec<Diagnostic> {
    let names = alert.rule.notify.iter().flatten().enumerate();
    let unknown = names.filter(|(_, name)| !config.notify.contains_key(*name));
    let finding = |(at, name): (usize, &String)| {
        let known: Vec<&str> = config.notify.keys().map(String::as_str).collect();
        let help = match known.is_empty() {
            true => "vitalake.yaml has no `notify:`; docs/alerts.md shows one".to_owned(),
            false => format!("receivers of vitalake.yaml: {}", known.join(", ")),
        };
        let message = format!("there is no receiver {name}");
        alert.error_at(&format!("notify.{at}"), "unknown-receiver", message).help(help)
    };
    unknown.map(finding).collect()
}
