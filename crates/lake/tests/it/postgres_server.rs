//! A PostgreSQL server of a test's own, in a temporary folder, ended with the test.
//!
//! Shared by the crates whose tests need one. It refuses to run as root: there it runs as the user `postgres`.

#![allow(dead_code, reason = "the tests of each crate use a part of it")]

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// What nothing may show.
pub const PASSWORD: &str = "hunter2-of-the-test";

/// A running server.
pub struct PostgresServer {
    folder: TempDir,
    binaries: PathBuf,
    port: u16,
}

impl PostgresServer {
    /// Starts one; `None`, and said, where PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        let Some(binaries) = binaries() else {
            eprintln!("skipped: no PostgreSQL server is installed");
            return None;
        };
        let folder = TempDir::new().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let secret = folder.path().join("password");
        fs::write(&secret, PASSWORD).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
        let server = Self { port: 0, folder, binaries };
        let data = server.data();
        let (data, secret) = (data.to_str().unwrap(), secret.to_str().unwrap());
        let auth = ["-A", "scram-sha-256", "--pwfile", secret, "-U", "postgres", "-E", "UTF8", "--no-sync"];
        server.run("initdb", &[&["-D", data], &auth[..]].concat());
        let mut server = server;
        server.port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        server.start_again();
        Some(server)
    }

    /// The address of its only database under its superuser.
    pub fn url(&self) -> String {
        self.url_of("postgres", PASSWORD)
    }

    /// The same for another user.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends it: `fast` waits for nobody, `immediate` is a crash.
    pub fn stop(&self, mode: &str) {
        self.run("pg_ctl", &["-D", self.data().to_str().unwrap(), "-m", mode, "-w", "stop"]);
    }

    /// Starts it where it was.
    pub fn start_again(&self) {
        let (data, log) = (self.data(), self.folder.path().join("log"));
        let options = format!(
            "-p {} -k {} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=60",
            self.port,
            self.folder.path().display()
        );
        let arguments = ["-D", data.to_str().unwrap(), "-l", log.to_str().unwrap(), "-w", "-o", &options, "start"];
        self.run("pg_ctl", &arguments);
    }

    /// Runs statements by its own client; the rows, columns separated by `|`.
    pub fn sql(&self, text: &str) -> String {
        self.sql_as(PASSWORD, text)
    }

    /// The same where its superuser has another password by now.
    pub fn sql_as(&self, password: &str, text: &str) -> String {
        let output = Command::new(self.binaries.join("psql"))
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-c", text, &self.url_of("postgres", password)])
            .env("PGTZ", "UTC")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Has it speak TLS, and gives the certificate of its authority; `None`, and said, where openssl is not installed.
    pub fn speak_tls(&self) -> Option<PathBuf> {
        let run = |arguments: &str| {
            let mut openssl = as_a_user(Path::new("openssl"));
            openssl.args(arguments.split(' ')).current_dir(self.folder.path()).stderr(Stdio::null());
            openssl.status().is_ok_and(|status| status.success())
        };
        fs::write(self.folder.path().join("names"), "subjectAltName=IP:127.0.0.1").unwrap();
        let made = run("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=authority")
            && run("req -new -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server")
            && run(
                "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile names",
            );
        if !made {
            eprintln!("skipped: no openssl to make certificates");
            return None;
        }
        let file = |name: &str| self.folder.path().join(name);
        for (setting, name) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")] {
            self.sql(&format!("ALTER SYSTEM SET {setting} = '{}'", file(name).display()));
        }
        self.sql("ALTER SYSTEM SET ssl = on");
        self.stop("fast");
        self.start_again();
        Some(file("ca.crt"))
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.folder.path().join("output");
        let file = fs::File::create(&output).unwrap();
        let status = as_a_user(&self.binaries.join(program))
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            // A server inherits it: a pipe would never end.
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .status()
            .unwrap();
        let mut said = String::new();
        fs::File::open(&output).unwrap().read_to_string(&mut said).unwrap();
        assert!(status.success(), "{program} failed: {said}\n{}", self.log());
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let data = self.data();
        let mut stop = as_a_user(&self.binaries.join("pg_ctl"));
        stop.arg("-D").arg(data).args(["-m", "immediate", "-w", "stop"]).current_dir(self.folder.path());
        let _ = stop.stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn as_a_user(program: &Path) -> Command {
    let id = Command::new("id").arg("-u").output().map(|output| output.stdout).unwrap_or_default();
    if id.trim_ascii() != b"0" {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}

/// Where `initdb` and `pg_ctl` are: on the path, or where Debian has them.
fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian = debian.map(|version| version.path().join("bin"));
    std::env::split_paths(&path)
        .chain(debian)
        .find(|folder| ["initdb", "pg_ctl", "psql"].iter().all(|name| folder.join(name).exists()))
}
