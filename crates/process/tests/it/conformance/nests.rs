//! Expressions made of expressions: a call with calls in the place of its columns, frames of SQL (CASE, casts, comparisons)
//! around calls, and aggregates of expressions within expressions; drawn under a seed from what `calls` asks alone.
//!
//! Invariant: a column gives way to an expression of its type only, so that what is made means something.

use std::collections::BTreeMap;

use super::calls;

/// The columns of the edges and their types, by Spark's names.
const COLUMNS: [(&str, &str); 13] = [
    ("i", "int"),
    ("l", "bigint"),
    ("f", "float"),
    ("d", "double"),
    ("m", "decimal(38,2)"),
    ("n", "decimal(10,3)"),
    ("z", "int"),
    ("s", "string"),
    ("x", "binary"),
    ("a", "date"),
    ("t", "timestamp"),
    ("b", "boolean"),
    ("v", "array<int>"),
];
const NUMBERS: [&str; 6] = ["int", "bigint", "float", "double", "decimal(38,2)", "decimal(10,3)"];
/// A number's place is taken by another of the numbers too where the engines have to agree on a common type.
const TARGETS: [&str; 11] = [
    "TINYINT",
    "SMALLINT",
    "INT",
    "BIGINT",
    "DOUBLE",
    "DECIMAL(10,2)",
    "DECIMAL(38,6)",
    "STRING",
    "DATE",
    "TIMESTAMP",
    "BOOLEAN",
];
/// Of what is longer nobody could say what went wrong.
const TEXT_MAX: usize = 240;
const TRIES: usize = 40;

/// Numbers by chance, the same for the same seed.
#[derive(Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most.max(1)
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Expressions by the type that they give.
#[derive(Debug, Default)]
pub struct Pieces(BTreeMap<String, Vec<String>>);

impl Pieces {
    pub fn add(&mut self, expr: &str, kind: &str) {
        if expr.len() <= TEXT_MAX && !expr.contains("->") {
            self.0.entry(kind.to_owned()).or_default().push(expr.to_owned());
        }
    }

    /// One of a type: a column now and then, else a piece.
    fn pick(&self, kind: &str, chance: &mut Chance) -> String {
        let columns: Vec<&str> = COLUMNS.iter().filter(|(_, of)| *of == kind).map(|(name, _)| *name).collect();
        let made = self.0.get(kind).map_or(&[][..], Vec::as_slice);
        if made.is_empty() || (chance.below(5) == 0 && !columns.is_empty()) {
            return (*chance.of(&columns)).to_owned();
        }
        format!("({})", chance.of(made))
    }

    fn number(&self, chance: &mut Chance) -> String {
        let kind = chance.of(&NUMBERS);
        self.pick(kind, chance)
    }

    fn any(&self, chance: &mut Chance) -> String {
        let (_, kind) = chance.of(&COLUMNS);
        self.pick(kind, chance)
    }
}

/// A call with pieces in the place of some of its columns.
pub fn nested(calls: &[String], pieces: &Pieces, chance: &mut Chance) -> Option<String> {
    let call = chance.of(calls).clone();
    let places = places(&call);
    if places.is_empty() || calls::is_growing(&call) {
        return None;
    }
    let certain = chance.below(places.len());
    let (mut made, mut last) = (String::new(), 0);
    for (index, (start, column)) in places.iter().enumerate() {
        if index != certain && chance.below(3) == 0 {
            continue;
        }
        let (_, kind) = COLUMNS.iter().find(|(name, _)| name == column)?;
        made.push_str(&call[last..*start]);
        made.push_str(&pieces.pick(kind, chance));
        last = start + column.len();
    }
    made.push_str(&call[last..]);
    (made.len() <= TEXT_MAX).then_some(made)
}

/// Whether an expression has a column.
pub fn reads(expr: &str, column: &str) -> bool {
    places(expr).iter().any(|(_, name)| *name == column)
}

/// Where the columns of an expression stand.
fn places(expr: &str) -> Vec<(usize, &str)> {
    let bytes = expr.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            quote @ (b'\'' | b'"' | b'`') => {
                at += 1;
                while at < bytes.len() && bytes[at] != quote {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            byte if byte.is_ascii_alphanumeric() || byte == b'_' => {
                while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'_' | b'.')) {
                    at += 1;
                }
                let word = &expr[start..at];
                let next = expr[at..].trim_start().bytes().next();
                let is_alone = !matches!(next, Some(b'(' | b'\'')) && !expr[..start].ends_with('.');
                if is_alone && COLUMNS.iter().any(|(name, _)| *name == word) {
                    found.push((start, word));
                }
            }
            _ => at += 1,
        }
    }
    found
}

