//! The standard's verdict on every contract of the shared corpus, against the verdicts of the reference validator.

use std::fs;

use vitalake_contract::diagnostic::has_errors;
use vitalake_contract::odcs::{Version, lint, lint_as};

use crate::shared::shared;

/// Files whose verdict differs from the table's, with the reason: (file, version or `own`, our verdict, reason).
const EXCEPTIONS: [(&str, &str, &str, &str); 0] = [];

fn expected<'t>(file: &str, version: &str, table: &'t str) -> &'t str {
    EXCEPTIONS.iter().find(|e| e.0 == file && e.1 == version).map_or(table, |e| e.2)
}

#[test]
fn every_contract_of_the_corpus_gets_its_verdict() {
    let Some(folder) = shared("data/odcs") else {
        return;
    };
    let table = fs::read_to_string(folder.join("VERDICTS.tsv")).unwrap();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for row in table.lines().skip(1) {
        let cells: Vec<&str> = row.split('\t').collect();
        let (file, own, v310) = (cells[0], cells[2], cells[4]);
        let text = fs::read_to_string(folder.join(file)).unwrap();
        for (version, table, found) in
            [("own", own, lint(file, &text)), ("v3.1.0", v310, lint_as(Version::V3_1_0, file, &text))]
        {
            let ours = if has_errors(&found) { "invalid" } else { "valid" };
            if ours != expected(file, version, table) {
                wrong.push(format!("{file} under {version}: {ours}, not {table}: {found:#?}"));
            }
            seen += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(seen, 2 * 73, "the corpus has changed");
}
