//! What an Azure Static Web App says of its user: the header `x-ms-client-principal`, base64 of JSON.
//!
//! Pure. Invariant: a role comes from one that the project maps, and from nothing else.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use vitalake_runtime::config::access::StaticWebApp;

use super::{Client, Refused, is_name};
use crate::identity::Identity;

/// Bytes of a header.
const HEADER_BYTES_MAX: usize = 8 << 10;
/// What every user has who has logged in there.
const LOGGED_IN: &str = "authenticated";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Principal {
    #[serde(default)]
    user_id: String,
    #[serde(default)]
    user_details: String,
    #[serde(default)]
    user_roles: Vec<String>,
}

/// The client that a header is of.
pub(super) fn client(app: &StaticWebApp, header: &str) -> Result<Client, Refused> {
    let text = Some(header).filter(|header| header.len() <= HEADER_BYTES_MAX);
    let bytes = text.and_then(|text| BASE64_STANDARD.decode(text.trim()).ok()).ok_or(Refused::Wrong)?;
    let principal = serde_json::from_slice::<Principal>(&bytes).map_err(|_| Refused::Wrong)?;
    if !principal.user_roles.iter().any(|role| role == LOGGED_IN) {
        return Err(Refused::Wrong);
    }
    let given = [&principal.user_details, &principal.user_id];
    let name = given.into_iter().find(|name| is_name(name)).ok_or(Refused::Wrong)?;
    let roles = principal.user_roles.iter().filter_map(|role| app.roles.get(role).cloned());
    Ok(Client { identity: Identity::client(format!("static-web-app/{name}"), roles), expires_ms: None })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn said(principal: &Value) -> Result<Client, Refused> {
        let app = StaticWebApp { roles: [("reader".to_owned(), "analyst".to_owned())].into() };
        client(&app, &BASE64_STANDARD.encode(principal.to_string()))
    }

    #[test]
    fn a_users_roles_are_those_that_the_project_maps() {
        let roles = json!(["anonymous", "authenticated", "reader", "steward"]);
        let ada =
            json!({"identityProvider": "aad", "userId": "d75b", "userDetails": "ada@example.org", "userRoles": roles});
        let client = said(&ada).unwrap();
        assert_eq!(client.identity().name(), "static-web-app/ada@example.org");
        assert_eq!(client.identity().roles().iter().map(|role| &**role).collect::<Vec<_>>(), ["analyst"]);
    }

    #[rstest]
    #[case::not_logged_in(json!({"userId": "d75b", "userDetails": "ada", "userRoles": ["anonymous", "reader"]}))]
    #[case::nobody(json!({"userRoles": ["authenticated", "reader"]}))]
    #[case::two_lines(json!({"userDetails": "a\nb", "userRoles": ["authenticated"]}))]
    #[case::no_object(json!("ada"))]
    fn what_is_no_user_is_nobody(#[case] principal: Value) {
        assert_eq!(said(&principal).unwrap_err(), Refused::Wrong);
        let app = StaticWebApp::default();
        assert_eq!(client(&app, "%%%").unwrap_err(), Refused::Wrong);
    }
}
