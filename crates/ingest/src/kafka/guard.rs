//! Who comes in by Kafka's protocol, and what he may do there: asked of whoever embeds the endpoint.
//!
//! A connection says its name once, by SASL, before anything else of it is answered. Invariant: where doors are given,
//! nothing is told to and nothing is taken from a connection without a name.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// Lets clients in.
pub trait Doors: fmt::Debug + Send + Sync {
    /// The rights of who proves this name; none where it is not proved.
    fn enter(&self, name: &str, secret: &str) -> Option<Arc<dyn Rights>>;
}

/// What one client may do.
pub trait Rights: fmt::Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &str;

    /// Whether what it proved still holds; what does not ends its connections.
    fn is_good(&self) -> bool;

    /// Whether it may produce to a topic.
    fn writes(&self, topic: &str) -> bool;

    /// Whether it may read a topic's records as they came.
    fn reads(&self, topic: &str) -> bool;
}

/// How far a connection is with saying who it is.
#[derive(Debug, Default)]
enum Stage {
    /// It has said nothing.
    #[default]
    Unknown,
    /// It has named its way to prove itself.
    Handshaken,
    /// It is known.
    Known(Arc<dyn Rights>),
    /// It has proved nothing, and is answered nothing more.
    Refused,
}

/// Who a connection is.
#[derive(Debug, Default)]
pub(super) struct Session(Mutex<Stage>);

impl Session {
    /// Whether the next request may be a proof.
    pub(super) fn awaits_proof(&self) -> bool {
        matches!(*self.0.lock(), Stage::Handshaken)
    }

    /// Begins to prove itself, also anew.
    pub(super) fn handshake(&self) {
        let mut stage = self.0.lock();
        if !matches!(*stage, Stage::Refused) {
            *stage = Stage::Handshaken;
        }
    }

    /// Ends the proof.
    pub(super) fn prove(&self, rights: Option<Arc<dyn Rights>>) {
        *self.0.lock() = rights.map_or(Stage::Refused, Stage::Known);
    }

    /// What it may do; none while it is not known, or no longer.
    pub(super) fn rights(&self) -> Option<Arc<dyn Rights>> {
        match &*self.0.lock() {
            Stage::Known(rights) if rights.is_good() => Some(Arc::clone(rights)),
            _ => None,
        }
    }
}
