//! The journal's keys: the one that signs heads, and the one of the tokens. Made at the first start.
//!
//! Invariant: a key is durable before anything is signed with it, and one that is there is never made anew.

use std::path::Path;
use std::sync::Arc;

use vitalake_runtime::disk::Disk;

use super::AuditError;
use super::chain::key_name;
use super::token::Tokens;
use crate::signing::{SigningKey, kept, random};

/// The file of the signing key, PKCS#8.
const SIGNING: &str = "signing.pk8";
/// The file of the tokens' key.
const TOKENS: &str = "tokens.key";
const TOKENS_KEY_BYTES: usize = 32;
/// The file of the public key, as hex digits.
pub const PUBLIC: &str = "public_key";

/// Keys that are open.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) signing: SigningKey,
    pub(super) tokens: Tokens,
}

impl Keys {
    /// Opens the keys of a folder, and makes those that are not there.
    pub(super) fn open(disk: &Arc<dyn Disk>, folder: &Path) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Keys { path: folder.to_owned(), source };
        let disk = disk.as_ref();
        disk.create_dir_all(folder).map_err(failed)?;
        let signing = SigningKey::open(disk, &folder.join(SIGNING)).map_err(failed)?;
        let tokens = kept(disk, &folder.join(TOKENS), || random(TOKENS_KEY_BYTES)).map_err(failed)?;
        kept(disk, &folder.join(PUBLIC), || Ok(signing.public_hex().into_bytes())).map_err(failed)?;
        Ok(Self { signing, tokens: Tokens::new(&tokens) })
    }

    /// The name of the key that signs.
    pub(super) fn name(&self) -> String {
        key_name(self.signing.public())
    }
}
