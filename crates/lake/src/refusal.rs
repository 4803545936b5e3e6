//! What Azure's refusals mean, in one sentence with what to do, in place of its page of XML.
//!
//! Read from the status and the error code in the answer's head. What somebody can mend while it is asked again (a role, a
//! firewall, a container) is an answer like others; a request that is refused whoever asks is [`Refused`], and is not
//! made again. Invariant: names of settings, never a credential.

/// An answer that says that the request itself is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(pub(crate) String);

/// A storage account's container, as messages name it.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    account: String,
    name: String,
}

impl Container {
    /// Of `abfss://CONTAINER@ACCOUNT.…/PREFIX`, or `az://CONTAINER/PREFIX` with the account's name of the environment.
    pub(crate) fn of(url: &str, account: Option<String>) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        let (name, host) = authority.split_once('@').unwrap_or((authority, ""));
        let of_host = host.split('.').next().filter(|name| !name.is_empty()).map(str::to_owned);
        Self { account: of_host.or(account).unwrap_or_else(|| "ACCOUNT".to_owned()), name: name.to_owned() }
    }

    /// What an answer of the store means, where it is a refusal that somebody has to mend.
    pub(crate) fn refusal(&self, status: u16, code: &str) -> Option<String> {
        let Self { account, name } = self;
        let said = match (status, code) {
            (404, "ContainerNotFound") => format!(
                "the container {name} does not exist; make it with `az storage container create --account-name {account} --name {name} --auth-mode login`"
            ),
            (403, "AuthorizationPermissionMismatch") => format!(
                "the identity has no role on the container {name} that allows this: it needs Storage Blob Data Contributor, or Storage Blob Data Reader for the role serve"
            ),
            (403, "AuthenticationFailed") => format!(
                "the credential for {account} is wrong or has run out: see AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_CLIENT_SECRET"
            ),
            (401 | 403, code) => format!(
                "it answered {status}{}: the key, the signature or the identity's role does not allow this on the container {name}, or a firewall of {account} keeps this machine out (docs/azure.md, 2)",
                if code.is_empty() { String::new() } else { format!(" {code}") }
            ),
            _ => return None,
        };
        Some(said)
    }

    /// What an answer means that will be the same however often it is asked for. Of the others, 404, 409, 412 and 416 are
    /// part of how a store is used, 408 and 429 ask to come back.
    pub(crate) fn never(&self, status: u16, code: &str) -> Option<Refused> {
        let lasts = matches!(status, 400..=499) && !matches!(status, 401 | 403 | 404 | 408 | 409 | 412 | 416 | 429);
        let code = if code.is_empty() { String::new() } else { format!(" {code}") };
        lasts.then(|| {
            Refused(format!(
                "it answered {status}{code}: it does not take such a request on the container {} of {}, now or later; check storage.url and the settings AZURE_* (docs/azure.md, 2)",
                self.name, self.account
            ))
        })
    }
}

/// The same for an endpoint that gives tokens.
pub(crate) fn token_refusal(status: u16) -> Option<String> {
    matches!(status, 400 | 401 | 403).then(|| {
        format!(
            "the token endpoint answered {status}: see AZURE_CLIENT_ID, AZURE_TENANT_ID and AZURE_CLIENT_SECRET or AZURE_FEDERATED_TOKEN_FILE"
        )
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_container_that_is_not_there_is_named_with_the_command_that_makes_it() {
        for (url, account) in
            [("abfss://lake@care.dfs.core.windows.net/a", None), ("az://lake/a", Some("care".to_owned()))]
        {
            let said = Container::of(url, account).refusal(404, "ContainerNotFound").unwrap();
            assert_eq!(
                said,
                "the container lake does not exist; make it with `az storage container create --account-name care --name lake --auth-mode login`"
            );
        }
    }

    #[test]
    fn an_answer_is_one_that_passes_or_one_that_lasts_and_both_are_said() {
        let container = Container::of("az://lake", Some("care".to_owned()));
        for status in [400, 402, 405, 411, 413, 414, 415, 431] {
            let Refused(said) = container.never(status, "InvalidHeaderValue").unwrap();
            assert!(
                said.starts_with(&format!("it answered {status} InvalidHeaderValue: ")) && said.contains("lake"),
                "{said}"
            );
        }
        for status in [200, 206, 304, 401, 403, 404, 408, 409, 412, 416, 429, 500, 503] {
            assert_eq!(container.never(status, ""), None, "{status}");
        }
    }

    #[test]
    fn a_refusal_names_the_role_or_the_variable() {
        let container = Container::of("az://lake", Some("care".to_owned()));
        let said = |status, code| container.refusal(status, code).unwrap_or_default();
        assert!(said(403, "AuthorizationPermissionMismatch").contains("Storage Blob Data Contributor"));
        assert!(said(403, "AuthenticationFailed").contains("AZURE_STORAGE_ACCOUNT_KEY"));
        assert!(said(403, "AuthorizationFailure").contains("403 AuthorizationFailure"));
        assert!(said(401, "").starts_with("it answered 401:"));
        assert_eq!(said(404, "BlobNotFound"), "");
        assert!(token_refusal(401).unwrap().contains("AZURE_CLIENT_SECRET") && token_refusal(200).is_none());
    }
}
