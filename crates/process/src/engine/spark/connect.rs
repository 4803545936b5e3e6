//! A Spark at an address, by Spark Connect.
//!
//! Statements of all models share one session, whose settings give them the meaning that they have here. Invariant: what
//! fails is noted without an address's secrets and without Spark's words.

use std::sync::Arc;

use vitalake_runtime::health::Health;

use crate::engine::spark::Spark;

/// An address that no Spark can be asked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {help}")]
pub struct BadAddress {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

/// The Spark at an address, which is not asked anything yet. Health is told whether it answers.
///
/// # Errors
/// When the address is none, or this binary cannot speak to a Spark.
pub fn open(address: &str, health: Health) -> Result<Arc<dyn Spark>, BadAddress> {
    client::open(address, health)
}

/// What is wrong with an address, without asking anybody.
#[must_use]
pub fn bad_address(address: &str) -> Option<BadAddress> {
    client::bad_address(address)
}

#[cfg(not(feature = "spark"))]
mod client {
    use super::{Arc, BadAddress, Health, Spark};

    pub(super) fn open(_: &str, _: Health) -> Result<Arc<dyn Spark>, BadAddress> {
        Err(not_built())
    }

    pub(super) fn bad_address(_: &str) -> Option<BadAddress> {
        Some(not_built())
    }

    fn not_built() -> BadAddress {
        let message = "this binary was built without Spark".to_owned();
        let help = "build it with --features spark, or run models here with `engines: {transform: datafusion}`";
        BadAddress { message, help }
    }
}

#[cfg(feature = "spark")]
mod client {
    use std::sync::OnceLock;
    use std::time::Duration;

    use async_trait::async_trait;
    use futures::{StreamExt, TryStreamExt};
    use tokio::sync::watch;
    use vitalake_spark_connect as connect;

    use super::{Arc, BadAddress, Health, Spark};
    use crate::engine::spark::{Answer, Failure, Question, RunProgress};

    /// How long it is waited for Spark when what runs there is ended.
    const CLOSING_MAX: Duration = Duration::from_secs(3);

    /// Spark's settings under which a statement means what it means here.
    const SETTINGS: [(&str, &str); 9] = [
        // A stream must not stop at a value.
        ("spark.sql.ansi.enabled", "false"),
        ("spark.sql.session.timeZone", "UTC"),
        ("spark.sql.caseSensitive", "false"),
        ("spark.sql.timestampType", "TIMESTAMP_LTZ"),
        // `${env:…}` in a text is a text, and no value of Spark's environment.
        ("spark.sql.variable.substitute", "false"),
        // What a Spark may have been given for the programs that it ran before.
        ("spark.sql.parser.escapedStringLiterals", "false"),
        ("spark.sql.legacy.timeParserPolicy", "CORRECTED"),
        ("spark.sql.legacy.sizeOfNull", "true"),
        ("spark.sql.decimalOperations.allowPrecisionLoss", "true"),
    ];

    #[derive(Debug)]
    struct Connected {
        session: connect::Session,
        health: Health,
        /// Told once that somebody passes on what the session tells of trouble.
        watched: OnceLock<()>,
    }

    impl Connected {
        /// Tells health of a Spark that went under a statement while that is asked for again, and not when it is given up.
        fn watch(&self) {
            if self.watched.set(()).is_err() {
                return;
            }
            let (mut trouble, health) = (self.session.trouble(), self.health.clone());
            tokio::spawn(async move {
                while trouble.changed().await.is_ok() {
                    match trouble.borrow_and_update().as_ref() {
                        Some(what) => health.failed(what.clone()),
                        None => health.answered(),
                    }
                }
            });
        }
    }

    pub(super) fn open(address: &str, health: Health) -> Result<Arc<dyn Spark>, BadAddress> {
        let endpoint = connect::Endpoint::parse(address).map_err(bad)?;
        let settings = SETTINGS.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let options = connect::Options::new(concat!("vitalake/", env!("CARGO_PKG_VERSION")), settings);
        let session = connect::Session::open(&endpoint, options).map_err(bad)?;
        Ok(Arc::new(Connected { session, health, watched: OnceLock::new() }))
    }

    pub(super) fn bad_address(address: &str) -> Option<BadAddress> {
        connect::Endpoint::parse(address).err().map(bad)
    }

    #[expect(clippy::needless_pass_by_value, reason = "it is mapped over")]
    fn bad(error: connect::Error) -> BadAddress {
        BadAddress { message: error.to_string(), help: "docs/spark.md has the form of the address" }
    }

    #[async_trait]
    impl Spark for Connected {
        async fn ask(&self, question: Question) -> Result<Answer, Failure> {
            self.watch();
            let Question { sql, inputs, tags } = question;
            let input = |input: crate::engine::spark::Input| connect::Input {
                name: input.name,
                rows: connect::Source::Rows { schema: input.schema, batches: input.rows },
            };
            let query = connect::Query { sql, inputs: inputs.into_iter().map(input).collect(), tags };
            let answer = self.session.query(&query).await.map_err(|error| noted(&self.health, &error))?;
            self.health.answered();
            let progress = told(answer.progress());
            let health = self.health.clone();
            let rows = answer.map_err(move |error| noted(&health, &error)).boxed();
            Ok(Answer { rows, progress })
        }

        fn trouble(&self) -> Option<String> {
            self.session.trouble().borrow().clone()
        }

        async fn close(&self) {
            let ended = async {
                self.session.stopped().await;
                let _ = self.session.close().await;
            };
            let _ = tokio::time::timeout(CLOSING_MAX, ended).await;
        }
    }

    /// The failure, of which health is told where it is Spark's.
    fn noted(health: &Health, error: &connect::Error) -> Failure {
        let failure = failure(error);
        match &failure {
            Failure::Away { what } => health.failed(what.clone()),
            Failure::SessionLost => {}
            Failure::Statement { .. } | Failure::Unusable { .. } | Failure::TooLarge => health.answered(),
        }
        failure
    }

    fn failure(error: &connect::Error) -> Failure {
        let what = error.to_string();
        match error {
            connect::Error::Away { .. }
            | connect::Error::Refused { .. }
            | connect::Error::Failed { .. }
            | connect::Error::Version { .. }
            | connect::Error::Protocol { .. } => Failure::Away { what },
            connect::Error::SessionLost { .. } => Failure::SessionLost,
            connect::Error::Statement { class, sql_state, place } => Failure::Statement {
                class: class.clone(),
                sql_state: sql_state.clone(),
                at: place.as_ref().map(|place| place.start),
            },
            connect::Error::InputSize { .. } => Failure::TooLarge,
            connect::Error::InputType { .. } | connect::Error::Answer { .. } | connect::Error::Endpoint { .. } => {
                Failure::Unusable { what }
            }
        }
    }

    /// Progress in our words, for as long as somebody looks.
    fn told(mut progress: watch::Receiver<connect::Progress>) -> watch::Receiver<RunProgress> {
        let ours = |theirs: connect::Progress| RunProgress {
            stages: theirs.stages,
            tasks: theirs.tasks,
            tasks_done: theirs.tasks_done,
            bytes_read: theirs.bytes_read,
        };
        let (tell, told) = watch::channel(ours(*progress.borrow_and_update()));
        tokio::spawn(async move {
            while progress.changed().await.is_ok() {
                let now = ours(*progress.borrow_and_update());
                if tell.send(now).is_err() {
                    return;
                }
            }
        });
        told
    }
}
