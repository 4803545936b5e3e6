//! What `validate` says about a project's dashboards beyond their files: runbooks, and SQL that is planned as a query
//! would be.
//!
//! Invariant: touches no network and starts nothing; without a finding every chart's question can be asked.

use vitalake_contract::dashboard::{Content, sql};
use vitalake_contract::project::dashboards::{DashboardFile, MeasureFile};
use vitalake_contract::{Contract, Diagnostic, Project};
use vitalake_ops::runbooks::Library;
use vitalake_serve::error::QueryError;
use vitalake_serve::evidence::Blueprint;

/// Finds what is wrong with dashboards and measures, with their SQL where the tables are known.
pub(super) fn check_dashboards(project: &Project, blueprint: Option<&Blueprint>, found: &mut Vec<Diagnostic>) {
    let library = Library::new(&project.runbooks);
    for file in &project.dashboards {
        for piece in &file.dashboard.pieces {
            if let Content::Text { runbook: Some(runbook), .. } = &piece.content
                && library.get(runbook).is_none()
            {
                let key = format!("charts.{}.runbook", piece.name);
                let finding = file.error_at(&key, "unknown-runbook", format!("there is no runbook {runbook}"));
                found.push(
                    finding.help(format!("write runbooks/{runbook}.md; `vitalake runbook` lists those there are")),
                );
            }
        }
    }
    let Some(blueprint) = blueprint else { return };
    let before = found.len();
    for file in &project.measures {
        let Some(contract) = project.contract(file.measures.dataset.as_str()) else { continue };
        check_measures(file, contract, blueprint, found);
    }
    for file in &project.dashboards {
        // A chart of a measure that cannot be computed cannot be asked because of that alone.
        check_charts(file, project, blueprint, found.len() == before, found);
    }
}

fn check_measures(file: &MeasureFile, contract: &Contract, blueprint: &Blueprint, found: &mut Vec<Diagnostic>) {
    let measures = file.measures.measures.iter().map(|measure| {
        let help = "a measure is an aggregate over the dataset's columns in Druid's SQL, such as SUM(steps)";
        (format!("measures.{}", measure.name), &measure.sql, sql::measure_check(contract, &measure.sql), help)
    });
    let dimensions = file.measures.dimensions.iter().filter_map(|dimension| {
        let text = dimension.sql.as_ref()?;
        let help = "a dimension is a value of one row in Druid's SQL, such as UPPER(cohort)";
        Some((format!("dimensions.{}", dimension.name), text, sql::dimension_check(contract, text), help))
    });
    for (key, text, query, help) in measures.chain(dimensions) {
        if let Err(error) = blueprint.check(&query) {
            let finding = file.error_at(&format!("{key}.sql"), "bad-sql", message(&error));
            found.push(moved(finding, &file.text, text, &error, 2).help(help));
        }
    }
}

fn check_charts(
    file: &DashboardFile,
    project: &Project,
    blueprint: &Blueprint,
    are_measures_sound: bool,
    found: &mut Vec<Diagnostic>,
) {
    for (name, chart) in file.dashboard.charts() {
        let Some(contract) = project.contract(chart.dataset.as_str()) else { continue };
        if let Some(text) = &chart.only
            && let Err(error) = blueprint.check(&sql::condition_check(contract, text))
        {
            let finding = file.error_at(&format!("charts.{name}.where"), "bad-sql", message(&error));
            let help = "`where` is a condition on one row in Druid's SQL, such as spo2_min < 92";
            found.push(moved(finding, &file.text, text, &error, 4).help(help));
            continue;
        }
        let set = project.measures.iter().map(|file| &file.measures).find(|set| set.dataset == chart.dataset);
        let whole = sql::query(chart, set, contract, None);
        if are_measures_sound && let Err(error) = blueprint.check(&whole) {
            let text = format!("the chart's question cannot be asked: {}", message(&error));
            let finding = file.error_at(&format!("charts.{name}"), "bad-sql", text);
            found.push(
                finding.help("its measures and dimensions do not go together; chart them one by one to see which"),
            );
        }
    }
}

/// An engine's words without its own positions, which are those of another text.
fn message(error: &QueryError) -> String {
    let text = error.to_string();
    let QueryError::Invalid { position: Some(position), .. } = error else { return text };
    let (line, column) = position.start;
    text.replace(&format!(" (line [{line}], column [{column}])"), "")
}

/// The finding at the place within the value that the error is about, where the value stands on one line as it is.
fn moved(finding: Diagnostic, file: &str, sql: &str, error: &QueryError, first_line: u64) -> Diagnostic {
    let QueryError::Invalid { position: Some(position), .. } = error else { return finding };
    let (line, column) = position.start;
    let starts = finding.column.saturating_sub(1);
    let written: String = finding.source_line.as_deref().unwrap_or_default().chars().skip(starts).collect();
    let offset = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    if line != first_line || !written.starts_with(sql) || offset >= sql.chars().count() {
        return finding;
    }
    let (line, column) = (finding.line, finding.column + offset);
    finding.at(file, line, column, 1)
}
