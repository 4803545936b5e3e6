//! A statement with what it reads, as a plan of Spark's.
//!
//! Inputs are given by `WithRelations`, under the names that the statement has for them, so that no view stays behind in
//! Spark. One invariant: the statement's text is sent as it is, so that places in it are places in the model.

use std::collections::HashMap;

use arrow::compute::cast;
use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;

use crate::proto::read::{DataSource, ReadType};
use crate::proto::relation::RelType;
use crate::proto::{LocalRelation, Plan, Read, Relation, RelationCommon, Sql, SubqueryAlias, WithRelations, plan};
use crate::{Error, Result};

/// A statement with what it reads.
#[derive(Clone, Debug)]
pub struct Query {
    /// One SELECT in Spark's SQL.
    pub sql: String,
    /// What it reads, by the names that it has for them.
    pub inputs: Vec<Input>,
    /// By which it can be interrupted and found; without commas.
    pub tags: Vec<String>,
}

/// A table that a statement reads.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name in the statement: one identifier.
    pub name: String,
    /// Where its rows are.
    pub rows: Source,
}

/// Where rows are.
#[derive(Clone, Debug)]
pub enum Source {
    /// Here: they are sent with the statement. Timestamps with a zone are Spark's TIMESTAMP, others its TIMESTAMP_NTZ.
    Rows {
        /// Their schema, also when there are none.
        schema: SchemaRef,
        /// The rows.
        batches: Vec<RecordBatch>,
    },
    /// In Parquet files that Spark sees.
    Parquet {
        /// Their paths or addresses.
        paths: Vec<String>,
        /// The columns that are read, in this order. Without it, those of the first file.
        schema: Option<SchemaRef>,
    },
    /// In a version of a Delta table that Spark sees.
    Delta {
        /// The table's path or address.
        path: String,
        /// The version.
        version: i64,
    },
}

/// Rows that were sent, or go with the statement.
pub(crate) type Sent = RelType;

/// A plan that reads one statement. `sent` are its inputs of rows as relations, by name.
pub(crate) fn plan(query: &Query, mut sent: HashMap<String, Sent>) -> Result<Plan> {
    let mut ids = 0..;
    let mut relation = |kind: RelType| Relation {
        common: Some(RelationCommon { plan_id: ids.next(), ..RelationCommon::default() }),
        rel_type: Some(kind),
    };
    let mut references = Vec::with_capacity(query.inputs.len());
    for input in &query.inputs {
        let read = match &input.rows {
            Source::Rows { .. } => sent.remove(&input.name).ok_or_else(|| lacking(&input.name))?,
            Source::Parquet { paths, schema } => parquet(&input.name, paths, schema.as_ref())?,
            Source::Delta { path, version } => delta(path, *version),
        };
        let read = Some(Box::new(relation(read)));
        let alias = SubqueryAlias { input: read, alias: input.name.clone(), qualifier: Vec::new() };
        references.push(relation(RelType::SubqueryAlias(Box::new(alias))));
    }
    let statement = relation(RelType::Sql(Sql { query: query.sql.clone(), ..Sql::default() }));
    let root = if references.is_empty() {
        statement
    } else {
        let root = Some(Box::new(statement));
        relation(RelType::WithRelations(Box::new(WithRelations { root, references })))
    };
    Ok(Plan { op_type: Some(plan::OpType::Root(root)) })
}

/// Rows that go with the statement.
pub(crate) fn local(bytes: Bytes) -> RelType {
    RelType::LocalRelation(LocalRelation { data: Some(bytes), schema: None })
}

/// Rows in types that Spark takes.
pub(crate) struct Outgoing {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Outgoing {
    /// Brings rows into types that Spark takes, where no value changes by that.
    ///
    /// # Errors
    /// A column's type has no counterpart in Spark.
    pub(crate) fn new(input: &str, schema: &Schema, batches: &[RecordBatch]) -> Result<Self> {
        let fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| match taken(field.data_type()) {
                Some(kind) => Ok(Field::new(field.name(), kind, field.is_nullable())),
                None => Err(untaken(input, field)),
            })
            .collect::<Result<_>>()?;
        let outgoing = std::sync::Arc::new(Schema::new(fields));
        let batches = batches.iter().map(|batch| as_sent(input, batch, &outgoing)).collect::<Result<_>>()?;
        Ok(Self { schema: outgoing, batches })
    }

    /// How many bytes of memory they take, which is about what is sent.
    pub(crate) fn bytes(&self) -> u64 {
        self.batches.iter().map(|batch| batch.get_array_memory_size() as u64).sum()
    }

    /// All rows as one Arrow stream.
    pub(crate) fn whole(&self) -> Result<Bytes> {
        stream(&self.schema, &self.batches)
    }

    /// Arrow streams of at most so many rows each, made as they are asked for; one when there are no rows.
    pub(crate) fn streams(&self, rows_max: usize) -> impl Iterator<Item = Result<Bytes>> {
        let none = self.batches.iter().all(|batch| batch.num_rows() == 0).then(|| stream(&self.schema, &[]));
        let some = self.batches.iter().flat_map(move |batch| {
            let starts = (0..batch.num_rows()).step_by(rows_max.max(1));
            starts.map(move |start| batch.slice(start, rows_max.min(batch.num_rows() - start)))
        });
        none.into_iter().chain(some.map(|batch| stream(&self.schema, &[batch])))
    }

