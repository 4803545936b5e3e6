//! The calls of Flight SQL: statements, prepared statements, and what there is to be asked.
//!
//! A ticket holds the statement's text, and who redeems it is asked for his name again. What would write is refused.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementQuery, CommandStatementUpdate,
    DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc,
    Ticket,
};
use bytes::Bytes;
use datafusion::sql::sqlparser::ast::Expr;
use futures::{Stream, TryStreamExt as _};
use parking_lot::Mutex;
use prost::Message as _;
use tonic::{Request, Response, Status, Streaming};

use super::Line;
use super::answer::{self, Sent, status, told};
use super::doors::Entrance;
use crate::audit::Surface;
use crate::identity::Identity;
use crate::names::Names;
use crate::postgres::dialect::{PostgresSql, SCHEMATA};
use crate::postgres::{DATABASE, Settings, constant, placeholder};
use crate::session::{QueryOptions, Session, Sessions};
use crate::sql::parse::TextLimits;

/// Prepared statements at once.
const STATEMENTS_MAX: usize = 10_000;
/// The only kind of table.
const TABLE: &str = "TABLE";

/// A statement that is prepared, with values for its parameters once there are some.
#[derive(Clone)]
struct Prepared {
    owner: Identity,
    sql: String,
    parameters: Option<Vec<Expr>>,
}

/// The service.
pub struct Service {
    sessions: Sessions,
    entrance: Entrance,
    statements: Mutex<HashMap<Bytes, Prepared>>,
    info: Option<SqlInfoData>,
}

type Info = Result<Response<FlightInfo>, Status>;
type Rows = Result<Response<Sent>, Status>;

fn failed(_: impl std::fmt::Debug) -> Status {
    Status::internal("the answer could not be written")
}

fn reads_only() -> Status {
    Status::unimplemented("this surface reads only: records come in by topics and deliveries")
}

impl Service {
    /// A service over those sessions.
    pub fn new(sessions: Sessions, names: Arc<Names>) -> Self {
        let mut info = SqlInfoDataBuilder::new();
        info.append(SqlInfo::FlightSqlServerName, "vitalake");
        info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
        info.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
        info.append(SqlInfo::FlightSqlServerReadOnly, true);
        info.append(SqlInfo::FlightSqlServerSql, true);
        info.append(SqlInfo::FlightSqlServerSubstrait, false);
        info.append(SqlInfo::FlightSqlServerTransaction, 0_i32);
        info.append(SqlInfo::FlightSqlServerCancel, false);
        info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
        let (entrance, info) = (Entrance::new(names, sessions.audit().clone()), info.build().ok());
        Self { sessions, entrance, statements: Mutex::default(), info }
    }

    async fn session<T>(&self, request: &Request<T>) -> Result<(Identity, Session), Status> {
        let identity = self.entrance.enter(request.metadata(), &line(request)).await?;
        let dialect = PostgresSql::new("flight", Arc::new(Settings::new(identity.name())));
        let sessions = self.sessions.speaking(Arc::new(dialect), Surface::Flight);
        let session = sessions.open(identity.clone()).map_err(|error| status(&error))?;
        Ok((identity, session))
    }

    async fn described(&self, session: &Session, sql: &str) -> Result<(SchemaRef, Schema), Status> {
        let count = crate::postgres::parameters(sql, &TextLimits::default()).map_err(|error| status(&error))?;
        let bare = (1..=count).map(|number| placeholder(number, 0)).collect();
        let mut found = session.describe(sql.to_owned(), bare, QueryOptions::default()).await;
        if found.is_err() && count > 0 {
            let texts = (1..=count).map(|number| placeholder(number, 25)).collect();
            found = session.describe(sql.to_owned(), texts, QueryOptions::default()).await;
        }
        let found = found.map_err(|error| status(&error))?;
        let fields = (1..=count).map(|number| {
            let name = format!("${number}");
            let kind = found.parameters.get(&name).cloned().flatten().unwrap_or(arrow::datatypes::DataType::Utf8);
            arrow::datatypes::Field::new(name, kind, true)
        });
        let parameters = Schema::new(fields.collect::<Vec<_>>());
        Ok((told(&found.schema, &found.labels), parameters))
    }

    async fn rows(&self, session: &Session, sql: String, parameters: Vec<Expr>) -> Rows {
        let answer = session.query(sql, parameters, QueryOptions::default()).await.map_err(|error| status(&error))?;
        Ok(Response::new(answer::rows(answer)))
    }

