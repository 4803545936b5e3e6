//! What sessions and HTTP tell the journal of accesses: one place, so that no surface forgets it.
//!
//! A query's entry is made of its plan after policy and optimizer: the tables that it reads, and of each the columns, in
//! the clear or masked. Invariant: where clients have to say who they are, no row is given before its entry is durable.

mod statement;
mod watched;

use datafusion::sql::sqlparser::ast::Expr;
use vitalake_ops::audit::{Accessed, Action, Audit, AuditError, Begun, Entry, Outcome, Who};

use crate::error::QueryError;
use crate::identity::Identity;
use crate::policy::Policy;

pub use statement::{Vocabulary, written};
pub use vitalake_ops::audit::Surface;
pub use watched::{Reads, Watched};

/// Characters of a purpose that is kept as it is.
const PURPOSE_CHARACTERS_MAX: usize = 64;

impl From<&Identity> for Who {
    fn from(identity: &Identity) -> Self {
        let roles = identity.roles().iter().map(|role| role.to_string());
        Self::named(identity.name(), identity.door().as_str(), roles)
    }
}

/// Where sessions of one surface are written down.
#[derive(Debug, Clone)]
pub struct Ledger {
    pub(crate) audit: Audit,
    pub(crate) surface: Surface,
    vocabulary: Vocabulary,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { audit: Audit::default(), surface: Surface::Http, vocabulary: Vocabulary::default() }
    }
}

impl Ledger {
    /// A ledger that keeps nothing of what clients write but these words.
    pub fn new(audit: Audit, surface: Surface, vocabulary: Vocabulary) -> Self {
        Self { audit, surface, vocabulary }
    }

    /// The same for another surface.
    #[must_use]
    pub fn by(&self, surface: Surface) -> Self {
        Self { surface, ..self.clone() }
    }

    /// A name that somebody sent, where the platform has it; else its token.
    pub(crate) fn name(&self, said: &str) -> Option<String> {
        if self.vocabulary.has(said) { Some(said.to_owned()) } else { self.audit.token(said) }
    }

    /// Writes down that somebody may not ask as he did, by a word of a fixed list.
    pub(crate) fn refused(&self, identity: &Identity, reason: &'static str) {
        let entry = Entry::new(Who::from(identity), self.surface, Action::Query);
        self.audit.note(entry.ended(Outcome::Refused, Some(reason)));
    }

    /// The entry of a query before it is planned.
    pub(crate) fn query(
        &self,
        (identity, policy): (&Identity, &Policy),
        is_function: impl Fn(&str) -> bool,
        (sql, parameters): (&str, &[Expr]),
        purpose: Option<&str>,
    ) -> Option<Entry> {
        let tokens = self.audit.tokens()?;
        let is_plain = |character: char| character.is_ascii_alphanumeric() || "_-.:".contains(character);
        let purpose = purpose.map(|said| match said.len() <= PURPOSE_CHARACTERS_MAX && said.chars().all(is_plain) {
            true => said.to_owned(),
            false => tokens.of(said),
        });
        Some(Entry {
            statement: Some(written(tokens, &self.vocabulary, is_function, sql, parameters)),
            policy: policy.fingerprint(),
            purpose,
            ..Entry::new(Who::from(identity), self.surface, Action::Query)
        })
    }
}

/// How a query's end is written down.
pub(crate) fn outcome(error: &QueryError, was_refused: bool) -> (Outcome, Option<&'static str>) {
    match error {
        QueryError::Invalid { .. } if was_refused => (Outcome::Refused, Some("policy")),
        QueryError::Cancelled => (Outcome::Abandoned, Some("cancelled")),
        other => (Outcome::Failed, Some(other.outcome())),
    }
}

/// What a client is told whose access cannot be written down.
pub(crate) fn unwritten(error: &AuditError) -> QueryError {
    match error {
        AuditError::Full => QueryError::Capacity(error.to_string()),
        _ => QueryError::NotReady(vec![error.to_string()]),
    }
}

/// Begins an access, with what its plan reads.
pub(crate) async fn begin(ledger: &Ledger, policy: &Policy, entry: Entry, reads: Reads) -> Result<Begun, QueryError> {
    let datasets: Vec<Accessed> =
        reads.into_iter().map(|((schema, table), columns)| policy.accessed(&schema, &table, columns)).collect();
    ledger.audit.begin(Entry { datasets, ..entry }).await.map_err(|error| unwritten(&error))
}
