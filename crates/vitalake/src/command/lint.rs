//! `vitalake contract lint`: the standard's own verdict on single contract files.
//!
//! Invariant: asks nothing beyond the Open Data Contract Standard; what a project needs more is `validate`'s.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use vitalake_contract::Diagnostic;
use vitalake_contract::diagnostic::has_errors;
use vitalake_contract::odcs::lint_bytes;

use crate::cli::LintArgs;
use crate::command::validate::in_words;
use crate::output::{self, Style};

/// A contract is a page or ten; what is larger is something else.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Lints contract files; the status is 1 when one of them is not valid.
///
/// # Errors
/// When standard output cannot be written to.
pub fn run(args: &LintArgs) -> anyhow::Result<ExitCode> {
    let files: Vec<(String, Vec<Diagnostic>)> = args.files.iter().map(|file| verdict(file)).collect();
    let failed = files.iter().any(|(_, found)| has_errors(found));
    if args.json {
        let verdicts =
            files.iter().map(|(file, found)| json!({"file": file, "valid": !has_errors(found), "diagnostics": found}));
        output::json(&verdicts.collect::<Vec<_>>())?;
    } else {
        print(&files)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn verdict(path: &Path) -> (String, Vec<Diagnostic>) {
    let name = path.display().to_string();
    let size = std::fs::metadata(path).map(|metadata| metadata.len());
    let found = match size.and_then(|size| if size > FILE_BYTES_MAX { Ok(None) } else { std::fs::read(path).map(Some) })
    {
        Ok(Some(bytes)) => lint_bytes(&name, &bytes),
        Ok(None) => vec![
            Diagnostic::error(&name, "too-large", "the file is too large to be a contract")
                .help("a contract is a YAML file of at most 16 MiB"),
        ],
        Err(error) => vec![
            Diagnostic::error(&name, "unreadable", format!("the file cannot be read: {error}"))
                .help("name a readable YAML file"),
        ],
    };
    (name, found)
}

fn print(files: &[(String, Vec<Diagnostic>)]) -> anyhow::Result<()> {
    let style = Style::stdout();
    let mut out = output::stdout();
    let findings: Vec<Diagnostic> = files.iter().flat_map(|(_, found)| found.clone()).collect();
    write!(out, "{}", in_words(&findings, style))?;
    for (file, _) in files.iter().filter(|(_, found)| !has_errors(found)) {
        writeln!(out, "{file}: {}", style.green("valid"))?;
    }
    out.flush()?;
    Ok(())
}
