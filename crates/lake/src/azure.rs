//! ADLS Gen2 and Azure Blob Storage through `object_store`, with every request counted where it leaves.
//!
//! Credentials and endpoint come from the environment under the names that object_store documents
//! (`AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_STORAGE_SAS_TOKEN`, `AZURE_CLIENT_ID`,
//! `AZURE_FEDERATED_TOKEN_FILE`, `AZURE_STORAGE_ENDPOINT`, …). A request that fails is tried again for a few seconds
//! with jittered waits; after that the lake's own loops wait, hold what is not committed, and say so.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use vitalake_runtime::health::Health;

use crate::refusal::{Container, token_refusal};
use crate::storage::{Opened, RequestKind, Requests, StorageError};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a request may take, its body of at most a few megabytes included.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// How long a request may take before the store counts as away; it is waited for all the same.
const SLOW: Duration = Duration::from_secs(5);
/// How long one request is tried again before its caller is told.
const RETRY_MAX: Duration = Duration::from_secs(8);

/// The store that a URL names.
pub(crate) fn open(url: &str, health: Health) -> Result<Opened, StorageError> {
    let wrong = |reason: String| StorageError::Wrong { url: url.to_owned(), reason };
    let prefix = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let prefix = Path::parse(prefix.trim_end_matches('/'))
        .map_err(|_| wrong("its path is not one that the names of objects can begin with".to_owned()))?;
    let requests = Arc::new(Requests::default());
    let container = Container::of(url, std::env::var("AZURE_STORAGE_ACCOUNT_NAME").ok());
    let connector = Counting { requests: Arc::clone(&requests), health: health.clone(), container };
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(3), base: 2.0 };
    let store = MicrosoftAzureBuilder::from_env()
        .with_url(url)
        .with_retry(RetryConfig { backoff, max_retries: 8, retry_timeout: RETRY_MAX })
        .with_http_connector(connector)
        .build()
        .map_err(|error| wrong(in_our_words(&error.to_string()).to_owned()))?;
    let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(store, prefix));
    Ok(Opened { store, requests: Some(requests), health: Some(health) })
}

/// What the builder refused. Its own texts quote URLs and settings, in which secrets may stand.
fn in_our_words(said: &str) -> &'static str {
    if said.contains("Account must be specified") {
        "no account is named: set AZURE_STORAGE_ACCOUNT_NAME, or write abfss://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"
    } else if said.contains("SAS") {
        "AZURE_STORAGE_SAS_TOKEN is no SAS token: give what follows the `?` of a SAS URL"
    } else if said.contains("access key") || said.contains("decod") {
        "AZURE_STORAGE_ACCOUNT_KEY is no key of an account: it is base64 text"
    } else if said.contains("url") || said.contains("URL") {
        "it, or AZURE_STORAGE_ENDPOINT, is not a URL of Azure storage (docs/azure.md)"
    } else {
        "the settings AZURE_* of the environment do not fit together (docs/azure.md)"
    }
}

/// Makes clients that count.
#[derive(Clone, Debug)]
struct Counting {
    requests: Arc<Requests>,
    health: Health,
    container: Container,
}

impl HttpConnector for Counting {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let options = options.clone().with_connect_timeout(CONNECT_MAX).with_timeout(REQUEST_MAX);
        let inner = ReqwestConnector::default().connect(&options)?;
        Ok(HttpClient::new(Counted { inner, asked: self.clone() }))
    }
}

#[derive(Debug)]
struct Counted {
    inner: HttpClient,
    asked: Counting,
}

#[async_trait]
impl HttpService for Counted {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Counting { requests, health, .. } = &self.asked;
        requests.add(kind(&request));
        let for_token = request.uri().path().contains("/oauth2/");
        requests.bytes_sent.fetch_add(length(request.headers().get("content-length")), Ordering::Relaxed);
        let answering = self.inner.execute(request);
        tokio::pin!(answering);
        let answer = tokio::select! {
            answer = &mut answering => answer,
            () = tokio::time::sleep(SLOW) => {
                health.failed(format!("it has not answered for {} s", SLOW.as_secs()));
                answering.await
            }
        };
        match answer {
            Ok(response) => self.note(response, for_token),
            Err(error) => {
                health.failed(format!("{:?}: {}", error.kind(), root_cause(&error)));
                Err(error)
            }
        }
    }
}

impl Counted {
    /// Takes note of an answer; a refusal's body becomes what it means, so that errors and logs say that. One that lasts
    /// is an error of its own kind.
    fn note(&self, response: HttpResponse, for_token: bool) -> Result<HttpResponse, HttpError> {
        let Counting { requests, health, container } = &self.asked;
        let status = response.status().as_u16();
        requests.bytes_received.fetch_add(length(response.headers().get("content-length")), Ordering::Relaxed);
        match status {
            429 | 503 => {
                requests.throttled.fetch_add(1, Ordering::Relaxed);
                health.failed(format!("it answered {status}: too many requests, or busy"));
            }
            500.. => health.failed(format!("it answered {status}")),
            _ => {
                let code = response.headers().get("x-ms-error-code").and_then(|code| code.to_str().ok());
                let code = code.unwrap_or_default();
                if let Some(refused) = container.never(status, code).filter(|_| !for_token) {
                    health.failed(refused.to_string());
                    return Err(HttpError::new(HttpErrorKind::Unknown, refused));
                }
                let refusal = if for_token { token_refusal(status) } else { container.refusal(status, code) };
                let Some(refusal) = refusal else {
                    health.answered();
                    return Ok(response);
                };
                health.failed(refusal.clone());
                return Ok(HttpResponse::from_parts(response.into_parts().0, refusal.into()));
            }
        }
        Ok(response)
    }
}

fn kind(request: &HttpRequest) -> RequestKind {
    let query = request.uri().query().unwrap_or_default();
    let asks = |what: &str| query.split('&').any(|pair| pair == what);
    match request.method().as_str() {
        "PUT" if asks("comp=block") || asks("comp=blocklist") => RequestKind::Block,
        "PUT" if request.headers().contains_key("if-none-match") => RequestKind::PutIfAbsent,
        "PUT" => RequestKind::Put,
        "GET" if asks("comp=list") => RequestKind::List,
        "GET" => RequestKind::Get,
        "HEAD" => RequestKind::Head,
        "DELETE" => RequestKind::Delete,
        "POST" if asks("comp=batch") => RequestKind::Delete,
        _ => RequestKind::Other,
    }
}

fn length<V: AsRef<[u8]>>(header: Option<V>) -> u64 {
    header.and_then(|value| std::str::from_utf8(value.as_ref()).ok()?.parse().ok()).unwrap_or(0)
}

fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.last().map(ToString::to_string).unwrap_or_default()
}
