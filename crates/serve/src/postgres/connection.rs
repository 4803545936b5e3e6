//! One client's connection: its messages in order, each answered before the next.
//!
//! While a query runs the client is listened to, so that its going ends the work. Invariant: every round ends in one
//! `ReadyForQuery`, and after an error nothing of the round is done.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Postgres;
use super::cancels::Place;
use super::dialect::PostgresSql;
use super::extended::Prepared;
use super::frame::{Broken, Message, Reader};
use super::portal::{Portal, Rows};
use super::refusal::Refusal;
use super::reply::{Column, Reply};
use super::settings::{PURPOSE, Settings, spelt};
use super::startup::Stream;
use super::statement::{Piece, Statement, pieces};
use super::types::TEXT;
use crate::audit::Surface;
use crate::identity::Identity;
use crate::names::Client;
use crate::session::{QueryOptions, Session, Sessions};
use crate::sql::parse::TextLimits;

/// Bytes that are gathered before they are sent.
const CHUNK_BYTES: usize = 64 << 10;

/// Why something was not done.
#[derive(Debug)]
pub enum Failure {
    /// The client has gone.
    Gone,
    /// It is told why.
    Refused(Refusal),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What came of it, where the client is still there and nothing was refused.
pub type Done<T> = Result<T, Failure>;

/// Columns, and rows as their texts.
pub type Table = (Vec<Column>, Vec<Vec<Option<String>>>);

/// What a statement that is no query gives.
pub struct Outcome {
    /// Columns and rows, where it has some.
    pub table: Option<Table>,
    /// What was done.
    pub tag: String,
}

/// A connection whose client has proved its name.
pub struct Connection {
    reader: Reader<ReadHalf<Box<dyn Stream>>>,
    writer: WriteHalf<Box<dyn Stream>>,
    pub(super) reply: Reply,
    pub(super) postgres: Postgres,
    sessions: Sessions,
    pub(super) settings: Arc<Settings>,
    identity: Identity,
    client: Option<Client>,
    place: Place,
    pub(super) statements: HashMap<String, Arc<Prepared>>,
    pub(super) portals: HashMap<String, Portal>,
    /// Cursors, each with whether it outlives its transaction.
    cursors: HashMap<String, (Rows, bool)>,
    /// `I` outside of a transaction, `T` in one, `E` in one that failed.
    pub(super) transaction: u8,
}

impl Connection {
    /// A connection that has begun.
    pub fn new(
        stream: Box<dyn Stream>,
        postgres: Postgres,
        place: Place,
        settings: Arc<Settings>,
        identity: Identity,
        client: Option<Client>,
    ) -> Self {
        let (reader, writer) = split(stream);
        let sessions = postgres
            .sessions
            .speaking(Arc::new(PostgresSql::new("postgres", Arc::clone(&settings))), Surface::Postgres);
        Self {
            reader: Reader::new(reader, postgres.limits.message_bytes_max),
            writer,
            reply: Reply::default(),
            postgres,
            sessions,
            settings,
            identity,
            client,
            place,
            statements: HashMap::new(),
            portals: HashMap::new(),
            cursors: HashMap::new(),
            transaction: b'I',
        }
    }

