//! What a text must be to be a setting's value, and where it goes then.
//!
//! Invariant: what is refused is said by what it must be, never by what it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{ENVIRONMENT_PREFIX, Kind, Setting};
use crate::config::Config;

impl Setting {
    /// The environment variable that sets it; none for receivers, roles and clients.
    pub fn environment_variable(&self) -> Option<String> {
        match self.kind {
            Kind::Receivers | Kind::Access => None,
            _ => Some(format!("{ENVIRONMENT_PREFIX}{}", self.key.replace('.', "__").to_uppercase())),
        }
    }

    /// Sets it from text; the error says what the text must be.
    pub(in crate::config) fn set(&self, text: &str, config: &mut Config) -> Result<(), String> {
        match self.kind {
            Kind::Text(_) if text.is_empty() => {
                return Err(format!("{} must not be empty", self.key));
            }
            Kind::Text(set) => set(config, text.to_string()),
            Kind::Integer { unit, least, most, set } => match text.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => set(config, number),
                _ => {
                    return Err(format!("{} must be a whole number of {unit} from {least} to {most}", self.key));
                }
            },
            Kind::Boolean(set) => match text {
                "true" => set(config, true),
                "false" => set(config, false),
                _ => return Err(format!("{} must be true or false", self.key)),
            },
            Kind::Address(set) => match parse_address(text) {
                Some(address) => set(config, address),
                None => {
                    return Err(format!("{} must be an address and a port, such as 127.0.0.1:9092", self.key));
                }
            },
            Kind::PublicUrl(set) => match public_url(text) {
                Some(url) => set(config, url),
                None => {
                    return Err(format!(
                        "{} must be an address of a browser without user, query or fragment, such as https://lake.example.org",
                        self.key
                    ));
                }
            },
            Kind::Brokers(set) => {
                for (at, broker) in text.split(',').enumerate() {
                    broker_is_whole(broker).map_err(|wrong| format!("{}: broker {} {wrong}", self.key, at + 1))?;
                }
                set(config, text.to_string());
            }
            Kind::OneOf(words, set) => match words.iter().position(|word| *word == text) {
                Some(word) => set(config, word),
                None => return Err(format!("{} must be one of {}", self.key, words.join(", "))),
            },
            Kind::Form { set, .. } => set(config, text).map_err(|must| format!("{} {must}", self.key))?,
            Kind::Map(set) => match serde_json::from_str::<serde_json::Map<_, _>>(text) {
                Ok(entries) => entries.into_iter().for_each(|(name, value)| set(config, name, value)),
                Err(_) => {
                    return Err(format!("{} must be a JSON object here, such as {{\"name\": \"value\"}}", self.key));
                }
            },
            Kind::Receivers | Kind::Access => {
                return Err(format!("{} must be a map of names", self.key));
            }
        }
        Ok(())
    }

    /// What to do where a text was not what it must be, and the message does not say it.
    pub(in crate::config) fn help(&self) -> Option<&'static str> {
        matches!(self.kind, Kind::Brokers(_)).then_some(
            "write HOST:PORT with commas between and no spaces, such as broker-1:9092,broker-2:9092; the port of Event Hubs is 9093",
        )
    }

    pub(super) fn type_name(&self) -> &'static str {
        match self.kind {
            Kind::Text(_) => "text",
            Kind::Integer { unit, .. } => unit,
            Kind::Boolean(_) => "true or false",
            Kind::Address(_) => "address:port",
            Kind::PublicUrl(_) => "URL",
            Kind::Brokers(_) => "host:port, …",
            Kind::OneOf(..) => "a word",
            Kind::Form { form, .. } => form,
            Kind::Map(_) | Kind::Receivers | Kind::Access => "map",
        }
    }
}

/// Whether this is `HOST:PORT`; the error says what it is instead.
fn broker_is_whole(broker: &str) -> Result<(), &'static str> {
    if broker.is_empty() {
        return Err("is empty");
    }
    if broker.contains(char::is_whitespace) {
        return Err("has a space in it");
    }
    if broker.contains("://") {
        return Err("is a URL");
    }
    match broker.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        _ => Err("has no port"),
    }
}

fn public_url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let host = rest.split('/').next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@' | '"' | '<' | '>' | '\\' | '`');
    let is_url = matches!(scheme, "http" | "https") && !host.is_empty() && rest.chars().all(is_plain);
    is_url.then(|| text.trim_end_matches('/').to_owned())
}

/// `IP:PORT`, and `localhost:PORT` without asking a name server.
fn parse_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().ok()?)),
        None => text.parse().ok(),
    }
}
