//! `vitalake superset`: a project's dashboards in a Superset: what would change there, changing it, reading them back.
//!
//! The project is read and checked as `validate` does; the server is asked for comparison alone. Invariant: nothing is
//! changed in Superset before the whole project is valid and all that would change is known.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use chrono::Utc;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use vitalake_contract::Project;
use vitalake_contract::dashboard::{Dashboard, MeasureSet};
use vitalake_contract::diagnostic::has_errors;
use vitalake_runtime::config::notify::Hidden;
use vitalake_runtime::config::{Config, Overrides};
use vitalake_serve::superset::bundle::{AssetKind, Bundle, Database, Exported, Source, export as exported_of};
use vitalake_serve::superset::client::{Client, Error, Login};
use vitalake_serve::superset::plan::{self, Asset, Plan, assets_of, mark, plan_all};

use super::superset_data::{DashboardData, compare};
use crate::command::validate;
use crate::failure::{Failure, NOT_WELL};
use crate::output::{self, Style};
use crate::table::{self, counted};

/// The schema of serving datasets, as our endpoint and Druid have it.
const SCHEMA: &str = "druid";

/// `vitalake superset`
#[derive(Debug, Args)]
pub struct SupersetArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SupersetCommand,
}

/// What can be done with a Superset.
#[derive(Debug, Subcommand)]
pub enum SupersetCommand {
    /// Show what would change in Superset, and change nothing
    Plan(PlanArgs),
    /// Make Superset hold the project's dashboards, then compare each chart's data with our own
    Apply(ApplyArgs),
    /// Print dashboards of Superset as the project's YAML
    Export(ExportArgs),
}

/// `vitalake superset plan`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake superset plan examples/remote-care\n  vitalake superset plan --json | jq .changes\n\n\
                  The status is 0 when Superset is as the project says, and 4 when something would change."
)]
pub struct PlanArgs {
    /// The project directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `vitalake superset apply`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake superset apply examples/remote-care\n  vitalake superset apply --adopt\n  vitalake superset apply --compare\n\n\
                  The status is 0 when all is done, 1 when something stands in the way or Superset refused, 3 when it is away, \
                  and 4 when all is done and a chart has no data, or another than our own SQL."
)]
pub struct ApplyArgs {
    /// The project directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// Take over what somebody made by hand where ours would be
    #[arg(long)]
    pub adopt: bool,
    /// Compare the data of charts also when there is nothing to do
    #[arg(long)]
    pub compare: bool,
    /// Send everything again, also where nothing differs: a changed password of the database is not seen
    #[arg(long)]
    pub force: bool,
    /// The server to compare charts with [default: the project's http.listen]
    #[arg(long, env = "VITALAKE_SERVER", value_name = "URL", hide_env_values = true)]
    pub server: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `vitalake superset export`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake superset export\n  vitalake superset export --dashboard ward-by-hand --out my-lake\n\n\
                  What the project's files cannot say is listed on standard error; the status is then 4."
)]
pub struct ExportArgs {
    /// The project directory
    #[arg(default_value = ".", value_name = "DIR")]
    pub dir: PathBuf,
    /// A dashboard of Superset by its address or number [default: those of the project]
    #[arg(long, value_name = "SLUG")]
    pub dashboard: Vec<String>,
    /// Write the files into this folder, over those that are there, instead of printing them
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Plans, applies or exports.
///
/// # Errors
/// When the project is not valid, Superset is away or refuses, or something stands in the way.
pub fn run(args: &SupersetArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        SupersetCommand::Plan(args) => plan(args),
        SupersetCommand::Apply(args) => apply(args),
        SupersetCommand::Export(args) => export(args),
    }
}

/// A valid project with what is made of it.
struct Wanted {
    config: Config,
    project: Project,
    dashboards: Vec<Dashboard>,
    measures: Vec<MeasureSet>,
    uri: Hidden,
    runbooks: String,
}

