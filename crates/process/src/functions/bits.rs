//! Bits, bases and hashes: shifts, `hex`, `conv`, `hash` (Murmur3), digests.
//!
//! A part of the table of functions. Invariant: a hash is that of Spark for the same value and type.

use std::fmt::Write;

use arrow::datatypes::{DataType, Int32Type, Int64Type};
use datafusion::logical_expr::{Cast, Expr, ScalarUDF};
use std::sync::Arc;

use crate::functions::bind::{Bound, Refusal, Typed};
use crate::functions::call::{Args, binaries, call, numbers, texts};
use crate::functions::hashes::{Hasher, Murmur, Xx};
use crate::functions::kinds::{BYTES, TEXT, is_integer};
use crate::functions::math::ints;
use crate::functions::table::{Calling, Function, MANY, function};

const L: DataType = DataType::Int64;
const I: DataType = DataType::Int32;

pub(crate) const FUNCTIONS: &[Function] = &[
    function("bin", 1, 1, |c| c.make(TEXT, &[L], texts(|args, row| args.long(0, row).map(|v| format!("{v:b}"))))),
    function("bit_count", 1, 1, bit_count),
    function("bit_get", 2, 2, bit_get),
    function("getbit", 2, 2, bit_get),
    function("conv", 3, 3, conv),
    function("crc32", 1, 1, crc32),
    function("hash", 1, MANY, murmur),
    function("hex", 1, 1, hex),
    function("md5", 1, 1, |c| digest(c, datafusion::functions::crypto::md5())),
    function("sha", 1, 1, |c| digest(c, datafusion_spark::function::hash::sha1())),
    function("sha1", 1, 1, |c| digest(c, datafusion_spark::function::hash::sha1())),
    function("sha2", 2, 2, sha2),
    function("shiftleft", 2, 2, |c| shift(c, |v, n| v.wrapping_shl(n), |v, n| v.wrapping_shl(n))),
    function("shiftright", 2, 2, |c| shift(c, |v, n| v.wrapping_shr(n), |v, n| v.wrapping_shr(n))),
    function("shiftrightunsigned", 2, 2, |c| {
        shift(
            c,
            |v, n| v.cast_unsigned().wrapping_shr(n).cast_signed(),
            |v, n| v.cast_unsigned().wrapping_shr(n).cast_signed(),
        )
    }),
    function("unhex", 1, 1, |c| c.make(BYTES, &[TEXT], binaries(|args, row| unhex(args.text(0, row)?)))),
    function("xxhash64", 1, MANY, xxhash),
    function("~", 1, 1, inverted),
];

fn inverted(c: Calling) -> Bound {
    let kind = c.kind(0);
    if !is_integer(&kind) {
        return Err(c.wrong(0, "an integer"));
    }
    let made = c.make(L, &[L], numbers::<Int64Type, _>(|args, row| args.long(0, row).map(|v| !v)))?;
    Ok(Typed::new(made.to(&kind)?, kind))
}

fn shift(c: Calling, int: fn(i32, u32) -> i32, long: fn(i64, u32) -> i64) -> Bound {
    if c.kind(0) == L {
        return c.make(
            L,
            &[L, I],
            numbers::<Int64Type, _>(move |args, row| Some(long(args.long(0, row)?, args.int(1, row)?.cast_unsigned()))),
        );
    }
    c.make(I, &[I, I], ints(move |args, row| Some(int(args.int(0, row)?, args.int(1, row)?.cast_unsigned()))))
}

fn bit_count(c: Calling) -> Bound {
    let flag = c.kind(0) == DataType::Boolean;
    if !flag && !is_integer(&c.kind(0)) {
        return Err(c.wrong(0, "an integer"));
    }
    let long = c.arg(0)?.to(&L)?;
    let made = ints(|args, row| args.long(0, row).and_then(|v| i32::try_from(v.count_ones()).ok()));
    Ok(Typed::new(call(c.name, I, vec![long], made), I))
}

fn bit_get(c: Calling) -> Bound {
    if !is_integer(&c.kind(0)) {
        return Err(c.wrong(0, "an integer"));
    }
    let width: i32 = match c.kind(0) {
        DataType::Int8 => 8,
        DataType::Int16 => 16,
        DataType::Int32 => 32,
        _ => 64,
    };
    let byte = DataType::Int8;
    c.make(
        byte,
        &[L, I],
        numbers::<arrow::datatypes::Int8Type, _>(move |args, row| {
            let (value, position) = (args.long(0, row)?, args.int(1, row)?);
            (0..width).contains(&position).then(|| i8::from(value >> position & 1 == 1))
        }),
    )
}

