//! Forms of what is sent: a ZIP of files, a multipart body, rison for questions, and a URI without its password.
//!
//! Pure. Invariant: a password leaves by the form's own part and by no file.

use std::io::{Cursor, Read as _, Write as _};

use serde_json::Value as Json;

/// What stands in a URI where the password is.
pub const PASSWORD_MASK: &str = "XXXXXXXXXX";
const FILE_BYTES_MAX: u64 = 32 << 20;
const FILES_MAX: usize = 20_000;

/// A URI with a mask in place of its password, and the password.
#[must_use]
pub fn split_password(uri: &str) -> (String, Option<String>) {
    let Some((scheme, rest)) = uri.split_once("://") else { return (uri.to_owned(), None) };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, password)) = authority.rsplit_once('@').and_then(|(who, _)| who.split_once(':')) else {
        return (uri.to_owned(), None);
    };
    if password.is_empty() || password == PASSWORD_MASK {
        return (uri.to_owned(), None);
    }
    let after = rest.get(user.len() + 1 + password.len()..).unwrap_or_default();
    (format!("{scheme}://{user}:{PASSWORD_MASK}{after}"), Some(percent_decoded(password)))
}

/// An address of a database with its options decoded and in order: Superset writes them anew.
pub fn with_options_in_order(uri: &str) -> String {
    let Some((before, query)) = uri.split_once('?') else { return uri.to_owned() };
    let mut options: Vec<String> = query.split('&').map(percent_decoded).collect();
    options.sort();
    format!("{before}?{}", options.join("&"))
}

pub(crate) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match hex.filter(|_| byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(decoded) => {
                bytes.push(decoded);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Files as a ZIP, all under one folder.
///
/// # Errors
/// When a name is too long for a ZIP.
pub(super) fn zipped(files: &[(String, Vec<u8>)]) -> std::io::Result<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated);
    for (path, bytes) in files {
        zip.start_file(format!("vitalake/{path}"), options)?;
        zip.write_all(bytes)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// The files of a ZIP, without their one folder.
///
/// # Errors
/// When it is none or holds more than is read.
pub(super) fn unzipped(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|_| "it is no ZIP".to_owned())?;
    if zip.len() > FILES_MAX {
        return Err(format!("it holds more than {FILES_MAX} files"));
    }
    let mut files = Vec::with_capacity(zip.len());
    for index in 0..zip.len() {
        let file = zip.by_index(index).map_err(|_| "a file of its ZIP is not whole".to_owned())?;
        let name = file.name().map_err(|_| "a name in its ZIP is no text".to_owned())?.into_owned();
        let name = name.split_once('/').map_or(name.as_str(), |(_, rest)| rest).to_owned();
        let mut bytes = Vec::new();
        let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
        if read.is_err() || bytes.len() as u64 > FILE_BYTES_MAX {
            return Err("a file of its ZIP is not whole or too large".into());
        }
        files.push((name, bytes));
    }
    Ok(files)
}

/// A body of several parts with its content type: a file, and passwords by the path of what they are for.
pub(super) fn multipart(bundle: &[u8], passwords: &Json) -> (String, Vec<u8>) {
    // Random, so that it is in none of the parts.
    let boundary = format!("vitalake-{}", uuid::Uuid::new_v4().simple());
    let mut body = Vec::with_capacity(bundle.len() + 1_024);
    let mut part = |head: &str, bytes: &[u8]| {
        body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    };
    part("name=\"bundle\"; filename=\"vitalake.zip\"\r\nContent-Type: application/zip", bundle);
    part("name=\"passwords\"", passwords.to_string().as_bytes());
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// A text in rison, as a piece of a query.
pub(super) fn rison_text(text: &str) -> String {
    let quoted = text.replace('!', "!!").replace('\'', "!'");
    encoded(&format!("'{quoted}'"))
}

/// Numbers as a rison list.
pub(super) fn rison_list(ids: &[i64]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("!({})", ids.join(","))
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut done, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.!'".contains(&byte) {
            done.push(char::from(byte));
        } else {
            done.push_str(&format!("%{byte:02X}"));
        }
        done
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case(
        "druid://127.0.0.1:8888/druid/v2/sql/?header=true",
        "druid://127.0.0.1:8888/druid/v2/sql/?header=true",
        None
    )]
    #[case("druid://lake:geheim@h:1/x", "druid://lake:XXXXXXXXXX@h:1/x", Some("geheim"))]
    #[case("druid://lake:a%40b@h:1/x?y=p@q", "druid://lake:XXXXXXXXXX@h:1/x?y=p@q", Some("a@b"))]
    #[case("druid://lake:XXXXXXXXXX@h:1/x", "druid://lake:XXXXXXXXXX@h:1/x", None)]
    #[case("druid://lake@h:1/x", "druid://lake@h:1/x", None)]
    fn a_password_leaves_its_uri(#[case] uri: &str, #[case] masked: &str, #[case] password: Option<&str>) {
        assert_eq!(split_password(uri), (masked.to_owned(), password.map(str::to_owned)));
    }

    #[test]
    fn a_text_is_escaped_as_rison_has_it() {
        assert_eq!(rison_text("it's 5!"), "'it!'s%205!!'");
        assert_eq!(rison_list(&[1, 20]), "!(1,20)");
    }

    #[test]
    fn files_come_back_out_of_their_zip() {
        let files = vec![("a.yaml".to_owned(), b"x: 1".to_vec()), ("d/b.yaml".to_owned(), b"y".to_vec())];
        assert_eq!(unzipped(&zipped(&files).unwrap()).unwrap(), files);
        assert!(unzipped(b"nothing").is_err());
    }
}
