//! What a client's certificate says of it, once TLS has found it signed by `client_authority` and its key in the client's
//! hands.
//!
//! Invariant: a certificate proves the names that are written in it, and only those that a project lists for a client.

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use vitalake_runtime::hex;
use x509_certificate::X509Certificate;

/// The object identifier of `subjectAltName`.
const SUBJECT_ALT_NAME: &str = "2.5.29.17";
/// Other names in one certificate.
const NAMES_MAX: usize = 100;

/// A certificate that a client has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// How a project may name it: `CN=…`, `DNS:…`, `URI:…`, `EMAIL:…`, `sha256:…`.
    pub(super) names: Vec<String>,
    pub(super) expires_ms: i64,
}

impl Shown {
    /// The client's own certificate, the first of a chain; none where it cannot be read.
    #[must_use]
    pub fn of(chain: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let der = chain?.first()?;
        let certificate = X509Certificate::from_der(der.as_ref()).ok()?;
        let fingerprint = hex::encode(Sha256::digest(der.as_ref()));
        let mut names = vec![format!("sha256:{fingerprint}")];
        names.extend(certificate.subject_common_name().map(|name| format!("CN={name}")));
        let other = certificate.iter_extensions().find(|extension| extension.id.to_string() == SUBJECT_ALT_NAME);
        names.extend(other.into_iter().flat_map(|extension| other_names(&extension.value.to_bytes())).take(NAMES_MAX));
        Some(Self { names, expires_ms: certificate.validity_not_after().timestamp_millis() })
    }
}

/// The names of a `subjectAltName`: a sequence of values, each with a tag that says what it is (RFC 5280, 4.2.1.6).
fn other_names(der: &[u8]) -> Vec<String> {
    let Some((0x30, mut rest, _)) = value(der) else { return Vec::new() };
    let mut names = Vec::new();
    while let Some((tag, content, after)) = value(rest) {
        let kind = match tag {
            0x81 => Some("EMAIL"),
            0x82 => Some("DNS"),
            0x86 => Some("URI"),
            _ => None,
        };
        if let Some((kind, text)) = kind.zip(std::str::from_utf8(content).ok()) {
            names.push(format!("{kind}:{text}"));
        }
        rest = after;
    }
    names
}

/// One value of DER: its tag, its content, and what follows.
fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        // Lengths of more than two bytes are none of a name.
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_are_read_and_broken_ones_are_none() {
        let der = b"\x30\x13\x82\x05a.b.c\x81\x03x@y\x87\x01\x7f\x86\x02u:";
        assert_eq!(other_names(der), ["DNS:a.b.c", "EMAIL:x@y", "URI:u:"]);
        assert_eq!(other_names(b"\x30\x03\x82\x05a"), Vec::<String>::new());
        assert_eq!(other_names(b"\x30\x84\xff\xff\xff\xff"), Vec::<String>::new());
        assert_eq!(other_names(b"\x30\x82\x00\x04\x82\x81\x01a"), ["DNS:a"]);
        assert_eq!(other_names(b""), Vec::<String>::new());
    }
}
