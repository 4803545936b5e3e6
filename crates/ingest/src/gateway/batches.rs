//! A request's records as batches, one for each partition that they go to.
//!
//! A record goes where its key leads: a key of the request's own, else the record's subject or the first column of its
//! primary key. Records without a key stay together. Invariant: of a request from who may write of one subject only,
//! either every record is of that subject or there is no batch.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use uuid::Uuid;
use vitalake_contract::{Column, ColumnType, Contract};

use super::keys::Once;
use super::unpack::unpacked;
use super::{BodyForm, GatewayError, GatewayOptions, REQUEST_HEADER, Request};
use crate::decode::{Found, Picked, Rejected, SplitLimits, Unsplit, pick, split};
use crate::log::{BatchBuilder, CheckedBatch, LogError};
use crate::murmur2;

/// Where the next request without any key goes.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What is to be appended.
pub(super) struct Batches {
    pub(super) request: Uuid,
    pub(super) records: u64,
    /// What makes the request be there once.
    pub(super) once: Option<Once>,
    by_partition: BTreeMap<i32, BatchBuilder>,
}

/// The partition in which Kafka's own clients put records of a key.
fn partition_of(key: &[u8], partitions: u32) -> i32 {
    i32::try_from(murmur2::partition(key, partitions)).unwrap_or(0)
}

impl Batches {
    /// Of a request, with what in it is no record.
    pub(super) fn of(
        contract: &Contract,
        request: Request,
        partitions: u32,
        (now_ms, options): (i64, &GatewayOptions),
    ) -> Result<(Self, Vec<Rejected>), GatewayError> {
        let body = unpacked(request.body, request.packing, options.body_bytes_max)?;
        let limits = SplitLimits { records_max: options.records_max, record_bytes_max: options.record_bytes_max };
        let Found { records, rejected } =
            split(&body, request.form, limits).map_err(|unsplit| refused(unsplit, options))?;
        if records.is_empty() {
            return Err(if rejected.is_empty() { GatewayError::Empty } else { GatewayError::NoneAccepted(rejected) });
        }
        let form: &[u8] = if request.form == BodyForm::Json { b"json" } else { b"lines" };
        let partition_key = request.partition_key.as_deref();
        let content = [form, partition_key.unwrap_or_default().as_bytes(), &body];
        let name = contract.dataset.as_str();
        let once = request.key.as_deref().map(|key| Once::of(&request.client, name, key, content));
        let id = once.map_or_else(Uuid::new_v4, |once| once.request);
        let together = match once {
            Some(_) => partition_of(id.as_bytes(), partitions),
            None => partition_of(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes(), partitions),
        };
        let (subjects, keyed) = (contract.subjects().collect::<Vec<_>>(), key_column(contract));
        let mut by_partition: BTreeMap<i32, BatchBuilder> = BTreeMap::new();
        let text = id.to_string();
        let headers = [(REQUEST_HEADER.as_bytes(), Some(text.as_bytes()))];
        for (index, place) in records.iter().enumerate() {
            let record = body.get(place.clone()).unwrap_or_default().trim_ascii();
            if let Some(own) = &request.subject
                && !is_of(record, &subjects, own)
            {
                return Err(GatewayError::OtherSubject { index: number(index, &rejected) });
            }
            let in_it = || keyed.and_then(|column| text_of(pick(record, &column.path)));
            let key = partition_key.map(str::to_owned).or_else(in_it);
            let partition = key.as_deref().map_or(together, |key| partition_of(key.as_bytes(), partitions));
            let batch = by_partition.entry(partition).or_default();
            batch.push_with(now_ms, key.as_deref().map(str::as_bytes), Some(record), &headers);
        }
        let batches = Self { request: id, records: records.len() as u64, once, by_partition };
        Ok((batches, rejected))
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> usize {
        self.by_partition.values().map(BatchBuilder::bytes).sum()
    }

    /// The batches as the log takes them, by partition.
    pub(super) fn checked(&self) -> Result<Vec<(i32, CheckedBatch)>, GatewayError> {
        let producer = self.once.map(|once| once.producer);
        let of = |(partition, batch): (&i32, &BatchBuilder)| {
            let checked = CheckedBatch::new(batch.build(producer));
            checked.map(|batch| (*partition, batch)).map_err(|_| GatewayError::Interrupted)
        };
        self.by_partition.iter().map(of).collect()
    }

    /// What a refusal of the log means for the sender.
    pub(super) fn refused(&self, error: LogError) -> GatewayError {
        match error {
            LogError::OutOfOrderSequence { .. } | LogError::ProducerFenced(_) if self.once.is_some() => {
                GatewayError::KeyReused
            }
            other => GatewayError::Log(other),
        }
    }
}

fn refused(unsplit: Unsplit, options: &GatewayOptions) -> GatewayError {
    match unsplit {
        Unsplit::Malformed { line, byte, what } => GatewayError::Malformed { line, byte, what },
        Unsplit::TooMany => {
            let max = options.records_max;
            GatewayError::TooLarge(format!("the body has more than {max} records; send it in parts"))
        }
    }
}

/// The number in the body of a good record.
fn number(good: usize, rejected: &[Rejected]) -> u32 {
    let good = u32::try_from(good).unwrap_or(u32::MAX);
    rejected.iter().fold(good, |at, one| if one.index <= at { at + 1 } else { at })
}

/// The column whose value is a record's key.
fn key_column(contract: &Contract) -> Option<&Column> {
    let first = || contract.columns.get(*contract.primary_key.first()?);
    contract.subjects().next().or_else(first)
}

fn text_of(picked: Picked) -> Option<String> {
    match picked {
        Picked::Text(text) | Picked::Bare(text) => Some(text),
        Picked::Nothing | Picked::Unclear => None,
    }
}

/// Whether a record names that subject, as the decoder will read it, and nobody else.
fn is_of(record: &[u8], subjects: &[&Column], own: &str) -> bool {
    let mut is_named = false;
    for subject in subjects {
        match (pick(record, &subject.path), &subject.kind) {
            (Picked::Nothing, _) => {}
            (Picked::Text(text), ColumnType::String) if !own.is_empty() && text == own => is_named = true,
            (Picked::Bare(text), ColumnType::Long | ColumnType::Int) if text == own => is_named = true,
            _ => return false,
        }
    }
    is_named
}