    /// Answers until the client goes or the server stops.
    pub async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            let soonest = self.soonest();
            let message = tokio::select! {
                message = self.reader.next() => message,
                () = until(soonest) => {
                    self.give_up();
                    continue;
                }
                () = ended(&mut stopped) => {
                    self.last(&Refusal::new("57P01", "the server stops")).await;
                    return;
                }
            };
            let done = match message {
                Ok(Message::Terminate) | Err(Broken::Gone) => return,
                Err(Broken::Form(what)) => {
                    self.last(&Refusal::new("08P01", what)).await;
                    return;
                }
                Ok(Message::Query(sql)) => self.simple(&sql).await,
                Ok(message) => self.extended(message).await,
            };
            self.place.cancel.runs(None);
            if done.is_err() {
                return;
            }
        }
    }

    /// The next message, for who passes over some.
    pub(super) async fn next_message(&mut self) -> Result<Message, Broken> {
        self.reader.next().await
    }

    /// The last word to a client.
    async fn last(&mut self, refusal: &Refusal) {
        self.reply.refusal("FATAL", refusal);
        let _ = self.flush().await;
        let _ = self.writer.shutdown().await;
    }

    /// When the first of the rows that nobody fetches is given up.
    fn soonest(&self) -> Option<Instant> {
        let portals = self.portals.values().filter_map(|portal| portal.rows.as_ref());
        portals.chain(self.cursors.values().map(|(rows, _)| rows)).map(|rows| rows.deadline).min()
    }

    fn give_up(&mut self) {
        let now = Instant::now();
        self.portals.retain(|_, portal| portal.rows.as_ref().is_none_or(|rows| rows.deadline > now));
        self.cursors.retain(|_, (rows, _)| rows.deadline > now);
        self.note_cursors();
    }

    /// Sends what has gathered.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        let bytes = self.reply.0.split();
        let written = tokio::time::timeout(self.postgres.limits.write_timeout, async {
            self.writer.write_all(&bytes).await?;
            self.writer.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Failure::Gone),
        }
    }

    /// Ends a round.
    pub(super) async fn ready(&mut self) -> Result<(), Failure> {
        self.reply.ready(self.transaction);
        self.flush().await
    }

    /// Tells of a refusal, after which a transaction has failed.
    pub(super) fn refuse(&mut self, refusal: &Refusal) {
        self.reply.refusal("ERROR", refusal);
        if self.transaction == b'T' {
            self.transaction = b'E';
        }
    }

    async fn simple(&mut self, sql: &str) -> Result<(), Failure> {
        self.portals.remove("");
        let found = match pieces(sql, &TextLimits::default()) {
            Ok(found) => found,
            Err(refusal) => {
                self.refuse(&refusal);
                return self.ready().await;
            }
        };
        for piece in found {
            match self.statement(&piece).await {
                Ok(()) => {}
                Err(Failure::Refused(refusal)) => {
                    self.refuse(&refusal.after(piece.before));
                    break;
                }
                Err(Failure::Gone) => return Err(Failure::Gone),
            }
        }
        self.ready().await
    }

    async fn statement(&mut self, piece: &Piece) -> Done<()> {
        self.check(&piece.statement)?;
        match &piece.statement {
            Statement::Empty => self.reply.bare(b'I'),
            Statement::Query => {
                let mut rows = self.open(&piece.sql, Vec::new()).await?;
                self.reply.columns(&rows.columns, &[]);
                let (count, _) = self.send(&mut rows, None, &[]).await?;
                self.reply.complete(&format!("SELECT {count}"));
            }
            Statement::Fetch(name, count) => {
                let columns = self.cursor_columns(name)?;
                self.reply.columns(&columns, &[]);
                self.fetch(name, *count, &[]).await?;
            }
            other => {
                let outcome = self.command(other).await?;
                if let Some((columns, rows)) = &outcome.table {
                    self.reply.columns(columns, &[]);
                    rows.iter().for_each(|row| self.reply.texts(row));
                }
                self.reply.complete(&outcome.tag);
            }
        }
        Ok(())
    }

    /// Refuses everything but the end of it in a transaction that has failed.
    pub(super) fn check(&self, statement: &Statement) -> Result<(), Refusal> {
        let ends = matches!(
            statement,
            Statement::Commit | Statement::Rollback | Statement::Point("ROLLBACK") | Statement::Empty
        );
        if self.transaction == b'E' && !ends {
            let message = "the transaction has failed: nothing is done until ROLLBACK";
            return Err(Refusal::new("25P02", message));
        }
        Ok(())
    }

    /// A session of who asks, on the newest value.
    pub(super) fn session(&self) -> Result<Session, Refusal> {
        if self.client.as_ref().is_some_and(|client| !self.postgres.names.holds(client)) {
            return Err(Refusal::new("28000", "the token is over; connect again with a new one"));
        }
        self.sessions.open(self.identity.clone()).map_err(|error| Refusal::of(&error, ""))
    }

    /// Waits for work, but no longer than the client is there.
    pub(super) async fn watched<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.reader.gone() => Err(Failure::Gone),
        }
    }

    /// Options of a query that can be cancelled from outside.
    pub(super) fn options(&self) -> QueryOptions {
        let query_id = uuid::Uuid::new_v4().to_string();
        self.place.cancel.runs(Some((self.identity.clone(), query_id.clone())));
        let purpose = self.settings.get(PURPOSE).filter(|purpose| !purpose.is_empty());
        QueryOptions { timeout: self.settings.timeout(), query_id: Some(query_id), purpose, ..QueryOptions::default() }
    }

    /// Begins a query.
    pub(super) async fn open(
        &mut self,
        sql: &str,
        parameters: Vec<datafusion::sql::sqlparser::ast::Expr>,
    ) -> Done<Rows> {
        let session = self.session()?;
        let options = self.options();
        let limit = self.sessions.timeout_max();
        let deadline = Instant::now() + options.timeout.map_or(limit, |timeout| timeout.min(limit));
        let answer = self.watched(session.query(sql.to_owned(), parameters, options)).await?;
        let answer = answer.map_err(|error| Refusal::of(&error, sql))?;
        Ok(Rows::new(answer, sql.to_owned(), session.cpu().clone(), deadline))
    }

    /// Sends so many rows at most. Gives how many there were, and whether there may be more.
    pub(super) async fn send(
        &mut self,
        rows: &mut Rows,
        rows_max: Option<usize>,
        formats: &[i16],
    ) -> Done<(usize, bool)> {
        self.place.cancel.runs(Some((self.identity.clone(), rows.query_id().to_owned())));
        let mut sent = 0;
        loop {
            let left = rows_max.map_or(usize::MAX, |most| most - sent);
            if left == 0 {
                return Ok((sent, true));
            }
            let Some((count, bytes)) = self.watched(rows.next(left, formats)).await?? else { return Ok((sent, false)) };
            sent += count;
            self.reply.0.extend_from_slice(&bytes);
            if self.reply.0.len() >= CHUNK_BYTES {
                self.flush().await?;
            }
        }
    }

    /// The columns of a cursor.
    pub(super) fn cursor_columns(&self, name: &str) -> Result<Vec<Column>, Refusal> {
        let cursor = self.cursors.get(name).ok_or_else(|| no_cursor(name))?;
        Ok(cursor.0.columns.clone())
    }

    /// Rows of a cursor, with the word that ends them.
    pub(super) async fn fetch(&mut self, name: &str, count: Option<usize>, formats: &[i16]) -> Done<()> {
        let (mut rows, holds) = self.cursors.remove(name).ok_or_else(|| no_cursor(name))?;
        let (sent, _) = self.send(&mut rows, count, formats).await?;
        self.cursors.insert(name.to_owned(), (rows, holds));
        self.reply.complete(&format!("FETCH {sent}"));
        Ok(())
    }

    fn note_cursors(&self) {
        self.settings.has_cursors(self.cursors.keys().cloned().collect());
    }

    /// A transaction ends: what belongs to it does too.
    fn end(&mut self) {
        self.transaction = b'I';
        self.portals.clear();
        self.cursors.retain(|_, (_, holds)| *holds);
        self.note_cursors();
    }

    /// Does what is neither a query nor a fetch.
    pub(super) async fn command(&mut self, statement: &Statement) -> Done<Outcome> {
        let tag = match statement {
            Statement::Begin(tag) => {
                if self.transaction == b'I' {
                    self.transaction = b'T';
                } else {
                    self.reply.notice("25001", "there is already a transaction in progress");
                }
                *tag
            }
            Statement::Commit => {
                let failed = self.transaction == b'E';
                self.end();
                if failed { "ROLLBACK" } else { "COMMIT" }
            }
            Statement::Rollback => {
                self.end();
                "ROLLBACK"
            }
            Statement::Point(tag) => {
                if self.transaction == b'I' {
                    return Err(Refusal::new("25P01", format!("{tag} can only be used in transaction blocks")).into());
                }
                if *tag == "ROLLBACK" {
                    self.transaction = b'T';
                }
                tag
            }
            Statement::Ignored(tag) => tag,
            Statement::Set(name, value) => {
                let known = self.settings.set(name, value.as_deref())?;
                if known == "application_name" {
                    self.reply.parameter(known, &self.settings.get(known).unwrap_or_default());
                }
                "SET"
            }
            Statement::Reset(name) => {
                match name {
                    Some(name) => drop(self.settings.set(name, None)?),
                    None => self.settings.reset(),
                }
                "RESET"
            }
            Statement::Discard if self.transaction != b'I' => {
                return Err(Refusal::new("25001", "DISCARD ALL cannot run inside a transaction block").into());
            }
            Statement::Discard => {
                self.settings.reset();
                self.statements.clear();
                self.portals.clear();
                self.cursors.clear();
                self.note_cursors();
                "DISCARD ALL"
            }
            Statement::Deallocate(Some(name)) if !self.statements.contains_key(name) => {
                return Err(Refusal::new("26000", "there is no prepared statement of that name").into());
            }
            Statement::Deallocate(name) => {
                self.statements.retain(|known, _| name.as_ref().is_some_and(|name| name != known));
                if name.is_some() { "DEALLOCATE" } else { "DEALLOCATE ALL" }
            }
            Statement::Declare(name, sql, holds) => {
                self.declare(name, sql, *holds).await?;
                "DECLARE CURSOR"
            }
            Statement::Close(Some(name)) => {
                self.cursors.remove(name).ok_or_else(|| no_cursor(name))?;
                self.note_cursors();
                "CLOSE CURSOR"
            }
            Statement::Close(None) => {
                self.cursors.clear();
                self.note_cursors();
                "CLOSE CURSOR ALL"
            }
            Statement::Show(name) => return Ok(self.show(name)?),
            Statement::Refused(refusal) => return Err(refusal.clone().into()),
            Statement::Empty | Statement::Query | Statement::Fetch(..) => "SELECT 0",
        };
        Ok(Outcome { table: None, tag: tag.to_owned() })
    }

    async fn declare(&mut self, name: &str, sql: &str, holds: bool) -> Done<()> {
        if self.transaction == b'I' && !holds {
            let message = "a cursor needs a transaction: send BEGIN first, or declare it WITH HOLD";
            return Err(Refusal::new("25P01", message).into());
        }
        if self.cursors.contains_key(name) {
            return Err(Refusal::new("42P03", "there is a cursor of that name already").into());
        }
        self.has_room()?;
        let rows = self.open(sql, Vec::new()).await?;
        self.cursors.insert(name.to_owned(), (rows, holds));
        self.note_cursors();
        Ok(())
    }

    /// Refuses one more portal or cursor than there may be.
    pub(super) fn has_room(&self) -> Result<(), Refusal> {
        let most = self.postgres.limits.portals_max;
        if self.portals.len() + self.cursors.len() < most {
            return Ok(());
        }
        Err(Refusal::new("53000", format!("a connection has at most {most} open cursors; close some")))
    }

    /// The columns of SHOW.
    pub(super) fn shown(name: &str) -> Vec<Column> {
        let names = if name == "all" { vec!["name", "setting", "description"] } else { vec![spelt(name)] };
        names.into_iter().map(|name| Column { name: name.to_owned(), type_id: TEXT, size: -1 }).collect()
    }

    fn show(&self, name: &str) -> Result<Outcome, Refusal> {
        let rows = if name == "all" {
            let all = self.settings.all().into_iter();
            all.map(|(name, value)| vec![Some(name.to_owned()), Some(value), Some(String::new())]).collect()
        } else {
            let value = self.settings.get(name);
            let unknown = || Refusal::new("42704", format!("unrecognized configuration parameter \"{name}\""));
            vec![vec![Some(value.ok_or_else(unknown)?)]]
        };
        Ok(Outcome { table: Some((Self::shown(name), rows)), tag: "SHOW".to_owned() })
    }
}

async fn ended(stopped: &mut watch::Receiver<bool>) {
    // A server that is gone without a word has stopped, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn no_cursor(name: &str) -> Refusal {
    Refusal::new("34000", format!("cursor \"{name}\" does not exist"))
}
