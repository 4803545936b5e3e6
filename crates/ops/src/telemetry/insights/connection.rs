//! A connection string of Application Insights.
//!
//! Invariant: an endpoint begins with https, or is of this machine.

use vitalake_runtime::config::azure::is_safe;

/// Where telemetry goes that names no endpoint.
const ENDPOINT: &str = "https://dc.services.visualstudio.com/";

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    /// Which component the telemetry is of. It is no secret: pages of the web show it.
    pub(super) key: String,
    /// Where telemetry is sent, with a slash at its end.
    pub(super) endpoint: String,
}

impl Connection {
    /// Reads `InstrumentationKey=…;IngestionEndpoint=…;…`; `None` where it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let pairs = text.split(';').filter_map(|pair| pair.split_once('='));
        let pairs: Vec<(&str, &str)> = pairs.map(|(name, value)| (name.trim(), value.trim())).collect();
        let find = |wanted: &str| pairs.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, v)| *v);
        let key = find("InstrumentationKey")?;
        let is_key = key.len() == 36 && key.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        let endpoint = find("IngestionEndpoint").unwrap_or(ENDPOINT).trim_end_matches('/');
        (is_key && is_safe(endpoint)).then(|| Self { key: key.to_owned(), endpoint: format!("{endpoint}/") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "00000000-0000-4000-8000-000000000001";

    #[test]
    fn a_connection_string_is_read_as_the_portal_gives_it() {
        let text = format!(
            "InstrumentationKey={KEY};IngestionEndpoint=https://westeurope-5.in.applicationinsights.azure.com/;LiveEndpoint=https://x/;ApplicationId=y"
        );
        let endpoint = "https://westeurope-5.in.applicationinsights.azure.com/".to_owned();
        assert_eq!(Connection::parse(&text), Some(Connection { key: KEY.to_owned(), endpoint }));
        let alone = Connection::parse(&format!("instrumentationkey={KEY}"));
        assert_eq!(alone.map(|connection| connection.endpoint), Some(ENDPOINT.to_owned()));
    }

    #[test]
    fn what_is_none_or_goes_in_the_clear_is_refused() {
        for wrong in [
            String::new(),
            "InstrumentationKey=x".to_owned(),
            "IngestionEndpoint=https://x/".to_owned(),
            format!("InstrumentationKey={KEY};IngestionEndpoint=http://elsewhere.example/"),
        ] {
            assert_eq!(Connection::parse(&wrong), None, "{wrong}");
        }
    }
}