fn hex(c: Calling) -> Bound {
    match c.kind(0) {
        kind if kind == TEXT || kind == BYTES => {
            c.make(TEXT, &[BYTES], texts(|args, row| args.bytes(0, row).map(hex_of)))
        }
        _ => c.make(TEXT, &[L], texts(|args, row| args.long(0, row).map(|v| format!("{v:X}")))),
    }
}

pub(crate) fn hex_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02X}");
    }
    text
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect();
    let mut digits = digits?;
    if digits.len() % 2 == 1 {
        digits.insert(0, 0);
    }
    Some(digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |value, digit| value << 4 | digit)).collect())
}

/// A number in another base: what does not fit is the largest, and a negative target base shows a sign.
fn conv(c: Calling) -> Bound {
    let made = texts(|args, row| conv_text(args.text(0, row)?, args.int(1, row)?, args.int(2, row)?));
    c.make(TEXT, &[TEXT, I, I], made)
}

fn conv_text(text: &str, from: i32, to: i32) -> Option<String> {
    let bases = 2..=36;
    if !bases.contains(&from) || !bases.contains(&to.checked_abs()?) {
        return None;
    }
    let text = text.trim_matches(' ');
    if text.is_empty() {
        return None;
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let from = from.unsigned_abs();
    let mut value: u64 = 0;
    let mut full = false;
    for digit in digits.chars().map_while(|c| c.to_digit(from)) {
        match value.checked_mul(u64::from(from)).and_then(|v| v.checked_add(u64::from(digit))) {
            Some(next) if !full => value = next,
            _ => (value, full) = (u64::MAX, true),
        }
    }
    if negative && !full {
        value = if to > 0 { value.wrapping_neg() } else { value };
    } else if negative && to < 0 {
        value = 1;
    }
    let shown_negative = to < 0 && (negative || value.cast_signed() < 0);
    if to < 0 && !negative && value.cast_signed() < 0 {
        value = value.wrapping_neg();
    }
    let base = u64::from(to.unsigned_abs());
    let mut made = Vec::new();
    loop {
        let digit = u32::try_from(value % base).ok()?;
        made.push(char::from_digit(digit, to.unsigned_abs())?.to_ascii_uppercase());
        value /= base;
        if value == 0 {
            break;
        }
    }
    if shown_negative {
        made.push('-');
    }
    Some(made.iter().rev().collect())
}

/// A digest of the engine's, over bytes.
fn digest(c: Calling, function: Arc<ScalarUDF>) -> Bound {
    let bytes = c.want(0, &BYTES)?;
    let kind = TEXT;
    Ok(Typed::new(Expr::Cast(Cast::new(Box::new(function.call(vec![bytes])), kind.clone())), kind))
}

fn crc32(c: Calling) -> Bound {
    let bytes = c.want(0, &BYTES)?;
    Ok(Typed::new(datafusion_spark::function::hash::crc32().call(vec![bytes]), L))
}

fn sha2(c: Calling) -> Bound {
    let bits = c.constant_int(1, "the number of bits")?;
    if !matches!(bits, Some(0 | 224 | 256 | 384 | 512)) {
        return Err(Refusal::new("sha2 makes 224, 256, 384 or 512 bits", "write sha2(x, 256)"));
    }
    let bytes = c.want(0, &BYTES)?;
    let bits = c.want(1, &I)?;
    let made = datafusion_spark::function::hash::sha2().call(vec![bytes, bits]);
    Ok(Typed::new(Expr::Cast(Cast::new(Box::new(made), TEXT)), TEXT))
}

/// A hash over all arguments, each starting from the one before; null changes nothing.
fn hashable(c: &Calling) -> Result<Vec<Expr>, Refusal> {
    let plain = |kind: &DataType| match kind {
        DataType::Struct(_) | DataType::Map(_, _) => false,
        DataType::Decimal128(precision, _) => *precision <= 18,
        _ => true,
    };
    if let Some(index) = c.args.iter().position(|a| !plain(&a.kind)) {
        return Err(c.wrong(index, "a plain value of at most 18 digits"));
    }
    Ok(c.args.iter().map(|a| a.expr.clone()).collect())
}

fn hash_of<H: Hasher>(args: &Args<'_>, row: usize, seed: H) -> Option<H> {
    (0..args.args.len()).try_fold(seed, |hash, index| Some(hash.value(&args.value(index, row).ok()?)))
}

fn murmur(c: Calling) -> Bound {
    let args = hashable(&c)?;
    let made = numbers::<Int32Type, _>(|args, row| hash_of(args, row, Murmur(42)).map(|h| h.0.cast_signed()));
    Ok(Typed::new(call(c.name, I, args, made), I))
}

fn xxhash(c: Calling) -> Bound {
    let args = hashable(&c)?;
    let made = numbers::<Int64Type, _>(|args, row| hash_of(args, row, Xx(42)).map(|h| h.0.cast_signed()));
    Ok(Typed::new(call(c.name, L, args, made), L))
}