/// What SQL itself puts around expressions.
pub fn framed(pieces: &Pieces, chance: &mut Chance) -> String {
    let mut made = String::new();
    for _ in 0..TRIES {
        made = frame(pieces, chance);
        if made.len() <= TEXT_MAX {
            break;
        }
    }
    made
}

fn frame(pieces: &Pieces, chance: &mut Chance) -> String {
    let (_, kind) = *chance.of(&COLUMNS);
    let (_, other) = *chance.of(&COLUMNS);
    let shape = chance.below(18);
    let operator = *chance.of(&["+", "-", "*", "/", "%", "div", "&", "|", "^"]);
    let comparison = *chance.of(&["<", "<=", "=", "<=>", "<>", ">="]);
    let logic = *chance.of(&["AND", "OR"]);
    let target = *chance.of(&TARGETS);
    let mut of = |kind: &str| pieces.pick(kind, chance);
    let (one, two, three) = (of(kind), of(kind), of(kind));
    let (yes, no) = (of("boolean"), of("boolean"));
    let (this, that) = (of(other), of(other));
    let (number, second, any) = (pieces.number(chance), pieces.number(chance), pieces.any(chance));
    match shape {
        0 => format!("CASE WHEN {yes} THEN {one} ELSE {two} END"),
        1 => format!("CASE WHEN {yes} THEN {number} WHEN {no} THEN {second} END"),
        2 => format!("CASE {one} WHEN {two} THEN {this} WHEN {three} THEN {that} END"),
        3 | 4 => format!("CAST({any} AS {target})"),
        5 => format!("coalesce({number}, {second})"),
        6 => format!("nullif({one}, {two})"),
        7 => format!("if({yes}, {one}, {two})"),
        8 | 9 => format!("{number} {operator} {second}"),
        10 => format!("{number} {comparison} {second}"),
        11 => format!("{one} {comparison} {two}"),
        12 => format!("{one} IN ({two}, {three}, NULL)"),
        13 => format!("{one} NOT BETWEEN {two} AND {three}"),
        14 => format!("NOT ({yes} {logic} {no})"),
        15 => format!("concat({any}, '|', {one})"),
        16 => format!("greatest({one}, {two}, {three})"),
        _ => format!("CASE WHEN {one} IS NULL THEN {number} ELSE -{second} END"),
    }
}

/// An expression around an aggregate of an expression.
pub fn grouped(pieces: &Pieces, chance: &mut Chance) -> String {
    let mut made = String::new();
    for _ in 0..TRIES {
        let aggregate = aggregate(pieces, chance);
        let second = format!("count({})", pieces.any(chance));
        made = match chance.below(9) {
            0 => aggregate,
            1 => format!("CAST({aggregate} AS {})", chance.of(&TARGETS)),
            2 => format!("coalesce(CAST({aggregate} AS STRING), 'none')"),
            3 => format!("CASE WHEN {second} > 1 THEN {aggregate} END"),
            4 => format!("CASE WHEN {aggregate} IS NULL THEN {second} ELSE -{second} END"),
            5 => format!("{aggregate} <=> {aggregate}"),
            6 => format!("hash({aggregate}, {second})"),
            7 => format!("nullif({second}, 0) / count(*)"),
            _ => format!("array({aggregate})"),
        };
        if made.len() <= TEXT_MAX {
            break;
        }
    }
    made
}

/// Sums and averages are of what is the same in any order.
fn aggregate(pieces: &Pieces, chance: &mut Chance) -> String {
    let exact = *chance.of(&["int", "bigint", "decimal(10,3)"]);
    let ordered = *chance.of(&["int", "bigint", "decimal(38,2)", "string", "date", "timestamp", "boolean"]);
    let filter = pieces.pick("boolean", chance);
    let inner = match chance.below(3) {
        0 => format!("CASE WHEN {filter} THEN {} END", pieces.pick(exact, chance)),
        _ => pieces.pick(exact, chance),
    };
    match chance.below(7) {
        0 => format!("sum({inner})"),
        1 => format!("avg(CAST({inner} AS INT))"),
        2 => format!("min({})", pieces.pick(ordered, chance)),
        3 => format!("max({})", pieces.pick(ordered, chance)),
        4 => format!("count(DISTINCT {})", pieces.any(chance)),
        5 => format!("count(*) FILTER (WHERE {filter})"),
        _ => format!("sum({inner}) FILTER (WHERE {filter})"),
    }
}
