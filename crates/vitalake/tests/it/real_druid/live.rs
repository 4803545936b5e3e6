//! Topics that Druid streams in by itself: supervisors are made of contracts, follow them, and end with them.

use super::double::Double;
use super::{publishing, report, state};
use crate::folders::Here;

const DATASOURCE: &str = "ticks_live";

fn streaming(double: &Double, live: &str) -> Here {
    let mut here = publishing(double);
    here.place = here.place.clone().set("VITALAKE_ENGINES__DRUID__LIVE", live);
    here
}

/// Runs until something is so.
fn until_stopped(here: &Here, is_so: impl FnMut() -> bool) {
    let server = here.place.start().ready();
    here.place.until("so", is_so);
    server.stop();
}

#[test]
fn a_supervisor_is_made_changed_with_its_contract_and_ended_when_its_dataset_is_named_no_longer() {
    let double = Double::new();
    let mut here = streaming(&double, "all");
    until_stopped(&here, || double.state.lock().supervised.len() == 1);
    let first = double.state.lock().supervised[0].clone();
    let io = &first["spec"]["ioConfig"];
    assert_eq!((io["topic"].as_str(), &first["spec"]["dataSchema"]["dataSource"]), (Some("ticks"), &DATASOURCE.into()));
    assert_eq!(io["consumerProperties"]["bootstrap.servers"], here.place.kafka);

    // The same contract is the same supervisor over a restart.
    let server = here.place.start().ready();
    state(&here.place, DATASOURCE, "streaming");
    assert_eq!(report(&here.place, DATASOURCE)["lag_records"], 3);
    server.stop();
    assert_eq!(double.state.lock().supervised.len(), 1);

    let more = crate::rehearsal::project::raw_contract("      - name: battery\n        logicalType: integer\n");
    std::fs::write(here.project("contracts/raw/ticks.yaml"), more).unwrap();
    until_stopped(&here, || double.state.lock().supervised.len() == 2);
    assert!(double.state.lock().supervisors[DATASOURCE].to_string().contains("battery"));

    here.place = here.place.clone().set("VITALAKE_ENGINES__DRUID__LIVE", "none");
    until_stopped(&here, || double.state.lock().supervisors.is_empty());
}

#[test]
fn what_somebody_else_has_made_or_does_not_stream_is_told_and_left_as_it_is() {
    let double = Double::new();
    let theirs = serde_json::json!({"type": "kafka", "context": {}});
    double.state.lock().supervisors.insert(DATASOURCE.to_owned(), theirs.clone());
    let here = streaming(&double, "ticks, tocks");
    let server = here.place.start().ready();
    let said = state(&here.place, DATASOURCE, "refused");
    assert!(said.contains("supervisor ticks_live that vitalake did not make"), "{said}");
    let said = state(&here.place, "tocks_live", "refused");
    assert!(said.contains("no raw dataset tocks with a topic"), "{said}");
    assert_eq!(double.state.lock().supervisors[DATASOURCE], theirs);

    double.state.lock().stream = "LOST_CONTACT_WITH_STREAM";
    double.state.lock().supervisors.clear();
    here.place.until("it is made", || double.state.lock().supervised.len() == 1);
    let said = || report(&here.place, DATASOURCE)["message"].to_string();
    here.place.until("it does not stream", || said().contains("engines.druid.live_bootstrap"));
    double.state.lock().stream = "RUNNING";
    state(&here.place, DATASOURCE, "streaming");
    server.stop();
}