    fn prepared(&self, handle: &Bytes, who: &Identity) -> Result<Prepared, Status> {
        let found = self.statements.lock().get(handle).filter(|prepared| prepared.owner == *who).cloned();
        found.ok_or_else(|| Status::not_found("there is no such prepared statement; prepare it again"))
    }

    fn tables(&self, session: &Session, query: CommandGetTables) -> Result<RecordBatch, Status> {
        let mut builder = query.into_builder();
        let empty = Schema::empty();
        for (schema, name, columns) in session.tables() {
            if !SCHEMATA.contains(&schema.as_str()) {
                continue;
            }
            let labels: Vec<String> = columns.fields().iter().map(|field| field.name().clone()).collect();
            let columns = if builder.include_schema() { told(&columns, &labels) } else { Arc::new(empty.clone()) };
            builder.append(DATABASE, &schema, &name, TABLE, &columns).map_err(failed)?;
        }
        builder.build().map_err(failed)
    }
}

/// Where a call comes from.
fn line<T>(request: &Request<T>) -> Line {
    request.extensions().get::<Line>().cloned().unwrap_or_default()
}

fn info(request: Request<FlightDescriptor>, schema: &Schema, ticket: Vec<u8>) -> Info {
    let endpoint = FlightEndpoint::new().with_ticket(Ticket { ticket: ticket.into() });
    let info = FlightInfo::new().try_with_schema(schema).map_err(failed)?;
    Ok(Response::new(info.with_endpoint(endpoint).with_descriptor(request.into_inner())))
}

#[tonic::async_trait]
impl FlightSqlService for Service {
    type FlightService = Self;

    async fn do_handshake(
        &self,
        request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<std::pin::Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        let token = self.entrance.token(request.metadata(), &line(&request)).await?;
        let answer = HandshakeResponse { protocol_version: 0, payload: token.clone().into() };
        let stream: std::pin::Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(futures::stream::iter([Ok(answer)]));
        let mut response = Response::new(stream);
        let value = format!("Bearer {token}").parse().map_err(failed)?;
        response.metadata_mut().append("authorization", value);
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let (_, session) = self.session(&request).await?;
        let (schema, _) = self.described(&session, &query.query).await?;
        let ticket = TicketStatementQuery { statement_handle: query.query.into() };
        info(request, &schema, ticket.as_any().encode_to_vec())
    }

