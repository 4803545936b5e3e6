//! Druid's functions as functions of a session: they know its time zone and count their memory as the query's.
//!
//! Every function that a client may call is here or in the short list of the engine's own that were compared; nothing
//! else is reachable by its name.

pub mod array;
pub mod call;
pub mod cast;
pub mod choose;
pub mod definition;
pub mod extreme;
pub mod format;
pub mod growing;
pub mod ip;
pub mod iso;
pub mod joda;
pub mod json;
pub mod json_value;
pub mod math;
pub mod period;
pub mod regexp;
pub mod text;
pub mod time;
pub mod zone;

use std::sync::Arc;

use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::ScalarUDF;

use definition::{Definition, Function};
use zone::Zone;

/// The definitions, by concern.
const DEFINITIONS: [&[Definition]; 10] = [
    array::FUNCTIONS,
    cast::FUNCTIONS,
    choose::FUNCTIONS,
    format::FUNCTIONS,
    ip::FUNCTIONS,
    json::FUNCTIONS,
    math::FUNCTIONS,
    regexp::FUNCTIONS,
    text::FUNCTIONS,
    time::FUNCTIONS,
];

/// Every function of a session with that time zone, whose results count in `memory`.
pub fn all(zone: Zone, memory: &Arc<dyn MemoryPool>) -> Vec<Arc<ScalarUDF>> {
    let definitions = DEFINITIONS.iter().flat_map(|definitions| definitions.iter());
    definitions
        .map(|definition| Arc::new(ScalarUDF::from(Function::new(definition, zone, Arc::clone(memory)))))
        .chain(extreme::functions())
        .collect()
}
