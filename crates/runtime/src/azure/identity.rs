//! Who this process is to Azure, and what it sends to say so.
//!
//! By the variables that Azure's own libraries read: a service principal, a workload identity of AKS, the managed identity
//! of App Service, Functions and Container Apps, or that of a machine. Invariant: a secret goes to an address of this
//! machine or by https, and Debug does not show it.

use std::path::PathBuf;

use super::ask::{Ask, Granted};
use super::error::TokenError;
use crate::clock::Clock;
use crate::config::Environment;
use crate::config::azure::is_safe;
use crate::config::notify::Hidden;

/// Where Entra gives tokens, where the environment does not say.
const AUTHORITY: &str = "https://login.microsoftonline.com";
/// Where a machine of Azure asks who it is, where the environment does not say.
const MACHINE_HOST: &str = "http://169.254.169.254";
const MACHINE_PATH: &str = "/metadata/identity/oauth2/token";
const MACHINE_VERSION: &str = "2018-02-01";
const SERVICE_VERSION: &str = "2019-08-01";
/// What a token of a pod is called where it stands for a secret (RFC 7523, 2.2).
pub(super) const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const SECRET: &str = "AZURE_CLIENT_SECRET";
const FILE: &str = "AZURE_FEDERATED_TOKEN_FILE";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
const ENDPOINT: &str = "IDENTITY_ENDPOINT";
const HEADER: &str = "IDENTITY_HEADER";
const MACHINE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

/// What a token is for: the resource, such as `https://monitor.azure.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience(String);

impl Audience {
    /// Azure Monitor and Application Insights.
    pub const MONITOR: &'static str = "https://monitor.azure.com";
    /// Azure Database for PostgreSQL.
    pub const POSTGRESQL: &'static str = "https://ossrdbms-aad.database.windows.net";

    /// A resource, with or without `/.default` after it.
    #[must_use]
    pub fn new(resource: &str) -> Self {
        let resource = resource.strip_suffix("/.default").unwrap_or(resource);
        Self(resource.trim_end_matches('/').to_owned())
    }

    /// As managed identities are asked for it.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.0
    }

    /// As Entra is asked for it.
    #[must_use]
    pub fn scope(&self) -> String {
        format!("{}/.default", self.0)
    }
}

/// Who this process is to Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A service principal and its secret.
    Principal {
        /// Where Entra gives tokens.
        endpoint: String,
        /// The application.
        client: String,
        /// Its secret.
        secret: Hidden,
    },
    /// An application that a token in a file speaks for, such as a pod's; the file is read each time.
    Workload {
        /// Where Entra gives tokens.
        endpoint: String,
        /// The application.
        client: String,
        /// The file.
        file: PathBuf,
    },
    /// The managed identity of App Service, Functions and Container Apps.
    Service {
        /// Where it is asked.
        endpoint: String,
        /// What proves that it is this process that asks.
        header: Hidden,
        /// One that is user-assigned.
        client: Option<String>,
    },
    /// The managed identity of a machine.
    Machine {
        /// Where it is asked.
        endpoint: String,
        /// One that is user-assigned.
        client: Option<String>,
    },
}

impl Identity {
    /// The first of these that the environment names: a principal, a workload, a service, the machine. Asks nobody.
    ///
    /// # Errors
    /// Where half of one is named, or an address that no secret may be sent to.
    pub fn from_environment(environment: &Environment) -> Result<Self, TokenError> {
        let given = |name: &str| environment.get(name).filter(|value| !value.trim().is_empty()).cloned();
        let needed = |given_name, name: &'static str| {
            given(name).ok_or(TokenError::Incomplete { given: given_name, missing: name })
        };
        let client = given(CLIENT);
        if let Some(secret) = given(SECRET) {
            let (client, tenant) = (needed(SECRET, CLIENT)?, needed(SECRET, TENANT)?);
            let endpoint = entra(given(AUTHORITY_HOST), &tenant)?;
            return Ok(Self::Principal { endpoint, client, secret: secret.as_str().into() });
        }
        if let Some(file) = given(FILE) {
            let (client, tenant) = (needed(FILE, CLIENT)?, needed(FILE, TENANT)?);
            return Ok(Self::Workload { endpoint: entra(given(AUTHORITY_HOST), &tenant)?, client, file: file.into() });
        }
        if let Some(endpoint) = given(ENDPOINT) {
            let header = needed(ENDPOINT, HEADER)?.as_str().into();
            return Ok(Self::Service { endpoint, header, client });
        }
        let host = given(MACHINE).unwrap_or_else(|| MACHINE_HOST.to_owned());
        Ok(Self::Machine { endpoint: format!("{}{MACHINE_PATH}", host.trim_end_matches('/')), client })
    }

    /// What it is, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Principal { .. } => "service principal",
            Self::Workload { .. } => "workload identity",
            Self::Service { .. } => "managed identity of the service",
            Self::Machine { .. } => "managed identity of the machine",
        }
    }

    /// Asks for a token, whether or not there is one already. Blocking.
    ///
    /// # Errors
    /// When there is none in answer.
    pub fn grant(&self, audience: &Audience, clock: &Clock) -> Result<Granted, TokenError> {
        self.ask(audience)?.send(clock)
    }

    /// The request for a token.
    ///
    /// # Errors
    /// When the file with a pod's token cannot be read.
    fn ask(&self, audience: &Audience) -> Result<Ask, TokenError> {
        Ok(match self {
            Self::Principal { endpoint, client, secret } => {
                let form = [("client_id", client.as_str()), ("client_secret", secret.expose())];
                Ask::grant(endpoint, Some(&audience.scope())).with_form(form)
            }
            Self::Workload { endpoint, client, file } => {
                Ask::grant(endpoint, Some(&audience.scope())).with_assertion(client, file)?
            }
            Self::Service { endpoint, header, client } => {
                let query = query(SERVICE_VERSION, audience, client.as_deref());
                Ask::query(endpoint, &query).with_header("X-IDENTITY-HEADER", header.expose())
            }
            Self::Machine { endpoint, client } => {
                let query = query(MACHINE_VERSION, audience, client.as_deref());
                Ask::query(endpoint, &query).with_header("Metadata", "true")
            }
        })
    }
}

