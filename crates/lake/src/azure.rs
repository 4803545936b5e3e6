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
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use vitalake_runtime::config::masked_url;
use vitalake_runtime::health::Health;

use crate::place::{Opened, PlaceError, RequestKind, Requests};

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a request may take, its body of at most a few megabytes included.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// How long a request may take before the store counts as away; it is waited for all the same.
const SLOW: Duration = Duration::from_secs(5);
/// How long one request is tried again before its caller is told.
const RETRY_MAX: Duration = Duration::from_secs(8);

/// The store that a URL names.
pub(crate) fn open(url: &str, health: Health) -> Result<Opened, PlaceError> {
    let wrong = |reason: String| PlaceError::Wrong { url: masked_url(url), reason };
    let prefix = url.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|error| wrong(error.to_string()))?;
    let requests = Arc::new(Requests::default());
    let connector = Counting { requests: Arc::clone(&requests), health: health.clone() };
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(3), base: 2.0 };
    let store = MicrosoftAzureBuilder::from_env()
        .with_url(url)
        .with_retry(RetryConfig { backoff, max_retries: 8, retry_timeout: RETRY_MAX })
        .with_http_connector(connector)
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let store: Arc<dyn ObjectStore> = Arc::new(PrefixStore::new(store, prefix));
    Ok(Opened { store, requests: Some(requests), health: Some(health) })
}

/// Makes clients that count.
#[derive(Clone, Debug)]
struct Counting {
    requests: Arc<Requests>,
    health: Health,
}

impl HttpConnector for Counting {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let options = options.clone().with_connect_timeout(CONNECT_MAX).with_timeout(REQUEST_MAX);
        let inner = ReqwestConnector::default().connect(&options)?;
        Ok(HttpClient::new(Counted { inner, requests: Arc::clone(&self.requests), health: self.health.clone() }))
    }
}

#[derive(Debug)]
struct Counted {
    inner: HttpClient,
    requests: Arc<Requests>,
    health: Health,
}

#[async_trait]
impl HttpService for Counted {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.requests.add(kind(&request));
        self.requests.bytes_sent.fetch_add(length(request.headers().get("content-length")), Ordering::Relaxed);
        let answering = self.inner.execute(request);
        tokio::pin!(answering);
        let answer = tokio::select! {
            answer = &mut answering => answer,
            () = tokio::time::sleep(SLOW) => {
                self.health.failed(format!("it has not answered for {} s", SLOW.as_secs()));
                answering.await
            }
        };
        match &answer {
            Ok(response) => self.note(response),
            Err(error) => self.health.failed(format!("{:?}: {}", error.kind(), root_cause(error))),
        }
        answer
    }
}

impl Counted {
    fn note(&self, response: &HttpResponse) {
        let status = response.status().as_u16();
        self.requests.bytes_received.fetch_add(length(response.headers().get("content-length")), Ordering::Relaxed);
        match status {
            429 | 503 => {
                self.requests.throttled.fetch_add(1, Ordering::Relaxed);
                self.health.failed(format!("it answered {status}: too many requests, or busy"));
            }
            401 | 403 => {
                self.health.failed(format!("it answered {status}: the identity or its role does not allow this"))
            }
            500.. => self.health.failed(format!("it answered {status}")),
            _ => self.health.answered(),
        }
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
