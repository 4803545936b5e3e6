//! What the configuration says of Azure Monitor: which workspace gets the ops datasets.
//!
//! Who this process is to Azure stands in the environment (`crate::azure`). Invariant: a token goes by https, or to this
//! machine.

use std::collections::BTreeSet;

use super::problem::ConfigProblem;
use crate::azure::Audience;
use crate::http::is_here;

/// The ops datasets that may be sent.
pub const SENT: [&str; 9] =
    ["runs", "commits", "checks", "gates", "deliveries", "alerts", "discards", "lag", "resources"];

/// What is told to Azure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Azure {
    /// The workspace that gets the ops datasets.
    pub monitor: Monitor,
}

/// A workspace of Log Analytics, by the rule that rows enter it through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Monitor {
    /// Where rows are sent; without a slash at its end. None where nothing is.
    pub endpoint: Option<String>,
    /// The rule's immutable id.
    pub rule: Option<String>,
    /// The ops datasets that are sent.
    pub tables: BTreeSet<String>,
    /// What a token is asked for.
    pub audience: String,
}

impl Default for Monitor {
    fn default() -> Self {
        let tables = SENT.iter().map(|table| (*table).to_owned()).collect();
        Self { endpoint: None, rule: None, tables, audience: Audience::MONITOR.to_owned() }
    }
}

impl Monitor {
    /// Reads `all`, or names of ops datasets.
    pub(super) fn parse_tables(text: &str) -> Result<BTreeSet<String>, &'static str> {
        if text.trim() == "all" {
            return Ok(Self::default().tables);
        }
        let named: BTreeSet<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match named.iter().all(|name| SENT.contains(&name.as_str())) {
            true => Ok(named),
            false => Err(
                "must be `all`, or some of runs, commits, checks, gates, deliveries, alerts, discards, lag and resources with commas between",
            ),
        }
    }

    /// Reads the immutable id of a rule.
    pub(super) fn parse_rule(text: &str) -> Result<String, &'static str> {
        let is_id = |id: &str| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric());
        match text.strip_prefix("dcr-").is_some_and(is_id) {
            true => Ok(text.to_owned()),
            false => Err("must be the immutable id of a data collection rule, such as dcr-0123456789abcdef"),
        }
    }

    /// Where rows are sent is said whole, and safe.
    pub(super) fn check(&self, problems: &mut Vec<ConfigProblem>) {
        if self.endpoint.is_some() != self.rule.is_some() {
            let message = "azure.monitor.endpoint and azure.monitor.rule belong together";
            let help = "give both: the rule's logsIngestion endpoint and its immutableId, or neither";
            problems.push(ConfigProblem::nowhere(message).with_help(help));
        }
        if self.endpoint.as_deref().is_some_and(|endpoint| !is_safe(endpoint)) {
            let message = "azure.monitor.endpoint: a token is not sent in the clear";
            problems.push(ConfigProblem::nowhere(message).with_help("give an address that begins with https://"));
        }
    }
}

/// Whether a token may be sent to an address.
#[must_use]
pub fn is_safe(address: &str) -> bool {
    address.starts_with("https://") || is_here(address)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("all", Some(9))]
    #[case("runs", Some(1))]
    #[case(" alerts , runs", Some(2))]
    #[case("audit", None)]
    #[case("runs,evidence", None)]
    #[case("", None)]
    fn what_is_sent_is_all_or_some_and_never_what_stays(#[case] text: &str, #[case] count: Option<usize>) {
        assert_eq!(Monitor::parse_tables(text).ok().map(|tables| tables.len()), count);
    }

    #[rstest]
    fn a_rule_is_known_by_its_form(#[values("dcr-", "dcr", "x-1", "dcr-1/../2", "dcr-1?x", "/dcr-1")] wrong: &str) {
        assert!(Monitor::parse_rule(wrong).is_err() && Monitor::parse_rule("dcr-00000000aBcd").is_ok());
    }
}
