//! Who asks. What they may see is decided by [`policy`](crate::policy), when a session is opened.
//!
//! Invariant: two identities are the same only when the same door let them in under the same name.

use std::sync::Arc;

/// What vouches for a client's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Door {
    /// Reaching a loopback address of this machine.
    Loopback,
    /// Being a query of a runbook, whoever opens it: its answer is kept and shown to whoever is called at night.
    Runbook,
    /// A token of its own, whose hash the project holds.
    Token,
}

impl Door {
    /// Its name in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Runbook => "runbook",
            Self::Token => "token",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    door: Door,
    name: String,
    roles: Arc<[Arc<str>]>,
    subject: Option<Arc<str>>,
}

impl Identity {
    /// Whoever can reach a loopback address.
    pub fn local() -> Self {
        Self::new(Door::Loopback, "local")
    }

    /// The queries of runbooks.
    pub fn runbook() -> Self {
        Self::new(Door::Runbook, "runbook")
    }

    /// A client by the name that a door vouches for.
    pub fn new(door: Door, name: impl Into<String>) -> Self {
        Self { door, name: name.into(), roles: Arc::default(), subject: None }
    }

    /// A client that proved its name, with the roles that it has.
    pub fn client(name: impl Into<String>, roles: impl IntoIterator<Item = String>) -> Self {
        let roles = roles.into_iter().map(Arc::from).collect();
        Self { door: Door::Token, name: name.into(), roles, subject: None }
    }

    /// The same, who may write of one subject only.
    #[must_use]
    pub fn of_subject(self, subject: Option<&str>) -> Self {
        Self { subject: subject.map(Arc::from), ..self }
    }

    /// The one subject that it may write of: it writes records of that subject, and nothing else.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// The name under which a decision is written down: who proved a name signs with it, whatever he says, or that he says
    /// nothing.
    #[must_use]
    pub fn signs<N: From<String>>(&self, said: N) -> N {
        match self.door {
            Door::Token => N::from(self.name.clone()),
            Door::Loopback | Door::Runbook => said,
        }
    }

    /// Names of its roles.
    pub fn roles(&self) -> &[Arc<str>] {
        &self.roles
    }

    /// What let it in.
    pub fn door(&self) -> Door {
        self.door
    }

    /// The name that audit knows.
    pub fn name(&self) -> &str {
        &self.name
    }
}
