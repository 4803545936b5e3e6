//! `vitalake policy safe-harbor`: a model and its contract that show a dataset without the eighteen identifiers, from its
//! tags, with what was done about each and what it cannot give.
//!
//! From the project's files alone; nothing is written unless asked. Invariant: every identifier of the rule is in the report.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use vitalake_contract::diagnostic::has_errors;
use vitalake_contract::safe_harbor::{IDENTIFIERS, Judgement, OTHER_WORDS, TAG, Treatment, judge};
use vitalake_contract::{Column, ColumnType, Contract, ContractSource, Layer, yaml};
use vitalake_runtime::config::Overrides;
use vitalake_serve::policy::FEW_PEOPLE_ZIPS;

use super::validate;
use crate::failure::Failure;
use crate::output;

/// `vitalake policy safe-harbor`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake policy safe-harbor curated.visits\n  vitalake policy safe-harbor visits --write"
)]
pub struct SafeHarborArgs {
    /// The dataset, with its layer or without
    #[arg(value_name = "DATASET")]
    pub dataset: String,
    /// The project
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// Write the model and its contract into the project; files that are there are left alone
    #[arg(long)]
    pub write: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A column and what becomes of it.
#[derive(Debug, Serialize)]
struct Done {
    column: String,
    identifier: Option<char>,
    done: &'static str,
    reason: &'static str,
}

/// What a Safe Harbor view cannot give, whatever its columns.
const CANNOT_GIVE: [&str; 4] = [
    "a series by minute, hour, day or month: of each time the year is left, and the order within it is gone",
    "which rows are of one person: what names a person is dropped, and a hash of it is derived from it",
    "small areas, and ages over 89",
    "that nobody knows anybody in it: the rule also asks that whoever gives the data out knows of no way to identify a person by what is left",
];

/// Makes the view.
///
/// # Errors
/// When the project is not valid, there is no such dataset, or a file is there already.
pub fn run(args: &SafeHarborArgs) -> anyhow::Result<ExitCode> {
    let checked = validate::check(&args.project, &Overrides::default());
    if has_errors(&checked.diagnostics) {
        let message = format!("the project at {} is not valid", args.project.display());
        return Err(Failure::input(message, "`vitalake validate` says why").into());
    }
    let name = args.dataset.rsplit('.').next().unwrap_or_default();
    let contract = checked.project.contracts.iter().find(|contract| contract.dataset.as_str() == name);
    let Some((contract, source)) = contract.zip(checked.project.contract_source(name)) else {
        return Err(
            Failure::input(format!("there is no dataset {}", args.dataset), "`vitalake datasets` lists them").into()
        );
    };
    if contract.consent.is_some() {
        let message = format!("the rows of {name} are bound to consent, and whose they are would be dropped");
        return Err(Failure::input(message, "what is made of them would outlive a withdrawal (docs/consent.md)").into());
    }
    let judged = judged(contract, source)?;
    let layer = if contract.layer == Layer::Raw { "curated" } else { "serving" };
    let view = format!("{name}_safe_harbor");
    let files = [
        (format!("contracts/{layer}/{view}.yaml"), contract_text(&view, contract, &judged)),
        (format!("models/{layer}/{view}.sql"), model_text(contract, &judged)),
    ];
    if args.write {
        files.iter().try_for_each(|(path, text)| write_new(&args.project.join(path), text))?;
    }
    if args.json {
        let identifiers: Vec<_> = IDENTIFIERS.iter().map(|one| of_identifier(*one, &judged)).collect();
        let kept: Vec<Done> = judged.iter().map(done).collect();
        output::json(&json!({
            "dataset": format!("{}.{name}", contract.layer), "identifiers": identifiers, "columns": kept,
            "cannot_give": CANNOT_GIVE, "files": files.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        }))?;
    } else {
        print(contract, &judged, &files, args.write)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Each column with its judgement.
fn judged<'c>(contract: &'c Contract, source: &ContractSource) -> anyhow::Result<Vec<(&'c Column, Judgement)>> {
    let root = yaml::parse(&source.path, &source.text)
        .map_err(|_| Failure::input(format!("{} could not be read again", source.path), "try again"))?;
    let properties =
        root.get("schema").and_then(|schema| schema.items().first()).and_then(|object| object.get("properties"));
    let properties = properties.map_or(&[][..], yaml::Node::items);
    let mut all = Vec::new();
    for column in &contract.columns {
        let node = properties.iter().find(|node| node.get("name").and_then(yaml::Node::text) == Some(&*column.name));
        let tags = node.and_then(|node| node.get("tags")).map_or(&[][..], yaml::Node::items);
        let word = tags.iter().filter_map(yaml::Node::text).find_map(|tag| tag.strip_prefix(TAG));
        let is_known =
            |word: &str| OTHER_WORDS.contains(&word) || IDENTIFIERS.iter().any(|(_, known, _)| *known == word);
        if let Some(unknown) = word.filter(|word| !is_known(word)) {
            let known: Vec<&str> = IDENTIFIERS.iter().map(|(_, word, _)| *word).chain(OTHER_WORDS).collect();
            let message = format!("the column {} has the tag {TAG}{unknown}, which is none that is known", column.name);
            return Err(Failure::input(message, format!("known: {}", known.join(", "))).into());
        }
        all.push((column, judge(column, word)));
    }
    Ok(all)
}

fn done((column, judgement): &(&Column, Judgement)) -> Done {
    let done = match judgement.treatment {
        Treatment::Kept => "kept",
        Treatment::Year => "year alone",
        Treatment::AgeTo90 => "over 89 is 90",
        Treatment::FirstThree => "three digits",
        Treatment::Dropped => "dropped",
    };
    Done { column: column.name.to_string(), identifier: judgement.letter, done, reason: judgement.reason }
}

fn of_identifier((letter, _, about): (char, &str, &str), judged: &[(&Column, Judgement)]) -> serde_json::Value {
    let columns: Vec<Done> = judged.iter().filter(|(_, one)| one.letter == Some(letter)).map(done).collect();
    json!({"letter": letter, "identifier": about, "columns": columns})
}

/// The columns that are left.
fn shown<'j, 'c>(judged: &'j [(&'c Column, Judgement)]) -> impl Iterator<Item = &'j (&'c Column, Judgement)> {
    judged.iter().filter(|(_, judgement)| judgement.treatment != Treatment::Dropped)
}

