//! The extended protocol: statements that are prepared, portals with values for their parameters, rows in portions.
//!
//! Types of parameters that a client does not say are found by planning the statement. Invariant: after an error nothing
//! is done until `Sync`, and rows have the types that the client was told.

use std::sync::Arc;

use parking_lot::Mutex;

use super::connection::{Connection, Done, Failure};
use super::frame::{Bind, Broken, Message};
use super::parameter::{bound, placeholder};
use super::parse::parse;
use super::portal::Portal;
use super::refusal::Refusal;
use super::reply::{Column, format_of};
use super::statement::{Statement, pieces};
use super::types::{TEXT, column, type_of};
use crate::sql::parse::TextLimits;

/// A statement that is prepared.
pub struct Prepared {
    statement: Statement,
    sql: String,
    before: usize,
    /// Types of parameters as the client says them; 0 where it does not.
    declared: Vec<u32>,
    /// What planning it has told.
    told: Mutex<Option<Told>>,
}

/// What a statement gives and wants.
#[derive(Clone)]
struct Told {
    columns: Vec<Column>,
    parameters: Vec<u32>,
}

impl Connection {
    /// Answers a message; after an error the others up to `Sync` are passed over.
    pub(super) async fn extended(&mut self, message: Message) -> Result<(), Failure> {
        match self.one(message).await {
            Ok(()) => Ok(()),
            Err(Failure::Gone) => Err(Failure::Gone),
            Err(Failure::Refused(refusal)) => {
                self.refuse(&refusal);
                // A client may wait for this before it ends the round.
                self.flush().await?;
                self.skip().await
            }
        }
    }

    async fn one(&mut self, message: Message) -> Done<()> {
        match message {
            Message::Parse(name, sql, types) => self.prepare(name, &sql, types)?,
            Message::Bind(bind) => self.bind(bind).await?,
            Message::Describe(b'S', name) => self.describe_statement(&name).await?,
            Message::Describe(b'P', name) => self.describe_portal(&name).await?,
            Message::Execute(portal, rows_max) => self.execute(&portal, rows_max).await?,
            Message::Close(b'S', name) => {
                self.statements.remove(&name);
                self.reply.bare(b'3');
            }
            Message::Close(b'P', name) => {
                self.portals.remove(&name);
                self.reply.bare(b'3');
            }
            Message::Flush => self.flush().await?,
            Message::Sync => return self.sync().await,
            // What is left of a COPY that was refused.
            Message::Copy => {}
            Message::Call => {
                return Err(Refusal::unsupported("calls of functions are not supported: use SELECT").into());
            }
            Message::Describe(..) | Message::Close(..) => {
                return Err(Refusal::new("08P01", "a message names neither a statement nor a portal").into());
            }
            Message::Password | Message::Query(_) | Message::Terminate => {
                return Err(Refusal::new("08P01", "a message came out of its order").into());
            }
        }
        Ok(())
    }

    async fn skip(&mut self) -> Result<(), Failure> {
        loop {
            match self.next_message().await {
                Ok(Message::Sync) => return self.sync().await,
                Ok(Message::Terminate) | Err(Broken::Gone | Broken::Form(_)) => return Err(Failure::Gone),
                Ok(_) => {}
            }
        }
    }

    async fn sync(&mut self) -> Result<(), Failure> {
        if self.transaction == b'I' {
            self.portals.clear();
        }
        self.ready().await
    }

