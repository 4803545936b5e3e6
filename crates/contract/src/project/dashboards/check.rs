//! What only the project shows of dashboards: datasets and their columns, and measures of other files.
//!
//! Gives measures the titles, units and formats that their contracts say. Invariant: without a finding every name in a
//! dashboard stands for something of its dataset.

use super::file::did_you_mean;
use super::{DASHBOARDS_MAX, DashboardFile, MeasureFile};
use crate::contract::{Contract, DatasetName, Layer};
use crate::dashboard::{Chart, MeasureSet, TIME, format_of, time_of};
use crate::diagnostic::Diagnostic;

/// Checks dashboards and measures against contracts, and completes them.
pub(in crate::project) fn check(
    dashboards: &mut [DashboardFile],
    measures: &mut [MeasureFile],
    contracts: &[&Contract],
    found: &mut Vec<Diagnostic>,
) {
    // Measures of a file with errors are not there: charts of them would seem wrong because of that alone.
    let are_measures_whole = !found.iter().any(|finding| finding.is_error() && finding.file.starts_with("measures/"));
    for file in measures.iter_mut() {
        match serving(&file.measures.dataset, contracts) {
            Ok(contract) => {
                complete(&mut file.measures, contract);
                check_measures(file, contract, found);
            }
            Err((message, help)) => found.push(file.error_at("measures", "unknown-dataset", message).help(help)),
        }
    }
    if let Some(first) = dashboards.get(DASHBOARDS_MAX) {
        let message = format!("the project has {} dashboards, and at most {DASHBOARDS_MAX}", dashboards.len());
        found.push(first.error_at("title", "too-many", message).help("remove some"));
    }
    for file in dashboards.iter_mut().filter(|_| are_measures_whole) {
        for name in file.dashboard.charts().map(|(name, _)| name.to_owned()).collect::<Vec<_>>() {
            Checked { file, contracts, measures, found }.chart(&name);
        }
        filters(file, contracts, measures, found);
    }
}

/// The serving contract of a dataset, or what is wrong with the name and what to do.
fn serving<'c>(dataset: &DatasetName, contracts: &[&'c Contract]) -> Result<&'c Contract, (String, String)> {
    let named = contracts.iter().find(|contract| contract.dataset == *dataset);
    match named {
        Some(contract) if contract.layer == Layer::Serving => Ok(contract),
        Some(contract) => {
            let message = format!("{dataset} is a {} dataset, and only serving datasets are charted", contract.layer);
            Err((message, "write a model that derives a serving dataset of it, and chart that".to_owned()))
        }
        None => {
            let names = contracts.iter().filter(|contract| contract.layer == Layer::Serving);
            let help = did_you_mean(dataset.as_str(), names.map(|contract| contract.dataset.as_str()))
                .unwrap_or_else(|| format!("add its contract: contracts/serving/{dataset}.yaml"));
            Err((format!("there is no serving dataset {dataset}"), help))
        }
    }
}

fn complete(set: &mut MeasureSet, contract: &Contract) {
    for measure in &mut set.measures {
        let (unit, format) = format_of(&measure.sql, contract);
        if measure.unit.is_empty() {
            measure.unit = unit;
        }
        if measure.format.is_empty() {
            measure.format = format;
        }
    }
}