fn entra(authority: Option<String>, tenant: &str) -> Result<String, TokenError> {
    let authority = authority.unwrap_or_else(|| AUTHORITY.to_owned());
    if !is_safe(&authority) {
        return Err(TokenError::Endpoint { variable: AUTHORITY_HOST });
    }
    Ok(format!("{}/{}/oauth2/v2.0/token", authority.trim_end_matches('/'), form_encoded(tenant)))
}

fn query(version: &str, audience: &Audience, client: Option<&str>) -> String {
    let client = client.map(|client| format!("&client_id={}", form_encoded(client))).unwrap_or_default();
    format!("api-version={version}&resource={}{client}", form_encoded(audience.resource()))
}

/// As RFC 6749, 2.3.1 and addresses want it.
#[must_use]
pub(super) fn form_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rstest::rstest;

    use super::*;

    fn identity(variables: &[(&str, &str)]) -> Result<Identity, TokenError> {
        Identity::from_environment(&variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    const PRINCIPAL: [(&str, &str); 3] = [(TENANT, "t"), (CLIENT, "c"), (SECRET, "hunter2")];
    const WORKLOAD: [(&str, &str); 3] = [(TENANT, "t"), (CLIENT, "c"), (FILE, "/f")];
    const SERVICE: [(&str, &str); 2] = [(ENDPOINT, "http://127.0.0.1:1/msi"), (HEADER, "hunter2")];

    #[rstest]
    #[case::a_principal_is_first(&[&PRINCIPAL[..], &WORKLOAD[..], &SERVICE[..]], "service principal")]
    #[case::then_a_workload(&[&WORKLOAD[..], &SERVICE[..]], "workload identity")]
    #[case::then_the_service(&[&SERVICE[..]], "managed identity of the service")]
    #[case::else_the_machine(&[], "managed identity of the machine")]
    #[case::what_is_empty_is_not_there(&[&[(SECRET, ""), (FILE, " ")][..]], "managed identity of the machine")]
    fn the_environment_says_who_it_is(#[case] variables: &[&[(&str, &str)]], #[case] kind: &str) {
        let identity = identity(&variables.concat()).unwrap();
        assert_eq!(identity.kind(), kind);
        assert!(!format!("{identity:?}").contains("hunter2"), "{identity:?}");
    }

    #[rstest]
    #[case(&[(SECRET, "hunter2"), (CLIENT, "c")], TENANT)]
    #[case(&[(SECRET, "hunter2"), (TENANT, "t")], CLIENT)]
    #[case(&[(FILE, "/f"), (TENANT, "t")], CLIENT)]
    #[case(&[(ENDPOINT, "http://127.0.0.1:1")], HEADER)]
    fn half_an_identity_is_named_with_what_is_missing(#[case] variables: &[(&str, &str)], #[case] missing: &str) {
        let said = identity(variables).unwrap_err().to_string();
        assert!(said.contains(missing) && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn no_secret_goes_elsewhere_in_the_clear() {
        let with = |host| [&PRINCIPAL[..], &[(AUTHORITY_HOST, host)]].concat();
        assert!(identity(&with("http://login.example")).is_err());
        assert!(identity(&with("https://login.chinacloudapi.cn/")).is_ok());
        assert!(identity(&with("http://127.0.0.1:7")).is_ok());
    }

    #[test]
    fn an_audience_is_a_resource_to_some_and_a_scope_to_others() {
        for given in ["https://monitor.azure.com", "https://monitor.azure.com/", "https://monitor.azure.com/.default"] {
            let audience = Audience::new(given);
            assert_eq!(audience.resource(), "https://monitor.azure.com");
            assert_eq!(audience.scope(), "https://monitor.azure.com/.default");
        }
    }
}
