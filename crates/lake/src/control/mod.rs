//! The control store: small mutable state that several processes must agree on, in SQLite or PostgreSQL.
//!
//! Leases say who runs a feed; a feed's state says how far it has come; deliveries in flight say what a crash cut short.
//! Everything whose loss would matter is in the tables (docs/decisions/0020): a store that is lost is made again, and who
//! kept something in it finds nothing and takes it from the tables. Invariant: nothing here decides whether rows are in a
//! table; that is the transaction of their commit.

mod database;
mod error;
mod feeds;
mod lease;
mod passwords;
mod schema;
mod sqlite;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use vitalake_runtime::azure::TokenError;
use vitalake_runtime::clock::Clock;
use vitalake_runtime::error::Classified as _;
use vitalake_runtime::health::{Away, Health};
use vitalake_runtime::http::is_here;

use crate::postgres::PostgresAddress;

use database::{Database, Row, Statement};
pub use error::ControlError;
pub use feeds::{FILES_AT_ONCE, InFlight};
pub use lease::{Epoch, Lease};
pub use passwords::Passwords;
use passwords::{renew_forever, token};
use sqlite::FileIdentity;

/// The file of the control store in the data folder.
pub const FILE_NAME: &str = "control.db";
/// How often it is asked whether it is there.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// How long one call may take in all.
const CALL_MAX: Duration = Duration::from_secs(15);

/// Where a control store is kept.
#[derive(Clone, Debug)]
pub enum ControlPlace {
    /// A file of SQLite.
    File(PathBuf),
    /// Memory of this process, gone with it: where the disk is a double.
    Memory,
    /// A database of PostgreSQL.
    Postgres(PostgresAddress, Option<Passwords>),
}

impl ControlPlace {
    /// A server by its URL, else the file in the data folder. Asks no network and makes no file.
    ///
    /// # Errors
    /// When the URL is no address of a PostgreSQL server.
    pub fn parse(url: Option<&str>, data: &Path) -> Result<Self, ControlError> {
        match url {
            Some(url) => Ok(Self::Postgres(PostgresAddress::parse(url)?, None)),
            None => Ok(Self::File(data.join(FILE_NAME))),
        }
    }

    /// The same with tokens for a password.
    #[must_use]
    pub fn with_passwords(self, passwords: Passwords) -> Self {
        match self {
            Self::Postgres(address, _) => Self::Postgres(address, Some(passwords)),
            place => place,
        }
    }

    /// Why tokens may not stand for its password, if that is so. Asks no network.
    #[must_use]
    pub fn takes_no_tokens(&self) -> Option<&'static str> {
        match self {
            Self::Postgres(address, _) if address.has_password() => Some(
                "control.url has a password, and by control.azure_identity tokens stand for it: leave one of them out",
            ),
            Self::Postgres(address, _) if !address.is_encrypted() && !is_here(&address.place()) => Some(
                "control.url: a token is not sent in the clear: end the address with ?sslmode=verify-full, or with require",
            ),
            Self::Postgres(..) => None,
            Self::File(_) | Self::Memory => Some("control.azure_identity is nothing without control.url"),
        }
    }

    /// `sqlite` or `postgres`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) | Self::Memory => "sqlite",
            Self::Postgres(..) => "postgres",
        }
    }
}

impl fmt::Display for ControlPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Memory => f.write_str("memory"),
            Self::Postgres(address, _) => f.write_str(&address.place()),
        }
    }
}

/// The control store of one project, as one life of the platform sees it. Clones are the same store.
///
/// Every call stands alone: it opens what is not open, is one transaction, and answers within 15 seconds. A store that
/// was lost (deleted, broken, its tables dropped) is made again by the next call, and the log says so.
#[derive(Clone)]
pub struct ControlStore(Arc<Inner>);

struct Inner {
    place: ControlPlace,
    /// What this project's rows are told from those of others by.
    project: String,
    /// Who this is: leases of a life belong to nobody after it.
    owner: String,
    clock: Clock,
    health: Health,
    opened: tokio::sync::Mutex<State>,
}

enum State {
    /// Not open; whether it was before.
    Not {
        before: bool,
    },
    Open(Arc<Opened>),
    Closed,
}

struct Opened {
    database: Database,
    /// Which file it was; none for a server.
    file: Option<FileIdentity>,
}

impl ControlStore {
    /// A store that is opened by its first call. `health` is told whether it answers.
    #[must_use]
    pub fn new(place: ControlPlace, project: &str, clock: Clock, health: Health) -> Self {
        let owner = uuid::Uuid::now_v7().to_string();
        let opened = tokio::sync::Mutex::new(State::Not { before: false });
        Self(Arc::new(Inner { place, project: project.to_owned(), owner, clock, health, opened }))
    }

