//! Fields in PostgreSQL's binary form → Arrow columns, exactly.
//!
//! Invariant: a value is taken as it is or refused by what it is; none is rounded, cut or made null.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float32Builder, Float64Builder,
    Int16Builder, Int32Builder, Int64Builder, ListArray, RecordBatch, StringBuilder, Time64MicrosecondBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::columns::{Kind, SourceColumns, element};
use super::numeric::Numeric;

/// From PostgreSQL's first day, 2000-01-01, to 1970's.
const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;

/// Why a value cannot be taken: what it is, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unfit(pub(super) &'static str, pub(super) &'static str);

const INFINITE: Unfit = Unfit("an infinite time", "write nullif(column, 'infinity') in the query, or read it as text");
const BEYOND: Unfit =
    Unfit("a time beyond what 64 bits of microseconds hold", "read it as text in the query: column::text");
const NOT_A_NUMBER: Unfit = Unfit("a number that is none (NaN)", "write nullif(column, 'NaN') in the query");
const TOO_WIDE: Unfit =
    Unfit("a number with more digits than its column says", "cast it in the query to a numeric that holds it");
const NESTED: Unfit = Unfit("an array of more than one dimension", "read it as text in the query: column::text");
const NOT_TEXT: Unfit =
    Unfit("text that is not UTF-8", "convert it in the query: convert_from(column::bytea, 'LATIN1')");
const MALFORMED: Unfit = Unfit("a form that its type does not have", "read it as text in the query: column::text");

/// The columns of a batch that is being filled.
#[derive(Debug)]
pub(super) struct Rows {
    schema: SchemaRef,
    columns: Vec<Builder>,
    kinds: Vec<Kind>,
    rows: usize,
    bytes: usize,
}

impl Rows {
    pub(super) fn new(columns: &SourceColumns) -> Self {
        let kinds: Vec<Kind> = columns.0.iter().map(|column| column.kind.clone()).collect();
        let builders = kinds.iter().map(Builder::new).collect();
        Self { schema: columns.schema(), columns: builders, kinds, rows: 0, bytes: 0 }
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn count(&self) -> usize {
        self.rows
    }

    /// About how many bytes they have.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a row whose fields are asked for by their place; the place of the one that cannot be taken otherwise.
    pub(super) fn take<'a>(
        &mut self,
        bytes: usize,
        field: impl Fn(usize) -> Option<&'a [u8]>,
    ) -> Result<(), (usize, Unfit)> {
        for (at, (builder, kind)) in self.columns.iter_mut().zip(&self.kinds).enumerate() {
            builder.append(kind, field(at)).map_err(|unfit| (at, unfit))?;
        }
        self.rows += 1;
        self.bytes += bytes;
        Ok(())
    }

    /// The batch, leaving none.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let columns: Result<Vec<ArrayRef>, ArrowError> =
            self.columns.iter_mut().zip(&self.kinds).map(|(builder, kind)| builder.finish(kind)).collect();
        (self.rows, self.bytes) = (0, 0);
        RecordBatch::try_new(Arc::clone(&self.schema), columns?)
    }
}

