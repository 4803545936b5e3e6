//! Which tables do not yet show everything that was durable at start, each by itself.
//!
//! A raw table is recovered when its topic has landed, a derived one when the tables it reads are and its model has
//! processed them. What models on Spark make is never waited for: it shows what is committed, since a statement there may
//! take hours. Invariant: a query reads no other table before that, and no table waits for one that it does not read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;
use vitalake_contract::DatasetName;
use vitalake_ingest::landing::TopicLanding;
use vitalake_process::{EngineName, Engines, Model, ModelState, ModelStatus, Models};

/// How often landing is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The tables that are being recovered.
#[derive(Debug)]
pub(super) struct Recovery {
    /// What each derived table is made of, by name, inputs first or not.
    inputs: BTreeMap<DatasetName, Vec<String>>,
    waiting: watch::Sender<BTreeSet<String>>,
}

impl Recovery {
    pub(super) fn new(landings: &[Arc<TopicLanding>], models: &[Model], engines: &Engines) -> Self {
        let inputs: BTreeMap<_, Vec<String>> = models
            .iter()
            .map(|model| (model.dataset.clone(), model.tables.iter().map(|used| used.table.clone()).collect()))
            .collect();
        let raw = landings.iter().map(|landing| landing.table().contract().dataset.to_string());
        let on_spark = on_spark(models, engines);
        let derived = inputs.keys().map(ToString::to_string).filter(|dataset| !on_spark.contains(dataset));
        let waiting = raw.chain(derived).collect();
        Self { inputs, waiting: watch::channel(waiting).0 }
    }

    /// Whether nothing is being recovered any longer.
    pub(super) fn is_over(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Whether a table is being recovered.
    pub(super) fn waits(&self, dataset: &str) -> bool {
        self.waiting.borrow().contains(dataset)
    }

    /// Takes every table off the list when its time has come.
    pub(super) async fn run(&self, landings: &[Arc<TopicLanding>], models: &Models) {
        let raw = join_all(landings.iter().map(|landing| async move {
            while !landing.is_caught_up() {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
            self.over(landing.table().contract().dataset.as_str());
        }));
        let waited_for = self.inputs.iter().filter(|(dataset, _)| self.waits(dataset.as_str()));
        let derived = join_all(waited_for.map(|(dataset, inputs)| async move {
            let mut waiting = self.waiting.subscribe();
            let _ = waiting.wait_for(|waiting| !inputs.iter().any(|input| waiting.contains(input))).await;
            models.caught_up_of(dataset).await;
            self.over(dataset.as_str());
        }));
        futures::future::join(raw, derived).await;
        tracing::info!("ready: everything that was acknowledged before can be read");
    }

    fn over(&self, dataset: &str) {
        self.waiting.send_modify(|waiting| {
            waiting.remove(dataset);
        });
    }

    /// What each table that is being recovered waits for, in words.
    pub(super) fn reasons(&self, landings: &[Arc<TopicLanding>], models: &[ModelStatus]) -> BTreeMap<String, String> {
        let waiting = self.waiting.borrow().clone();
        let reason = |dataset: &String| {
            if let Some(landing) = landings.iter().find(|l| l.table().contract().dataset.as_str() == dataset) {
                return format!("topic {}: {} records to take up", landing.topic(), landing.lag_records());
            }
            let model = models.iter().find(|model| model.dataset.as_str() == dataset);
            match model.filter(|model| model.state == ModelState::Stalled).and_then(|model| model.error.as_ref()) {
                Some(error) => format!("{dataset}, which is stalled: {error}"),
                None => format!("{dataset} to catch up with its inputs"),
            }
        };
        waiting.iter().map(|dataset| (dataset.clone(), reason(dataset))).collect()
    }

    /// Whether everything that is not held up by a stalled model is recovered.
    pub(super) fn is_over_but_for_stalled(&self, models: &[ModelStatus]) -> bool {
        let held_up = self.held_up(models);
        self.waiting.borrow().iter().all(|dataset| held_up.contains(dataset))
    }

    /// The tables whose model is stalled or has failed, and those that are made of them.
    pub(super) fn held_up(&self, models: &[ModelStatus]) -> BTreeSet<String> {
        self.made_of(models, |model| model.state == ModelState::Stalled || model.state.needs_a_person())
    }

    /// The tables of which the model is such a one, and those that are made of them.
    pub(super) fn made_of(&self, models: &[ModelStatus], is: impl Fn(&ModelStatus) -> bool) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        // Inputs come first, so one pass finds all that is behind one.
        for model in models {
            let inputs = self.inputs.get(&model.dataset);
            let behind = inputs.is_some_and(|inputs| inputs.iter().any(|input| found.contains(input)));
            if behind || is(model) {
                found.insert(model.dataset.to_string());
            }
        }
        found
    }
}

/// The tables whose model runs on Spark, and those that are made of them.
fn on_spark(models: &[Model], engines: &Engines) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    loop {
        let behind = |model: &&Model| model.tables.iter().any(|used| found.contains(&used.table));
        let is = |model: &&Model| engines.of(model) == EngineName::Spark || behind(model);
        let all: BTreeSet<String> = models.iter().filter(is).map(|model| model.dataset.to_string()).collect();
        if all.len() == found.len() {
            return all;
        }
        found = all;
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use vitalake_contract::Layer;

    use super::*;

    fn model(layer: Layer, name: &str, text: &str) -> Model {
        Model::parse(DatasetName::new(name).unwrap(), layer, text).unwrap()
    }

    #[test]
    fn what_spark_makes_and_what_is_made_of_that_is_not_waited_for() {
        let models = [
            model(Layer::Serving, "daily", "-- kind: full\nSELECT id FROM curated.hourly"),
            model(Layer::Curated, "hourly", "-- kind: full\nSELECT id FROM curated.slow"),
            model(Layer::Curated, "slow", "-- kind: append\n-- engine: spark\nSELECT id FROM raw.notes"),
            model(Layer::Curated, "plain", "-- kind: append\nSELECT id FROM raw.notes"),
        ];
        let recovery = Recovery::new(&[], &models, &Engines::default());
        assert_eq!(recovery.waiting.borrow().iter().collect::<Vec<_>>(), ["plain"]);
        let all = Engines { otherwise: EngineName::Spark, spark: None };
        assert!(Recovery::new(&[], &models, &all).is_over());
    }
}
