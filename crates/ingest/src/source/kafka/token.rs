//! Tokens for SASL OAUTHBEARER: asked for by HTTP where librdkafka's properties say, and handed to it.
//!
//! librdkafka can do this itself where it was built with libcurl; ours is not, and Azure's workload identity is not
//! among what it can. The properties keep its names and meaning (`sasl.oauthbearer.method: oidc` and what belongs to
//! it). Invariant: no message holds a token, a secret, or what an endpoint says beyond its kind of refusal.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::client::OAuthToken;
use reqwest::header::ACCEPT;
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};
use serde::Deserialize;
use vitalake_runtime::config::masked_url;

/// What all properties begin with that are read here.
const PREFIX: &str = "sasl.oauthbearer.";
/// How long an endpoint may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// How long a token is good for whose endpoint does not say so.
const LIFETIME_UNSAID: Duration = Duration::from_secs(300);
/// Where a machine of Azure asks who it is.
const AZURE_IMDS: &str = "http://169.254.169.254/metadata/identity/oauth2/token";

/// Where a token comes from, and who asks for it.
#[derive(Clone)]
pub(super) struct TokenOptions {
    endpoint: Url,
    scope: Option<String>,
    identity: Identity,
}

#[derive(Clone)]
enum Identity {
    /// A client and its secret.
    Secret { client: String, secret: String },
    /// A client that a token in a file speaks for, such as a pod's (RFC 7523, 2.2); the file is read each time.
    Assertion { client: String, file: PathBuf },
    /// Azure's name for this machine.
    Machine { query: String },
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenProblem {
    #[error("the token endpoint {endpoint} does not answer: {reason}")]
    Away { endpoint: String, reason: String },
    #[error("the token endpoint {endpoint} answered {status}{said}")]
    Refused { endpoint: String, status: StatusCode, said: String },
    #[error("the token endpoint {endpoint} answered without a token that can be read")]
    Unreadable { endpoint: String },
    #[error("sasl.oauthbearer.assertion.file {} cannot be read: {source}", file.display())]
    Assertion { file: PathBuf, source: std::io::Error },
    #[error("sasl.oauthbearer.method is not oidc: there is nowhere to ask for a token")]
    Nowhere,
}

#[derive(Deserialize)]
struct Granted {
    access_token: String,
    /// Seconds; Azure's machines write the number as text.
    #[serde(default)]
    expires_in: serde_json::Value,
}

#[derive(Default, Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
    /// Entra's own numbers, as in AADSTS7000215.
    #[serde(default)]
    error_codes: Vec<u32>,
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
        let identity = match metadata.unwrap_or("none") {
            "azure_imds" => {
                let query = config.and_then(|config| config.split(',').find_map(|pair| pair.strip_prefix("query=")));
                let query = query.ok_or("azure_imds needs sasl.oauthbearer.config: query=api-version=…&resource=…")?;
                Identity::Machine { query: query.to_owned() }
            }
            "none" => {
                let client = client.ok_or("sasl.oauthbearer.client.id is missing")?.to_owned();
                match (secret, file) {
                    (Some(secret), None) => Identity::Secret { client, secret: secret.to_owned() },
                    (None, Some(file)) => Identity::Assertion { client, file: file.into() },
                    _ => {
                        let names = "sasl.oauthbearer.client.secret or sasl.oauthbearer.assertion.file";
                        return Err(format!("give one of {names}"));
                    }
                }
            }
            _ => return Err("sasl.oauthbearer.metadata.authentication.type can only be azure_imds or none".to_owned()),
        };
        let default = matches!(identity, Identity::Machine { .. }).then_some(AZURE_IMDS);
        let endpoint = endpoint.or(default).ok_or("sasl.oauthbearer.token.endpoint.url is missing")?;
        let endpoint = Url::parse(endpoint).map_err(|_| "sasl.oauthbearer.token.endpoint.url is no URL")?;
        Ok(Some(Self { endpoint, scope: scope.map(str::to_owned), identity }))
    }

    /// Asks for a token. Blocking; not from within a runtime.
    pub(super) fn token(&self, now_ms: i64) -> Result<OAuthToken, TokenProblem> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| self.away(error.to_string()))?;
        runtime.block_on(self.ask(now_ms))
    }

    async fn ask(&self, now_ms: i64) -> Result<OAuthToken, TokenProblem> {
        let away = |error: reqwest::Error| self.away(root_cause(&error.without_url()));
        let answer = self.send(Client::builder().timeout(ANSWER_MAX).redirect(Policy::none())).await?;
        let status = answer.status();
        let body = bounded(answer).await.map_err(away)?;
        if !status.is_success() {
            let refusal: Refusal = serde_json::from_slice(&body).unwrap_or_default();
            return Err(TokenProblem::Refused { endpoint: self.shown(), status, said: refusal.in_words() });
        }
        let granted: Granted =
            serde_json::from_slice(&body).map_err(|_| TokenProblem::Unreadable { endpoint: self.shown() })?;
        let seconds = granted.expires_in.as_u64().or_else(|| granted.expires_in.as_str()?.parse().ok());
        let lifetime = seconds.map_or(LIFETIME_UNSAID, Duration::from_secs);
        Ok(OAuthToken {
            token: granted.access_token,
            principal_name: self.principal().to_owned(),
            lifetime_ms: now_ms.saturating_add(i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX)),
        })
    }

    async fn send(&self, client: reqwest::ClientBuilder) -> Result<Response, TokenProblem> {
        let away = |error: reqwest::Error| self.away(root_cause(&error.without_url()));
        let mut form = vec![("grant_type", "client_credentials".to_owned())];
        form.extend(self.scope.iter().map(|scope| ("scope", scope.clone())));
        let request = match &self.identity {
            Identity::Machine { query } => {
                let mut url = self.endpoint.clone();
                url.set_query(Some(query));
                // The machine's own address is never behind a proxy.
                client.no_proxy().build().map_err(away)?.get(url).header("Metadata", "true")
            }
            Identity::Secret { client: id, secret } => {
                let request = client.build().map_err(away)?.post(self.endpoint.clone());
                request.basic_auth(form_encoded(id), Some(form_encoded(secret))).form(&form)
            }
            Identity::Assertion { client: id, file } => {
                let unread = |source| TokenProblem::Assertion { file: file.clone(), source };
                let assertion = std::fs::read_to_string(file).map_err(unread)?;
                let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned();
                form.push(("client_id", id.clone()));
                form.push(("client_assertion_type", kind));
                form.push(("client_assertion", assertion.trim().to_owned()));
                client.build().map_err(away)?.post(self.endpoint.clone()).form(&form)
            }
        };
        request.header(ACCEPT, "application/json").send().await.map_err(away)
    }

    fn principal(&self) -> &str {
        match &self.identity {
            Identity::Secret { client, .. } | Identity::Assertion { client, .. } => client,
            Identity::Machine { .. } => "machine",
        }
    }

    fn shown(&self) -> String {
        masked_url(self.endpoint.as_str())
    }

    fn away(&self, reason: String) -> TokenProblem {
        TokenProblem::Away { endpoint: self.shown(), reason }
    }
}

impl Refusal {
    /// The kind of refusal: the name that OAuth 2 gives it, and Entra's numbers.
    fn in_words(&self) -> String {
        let is_name = !self.error.is_empty() && self.error.len() <= 64;
        let name = self.error.chars().all(|c| c.is_ascii_lowercase() || c == '_').then_some(self.error.clone());
        let codes = self.error_codes.iter().map(|code| format!("AADSTS{code}"));
        let said: Vec<String> = name.filter(|_| is_name).into_iter().chain(codes).collect();
        if said.is_empty() { String::new() } else { format!(": {}", said.join(", ")) }
    }
}

async fn bounded(mut answer: Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            body.clear();
            break;
        }
    }
    Ok(body)
}

/// As RFC 6749, 2.3.1 wants it before it goes into the header.
fn form_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn root_cause(error: &(dyn Error + 'static)) -> String {
    error.source().map_or_else(|| error.to_string(), root_cause)
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
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
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
        assert_eq!(said, format!("the token endpoint {url} answered 401 Unauthorized: invalid_client, AADSTS7000215"));
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
        assert!(TokenOptions::parse(&BTreeMap::new()).unwrap().is_none());
    }
}
