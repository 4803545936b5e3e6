//! A small project for rehearsals: one stream of two partitions, one curated table by key, one rollup.

use std::path::Path;
use std::sync::Arc;

use vitalake::command::validate::{CheckedProject, check};
use vitalake::platform::{Outside, Setup, Tuning, recorder};
use vitalake_runtime::clock::Clock;
use vitalake_runtime::config::{Config, Overrides};
use vitalake_runtime::cpu::Cpu;
use vitalake_runtime::disk::Disk;
use vitalake_runtime::events::Events;

pub const TOPIC: &str = "ticks";
pub const PARTITIONS: i32 = 2;

fn contract(name: &str, id: u8, properties: &str, rest: &str) -> String {
    format!(
        "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-0000000000{id:02}\nname: {name}\n\
         version: 1.0.0\nstatus: active\nschema:\n  - name: {name}\n    physicalType: table\n    properties:\n\
         {properties}{rest}"
    )
}

fn property(name: &str, kind: &str, more: &str) -> String {
    format!("      - name: {name}\n        logicalType: {kind}\n        required: true\n{more}")
}

fn key(position: u8) -> String {
    format!("        primaryKey: true\n        primaryKeyPosition: {position}\n")
}

/// The raw contract, with further properties.
pub fn raw_contract(more: &str) -> String {
    let properties = [
        property("n", "integer", ""),
        property("tick_id", "string", ""),
        property("device", "string", ""),
        property("at", "timestamp", ""),
        property("steps", "integer", "        logicalTypeOptions: {minimum: 0}\n"),
        more.to_owned(),
    ];
    let source = format!(
        "customProperties:\n  - property: topic\n    value: {TOPIC}\n  - property: partitions\n    value: {PARTITIONS}\n"
    );
    contract("ticks", 1, &properties.concat(), &source)
}

/// Writes the project into a folder.
pub fn write(folder: &Path, settings: &str) {
    let put = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("vitalake.yaml", &format!("name: rehearsal\n{settings}"));
    put("contracts/raw/ticks.yaml", &raw_contract(""));
    let curated = [
        property("tick_id", "string", &key(1)),
        property("device", "string", ""),
        property("at", "timestamp", ""),
        property("steps", "integer", ""),
    ];
    put("contracts/curated/ticks_once.yaml", &contract("ticks_once", 2, &curated.concat(), ""));
    let hourly = [
        property("device", "string", &key(1)),
        property("hour", "timestamp", &key(2)),
        property("ticks", "integer", ""),
        property("steps", "integer", ""),
        property("most", "integer", ""),
    ];
    put("contracts/serving/ticks_hourly.yaml", &contract("ticks_hourly", 3, &hourly.concat(), ""));
    put("models/curated/ticks_once.sql", "-- kind: append\nSELECT tick_id, device, at, steps\nFROM raw.ticks\n");
    put(
        "models/serving/ticks_hourly.sql",
        "-- kind: rollup\n-- time: hour\nSELECT device, date_trunc('hour', at) AS hour, COUNT(*) AS ticks, \
         SUM(steps) AS steps, MAX(steps) AS most\nFROM curated.ticks_once\nGROUP BY device, date_trunc('hour', at)\n",
    );
}

/// The project, read and checked.
pub fn checked(folder: &Path) -> CheckedProject {
    let checked = check(folder, &Overrides::default());
    assert!(!vitalake_contract::diagnostic::has_errors(&checked.diagnostics), "{:?}", checked.diagnostics);
    checked
}

/// What a life of such a project is opened with: on that disk, with nobody listed, nothing outside and no models on Spark.
pub fn setup(checked: &Arc<CheckedProject>, config: Config, disk: Arc<dyn Disk>, cpu: &Cpu) -> Setup {
    let clock = Clock::system();
    Setup {
        audit: Default::default(),
        recorder: recorder(checked, &clock),
        checked: Arc::clone(checked),
        config,
        tuning: Tuning::default(),
        without_intake: false,
        erasing: false,
        outside: Outside::new(&clock),
        engines: vitalake_process::Engines::default(),
        control: vitalake_lake::control::ControlPlace::Memory,
        disk,
        clock,
        cpu: cpu.clone(),
        events: Events::unread(),
        http: Arc::default(),
        monitor: Arc::default(),
        lock: None,
    }
}
