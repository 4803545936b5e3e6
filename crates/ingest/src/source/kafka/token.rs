//! Tokens for SASL OAUTHBEARER: asked for by HTTP where librdkafka's properties say, and handed to it.
//!
//! librdkafka can do this itself where it was built with libcurl; ours is not, and Azure's identities are not
//! among what it can. The properties keep its names and meaning (`sasl.oauthbearer.method: oidc` and what belongs to
//! it); the asking is `vitalake_runtime::azure`. Invariant: no message holds a token, a secret, or what an endpoint says
//! beyond its kind of refusal.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rdkafka::client::OAuthToken;
use vitalake_runtime::azure::{Ask, Audience, Identity, TokenError};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::process_environment;

/// What all properties begin with that are read here.
const PREFIX: &str = "sasl.oauthbearer.";
/// Where a machine of Azure asks who it is.
const AZURE_IMDS: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// Where a token comes from, and who asks for it.
#[derive(Clone)]
pub(super) struct TokenOptions {
    endpoint: String,
    scope: Option<String>,
    client: Client,
}

#[derive(Clone)]
enum Client {
    /// A client and its secret.
    Secret { client: String, secret: String },
    /// A client that a token in a file speaks for, such as a pod's (RFC 7523, 2.2); the file is read each time.
    Assertion { client: String, file: PathBuf },
    /// Azure's name for this machine.
    Machine { query: String },
    /// Who this process is to Azure, by its environment.
    Azure { identity: Identity },
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenProblem {
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("sasl.oauthbearer.method is not oidc: there is nowhere to ask for a token")]
    Nowhere,
}

/// Whether a property is read here and not by librdkafka.
pub(super) fn is_ours(properties: &BTreeMap<String, String>, name: &str) -> bool {
    name.starts_with(PREFIX) && is_oidc(properties)
}

fn is_oidc(properties: &BTreeMap<String, String>) -> bool {
    properties.get("sasl.oauthbearer.method").is_some_and(|method| method.eq_ignore_ascii_case("oidc"))
}