    async fn do_get_statement(&self, ticket: TicketStatementQuery, request: Request<Ticket>) -> Rows {
        let (_, session) = self.session(&request).await?;
        let sql = String::from_utf8(ticket.statement_handle.to_vec());
        let sql = sql.map_err(|_| Status::invalid_argument("the ticket is not one of this server"))?;
        self.rows(&session, sql, Vec::new()).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let (owner, session) = self.session(&request).await?;
        let (schema, parameters) = self.described(&session, &query.query).await?;
        let handle = Bytes::copy_from_slice(uuid::Uuid::new_v4().as_bytes());
        let mut statements = self.statements.lock();
        if statements.len() >= STATEMENTS_MAX {
            return Err(Status::resource_exhausted("too many prepared statements; close some"));
        }
        statements.insert(handle.clone(), Prepared { owner, sql: query.query, parameters: None });
        let bytes = |schema: &Schema| -> Result<Bytes, Status> {
            let IpcMessage(bytes) = SchemaAsIpc::new(schema, &Default::default()).try_into().map_err(failed)?;
            Ok(bytes)
        };
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle,
            dataset_schema: bytes(&schema)?,
            parameter_schema: bytes(&parameters)?,
        })
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let who = self.entrance.enter(request.metadata(), &line(&request)).await?;
        self.prepared(&query.prepared_statement_handle, &who)?;
        self.statements.lock().remove(&query.prepared_statement_handle);
        Ok(())
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Info {
        let (who, session) = self.session(&request).await?;
        let prepared = self.prepared(&query.prepared_statement_handle, &who)?;
        let (schema, _) = self.described(&session, &prepared.sql).await?;
        info(request, &schema, query.as_any().encode_to_vec())
    }

    async fn do_get_prepared_statement(&self, query: CommandPreparedStatementQuery, request: Request<Ticket>) -> Rows {
        let (who, session) = self.session(&request).await?;
        let prepared = self.prepared(&query.prepared_statement_handle, &who)?;
        self.rows(&session, prepared.sql, prepared.parameters.unwrap_or_default()).await
    }

    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        let who = self.entrance.enter(request.metadata(), &line(&request)).await?;
        self.prepared(&query.prepared_statement_handle, &who)?;
        let data = request.into_inner().map_err(|status| FlightError::Tonic(Box::new(status)));
        let mut batches = FlightRecordBatchStream::new_from_flight_data(data);
        let unreadable = |_| Status::invalid_argument("the parameters cannot be read");
        let mut parameters = None;
        while let Some(batch) = batches.try_next().await.map_err(unreadable)? {
            if batch.num_rows() != 1 || parameters.is_some() {
                return Err(Status::invalid_argument("a prepared statement takes one row of parameters"));
            }
            let values = batch.columns().iter().map(constant).collect::<Option<Vec<_>>>();
            let unread = || Status::invalid_argument("a parameter has a type that is not read here: send it as text");
            parameters = Some(values.ok_or_else(unread)?);
        }
        if let Some(prepared) = self.statements.lock().get_mut(&query.prepared_statement_handle) {
            prepared.parameters = parameters;
        }
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: None })
    }

    async fn get_flight_info_catalogs(&self, query: CommandGetCatalogs, request: Request<FlightDescriptor>) -> Info {
        self.entrance.enter(request.metadata(), &line(&request)).await?;
        let ticket = query.as_any().encode_to_vec();
        info(request, &query.into_builder().schema(), ticket)
    }

    async fn do_get_catalogs(&self, query: CommandGetCatalogs, request: Request<Ticket>) -> Rows {
        self.entrance.enter(request.metadata(), &line(&request)).await?;
        let mut builder = query.into_builder();
        builder.append(DATABASE);
        Ok(Response::new(answer::one(builder.build().map_err(failed)?)))
    }

    async fn get_flight_info_schemas(&self, query: CommandGetDbSchemas, request: Request<FlightDescriptor>) -> Info {
        self.entrance.enter(request.metadata(), &line(&request)).await?;
        let ticket = query.as_any().encode_to_vec();
        info(request, &query.into_builder().schema(), ticket)
    }

    async fn do_get_schemas(&self, query: CommandGetDbSchemas, request: Request<Ticket>) -> Rows {
        self.entrance.enter(request.metadata(), &line(&request)).await?;
        let mut builder = query.into_builder();
        SCHEMATA.iter().for_each(|schema| builder.append(DATABASE, schema));
        Ok(Response::new(answer::one(builder.build().map_err(failed)?)))
    }

    async fn get_flight_info_tables(&self, query: CommandGetTables, request: Request<FlightDescriptor>) -> Info {
        self.entrance.enter(request.metadata(), &line(&request)).await?;
        let ticket = query.as_any().encode_to_vec();
        info(request, &query.into_builder().schema(), ticket)
    }

    async fn do_get_tables(&self, query: CommandGetTables, request: Request<Ticket>) -> Rows {
        let (_, session) = self.session(&request).await?;
        Ok(Response::new(answer::one(self.tables(&session, query)?)))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Info {
        self.entrance.enter(request.metadata(), &line(&request)).await?;
        let ticket = query.as_any().encode_to_vec();
        info(request, &query.into_builder().schema(), ticket)
    }

    async fn do_get_table_types(&self, query: CommandGetTableTypes, request: Request<Ticket>) -> Rows {
        self.entrance.enter(request.metadata(), &line(&request)).await?;
        let mut builder = query.into_builder();
        builder.append(TABLE);
        Ok(Response::new(answer::one(builder.build().map_err(failed)?)))
    }

    async fn get_flight_info_sql_info(&self, query: CommandGetSqlInfo, request: Request<FlightDescriptor>) -> Info {
        self.entrance.enter(request.metadata(), &line(&request)).await?;
        let ticket = query.as_any().encode_to_vec();
        let known = self.info.as_ref().ok_or_else(|| failed(()))?;
        info(request, &query.into_builder(known).schema(), ticket)
    }

    async fn do_get_sql_info(&self, query: CommandGetSqlInfo, request: Request<Ticket>) -> Rows {
        self.entrance.enter(request.metadata(), &line(&request)).await?;
        let known = self.info.as_ref().ok_or_else(|| failed(()))?;
        Ok(Response::new(answer::one(query.into_builder(known).build().map_err(failed)?)))
    }

    async fn do_put_statement_update(
        &self,
        _: CommandStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(reads_only())
    }

    async fn do_put_prepared_statement_update(
        &self,
        _: CommandPreparedStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(reads_only())
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
