//! What App Service cannot keep: a container's disk there is lost with each restart, and its port is reached through a proxy.
//!
//! Asked before anything is opened. Invariant: nothing that was answered as durable lies on a disk that is not kept.

use vitalake_lake::storage::names_azure;
use vitalake_runtime::config::{Config, Environment};

use crate::failure::Failure;

/// Set in every container of App Service, and on no other machine.
const ON_APP_SERVICE: &str = "WEBSITE_INSTANCE_ID";

/// Refuses a configuration under which App Service would lose something, or reach nothing.
///
/// # Errors
/// Names what would be lost, and the settings that keep it.
pub fn check(config: &Config, environment: &Environment) -> Result<(), Failure> {
    if !environment.contains_key(ON_APP_SERVICE) {
        return Ok(());
    }
    let mut lost = Vec::new();
    let mut settings = Vec::new();
    if config.kafka.bootstrap.is_none() {
        lost.push("the log of records");
        settings.push("kafka.bootstrap to an external broker, such as NAME.servicebus.windows.net:9093");
    }
    if !config.storage.url.as_deref().is_some_and(names_azure) {
        lost.push("the tables");
        settings.push("storage.url to abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PREFIX");
    }
    if config.control.url.is_none() {
        lost.push("the control store");
        settings.push("control.url to a PostgreSQL database");
    }
    if !lost.is_empty() {
        let message = format!(
            "on App Service a container's disk is lost with each restart, and {} would lie on it",
            lost.join(", ")
        );
        return Err(Failure::input(message, format!("set {} (docs/azure.md)", settings.join("; "))));
    }
    if config.http.listen.ip().is_loopback() {
        let message = "on App Service nothing reaches http.listen on a loopback address";
        let help = "set http.listen to 0.0.0.0:8888, WEBSITES_PORT to the same port, and http.behind_proxy to true: TLS ends before the container";
        return Err(Failure::input(message, help));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use rstest::rstest;
    use vitalake_runtime::config::Overrides;

    use super::*;

    const CLIENTS: &str = "access:\n  clients:\n    ada: {roles: [], token: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}\n";
    const BROKER: (&str, &str) = ("VITALAKE_KAFKA__BOOTSTRAP", "hub.servicebus.windows.net:9093");
    const LAKE: (&str, &str) = ("VITALAKE_STORAGE__URL", "abfss://lake@account.dfs.core.windows.net/x");
    const STORE: (&str, &str) = ("VITALAKE_CONTROL__URL", "postgres://id@host/vitalake?sslmode=verify-full");
    const HTTP: (&str, &str) = ("VITALAKE_HTTP__LISTEN", "0.0.0.0:8888");
    const PROXY: (&str, &str) = ("VITALAKE_HTTP__BEHIND_PROXY", "true");
    const THERE: (&str, &str) = (ON_APP_SERVICE, "a1");

    fn checked(pairs: &[(&str, &str)]) -> Result<(), String> {
        let environment: Environment =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = Config::parse(CLIENTS, Path::new("/p"), &environment, &Overrides::default()).unwrap();
        check(&config, &environment).map_err(|failure| match failure {
            Failure::Input { message, help } => format!("{message}; {help}"),
            other => other.to_string(),
        })
    }

    #[rstest]
    #[case::elsewhere(&[])]
    #[case::all_of_it(&[THERE, BROKER, LAKE, STORE, HTTP, PROXY])]
    fn what_may_start(#[case] pairs: &[(&str, &str)]) {
        assert_eq!(checked(pairs), Ok(()));
    }

    #[rstest]
    #[case::nothing_said(&[THERE], &["the log of records, the tables, the control store", "kafka.bootstrap", "storage.url", "control.url"])]
    #[case::embedded_log(&[THERE, LAKE, STORE, HTTP, PROXY], &["and the log of records would", "kafka.bootstrap"])]
    #[case::local_tables(&[THERE, BROKER, STORE, HTTP, PROXY], &["and the tables would", "abfss://"])]
    #[case::tables_on_the_share(&[THERE, BROKER, ("VITALAKE_STORAGE__URL", "/home/lake"), STORE, HTTP, PROXY], &["and the tables would"])]
    #[case::sqlite(&[THERE, BROKER, LAKE, HTTP, PROXY], &["and the control store would", "PostgreSQL"])]
    #[case::loopback(&[THERE, BROKER, LAKE, STORE], &["http.listen", "behind_proxy"])]
    fn what_may_not(#[case] pairs: &[(&str, &str)], #[case] said: &[&str]) {
        let words = checked(pairs).unwrap_err();
        assert!(said.iter().all(|one| words.contains(one)), "{words}");
    }
}
