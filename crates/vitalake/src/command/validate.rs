//! `vitalake validate`: everything that is wrong with a project, at once, before anything runs.
//!
//! Collects what each part finds (contracts, configuration, models) into one sorted list. Invariant: touches no network
//! and starts nothing.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;
use vitalake_contract::diagnostic::{Severity, has_errors, render, sort};
use vitalake_contract::project::CONFIG_FILE;
use vitalake_contract::{DatasetName, Diagnostic, Layer, Project};
use vitalake_ingest::source::{EXTERNAL_KAFKA, is_own_property};
use vitalake_lake::TableSpec;
use vitalake_lake::control::ControlPlace;
use vitalake_lake::planned::table_schemas;
use vitalake_lake::storage::StorageUrl;
use vitalake_ops::tables::OpsTable;
use vitalake_process::quality::check::problem;
use vitalake_process::spark::connect;
use vitalake_process::{
    Contracts, EngineName, Error as ModelError, Graph, Kind, Model, ModelProblem, problems_on_spark, sql_rules,
    table_specs, validate_model,
};
use vitalake_runtime::config::engines::Engines;
use vitalake_runtime::config::notify::Hidden;
use vitalake_runtime::config::{Config, ConfigProblem, Overrides, process_environment};

use vitalake_serve::evidence::Blueprint;

use super::validate_access::check_access;
use super::validate_alerts::check_alerts;
use super::validate_dashboards::check_dashboards;
use super::validate_feeds::check_feeds;
use super::validate_runbooks::check_runbooks;
use super::validate_subjects::check_subjects;
use crate::cli::ValidateArgs;
use crate::output::{self, Style};
use crate::table::counted;

/// A project that was read, with all that was found on the way.
#[derive(Debug)]
pub struct CheckedProject {
    /// The directory's contracts and models.
    pub project: Project,
    /// The models that could be read.
    pub models: Vec<Model>,
    /// The configuration, unless it is wrong.
    pub config: Option<Config>,
    /// All findings, sorted by file and place.
    pub diagnostics: Vec<Diagnostic>,
}

impl CheckedProject {
    /// The configuration; the defaults where the project has no file of it.
    ///
    /// # Errors
    /// When the file or the environment is wrong.
    pub fn configuration(&self, overrides: &Overrides) -> anyhow::Result<Config> {
        match &self.config {
            Some(config) => Ok(config.clone()),
            None => Ok(Config::load(&self.project.root, overrides)?),
        }
    }
}

/// A project's contracts, by dataset.
#[must_use]
pub fn contracts_of(project: &Project) -> Contracts {
    project.contracts.iter().map(|contract| (contract.dataset.clone(), Arc::clone(contract))).collect()
}

