//! What the configuration says of a real Druid: where it is, and what goes there.
//!
//! Invariant: neither the password nor a property of a consumer is ever shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::notify::Hidden;
use super::problem::ConfigProblem;
use super::settings;

/// The raw datasets whose topics are streamed into a real Druid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DruidLive {
    /// None.
    #[default]
    Nothing,
    /// All that have a topic.
    All,
    /// These.
    Named(BTreeSet<String>),
}

impl DruidLive {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        match text.trim() {
            "none" => Ok(Self::Nothing),
            "all" => Ok(Self::All),
            names => {
                let named: BTreeSet<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
                let is_name = |name: &String| {
                    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
                };
                match named.iter().all(is_name) {
                    true => Ok(Self::Named(named)),
                    false => Err("must be `none`, `all`, or raw datasets with commas between"),
                }
            }
        }
    }
}

/// A real Druid that serving datasets are published to.
#[derive(Clone, PartialEq, Eq)]
pub struct Druid {
    /// Whether they are.
    pub publishes: bool,
    /// The router that passes everything on.
    pub url: Option<String>,
    /// The overlord, where no router passes on to it.
    pub overlord: Option<String>,
    /// The coordinator, where no router passes on to it.
    pub coordinator: Option<String>,
    /// The broker, where no router passes on to it.
    pub broker: Option<String>,
    /// Who asks.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Hidden>,
    /// What datasources' names begin with.
    pub prefix: String,
    /// How Druid reaches the HTTP endpoint; without a slash at its end.
    pub files_url: Option<String>,
    /// The least time between two publications of a dataset without a gate, in milliseconds.
    pub interval_ms: u64,
    /// How many tasks may read the files of one publication at once.
    pub subtasks: u64,
    /// Whose topics are streamed in as well.
    pub live: DruidLive,
    /// How Druid reaches the brokers of these topics.
    pub live_bootstrap: Option<String>,
    /// Further properties of Druid's consumer. May hold secrets.
    pub live_properties: BTreeMap<String, serde_json::Value>,
    /// How many days of them Druid keeps.
    pub live_days: u64,
}

impl Default for Druid {
    fn default() -> Self {
        Self {
            publishes: false,
            url: None,
            overlord: None,
            coordinator: None,
            broker: None,
            user: None,
            password: None,
            prefix: String::new(),
            files_url: None,
            interval_ms: settings::DRUID_INTERVAL_MS_DEFAULT,
            subtasks: 1,
            live: DruidLive::Nothing,
            live_bootstrap: None,
            live_properties: BTreeMap::new(),
            live_days: settings::DRUID_LIVE_DAYS_DEFAULT,
        }
    }
}

impl Druid {
    /// Whoever publishes to Druid says where it is.
    pub(super) fn check(&self, problems: &mut Vec<ConfigProblem>) {
        let parts = [&self.overlord, &self.coordinator, &self.broker];
        if self.publishes && self.url.is_none() && parts.into_iter().any(Option::is_none) {
            problems.push(
                ConfigProblem::nowhere("engines.analytics is druid, and nothing says where Druid is").with_help(
                    "give engines.druid.url, a router that passes on to overlord and coordinator, or all of engines.druid.overlord, .coordinator and .broker",
                ),
            );
        }
        if self.user.is_some() != self.password.is_some() {
            problems.push(
                ConfigProblem::nowhere("engines.druid.user and engines.druid.password belong together")
                    .with_help("give both, the password as ${NAME}, or neither"),
            );
        }
    }
}

impl fmt::Debug for Druid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: Vec<&String> = self.live_properties.keys().collect();
        f.debug_struct("Druid")
            .field("publishes", &self.publishes)
            .field("url", &self.url)
            .field("overlord", &self.overlord)
            .field("coordinator", &self.coordinator)
            .field("broker", &self.broker)
            .field("user", &self.user)
            .field("prefix", &self.prefix)
            .field("files_url", &self.files_url)
            .field("live", &self.live)
            .field("live_bootstrap", &self.live_bootstrap)
            .field("live_properties", &properties)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_streams_is_nothing_all_or_datasets_by_name() {
        let named = |names: &[&str]| Ok(DruidLive::Named(names.iter().map(|name| (*name).to_owned()).collect()));
        assert_eq!(DruidLive::parse("none"), Ok(DruidLive::Nothing));
        assert_eq!(DruidLive::parse(" all "), Ok(DruidLive::All));
        assert_eq!(DruidLive::parse("readings, raw.events"), named(&["readings", "raw.events"]));
        for wrong in ["", "a,,b", "a b", "a;b", "`none`"] {
            assert!(DruidLive::parse(wrong).is_err(), "{wrong}");
        }
    }
}
