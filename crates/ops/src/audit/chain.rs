//! The form of the journal's lines, how each follows the one before, and signed heads. Pure.
//!
//! A line is one JSON object. Its last member is `hash`, the SHA-256 of all of the line's bytes before it, among them
//! `previous`, which is the hash of the line before. A head says which hash the line of a number has, and is signed.
//! Invariant: what is hashed are the bytes that lie in the file, so that nothing is read in two ways.

use std::fmt;

use chrono::{DateTime, SecondsFormat};
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use vitalake_runtime::hex;

use super::entry::Entry;
use crate::signing::{SigningKey, is_signed};

/// What stands before the hash in a line.
const HASH_MEMBER: &[u8] = b",\"hash\":\"";
/// What stands after it.
const LINE_END: &[u8] = b"\"}";
/// Characters of a hash.
const HASH_CHARACTERS: usize = 64;
/// What a signature is over begins with this.
const HEAD_DOMAIN: &str = "vitalake/audit/head/1";
/// Characters of the names of chains and keys.
const NAME_CHARACTERS: usize = 16;

/// The hash of a line.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(hash)
    }

    /// From its hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(hex::decode(text)?.try_into().ok()?))
    }

    /// The name of the chain whose first line has this hash.
    #[must_use]
    pub fn name(&self) -> String {
        short(&self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An entry at its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Its number, from one.
    pub sequence: u64,
    /// The hash of the line before.
    pub previous: String,
    /// When, as RFC 3339.
    pub at: String,
    /// What.
    #[serde(flatten)]
    pub entry: Entry,
}

/// The line of an entry, without its line feed, and its hash; none would be a mistake of ours.
pub(super) fn line(sequence: u64, previous: Hash, at_ms: i64, entry: &Entry) -> Option<(Vec<u8>, Hash)> {
    let recorded = Recorded { sequence, previous: previous.to_string(), at: instant(at_ms), entry: entry.clone() };
    let mut bytes = serde_json::to_vec(&recorded).ok()?;
    bytes.pop();
    let hash = Hash::of(&bytes);
    bytes.extend_from_slice(HASH_MEMBER);
    bytes.extend_from_slice(hash.to_string().as_bytes());
    bytes.extend_from_slice(LINE_END);
    Some((bytes, hash))
}

/// A line as it was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) recorded: Recorded,
    /// What the line says that its hash is.
    pub(super) hash: Hash,
    /// Whether it is.
    pub(super) is_whole: bool,
}

impl Found {
    /// Reads a line; none of what is no line of ours.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let at = line.len().checked_sub(HASH_MEMBER.len() + HASH_CHARACTERS + LINE_END.len())?;
        let (body, rest) = line.split_at_checked(at)?;
        let written = rest.strip_prefix(HASH_MEMBER)?.strip_suffix(LINE_END)?;
        let hash = Hash::parse(std::str::from_utf8(written).ok()?)?;
        // The member that this structure does not have is the hash.
        let recorded = serde_json::from_slice(line).ok()?;
        Some(Self { recorded, hash, is_whole: Hash::of(body) == hash })
    }

    /// Whether it says that it follows a line of that hash.
    pub(super) fn follows(&self, previous: Hash) -> bool {
        Hash::parse(&self.recorded.previous) == Some(previous)
    }
}

/// What is signed: that the line of this number has this hash, and with it all lines before theirs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The name of the chain.
    pub chain: String,
    /// The number of the line.
    pub sequence: u64,
    /// Its hash.
    pub hash: String,
    /// When it was signed.
    pub at: String,
    /// The name of the key that signed.
    pub key: String,
    /// Ed25519, over the members before.
    pub signature: String,
}

impl Head {
    pub(super) fn sign(key: &SigningKey, chain: &str, (sequence, hash): (u64, Hash), at_ms: i64) -> Self {
        let mut head = Self {
            chain: chain.to_owned(),
            sequence,
            hash: hash.to_string(),
            at: instant(at_ms),
            key: key_name(key.public()),
            signature: String::new(),
        };
        head.signature = hex::encode(key.sign(head.signed().as_bytes()));
        head
    }

    /// Whether a key signed this.
    #[must_use]
    pub fn is_signed_by(&self, public_key: &[u8]) -> bool {
        let Some(signature) = hex::decode(&self.signature) else { return false };
        is_signed(public_key, self.signed().as_bytes(), &signature)
    }

    fn signed(&self) -> String {
        let Self { chain, sequence, hash, at, key, .. } = self;
        format!("{HEAD_DOMAIN}\n{chain}\n{sequence}\n{hash}\n{at}\n{key}")
    }
}

/// The name of a public key.
#[must_use]
pub fn key_name(public_key: &[u8]) -> String {
    short(digest(&SHA256, public_key).as_ref())
}

fn short(bytes: &[u8]) -> String {
    hex::encode(bytes).chars().take(NAME_CHARACTERS).collect()
}

pub(super) fn instant(at_ms: i64) -> String {
    let at = DateTime::from_timestamp_millis(at_ms).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ring::signature::Ed25519KeyPair;

    use super::super::entry::{Action, Surface, Who};
    use super::*;

    #[test]
    fn any_changed_byte_of_a_line_is_seen() {
        let entry = Entry::new(Who::named("anna", "token", []), Surface::Http, Action::Query).of("serving.x");
        let (line, hash) = line(7, Hash::default(), 0, &entry).unwrap();
        let found = Found::read(&line).unwrap();
        assert!(found.is_whole && found.hash == hash && found.follows(Hash::default()));
        assert_eq!((found.recorded.sequence, &found.recorded.entry), (7, &entry));
        for at in 0..line.len() {
            let mut edited = line.clone();
            edited[at] ^= 1;
            assert!(Found::read(&edited).is_none_or(|found| !found.is_whole), "byte {at}");
        }
    }

    #[test]
    fn a_head_is_good_as_it_was_signed_and_under_its_key_alone() {
        let key = |seed: u8| SigningKey::from(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap());
        let head = Head::sign(&key(1), "chain", (9, Hash::of(b"x")), 0);
        assert!(head.is_signed_by(key(1).public()));
        assert!(!head.is_signed_by(key(2).public()));
        for edited in [
            Head { sequence: 8, ..head.clone() },
            Head { hash: Hash::of(b"y").to_string(), ..head.clone() },
            Head { at: "2026-01-01T00:00:00.000Z".to_owned(), ..head.clone() },
            Head { chain: "other".to_owned(), ..head.clone() },
        ] {
            assert!(!edited.is_signed_by(key(1).public()));
        }
    }
}
