//! `vitalake query`: SQL in, a table, JSON or CSV out.
//!
//! Invariant: with --format json or csv, standard output holds the answer and nothing else.

use std::io::{Read as _, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::{Map, Value};

use crate::cli::{Format, QueryArgs};
use crate::client::{Answer, Client};
use crate::failure::Failure;
use crate::local::Purpose;
use crate::output::{self, Style};
use crate::table::{self, counted};

const SQL_BYTES_MAX: u64 = 16 << 20;

/// Asks and prints.
///
/// # Errors
/// When the SQL is wrong or no server answers.
pub fn run(args: &QueryArgs) -> anyhow::Result<ExitCode> {
    let sql = if args.sql == "-" { from_standard_input()? } else { args.sql.clone() };
    if sql.trim().is_empty() {
        return Err(
            Failure::usage("the SQL is empty", "give a question, such as \"SELECT COUNT(*) FROM raw.x\"").into()
        );
    }
    let client = Client::connect(&args.connect, Purpose::Look)?;
    let asked = Instant::now();
    let answer = client.query(&sql)?;
    let took_ms = asked.elapsed().as_millis();
    let mut out = output::stdout();
    match if args.json { Format::Json } else { args.format } {
        Format::Table => {
            let rows = counted(answer.rows.len() as u64, "row", "rows");
            write!(out, "{}", table::draw(&answer, Style::stdout()))?;
            writeln!(out, "({rows}, {took_ms} ms)")?;
        }
        Format::Json => json(&mut out, &answer)?,
        Format::Csv => csv(&mut out, &answer)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn from_standard_input() -> anyhow::Result<String> {
    let mut sql = String::new();
    std::io::stdin()
        .take(SQL_BYTES_MAX)
        .read_to_string(&mut sql)
        .context("standard input could not be read as SQL text")?;
    Ok(sql)
}

/// One array of objects, one object a line.
fn json(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    write!(out, "[")?;
    for (index, row) in answer.rows.iter().enumerate() {
        let object: Map<String, Value> = answer.names.iter().cloned().zip(row.iter().cloned()).collect();
        writeln!(out, "{}", if index == 0 { "" } else { "," })?;
        write!(out, "  {}", serde_json::to_string(&object)?)?;
    }
    writeln!(out, "{}]", if answer.rows.is_empty() { "" } else { "\n" })?;
    Ok(())
}

/// RFC 4180 with `\n` line ends. A null is an empty field; empty text is quoted, so that the two stay apart.
fn csv(out: &mut impl Write, answer: &Answer) -> anyhow::Result<()> {
    let header: Vec<String> = answer.names.iter().map(|name| quoted(name)).collect();
    writeln!(out, "{}", header.join(","))?;
    for row in &answer.rows {
        let fields: Vec<String> = row.iter().map(field).collect();
        writeln!(out, "{}", fields.join(","))?;
    }
    Ok(())
}

fn field(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        other => quoted(&table::plain(other)),
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
