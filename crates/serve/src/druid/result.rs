//! An answer's bytes in each of Druid's result formats: header, rows, end.

use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::request::ResultFormat;
use super::types::{TypeNames, field_names};
use super::value::{Column, Style, csv_field, string};

/// Which header rows a client asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Headers {
    /// Names.
    pub names: bool,
    /// Druid's types.
    pub types: bool,
    /// SQL types.
    pub sql_types: bool,
}

/// Writes one answer.
#[derive(Debug)]
pub struct ResultWriter {
    format: ResultFormat,
    headers: Headers,
    style: Style,
    labels: Vec<String>,
    /// `"label":` of each column, ready to be copied.
    keys: Vec<Vec<u8>>,
    types: Vec<TypeNames>,
    rows: u64,
}

impl ResultWriter {
    /// A writer for an answer of that schema, whose columns are called `labels`.
    pub fn new(format: ResultFormat, headers: Headers, style: Style, schema: &Schema, labels: Vec<String>) -> Self {
        let keys = labels
            .iter()
            .map(|label| {
                let mut key = vec![];
                string(label, &mut key);
                key.push(b':');
                key
            })
            .collect();
        let types = schema.fields().iter().map(|field| field_names(field)).collect();
        Self { format, headers, style, labels, keys, types, rows: 0 }
    }

    /// What comes before the first row.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        if self.is_document() {
            out.push(b'[');
        }
        if !self.headers.names {
            return;
        }
        if matches!(self.format, ResultFormat::Object | ResultFormat::ObjectLines) {
            self.header_object(out);
            return;
        }
        let mut header_rows: Vec<Vec<String>> = vec![self.labels.clone()];
        if self.headers.types {
            header_rows.push(self.types.iter().map(|names| names.native.clone()).collect());
        }
        if self.headers.sql_types {
            header_rows.push(self.types.iter().map(|names| names.sql.to_owned()).collect());
        }
        for row in header_rows {
            self.begin_row(out);
            for (index, cell) in row.iter().enumerate() {
                self.separate(index, out);
                if self.format == ResultFormat::Csv {
                    csv_field(cell.as_bytes(), out);
                } else {
                    string(cell, out);
                }
            }
            self.end_row(out);
        }
    }

    fn header_object(&mut self, out: &mut Vec<u8>) {
        self.begin_row(out);
        for (index, (key, names)) in self.keys.iter().zip(&self.types).enumerate() {
            self.separate(index, out);
            out.extend_from_slice(key);
            if !self.headers.types && !self.headers.sql_types {
                out.extend_from_slice(b"null");
                continue;
            }
            let mut members = vec![];
            if self.headers.types {
                members.push(format!("\"type\":\"{}\"", names.native));
            }
            if self.headers.sql_types {
                members.push(format!("\"sqlType\":\"{}\"", names.sql));
            }
            out.extend_from_slice(format!("{{{}}}", members.join(",")).as_bytes());
        }
        self.end_row(out);
    }

    /// The rows of a batch.
    ///
    /// # Errors
    /// When a column has a type that cannot be written.
    pub fn batch(&mut self, batch: &RecordBatch, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        let columns = batch.columns().iter().map(Column::new).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            self.begin_row(out);
            for (index, column) in columns.iter().enumerate() {
                self.separate(index, out);
                match self.format {
                    ResultFormat::Csv => column.csv(row, &self.style, out),
                    ResultFormat::Object | ResultFormat::ObjectLines => {
                        out.extend_from_slice(self.keys.get(index).map(Vec::as_slice).unwrap_or_default());
                        column.json(row, &self.style, out);
                    }
                    ResultFormat::Array | ResultFormat::ArrayLines => column.json(row, &self.style, out),
                }
            }
            self.end_row(out);
        }
        Ok(())
    }

    /// What comes after the last row.
    pub fn end(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_document() { b"]\n" } else { b"\n" });
    }

    /// Whether the answer is one JSON document.
    pub(crate) fn is_document(&self) -> bool {
        matches!(self.format, ResultFormat::Object | ResultFormat::Array)
    }

    fn begin_row(&self, out: &mut Vec<u8>) {
        if self.is_document() && self.rows > 0 {
            out.push(b',');
        }
        match self.format {
            ResultFormat::Object | ResultFormat::ObjectLines => out.push(b'{'),
            ResultFormat::Array | ResultFormat::ArrayLines => out.push(b'['),
            ResultFormat::Csv => {}
        }
    }

    fn separate(&self, index: usize, out: &mut Vec<u8>) {
        if index > 0 {
            out.push(b',');
        }
    }

    fn end_row(&mut self, out: &mut Vec<u8>) {
        self.rows += 1;
        out.extend_from_slice(match self.format {
            ResultFormat::Object => b"}",
            ResultFormat::ObjectLines => b"}\n",
            ResultFormat::Array => b"]",
            ResultFormat::ArrayLines => b"]\n",
            ResultFormat::Csv => b"\n",
        });
    }
}
