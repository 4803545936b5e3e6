//! What people ask of alerts: to see, acknowledge, silence and try them.
//!
//! Works on the book of this process, or, where it evaluates nothing (a command without a server), on the lake's.
//! Invariant: what is answered is in the lake.

use std::sync::Arc;

use chrono::DateTime;
use object_store::ObjectStore;
use vitalake_runtime::config::notify::Receiver;

use super::book::{Book, Silence};
use super::desk::{Desk, event};
use super::form::{Letter, instant};
use super::keep::Keeper;
use super::machine::Acknowledgement;
use super::notice::{Kind, Message};
use super::report::{AckRequest, AlertReport, SilenceReport, SilenceRequest, TestReport};

/// The longest words of a person.
const WORDS_CHARS_MAX: usize = 500;
/// The most silences at once.
const SILENCES_MAX: usize = 1_000;
/// The longest silence: what lasts longer belongs in the alert's file.
const SILENCE_MS_MAX: i64 = 366 * 86_400_000;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no such alert.
    #[error("{0}")]
    NotFound(String),
    /// What was sent is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The lake cannot be reached.
    #[error("the state of the alerts cannot be reached: {0}; try again")]
    Unavailable(String),
}

impl Desk {
    /// All alerts that are known.
    ///
    /// # Errors
    /// When the lake's book cannot be read.
    pub async fn report(&self, store: &Arc<dyn ObjectStore>) -> Result<Vec<AlertReport>, RequestError> {
        if self.is_open().await {
            return Ok(self.book.lock().report());
        }
        let (_, book) = read(store).await?;
        Ok(book.report())
    }

    /// Takes an alert on in somebody's name.
    ///
    /// # Errors
    /// When it does not fire, or the lake cannot be reached.
    pub async fn acknowledge(
        &self,
        store: &Arc<dyn ObjectStore>,
        fingerprint: &str,
        request: AckRequest,
    ) -> Result<AlertReport, RequestError> {
        let (by, comment) = (words("by", &request.by)?, request.comment.filter(|c| !c.trim().is_empty()));
        let comment = comment.map(|comment| words("comment", &comment)).transpose()?;
        let at_ms = self.setup.clock.now_ms();
        let mut told = None;
        let answer = self
            .change(store, |book| {
                let instance = book.instances.get_mut(fingerprint).filter(|instance| instance.state.is_open());
                let Some(instance) = instance else {
                    return Err(RequestError::NotFound(format!(
                        "no alert with the fingerprint {} fires; `vitalake alert list` shows those that do",
                        printable(fingerprint)
                    )));
                };
                instance.state.acknowledged = Some(Acknowledgement { by, at_ms, comment });
                told = Some(event(fingerprint, instance));
                let instance = instance.clone();
                Ok(book.one_report(fingerprint, &instance))
            })
            .await?;
        if let Some(event) = told {
            self.keep(event).await;
        }
        Ok(answer)
    }

    /// Keeps an alert from being sent until a moment; one in the past ends its silence.
    ///
    /// # Errors
    /// When there is no such alert, the moment cannot be read, or the lake cannot be reached.
    pub async fn silence(
        &self,
        store: &Arc<dyn ObjectStore>,
        request: SilenceRequest,
    ) -> Result<SilenceReport, RequestError> {
        self.rule(&request.alert)?;
        let until = DateTime::parse_from_rfc3339(&request.until);
        let wrong = "`until` is no moment: write it as 2026-11-28T22:00:00Z";
        let until_ms = until.map_err(|_| RequestError::Invalid(wrong.into()))?.timestamp_millis();
        let now_ms = self.setup.clock.now_ms();
        if until_ms - now_ms > SILENCE_MS_MAX {
            return Err(RequestError::Invalid("a silence lasts a year at most: take the alert out instead".into()));
        }
        let (reason, by) = (words("reason", &request.reason)?, words("by", &request.by)?);
        let silence = Silence { alert: request.alert, until_ms, reason, by };
        self.change(store, |book| {
            book.silences.retain(|known| known.alert != silence.alert);
            if book.silences.len() >= SILENCES_MAX {
                return Err(RequestError::Invalid(format!("there are {SILENCES_MAX} silences already")));
            }
            if until_ms > now_ms {
                book.silences.push(silence.clone());
            }
            Ok(SilenceReport {
                alert: silence.alert.clone(),
                until: instant(until_ms),
                reason: silence.reason.clone(),
                by: silence.by.clone(),
            })
        })
        .await
    }