/// Checks a project directory and prints the verdict.
///
/// # Errors
/// When standard output cannot be written to.
pub fn run(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let checked = check(&args.dir, &Overrides::default());
    let failed = has_errors(&checked.diagnostics);
    if args.json {
        let valid = !failed;
        output::json(&json!({ "valid": valid, "summary": summary(&checked), "diagnostics": checked.diagnostics }))?;
    } else {
        print(&checked)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Reads and checks a project directory.
#[must_use]
pub fn check(dir: &Path, overrides: &Overrides) -> CheckedProject {
    let (mut project, mut diagnostics) = Project::load(dir);
    let config = check_config(&project, overrides, &mut diagnostics);
    let models = check_models(&project, config.as_ref(), &mut diagnostics);
    rules_of_rollups(&mut project, &models);
    // Of SQL over the project's tables nothing is said while a contract or a model is wrong: what reads it would seem wrong
    // because of that alone.
    let specs = (!keeps_from_starting(&diagnostics)).then(|| planned_tables(&project, &models)).flatten();
    check_rules(&project, specs.as_deref(), &mut diagnostics);
    let blueprint = specs.filter(|_| !keeps_from_starting(&diagnostics)).map(|specs| Blueprint::new(&specs));
    check_runbooks(&project, blueprint.as_ref(), &mut diagnostics);
    check_feeds(&project, &mut diagnostics);
    check_dashboards(&project, blueprint.as_ref(), &mut diagnostics);
    check_access(&project, &models, config.as_ref(), &mut diagnostics);
    check_subjects(&project, &models, &mut diagnostics);
    check_alerts(&project, config.as_ref(), blueprint.as_ref(), &mut diagnostics);
    sort(&mut diagnostics);
    CheckedProject { project, models, config, diagnostics }
}

/// Whether something is wrong that a platform cannot start with: all but a dashboard, which its own page shows with the
/// mistake.
#[must_use]
pub fn keeps_from_starting(diagnostics: &[Diagnostic]) -> bool {
    let is_of_dashboard = |found: &Diagnostic| found.file.starts_with("dashboards/");
    diagnostics.iter().any(|found| found.severity == Severity::Error && !is_of_dashboard(found))
}

/// The diagnostics of a project as text, with a closing line that counts them; empty when there are none.
#[must_use]
pub fn in_words(diagnostics: &[Diagnostic], style: Style) -> String {
    let listed = render(diagnostics, style.is_coloured());
    // The closing count is ours: it also says in how many files.
    let body: Vec<&str> = listed.trim_end().lines().collect();
    let findings = body.split_last().map_or(String::new(), |(_, rest)| rest.join("\n"));
    if findings.is_empty() { String::new() } else { format!("{}\n\n{}\n", findings.trim_end(), totals(diagnostics)) }
}

fn print(checked: &CheckedProject) -> anyhow::Result<()> {
    let mut out = output::stdout();
    write!(out, "{}", in_words(&checked.diagnostics, Style::stdout()))?;
    if !has_errors(&checked.diagnostics) {
        writeln!(out, "{}", summary(checked))?;
    }
    out.flush()?;
    Ok(())
}

fn check_config(project: &Project, overrides: &Overrides, found: &mut Vec<Diagnostic>) -> Option<Config> {
    let text = project.config_text.as_deref()?;
    let at = |problem: ConfigProblem| {
        let diagnostic = Diagnostic::error(CONFIG_FILE, "configuration", problem.message);
        let diagnostic = match problem.line {
            0 => diagnostic,
            line => diagnostic.at(&without_values(text), line, problem.column, 1),
        };
        match problem.help {
            Some(help) => diagnostic.help(help),
            None => diagnostic,
        }
    };
    let parsed = Config::parse(text, &project.root, &process_environment(), overrides);
    let config = parsed.map_err(|problems| found.extend(problems.into_iter().map(at))).ok()?;
    found.extend(unsupported(&config).into_iter().map(at));
    Some(config)
}

/// A configuration's lines as a message may quote them: a value may be a secret.
fn without_values(text: &str) -> String {
    let shown = |line: &str| match line.split_once(':') {
        Some((_, value)) if value.trim().is_empty() => line.to_owned(),
        Some((key, _)) => format!("{key}: …"),
        None => "…".to_owned(),
    };
    text.lines().map(shown).collect::<Vec<_>>().join("\n")
}

/// What the parser takes and this build cannot do, or nothing may set.
fn unsupported(config: &Config) -> Vec<ConfigProblem> {
    let mut problems = Vec::new();
    if let Err(error) = StorageUrl::parse(config.storage.url.as_deref(), &config.data) {
        problems.push(ConfigProblem::nowhere(error.to_string()));
    }
    let control = config.control.url.as_ref().map(Hidden::expose);
    match ControlPlace::parse(control, &config.data) {
        Err(error) => problems.push(ConfigProblem::nowhere(error.to_string())),
        Ok(place) if config.control.azure_identity => {
            problems.extend(place.takes_no_tokens().map(ConfigProblem::nowhere));
        }
        Ok(_) => {}
    }
    let spark = config.engines.spark_address();
    if let Some(bad) = spark.and_then(|address| connect::bad_address(address.expose())) {
        problems.push(ConfigProblem::nowhere(format!("engines: {}", bad.message)).with_help(bad.help));
    }
    if spark.is_none() && config.engines.transforms_on_spark() {
        let problem = ConfigProblem::nowhere("engines.transform is spark, and no Spark is named");
        problems
            .push(problem.with_help("write its address, `transform: sc://HOST:15002`, or name it as engines.spark"));
    }
    if config.kafka.bootstrap.is_some() && !EXTERNAL_KAFKA {
        let problem = ConfigProblem::nowhere("kafka.bootstrap: this binary was built without external Kafka");
        problems.push(problem.with_help(
            "build it with --features rdkafka, or remove the setting to use the embedded endpoint at kafka.listen",
        ));
    }
    for name in config.kafka.properties.keys().filter(|name| is_own_property(name)) {
        let problem = ConfigProblem::nowhere(format!("kafka.properties: {name} is set by vitalake alone"));
        problems.push(problem.with_help("remove it; kafka.bootstrap and kafka.group are settings of their own"));
    }
    problems
}

/// Parses the models, then looks at the graph, then plans each against the contracts: as far as it makes sense.
fn check_models(project: &Project, config: Option<&Config>, found: &mut Vec<Diagnostic>) -> Vec<Model> {
    let contracts = contracts_of(project);
    let mut models = Vec::new();
    let mut problems: Vec<(DatasetName, ModelProblem)> = Vec::new();
    for file in &project.models {
        match Model::parse(file.dataset.clone(), file.layer, &file.text) {
            Ok(model) => models.push(model),
            Err(wrong) => problems.extend(wrong.into_iter().map(|p| (file.dataset.clone(), p))),
        }
    }
    // A contract that has errors is not among the contracts: what reads it would seem wrong because of that alone.
    if problems.is_empty() && !keeps_from_starting(found) {
        match Graph::build(&models, &contracts) {
            Err(wrong) => problems.extend(wrong.into_iter().map(|p| (p.model, p.problem))),
            Ok(_) => {
                let engines = config.map(|config| &config.engines);
                for model in &models {
                    let mut wrong = validate_model(model, &contracts);
                    let by_default = engines.is_some_and(Engines::transforms_on_spark);
                    let otherwise = if by_default { EngineName::Spark } else { EngineName::DataFusion };
                    if wrong.is_empty() && model.engine.unwrap_or(otherwise) == EngineName::Spark {
                        let has_spark = engines.is_some_and(|engines| engines.spark_address().is_some());
                        wrong.extend(problems_on_spark(model, &contracts, has_spark));
                    }
                    problems.extend(wrong.into_iter().map(|p| (model.dataset.clone(), p)));
                }
            }
        }
    }
    for (dataset, problem) in problems {
        let Some(file) = project.models.iter().find(|f| f.dataset == dataset) else { continue };
        let finding =
            Diagnostic::error(&file.path, "model", problem.message).at(&file.text, problem.line, problem.column, 1);
        found.push(finding.help(problem.help));
    }
    models
}

/// A group of a rollup is never final and cannot be set aside: its rules are about all groups at once
/// (docs/decisions/0007).
fn rules_of_rollups(project: &mut Project, models: &[Model]) {
    for contract in &mut project.contracts {
        if models.iter().any(|m| m.dataset == contract.dataset && m.kind == Kind::Rollup) {
            *contract = Arc::new(contract.with_rules_about_sets());
        }
    }
}

/// The tables that the project will have, and the platform's own.
fn planned_tables(project: &Project, models: &[Model]) -> Option<Vec<TableSpec>> {
    let contracts = contracts_of(project);
    Some(table_specs(models, &contracts).ok()?.into_iter().chain(OpsTable::specs()).collect())
}

/// Rules that nobody could compute: SQL that is no condition on the dataset's rows, or no query that gives one number.
fn check_rules(project: &Project, specs: Option<&[TableSpec]>, found: &mut Vec<Diagnostic>) {
    let tables = specs.map(|specs| Arc::new(table_schemas(specs)));
    for (contract, source) in project.contracts.iter().zip(&project.contract_sources) {
        if let Err(ModelError::Model { problem, .. }) = sql_rules(contract) {
            found.push(source.error_at(None, "bad-sql", problem.message).help(problem.help));
        }
        let Some(tables) = &tables else { continue };
        for rule in &contract.set_rules {
            let Some(problem) = problem(contract, rule, tables) else { continue };
            let message = format!("the rule {} can never be evaluated: {problem}", rule.name);
            let help = "write a query over the project's datasets that gives one number";
            found.push(source.error_at_rule(&rule.name, "bad-sql", message).help(help));
        }
    }
}

/// `3 errors, 1 warning in 2 files`.
fn totals(diagnostics: &[Diagnostic]) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count() as u64;
    let warnings = diagnostics.len() as u64 - errors;
    let mut files: Vec<&str> = diagnostics.iter().map(|diagnostic| diagnostic.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    let counts = [(errors, "error", "errors"), (warnings, "warning", "warnings")];
    let counts: Vec<String> =
        counts.into_iter().filter(|c| c.0 > 0).map(|(n, one, many)| counted(n, one, many)).collect();
    format!("{} in {}", counts.join(", "), counted(files.len() as u64, "file", "files"))
}

/// `remote-care: 4 raw, 2 curated, 2 serving datasets, 4 models: valid`.
fn summary(checked: &CheckedProject) -> String {
    let of = |layer| checked.project.contracts.iter().filter(|contract| contract.layer == layer).count();
    let name = checked.config.as_ref().map_or("the project", |config| config.name.as_str());
    format!(
        "{name}: {} raw, {} curated, {} serving datasets, {}: {}",
        of(Layer::Raw),
        of(Layer::Curated),
        of(Layer::Serving),
        counted(checked.project.models.len() as u64, "model", "models"),
        if has_errors(&checked.diagnostics) { "not valid" } else { "valid" }
    )
}