#[derive(Debug)]
enum Builder {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal(Decimal128Builder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    List { values: Box<Builder>, offsets: Vec<i32>, nulls: Vec<bool>, count: i32 },
}

impl Builder {
    fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
            Kind::Int16 => Self::Int16(Int16Builder::new()),
            Kind::Int32 => Self::Int32(Int32Builder::new()),
            Kind::Int64 | Kind::Oid => Self::Int64(Int64Builder::new()),
            Kind::Float32 => Self::Float32(Float32Builder::new()),
            Kind::Float64 => Self::Float64(Float64Builder::new()),
            Kind::Decimal { .. } => Self::Decimal(Decimal128Builder::new().with_data_type(kind.arrow())),
            Kind::Numeric | Kind::Text | Kind::JsonB | Kind::Uuid => Self::Text(StringBuilder::new()),
            Kind::Bytes => Self::Bytes(BinaryBuilder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Kind::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new()),
            Kind::TimestampUtc => Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
            Kind::List(of) => {
                Self::List { values: Box::new(Self::new(of)), offsets: vec![0], nulls: Vec::new(), count: 0 }
            }
        }
    }

    fn append(&mut self, kind: &Kind, field: Option<&[u8]>) -> Result<(), Unfit> {
        match self {
            Self::Boolean(builder) => {
                builder.append_option(field.map(fixed).transpose()?.map(|[byte]: [u8; 1]| byte != 0))
            }
            Self::Int16(builder) => builder.append_option(field.map(fixed).transpose()?.map(i16::from_be_bytes)),
            Self::Int32(builder) => builder.append_option(field.map(fixed).transpose()?.map(i32::from_be_bytes)),
            Self::Int64(builder) if *kind == Kind::Oid => {
                builder.append_option(field.map(fixed).transpose()?.map(|oid| i64::from(u32::from_be_bytes(oid))));
            }
            Self::Int64(builder) => builder.append_option(field.map(fixed).transpose()?.map(i64::from_be_bytes)),
            Self::Float32(builder) => builder.append_option(field.map(fixed).transpose()?.map(f32::from_be_bytes)),
            Self::Float64(builder) => builder.append_option(field.map(fixed).transpose()?.map(f64::from_be_bytes)),
            Self::Decimal(builder) => builder.append_option(field.map(|bytes| decimal(kind, bytes)).transpose()?),
            Self::Text(builder) => match field {
                None => builder.append_null(),
                Some(bytes) => text(kind, bytes, builder)?,
            },
            Self::Bytes(builder) => builder.append_option(field),
            Self::Date(builder) => builder.append_option(field.map(date).transpose()?),
            Self::Time(builder) => builder.append_option(field.map(fixed).transpose()?.map(i64::from_be_bytes)),
            Self::Timestamp(builder) => builder.append_option(field.map(timestamp).transpose()?),
            Self::List { values, offsets, nulls, count } => {
                if let (Some(bytes), Kind::List(of)) = (field, kind) {
                    *count += list(bytes, |element| values.append(of, element))?;
                }
                nulls.push(field.is_some());
                offsets.push(*count);
            }
        }
        Ok(())
    }

    fn finish(&mut self, kind: &Kind) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Boolean(builder) => Arc::new(builder.finish()),
            Self::Int16(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Float32(builder) => Arc::new(builder.finish()),
            Self::Float64(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Date(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
            Self::Timestamp(builder) => Arc::new(builder.finish()),
            Self::List { values, offsets, nulls, count } => {
                let Kind::List(of) = kind else { return Err(ArrowError::SchemaError("a list of nothing".to_owned())) };
                *count = 0;
                let offsets = OffsetBuffer::new(std::mem::replace(offsets, vec![0]).into());
                Arc::new(ListArray::try_new(
                    element(of),
                    offsets,
                    values.finish(of)?,
                    Some(NullBuffer::from(std::mem::take(nulls))),
                )?)
            }
        })
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Unfit> {
    bytes.try_into().map_err(|_| MALFORMED)
}

fn decimal(kind: &Kind, bytes: &[u8]) -> Result<i128, Unfit> {
    let (numeric, Kind::Decimal { precision, scale }) = (Numeric::read(bytes).ok_or(MALFORMED)?, kind) else {
        return Err(MALFORMED);
    };
    if numeric.is_special() {
        return Err(NOT_A_NUMBER);
    }
    let value = numeric.decimal(i32::from(*scale)).ok_or(TOO_WIDE)?;
    let limit = 10_i128.checked_pow(u32::from(*precision)).ok_or(TOO_WIDE)?;
    if value.abs() < limit { Ok(value) } else { Err(TOO_WIDE) }
}

fn text(kind: &Kind, bytes: &[u8], builder: &mut StringBuilder) -> Result<(), Unfit> {
    match kind {
        Kind::Numeric => builder.append_value(Numeric::read(bytes).ok_or(MALFORMED)?.text()),
        Kind::Uuid => builder.append_value(uuid::Uuid::from_bytes(fixed(bytes)?).hyphenated().to_string()),
        Kind::JsonB => {
            // The only version of the form there is.
            let text = bytes.strip_prefix(&[1]).ok_or(MALFORMED)?;
            builder.append_value(std::str::from_utf8(text).map_err(|_| NOT_TEXT)?);
        }
        _ => builder.append_value(std::str::from_utf8(bytes).map_err(|_| NOT_TEXT)?),
    }
    Ok(())
}

fn date(bytes: &[u8]) -> Result<i32, Unfit> {
    match i32::from_be_bytes(fixed(bytes)?) {
        i32::MAX | i32::MIN => Err(INFINITE),
        days => days.checked_add(EPOCH_DAYS).ok_or(BEYOND),
    }
}

fn timestamp(bytes: &[u8]) -> Result<i64, Unfit> {
    match i64::from_be_bytes(fixed(bytes)?) {
        i64::MAX | i64::MIN => Err(INFINITE),
        micros => micros.checked_add(EPOCH_MICROS).ok_or(BEYOND),
    }
}

/// Gives each element of an array of one dimension, and how many there are.
fn list(bytes: &[u8], mut take: impl FnMut(Option<&[u8]>) -> Result<(), Unfit>) -> Result<i32, Unfit> {
    let word = |at: usize| {
        let four = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>).ok_or(MALFORMED)?;
        Ok::<i32, Unfit>(i32::from_be_bytes(*four))
    };
    // Dimensions, whether there are nulls, the elements' type; then of each dimension its length and lower bound.
    let count = match word(0)? {
        0 => return Ok(0),
        1 => word(12)?,
        _ => return Err(NESTED),
    };
    let mut at = 20;
    for _ in 0..count {
        let length = word(at)?;
        at += 4;
        if length < 0 {
            take(None)?;
            continue;
        }
        let length = usize::try_from(length).map_err(|_| MALFORMED)?;
        take(Some(bytes.get(at..at + length).ok_or(MALFORMED)?))?;
        at += length;
    }
    Ok(count)
}
