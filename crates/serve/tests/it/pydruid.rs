//! pydruid and SQLAlchemy against the endpoint, where PYDRUID_PYTHON names a Python that has them.

use std::path::Path;
use std::process::Command;

use crate::server::Server;

#[test]
fn pydruid_reads_tables_and_their_columns() {
    let Some(python) = std::env::var_os("PYDRUID_PYTHON") else {
        println!("skipped: set PYDRUID_PYTHON to a Python with pydruid[sqlalchemy]");
        return;
    };
    let server = Server::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/druid_client.py");
    let output = Command::new(python).arg(script).arg(server.address.port().to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