    /// Sends a marked message to an alert's receivers, and gives what came back.
    ///
    /// # Errors
    /// When there is no such alert.
    pub async fn test(&self, alert: &str) -> Result<Vec<TestReport>, RequestError> {
        let rule = self.rule(alert)?;
        let message = Message {
            kind: Kind::Test,
            fingerprint: super::book::fingerprint(&format!("test of {alert}"), &Default::default()),
            alert: alert.to_owned(),
            dataset: rule.alert.dataset.as_ref().map(ToString::to_string),
            severity: rule.alert.severity,
            owner: self.owner(rule, rule.alert.dataset.as_ref().map(ToString::to_string).as_deref()),
            since_ms: self.setup.clock.now_ms(),
            summary: String::new(),
            runbook: rule.alert.runbook.clone(),
        };
        let letter = Letter { message: &message, address: &self.setup.address, project: &self.setup.project };
        let receivers = rule.receivers.iter().filter_map(|name| self.setup.receivers.get_key_value(name));
        let over = Message { kind: Kind::Resolved, ..message.clone() };
        let over = Letter { message: &over, ..letter };
        let sent = receivers.map(|(name, receiver)| async {
            let mut sent = self.setup.sender.send(receiver, &letter).await;
            // What PagerDuty was told of stays open until it is told that it is over.
            if sent.is_ok() && matches!(receiver, Receiver::PagerDuty { .. }) {
                sent = self.setup.sender.send(receiver, &over).await;
            }
            let (delivered, said) = (sent.is_ok(), sent.unwrap_or_else(|error| error.to_string()));
            TestReport { receiver: name.clone(), kind: receiver.type_name().to_owned(), delivered, said }
        });
        Ok(futures::future::join_all(sent).await)
    }

    fn rule(&self, alert: &str) -> Result<&super::rule::Rule, RequestError> {
        let found = self.setup.rules.iter().find(|rule| rule.alert.name == alert);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.setup.rules.iter().map(|rule| rule.alert.name.as_str()).take(40).collect();
            RequestError::NotFound(format!("there is no alert {}; there are {}", printable(alert), names.join(", ")))
        })
    }

    /// Changes the book and writes it down before the answer.
    async fn change<T>(
        &self,
        store: &Arc<dyn ObjectStore>,
        change: impl FnOnce(&mut Book) -> Result<T, RequestError>,
    ) -> Result<T, RequestError> {
        if self.is_open().await {
            let answer = change(&mut self.book.lock())?;
            self.save_now().await.map_err(|error| RequestError::Unavailable(error.to_string()))?;
            self.news.send_modify(|count| *count += 1);
            return Ok(answer);
        }
        let (mut keeper, mut book) = read(store).await?;
        let answer = change(&mut book)?;
        keeper.save(&book).await.map_err(|error| RequestError::Unavailable(error.to_string()))?;
        Ok(answer)
    }
}

async fn read(store: &Arc<dyn ObjectStore>) -> Result<(Keeper, Book), RequestError> {
    Keeper::open(Arc::clone(store)).await.map_err(|error| RequestError::Unavailable(error.to_string()))
}

fn words(what: &str, text: &str) -> Result<String, RequestError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > WORDS_CHARS_MAX {
        return Err(RequestError::Invalid(format!("`{what}` must be said in at most {WORDS_CHARS_MAX} characters")));
    }
    Ok(text.to_owned())
}

/// What a client sent, as an answer may show it.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
