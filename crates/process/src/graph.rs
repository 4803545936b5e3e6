//! Which model reads what: inputs resolved against the contracts, the order in which models follow one another, and
//! the refusals that only the whole project shows. Between parsing and planning.
//!
//! Pure. Invariant: in a [`Graph`] that exists every input is a table with a contract, and no model is driven by a rollup.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use vitalake_contract::{Contract, DatasetName, Delivery, Layer, Source};

use crate::model::{Kind, Model, TableUse};
use crate::problem::{ModelProblem, Place, nearest};

/// All contracts of a project, by dataset.
pub type Contracts = BTreeMap<DatasetName, Arc<Contract>>;

/// How rows come to a table that a model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feeding {
    /// Rows come, and none ever goes.
    Grows,
    /// Rows come, and may be taken back.
    Corrected,
    /// Each change brings the whole anew.
    Whole,
}

/// How rows come to a table of the project.
pub(crate) fn feeding(models: &[Model], contracts: &Contracts, table: &str) -> Feeding {
    feeding_of(models, contracts, table, models.len())
}

/// The depth guards against cycles, which are named elsewhere.
fn feeding_of(models: &[Model], contracts: &Contracts, table: &str, depth: usize) -> Feeding {
    let contract = DatasetName::new(table).ok().and_then(|name| contracts.get(&name));
    if let Some(contract) = contract.filter(|contract| contract.layer == Layer::Raw) {
        return match (&contract.source, contract.delivery) {
            (Some(Source::Feed), Delivery::Replace) => Feeding::Whole,
            (Some(Source::Feed), Delivery::Append) => Feeding::Corrected,
            _ => Feeding::Grows,
        };
    }
    let Some(maker) = models.iter().find(|model| model.dataset.as_str() == table) else { return Feeding::Corrected };
    match (maker.kind, maker.tables.as_slice()) {
        (Kind::Full, _) => Feeding::Whole,
        (Kind::Append, [driving]) if depth > 0 => match feeding_of(models, contracts, &driving.table, depth - 1) {
            Feeding::Grows => Feeding::Grows,
            Feeding::Corrected | Feeding::Whole => Feeding::Corrected,
        },
        _ => Feeding::Corrected,
    }
}

/// A problem and the model that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphProblem {
    /// The model's dataset.
    pub model: DatasetName,
    /// What is wrong.
    pub problem: ModelProblem,
}

/// The models of a project in an order in which every input is made before it is read.
#[derive(Clone, Debug)]
pub struct Graph {
    order: Vec<usize>,
    inputs: Vec<Vec<DatasetName>>,
}

impl Graph {
    /// Resolves the models against each other and the contracts.
    ///
    /// # Errors
    /// Every problem of every model.
    pub fn build(models: &[Model], contracts: &Contracts) -> Result<Self, Vec<GraphProblem>> {
        let mut scope = Scope { models, contracts, by_name: HashMap::new(), problems: Vec::new() };
        scope.index();
        let inputs: Vec<Vec<DatasetName>> = models.iter().map(|model| scope.resolve(model)).collect();
        let order = scope.order(&inputs);
        if scope.problems.is_empty() { Ok(Self { order, inputs }) } else { Err(scope.problems) }
    }

    /// Indices into the models given, inputs first.
    #[must_use]
    pub fn order(&self) -> &[usize] {
        &self.order
    }

    /// The datasets that a model reads, the driving one first.
    #[must_use]
    pub fn inputs(&self, model: usize) -> &[DatasetName] {
        self.inputs.get(model).map_or(&[], Vec::as_slice)
    }
}

struct Scope<'a> {
    models: &'a [Model],
    contracts: &'a Contracts,
    by_name: HashMap<&'a str, usize>,
    problems: Vec<GraphProblem>,
}

impl<'a> Scope<'a> {
    fn problem(&mut self, model: &Model, place: Place, message: String, help: impl Into<String>) {
        let problem = ModelProblem::at(place, message, help);
        self.problems.push(GraphProblem { model: model.dataset.clone(), problem });
    }

