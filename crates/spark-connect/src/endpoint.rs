//! Where a Spark is, from `sc://host:port/;key=value;…` (Spark's own form of connection strings).
//!
//! One invariant: a token leaves this process only over TLS or to this machine, and is never shown.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use tonic::metadata::{Ascii, AsciiMetadataKey, AsciiMetadataValue, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, ClientTlsConfig};
use tonic::{Request, Status};

use crate::proto::spark_connect_service_client::SparkConnectServiceClient;
use crate::{Error, Result};

const DEFAULT_PORT: u16 = 15002;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The limit that Spark's server has for what it takes; tonic's own is 4 MiB.
pub(crate) const MESSAGE_BYTES_MAX: usize = 128 << 20;

/// The client that every request goes through.
pub(crate) type Client = SparkConnectServiceClient<InterceptedService<Channel, Headers>>;

/// Where a Spark is and who asks it.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    use_ssl: bool,
    token: Option<String>,
    user_id: String,
    headers: Vec<(String, String)>,
}

impl Endpoint {
    /// Reads `sc://host[:port][/;use_ssl=true;token=…;user_id=…;x-header=…]`.
    ///
    /// # Errors
    /// What is wrong with the text, never with its values.
    pub fn parse(text: &str) -> Result<Self> {
        let rest = text.strip_prefix("sc://").ok_or_else(|| wrong("it does not begin with sc://"))?;
        let (place, parameters) = match rest.split_once('/') {
            Some((place, parameters)) => (place, parameters),
            None if rest.contains(';') => return Err(wrong("parameters stand after `/;`")),
            None => (rest, ""),
        };
        let (host, port) = host_and_port(place)?;
        let mut endpoint =
            Self { host, port, use_ssl: false, token: None, user_id: String::from("vitalake"), headers: Vec::new() };
        if !parameters.is_empty() && !parameters.starts_with(';') {
            return Err(wrong("there is a path; parameters stand after `/;`"));
        }
        for parameter in parameters.split(';').filter(|parameter| !parameter.is_empty()) {
            endpoint.take(parameter)?;
        }
        if endpoint.secret() && !endpoint.use_ssl && !endpoint.is_loopback() {
            return Err(wrong("a token or header would travel in the clear: say use_ssl=true"));
        }
        Ok(endpoint)
    }

    /// The host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, 15002 when none is said.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whom Spark takes us for.
    #[must_use]
    pub fn user_id(&self) -> &str {
        &self.user_id
    }

    fn take(&mut self, parameter: &str) -> Result<()> {
        let (key, value) = parameter.split_once('=').ok_or_else(|| wrong("a parameter has no `=`"))?;
        let value = percent_decoded(value)?;
        match key {
            "use_ssl" => self.use_ssl = value.parse().map_err(|_| wrong("use_ssl is neither true nor false"))?,
            "token" => self.token = Some(value),
            "user_id" => self.user_id = value,
            "user_agent" => return Err(wrong("user_agent is set by vitalake")),
            "session_id" => return Err(wrong("session_id is set by vitalake, which begins sessions anew")),
            key if key.starts_with("x-") => self.headers.push((key.to_owned(), value)),
            _ => return Err(wrong("a parameter is none of use_ssl, token, user_id and x-…")),
        }
        Ok(())
    }

    fn secret(&self) -> bool {
        self.token.is_some() || !self.headers.is_empty()
    }

    fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// A client whose connection is made when the first request is.
    pub(crate) fn client(&self) -> Result<Client> {
        let scheme = if self.use_ssl { "https" } else { "http" };
        let uri = format!("{scheme}://{}:{}", bracketed(&self.host), self.port);
        let mut channel = Channel::from_shared(uri)
            .map_err(|_| wrong("its host is not one"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(Some(KEEPALIVE));
        if self.use_ssl {
            let tls = ClientTlsConfig::new().with_native_roots();
            channel = channel.tls_config(tls).map_err(|_| wrong("TLS cannot be set up for it"))?;
        }
        Ok(SparkConnectServiceClient::with_interceptor(channel.connect_lazy(), self.headers()?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn headers(&self) -> Result<Headers> {
        let mut pairs = Vec::new();
        if let Some(token) = &self.token {
            let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
                .parse()
                .map_err(|_| wrong("its token has characters that no header holds"))?;
            value.set_sensitive(true);
            pairs.push((AsciiMetadataKey::from_static("authorization"), value));
        }
        for (key, value) in &self.headers {
            let key = key.parse().map_err(|_| wrong("a header's name is not one"))?;
            let value = value.parse().map_err(|_| wrong("a header has characters that no header holds"))?;
            pairs.push((key, value));
        }
        Ok(Headers(pairs))
    }
}

/// Puts the token and the headers on each request.
#[derive(Clone)]
pub(crate) struct Headers(Vec<(AsciiMetadataKey, AsciiMetadataValue)>);

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> std::result::Result<Request<()>, Status> {
        for (key, value) in &self.0 {
            request.metadata_mut().insert(key.clone(), value.clone());
        }
        Ok(request)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sc://{}:{}", bracketed(&self.host), self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}{}", if self.use_ssl { " over TLS" } else { "" })
    }
}

fn host_and_port(place: &str) -> Result<(String, u16)> {
    if place.contains('@') {
        return Err(wrong("it has a user before `@`: say user_id and token as parameters"));
    }
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(|| wrong("its `[` is not closed"))?;
            (
                host,
                after
                    .strip_prefix(':')
                    .or(after.is_empty().then_some(""))
                    .ok_or_else(|| wrong("its port is not one"))?,
            )
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '%') {
        return Err(wrong("it has no host"));
    }
    let port = if port.is_empty() { DEFAULT_PORT } else { port.parse().map_err(|_| wrong("its port is not one"))? };
    if port == 0 {
        return Err(wrong("its port is not one"));
    }
    Ok((host.to_owned(), port))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn percent_decoded(text: &str) -> Result<String> {
    let bad = || wrong("a parameter has a `%` that is not followed by two hexadecimal digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or_else(bad);
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| bad())?);
    }
    String::from_utf8(bytes).map_err(|_| wrong("a parameter is not UTF-8"))
}

fn wrong(reason: &'static str) -> Error {
    Error::Endpoint { reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("sc://spark", "spark", 15002)]
    #[case("sc://spark:1/", "spark", 1)]
    #[case("sc://[::1]:15002/;token=a", "::1", 15002)]
    #[case("sc://127.0.0.1/;token=a", "127.0.0.1", 15002)]
    #[case("sc://localhost:7/;x-team=a;user_id=b;", "localhost", 7)]
    #[case("sc://spark/;use_ssl=true;token=a%3Db", "spark", 15002)]
    fn a_connection_string_says_where_spark_is(#[case] text: &str, #[case] host: &str, #[case] port: u16) {
        let endpoint = Endpoint::parse(text).expect("an endpoint");
        assert_eq!((endpoint.host(), endpoint.port()), (host, port));
        endpoint.headers().expect("headers");
    }

    #[rstest]
    #[case("http://spark")]
    #[case("sc://")]
    #[case("sc://:15002")]
    #[case("sc://spark:0")]
    #[case("sc://spark:70000")]
    #[case("sc://spark;use_ssl=true")]
    #[case("sc://spark/path")]
    #[case("sc://me@spark")]
    #[case("sc://spark/;token=s3cret")]
    #[case("sc://spark/;x-api-key=s3cret")]
    #[case("sc://spark/;use_ssl=yes")]
    #[case("sc://spark/;s3cret")]
    #[case("sc://spark/;s3cret=a")]
    #[case("sc://spark/;session_id=s3cret")]
    #[case("sc://spark/;use_ssl=true;token=%zs3cret")]
    #[case("sc://[::1")]
    fn what_is_no_connection_string_is_refused_without_its_values(#[case] text: &str) {
        let error = Endpoint::parse(text).expect_err("a refusal");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }

    #[test]
    fn a_token_is_never_shown() {
        let endpoint = Endpoint::parse("sc://spark/;use_ssl=true;token=s3cret;x-key=s3cret").expect("an endpoint");
        let headers = endpoint.headers().expect("headers");
        assert_eq!(headers.0.len(), 2);
        assert!(!format!("{endpoint} {endpoint:?}").contains("s3cret"));
    }

    #[test]
    fn a_token_is_decoded_into_its_header() {
        let endpoint = Endpoint::parse("sc://localhost/;token=a%3Db%3b").expect("an endpoint");
        let request = endpoint.headers().expect("headers").call(Request::new(())).expect("a request");
        assert_eq!(request.metadata().get("authorization").expect("a header"), "Bearer a=b;");
    }
}