fn check_measures(file: &MeasureFile, contract: &Contract, found: &mut Vec<Diagnostic>) {
    let has_column = |name: &str| contract.columns.iter().any(|column| *column.name == *name);
    for measure in file.measures.measures.iter().filter(|measure| has_column(&measure.name) || measure.name == TIME) {
        let message =
            format!("{} has a column `{}`: a measure needs a name of its own", contract.dataset, measure.name);
        let key = format!("measures.{}", measure.name);
        found.push(file.error_at(&key, "duplicate-name", message).help(format!("name it `{}_total`", measure.name)));
    }
    for dimension in &file.measures.dimensions {
        let key = format!("dimensions.{}", dimension.name);
        if dimension.sql.is_none() && !has_column(&dimension.name) {
            let message = format!("{} has no column `{}`", contract.dataset, dimension.name);
            let help = did_you_mean(&dimension.name, contract.columns.iter().map(|column| &*column.name))
                .unwrap_or_else(|| "give its `sql`, or name a column of the contract".to_owned());
            found.push(file.error_at(&key, "unknown-column", message).help(help));
        } else if dimension.sql.is_some() && has_column(&dimension.name) {
            let message = format!("{} has a column `{}` already", contract.dataset, dimension.name);
            found.push(file.error_at(&key, "duplicate-name", message).help("give the dimension another name"));
        } else if file.measures.measure(&dimension.name).is_some() {
            let message = format!("`{}` is a measure, too", dimension.name);
            found.push(file.error_at(&key, "duplicate-name", message).help("rename one of the two"));
        }
    }
}

/// The names that rows of a dataset can be grouped by, [`TIME`] among them where it has a time.
fn dimensions<'a>(contract: &'a Contract, set: Option<&'a MeasureSet>) -> Vec<&'a str> {
    let computed = set.into_iter().flat_map(|set| &set.dimensions).filter(|dimension| dimension.sql.is_some());
    let time = time_of(contract).map(|_| TIME);
    // The time column has one name in charts.
    let is_time = |name: &str| time_of(contract).is_some_and(|time| *time.column.name == *name);
    let columns = contract.columns.iter().map(|column| &*column.name).filter(move |name| !is_time(name));
    columns.chain(computed.map(|dimension| dimension.name.as_str())).chain(time).collect()
}

fn set_of<'m>(measures: &'m [MeasureFile], dataset: &DatasetName) -> Option<&'m MeasureSet> {
    measures.iter().map(|file| &file.measures).find(|set| set.dataset == *dataset)
}

struct Checked<'a> {
    file: &'a DashboardFile,
    contracts: &'a [&'a Contract],
    measures: &'a [MeasureFile],
    found: &'a mut Vec<Diagnostic>,
}

impl Checked<'_> {
    fn error(&mut self, key: &str, code: &'static str, message: String, help: String) {
        self.found.push(self.file.error_at(key, code, message).help(help));
    }

    fn chart(&mut self, name: &str) {
        let Some((_, chart)) = self.file.dashboard.charts().find(|(known, _)| *known == name) else { return };
        let contract = match serving(&chart.dataset, self.contracts) {
            Ok(contract) => contract,
            Err((message, help)) => {
                let own = format!("charts.{name}.dataset");
                let is_own = self.file.places.0.iter().any(|(key, _)| *key == own);
                return self.error(if is_own { &own } else { "dataset" }, "unknown-dataset", message, help);
            }
        };
        let set = set_of(self.measures, &chart.dataset);
        self.names_of_measures(name, chart, set);
        let known = dimensions(contract, set);
        for (key, dimension) in places_of_dimensions(chart) {
            if !known.contains(&dimension) {
                let (message, help) = unknown_dimension(contract, dimension, &known);
                self.error(&format!("charts.{name}.{key}"), "unknown-column", message, help);
            }
        }
        if chart.grain.is_some() && time_of(contract).is_none() {
            let message = format!("{} has no time to group by", contract.dataset);
            let help = "remove the key, or give the contract a `timeColumn`".to_owned();
            self.error(&format!("charts.{name}.grain"), "no-time", message, help);
        }
    }

    fn names_of_measures(&mut self, name: &str, chart: &Chart, set: Option<&MeasureSet>) {
        let known: Vec<&str> =
            set.into_iter().flat_map(|set| &set.measures).map(|measure| measure.name.as_str()).collect();
        for (at, measure) in chart.form.measures().into_iter().enumerate() {
            if known.contains(&measure) {
                continue;
            }
            let message = format!("{} has no measure `{measure}`", chart.dataset);
            let help = match did_you_mean(measure, known.iter().copied()) {
                Some(near) => near,
                None if known.is_empty() => {
                    format!("write measures/{}.yaml with `measures:` and one line for each", chart.dataset)
                }
                None => format!("known in measures/{}.yaml: {}", chart.dataset, known.join(", ")),
            };
            let several = format!("charts.{name}.measures.{at}");
            let is_list = self.file.places.0.iter().any(|(key, _)| *key == several);
            let one = format!("charts.{name}.measure");
            self.error(if is_list { &several } else { &one }, "unknown-measure", message, help);
        }
    }
}

