//! The journal's keys: the one that signs heads, and the one of the tokens. Made at the first start.
//!
//! Invariant: a key is durable before anything is signed with it, and one that is there is never made anew.

use std::io;
use std::path::Path;
use std::sync::Arc;

use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use vitalake_runtime::disk::{Disk, read_whole, write_secret};
use vitalake_runtime::hex;

use super::AuditError;
use super::chain::key_name;
use super::token::Tokens;

/// The file of the signing key, PKCS#8.
const SIGNING: &str = "signing.pk8";
/// The file of the tokens' key.
const TOKENS: &str = "tokens.key";
/// The file of the public key, as hex digits.
pub const PUBLIC: &str = "public_key";
/// Bytes of a key file at most.
const KEY_BYTES_MAX: u64 = 4096;

/// Keys that are open.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) signing: Ed25519KeyPair,
    pub(super) tokens: Tokens,
}

impl Keys {
    /// Opens the keys of a folder, and makes those that are not there.
    pub(super) fn open(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Keys { path: folder.to_owned(), source };
        disk.create_dir_all(folder).map_err(failed)?;
        let signing = kept(disk, &folder.join(SIGNING), || {
            let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
            made.map(|key| key.as_ref().to_vec()).map_err(|_| io::Error::other("the system gives no random bytes"))
        })
        .map_err(failed)?;
        let signing = Ed25519KeyPair::from_pkcs8(&signing)
            .map_err(|_| failed(io::Error::other(format!("{SIGNING} is no Ed25519 key in PKCS#8"))))?;
        let tokens = kept(disk, &folder.join(TOKENS), || {
            let mut key = vec![0; 32];
            let filled = SystemRandom::new().fill(&mut key);
            filled.map(|()| key).map_err(|_| io::Error::other("the system gives no random bytes"))
        })
        .map_err(failed)?;
        let public = hex::encode(signing.public_key().as_ref());
        kept(disk, &folder.join(PUBLIC), || Ok(public.into_bytes())).map_err(failed)?;
        Ok(Self { signing, tokens: Tokens::new(&tokens) })
    }

    /// The name of the key that signs.
    pub(super) fn name(&self) -> String {
        key_name(self.signing.public_key().as_ref())
    }
}

/// The bytes of a file, which is made where it is not there.
fn kept(disk: &Arc<dyn Disk>, path: &Path, make: impl FnOnce() -> io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    match read(disk, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    let bytes = make()?;
    write_secret(disk.as_ref(), path, &bytes)?;
    Ok(bytes)
}

/// The bytes of a small file.
pub(super) fn read(disk: &Arc<dyn Disk>, path: &Path) -> io::Result<Vec<u8>> {
    read_whole(disk.as_ref(), path, KEY_BYTES_MAX)
}
