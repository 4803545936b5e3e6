//! Erasing a person, between two lives: what was asked for is kept, carried out step by step, proved, and receipted.
//!
//! A request is durable before the life ends. While nobody has log or tables open, `steps` take the person out of them; a
//! life of its own has the models follow; then older versions and what else lies in the data folder go, and everything is
//! read. Invariant: each step finds by itself what is still to do, so that an erasure that was killed anywhere begins again
//! and ends the same; one that is not proved is not called done.

mod desk;
mod find;
mod kept;
mod outside;
mod shared;
mod steps;
mod subjects;

use std::sync::Arc;

use anyhow::Context as _;
use object_store::ObjectStore;
use vitalake_lake::erase::Subject;
use vitalake_lake::storage::{Cache, Opened, StorageUrl};
use vitalake_ops::erasures::{DONE, DRY_RUN, EraseRequest, INCOMPLETE, PENDING, Receipt};
use vitalake_runtime::error::in_full;
use vitalake_serve::platform::Subjects;

pub(super) use desk::{EraseDesk, ErasuresAsked};
use kept::{Asked, Kept};
use steps::Steps;

use super::outside::instant;
use super::{Role, Setup};
use crate::failure::Failure;

/// Bytes of an id.
const ID_BYTES_MAX: usize = 1024;

/// Who was erased, or is to be: what comes of them is refused.
pub(super) fn persons(setup: &Setup) -> anyhow::Result<Arc<[Subject]>> {
    kept(setup).persons()
}

fn kept(setup: &Setup) -> Kept {
    Kept::new(&setup.disk, &setup.config.data)
}

/// Keeps a request, durable before this returns.
fn ask(setup: &Setup, request: &EraseRequest) -> anyhow::Result<Asked> {
    let kept = kept(setup);
    kept.ask(kept.key()?.token(&request.subject), &request.by, setup.clock.now_ms())
}

/// Why nobody can be erased by this process, or by this id.
fn refusal(setup: &Setup, role: Role, request: &EraseRequest) -> Option<String> {
    let id = &request.subject;
    if id.trim().is_empty() || id.len() > ID_BYTES_MAX {
        return Some(format!("a person's id has 1 to {ID_BYTES_MAX} bytes"));
    }
    if role != Role::All {
        return Some("a person is erased by a process with the role all: end the others, and start one".to_owned());
    }
    let has_subject = setup.checked.project.contracts.iter().any(|contract| contract.subjects().next().is_some());
    (!has_subject).then(|| {
        "no contract says which of its columns names a person: write the customProperty `subject: true` under that column"
            .to_owned()
    })
}

/// Where a person may be.
fn subjects_of(setup: &Setup, subject: &str) -> Option<Subjects> {
    // Where that cannot be told the person may have been erased.
    subjects::of(&setup.checked, kept(setup).knows(subject).unwrap_or(true))
}

/// The receipt of an erasure.
fn receipt(setup: &Setup, number: i64) -> anyhow::Result<Receipt> {
    kept(setup).receipt(number)
}

/// What would go from a store, which may be at work.
async fn plan(setup: &Setup, request: &EraseRequest, store: Arc<dyn ObjectStore>) -> anyhow::Result<Receipt> {
    let kept = kept(setup);
    let token = kept.key()?.token(&request.subject);
    let asked = Asked {
        id: uuid::Uuid::nil().to_string(),
        number: 0,
        subject: token,
        by: request.by.clone(),
        requested_ms: setup.clock.now_ms(),
        state: DRY_RUN.to_owned(),
    };
    let steps = Steps::new(setup, &asked, (kept.person_of(&asked)?, store), true);
    finished(setup, &asked, Box::pin(steps.count()).await?)
}

/// Carries out what was asked for and is not done, and what a backup has brought back. What cannot be carried out now is said,
/// and left for the next start.
pub async fn carry_out_due(setup: &Setup, role: Role, lives: &mut u64) {
    if let Err(error) = exchange(setup, role).await {
        tracing::error!(
            error = format!("{error:#}"),
            "who was erased is not known to be the same here and in the lake"
        );
    }
    let due = match due(setup, role).await {
        Ok(due) => due,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "it is not known whether somebody is still to be erased");
            return;
        }
    };
    for asked in due {
        tracing::warn!(erasure = asked.number, "a person is being erased: tables and topics are away until it is done");
        match Box::pin(carry_out(setup, &asked, lives)).await {
            Ok(receipt) if receipt.state == DONE => tracing::info!(erasure = asked.number, "the person is erased"),
            Ok(receipt) => {
                let reasons = receipt.reasons.join("; ");
                tracing::error!(
                    erasure = asked.number,
                    reasons,
                    "the erasure is not complete: the next start tries again"
                );
            }
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(
                    erasure = asked.number,
                    error,
                    "the erasure could not be carried out: the next start tries again"
                );
            }
        }
    }
}