fn model_text(contract: &Contract, judged: &[(&Column, Judgement)]) -> String {
    let column = |(column, judgement): &(&Column, Judgement)| {
        let name = format!("`{}`", column.name.replace('`', "``"));
        match judgement.treatment {
            Treatment::Year => format!("  make_date(year({name}), 1, 1) AS {name}"),
            Treatment::AgeTo90 => format!("  CASE WHEN {name} > 89 THEN 90 ELSE {name} END AS {name}"),
            Treatment::FirstThree => {
                let few: Vec<String> = FEW_PEOPLE_ZIPS.iter().map(|zip| format!("'{zip}'")).collect();
                let three = format!("substring({name}, 1, 3)");
                format!(
                    "  CASE WHEN {name} IS NULL THEN NULL WHEN NOT {name} RLIKE '^[0-9]{{5}}' OR {three} IN ({}) THEN '000' ELSE {three} END AS {name}",
                    few.join(", ")
                )
            }
            Treatment::Kept | Treatment::Dropped => format!("  {name}"),
        }
    };
    let columns: Vec<String> = shown(judged).map(column).collect();
    format!("-- kind: append\nSELECT\n{}\nFROM {}.{}\n", columns.join(",\n"), contract.layer, contract.dataset)
}

fn contract_text(view: &str, contract: &Contract, judged: &[(&Column, Judgement)]) -> String {
    let id = format!("{view}-{}", contract.id);
    let mut text = format!(
        "apiVersion: v3.1.0\nkind: DataContract\nid: {}\nname: {view}\nversion: 1.0.0\nstatus: draft\ndescription:\n  purpose: {} without the eighteen identifiers of 45 CFR 164.514(b)(2)(i).\nschema:\n  - name: {view}\n    properties:\n",
        json!(id),
        contract.dataset
    );
    for (column, judgement) in shown(judged) {
        let kind = match (&column.kind, judgement.treatment) {
            (_, Treatment::Year) | (ColumnType::Date(_), _) => "date",
            (ColumnType::Long | ColumnType::Int, _) => "integer",
            (ColumnType::Double | ColumnType::Float, _) => "number",
            (ColumnType::Boolean, _) => "boolean",
            _ => "string",
        };
        let format = match column.kind {
            ColumnType::Int => ", logicalTypeOptions: {format: i32}",
            ColumnType::Float => ", logicalTypeOptions: {format: f32}",
            _ => "",
        };
        let why = json!(format!("Safe Harbor: {}", judgement.reason));
        // Writing into a String does not fail.
        let _ = writeln!(
            text,
            "      - {{name: {}, logicalType: {kind}{format}, classification: internal, customProperties: [{{property: declassified, value: {why}}}]}}",
            json!(column.name.as_ref())
        );
    }
    text
}

fn write_new(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = |error: std::io::Error| {
        Failure::input(
            format!("{} could not be written: {error}", path.display()),
            "move what is there away, or make the folder writable",
        )
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    Ok(())
}

fn print(
    contract: &Contract,
    judged: &[(&Column, Judgement)],
    files: &[(String, String)],
    written: bool,
) -> anyhow::Result<()> {
    let mut out = output::stdout();
    writeln!(out, "{}.{} by the Safe Harbor method, 45 CFR 164.514(b)(2)(i)\n", contract.layer, contract.dataset)?;
    for (letter, _, about) in IDENTIFIERS {
        writeln!(out, "({letter}) {about}")?;
        let columns: Vec<Done> = judged.iter().filter(|(_, one)| one.letter == Some(letter)).map(done).collect();
        if columns.is_empty() {
            writeln!(out, "      no column is tagged so")?;
        }
        for Done { column, done, reason, .. } in columns {
            writeln!(out, "      {column}: {done} ({reason})")?;
        }
    }
    writeln!(out, "\nnone of them")?;
    for Done { column, done, reason, .. } in judged.iter().filter(|(_, one)| one.letter.is_none()).map(done) {
        writeln!(out, "      {column}: {done} ({reason})")?;
    }
    writeln!(out, "\nwhat it cannot give")?;
    CANNOT_GIVE.iter().try_for_each(|line| writeln!(out, "  - {line}"))?;
    for (path, text) in files {
        let place = if written { format!("{path}, written") } else { format!("{path}; --write writes it") };
        writeln!(out, "\n# {place}\n{text}")?;
    }
    out.flush()?;
    Ok(())
}
