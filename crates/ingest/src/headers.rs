//! A record's headers as JSON text, which every reader of a Delta table opens: `[{"key":"tenant","value":"north"}]`.
//!
//! Headers keep their order and may repeat, so it is an array. Where bytes are not UTF-8 they stand in base64 under
//! another name (`key_base64`, `value_base64`). Invariant: the headers' bytes can be had back from the text exactly.

use std::fmt::Write as _;

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its key; `None` where the client of an external broker could not read it.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
}

/// Writes headers into a text that is emptied first; none where there are no headers.
pub fn as_json<'t, 'a>(headers: impl IntoIterator<Item = Header<'a>>, into: &'t mut String) -> Option<&'t str> {
    into.clear();
    for header in headers {
        into.push(if into.is_empty() { '[' } else { ',' });
        into.push('{');
        member("key", header.key, into);
        into.push(',');
        member("value", header.value, into);
        into.push('}');
    }
    if into.is_empty() {
        return None;
    }
    into.push(']');
    Some(into)
}

/// Bytes in base64.
#[must_use]
pub fn base64_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    base64(bytes, &mut text);
    text
}

fn member(name: &str, bytes: Option<&[u8]>, into: &mut String) {
    // Writing into a String does not fail.
    let _ = match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => write!(into, "\"{name}\":null"),
        Some((_, Ok(text))) => {
            let _ = write!(into, "\"{name}\":");
            quote(text, into);
            Ok(())
        }
        Some((bytes, Err(_))) => {
            let _ = write!(into, "\"{name}_base64\":\"");
            base64(bytes, into);
            into.push('"');
            Ok(())
        }
    };
}

/// Appends text as a JSON string.
pub(crate) fn quote(text: &str, into: &mut String) {
    into.push('"');
    for character in text.chars() {
        match character {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            control if control < ' ' => {
                let _ = write!(into, "\\u{:04x}", u32::from(control));
            }
            other => into.push(other),
        }
    }
    into.push('"');
}

fn base64(bytes: &[u8], into: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * place) & 63) as usize).copied().unwrap_or(b'=');
            into.push(if place <= three.len() { char::from(letter) } else { '=' });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn written(headers: &[(&[u8], Option<&[u8]>)]) -> Option<String> {
        let mut text = "left from the last record".to_owned();
        as_json(headers.iter().map(|(key, value)| Header { key: Some(*key), value: *value }), &mut text)
            .map(str::to_owned)
    }

    #[test]
    fn no_headers_are_no_text() {
        assert_eq!(written(&[]), None);
    }

    #[rstest::rstest]
    #[case(b"tenant", Some(b"north".as_slice()), r#"[{"key":"tenant","value":"north"}]"#)]
    #[case(b"", Some(b"".as_slice()), r#"[{"key":"","value":""}]"#)]
    #[case(b"deleted", None, r#"[{"key":"deleted","value":null}]"#)]
    #[case(b"q", Some(b"a\"\\\n\0\xc3\xa9".as_slice()), "[{\"key\":\"q\",\"value\":\"a\\\"\\\\\\n\\u0000\u{e9}\"}]")]
    #[case(b"trace", Some(b"\xff".as_slice()), r#"[{"key":"trace","value_base64":"/w=="}]"#)]
    #[case(b"trace", Some(b"\xff\xfe".as_slice()), r#"[{"key":"trace","value_base64":"//4="}]"#)]
    #[case(b"\xff\xfe\xfd", Some(b"a".as_slice()), r#"[{"key_base64":"//79","value":"a"}]"#)]
    fn a_header_is_kept_as_it_came(#[case] key: &[u8], #[case] value: Option<&[u8]>, #[case] expected: &str) {
        let text = written(&[(key, value)]).unwrap();
        assert_eq!(text, expected);
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
    }

    #[test]
    fn headers_keep_their_order_and_may_repeat() {
        let text = written(&[(b"b", Some(b"1")), (b"a", None), (b"b", Some(b"2"))]).unwrap();
        assert_eq!(text, r#"[{"key":"b","value":"1"},{"key":"a","value":null},{"key":"b","value":"2"}]"#);
    }
}
