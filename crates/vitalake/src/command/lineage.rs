//! `vitalake lineage`: where a column comes from, and what is made of it.
//!
//! From the project's files alone: the plans of its models. Invariant: it names datasets and columns, and no value.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use vitalake_contract::diagnostic::has_errors;
use vitalake_contract::{Contract, DatasetName, Source};
use vitalake_process::{ColumnLineage, Contracts, Direct, Indirect, column_lineage};
use vitalake_runtime::config::Overrides;

use super::validate::{self, CheckedProject, contracts_of};
use crate::failure::Failure;
use crate::output::{self, Style};

/// Levels of a tree.
const DEPTH_MAX: usize = 64;

/// `vitalake lineage`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake lineage serving.vitals_hourly.hr_avg\n  vitalake lineage raw.readings.hr --down\n  \
                  vitalake lineage curated.vitals --json"
)]
pub struct LineageArgs {
    /// DATASET or DATASET.COLUMN; the dataset with its layer or without
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Only where it comes from
    #[arg(long)]
    pub up: bool,
    /// Only what is made of it
    #[arg(long, conflicts_with = "up")]
    pub down: bool,
    /// The project
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub project: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// A column, or what stands at the end of the way, with what is behind it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Node {
    /// `layer.dataset.column`, or a source.
    name: String,
    /// How the one before is made of it, or it of the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    next: Vec<Node>,
}

/// What decides about the rows of a dataset.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Deciding {
    dataset: String,
    /// The deciding column.
    column: String,
    how: Vec<&'static str>,
}

/// What is known of one column.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Traced {
    column: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    up: Option<Vec<Node>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    down: Option<Vec<Node>>,
}

/// The whole answer.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Answer {
    dataset: String,
    columns: Vec<Traced>,
    /// Columns that decide which rows the dataset has, without being in them.
    decided_by: Vec<Deciding>,
    /// Datasets whose rows these columns decide about.
    decides: Vec<Deciding>,
}