    /// Where it is kept.
    #[must_use]
    pub fn place(&self) -> &ControlPlace {
        &self.0.place
    }

    /// Who this is among the holders of leases.
    #[must_use]
    pub fn owner(&self) -> &str {
        &self.0.owner
    }

    /// Since when it does not answer; `None` while it does.
    #[must_use]
    pub fn away(&self) -> Option<Away> {
        self.0.health.away()
    }

    /// Asks whether it answers, opening it if need be.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), ControlError> {
        self.rows("whether it is there", (schema::VERSION, Vec::new())).await.map(drop)
    }

    /// Asks from time to time whether it answers, so that its absence is known before somebody needs it.
    pub async fn watch_forever(self) {
        loop {
            let _noted = self.ping().await;
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Closes it: later calls are refused.
    pub async fn close(&self) {
        let was = std::mem::replace(&mut *self.0.opened.lock().await, State::Closed);
        if let State::Open(opened) = was {
            let _ = tokio::time::timeout(CALL_MAX, opened.database.close()).await;
        }
    }

    fn now_us(&self) -> i64 {
        self.0.clock.now_ms().saturating_mul(1_000)
    }

    fn project(&self) -> &str {
        &self.0.project
    }

    /// Runs one statement.
    async fn rows(&self, attempt: &'static str, statement: Statement) -> Result<Vec<Row>, ControlError> {
        self.all(attempt, &[statement]).await
    }

    /// Runs statements in one transaction, the others only if the first gives a row, and once more where the store turns
    /// out to have been lost. Gives the rows of the first.
    async fn all(&self, attempt: &'static str, statements: &[Statement]) -> Result<Vec<Row>, ControlError> {
        let twice = async {
            match self.try_once(attempt, statements).await {
                Err(Failed::Lost(_)) => self.try_once(attempt, statements).await,
                outcome => outcome,
            }
        };
        let outcome = match tokio::time::timeout(CALL_MAX, twice).await {
            Ok(outcome) => outcome.map_err(|(Failed::Lost(error) | Failed::Error(error))| error),
            Err(_) => {
                // A connection that does not answer is left behind; the next call has another.
                self.forget().await;
                Err(ControlError::silent(&self.0.place.to_string(), attempt))
            }
        };
        match &outcome {
            Ok(_) => self.0.health.answered(),
            Err(error) => self.0.health.failed(error.to_string()),
        }
        outcome
    }

    async fn try_once(&self, attempt: &'static str, statements: &[Statement]) -> Result<Vec<Row>, Failed> {
        let opened = self.opened(attempt).await?;
        let outcome = match statements {
            [one] => opened.database.rows(one).await,
            several => opened.database.all(several).await,
        };
        match outcome {
            Ok(rows) => Ok(rows),
            Err(error) if is_lost(&error) => {
                self.forget().await;
                Err(Failed::Lost(ControlError::away(&self.0.place.to_string(), attempt, &error)))
            }
            Err(error) if self.takes_tokens() && crate::postgres::is_refused(&error) => {
                self.renew(&opened).await?;
                Err(Failed::Lost(ControlError::away(&self.0.place.to_string(), attempt, &error)))
            }
            Err(error) => Err(self.failed(attempt, &error)),
        }
    }

    /// The open database; a file that is not the one that was opened any longer is left.
    async fn opened(&self, attempt: &'static str) -> Result<Arc<Opened>, Failed> {
        let mut state = self.0.opened.lock().await;
        let before = match &*state {
            State::Open(opened) if self.is_the_file(opened) => return Ok(Arc::clone(opened)),
            State::Open(opened) => {
                let gone = Arc::clone(opened);
                // Its file has no name any longer: nobody waits for its end.
                tokio::spawn(async move { gone.database.close().await });
                true
            }
            State::Not { before } => *before,
            State::Closed => return Err(self.failed(attempt, &sqlx::Error::PoolClosed)),
        };
        *state = State::Not { before };
        let opened = Arc::new(self.open(attempt, before).await?);
        *state = State::Open(Arc::clone(&opened));
        Ok(opened)
    }

    fn is_the_file(&self, opened: &Opened) -> bool {
        match &self.0.place {
            ControlPlace::File(path) => opened.file.is_some() && FileIdentity::of(path) == opened.file,
            ControlPlace::Memory | ControlPlace::Postgres(..) => true,
        }
    }

    async fn open(&self, attempt: &'static str, before: bool) -> Result<Opened, Failed> {
        let database = match &self.0.place {
            ControlPlace::Postgres(address, passwords) => self.open_server(address, passwords.as_ref()).await?,
            ControlPlace::Memory => sqlite::in_memory(),
            ControlPlace::File(path) => self.open_file(path).await.map_err(|error| self.failed(attempt, &error))?,
        };
        let migrated = database.migrate().await;
        let (found, version) = match migrated {
            Ok(versions) => versions,
            Err(error) => {
                tokio::spawn(async move { database.close().await });
                return Err(match self.takes_tokens() && crate::postgres::is_refused(&error) {
                    true => {
                        self.forget_token().await;
                        Failed::Lost(ControlError::away(&self.0.place.to_string(), attempt, &error))
                    }
                    false => self.failed(attempt, &error),
                });
            }
        };
        let place = self.0.place.to_string();
        if found > schema::newest() {
            return Err(Failed::Error(ControlError::Newer { place, found, known: schema::newest() }));
        }
        match found {
            0 if before => tracing::warn!(
                place,
                "the control store was lost and is made again: what feeds have taken is found again from the tables"
            ),
            0 => tracing::info!(place, "a new control store is made"),
            found if found < version => {
                tracing::info!(place, found, version, "the control store is brought up to date")
            }
            _ => {}
        }
        let file = match &self.0.place {
            ControlPlace::File(path) => FileIdentity::of(path),
            ControlPlace::Memory | ControlPlace::Postgres(..) => None,
        };
        // Only once it is open: it ends when the connections are closed, which those of a failed opening never are.
        if let ControlPlace::Postgres(address, Some(passwords)) = &self.0.place {
            tokio::spawn(renew_forever(database.clone(), address.clone(), passwords.clone()));
        }
        Ok(Opened { database, file })
    }

    /// A server, with a token for a password where that is asked for.
    async fn open_server(&self, address: &PostgresAddress, passwords: Option<&Passwords>) -> Result<Database, Failed> {
        let Some(passwords) = passwords else { return Ok(Database::postgres(address, None)) };
        let token = token(&passwords.tokens).await.map_err(|error| self.no_token(&error))?;
        Ok(Database::postgres(address, Some(token.expose())))
    }

    /// A server refuses the token that is there: the next connection has another.
    async fn renew(&self, opened: &Opened) -> Result<(), Failed> {
        self.forget_token().await;
        let ControlPlace::Postgres(address, Some(passwords)) = &self.0.place else { return Ok(()) };
        let token = token(&passwords.tokens).await.map_err(|error| self.no_token(&error))?;
        opened.database.set_password(address, token.expose());
        Ok(())
    }

    async fn forget_token(&self) {
        if let ControlPlace::Postgres(_, Some(passwords)) = &self.0.place
            && let Ok(refused) = token(&passwords.tokens).await
        {
            passwords.tokens.refused(&refused);
        }
    }

    fn takes_tokens(&self) -> bool {
        matches!(&self.0.place, ControlPlace::Postgres(_, Some(_)))
    }

    fn no_token(&self, error: &TokenError) -> Failed {
        let (place, reason) = (self.0.place.to_string(), format!("there is no token: {error}"));
        let verdict = (error.class(), error.retry());
        Failed::Error(ControlError::Away { place, attempt: "a token for its password", reason, verdict })
    }

    /// Opens the file; one that is broken is set aside first.
    async fn open_file(&self, path: &Path) -> Result<Database, sqlx::Error> {
        let database = sqlite::open(path);
        match sqlite::is_whole(&database).await {
            Ok(true) => return Ok(database),
            Ok(false) => {}
            Err(error) if sqlite::is_broken(&error) => {}
            Err(error) => return Err(error),
        }
        database.close().await;
        tracing::warn!(
            file = %path.display(),
            "the control store cannot be read: it is set aside beside its place and made again"
        );
        sqlite::set_aside(path)?;
        Ok(sqlite::open(path))
    }

    fn failed(&self, attempt: &'static str, error: &sqlx::Error) -> Failed {
        Failed::Error(ControlError::away(&self.0.place.to_string(), attempt, error))
    }

    async fn forget(&self) {
        let mut state = self.0.opened.lock().await;
        if let State::Open(opened) = std::mem::replace(&mut *state, State::Not { before: true }) {
            tokio::spawn(async move { opened.database.close().await });
        }
    }
}

impl fmt::Debug for ControlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlStore").field("place", &self.0.place).finish_non_exhaustive()
    }
}

enum Failed {
    /// What was opened is not there any longer, or is broken: once more.
    Lost(ControlError),
    Error(ControlError),
}

/// Whether what was opened has lost its tables.
fn is_lost(error: &sqlx::Error) -> bool {
    /// A table or a schema that is not there.
    const UNDEFINED: [&str; 2] = ["42P01", "3F000"];
    let code = crate::postgres::sqlstate(error);
    sqlite::is_broken(error) || code.is_some_and(|code| UNDEFINED.contains(&code.as_str()))
}
