//! What `validate` says about a project's runbooks: each SQL block planned over the tables that the project will have.
//!
//! Invariant: touches no network and starts nothing; a runbook without a finding has no block that cannot be planned.

use vitalake_contract::access::RECORD_COLUMNS;
use vitalake_contract::{Diagnostic, Project, RunbookFile};
use vitalake_ops::runbooks::{Block, Library, RunbookProblem, bind};
use vitalake_serve::error::QueryError;
use vitalake_serve::evidence::Blueprint;

/// Finds what is wrong with runbooks, with their SQL where the tables are known.
pub(super) fn check_runbooks(project: &Project, blueprint: Option<&Blueprint>, found: &mut Vec<Diagnostic>) {
    let library = Library::new(&project.runbooks);
    for file in &project.runbooks {
        let Some(runbook) = library.get(&file.name) else { continue };
        found.extend(runbook.problems.iter().map(|problem| diagnostic(file, problem)));
        let Some(blueprint) = blueprint else { continue };
        let problems = runbook.blocks().filter_map(|block| problem_of(blueprint, block));
        found.extend(problems.map(|problem| diagnostic(file, &problem)));
    }
}

fn problem_of(blueprint: &Blueprint, block: &Block) -> Option<RunbookProblem> {
    let statement = match bind(block, None) {
        Ok(statement) => statement,
        Err(problem) => return Some(problem),
    };
    let error = blueprint.check(&statement.sql).err()?;
    let position = match &error {
        QueryError::Invalid { position, .. } => *position,
        _ => None,
    };
    let (line, column) = position.map_or((1, 1), |position| position.start);
    let at = |number: u64| usize::try_from(number).unwrap_or(1).max(1);
    // The engine counts from the block's first line; the finding has the file's.
    let message = error.to_string().replace(&format!(" (line [{line}], column [{column}])"), "");
    let help = match RECORD_COLUMNS.iter().find(|column| message.contains(**column)) {
        Some(column) => format!("evidence shows no record as it came: {column} cannot be read by a runbook"),
        None => "a block is one SELECT over the project's datasets; docs/runbooks.md says what it may read".to_owned(),
    };
    Some(RunbookProblem { line: block.line + at(line) - 1, column: at(column), message, help })
}

fn diagnostic(file: &RunbookFile, problem: &RunbookProblem) -> Diagnostic {
    let finding = Diagnostic::error(&file.path, "runbook", &problem.message);
    finding.at(&file.text, problem.line, problem.column, 1).help(&problem.help)
}