impl Wanted {
    fn read(dir: &Path) -> anyhow::Result<Self> {
        let overrides = Overrides::default();
        let checked = validate::check(dir, &overrides);
        if has_errors(&checked.diagnostics) {
            let findings = validate::in_words(&checked.diagnostics, Style::stderr());
            let message = format!("the project at {} is not valid\n{findings}", dir.display());
            return Err(Failure::input(message, "mend what is listed; `vitalake validate` checks it again").into());
        }
        let config = checked.configuration(&overrides)?;
        let (uri, runbooks) = (config.superset_database_uri(), format!("{}/runbooks", config.reached_at()));
        let project = checked.project;
        let dashboards = project.dashboards.iter().map(|file| file.dashboard.clone()).collect();
        let measures = project.measures.iter().map(|file| file.measures.clone()).collect();
        Ok(Self { config, project, dashboards, measures, uri, runbooks })
    }

    fn source(&self) -> Source<'_> {
        Source {
            project: &self.config.name,
            dashboards: &self.dashboards,
            measures: &self.measures,
            contracts: &self.project.contracts,
            database: Database { uri: self.uri.expose(), schema: SCHEMA },
            gates: BTreeMap::new(),
            managed_at: "",
            runbooks_at: &self.runbooks,
        }
    }

    fn assets(&self) -> anyhow::Result<Vec<Asset>> {
        let mut assets = assets_of(&Bundle::of(&self.source())?.files).map_err(failed)?;
        mark(&mut assets, &self.config.name);
        Ok(assets)
    }

    fn connect(&self) -> anyhow::Result<Client> {
        let superset = &self.config.superset;
        let (Some(url), Some(user), Some(password)) = (&superset.url, &superset.user, &superset.password) else {
            let help = "set superset.url, superset.user and superset.password, the last as ${NAME}, or by VITALAKE_SUPERSET__URL and so on";
            return Err(Failure::input("the configuration does not say which Superset", help).into());
        };
        let login = Login { url: url.clone(), user: user.clone(), password: password.expose().to_owned() };
        Client::connect(login).map_err(failed)
    }
}

fn failed(error: Error) -> anyhow::Error {
    let (message, help) = (error.to_string(), error.help());
    if error.is_away() { Failure::unreachable(message, help).into() } else { Failure::input(message, help).into() }
}

fn plan(args: &PlanArgs) -> anyhow::Result<ExitCode> {
    let wanted = Wanted::read(&args.dir)?;
    let assets = wanted.assets()?;
    let (plan, _) = plan_all(&wanted.connect()?, &assets, &wanted.config.name).map_err(failed)?;
    if args.json {
        output::json(&plan)?
    } else {
        print(&plan)?
    }
    Ok(if plan.changes_something() { ExitCode::from(NOT_WELL) } else { ExitCode::SUCCESS })
}

fn print(plan: &Plan) -> anyhow::Result<()> {
    if !plan.changes.is_empty() {
        let word = |change: &plan::Change| json!(change.action).as_str().unwrap_or_default().to_owned();
        let row = |change: &plan::Change| -> Vec<Value> {
            vec![word(change).into(), change.kind.into(), change.name.as_str().into(), change.what.join("; ").into()]
        };
        let columns = [("action", "VARCHAR"), ("kind", "VARCHAR"), ("name", "VARCHAR"), ("what", "VARCHAR")];
        table::print(&table::answer(&columns, plan.changes.iter().map(row).collect()))?;
    }
    let mut out = output::stdout();
    let to_do = plan.changes.iter().filter(|change| change.action != plan::Action::Keep).count();
    writeln!(out, "{} to do, {} as it should be", counted(to_do as u64, "thing", "things"), plan.unchanged)?;
    out.flush()?;
    Ok(())
}

