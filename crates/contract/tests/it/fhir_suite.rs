//! SQL on FHIR's own tests: every view of every suite over the suite's resources.

use serde_json::{Map, Value};
use vitalake_contract::fhir::{self, View, json};

use crate::shared::shared;

/// Cases of the suites that do not pass, each with why: none.
const NOT_PASSED: [(&str, &str); 0] = [];

fn view_of(definition: &Value) -> Result<View, String> {
    let text = serde_json::to_string_pretty(definition).unwrap();
    let read = fhir::read("views/a.json", "a", text.as_bytes());
    read.view.ok_or_else(|| format!("{:?}", read.diagnostics.iter().map(|d| &d.message).collect::<Vec<_>>()))
}

fn rows(view: &View, resources: &[Value]) -> Result<Vec<Value>, String> {
    let mut found = Vec::new();
    for resource in resources {
        let text = resource.to_string();
        let parsed = json::parse(&text).unwrap();
        if !view.is_of(parsed.object().unwrap()) {
            continue;
        }
        for row in view.rows(&parsed).map_err(|error| error.to_string())? {
            assert_eq!(row.len(), view.columns.len());
            let cells = view.columns.iter().zip(&row).map(|(column, cell)| {
                let mut text = String::new();
                cell.write(&mut text);
                (column.name.clone(), serde_json::from_str(&text).unwrap())
            });
            found.push(Value::Object(cells.collect::<Map<_, _>>()));
        }
    }
    Ok(found)
}

/// Rows as texts that compare: keys in order, numbers by value.
fn comparable(rows: &[Value]) -> Vec<String> {
    fn plain(value: &Value) -> Value {
        match value {
            Value::Number(number) => Value::from(number.as_f64()),
            Value::Array(items) => items.iter().map(plain).collect(),
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                Value::Object(fields.into_iter().collect())
            }
            other => other.clone(),
        }
    }
    let mut texts: Vec<String> = rows.iter().map(|row| plain(row).to_string()).collect();
    texts.sort();
    texts
}

fn verdict(case: &Value, resources: &[Value]) -> Result<(), String> {
    let made = view_of(&case["view"]).and_then(|view| rows(&view, resources).map(|rows| (view, rows)));
    if case["expectError"] == true {
        return made.map_or(Ok(()), |_| Err("an error was expected".to_owned()));
    }
    let (view, rows) = made?;
    if let Some(expected) = case["expect"].as_array() {
        let (got, want) = (comparable(&rows), comparable(expected));
        if got != want {
            return Err(format!("got {got:?}\nwant {want:?}"));
        }
    }
    if let Some(columns) = case["expectColumns"].as_array() {
        let names: Vec<Value> = view.columns.iter().map(|column| column.name.as_str().into()).collect();
        if names != *columns {
            return Err(format!("columns {names:?}"));
        }
    }
    match case["expectCount"].as_u64() {
        Some(count) if count != rows.len() as u64 => Err(format!("{} rows in place of {count}", rows.len())),
        _ => Ok(()),
    }
}

#[test]
fn the_specifications_own_tests_pass() {
    let Some(folder) = shared("data/sql-on-fhir") else { return };
    let mut failed = Vec::new();
    let mut cases = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    for path in &files {
        let suite: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let resources = suite["resources"].as_array().unwrap();
        for case in suite["tests"].as_array().unwrap() {
            cases += 1;
            let title = case["title"].as_str().unwrap();
            if let Err(why) = verdict(case, resources) {
                failed.push(format!("{} / {title}: {why}", path.file_stem().unwrap().to_string_lossy()));
            }
        }
    }
    assert_eq!((files.len(), cases), (22, 134));
    failed.retain(|failed| !NOT_PASSED.iter().any(|(case, _)| failed.starts_with(case)));
    assert!(failed.is_empty(), "{} of {cases}:\n{}", failed.len(), failed.join("\n"));
}
