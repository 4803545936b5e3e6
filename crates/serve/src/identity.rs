//! Who asks. What they may see is decided by [`policy`](crate::policy), when a session is opened.
//!
//! Invariant: two identities are the same only when the same door let them in under the same name.

use std::sync::Arc;

use vitalake_runtime::config::access::Scope;

/// What vouches for a client's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Door {
    /// Reaching a loopback address of this machine.
    Loopback,
    /// Being a query of a runbook, whoever opens it: its answer is kept and shown to whoever is called at night.
    Runbook,
    /// Having proved a name of the project's: by a token, a password, a certificate, or an issuer's word.
    Proof,
}

impl Door {
    /// Its name in the journal.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Runbook => "runbook",
            Self::Proof => "proof",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    door: Door,
    name: String,
    roles: Arc<[Arc<str>]>,
    /// What the proof is good for.
    scope: Arc<Scope>,
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
        Self { door, name: name.into(), roles: Arc::default(), scope: Arc::default() }
    }

    /// A client that proved its name, with the roles that it has.
    pub fn client(name: impl Into<String>, roles: impl IntoIterator<Item = String>) -> Self {
        let roles = roles.into_iter().map(Arc::from).collect();
        Self { door: Door::Proof, name: name.into(), roles, scope: Arc::default() }
    }

    /// The name under which a decision is written down: who proved a name signs with it, whatever he says, or that he says
    /// nothing.
    #[must_use]
    pub fn signs<N: From<String>>(&self, said: N) -> N {
        match self.door {
            Door::Proof => N::from(self.name.clone()),
            Door::Loopback | Door::Runbook => said,
        }
    }

    /// The same, for no more than that.
    #[must_use]
    pub fn narrowed(self, scope: &Scope) -> Self {
        Self { scope: Arc::new(self.scope.and(scope)), ..self }
    }

    /// What its proof is good for, beside what its roles say.
    pub fn scope(&self) -> &Scope {
        &self.scope
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
