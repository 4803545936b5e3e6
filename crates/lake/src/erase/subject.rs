//! A person who is to be found without their id being kept: the id as a keyed hash, and how it is looked for in bytes.
//!
//! The key is kept apart from the hashes (`{data}/erasures/key`). A rolling fingerprint of the id's length picks the places
//! to look at, the HMAC decides. Text is looked at as it stands and with JSON's, CSV's and a path's escapes undone. Invariant:
//! an id is found whole: `p1` is not in `p12`, nor in `p1-a`.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use vitalake_runtime::hex;

/// The modulus of the fingerprint, a Mersenne prime.
const PRIME: u64 = (1 << 61) - 1;
/// How often escapes lie in one another: statistics are JSON in JSON, and may be a text of a record.
const ESCAPES_MAX: u32 = 3;
/// An id shorter than this is looked for as a whole value alone: it would be in every text.
const DISTINCT_BYTES_MIN: usize = 4;
/// The same for one of digits alone.
const DISTINCT_DIGITS_MIN: usize = 7;

/// The key under which ids are hashed.
#[derive(Clone)]
pub struct SubjectKey {
    secret: Arc<[u8]>,
    base: u64,
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey")
    }
}

impl SubjectKey {
    /// Of bytes that nobody can guess.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let digest = hashed(secret, &[b"vitalake/erase/base"]);
        let base = digest.first_chunk::<8>().map_or(3, |bytes| u64::from_be_bytes(*bytes) % (PRIME - 3) + 2);
        Self { secret: secret.into(), base }
    }

    /// What is kept of an id.
    #[must_use]
    pub fn token(&self, id: &str) -> SubjectToken {
        let bytes = id.as_bytes();
        let fingerprint = bytes.iter().fold(0, |sum, byte| step(sum, self.base, *byte));
        let digits = bytes.iter().all(u8::is_ascii_digit);
        let least = if digits { DISTINCT_DIGITS_MIN } else { DISTINCT_BYTES_MIN };
        SubjectToken {
            bytes: bytes.len(),
            fingerprint,
            hash: hex::encode(self.hash(bytes)),
            distinct: bytes.len() >= least,
        }
    }

    fn hash(&self, bytes: &[u8]) -> [u8; 32] {
        hashed(&self.secret, &[b"vitalake/erase/subject\0", bytes])
    }
}

/// An id as it is kept: it names nobody to who has not the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SubjectToken {
    /// How long the id is.
    pub bytes: usize,
    /// Its fingerprint under the key.
    pub fingerprint: u64,
    /// Its HMAC-SHA256 under the key, in hex.
    pub hash: String,
    /// Whether it is looked for within texts too: a short one would be in many that do not mean it.
    pub distinct: bool,
}

/// A person to be found.
#[derive(Clone, Debug)]
pub struct Subject {
    key: SubjectKey,
    token: SubjectToken,
    /// What the first byte of a window weighs.
    weight: u64,
}

impl Subject {
    /// One whose id is kept under a key.
    #[must_use]
    pub fn new(key: &SubjectKey, token: SubjectToken) -> Self {
        let weight = (1..token.bytes).fold(1, |weight, _| multiplied(weight, key.base));
        Self { key: key.clone(), token, weight }
    }

    /// What is kept of it.
    #[must_use]
    pub fn token(&self) -> &SubjectToken {
        &self.token
    }

    /// Whether a value is the id.
    #[must_use]
    pub fn is(&self, value: &[u8]) -> bool {
        value.len() == self.token.bytes
            && value.iter().fold(0, |sum, byte| step(sum, self.key.base, *byte)) == self.token.fingerprint
            && self.confirms(value)
    }

    /// Whether a text holds the id, as it stands or escaped. Of an id that would be in any text nothing is said.
    #[must_use]
    pub fn is_in(&self, text: &[u8]) -> bool {
        self.token.distinct && self.holds(text, ESCAPES_MAX)
    }

    /// Whether bytes that are no text hold the id as it stands.
    #[must_use]
    pub fn stands_in(&self, bytes: &[u8]) -> bool {
        self.token.distinct && self.first(bytes, 0).is_some()
    }

