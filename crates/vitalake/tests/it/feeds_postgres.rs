//! A feed that reads a real PostgreSQL: whole tables by day, new rows by a watermark, a server that is away.

use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::postgres_server::{PASSWORD, PostgresServer};
use crate::rehearsal::server::{Place, Server};

const CONTRACT: &str = "apiVersion: v3.1.0\nkind: DataContract\nid: 00000000-0000-4000-8000-000000000002\nname: claims\nversion: 1.0.0\n\
    status: active\nschema:\n  - name: claims\n    properties:\n      - {name: id, logicalType: integer, required: true}\n\
    \x20     - {name: amount, logicalType: number}\n      - {name: changed_at, logicalType: timestamp, logicalTypeOptions: {timezone: true}}\n\
    customProperties:\n  - {property: source, value: feed}\n";

struct Here {
    _folder: TempDir,
    place: Place,
    server: Option<Server>,
    database: PostgresServer,
}

impl Here {
    /// None where there is no PostgreSQL.
    fn new(source: &str) -> Option<Self> {
        let database = PostgresServer::start()?;
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join("project");
        for below in ["contracts/raw", "feeds"] {
            std::fs::create_dir_all(project.join(below)).unwrap();
        }
        std::fs::write(project.join("vitalake.yaml"), "name: claims\nstorage:\n  reserve_bytes: 0\n").unwrap();
        std::fs::write(project.join("contracts/raw/claims.yaml"), CONTRACT).unwrap();
        let url = database.url().replace(PASSWORD, "${CLINIC_PASSWORD}");
        let feed =
            format!("name: claims\ndataset: claims\nschedule: 0 0 1 1 *\nsource:\n  postgres: \"{url}\"\n{source}");
        std::fs::write(project.join("feeds/claims.yaml"), feed).unwrap();
        let place = Place::new(&project, &folder.path().join("data"), &folder.path().join("log.txt"));
        let place = place.set("CLINIC_PASSWORD", PASSWORD);
        let mut here = Self { _folder: folder, place, server: None, database };
        here.sql("CREATE TABLE claims (id bigint PRIMARY KEY, amount numeric(10,2), changed_at timestamptz)");
        here.start();
        Some(here)
    }

    fn start(&mut self) {
        self.server = Some(self.place.start().ready());
    }

    fn sql(&self, statement: &str) {
        let url = self.database.url();
        let ran = Command::new("psql").args([url.as_str(), "-q", "-v", "ON_ERROR_STOP=1", "-c", statement]).output();
        let ran = ran.unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// Exit status and the answer of `vitalake feed run claims`.
    fn run(&self) -> (i32, Value) {
        let server = format!("http://{}", self.place.http);
        let output = Command::new(crate::binary())
            .args(["feed", "run", "claims", "--json", "--server", &server])
            .output()
            .unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains(PASSWORD), "{said}");
        (output.status.code().unwrap(), serde_json::from_str(&said).unwrap_or(Value::String(said)))
    }

    fn ids(&self) -> Vec<i64> {
        let rows = self.place.ask("SELECT id FROM raw.claims ORDER BY id").unwrap();
        rows.iter().map(|row| row[0].as_i64().unwrap()).collect()
    }
}

#[test]
fn rows_after_a_watermark_come_once_over_a_start_and_the_loss_of_what_is_kept() {
    let Some(mut here) = Here::new("  table: public.claims\n  watermark: changed_at\n") else { return };
    here.sql("INSERT INTO claims VALUES (1, 12.50, '2026-01-01T00:00:00Z'), (2, NULL, '2026-01-02T00:00:00Z')");
    assert_eq!(here.run().0, 0);
    assert_eq!(here.ids(), [1, 2]);
    assert_eq!(here.place.ask("SELECT amount FROM raw.claims WHERE id = 1").unwrap(), [[12.5]]);
    let (status, nothing) = here.run();
    assert_eq!((status, nothing["deliveries"].as_array().map(Vec::len)), (0, Some(0)), "{nothing}");
    here.sql("INSERT INTO claims VALUES (3, 1, '2026-01-03T00:00:00Z'), (4, 1, '2026-01-02T00:00:00Z')");
    assert_eq!(here.run().0, 0);
    assert_eq!(here.ids(), [1, 2, 3, 4], "a row with the value of the edge is new too");
    drop(here.server.take());
    std::fs::remove_file(here.place.data.join("control.db")).unwrap();
    here.start();
    here.sql("INSERT INTO claims VALUES (5, 1, '2026-01-04T00:00:00Z')");
    assert_eq!(here.run().0, 0);
    assert_eq!(here.ids(), [1, 2, 3, 4, 5], "how far was read is in the commits");
    drop(here.server.take());
    std::fs::remove_dir_all(here.place.data.join("lake/raw/claims")).unwrap();
    here.start();
    assert_eq!(here.run().0, 0);
    assert_eq!(here.ids(), [1, 2, 3, 4, 5], "of a table that was made again nothing is read yet");
}

#[test]
fn a_whole_table_is_the_delivery_of_its_day() {
    let Some(here) = Here::new("  query: SELECT id, amount, changed_at FROM claims ORDER BY id\n") else { return };
    here.sql("INSERT INTO claims VALUES (1, 1, now()), (2, 2, now())");
    assert_eq!(here.run().0, 0);
    let (_, again) = here.run();
    assert_eq!(again["deliveries"][0]["report"]["state"], "already loaded", "{again}");
    here.sql("DELETE FROM claims WHERE id = 2");
    here.sql("INSERT INTO claims VALUES (3, 3, now())");
    let (status, corrected) = here.run();
    assert_eq!((status, here.ids()), (0, vec![1, 3]), "a second run of a day corrects the first: {corrected}");
    here.database.stop("fast");
    let (status, away) = here.run();
    assert!(status != 0 && away.to_string().contains("PostgreSQL at"), "{away}");
    assert_eq!(here.ids(), [1, 3]);
    here.database.start_again();
    here.sql("DELETE FROM claims WHERE id = 3");
    assert_eq!(here.run().0, 0);
    assert_eq!(here.ids(), [1]);
}