fn apply(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let wanted = Wanted::read(&args.dir)?;
    let (assets, client) = (wanted.assets()?, wanted.connect()?);
    let project = &wanted.config.name;
    let (mut plan, there) = plan_all(&client, &assets, project).map_err(failed)?;
    if args.force {
        plan.send_again(&assets);
    }
    let refused = |change: &&plan::Change| !args.adopt || change.action == plan::Action::Refuse;
    if let Some(change) = plan.in_the_way().find(refused) {
        let message = format!("{} {}: {}", change.kind, change.name, change.what.join("; "));
        let help = match change.action {
            plan::Action::Refuse => {
                "rename or remove it in Superset; ours is there beside it, so it cannot be taken over"
            }
            _ => "rename or remove it in Superset, or take it over with --adopt; `vitalake superset plan` lists all",
        };
        return Err(Failure::input(message, help).into());
    }
    let tell = |step: &str| eprintln!("{} {step}", Style::stderr().dim("superset:"));
    let done = plan::apply(&client, &assets, project, (&plan, there), Utc::now(), &tell).map_err(failed)?;
    let server = args
        .server
        .clone()
        .unwrap_or_else(|| format!("{}://{}", wanted.config.http.scheme(), wanted.config.http.listen));
    let compares = args.compare || plan.changes_something();
    let data = if compares {
        tell("fetching each chart's data");
        compare(&client, &assets, &done.there, &server)
    } else {
        Vec::new()
    };
    if args.json {
        output::json(&json!({ "plan": plan, "dashboards": data }))?;
    } else {
        print(&plan)?;
        print_data(&data)?;
    }
    let is_well = data.iter().all(|dashboard| dashboard.problems.is_empty());
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::from(NOT_WELL) })
}

fn print_data(dashboards: &[DashboardData]) -> anyhow::Result<()> {
    let (mut out, style) = (output::stdout(), Style::stdout());
    for dashboard in dashboards {
        let charts = counted(dashboard.charts as u64, "chart", "charts");
        let (fetched, same) = (dashboard.fetched, dashboard.same);
        writeln!(
            out,
            "{}: {fetched} of {charts} have data, {same} the same as our own SQL gives",
            dashboard.dashboard
        )?;
        for note in &dashboard.not_compared {
            writeln!(out, "  {note}")?;
        }
        for problem in &dashboard.problems {
            writeln!(out, "  {}", style.red(problem))?;
        }
    }
    out.flush()?;
    Ok(())
}

fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let wanted = Wanted::read(&args.dir)?;
    let client = wanted.connect()?;
    let mut ids = Vec::new();
    for name in &args.dashboard {
        let found = client.asset(AssetKind::Dashboard, name).map_err(failed)?;
        let id = found.and_then(|found| found.get("id")?.as_i64());
        let missing = || Failure::input(format!("Superset has no dashboard {name}"), "give the end of its address");
        ids.push(id.ok_or_else(missing)?);
    }
    if args.dashboard.is_empty() {
        let ours = wanted.assets()?;
        let is_ours = |uuid| ours.iter().any(|asset| asset.uuid == uuid);
        let listed = client.list(AssetKind::Dashboard).map_err(failed)?;
        ids.extend(listed.iter().filter(|listed| is_ours(listed.uuid)).map(|listed| listed.id));
    }
    let mut assets = assets_of(&client.export(AssetKind::Dashboard, &ids).map_err(failed)?).map_err(failed)?;
    plan::unmark(&mut assets);
    let read: Vec<(String, Value)> = assets.into_iter().map(|asset| (asset.path, asset.body)).collect();
    give(&exported_of(&read, &wanted.source()), args.out.as_deref())
}

fn give(exported: &Exported, folder: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut out = output::stdout();
    for (path, text) in &exported.files {
        match folder {
            None => write!(out, "# {path}\n{text}\n")?,
            Some(folder) => {
                let path = folder.join(path);
                path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                std::fs::write(&path, text)?;
                writeln!(out, "{}", path.display())?;
            }
        }
    }
    out.flush()?;
    for refusal in &exported.refused {
        eprintln!("{} {}: {}", Style::stderr().yellow("left out:"), refusal.what, refusal.reason);
    }
    Ok(if exported.refused.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NOT_WELL) })
}
