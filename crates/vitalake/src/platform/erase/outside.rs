//! What an erasure does not reach, said in every receipt: whose it is, and what to do.
//!
//! Invariant: nothing that may hold the person is left out, whether it is used or not.

use vitalake_ops::erasures::{DONE, NOT_USED, OPERATOR, Outside};

use crate::platform::Setup;

/// Everything outside of this project's reach.
pub(super) fn of(setup: &Setup) -> Vec<Outside> {
    let config = &setup.config;
    let is_remote = config.storage.url.as_deref().is_some_and(|url| url.contains("://") && !url.starts_with("file:"));
    let entry = |what: &str, state: &str, note: &str| Outside {
        what: what.to_owned(),
        state: state.to_owned(),
        note: note.to_owned(),
    };
    let used = |is: bool| if is { OPERATOR } else { NOT_USED };
    vec![
        match config.kafka.bootstrap {
            None => entry(
                "kafka",
                DONE,
                "the embedded log was written again; what other clusters copied of it is the operator's",
            ),
            Some(_) => entry(
                "kafka",
                OPERATOR,
                "an external broker keeps its records: send tombstones to compacted topics, or delete records up to an offset; what comes again is refused",
            ),
        },
        entry(
            "druid segments",
            used(config.druid.url.is_some()),
            "publish the next version, mark the segments before it unused, and run kill tasks for their intervals; then deep storage has them no longer",
        ),
        entry(
            "superset caches",
            used(config.superset.url.is_some()),
            "clear the caches of results, of thumbnails and of asynchronous queries",
        ),
        entry(
            "storage account",
            used(is_remote),
            "purge soft-deleted blobs, earlier blob versions and snapshots of the files that this receipt counts; they are kept for as long as the account says",
        ),
        match config.control.url {
            None => entry("control store", DONE, "it lies in the data folder, and was read"),
            Some(_) => entry("control store", OPERATOR, "a PostgreSQL control store may hold names of delivered files"),
        },
        entry(
            "backups",
            OPERATOR,
            "backups of the data folder and of the lake from before are not reached; one that is restored with the folder `erasures` of today is erased again at start",
        ),
        entry(
            "sources and receivers",
            OPERATOR,
            "folders and databases that feeds read, files that people exported, receivers of alerts and telemetry",
        ),
    ]
}