impl TokenOptions {
    /// What a client's properties say; `None` where tokens are not asked for.
    ///
    /// # Errors
    /// What is missing, does not go together, or is not known here.
    pub(super) fn parse(properties: &BTreeMap<String, String>) -> Result<Option<Self>, String> {
        if !is_oidc(properties) {
            return Ok(None);
        }
        let mut given: BTreeMap<&str, &str> =
            properties.iter().filter_map(|(name, value)| Some((name.strip_prefix(PREFIX)?, value.as_str()))).collect();
        let mut take = |name: &'static str| given.remove(name);
        take("method");
        let client = take("client.id").or(take("client.credentials.client.id"));
        let secret = take("client.secret").or(take("client.credentials.client.secret"));
        let (file, scope, endpoint) = (take("assertion.file"), take("scope"), take("token.endpoint.url"));
        let (config, grant, metadata) = (take("config"), take("grant.type"), take("metadata.authentication.type"));
        if let Some(unknown) = given.keys().next() {
            return Err(format!("{PREFIX}{unknown} is not supported with sasl.oauthbearer.method oidc"));
        }
        if grant.is_some_and(|grant| grant != "client_credentials") {
            return Err("sasl.oauthbearer.grant.type can only be client_credentials".to_owned());
        }
        let scope = scope.map(str::to_owned);
        let client = match metadata.unwrap_or("none") {
            "azure" => {
                if scope.is_none() {
                    return Err("sasl.oauthbearer.scope is missing: https://NAMESPACE.servicebus.windows.net/.default"
                        .to_owned());
                }
                let identity = Identity::from_environment(&process_environment()).map_err(|error| error.to_string())?;
                return Ok(Some(Self { endpoint: String::new(), scope, client: Client::Azure { identity } }));
            }
            "azure_imds" => {
                let query = config.and_then(|config| config.split(',').find_map(|pair| pair.strip_prefix("query=")));
                let query = query.ok_or("azure_imds needs sasl.oauthbearer.config: query=api-version=…&resource=…")?;
                Client::Machine { query: query.to_owned() }
            }
            "none" => of_client(client, secret, file)?,
            _ => {
                return Err(
                    "sasl.oauthbearer.metadata.authentication.type can only be azure, azure_imds or none".to_owned()
                );
            }
        };
        let default = matches!(client, Client::Machine { .. }).then_some(AZURE_IMDS);
        let endpoint = endpoint.or(default).ok_or("sasl.oauthbearer.token.endpoint.url is missing")?;
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err("sasl.oauthbearer.token.endpoint.url is no URL".to_owned());
        }
        Ok(Some(Self { endpoint: endpoint.to_owned(), scope, client }))
    }

    /// Asks for a token. Blocking; not from within a runtime.
    pub(super) fn token(&self, now_ms: i64) -> Result<OAuthToken, TokenProblem> {
        let clock = Clock::system();
        let granted = match &self.client {
            Client::Azure { identity } => {
                identity.grant(&Audience::new(self.scope.as_deref().unwrap_or_default()), &clock)?
            }
            _ => self.ask()?.send(&clock)?,
        };
        Ok(OAuthToken {
            token: granted.token.expose().to_owned(),
            principal_name: self.principal().to_owned(),
            lifetime_ms: now_ms.saturating_add(i64::try_from(granted.lifetime.as_millis()).unwrap_or(i64::MAX)),
        })
    }

    fn ask(&self) -> Result<Ask, TokenError> {
        let grant = || Ask::grant(&self.endpoint, self.scope.as_deref());
        match &self.client {
            Client::Secret { client, secret } => Ok(grant().with_basic(client, secret)),
            Client::Assertion { client, file } => grant().with_assertion(client, file),
            Client::Machine { query } => Ok(Ask::query(&self.endpoint, query).with_header("Metadata", "true")),
            Client::Azure { .. } => Ok(grant()),
        }
    }

    fn principal(&self) -> &str {
        match &self.client {
            Client::Secret { client, .. } | Client::Assertion { client, .. } => client,
            Client::Machine { .. } | Client::Azure { .. } => "machine",
        }
    }
}