    /// How many rows make about so many bytes.
    pub(crate) fn rows_of(&self, bytes: u64) -> usize {
        let rows: usize = self.batches.iter().map(RecordBatch::num_rows).sum();
        let each = (self.bytes() / (rows as u64).max(1)).max(1);
        usize::try_from((bytes / each).max(1)).unwrap_or(usize::MAX)
    }
}

fn as_sent(input: &str, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            return Ok(column.clone());
        }
        cast(column, field.data_type()).map_err(|_| untaken(input, field))
    });
    let columns = columns.collect::<Result<_>>()?;
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|_| Error::Answer { reason: format!("the rows of input {input} have another schema than is said") })
}

fn stream(schema: &Schema, batches: &[RecordBatch]) -> Result<Bytes> {
    let unwritten = |_| Error::Answer { reason: String::from("rows cannot be written as Arrow") };
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(unwritten)?;
    for batch in batches {
        writer.write(batch).map_err(unwritten)?;
    }
    writer.into_inner().map(Bytes::from).map_err(unwritten)
}

/// The type in which Spark takes values of a type: the same, or a plainer layout of the same values.
fn taken(kind: &DataType) -> Option<DataType> {
    use DataType as D;
    Some(match kind {
        D::Null | D::Boolean | D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::Float32 | D::Float64 => kind.clone(),
        D::Utf8 | D::Binary | D::Date32 | D::Decimal128(_, 0..) => kind.clone(),
        D::UInt8 => D::Int16,
        D::UInt16 => D::Int32,
        D::UInt32 => D::Int64,
        D::Utf8View | D::LargeUtf8 => D::Utf8,
        D::BinaryView | D::LargeBinary | D::FixedSizeBinary(_) => D::Binary,
        D::Timestamp(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond, zone) => {
            D::Timestamp(TimeUnit::Microsecond, zone.as_ref().map(|_| "UTC".into()))
        }
        D::Dictionary(_, value) => taken(value)?,
        D::List(field) | D::LargeList(field) | D::ListView(field) => D::List(std::sync::Arc::new(within(field)?)),
        D::Struct(fields) => D::Struct(fields.iter().map(|field| within(field)).collect::<Option<_>>()?),
        D::Map(entries, _) => D::Map(std::sync::Arc::new(within(entries)?), false),
        _ => return None,
    })
}

fn within(field: &Field) -> Option<Field> {
    Some(Field::new(field.name(), taken(field.data_type())?, field.is_nullable()))
}

fn untaken(input: &str, field: &Field) -> Error {
    Error::InputType { input: input.to_owned(), column: field.name().clone(), kind: field.data_type().to_string() }
}

fn lacking(name: &str) -> Error {
    Error::Answer { reason: format!("two inputs are called {name}") }
}

fn delta(path: &str, version: i64) -> RelType {
    source("delta", vec![path.to_owned()], None, HashMap::from([("versionAsOf".to_owned(), version.to_string())]))
}

fn parquet(input: &str, paths: &[String], schema: Option<&SchemaRef>) -> Result<RelType> {
    let columns = |schema: &SchemaRef| {
        let columns = schema.fields().iter().map(|field| column(field).ok_or_else(|| untaken(input, field)));
        columns.collect::<Result<Vec<_>>>().map(|columns| columns.join(", "))
    };
    Ok(source("parquet", paths.to_vec(), schema.map(columns).transpose()?, HashMap::new()))
}

fn source(format: &str, paths: Vec<String>, schema: Option<String>, options: HashMap<String, String>) -> RelType {
    let source = DataSource { format: Some(format.to_owned()), schema, options, paths, ..DataSource::default() };
    RelType::Read(Read { read_type: Some(ReadType::DataSource(source)), ..Read::default() })
}

fn column(field: &Field) -> Option<String> {
    Some(format!("`{}` {}", field.name().replace('`', "``"), ddl(&taken(field.data_type())?)?))
}

/// A type in Spark's own words.
fn ddl(kind: &DataType) -> Option<String> {
    use DataType as D;
    Some(match kind {
        D::Boolean => String::from("BOOLEAN"),
        D::Int8 => String::from("TINYINT"),
        D::Int16 => String::from("SMALLINT"),
        D::Int32 => String::from("INT"),
        D::Int64 => String::from("BIGINT"),
        D::Float32 => String::from("FLOAT"),
        D::Float64 => String::from("DOUBLE"),
        D::Utf8 => String::from("STRING"),
        D::Binary => String::from("BINARY"),
        D::Date32 => String::from("DATE"),
        D::Decimal128(precision, scale) => format!("DECIMAL({precision}, {scale})"),
        D::Timestamp(_, Some(_)) => String::from("TIMESTAMP"),
        D::Timestamp(_, None) => String::from("TIMESTAMP_NTZ"),
        D::List(element) => format!("ARRAY<{}>", ddl(element.data_type())?),
        D::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|field| Some(format!("`{}`: {}", field.name().replace('`', "``"), ddl(field.data_type())?)));
            format!("STRUCT<{}>", fields.collect::<Option<Vec<_>>>()?.join(", "))
        }
        D::Map(entries, _) => match entries.data_type() {
            D::Struct(pair) => match pair.as_ref() {
                [key, value] => format!("MAP<{}, {}>", ddl(key.data_type())?, ddl(value.data_type())?),
                _ => return None,
            },
            _ => return None,
        },
        _ => return None,
    })
}
