//! The session in which models are optimised and made into physical plans. Clients' queries have a session of their
//! own, elsewhere; the two are never mixed.
//!
//! Pure: a session reads no file and no network. Invariant: nothing is looked up here by its name: a model's names and
//! functions are given their meaning by `functions`, before the session sees them.

use std::sync::{Arc, OnceLock};

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::MemoryCatalogProviderList;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;

/// The Arrow type of Spark's TIMESTAMP.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A session with no tables.
pub(crate) fn state() -> SessionState {
    static BASE: OnceLock<SessionState> = OnceLock::new();
    let base = BASE.get_or_init(|| {
        let mut config = SessionConfig::new()
            .with_target_partitions(1)
            .with_batch_size(16 * 1024)
            .with_default_catalog_and_schema("vitalake", "no_layer")
            .with_information_schema(false);
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        SessionStateBuilder::new().with_config(config).with_default_features().build()
    });
    // The list of catalogues would be the base's, shared by all sessions: two plans would see each other's tables.
    let catalogues = Arc::new(MemoryCatalogProviderList::new());
    SessionStateBuilder::new_from_existing(base.clone()).with_catalog_list(catalogues).build()
}