    fn index(&mut self) {
        for (index, model) in self.models.iter().enumerate() {
            let name = &model.dataset;
            if self.by_name.insert(name.as_str(), index).is_some() {
                self.problem(model, model.place, format!("{name} has two models"), "keep one file for each dataset");
            }
            match self.contracts.get(name) {
                None => {
                    let near = nearest(name.as_str(), self.contracts.keys().map(DatasetName::as_str));
                    let help = near.map_or_else(
                        || format!("add contracts/{}/{name}.yaml", model.layer),
                        |near| format!("add contracts/{}/{name}.yaml; or did you mean {near:?}?", model.layer),
                    );
                    self.problem(model, model.place, format!("the model's dataset {name} has no contract"), help);
                }
                Some(contract) if contract.layer != model.layer => {
                    let layer = contract.layer;
                    let message = format!("the model is in {}, its contract in {layer}", model.layer);
                    self.problem(model, model.place, message, format!("move the model to models/{layer}/"));
                }
                Some(_) => {}
            }
            if model.layer == Layer::Raw {
                let message = format!("raw.{name} is what arrives, no model makes it");
                self.problem(model, model.place, message, "move the model to models/curated/ or models/serving/");
            }
        }
    }

    fn resolve(&mut self, model: &Model) -> Vec<DatasetName> {
        let mut inputs = Vec::new();
        for (position, table) in model.tables.iter().enumerate() {
            let Some(contract) = self.contract_of(model, table) else { continue };
            inputs.push(contract.dataset.clone());
            if model.kind == Kind::Full {
                continue;
            }
            if position == 0 {
                self.check_driving(model, table, &contract);
                self.check_sequence(model, table);
            } else if !self.delivered(&contract.dataset, 0) && !self.is_whole_by_itself(&contract.dataset) {
                self.problem(
                    model,
                    table.place,
                    format!("{}.{} is a stream, and a stream can only be joined to delivered tables", table.schema, table.table),
                    "put the stream first in FROM and join it to raw datasets with `source: feed`, to models of such, or to models of kind upsert or full",
                );
            }
        }
        inputs
    }

    fn contract_of(&mut self, model: &Model, table: &TableUse) -> Option<Arc<Contract>> {
        let TableUse { schema, table: name, place, .. } = table;
        if schema != "raw" && schema != "curated" {
            self.problem(
                model,
                *place,
                format!("a model cannot read {schema}.{name}"),
                "models read raw.x and curated.x",
            );
            return None;
        }
        let found =
            self.contracts.iter().find(|(known, _)| known.as_str() == name).map(|(_, contract)| Arc::clone(contract));
        match found {
            Some(contract) if contract.layer.as_str() == schema => {
                if contract.layer == Layer::Curated && !self.by_name.contains_key(name.as_str()) {
                    let message = format!("no model makes {schema}.{name}");
                    self.problem(model, *place, message, format!("add models/{schema}/{name}.sql"));
                    return None;
                }
                Some(contract)
            }
            Some(contract) => {
                let help = if contract.layer == Layer::Serving {
                    "models read raw.x and curated.x".to_owned()
                } else {
                    format!("did you mean {}.{name}?", contract.layer)
                };
                self.problem(model, *place, format!("there is no {schema}.{name}"), help);
                None
            }
            None => {
                let near = self.contracts.values().filter(|c| c.layer.as_str() == schema).map(|c| c.dataset.as_str());
                let help = nearest(name, near).map_or_else(
                    || format!("add contracts/{schema}/{name}.yaml"),
                    |near| format!("did you mean {schema}.{near}?"),
                );
                self.problem(model, *place, format!("there is no {schema}.{name}"), help);
                None
            }
        }
    }

    /// What drives a model must say row by row what has changed.
    fn check_driving(&mut self, model: &Model, table: &TableUse, contract: &Contract) {
        let name = format!("{}.{}", table.schema, table.table);
        let maker = self.by_name.get(table.table.as_str()).and_then(|index| self.models.get(*index));
        let changes = match maker.map(|maker| maker.kind) {
            Some(Kind::Rollup) => Some("a rollup"),
            Some(Kind::Full) if model.kind != Kind::Upsert => Some("computed anew"),
            Some(Kind::Append | Kind::Upsert | Kind::Full) | None => None,
        };
        if let Some(what) = changes.filter(|_| contract.layer == Layer::Curated) {
            self.problem(
                model,
                table.place,
                format!("{name} is {what}, whose rows come from no record of their own"),
                format!("read the input of {name} itself instead, or make this model `-- kind: full`"),
            );
        }
    }