fn of_client(client: Option<&str>, secret: Option<&str>, file: Option<&str>) -> Result<Client, String> {
    let client = client.ok_or("sasl.oauthbearer.client.id is missing")?.to_owned();
    match (secret, file) {
        (Some(secret), None) => Ok(Client::Secret { client, secret: secret.to_owned() }),
        (None, Some(file)) => Ok(Client::Assertion { client, file: file.into() }),
        _ => Err("give one of sasl.oauthbearer.client.secret or sasl.oauthbearer.assertion.file".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    const NOW_MS: i64 = 1_760_000_000_000;

    fn properties(more: &[(&str, &str)]) -> BTreeMap<String, String> {
        let method = ("method", "oidc");
        let all = std::iter::once(&method).chain(more);
        all.map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_owned())).collect()
    }

    /// An endpoint that gives one answer; what it was asked comes back when it has.
    fn endpoint(status: &'static str, body: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let text = loop {
                let mut part = [0; 4096];
                let count = stream.read(&mut part).unwrap();
                request.extend_from_slice(part.get(..count).unwrap());
                let text = String::from_utf8(request.clone()).unwrap();
                let Some((head, sent)) = text.split_once("\r\n\r\n") else { continue };
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
                if length.is_none_or(|length| length.parse::<usize>().unwrap() <= sent.len()) {
                    break text;
                }
            };
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").unwrap();
            text
        });
        (url, answering)
    }

    fn ask(more: &[(&str, &str)]) -> Result<OAuthToken, TokenProblem> {
        TokenOptions::parse(&properties(more)).unwrap().unwrap().token(NOW_MS)
    }

    #[test]
    fn a_client_shows_its_secret_to_the_endpoint_alone() {
        let (url, asked) = endpoint("200 OK", r#"{"access_token":"t0","expires_in":3600}"#);
        let token = ask(&[
            ("client.id", "app"),
            ("client.secret", "a+b%c~"),
            ("token.endpoint.url", &url),
            ("scope", "https://hub.example/.default"),
        ]);
        let (token, asked) = (token.unwrap(), asked.join().unwrap());
        assert_eq!((token.token.as_str(), token.principal_name.as_str()), ("t0", "app"));
        assert_eq!(token.lifetime_ms, NOW_MS + 3_600_000);
        // `app:a%2Bb%25c~`
        assert!(asked.contains("authorization: Basic YXBwOmElMkJiJTI1Y34="), "{asked}");
        assert!(asked.ends_with("grant_type=client_credentials&scope=https%3A%2F%2Fhub.example%2F.default"), "{asked}");
    }

    #[test]
    fn a_pod_shows_the_token_that_lies_in_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "pod.token\n").unwrap();
        let (url, asked) = endpoint("200 OK", r#"{"access_token":"t0","expires_in":3600}"#);
        ask(&[
            ("client.id", "app"),
            ("assertion.file", file.path().to_str().unwrap()),
            ("token.endpoint.url", &url),
            ("scope", "s"),
        ])
        .unwrap();
        let asked = asked.join().unwrap();
        let form = "grant_type=client_credentials&scope=s&client_id=app&client_assertion_type=\
                    urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=pod.token";
        assert!(asked.ends_with(form) && !asked.contains("authorization"), "{asked}");
    }

    #[test]
    fn a_machine_of_azure_asks_who_it_is() {
        let (url, asked) = endpoint("200 OK", r#"{"access_token":"t0","expires_in":"86399"}"#);
        ask(&[
            ("metadata.authentication.type", "azure_imds"),
            ("config", "query=api-version=2018-02-01&resource=https://hub.example"),
            ("token.endpoint.url", &url),
        ])
        .unwrap();
        let asked = asked.join().unwrap();
        assert!(
            asked.starts_with("GET /token?api-version=2018-02-01&resource=https://hub.example HTTP/1.1"),
            "{asked}"
        );
        assert!(asked.contains("metadata: true"), "{asked}");
    }

    #[test]
    fn a_refusal_is_told_by_its_kind_and_holds_no_secret() {
        let body =
            r#"{"error":"invalid_client","error_description":"secret hunter2 is wrong","error_codes":[7000215]}"#;
        let (url, _asked) = endpoint("401 Unauthorized", body);
        let given = [("client.id", "app"), ("client.secret", "hunter2"), ("token.endpoint.url", url.as_str())];
        let Err(problem) = ask(&given) else { panic!("it was refused") };
        let said = problem.to_string();
        assert_eq!(said, format!("the token endpoint {url} answered 401: invalid_client, AADSTS7000215"));
        let Err(problem) = ask(&given) else { panic!("nobody answers any longer") };
        assert!(problem.to_string().contains("does not answer: Connection refused"), "{problem}");
    }

    #[test]
    fn what_does_not_go_together_is_named() {
        let url = ("token.endpoint.url", "https://login.example/token");
        let said = |more: &[(&str, &str)]| TokenOptions::parse(&properties(more)).err().unwrap();
        assert!(said(&[url]).contains("client.id is missing"));
        assert!(said(&[url, ("client.id", "a")]).contains("client.secret or sasl.oauthbearer.assertion.file"));
        assert!(said(&[("client.id", "a"), ("client.secret", "b")]).contains("token.endpoint.url is missing"));
        assert!(said(&[url, ("extensions", "a=b")]).contains("sasl.oauthbearer.extensions is not supported"));
        assert!(said(&[("metadata.authentication.type", "azure_imds")]).contains("query="));
        assert!(said(&[("metadata.authentication.type", "azure")]).contains("scope is missing"));
        assert!(TokenOptions::parse(&BTreeMap::new()).unwrap().is_none());
    }
}
