//! Who comes in by Kafka's protocol, and what he may do there: asked of whoever embeds the endpoint.
//!
//! A connection says its name once, by SASL, before anything else of it is answered. Invariant: where doors are given,
//! nothing is told to and nothing is taken from a connection without a name.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// A connection's bytes, as they are after TLS.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Puts TLS around connections.
pub trait Secure: fmt::Debug + Send + Sync {
    /// Agrees with a client. One that does not agree is gone.
    fn accept(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Secured>>;
}

/// A connection under TLS.
pub struct Secured {
    /// Its bytes in the clear.
    pub stream: Box<dyn Stream>,
    /// Who the client is, where its certificate says so.
    pub rights: Option<Arc<dyn Rights>>,
}

/// Lets clients in.
pub trait Doors: fmt::Debug + Send + Sync {
    /// The mechanisms of SASL that are spoken, the strongest first.
    fn mechanisms(&self) -> Vec<&'static str>;

    /// Begins a proof by a mechanism; none where it is not spoken.
    fn begin(&self, mechanism: &str, peer: SocketAddr) -> Option<Box<dyn Proof>>;
}

/// One client's way to prove who it is.
pub trait Proof: fmt::Debug + Send {
    /// Takes the client's next message. A refusal comes as late as it is to.
    fn step<'p>(&'p mut self, message: &'p [u8]) -> BoxFuture<'p, Step>;
}

/// What becomes of a message.
#[derive(Debug)]
pub enum Step {
    /// It goes on with this.
    More(Vec<u8>),
    /// It is known who that is; this is the last answer.
    Known(Arc<dyn Rights>, Vec<u8>),
    /// It is not; why, in words for the client.
    Refused(String),
}

/// What one client may do.
pub trait Rights: fmt::Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Whether what it proved still holds; what does not ends its connections.
    fn is_good(&self) -> bool;

    /// How long what it proved holds, in milliseconds; none where it has no end.
    fn left_ms(&self) -> Option<i64>;

    /// Whether it may produce to a topic.
    fn writes(&self, topic: &str) -> bool;

    /// Whether it may read a topic's records as they came.
    fn reads(&self, topic: &str) -> bool;

    /// It asks for a topic's records, and gets them or not. Told at each request.
    fn asks(&self, _topic: &str, _is_let: bool) {}

    /// It sends records to a topic that it may not produce to. Told at each request.
    fn is_refused(&self, _topic: &str) {}
}

/// How far a connection is with saying who it is.
#[derive(Debug, Default)]
enum Stage {
    /// It has said nothing.
    #[default]
    Unknown,
    /// It has named its way to prove itself, or is on it.
    Proving(Box<dyn Proof>),
    /// It is known.
    Known(Arc<dyn Rights>),
    /// It has proved nothing, and is answered nothing more.
    Refused,
}

/// What is told to whoever proves another name on a connection that has one.
const ANOTHER_NAME: &str = "a connection keeps the name that it has proved first; open another for another name";

/// Who a connection is.
#[derive(Debug, Default)]
pub(super) struct Session {
    stage: Mutex<Stage>,
    /// The name that it has proved first: proving it anew, it stays that one.
    name: OnceLock<String>,
}

impl Session {
    /// One whose certificate says who it is.
    pub(super) fn of(rights: Option<Arc<dyn Rights>>) -> Self {
        Self { stage: Mutex::new(rights.map_or(Stage::Unknown, Stage::Known)), name: OnceLock::new() }
    }

    /// Begins to prove itself, also anew.
    pub(super) fn begin(&self, proof: Box<dyn Proof>) {
        let mut stage = self.stage.lock();
        if !matches!(*stage, Stage::Refused) {
            *stage = Stage::Proving(proof);
        }
    }

    /// Takes a message of the proof; none where no proof was begun.
    pub(super) async fn step(&self, message: &[u8]) -> Option<Step> {
        // Nobody else is known while one proves itself: the place is empty meanwhile.
        let stage = std::mem::take(&mut *self.stage.lock());
        let mut proof = match stage {
            Stage::Proving(proof) => proof,
            other => {
                *self.stage.lock() = other;
                return None;
            }
        };
        let step = match proof.step(message).await {
            Step::Known(rights, _) if self.name.get_or_init(|| rights.name().to_owned()) != rights.name() => {
                Step::Refused(ANOTHER_NAME.to_owned())
            }
            step => step,
        };
        *self.stage.lock() = match &step {
            Step::More(_) => Stage::Proving(proof),
            Step::Known(rights, _) => Stage::Known(Arc::clone(rights)),
            Step::Refused(_) => Stage::Refused,
        };
        Some(step)
    }

    /// What it may do; none while it is not known, or no longer.
    pub(super) fn rights(&self) -> Option<Arc<dyn Rights>> {
        match &*self.stage.lock() {
            Stage::Known(rights) if rights.is_good() => Some(Arc::clone(rights)),
            _ => None,
        }
    }
}
