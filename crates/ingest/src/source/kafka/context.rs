//! What the Kafka client tells: rebalances, statistics, errors, log lines.
//!
//! Invariant: nothing here waits for the broker; a rebalance waits for landing alone.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rdkafka::TopicPartitionList;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::types::RDKafkaRespErr;

use super::shared::Shared;
use super::token::TokenProblem;
use crate::log::TopicPartition;

/// Who takes partitions that the group gives, and gives them up.
pub trait Group: Send + Sync {
    /// Takes partitions; gives the offset from which each is to be read. Blocking.
    ///
    /// # Errors
    /// When the tables cannot be asked.
    fn taken(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, i64)>, Box<dyn std::error::Error>>;

    /// Commits what came of all partitions and forgets them. Blocking.
    ///
    /// # Errors
    /// When that fails: what is not committed is then the next member's to read.
    fn given_up(&self) -> Result<(), Box<dyn std::error::Error>>;
}

pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let token = self.shared.tokens.as_ref().ok_or(TokenProblem::Nowhere);
        let token = token.and_then(|tokens| tokens.token(self.shared.clock.now_ms()));
        *self.shared.token_trouble.lock() = token.as_ref().err().map(ToString::to_string);
        Ok(token?)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::debug!(facility, "librdkafka: {message}");
            }
            _ => tracing::trace!(facility, "librdkafka: {message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut known = statistics.brokers.values().filter(|broker| broker.nodeid >= 0).peekable();
        if known.peek().is_some() {
            self.tell_health(known.any(|broker| broker.state == "UP"));
        }
        let addresses = statistics.brokers.values().filter(|broker| broker.nodeid >= 0);
        *self.shared.addresses.lock() = addresses.map(|broker| broker.nodename.clone()).collect();
        let mut watermarks = self.shared.watermarks.lock();
        for (name, topic) in &statistics.topics {
            for (number, partition) in &topic.partitions {
                if let Some(known) = watermarks.get_mut(&(name.clone(), *number)) {
                    known.0 = known.0.max(partition.lo_offset);
                    known.1 = known.1.max(partition.ls_offset);
                }
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode as Code;
        match error.rdkafka_error_code() {
            Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL | Code::Resolve) => {
                *self.shared.connection_trouble.lock() = Some(reason.to_owned());
                self.shared.health.failed(self.shared.why(reason));
            }
            Some(Code::AllBrokersDown) => self.shared.health.failed(self.shared.why(reason)),
            Some(Code::BrokerTransportFailure) => *self.shared.connection_trouble.lock() = Some(reason.to_owned()),
            _ => tracing::debug!(%error, reason, "the Kafka client reports"),
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let result = match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.take(consumer, list),
            _ => self.give_up(consumer),
        };
        if let Err(error) = result {
            tracing::warn!(%error, "partitions could not change hands: reading begins anew from the tables");
            let _ = consumer.unassign();
            self.shared.restart.send_replace(true);
        }
    }
}

impl Context {
    /// A connection that is still being made is no absence: it must be missing twice in a row.
    fn tell_health(&self, is_up: bool) {
        let was_down = self.shared.was_down.swap(!is_up, Ordering::AcqRel);
        if is_up {
            *self.shared.connection_trouble.lock() = None;
            self.shared.health.answered();
        } else if was_down {
            self.shared.health.failed(self.shared.why("no broker is connected"));
        }
    }

    fn take(&self, consumer: &BaseConsumer<Self>, list: &TopicPartitionList) -> Result<(), Box<dyn std::error::Error>> {
        let (Some(group), Some(shared_consumer)) =
            (self.shared.group.lock().clone(), self.shared.consumer.get().and_then(std::sync::Weak::upgrade))
        else {
            return Ok(());
        };
        let ids: Vec<TopicPartition> = {
            let topics = self.shared.topics.read();
            let id = |name: &str| topics.iter().find(|(_, topic)| topic.name == name).map(|(id, _)| *id);
            list.elements()
                .iter()
                .filter_map(|element| Some(TopicPartition::new(id(element.topic())?, element.partition())))
                .collect()
        };
        let starts = group.taken(&ids)?;
        let assignment = self.shared.split(&shared_consumer, &starts)?;
        consumer.assign(&assignment)?;
        self.shared.wake();
        tracing::info!(partitions = starts.len(), "partitions were taken");
        Ok(())
    }

    fn give_up(&self, consumer: &BaseConsumer<Self>) -> Result<(), Box<dyn std::error::Error>> {
        let given_up = self.shared.group.lock().clone().map_or(Ok(()), |group| group.given_up());
        self.shared.partitions.write().clear();
        self.shared.watermarks.lock().clear();
        consumer.unassign()?;
        tracing::info!("partitions were given up");
        given_up
    }
}
