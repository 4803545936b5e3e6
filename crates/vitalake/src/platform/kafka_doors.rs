//! Who comes in by the embedded Kafka endpoint: the clients of HTTP, under the same names, tokens and roles.
//!
//! Invariant: whoever reads a topic's records may see all of its raw dataset, since records cannot be masked.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use vitalake_contract::{Contract, Source};
use vitalake_ingest::kafka;
use vitalake_ops::audit::{Action, Entry, Outcome, Surface, Who};
use vitalake_serve::names::{Client, Credential, Names, Peer, Said, Sasl, Shown};
use vitalake_serve::session::Sessions;
use vitalake_serve::tls::Certificate;

/// The way in for Kafka's clients.
#[derive(Clone)]
pub struct KafkaDoors {
    names: Arc<Names>,
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
    pub fn of(names: &Arc<Names>, sessions: &Sessions, contracts: &[Arc<Contract>]) -> Option<Self> {
        let topic = |contract: &Arc<Contract>| match &contract.source {
            Some(Source::Stream { topic, .. }) => Some((topic.clone(), contract.dataset.to_string())),
            _ => None,
        };
        let datasets = Arc::new(contracts.iter().filter_map(topic).collect());
        names.is_locked().then(|| Self { names: Arc::clone(names), sessions: sessions.clone(), datasets })
    }
}

impl kafka::Doors for KafkaDoors {
    fn mechanisms(&self) -> Vec<&'static str> {
        self.names.mechanisms()
    }

    fn begin(&self, mechanism: &str, peer: SocketAddr) -> Option<Box<dyn kafka::Proof>> {
        let sasl = self.names.sasl(mechanism, Peer(Some(peer.ip())))?;
        Some(Box::new(Proof { doors: self.clone(), sasl }))
    }
}

/// What Kafka's protocol is spoken under, and who shows a certificate there.
#[derive(Debug, Clone)]
pub struct KafkaTls {
    /// The server's certificate.
    pub certificate: Arc<Certificate>,
    /// Who certificates are of, where clients have to say who they are.
    pub doors: Option<KafkaDoors>,
}

impl kafka::Secure for KafkaTls {
    fn accept(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<kafka::Secured>> {
        let (acceptor, doors) = (self.certificate.acceptor(), self.doors.clone());
        async move {
            let peer = Peer(stream.peer_addr().ok().map(|peer| peer.ip()));
            let stream = acceptor.accept(stream).await?;
            let shown = Shown::of(stream.get_ref().1.peer_certificates());
            let rights: Option<Arc<dyn kafka::Rights>> = match (doors, shown) {
                (Some(doors), Some(shown)) => {
                    // Who is not known by a certificate may still prove a name by SASL.
                    let client = doors.names.prove(Credential::Certificate(&shown), peer).await.ok();
                    client.map(|client| Arc::new(Rights::of(doors, client)) as _)
                }
                _ => None,
            };
            Ok(kafka::Secured { stream: Box::new(stream), rights })
        }
        .boxed()
    }
}

#[derive(Debug)]
struct Proof {
    doors: KafkaDoors,
    sasl: Sasl,
}

impl kafka::Proof for Proof {
    fn step<'p>(&'p mut self, message: &'p [u8]) -> BoxFuture<'p, kafka::Step> {
        async move {
            match self.sasl.step(message).await {
                Said::More(answer) => kafka::Step::More(answer),
                Said::Known(client, answer) => {
                    kafka::Step::Known(Arc::new(Rights::of(self.doors.clone(), client)), answer)
                }
                Said::Refused(refused) => {
                    self.doors.sessions.audit().note_stranger(Surface::Kafka);
                    kafka::Step::Refused(refused.to_string())
                }
            }
        }
        .boxed()
    }
}

#[derive(Debug)]
struct Rights {
    doors: KafkaDoors,
    client: Client,
    /// What of this connection is written down already: a client asks many times a second.
    told: Mutex<BTreeSet<(String, bool, bool)>>,
}

impl Rights {
    /// Writes down that somebody is known.
    fn of(doors: KafkaDoors, client: Client) -> Self {
        let entry = Entry::new(Who::from(client.identity()), Surface::Kafka, Action::Login);
        doors.sessions.audit().note(entry);
        Self { doors, client, told: Mutex::default() }
    }

    /// Writes down, once for this connection, what it does with a topic that there is.
    fn tell(&self, topic: &str, action: Action, is_let: bool) {
        let Some(dataset) = self.doors.datasets.get(topic) else { return };
        if self.told.lock().insert((dataset.clone(), action == Action::Read, is_let)) {
            let entry =
                Entry::new(Who::from(self.client.identity()), Surface::Kafka, action).of(format!("raw.{dataset}"));
            let entry = if is_let { entry } else { entry.ended(Outcome::Refused, Some("role")) };
            self.doors.sessions.audit().note(entry);
        }
    }
}

impl kafka::Rights for Rights {
    fn name(&self) -> &str {
        self.client.identity().name()
    }

    fn is_good(&self) -> bool {
        self.doors.names.holds(&self.client)
    }

    fn left_ms(&self) -> Option<i64> {
        self.doors.names.left_ms(&self.client)
    }

    fn writes(&self, topic: &str) -> bool {
        let dataset = self.doors.datasets.get(topic);
        let identity = self.client.identity();
        // Whose a record is would have to be read from each: a proof for one subject's is not good here.
        identity.scope().subject.is_none()
            && dataset.is_some_and(|dataset| self.doors.sessions.delivers(identity, dataset))
    }

    fn reads(&self, topic: &str) -> bool {
        let dataset = self.doors.datasets.get(topic);
        dataset.is_some_and(|dataset| self.doors.sessions.shows_whole(self.client.identity(), "raw", dataset))
    }

    fn asks(&self, topic: &str, is_let: bool) {
        self.tell(topic, Action::Read, is_let);
    }

    fn is_refused(&self, topic: &str) {
        self.tell(topic, Action::Produce, false);
    }
}
