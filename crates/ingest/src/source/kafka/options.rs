//! Where an external broker is and how its client is set up: the project's properties, and those that are ours alone.
//!
//! Invariant: no Debug and no message shows a property's value.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use super::token;

/// Where the broker is and how to speak to it.
#[derive(Clone)]
pub struct BrokerOptions {
    /// `HOST:PORT[,HOST:PORT…]`.
    pub bootstrap: String,
    /// The consumer group: its members share partitions, its offsets are a courtesy.
    pub group: String,
    /// librdkafka's properties as the project gives them, such as `security.protocol`. May hold secrets.
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for BrokerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("BrokerOptions")
            .field("bootstrap", &self.bootstrap)
            .field("group", &self.group)
            .field("properties", &properties)
            .finish()
    }
}

impl BrokerOptions {
    pub(super) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        let ours = [
            ("client.id", "vitalake"),
            ("check.crcs", "true"),
            ("topic.metadata.refresh.interval.ms", "10000"),
            ("socket.timeout.ms", "10000"),
            ("reconnect.backoff.ms", "100"),
            ("reconnect.backoff.max.ms", "1000"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "2000"),
            // About a tenth of a second of records of each partition; beyond it fetching waits a moment, not a second.
            ("queued.min.messages", "30000"),
            ("queued.max.messages.kbytes", "16384"),
            ("fetch.queue.backoff.ms", "5"),
        ];
        for (key, value) in ours {
            config.set(key, value);
        }
        for (key, value) in self.properties.iter().filter(|(key, _)| !token::is_ours(&self.properties, key)) {
            config.set(key, value);
        }
        config
            .set("bootstrap.servers", &self.bootstrap)
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("partition.assignment.strategy", "range")
            .set("allow.auto.create.topics", "false")
            .set("statistics.interval.ms", "1000");
        config
    }
}

/// What the client says of its configuration, without the value that it refuses: that may be a secret.
pub(super) fn without_value(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, reason, key, value) if !value.is_empty() => {
            format!("{} ({key})", reason.replace(value.as_str(), "***"))
        }
        KafkaError::ClientConfig(_, reason, key, _) => format!("{reason} ({key})"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::types::RDKafkaConfRes;

    #[test]
    fn a_refused_property_is_named_without_its_value() {
        let said = |reason: &str| {
            let (key, value) = ("sasl.pasword".to_owned(), "word1".to_owned());
            without_value(&KafkaError::ClientConfig(
                RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN,
                reason.to_owned(),
                key,
                value,
            ))
        };
        assert_eq!(said("No such property"), "No such property (sasl.pasword)");
        assert_eq!(said("Invalid value \"word1\""), "Invalid value \"***\" (sasl.pasword)");
    }
}
