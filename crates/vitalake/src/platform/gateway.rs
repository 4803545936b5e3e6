//! Records by HTTP into the embedded log of the life that is there.
//!
//! Between the server's words and the gateway's. Invariant: only a raw dataset with a topic of the embedded log takes
//! records here.

use std::sync::Arc;

use async_trait::async_trait;
use vitalake_contract::{Contract, Source};
use vitalake_ingest::gateway::{BodyForm, GatewayError, Packing, Request};
use vitalake_ingest::log::LogError;
use vitalake_runtime::error::in_full;
use vitalake_serve::ingest::{Encoding, Ingest, IngestError, IngestReport, IngestRequest, RecordForm, RejectedRecord};

use super::{Life, Platform};

#[async_trait]
impl Ingest for Platform {
    async fn ingest(&self, dataset: &str, request: IngestRequest) -> Result<IngestReport, IngestError> {
        let life = self.living().map_err(|error| IngestError::Unavailable(error.to_string()))?;
        let contract = stream(&life, dataset)?;
        let Some(gateway) = &life.intake.gateway else {
            let message = format!("the records of {dataset} come from another Kafka; produce them to its topic there");
            return Err(IngestError::NoStream(message));
        };
        let _hold = life.ending.watch().hold();
        let taken = gateway.take(&contract, of_server(request)).await.map_err(to_server)?;
        Ok(IngestReport {
            dataset: format!("raw.{}", contract.dataset),
            request: taken.request.to_string(),
            accepted: taken.accepted,
            rejected_count: taken.rejected.len() as u64,
            rejected: taken.rejected.into_iter().map(told).collect(),
            quarantine: format!("quarantine.{}", contract.dataset),
            replayed: taken.replayed,
        })
    }
}

/// The contract of a raw dataset that is a stream, `raw.x` or `x`.
fn stream(life: &Life, dataset: &str) -> Result<Arc<Contract>, IngestError> {
    let name = dataset.strip_prefix("raw.").unwrap_or(dataset);
    let mut contracts = life.models_setup.contracts.values();
    let found = contracts.find(|contract| contract.dataset.as_str() == name);
    match found {
        Some(contract) if matches!(contract.source, Some(Source::Stream { .. })) => Ok(Arc::clone(contract)),
        Some(_) => Err(IngestError::NoStream(format!(
            "{name} is no stream; deliver files to a feed with `vitalake ingest FILE`"
        ))),
        None => Err(IngestError::NoStream("there is no such dataset to send records to".to_owned())),
    }
}

fn of_server(request: IngestRequest) -> Request {
    let IngestRequest { client, subject, form, encoding, body, key, partition_key } = request;
    let form = match form {
        RecordForm::Json => BodyForm::Json,
        RecordForm::Lines => BodyForm::Lines,
    };
    let packing = match encoding {
        Encoding::Identity => Packing::None,
        Encoding::Gzip => Packing::Gzip,
        Encoding::Zstandard => Packing::Zstandard,
    };
    Request { client, form, packing, body, key, partition_key, subject }
}

fn told(rejected: vitalake_ingest::decode::Rejected) -> RejectedRecord {
    let vitalake_ingest::decode::Rejected { index, line, byte, reason } = rejected;
    RejectedRecord { index, line, byte, reason }
}

fn to_server(error: GatewayError) -> IngestError {
    let message = error.to_string();
    match error {
        GatewayError::Packing { .. } | GatewayError::Empty => IngestError::Malformed(message, None),
        GatewayError::Malformed { line, byte, .. } => IngestError::Malformed(message, Some((line, byte))),
        GatewayError::NoneAccepted(rejected) => IngestError::NoneAccepted(rejected.into_iter().map(told).collect()),
        GatewayError::TooLarge(_) => IngestError::TooLarge(message),
        GatewayError::OtherSubject { .. } => IngestError::OtherSubject(message),
        GatewayError::KeyReused => IngestError::KeyReused(message),
        GatewayError::KeyInUse => IngestError::KeyInUse(message),
        GatewayError::Behind(_) => IngestError::Behind(message),
        // How much room there is, and where the log lies, is the operator's to know.
        GatewayError::Log(LogError::DiskFull { .. }) => {
            IngestError::NoStorage("the disk has too little room for records now; send it again later".to_owned())
        }
        GatewayError::Log(error) => {
            tracing::error!(error = in_full(&error), "records sent by HTTP could not be written");
            IngestError::NoStorage(
                "the records could not be written; send the request again with the same Idempotency-Key".to_owned(),
            )
        }
        GatewayError::TimedOut(_) | GatewayError::Interrupted => IngestError::Unavailable(message),
    }
}
