//! Gates behind deliveries that are corrected: what was held is published by the file that mends it, and what a bad
//! correction makes stays away from readers, who keep the last good version.

use std::process::Command;

use tempfile::TempDir;

use crate::rehearsal::server::{Place, Server};

const HEAD: &str = "apiVersion: v3.1.0\nkind: DataContract\nversion: 1.0.0\nstatus: active\n";
const VISITS: &str = "id: 00000000-0000-4000-8000-000000000001\nname: visits\nschema:\n  - name: visits\n    properties:\n\
    \x20     - {name: clinic, logicalType: string, required: true}\n      - {name: at, logicalType: timestamp, required: true}\n\
    customProperties:\n  - {property: source, value: feed}\n";
/// Four visits at least, or it is held.
const RULE: &str = "    quality:\n      - {id: enough, type: sql, query: 'SELECT SUM(visits) FROM {object}', mustBeGreaterOrEqualTo: 4}\n";
const DATASETS: [(&str, &str, &str); 3] = [
    (
        "by_day",
        "      - {name: clinic, logicalType: string}\n      - {name: day, logicalType: timestamp}\n",
        "-- kind: rollup\n-- time: day\nSELECT clinic, date_trunc('day', at) AS day, COUNT(*) AS visits FROM raw.visits \
         GROUP BY clinic, date_trunc('day', at)",
    ),
    (
        "by_clinic",
        "      - {name: clinic, logicalType: string, primaryKey: true, primaryKeyPosition: 1}\n",
        "-- kind: full\nSELECT clinic, count(*) AS visits FROM raw.visits GROUP BY clinic",
    ),
    (
        "single",
        "      - {name: clinic, logicalType: string}\n",
        "-- kind: append\nSELECT clinic, 1 AS visits FROM raw.visits",
    ),
];

/// A project whose serving datasets follow from deliveries, and its server.
struct Here {
    folder: TempDir,
    place: Place,
    server: Option<Server>,
}

impl Here {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        let put = |path: &str, text: &str| {
            let path = project.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("vitalake.yaml", "name: visits\nstorage:\n  reserve_bytes: 0\n  commit_interval_ms: 300\n");
        put("contracts/raw/visits.yaml", &format!("{HEAD}{VISITS}"));
        for (number, (name, columns, model)) in DATASETS.iter().enumerate() {
            let id = number + 2;
            let contract = format!(
                "{HEAD}id: 00000000-0000-4000-8000-{id:012}\nname: {name}\nschema:\n  - name: {name}\n{RULE}    properties:\n\
                 {columns}      - {{name: visits, logicalType: integer}}\n"
            );
            put(&format!("contracts/serving/{name}.yaml"), &contract);
            put(&format!("models/serving/{name}.sql"), model);
        }
        let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
        let server = Some(place.start().ready());
        Self { folder, place, server }
    }

    fn killed(&mut self) {
        self.server.take().unwrap().kill();
        self.server = Some(self.place.start().ready());
    }

    /// Delivers so many visits as those of one day.
    fn deliver(&self, visits: usize) {
        let rows: String = (0..visits).map(|visit| format!("c{},2026-04-13T0{visit}:00:00Z\n", visit % 2)).collect();
        let file = self.folder.path().join("visits.csv");
        std::fs::write(&file, format!("clinic,at\n{rows}")).unwrap();
        let mut command = Command::new(crate::binary());
        command.args(["ingest", "visits"]).arg(file).args(["--business-date", "2026-04-13"]);
        let output = command.args(["--server", &format!("http://{}", self.place.http)]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Waits until readers of every dataset have so many visits, with so many staged.
    fn shows(&self, published: i64, live: i64) {
        let of = |name: &str| self.place.numbers(&format!("SELECT COALESCE(SUM(visits), 0) FROM serving.{name}"))[0];
        for (name, ..) in DATASETS {
            let staged = format!("{name}_live");
            self.place.until(&format!("{name} has {live} staged, {published} published"), || {
                (of(&staged), of(name)) == (live, published)
            });
        }
    }

    fn are(&self, state: &str) {
        let url = format!("http://{}/api/v1/gates", self.place.http);
        self.place.until(state, || {
            let gates: serde_json::Value = ureq::get(&url).call().unwrap().body_mut().read_json().unwrap();
            gates.as_array().unwrap().iter().filter(|gate| gate["state"] == state).count() == DATASETS.len()
        });
    }
}

#[test]
fn a_corrected_delivery_publishes_what_was_held_and_a_bad_one_leaves_the_last_good_version() {
    let mut here = Here::new();
    here.deliver(2);
    here.shows(0, 2);
    here.are("held");
    here.deliver(4);
    here.shows(4, 4);
    here.are("passed");

    // A correction to something bad is judged as what readers would have: also after a kill they keep what they had.
    here.deliver(1);
    here.shows(4, 1);
    here.are("held");
    here.killed();
    here.shows(4, 1);
    here.are("held");
    here.deliver(5);
    here.shows(5, 5);
    here.are("passed");
    here.killed();
    here.shows(5, 5);
}
