//! How every HTTP client of ours begins: rustls with ring, the machine's own roots, no redirect followed, a refusal told
//! by its status.
//!
//! Whoever asks adds limits of its own to what it gets here. Invariant: what is sent to one host goes nowhere else
//! because an answer says so.

use std::net::IpAddr;
use std::sync::Arc;

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::http::uri::Authority;
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::typestate::AgentScope;

/// A client to be given its limits of time.
#[must_use]
pub fn client() -> ConfigBuilder<AgentScope> {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    Agent::config_builder()
        .tls_config(tls.build())
        .http_status_as_error(false)
        .max_redirects(0)
        .user_agent(concat!("vitalake/", env!("CARGO_PKG_VERSION")))
}

/// Whether an address (a URL, or a host with or without a port) is one of this machine.
#[must_use]
pub fn is_here(address: &str) -> bool {
    let behind_scheme = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = behind_scheme.split(['/', '?', '#']).next().unwrap_or_default();
    // What stands before an `@` is no host, whatever it looks like: the parser knows.
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::is_here;

    #[rstest]
    fn addresses_of_this_machine_are_here(
        #[values("127.0.0.1:8888", "localhost", "localhost:1/x", "[::1]:8888", "127.1.2.3", "LOCALHOST")] host: &str,
        #[values("", "http://", "https://", "http://user:password@")] before: &str,
    ) {
        assert!(is_here(&format!("{before}{host}")));
    }

    #[rstest]
    fn hosts_that_only_look_like_this_machine_are_not(
        #[values(
            "localhost:pw@192.0.2.2",
            "127.0.0.1:1@h:2",
            "[::1]:pw@h",
            "h",
            "localhost.evil.example",
            "localhost-of.evil.example",
            "127.evil.example",
            "127.0.0.1.nip.io",
            "",
            "127.0.0.1@h"
        )]
        host: &str,
        #[values("", "http://", "https://")] before: &str,
    ) {
        assert!(!is_here(&format!("{before}{host}")));
    }
}
