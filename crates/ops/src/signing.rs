//! Keys that sign what the platform vouches for: heads of the audit journal, receipts of erasures.
//!
//! A key is made where there is none, and opened where there is. Invariant: a key is durable before anything is signed with
//! it, one that is there is never made anew, and its file is its owner's alone.

use std::io;
use std::path::Path;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use vitalake_runtime::disk::{Disk, read_whole, write_secret};
use vitalake_runtime::hex;

/// Bytes of a key's file at most.
const KEY_BYTES_MAX: u64 = 4096;

/// An Ed25519 key.
#[derive(Debug)]
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// The key of a file (PKCS#8), which is made where it is not there.
    ///
    /// # Errors
    /// When it cannot be read, made or kept, or holds no such key.
    pub fn open(disk: &dyn Disk, path: &Path) -> io::Result<Self> {
        let bytes = kept(disk, path, || {
            let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
            made.map(|key| key.as_ref().to_vec()).map_err(|_| no_random_bytes())
        })?;
        let no_key = |_| io::Error::new(io::ErrorKind::InvalidData, "the file holds no Ed25519 key in PKCS#8");
        Ed25519KeyPair::from_pkcs8(&bytes).map(Self).map_err(no_key)
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    /// Its public half in hex digits.
    #[must_use]
    pub fn public_hex(&self) -> String {
        hex::encode(self.public())
    }

    /// The signature of a message.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
    }
}

impl From<Ed25519KeyPair> for SigningKey {
    fn from(pair: Ed25519KeyPair) -> Self {
        Self(pair)
    }
}

/// Whether a key, by its public half, signed a message.
#[must_use]
pub fn is_signed(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

/// The bytes of a small file, which is made where it is not there.
pub(crate) fn kept(disk: &dyn Disk, path: &Path, make: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    match read_whole(disk, path, KEY_BYTES_MAX) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let bytes = make()?;
    write_secret(disk, path, &bytes)?;
    Ok(bytes)
}

/// Bytes that nobody can guess.
pub(crate) fn random(count: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; count];
    SystemRandom::new().fill(&mut bytes).map(|()| bytes).map_err(|_| no_random_bytes())
}

fn no_random_bytes() -> io::Error {
    io::Error::other("the system gives no random bytes")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use vitalake_runtime::disk::LocalDisk;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_its_file_is_its_owners_alone() {
        let (disk, folder) = (LocalDisk::shared(), tempfile::tempdir().unwrap());
        let path = folder.path().join("signing");
        let made = SigningKey::open(disk.as_ref(), &path).unwrap();
        let opened = SigningKey::open(disk.as_ref(), &path).unwrap();
        assert_eq!(made.public_hex(), opened.public_hex());
        let signature = opened.sign(b"a head");
        assert!(is_signed(made.public(), b"a head", &signature));
        assert!(!is_signed(made.public(), b"another", &signature));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0);
        }
        std::fs::write(&path, b"no key").unwrap();
        assert!(SigningKey::open(disk.as_ref(), &path).is_err(), "what is there is never made anew");
    }
}
