//! Answers as a person reads them: aligned columns, numbers to the right, nulls that cannot be taken for text.
//!
//! Invariant: one row is one line, whatever its values hold; nothing in a value reaches the terminal as a command.

use std::io::Write as _;

use serde_json::Value;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::client::Answer;
use crate::output::{self, Style};

const CELL_COLUMNS_MAX: usize = 80;
const NULL: &str = "NULL";

/// A cell and how it is shown.
struct Cell {
    text: String,
    null: bool,
}

/// Rows under columns, each with its name and its SQL type; none is text.
#[must_use]
pub fn answer(columns: &[(&str, &str)], rows: Vec<Vec<Value>>) -> Answer {
    let (names, types) = columns.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).unzip();
    Answer { names, types, rows }
}

/// Prints an answer.
///
/// # Errors
/// When standard output cannot be written to.
pub fn print(answer: &Answer) -> anyhow::Result<()> {
    let mut out = output::stdout();
    write!(out, "{}", draw(answer, Style::stdout()))?;
    out.flush()?;
    Ok(())
}

/// Draws an answer without its closing line.
#[must_use]
pub fn draw(answer: &Answer, style: Style) -> String {
    let rows: Vec<Vec<Cell>> = answer.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let columns = answer.names.len();
    let numeric: Vec<bool> = (0..columns).map(|column| is_numeric(answer, column)).collect();
    let widths: Vec<usize> = answer.names.iter().enumerate().map(|(column, name)| width(name, &rows, column)).collect();
    let mut drawn = String::new();
    let header = answer.names.iter().zip(&widths).zip(&numeric);
    let header: Vec<String> =
        header.map(|((name, width), right)| style.bold(&padded(&clean(name), *width, *right))).collect();
    push_line(&mut drawn, &header, " │ ", ' ');
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    push_line(&mut drawn, &rule, "─┼─", '─');
    for row in &rows {
        let cells = row.iter().zip(&widths).zip(&numeric).map(|((cell, width), right)| {
            let text = padded(&cell.text, *width, *right);
            if cell.null { style.dim(&text) } else { text }
        });
        push_line(&mut drawn, &cells.collect::<Vec<_>>(), " │ ", ' ');
    }
    drawn
}

/// A whole number with its thousands apart: `1,325,580`.
#[must_use]
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1 row`, `2 rows`.
#[must_use]
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(number), if number == 1 { one } else { many })
}

/// A value as CSV and tables show it: text without quotes, null as nothing.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell { text: NULL.to_owned(), null: true },
        other => Cell { text: shortened(&clean(&plain(other))), null: false },
    }
}

fn is_numeric(answer: &Answer, column: usize) -> bool {
    const NUMERIC: [&str; 7] = ["TINYINT", "SMALLINT", "INTEGER", "BIGINT", "FLOAT", "DOUBLE", "DECIMAL"];
    match answer.types.get(column) {
        Some(kind) => NUMERIC.iter().any(|numeric| kind.starts_with(numeric)) || kind == "REAL",
        None => answer.rows.iter().filter_map(|row| row.get(column)).all(|value| value.is_number() || value.is_null()),
    }
}

fn width(name: &str, rows: &[Vec<Cell>], column: usize) -> usize {
    let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.text.width());
    cells.chain([clean(name).width()]).max().unwrap_or(0)
}

/// Control characters written out, so that a line stays a line and a terminal obeys nobody's data.
fn clean(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut clean, character| {
        if character.is_control() {
            clean.extend(character.escape_default());
        } else {
            clean.push(character);
        }
        clean
    })
}

fn shortened(text: &str) -> String {
    if text.width() <= CELL_COLUMNS_MAX {
        return text.to_owned();
    }
    let mut room = CELL_COLUMNS_MAX - 1;
    let mut short: String = text
        .chars()
        .take_while(|character| {
            let needed = character.width().unwrap_or(0);
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        })
        .collect();
    short.push('…');
    short
}

fn padded(text: &str, width: usize, right: bool) -> String {
    let room = " ".repeat(width.saturating_sub(text.width()));
    if right { format!("{room}{text}") } else { format!("{text}{room}") }
}

fn push_line(drawn: &mut String, cells: &[String], between: &str, edge: char) {
    let line = format!("{edge}{}{edge}", cells.join(between));
    drawn.push_str(line.trim_end());
    drawn.push('\n');
}