    fn holds(&self, text: &[u8], escapes: u32) -> bool {
        let as_it_stands = |text: &[u8]| self.first(text, 0).is_some();
        let decoded = |text: &[u8]| text.contains(&b'%').then(|| without_percents(text));
        let once = decoded(text);
        as_it_stands(text)
            || once.as_deref().is_some_and(as_it_stands)
            || once.as_deref().and_then(decoded).is_some_and(|twice| as_it_stands(&twice))
            || text.windows(2).any(|pair| pair == b"\"\"") && as_it_stands(&with_single_quotes(text))
            || escapes > 0 && text.contains(&b'\\') && self.holds(&without_backslashes(text), escapes - 1)
    }

    /// Whether bytes hold the id anywhere, in another's too: where nothing says where a value begins and ends.
    #[must_use]
    pub fn occurs(&self, bytes: &[u8]) -> bool {
        self.token.distinct && self.search(bytes, 0, false).is_some()
    }

    /// A text with the id taken out wherever it stands; `None` where it does not stand unescaped.
    #[must_use]
    pub fn without(&self, text: &str, instead: &str) -> Option<String> {
        let bytes = text.as_bytes();
        let (mut out, mut from) = (Vec::new(), 0);
        while let Some(at) = self.first(bytes, from) {
            out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
            out.extend_from_slice(instead.as_bytes());
            from = at + self.token.bytes;
        }
        if from == 0 && out.is_empty() {
            return None;
        }
        out.extend_from_slice(bytes.get(from..).unwrap_or_default());
        String::from_utf8(out).ok()
    }

    /// Where the id first stands whole from a place on.
    fn first(&self, text: &[u8], from: usize) -> Option<usize> {
        self.search(text, from, true)
    }

    fn search(&self, text: &[u8], from: usize, whole: bool) -> Option<usize> {
        let (length, base) = (self.token.bytes, self.key.base);
        let rest = text.get(from..)?;
        let mut sum = rest.get(..length)?.iter().fold(0, |sum, byte| step(sum, base, *byte));
        let mut at = from;
        loop {
            if sum == self.token.fingerprint && self.stands_at(text, at, whole) {
                return Some(at);
            }
            let (gone, come) = (*text.get(at)?, *text.get(at + length)?);
            let without = sum + PRIME - multiplied(u64::from(gone) + 1, self.weight);
            sum = step(within(without), base, come);
            at += 1;
        }
    }

    fn stands_at(&self, text: &[u8], at: usize, whole: bool) -> bool {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        let after = text.get(at + self.token.bytes);
        let stands_alone = ![before, after].into_iter().flatten().any(|byte| is_of_an_id(*byte));
        (stands_alone || !whole) && text.get(at..at + self.token.bytes).is_some_and(|found| self.confirms(found))
    }

    fn confirms(&self, found: &[u8]) -> bool {
        hex::encode(self.key.hash(found)) == self.token.hash
    }
}

/// Whether a byte next to what looks like an id makes it another's.
fn is_of_an_id(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') || byte >= 0x80
}

fn without_backslashes(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let Some((escape, after)) = rest.split_first() else { break };
        rest = after;
        match escape {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'u' => push_unicode(&mut out, &mut rest),
            other => out.push(*other),
        }
    }
    out
}

/// `\uXXXX`, of which the backslash and the `u` are read, with the second half of a pair.
fn push_unicode(out: &mut Vec<u8>, rest: &mut &[u8]) {
    let unit = |text: &[u8]| {
        let hex = text.get(..4).and_then(|hex| std::str::from_utf8(hex).ok())?;
        u32::from_str_radix(hex, 16).ok()
    };
    let Some(first) = unit(rest) else { return };
    *rest = rest.get(4..).unwrap_or_default();
    let mut code = first;
    if (0xd800..0xdc00).contains(&first)
        && let Some(second) = rest.strip_prefix(b"\\u").and_then(unit)
        && (0xdc00..0xe000).contains(&second)
    {
        code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        *rest = rest.get(6..).unwrap_or_default();
    }
    let shown = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
}

