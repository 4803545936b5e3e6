//! Events and the batches that carry them, made before the clock starts.

use bytes::{BufMut, BytesMut};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::Options;

/// Bytes of a batch before what its checksum covers.
const CHECKED_FROM: usize = 21;

/// Stands in an encoded event where its number goes.
const SEQUENCE: &[u8] = b"##########";

/// A wearable's reading.
pub(crate) fn default_fields() -> Vec<String> {
    [
        "reading_id=\"r-{sequence}\"",
        "device_id=\"dev-{wearer}\"",
        "observed_at=\"{time}\"",
        "vitals={\"hr\":{hr},\"spo2\":{spo2},\"skin_temp_c\":{temp}}",
        "steps={steps}",
        "battery_pct={spo2}",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A batch with its number of events.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    pub bytes: BytesMut,
    pub events: u64,
    /// Where events have their `{sequence}`.
    sequences: Vec<usize>,
}

impl Batch {
    /// Moves the batch's times to now (two fields), numbers its events on from `sequence`, and makes the checksum.
    pub(crate) fn patch(&mut self, now_ms: i64, sequence: u64) {
        for (number, at) in (sequence..).zip(&self.sequences) {
            let mut rest = number;
            let place = self.bytes.get_mut(*at..at + SEQUENCE.len());
            for digit in place.unwrap_or_default().iter_mut().rev() {
                *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
                rest /= 10;
            }
        }
        for at in [27, 35] {
            if let Some(place) = self.bytes.get_mut(at..at + 8) {
                place.copy_from_slice(&now_ms.to_be_bytes());
            }
        }
        let sum = crc32c::crc32c(self.bytes.get(CHECKED_FROM..).unwrap_or_default());
        if let Some(place) = self.bytes.get_mut(17..CHECKED_FROM) {
            place.copy_from_slice(&sum.to_be_bytes());
        }
    }
}

/// Makes a connection's batches.
pub(crate) fn batches(options: &Options, seed: u64) -> Vec<Batch> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..options.batches.max(1)).map(|_| batch(options, &mut random)).collect()
}

fn batch(options: &Options, random: &mut StdRng) -> Batch {
    let mut body = BytesMut::new();
    let mut events = 0i32;
    while body.len() < options.batch_bytes {
        put_record(&mut body, events, &event(options, random));
        events += 1;
    }
    let mut out = BytesMut::with_capacity(body.len() + 61);
    out.put_i64(0);
    out.put_i32(i32::try_from(body.len() + 49).unwrap_or(i32::MAX));
    out.put_i32(-1);
    out.put_i8(2);
    out.put_u32(0);
    out.put_i16(0);
    out.put_i32(events - 1);
    out.put_i64(0);
    out.put_i64(0);
    out.put_i64(-1);
    out.put_i16(-1);
    out.put_i32(-1);
    out.put_i32(events);
    out.put_slice(&body);
    let is_place = |at: &usize| out.get(*at..).is_some_and(|rest| rest.starts_with(SEQUENCE));
    Batch {
        sequences: (0..out.len()).filter(is_place).collect(),
        bytes: out,
        events: u64::try_from(events).unwrap_or(0),
    }
}

fn event(options: &Options, random: &mut StdRng) -> Vec<u8> {
    let wearer = random.random_range(0..1000u32);
    let number = random.random::<u32>();
    let ago_ms = random.random_range(0..=(options.spread_hours * 3_600_000.0) as i64);
    let time = (chrono::Utc::now() - chrono::TimeDelta::milliseconds(ago_ms))
        .to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let fill = |text: &str, random: &mut StdRng| {
        text.replace("{wearer}", &format!("{wearer:04}"))
            .replace("{number}", &number.to_string())
            .replace("{sequence}", &String::from_utf8_lossy(SEQUENCE))
            .replace("{time}", &time)
            .replace("{hr}", &random.random_range(45..180).to_string())
            .replace("{spo2}", &random.random_range(88..100).to_string())
            .replace("{temp}", &format!("{:.1}", random.random_range(330..360) as f64 / 10.0))
            .replace("{steps}", &random.random_range(0..200).to_string())
    };
    let mut text = String::from("{");
    for field in &options.fields {
        let (name, value) = field.split_once('=').unwrap_or((field, "null"));
        text.push_str(&format!("{}\"{name}\":{}", if text.len() > 1 { "," } else { "" }, fill(value, random)));
    }
    if random.random_bool(options.unknown.clamp(0.0, 1.0)) {
        text.push_str(",\"firmware\":\"7.1.2\"");
    }
    // Blanks before the last brace bring every event to its size.
    text.push_str(&" ".repeat(options.event_bytes.saturating_sub(text.len() + 1)));
    text.push('}');
    if random.random_bool(options.malformed.clamp(0.0, 1.0)) {
        text.truncate(text.len() / 2);
    }
    text.into_bytes()
}

fn put_record(out: &mut BytesMut, delta: i32, value: &[u8]) {
    let mut record = BytesMut::with_capacity(value.len() + 16);
    record.put_i8(0);
    put_varint(&mut record, 0);
    put_varint(&mut record, i64::from(delta));
    put_varint(&mut record, -1);
    put_varint(&mut record, i64::try_from(value.len()).unwrap_or(0));
    record.put_slice(value);
    put_varint(&mut record, 0);
    put_varint(out, i64::try_from(record.len()).unwrap_or(0));
    out.put_slice(&record);
}

fn put_varint(out: &mut BytesMut, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= 0x80 {
        out.put_u8(u8::try_from(rest & 0x7f).unwrap_or(0) | 0x80);
        rest >>= 7;
    }
    out.put_u8(u8::try_from(rest).unwrap_or(0));
}