    fn prepare(&mut self, name: String, sql: &str, declared: Vec<u32>) -> Result<(), Refusal> {
        if !name.is_empty() && self.statements.contains_key(&name) {
            return Err(Refusal::new("42P05", "there is a prepared statement of that name already"));
        }
        if self.statements.len() >= self.postgres.limits.statements_max {
            return Err(Refusal::new("53000", "the connection has too many prepared statements; close some"));
        }
        let limits = TextLimits::default();
        let mut found = pieces(sql, &limits)?;
        let piece = found.pop().filter(|_| found.is_empty());
        let piece = piece.ok_or_else(|| Refusal::new("42601", "a prepared statement is one statement"))?;
        let mut declared = declared;
        match &piece.statement {
            Statement::Refused(refusal) => return Err(refusal.clone()),
            Statement::Query => {
                self.check(&piece.statement)?;
                let parsed = parse(&piece.sql, &limits);
                let parsed = parsed.map_err(|error| Refusal::of(&error, &piece.sql).after(piece.before))?;
                declared.resize(parsed.placeholders.max(declared.len()), 0);
            }
            _ => declared.clear(),
        }
        let (statement, sql, before) = (piece.statement, piece.sql, piece.before);
        let prepared = Prepared { statement, sql, before, declared, told: Mutex::default() };
        self.statements.insert(name, Arc::new(prepared));
        self.reply.bare(b'1');
        Ok(())
    }

    fn prepared(&self, name: &str) -> Result<Arc<Prepared>, Refusal> {
        let found = self.statements.get(name).cloned();
        found.ok_or_else(|| Refusal::new("26000", format!("prepared statement \"{name}\" does not exist")))
    }

    /// What a query gives and wants, planned once.
    async fn told(&mut self, prepared: &Prepared) -> Done<Told> {
        let known = prepared.told.lock().clone();
        if let Some(told) = known {
            return Ok(told);
        }
        let session = self.session()?;
        let parameters = |unsaid: u32| {
            let of = |(index, declared): (usize, &u32)| {
                placeholder(index + 1, if *declared == 0 { unsaid } else { *declared })
            };
            prepared.declared.iter().enumerate().map(of).collect::<Vec<_>>()
        };
        let options = self.options();
        let mut described = self.watched(session.describe(prepared.sql.clone(), parameters(0), options)).await?;
        if described.is_err() && prepared.declared.contains(&0) {
            // What no place tells the type of is a text.
            let options = self.options();
            described = self.watched(session.describe(prepared.sql.clone(), parameters(TEXT), options)).await?;
        }
        let described = described.map_err(|error| Refusal::of(&error, &prepared.sql).after(prepared.before))?;
        let fields = described.schema.fields().iter().zip(&described.labels);
        let columns = fields.map(|(field, label)| column(label, field)).collect();
        let of = |(index, declared): (usize, &u32)| match declared {
            0 => {
                let found = described.parameters.get(&format!("${}", index + 1));
                found.and_then(Option::as_ref).map_or(TEXT, type_of)
            }
            declared => *declared,
        };
        let parameters = prepared.declared.iter().enumerate().map(of).collect();
        let told = Told { columns, parameters };
        *prepared.told.lock() = Some(told.clone());
        Ok(told)
    }

    async fn bind(&mut self, bind: Bind) -> Done<()> {
        let prepared = self.prepared(&bind.statement)?;
        self.check(&prepared.statement)?;
        if !bind.portal.is_empty() && self.portals.contains_key(&bind.portal) {
            return Err(Refusal::new("42P03", "there is a portal of that name already").into());
        }
        self.portals.remove(&bind.portal);
        self.has_room()?;
        let wanted = prepared.declared.len();
        if bind.values.len() != wanted {
            let message = format!("the statement wants {wanted} parameters, and there are {}", bind.values.len());
            return Err(Refusal::new("08P01", message).into());
        }
        let types = if prepared.declared.contains(&0) {
            self.told(&prepared).await?.parameters
        } else {
            prepared.declared.clone()
        };
        let parameters = bind.values.iter().zip(&types).enumerate().map(|(index, (value, type_id))| {
            bound(*type_id, format_of(&bind.parameter_formats, index) == 1, value.as_deref())
        });
        let parameters = parameters.collect::<Result<Vec<_>, _>>()?;
        let told = prepared.told.lock().as_ref().map(|told| told.columns.clone());
        let portal = Portal {
            statement: prepared.statement.clone(),
            sql: prepared.sql.clone(),
            parameters,
            formats: bind.result_formats,
            told,
            rows: None,
            is_done: false,
        };
        self.portals.insert(bind.portal, portal);
        self.reply.bare(b'2');
        Ok(())
    }

