//! Druid's functions that the engine does not have, as functions of a session: they know its time zone.

pub mod cast;
pub mod growing;
pub mod period;
pub mod time;
pub mod time_text;

use std::sync::Arc;

use chrono_tz::Tz;
use datafusion::logical_expr::ScalarUDF;

/// Every function of a session with that time zone.
pub fn all(zone: Tz) -> Vec<Arc<ScalarUDF>> {
    let mut functions: Vec<Arc<ScalarUDF>> = vec![];
    functions
        .extend(time::Kind::ALL.iter().map(|kind| Arc::new(ScalarUDF::from(time::TimeFunction::new(*kind, zone)))));
    functions.extend(cast::Target::ALL.iter().map(|to| Arc::new(ScalarUDF::from(cast::CastFunction::new(*to, zone)))));
    functions
}
