//! Why a statement has given nothing, in words that hold no value.
//!
//! Spark's messages quote values of rows, so that its error class and SQLSTATE are all that is kept of them. Invariant:
//! rows and statements are blamed for what Spark says of the statement, never for a Spark that is away or in trouble.

/// A statement without an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It does not answer, does not take who asks, or has trouble of its own.
    #[error("{what}")]
    Away {
        /// What was seen, in a sentence without an address's secrets.
        what: String,
    },
    /// Its session is not there any longer: Spark has started again, or closed it.
    #[error("Spark has closed the session: the statement is sent again")]
    SessionLost,
    /// It cannot run the statement.
    #[error("Spark says {}", said(class.as_deref(), sql_state.as_deref()))]
    Statement {
        /// Spark's error class, such as `UNRESOLVED_COLUMN.WITH_SUGGESTION`.
        class: Option<String>,
        /// The SQLSTATE.
        sql_state: Option<String>,
        /// Where in the statement, in bytes.
        at: Option<usize>,
    },
    /// A column is of a type that cannot be sent, or what comes back cannot be read.
    #[error("{what}")]
    Unusable {
        /// Which, in a sentence.
        what: String,
    },
    /// What it gives does not fit into memory here.
    #[error("its result would be too large")]
    TooLarge,
}

fn said(class: Option<&str>, sql_state: Option<&str>) -> String {
    match (class, sql_state) {
        (Some(class), Some(state)) => format!("{class} (SQLSTATE {state})"),
        (Some(said), None) | (None, Some(said)) => said.to_owned(),
        (None, None) => "no more than that the statement failed".to_owned(),
    }
}

/// Classes of SQLSTATE that no row can change: features that are not there, and names and syntax.
const OF_TEXT: [&str; 2] = ["0A", "42"];

impl Failure {
    /// Whether the statement or its rows are to blame.
    pub(crate) fn is_of_statement(&self) -> bool {
        match self {
            Self::Statement { .. } | Self::Unusable { .. } | Self::TooLarge => true,
            Self::Away { .. } | Self::SessionLost => false,
        }
    }

    /// Whether the statement fails whatever the rows are.
    pub(crate) fn is_of_text(&self) -> bool {
        match self {
            Self::Statement { sql_state: Some(state), .. } => OF_TEXT.iter().any(|class| state.starts_with(class)),
            Self::Unusable { .. } => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_the_class_and_the_state() {
        let (class, sql_state) = (Some("DIVIDE_BY_ZERO".to_owned()), Some("22012".to_owned()));
        let failure = Failure::Statement { class, sql_state, at: Some(3) };
        assert_eq!(failure.to_string(), "Spark says DIVIDE_BY_ZERO (SQLSTATE 22012)");
    }
}