    async fn describe_statement(&mut self, name: &str) -> Done<()> {
        let prepared = self.prepared(name)?;
        match &prepared.statement {
            Statement::Query => {
                self.check(&prepared.statement)?;
                let told = self.told(&prepared).await?;
                self.reply.parameters(&told.parameters);
                self.reply.columns(&told.columns, &[]);
            }
            other => {
                let columns = self.columns_of(other)?;
                self.reply.parameters(&[]);
                self.columns_or_none(columns.as_deref(), &[]);
            }
        }
        Ok(())
    }

    fn columns_of(&self, statement: &Statement) -> Result<Option<Vec<Column>>, Refusal> {
        Ok(match statement {
            Statement::Show(name) => Some(Self::shown(name)),
            Statement::Fetch(name, _) => Some(self.cursor_columns(name)?),
            _ => None,
        })
    }

    fn columns_or_none(&mut self, columns: Option<&[Column]>, formats: &[i16]) {
        match columns {
            Some(columns) => self.reply.columns(columns, formats),
            None => self.reply.bare(b'n'),
        }
    }

    fn portal(&mut self, name: &str) -> Result<Portal, Refusal> {
        let found = self.portals.remove(name);
        found.ok_or_else(|| Refusal::new("34000", format!("portal \"{name}\" does not exist")))
    }

    async fn describe_portal(&mut self, name: &str) -> Done<()> {
        // A cursor is a portal, too: clients that declare one in SQL ask so for its columns.
        if !self.portals.contains_key(name)
            && let Ok(columns) = self.cursor_columns(name)
        {
            self.reply.columns(&columns, &[]);
            return Ok(());
        }
        let mut portal = self.portal(name)?;
        let columns = if portal.statement == Statement::Query {
            self.begin(&mut portal).await?;
            portal.rows.as_ref().map(|rows| rows.columns.clone())
        } else {
            self.columns_of(&portal.statement)?
        };
        self.columns_or_none(columns.as_deref(), &portal.formats);
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }

    /// Begins the query of a portal.
    async fn begin(&mut self, portal: &mut Portal) -> Done<()> {
        if portal.rows.is_some() || portal.is_done {
            return Ok(());
        }
        let rows = self.open(&portal.sql, std::mem::take(&mut portal.parameters)).await?;
        let types = |columns: &[Column]| columns.iter().map(|column| column.type_id).collect::<Vec<_>>();
        if portal.told.as_ref().is_some_and(|told| types(told) != types(&rows.columns)) {
            let message = "the columns have other types than they were said to have; prepare the statement again";
            return Err(Refusal::unsupported(message).into());
        }
        portal.rows = Some(rows);
        Ok(())
    }

    async fn execute(&mut self, name: &str, rows_max: i32) -> Done<()> {
        let mut portal = self.portal(name)?;
        self.check(&portal.statement)?;
        let rows_max = usize::try_from(rows_max).ok().filter(|most| *most > 0);
        match &portal.statement {
            Statement::Empty => self.reply.bare(b'I'),
            Statement::Query => {
                self.begin(&mut portal).await?;
                let formats = portal.formats.clone();
                let (count, more) = match &mut portal.rows {
                    Some(rows) => self.send(rows, rows_max, &formats).await?,
                    None => (0, false),
                };
                if more {
                    self.reply.bare(b's');
                } else {
                    (portal.rows, portal.is_done) = (None, true);
                    self.reply.complete(&format!("SELECT {count}"));
                }
            }
            Statement::Fetch(cursor, count) => {
                let (cursor, count) = (cursor.clone(), *count);
                self.fetch(&cursor, count, &portal.formats.clone()).await?;
            }
            other => {
                let outcome = self.command(&other.clone()).await?;
                if let Some((_, rows)) = &outcome.table {
                    rows.iter().for_each(|row| self.reply.texts(row));
                }
                self.reply.complete(&outcome.tag);
                return Ok(());
            }
        }
        self.portals.insert(name.to_owned(), portal);
        Ok(())
    }
}
