//! Casts that are written as functions: `int(x)`, `string(x)`, `date(x)`; and bytes to text and back.
//!
//! A part of the table of functions. Invariant: `name(x)` is `CAST(x AS name)`.

use arrow::datatypes::DataType;

use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::functions::bind::{Bound, Refusal, Typed, choose};
use crate::functions::bits::unhex;
use crate::functions::call::{Kernel, binaries, flags, texts};
use crate::functions::kinds::{BYTES, TEXT, decimal};
use crate::functions::operators::compare;
use crate::functions::table::{Calling, Function, MANY, function};
use crate::session::instant;

pub(crate) const FUNCTIONS: &[Function] = &[
    function("base64", 1, 1, |c| c.make(TEXT, &[BYTES], texts(|args, row| args.bytes(0, row).map(base64)))),
    function("bigint", 1, 1, |c| cast(&c, &DataType::Int64)),
    function("binary", 1, 1, |c| cast(&c, &BYTES)),
    function("boolean", 1, 1, |c| cast(&c, &DataType::Boolean)),
    function("date", 1, 1, |c| cast(&c, &DataType::Date32)),
    function("decimal", 1, 1, |c| cast(&c, &decimal(10, 0))),
    function("decode", 2, MANY, decode),
    function("double", 1, 1, |c| cast(&c, &DataType::Float64)),
    function("encode", 2, 2, encode),
    function("float", 1, 1, |c| cast(&c, &DataType::Float32)),
    function("int", 1, 1, |c| cast(&c, &DataType::Int32)),
    function("is_valid_utf8", 1, 1, |c| {
        c.make(
            DataType::Boolean,
            &[BYTES],
            flags(|args, row| args.bytes(0, row).map(|b| std::str::from_utf8(b).is_ok())),
        )
    }),
    function("make_valid_utf8", 1, 1, |c| c.make(TEXT, &[BYTES], lossy())),
    function("smallint", 1, 1, |c| cast(&c, &DataType::Int16)),
    function("string", 1, 1, |c| cast(&c, &TEXT)),
    function("timestamp", 1, 1, |c| cast(&c, &instant())),
    function("tinyint", 1, 1, |c| cast(&c, &DataType::Int8)),
    function("to_binary", 1, 2, to_binary),
    function("try_to_binary", 1, 2, to_binary),
    function("try_validate_utf8", 1, 1, |c| c.make(TEXT, &[BYTES], valid())),
    function("unbase64", 1, 1, |c| c.make(BYTES, &[TEXT], binaries(|args, row| args.text(0, row).map(unbase64)))),
];

fn cast(c: &Calling, kind: &DataType) -> Bound {
    Ok(Typed::new(c.arg(0)?.to(kind)?, kind.clone()))
}

fn lossy() -> Kernel {
    texts(|args, row| args.bytes(0, row).map(|b| String::from_utf8_lossy(b).into_owned()))
}

fn valid() -> Kernel {
    texts(|args, row| args.bytes(0, row).and_then(|b| std::str::from_utf8(b).ok().map(str::to_owned)))
}

/// Only UTF-8 is known: it is what every text here is in.
fn utf8(c: &Calling, index: usize) -> Result<(), Refusal> {
    let name = c.constant_text(index, "the character set")?.unwrap_or_default().to_lowercase();
    if name == "utf-8" || name == "utf8" {
        return Ok(());
    }
    Err(Refusal::new(format!("{} knows UTF-8 only", c.name), "write 'UTF-8'"))
}

fn encode(c: Calling) -> Bound {
    utf8(&c, 1)?;
    c.make(BYTES, &[TEXT, TEXT], binaries(|args, row| args.text(0, row).map(|t| t.as_bytes().to_vec())))
}

/// Of two arguments bytes as text; of more the value that stands after the first that is equal.
fn decode(c: Calling) -> Bound {
    if c.args.len() > 2 {
        let value = c.arg(0)?;
        let mut whens = Vec::new();
        let pairs = (c.args.len() - 1) / 2;
        for pair in 0..pairs {
            let same = compare(value.clone(), &BinaryOperator::Spaceship, c.arg(1 + 2 * pair)?)?;
            whens.push((same.expr, c.arg(2 + 2 * pair)?));
        }
        let otherwise = if c.args.len().is_multiple_of(2) { Some(c.arg(c.args.len() - 1)?) } else { None };
        return choose(whens, otherwise);
    }
    utf8(&c, 1)?;
    c.make(TEXT, &[BYTES, TEXT], lossy())
}

fn to_binary(c: Calling) -> Bound {
    let format = if c.args.len() == 2 { c.constant_text(1, "the format")? } else { Some("hex".to_owned()) };
    match format.unwrap_or_default().to_lowercase().as_str() {
        "hex" => c.make(BYTES, &[TEXT, TEXT], binaries(|args, row| unhex(args.text(0, row)?))),
        "utf-8" | "utf8" => {
            c.make(BYTES, &[TEXT, TEXT], binaries(|args, row| args.text(0, row).map(|t| t.as_bytes().to_vec())))
        }
        _ => Err(Refusal::new(format!("{} knows 'hex' and 'utf-8'", c.name), "use unbase64 for base64")),
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn base64(bytes: &[u8]) -> String {
    let mut made = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = (0..3).fold(0_usize, |word, i| word << 8 | usize::from(chunk.get(i).copied().unwrap_or(0)));
        for place in 0..4 {
            let digit = ALPHABET.get(word >> (18 - 6 * place) & 63).copied().unwrap_or(b'=');
            made.push(if place > chunk.len() { '=' } else { char::from(digit) });
        }
    }
    made
}

/// Characters that are no digits are skipped, as in MIME.
fn unbase64(text: &str) -> Vec<u8> {
    let mut made = Vec::with_capacity(text.len() / 4 * 3);
    let (mut word, mut bits) = (0_u32, 0);
    for byte in text.bytes().take_while(|b| *b != b'=') {
        let Some(digit) = ALPHABET.iter().position(|known| *known == byte) else { continue };
        word = word << 6 | u32::try_from(digit).unwrap_or(0);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            made.push(u8::try_from(word >> bits & 255).unwrap_or(0));
        }
    }
    made
}
