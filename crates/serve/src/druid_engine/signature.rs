//! Signed, short-lived addresses of published files: who has one may read that file until its time is over.
//!
//! The key lies in the data folder and never leaves the process. Invariant: a signature is of one file of one version of
//! one dataset until one moment, and is compared in constant time.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use vitalake_runtime::hex;

/// The key that a process signs addresses with.
#[derive(Clone)]
pub struct FileKey(Vec<u8>);

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(***)")
    }
}

impl FileKey {
    /// The key of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// What an address carries after `?sig=`: until when it holds, seconds since 1970, and its signature.
    #[must_use]
    pub fn sign(&self, dataset: &str, version: u64, file: &str, until_s: i64) -> String {
        let mac = self.mac(dataset, version, file, until_s).map(|mac| mac.finalize().into_bytes());
        format!("{until_s}-{}", mac.map(hex::encode).unwrap_or_default())
    }

    /// Whether a signature is one of ours for this file, and its time is not over.
    #[must_use]
    pub fn accepts(&self, signature: &str, dataset: &str, version: u64, file: &str, now_s: i64) -> bool {
        let Some((until, digits)) = signature.split_once('-') else { return false };
        let Ok(until_s) = until.parse::<i64>() else { return false };
        let Some(bytes) = hex::decode(digits) else { return false };
        let signed = self.mac(dataset, version, file, until_s);
        now_s < until_s && signed.is_some_and(|mac| mac.verify_slice(&bytes).is_ok())
    }

    fn mac(&self, dataset: &str, version: u64, file: &str, until_s: i64) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        mac.update(format!("{dataset}\n{version}\n{file}\n{until_s}").as_bytes());
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_file_until_one_moment() {
        let (key, other) = (FileKey::new(*b"one"), FileKey::new(*b"two"));
        let signature = key.sign("hourly", 7, "a.parquet", 1_000);
        assert!(key.accepts(&signature, "hourly", 7, "a.parquet", 999));
        for (key, dataset, version, file, now_s) in [
            (&other, "hourly", 7, "a.parquet", 999),
            (&key, "daily", 7, "a.parquet", 999),
            (&key, "hourly", 8, "a.parquet", 999),
            (&key, "hourly", 7, "b.parquet", 999),
            (&key, "hourly", 7, "a.parquet", 1_000),
        ] {
            assert!(!key.accepts(&signature, dataset, version, file, now_s), "{dataset} {version} {file} {now_s}");
        }
        let later = signature.replacen("1000", "9000", 1);
        for wrong in ["", "-", "1000", "1000-", "1000-zz", "x-00", later.as_str()] {
            assert!(!key.accepts(wrong, "hourly", 7, "a.parquet", 1), "{wrong}");
        }
    }
}
