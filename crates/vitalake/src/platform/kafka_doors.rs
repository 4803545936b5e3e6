//! Who comes in by the embedded Kafka endpoint: the clients of HTTP, under the same names, tokens and roles.
//!
//! Invariant: whoever reads a topic's records may see all of its raw dataset, since records cannot be masked.

use std::collections::BTreeMap;
use std::sync::Arc;

use vitalake_contract::{Contract, Source};
use vitalake_ingest::kafka;
use vitalake_runtime::config::access::Action;
use vitalake_serve::http::{Doors, Pass};
use vitalake_serve::session::Sessions;

/// The way in for Kafka's clients.
#[derive(Clone)]
pub struct KafkaDoors {
    doors: Arc<Doors>,
    sessions: Sessions,
    /// The raw dataset of each topic.
    datasets: Arc<BTreeMap<String, String>>,
}

impl std::fmt::Debug for KafkaDoors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaDoors").field("topics", &self.datasets.len()).finish_non_exhaustive()
    }
}

impl KafkaDoors {
    /// Doors in front of these contracts' topics; none where nobody has to say who he is.
    #[must_use]
    pub fn of(doors: &Arc<Doors>, sessions: &Sessions, contracts: &[Arc<Contract>]) -> Option<Self> {
        let topic = |contract: &Arc<Contract>| match &contract.source {
            Some(Source::Stream { topic, .. }) => Some((topic.clone(), contract.dataset.to_string())),
            _ => None,
        };
        let datasets = Arc::new(contracts.iter().filter_map(topic).collect());
        doors.is_locked().then(|| Self { doors: Arc::clone(doors), sessions: sessions.clone(), datasets })
    }
}

impl kafka::Doors for KafkaDoors {
    fn enter(&self, name: &str, secret: &str) -> Option<Arc<dyn kafka::Rights>> {
        let pass = self.doors.pass(Some(name), secret).ok()?;
        Some(Arc::new(Client { doors: self.clone(), pass }))
    }
}

#[derive(Debug)]
struct Client {
    doors: KafkaDoors,
    pass: Pass,
}

impl kafka::Rights for Client {
    fn name(&self) -> &str {
        self.pass.identity().name()
    }

    fn is_good(&self) -> bool {
        self.doors.doors.holds(&self.pass)
    }

    fn writes(&self, topic: &str) -> bool {
        // Records of one subject alone are taken by HTTP, where each is looked at.
        let is_bound = self.pass.identity().subject().is_some();
        !is_bound
            && self.doors.datasets.contains_key(topic)
            && self.doors.sessions.may(self.pass.identity(), Action::Deliver)
    }

    fn reads(&self, topic: &str) -> bool {
        let dataset = self.doors.datasets.get(topic);
        dataset.is_some_and(|dataset| self.doors.sessions.shows_whole(self.pass.identity(), "raw", dataset))
    }
}