/// Shows lineage.
///
/// # Errors
/// When the project is not valid, or has no such dataset or column.
pub fn run(args: &LineageArgs) -> anyhow::Result<ExitCode> {
    let checked = validate::check(&args.project, &Overrides::default());
    if has_errors(&checked.diagnostics) {
        let message = format!("the project at {} is not valid", args.project.display());
        return Err(Failure::input(message, "`vitalake validate` says why").into());
    }
    let graph = Whole::of(&checked);
    let (contract, column) = graph.find(&args.name)?;
    let answer = graph.answer(contract, column, (!args.down, !args.up));
    if args.json {
        output::json(&answer)?;
    } else {
        print(&answer)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The project's contracts and the lineage of its models.
struct Whole {
    contracts: Contracts,
    models: BTreeMap<DatasetName, ColumnLineage>,
}

impl Whole {
    fn of(checked: &CheckedProject) -> Self {
        let contracts = contracts_of(&checked.project);
        let of = |model: &vitalake_process::Model| Some((model.dataset.clone(), column_lineage(model, &contracts)?));
        let models = checked.models.iter().filter_map(of).collect();
        Self { contracts, models }
    }

    /// What a name means: `x`, `layer.x`, `x.column` or `layer.x.column`.
    fn find(&self, name: &str) -> anyhow::Result<(&Contract, Option<String>)> {
        let parts: Vec<&str> = name.split('.').collect();
        let dataset =
            |name: &str| DatasetName::new(name).ok().and_then(|name| self.contracts.get(&name)).map(AsRef::as_ref);
        let layered = |layer: &str, name: &str| dataset(name).filter(|found: &&Contract| found.layer.as_str() == layer);
        let found = match parts.as_slice() {
            [one] => dataset(one).map(|found| (found, None)),
            [first, second] => match layered(first, second) {
                Some(found) => Some((found, None)),
                None => dataset(first).map(|found| (found, Some(*second))),
            },
            [layer, name, column] => layered(layer, name).map(|found| (found, Some(*column))),
            _ => None,
        };
        let Some((contract, column)) = found else {
            let help = "write DATASET or DATASET.COLUMN, such as serving.vitals_hourly.hr_avg";
            return Err(Failure::input(format!("the project has no dataset {name}"), help).into());
        };
        let Some(column) = column else { return Ok((contract, None)) };
        match contract.columns.iter().find(|known| known.name.eq_ignore_ascii_case(column)) {
            Some(known) => Ok((contract, Some(known.name.to_lowercase()))),
            None => {
                let known: Vec<&str> = contract.columns.iter().map(|column| &*column.name).collect();
                let message = format!("{}.{} has no column {column}", contract.layer, contract.dataset);
                Err(Failure::input(message, format!("it has {}", known.join(", "))).into())
            }
        }
    }

    fn answer(&self, contract: &Contract, column: Option<String>, (up, down): (bool, bool)) -> Answer {
        let all = || contract.columns.iter().map(|column| column.name.to_lowercase()).collect();
        let asked: Vec<String> = column.map_or_else(all, |column| vec![column]);
        let dataset = &contract.dataset;
        let columns = asked.iter().map(|column| Traced {
            column: self.full(dataset, column),
            up: up.then(|| self.up(dataset, column, 0)),
            down: down.then(|| self.down(dataset, column, 0)),
        });
        let decided = self.models.get(dataset).filter(|_| up).into_iter().flat_map(|lineage| &lineage.conditions);
        let decided_by = decided.map(|((of, column), how)| Deciding {
            dataset: self.layered(dataset),
            column: self.full(of, column),
            how: how.iter().map(|how| in_words(*how)).collect(),
        });
        let decides = self.models.iter().filter(|_| down).flat_map(|(made, lineage)| {
            let of_asked = |((of, column), _): &(&(DatasetName, String), _)| of == dataset && asked.contains(column);
            lineage.conditions.iter().filter(of_asked).map(move |((of, column), how)| Deciding {
                dataset: self.layered(made),
                column: self.full(of, column),
                how: how.iter().map(|how| in_words(*how)).collect(),
            })
        });
        Answer {
            dataset: self.layered(dataset),
            columns: columns.collect(),
            decided_by: decided_by.collect(),
            decides: decides.collect(),
        }
    }

    fn up(&self, dataset: &DatasetName, column: &str, depth: usize) -> Vec<Node> {
        let Some(lineage) = self.models.get(dataset) else { return self.source(dataset, column) };
        let Some(made) = lineage.columns.get(column) else {
            return vec![Node { name: "the platform itself".to_owned(), how: None, next: Vec::new() }];
        };
        let node = |((of, from), how): (&(DatasetName, String), &Direct)| Node {
            name: self.full(of, from),
            how: Some(made_how(*how)),
            next: if depth < DEPTH_MAX { self.up(of, from, depth + 1) } else { Vec::new() },
        };
        made.iter().map(node).collect()
    }

    fn down(&self, dataset: &DatasetName, column: &str, depth: usize) -> Vec<Node> {
        let key = (dataset.clone(), column.to_owned());
        let of_model = |(made, lineage): (&DatasetName, &ColumnLineage)| {
            let using = lineage.columns.iter().filter_map(|(name, from)| Some((name.clone(), *from.get(&key)?)));
            using.map(|(name, how)| (made.clone(), name, how)).collect::<Vec<_>>()
        };
        let using: Vec<(DatasetName, String, Direct)> = self.models.iter().flat_map(of_model).collect();
        let node = |(made, name, how): (DatasetName, String, Direct)| Node {
            next: if depth < DEPTH_MAX { self.down(&made, &name, depth + 1) } else { Vec::new() },
            name: self.full(&made, &name),
            how: Some(made_how(how)),
        };
        using.into_iter().map(node).collect()
    }

    /// Where a column of a raw dataset comes from.
    fn source(&self, dataset: &DatasetName, column: &str) -> Vec<Node> {
        let Some(contract) = self.contracts.get(dataset) else { return Vec::new() };
        let found = contract.columns.iter().find(|known| known.name.eq_ignore_ascii_case(column));
        let Some(found) = found else { return Vec::new() };
        let field = found.path.join(".");
        let name = match &contract.source {
            Some(Source::Stream { topic, .. }) => format!("topic {topic}, field {field}"),
            Some(Source::Feed) => format!("deliveries to {dataset}, field {field}"),
            None => return Vec::new(),
        };
        vec![Node { name, how: None, next: Vec::new() }]
    }

    fn layered(&self, dataset: &DatasetName) -> String {
        let layer = self.contracts.get(dataset).map(|contract| format!("{}.", contract.layer)).unwrap_or_default();
        format!("{layer}{dataset}")
    }

    /// A column's whole name, as its contract writes it.
    fn full(&self, dataset: &DatasetName, column: &str) -> String {
        let known = self.contracts.get(dataset).and_then(|contract| {
            contract
                .columns
                .iter()
                .find(|known| known.name.eq_ignore_ascii_case(column))
                .map(|known| known.name.to_string())
        });
        format!("{}.{}", self.layered(dataset), known.unwrap_or_else(|| column.to_owned()))
    }
}

fn made_how(how: Direct) -> &'static str {
    match how {
        Direct::Identity => "as it is",
        Direct::Transformation => "computed",
        Direct::Aggregation => "aggregated",
    }
}

fn in_words(how: Indirect) -> &'static str {
    match how {
        Indirect::Filter => "filters",
        Indirect::Join => "joins",
        Indirect::GroupBy => "groups",
        Indirect::Sort => "orders",
        Indirect::Window => "windows",
    }
}

fn print(answer: &Answer) -> anyhow::Result<()> {
    let (mut out, style) = (output::stdout(), Style::stdout());
    for traced in &answer.columns {
        writeln!(out, "{}", style.bold(&traced.column))?;
        let both = traced.up.is_some() && traced.down.is_some();
        for (way, nodes) in [("comes from", &traced.up), ("goes to", &traced.down)] {
            let Some(nodes) = nodes else { continue };
            if both && !nodes.is_empty() {
                writeln!(out, "  {}", style.dim(way))?;
            }
            tree(&mut out, nodes, "  ", style)?;
        }
    }
    for decided in &answer.decided_by {
        let how = decided.how.join(", ");
        writeln!(out, "{}", style.dim(&format!("{} {how} the rows of {}", decided.column, decided.dataset)))?;
    }
    for decided in &answer.decides {
        let how = decided.how.join(", ");
        writeln!(out, "{}", style.dim(&format!("{} {how} the rows of {}", decided.column, decided.dataset)))?;
    }
    out.flush()?;
    Ok(())
}

fn tree(out: &mut impl Write, nodes: &[Node], indent: &str, style: Style) -> std::io::Result<()> {
    for (number, node) in nodes.iter().enumerate() {
        let is_last = number + 1 == nodes.len();
        let how = node.how.map(|how| style.dim(&format!("  {how}"))).unwrap_or_default();
        writeln!(out, "{indent}{} {}{how}", if is_last { "└─" } else { "├─" }, node.name)?;
        let further = format!("{indent}{}  ", if is_last { " " } else { "│" });
        tree(out, &node.next, &further, style)?;
    }
    Ok(())
}
