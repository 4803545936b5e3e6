//! Addresses: `parse_url`, `url_encode`, `url_decode`, as `java.net.URI` reads them.
//!
//! A part of the table of functions. Invariant: a text that is no address is null.

use crate::functions::bind::{Bound, Refusal};
use crate::functions::call::texts;
use crate::functions::kinds::TEXT;
use crate::functions::table::{Calling, Function, function, null};

pub(crate) const FUNCTIONS: &[Function] = &[
    function("parse_url", 2, 3, parse_url),
    function("try_parse_url", 2, 3, parse_url),
    function("try_url_decode", 1, 1, |c| c.make(TEXT, &[TEXT], texts(|args, row| decoded(args.text(0, row)?)))),
    function("url_decode", 1, 1, |c| c.make(TEXT, &[TEXT], texts(|args, row| decoded(args.text(0, row)?)))),
    function("url_encode", 1, 1, |c| c.make(TEXT, &[TEXT], texts(|args, row| args.text(0, row).map(encoded)))),
];

fn encoded(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'*' | b'_' => made.push(char::from(byte)),
            b' ' => made.push('+'),
            other => made.push_str(&format!("%{other:02X}")),
        }
    }
    made
}

fn decoded(text: &str) -> Option<String> {
    let mut made = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => made.push(b' '),
            b'%' => {
                let pair = [bytes.next()?, bytes.next()?];
                made.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
            }
            other => made.push(other),
        }
    }
    Some(String::from_utf8_lossy(&made).into_owned())
}

/// The parts of an address.
struct Address<'a> {
    scheme: Option<&'a str>,
    authority: Option<&'a str>,
    path: Option<&'a str>,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
}

impl<'a> Address<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "-_.!~*'();/?:@&=+$,[]%#".contains(c) || !c.is_ascii();
        if !text.chars().all(|c| legal(c) && !c.is_whitespace() && !c.is_control()) || !escapes(text) {
            return None;
        }
        let (rest, fragment) = text.split_once('#').map_or((text, None), |(rest, f)| (rest, Some(f)));
        if fragment.is_some_and(|f| f.contains('#')) {
            return None;
        }
        let name = |s: &str| {
            s.starts_with(|c: char| c.is_ascii_alphabetic())
                && s.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
        };
        let first = rest.find(['/', '?']).unwrap_or(rest.len());
        let (scheme, rest) = match rest.get(..first)?.split_once(':') {
            Some((scheme, _)) if name(scheme) => (Some(scheme), rest.get(scheme.len() + 1..)?),
            Some(_) => return None,
            None => (None, rest),
        };
        if scheme.is_some() && rest.is_empty() {
            return None;
        }
        if scheme.is_some() && !rest.starts_with('/') {
            // What follows is no path but one opaque part.
            return Some(Self { scheme, authority: None, path: None, query: None, fragment });
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, q)| (rest, Some(q)));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(after) => {
                let end = after.find('/').unwrap_or(after.len());
                (Some(after.get(..end)?).filter(|a| !a.is_empty()), after.get(end..)?)
            }
            None => (None, rest),
        };
        Some(Self { scheme, authority, path: Some(path), query, fragment })
    }

    fn host(&self) -> Option<&'a str> {
        let authority = self.authority?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = if host.starts_with('[') {
            host.get(..=host.find(']')?)?
        } else {
            host.split_once(':').map_or(host, |(host, _)| host)
        };
        let named = host.starts_with('[') || host.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c));
        (named && !host.is_empty()).then_some(host)
    }
}

/// Whether each percent sign has its two digits.
fn escapes(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'%')
        .all(|(at, _)| bytes.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit)))
}

fn parse_url(c: Calling) -> Bound {
    let Some(part) = c.constant_text(1, "the part")? else { return null(&TEXT) };
    const PARTS: [&str; 8] = ["HOST", "PATH", "QUERY", "REF", "PROTOCOL", "FILE", "AUTHORITY", "USERINFO"];
    if !PARTS.contains(&part.as_str()) {
        return Err(Refusal::new(
            format!("{} knows no such part", c.name),
            "write HOST, PATH, QUERY, REF, PROTOCOL, FILE, AUTHORITY or USERINFO",
        ));
    }
    let keyed = c.args.len() == 3;
    if keyed && part != "QUERY" {
        return Err(Refusal::new("only QUERY has a key", "leave the third argument out"));
    }
    c.make(
        TEXT,
        &[TEXT, TEXT, TEXT],
        texts(move |args, row| {
            let address = Address::parse(args.text(0, row)?)?;
            match part.as_str() {
                "HOST" => address.host().map(str::to_owned),
                "PATH" => address.path.map(str::to_owned),
                "QUERY" if keyed => {
                    let key = args.text(2, row)?;
                    let pairs = address.query?.split('&');
                    pairs.filter_map(|pair| pair.split_once('=')).find(|(k, _)| *k == key).map(|(_, v)| v.to_owned())
                }
                "QUERY" => address.query.map(str::to_owned),
                "REF" => address.fragment.map(str::to_owned),
                "PROTOCOL" => address.scheme.map(str::to_owned),
                "FILE" => address.path.map(|p| address.query.map_or_else(|| p.to_owned(), |q| format!("{p}?{q}"))),
                "AUTHORITY" => address.authority.map(str::to_owned),
                _ => address.authority.and_then(|a| a.rsplit_once('@')).map(|(user, _)| user.to_owned()),
            }
        }),
    )
}