fn unknown_dimension(contract: &Contract, dimension: &str, known: &[&str]) -> (String, String) {
    if dimension == TIME {
        let message = format!("{} has no time: neither a required timestamp nor a required date", contract.dataset);
        return (message, "chart another dataset along time, or give the contract a `timeColumn`".to_owned());
    }
    if time_of(contract).is_some_and(|time| *time.column.name == *dimension) {
        return (format!("`{dimension}` is the time of {}", contract.dataset), "write `time`".to_owned());
    }
    let message = format!("{} has no column `{dimension}`", contract.dataset);
    let help = did_you_mean(dimension, known.iter().copied()).unwrap_or_else(|| format!("known: {}", known.join(", ")));
    (message, help)
}

/// What a chart groups by, with the key that says so.
fn places_of_dimensions(chart: &Chart) -> Vec<(String, &str)> {
    use crate::dashboard::Form;
    fn listed<'a>(key: &str, names: &'a [String]) -> Vec<(String, &'a str)> {
        names.iter().enumerate().map(|(at, name)| (format!("{key}.{at}"), name.as_str())).collect()
    }
    match &chart.form {
        Form::Number { trend: true, .. } => vec![("trend".to_owned(), TIME)],
        Form::Number { .. } => Vec::new(),
        Form::Series { x, by, .. } => std::iter::once(("x".to_owned(), x.as_str())).chain(listed("by", by)).collect(),
        Form::Table { by, .. } => listed("by", by),
        Form::Rows { columns } => listed("columns", columns),
        Form::Heatmap { x, y, .. } => vec![("x".to_owned(), x.as_str()), ("y".to_owned(), y.as_str())],
        Form::Pivot { rows, columns, .. } => [listed("rows", rows), listed("columns", columns)].concat(),
    }
}

/// Gives each filter the first dataset of the page that has its dimension.
fn filters(file: &mut DashboardFile, contracts: &[&Contract], measures: &[MeasureFile], found: &mut Vec<Diagnostic>) {
    let mut charted: Vec<&Contract> = Vec::new();
    for (_, chart) in file.dashboard.charts() {
        if let Ok(contract) = serving(&chart.dataset, contracts)
            && !charted.iter().any(|known| known.dataset == contract.dataset)
        {
            charted.push(contract);
        }
    }
    let known: Vec<(&Contract, Vec<&str>)> =
        charted.iter().map(|contract| (*contract, dimensions(contract, set_of(measures, &contract.dataset)))).collect();
    for (at, filter) in file.dashboard.filters.iter_mut().enumerate() {
        let holder = known.iter().find(|(_, names)| names.contains(&filter.dimension.as_str()));
        filter.dataset = holder.map(|(contract, _)| contract.dataset.clone());
        if holder.is_none() && !known.is_empty() {
            let all = known.iter().flat_map(|(_, names)| names.iter().copied());
            let message = format!("no dataset of the page has a column `{}`", filter.dimension);
            let help = did_you_mean(&filter.dimension, all)
                .unwrap_or_else(|| "name a column of a dataset that is charted here, or `time`".to_owned());
            let (path, text) = (&file.path, &file.text);
            let key = format!("filters.{at}");
            found.push(super::error_at(&file.places, (path, text), &key, "unknown-column", message).help(help));
        }
    }
}
