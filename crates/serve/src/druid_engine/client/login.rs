//! The login of a cluster, as HTTP's basic authentication writes it.
//!
//! Invariant: what comes out of here is never shown.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use vitalake_runtime::config::notify::Hidden;

/// The header's value.
pub(super) fn basic(user: &str, password: &Hidden) -> Hidden {
    let text = BASE64_STANDARD.encode(format!("{user}:{}", password.expose()));
    Hidden::from(format!("Basic {text}").as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_written_as_http_wants_it() {
        let login = basic("Aladdin", &Hidden::from("open sesame"));
        assert_eq!(login.expose(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }
}
