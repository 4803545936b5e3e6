//! The control store in a file of the data folder, which may be lost, swapped or broken without harm.
//!
//! Invariant: what cannot be read is set aside under another name and made again; it is never an obstacle to a start.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::database::Database;

/// How long another connection's write is waited for.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// The pause between two tries where SQLite itself does not wait.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// How long the connection is waited for.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// What a database is called that could not be read.
const UNREADABLE: &str = "unreadable";

/// Which file a path names, so that another in its place is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileIdentity {
    device: u64,
    number: u64,
}

impl FileIdentity {
    /// The file that is there now, if one is.
    pub(super) fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|found| Self { device: found.dev(), number: found.ino() })
    }
}

/// The file, made when it is not there; nothing is read yet.
pub(super) fn open(path: &Path) -> Database {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_MAX)
        .foreign_keys(true);
    Database::Sqlite(pool(options))
}

/// A database in memory, for a platform whose disk is not this machine's.
pub(super) fn in_memory() -> Database {
    Database::Sqlite(pool(SqliteConnectOptions::new().in_memory(true)))
}

/// One connection: SQLite has one writer, and statements here are short. It is never closed for its age, which would end
/// a database in memory.
fn pool(options: SqliteConnectOptions) -> sqlx::SqlitePool {
    let pool = SqlitePoolOptions::new().max_connections(1).acquire_timeout(CONNECT_MAX);
    let pool = pool.max_lifetime(None).idle_timeout(None);
    pool.connect_lazy_with(options.disable_statement_logging())
}

/// Whether the file is whole. Others who open it at this moment are waited for.
pub(super) async fn is_whole(database: &Database) -> Result<bool, sqlx::Error> {
    let since = Instant::now();
    let rows = loop {
        match database.rows(&("PRAGMA quick_check(1)", Vec::new())).await {
            Err(error) if is_busy(&error) && since.elapsed() < BUSY_MAX => tokio::time::sleep(BUSY_PAUSE).await,
            outcome => break outcome?,
        }
    };
    Ok(rows.first().map(|row| row.text(0)).transpose()?.as_deref() == Some("ok"))
}

/// Whether this error says that the file is no database, or a broken one.
pub(super) fn is_broken(error: &sqlx::Error) -> bool {
    /// `SQLITE_CORRUPT` and `SQLITE_NOTADB`; their extended codes have them in the low byte.
    const BROKEN: [i32; 2] = [11, 26];
    has_code(error, &BROKEN)
}

/// Whether another connection stands in the way. A new file becomes one with a write-ahead log when it is opened first, and
/// for that SQLite waits for nobody, whatever `BUSY_MAX` says.
fn is_busy(error: &sqlx::Error) -> bool {
    has_code(error, &[5])
}

fn has_code(error: &sqlx::Error, codes: &[i32]) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| codes.contains(&(code & 0xff)))
}

/// Moves a broken database away; one that was moved before is replaced.
pub(super) fn set_aside(path: &Path) -> io::Result<()> {
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    for suffix in ["-wal", "-shm"] {
        match fs::remove_file(beside(suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    match fs::rename(path, beside(&format!(".{UNREADABLE}"))) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