fn without_percents(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((byte, after)) = rest.split_first() {
        let hex = (*byte == b'%').then(|| after.get(..2)).flatten();
        let hex = hex.filter(|hex| hex.iter().all(u8::is_ascii_hexdigit));
        let code = hex.and_then(|hex| std::str::from_utf8(hex).ok()).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(code.unwrap_or(*byte));
        rest = if code.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    out
}

fn with_single_quotes(text: &[u8]) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some((byte, after)) = rest.split_first() {
        out.push(*byte);
        rest = if *byte == b'"' && after.first() == Some(&b'"') { after.get(1..).unwrap_or_default() } else { after };
    }
    out
}

fn step(sum: u64, base: u64, byte: u8) -> u64 {
    within(multiplied(sum, base) + u64::from(byte) + 1)
}

fn multiplied(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    let low = u64::try_from(product & u128::from(PRIME)).unwrap_or(0);
    within(low + u64::try_from(product >> 61).unwrap_or(0))
}

/// What is less than twice the modulus, modulo it.
fn within(sum: u64) -> u64 {
    if sum >= PRIME { sum - PRIME } else { sum }
}

fn hashed(secret: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // A key of any length is one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn subject(id: &str) -> Subject {
        let key = SubjectKey::new(b"0123456789abcdef0123456789abcdef");
        Subject::new(&key, key.token(id))
    }

    #[rstest::rstest]
    #[case("pat-0001", "pat-0001", true)]
    #[case("pat-0001", r#"{"patient":"pat-0001","hr":61}"#, true)]
    #[case("pat-0001", r#"{"patient":"pat-00012","hr":61}"#, false)]
    #[case("pat-0001", r#"{"patient":"xpat-0001"}"#, false)]
    #[case("pat-0001", r#"{"patient":"pat-0001-b"}"#, false)]
    #[case("pat-0001", "inbox/pat-0001.csv", true)]
    #[case("O'Brien \"100%\"", r#"{"patient":"O'Brien \"100%\""}"#, true)]
    #[case("O'Brien \"100%\"", r#"{"stats":"{\"min\":{\"p\":\"O'Brien \\\"100%\\\"\"}}"}"#, true)]
    #[case("O'Brien \"100%\"", "1,\"O'Brien \"\"100%\"\"\",2", true)]
    #[case("Zoë Åström", "{\"p\":\"Zo\\u00eb \\u00c5str\\u00f6m\"}", true)]
    #[case("Zoë Åström", "x/Zo%C3%AB%20%C3%85str%C3%B6m.csv", true)]
    #[case("🙂smile", "{\"p\":\"\\ud83d\\ude42smile\"}", true)]
    #[case("42", r#"{"hr":42}"#, false)]
    fn an_id_is_found_whole_however_it_is_written(#[case] id: &str, #[case] text: &str, #[case] found: bool) {
        assert_eq!(subject(id).is_in(text.as_bytes()), found);
    }

    #[test]
    fn a_short_id_is_found_as_a_whole_value() {
        let short = subject("42");
        assert!(short.is(b"42") && !short.is(b"421") && !short.is(b"4"));
    }

    #[test]
    fn what_is_taken_out_of_a_text_leaves_the_rest() {
        let person = subject("pat-0001");
        assert_eq!(
            person.without("of pat-0001, pat-00010 and pat-0001", "[erased]").unwrap(),
            "of [erased], pat-00010 and [erased]"
        );
        assert_eq!(person.without("of pat-00010", "[erased]"), None);
        assert_eq!(person.without("", "[erased]"), None);
    }

    #[test]
    fn what_is_kept_does_not_say_the_id() {
        let kept = serde_json::to_string(subject("pat-0001").token()).unwrap();
        assert!(!kept.contains("pat-0001") && !format!("{:?}", subject("pat-0001")).contains("pat-0001"));
        let other = SubjectKey::new(b"another key of thirty-two bytes!").token("pat-0001");
        assert_ne!(other.hash, subject("pat-0001").token().hash);
    }
}