/// Erases in this process, which has the data folder and no life; a dry run changes nothing.
///
/// # Errors
/// When it cannot be carried out; what was begun goes on with the next start.
pub async fn erase_here(setup: &Setup, request: &EraseRequest) -> anyhow::Result<Receipt> {
    if let Some(why) = refusal(setup, Role::All, request) {
        return Err(Failure::input(why, "docs/erasure.md says what an erasure needs").into());
    }
    if request.dry_run {
        return Box::pin(plan(setup, request, open_store(setup).await?.store)).await;
    }
    exchange(setup, Role::All).await?;
    let (asked, mut lives) = (ask(setup, request)?, 0);
    Box::pin(carry_out(setup, &asked, &mut lives)).await
}

/// Brings what is kept of erasures here and in the lake to the same.
async fn exchange(setup: &Setup, role: Role) -> anyhow::Result<()> {
    shared::exchange(&kept(setup), &open_store(setup).await?.store, role == Role::All).await
}

/// Erasures that are not done, or that a table or the log does not know of: it was restored from a backup.
async fn due(setup: &Setup, role: Role) -> anyhow::Result<Vec<Asked>> {
    let all = kept(setup).all()?;
    if all.is_empty() || role != Role::All {
        return Ok(Vec::new());
    }
    let known = steps::known(setup).await?;
    Ok(all.into_iter().filter(|asked| asked.state != DONE || known < asked.number).collect())
}

async fn carry_out(setup: &Setup, asked: &Asked, lives: &mut u64) -> anyhow::Result<Receipt> {
    let kept = kept(setup);
    kept.keep(&Asked { state: PENDING.to_owned(), ..asked.clone() })?;
    let outcome = async {
        let store = open_store(setup).await?.store;
        shared::exchange(&kept, &store, true).await?;
        let mut steps = Steps::new(setup, asked, (kept.person(asked)?, store), false);
        *lives += 1;
        Box::pin(steps.take(*lives)).await?;
        finished(setup, asked, steps.into_receipt())
    };
    let receipt = match Box::pin(outcome).await {
        Ok(receipt) => receipt,
        Err(error) => {
            let mut receipt = steps::empty(setup, asked);
            receipt.reasons.push(format!("{error:#}"));
            finished(setup, asked, receipt)?
        }
    };
    let receipt = kept.signed(receipt)?;
    kept.keep_receipt(&receipt)?;
    kept.keep(&Asked { state: receipt.state.clone(), ..asked.clone() })?;
    if receipt.state == DONE {
        kept.forget_places(asked.number)?;
        exchange(setup, Role::All).await?;
    }
    Ok(receipt)
}

/// What it came to.
fn finished(setup: &Setup, asked: &Asked, mut receipt: Receipt) -> anyhow::Result<Receipt> {
    receipt.finished = instant(setup.clock.now_ms()).unwrap_or_default();
    if !receipt.proof.found_in.is_empty() {
        receipt.reasons.push(format!("the person is still named in {}", receipt.proof.found_in.join(", ")));
    }
    receipt.state = match (asked.state.as_str(), receipt.reasons.is_empty()) {
        (DRY_RUN, _) => DRY_RUN,
        (_, true) => DONE,
        (_, false) => INCOMPLETE,
    }
    .to_owned();
    Ok(receipt)
}

/// The store of the lake, for who has the data folder and no life: what a stop has left half-written is swept away.
async fn open_store(setup: &Setup) -> anyhow::Result<Opened> {
    let config = &setup.config;
    let place = StorageUrl::parse(config.storage.url.as_deref(), &config.data)?;
    let cache = Cache { folder: config.data.join("cache"), bytes_max: 0 };
    place.open(&setup.disk, &cache, setup.outside.storage.clone()).await.context("the lake's store could not be opened")
}

fn in_words(error: &(dyn std::error::Error + 'static)) -> anyhow::Error {
    anyhow::anyhow!(in_full(error))
}