    /// What an upsert orders its rows by, which depends on what it reads.
    fn check_sequence(&mut self, model: &Model, table: &TableUse) {
        if model.kind != Kind::Upsert {
            return;
        }
        let name = format!("{}.{}", table.schema, table.table);
        match (feeding(self.models, self.contracts, &table.table), model.sequence.is_empty()) {
            (Feeding::Whole, false) => self.problem(
                model,
                table.place,
                format!("{name} comes as a whole each time, so that its deliveries are the order"),
                "remove the line `-- sequence:`",
            ),
            (Feeding::Grows | Feeding::Corrected, true) => self.problem(
                model,
                table.place,
                format!("the model does not say which of several rows of {name} with one key is the newest"),
                "add `-- sequence: COLUMN`, such as the time of the change",
            ),
            _ => {}
        }
    }

    /// Whether a dataset can be joined whatever it derives from: its rows are few, or one for each key.
    fn is_whole_by_itself(&self, dataset: &DatasetName) -> bool {
        let maker = self.by_name.get(dataset.as_str()).and_then(|index| self.models.get(*index));
        maker.is_some_and(|maker| matches!(maker.kind, Kind::Upsert | Kind::Full))
    }

    /// Whether a dataset's rows come from deliveries alone. The depth guards against cycles, which are named elsewhere.
    fn delivered(&self, dataset: &DatasetName, depth: usize) -> bool {
        let Some(contract) = self.contracts.get(dataset) else { return false };
        if contract.layer == Layer::Raw {
            return matches!(contract.source, Some(Source::Feed));
        }
        let Some(model) = self.by_name.get(dataset.as_str()).and_then(|index| self.models.get(*index)) else {
            return false;
        };
        depth < self.models.len()
            && model.tables.iter().all(|table| {
                DatasetName::new(&table.table).is_ok_and(|name| name != *dataset && self.delivered(&name, depth + 1))
            })
    }

    /// Depth first; a model met while its own inputs are being visited closes a cycle.
    fn order(&mut self, inputs: &[Vec<DatasetName>]) -> Vec<usize> {
        let mut order = Vec::with_capacity(self.models.len());
        let mut state = vec![Visit::New; self.models.len()];
        for start in 0..self.models.len() {
            let mut path = Vec::new();
            self.visit(start, inputs, &mut state, &mut path, &mut order);
        }
        order
    }

    fn visit(
        &mut self,
        at: usize,
        inputs: &[Vec<DatasetName>],
        state: &mut [Visit],
        path: &mut Vec<usize>,
        order: &mut Vec<usize>,
    ) {
        match state.get(at) {
            Some(Visit::New) => {}
            Some(Visit::Open) => return self.cycle(at, path),
            _ => return,
        }
        if let Some(s) = state.get_mut(at) {
            *s = Visit::Open;
        }
        path.push(at);
        for input in inputs.get(at).into_iter().flatten() {
            if let Some(next) = self.by_name.get(input.as_str()).copied() {
                self.visit(next, inputs, state, path, order);
            }
        }
        path.pop();
        if let Some(s) = state.get_mut(at) {
            *s = Visit::Done;
        }
        order.push(at);
    }

    fn cycle(&mut self, at: usize, path: &[usize]) {
        let names: Vec<String> = path
            .iter()
            .skip_while(|index| **index != at)
            .chain(std::iter::once(&at))
            .filter_map(|index| self.models.get(*index))
            .map(|model| format!("{}.{}", model.layer, model.dataset))
            .collect();
        if let Some(model) = self.models.get(at) {
            let message = format!("the models read each other in a circle: {}", names.join(" → "));
            self.problem(model, model.place, message, "take one of these tables out of its model's FROM");
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}
