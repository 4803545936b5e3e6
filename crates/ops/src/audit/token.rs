//! Keyed tokens: what a client wrote, as something that tells nothing and can be found again.
//!
//! Invariant: a token follows from the key and the text alone, so that the same person's id is the same token in every
//! statement, whatever stands around it.

use ring::hmac;

use vitalake_runtime::hex;

/// Characters of a token.
const TOKEN_CHARACTERS: usize = 16;
/// What is hashed before the text, so that the key serves nothing else.
const DOMAIN: &[u8] = b"vitalake/audit/token/1\0";

/// Makes tokens.
#[derive(Clone)]
pub struct Tokens(hmac::Key);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens(***)")
    }
}

impl Tokens {
    /// Tokens under a key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The token of a text.
    #[must_use]
    pub fn of(&self, text: &str) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(DOMAIN);
        context.update(text.as_bytes());
        hex::encode(context.sign().as_ref()).chars().take(TOKEN_CHARACTERS).collect()
    }

    /// Tells keys apart without telling them.
    #[must_use]
    pub fn key_id(&self) -> String {
        self.of("\0the key itself")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_same_for_the_same_text_under_the_same_key_alone() {
        let (one, other) = (Tokens::new(b"one"), Tokens::new(b"other"));
        assert_eq!(one.of("P-1"), Tokens::new(b"one").of("P-1"));
        assert_ne!(one.of("P-1"), one.of("P-2"));
        assert_ne!(one.of("P-1"), other.of("P-1"));
        assert_ne!(one.key_id(), other.key_id());
        assert_eq!(one.of("P-1").len(), TOKEN_CHARACTERS);
    }
}
