//! `POST /api/v1/deliveries/{dataset}`: a file's bytes from the connection to the platform.
//!
//! Between the router and [`crate::platform::Deliveries::deliver`]. The sender says beforehand how long the file is, or
//! sends it in chunks whose last one is its end; it may not stand still for long, and only so many files come in at once.
//! Invariant: the stream that the platform is given ends only where the file does; everything else is an error in it.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use bytes::Bytes;
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use vitalake_ops::status::DeliveryReport;

use super::App;
use crate::platform::{ApiError, ByteStream, DeliveryFormat, DeliveryRequest};

/// How long the rest of a refused file is read, so that its sender gets to the answer.
const DRAIN_TIME: Duration = Duration::from_secs(30);

/// What a delivery's address says of it.
#[derive(Debug, Deserialize)]
pub struct DeliveryQuery {
    /// The file's name; its ending says the format.
    #[serde(default)]
    name: String,
    /// `csv`, `json`, `parquet`, `arrow` or `zip`.
    format: Option<String>,
    /// The day that the file stands for.
    business_date: Option<String>,
    /// Whether it is held where it would be refused.
    hold: Option<String>,
    /// Control totals: `rows`, `bytes`, `sha256`, `sum.COLUMN`.
    #[serde(flatten)]
    totals: BTreeMap<String, String>,
}

impl DeliveryQuery {
    fn request(self) -> Result<DeliveryRequest, ApiError> {
        let format = format(&self)?;
        let hold = match self.hold.as_deref() {
            None | Some("false") => false,
            Some("" | "true") => true,
            Some(_) => return Err(ApiError::Invalid("hold is true or false".to_owned())),
        };
        let totals = self.totals.into_iter().collect();
        Ok(DeliveryRequest { name: self.name, format, business_date: self.business_date, hold, totals })
    }
}

/// Takes a delivered file.
pub async fn deliver(
    State(app): State<App>,
    Extension(places): Extension<Arc<Semaphore>>,
    Path(dataset): Path<String>,
    Query(query): Query<DeliveryQuery>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let body = Incoming(Arc::new(Mutex::new((body.into_data_stream(), false))));
    match take(&app, places, &dataset, query, &headers, body.clone()).await {
        Ok(report) => Json(report).into_response(),
        Err(error) => {
            // A client that still sends does not read: it would see a broken connection in place of the reason. One that
            // asked first whether to send has not begun, and one that stood still sends nothing.
            let sends = body.is_begun() || !headers.contains_key(header::EXPECT);
            if sends && !matches!(error, ApiError::TimedOut(_)) {
                let rest = async { while poll_fn(|context| body.poll(context)).await.is_some() {} };
                let _ = timeout(DRAIN_TIME, rest).await;
            }
            error.into_response()
        }
    }
}

/// A body that is still there when its reader has given up, and whether it was asked for.
#[derive(Clone)]
struct Incoming(Arc<Mutex<(BodyDataStream, bool)>>);

impl Incoming {
    fn poll(&self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, axum::Error>>> {
        let mut guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stream, begun) = &mut *guard;
        *begun = true;
        stream.poll_next_unpin(context)
    }

    fn is_begun(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

async fn take(
    app: &App,
    places: Arc<Semaphore>,
    dataset: &str,
    query: DeliveryQuery,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<DeliveryReport, ApiError> {
    let request = query.request()?;
    let length = length(headers)?;
    let place = match timeout(app.limits.delivery_wait_max, places.acquire_owned()).await {
        Ok(Ok(place)) => place,
        _ => {
            return Err(ApiError::Unavailable(format!(
                "{} files are being delivered already; deliver this one again when some of them are done",
                app.limits.deliveries_max
            )));
        }
    };
    let upload = Upload {
        body,
        taken: 0,
        length,
        bytes_max: app.limits.delivery_bytes_max,
        pause_max: app.limits.pause_max,
        place,
    };
    app.deliveries.deliver(dataset, request, upload.into_stream()).await
}

fn format(query: &DeliveryQuery) -> Result<DeliveryFormat, ApiError> {
    let format = match &query.format {
        Some(word) => DeliveryFormat::named(word),
        None => DeliveryFormat::of_name(&query.name),
    };
    let unknown = "the format is not known; add ?format= with csv, json, parquet, arrow or zip";
    format.ok_or_else(|| ApiError::Invalid(unknown.to_owned()))
}

/// How many bytes the sender has promised; none where it sends chunks.
fn length(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("unreadable").trim());
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(ApiError::Unsupported(format!(
            "a delivered file is not read with the Content-Encoding {encoding:?}; send it without that header, packed with gzip, Zstandard or ZIP or not"
        )));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    if length.is_none() && !headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(ApiError::NoLength(
            "nothing says where the file ends; send it with Content-Length, or with Transfer-Encoding: chunked"
                .to_owned(),
        ));
    }
    Ok(length)
}

/// A file on its way from the connection to the platform.
struct Upload {
    body: Incoming,
    taken: u64,
    length: Option<u64>,
    bytes_max: usize,
    pause_max: Duration,
    /// Given back when nobody reads any longer.
    place: OwnedSemaphorePermit,
}

impl Upload {
    fn into_stream(self) -> ByteStream {
        futures::stream::unfold(Some(self), |upload| async move {
            let mut upload = upload?;
            match upload.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(upload))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
        .boxed()
    }

    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let _held = &self.place;
        let body = &self.body;
        let Ok(next) = timeout(self.pause_max, poll_fn(|context| body.poll(context))).await else {
            let seconds = self.pause_max.as_secs();
            let message = format!("its sender sent nothing for {seconds} s; send it without pauses");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        };
        let broke =
            || io::Error::new(io::ErrorKind::UnexpectedEof, "the connection broke before the file was complete");
        let bytes = match next {
            Some(bytes) => bytes.map_err(|_| broke())?,
            None if self.length.is_some_and(|length| length != self.taken) => return Err(broke()),
            None => return Ok(None),
        };
        self.taken += bytes.len() as u64;
        if self.taken > self.bytes_max as u64 {
            let message = format!("it is larger than {} bytes; deliver it in parts", self.bytes_max);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        Ok(Some(bytes))
    }
}
