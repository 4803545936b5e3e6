//! The Superset that a project's dashboards are kept in, and how it reaches us.
//!
//! Pure. Invariant: the password and the database's URI, which may hold one, are shown nowhere.

use super::notify::Hidden;
use super::{Config, ConfigProblem};

/// A Superset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Superset {
    /// Where it is.
    pub url: Option<String>,
    /// Who logs in.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Hidden>,
    /// SQLAlchemy's URI of what it asks, where that is not our own endpoint.
    pub database_uri: Option<Hidden>,
}

impl Config {
    /// Where others reach the HTTP endpoint; without a slash at its end.
    #[must_use]
    pub fn reached_at(&self) -> String {
        let listens = || format!("{}://{}", self.http.scheme(), self.http.listen);
        self.http.public_url.as_deref().map_or_else(listens, |url| url.trim_end_matches('/').to_owned())
    }

    /// SQLAlchemy's URI of what Superset asks: the one that is set, else our own endpoint.
    #[must_use]
    pub fn superset_database_uri(&self) -> Hidden {
        self.superset.database_uri.clone().unwrap_or_else(|| {
            let at = self.reached_at().replacen("https://", "druid+https://", 1).replacen("http://", "druid://", 1);
            Hidden::from(format!("{at}/druid/v2/sql/?header=true").as_str())
        })
    }

    pub(super) fn check_superset(&self, problems: &mut Vec<ConfigProblem>) {
        if self.superset.user.is_some() != self.superset.password.is_some() {
            problems.push(
                ConfigProblem::nowhere("superset.user and superset.password belong together")
                    .with_help("give both, the password as ${NAME}, or neither"),
            );
        }
    }
}

pub(super) fn database_uri(text: &str) -> Result<Hidden, &'static str> {
    match text.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() && !text.contains(char::is_whitespace) => {
            Ok(text.into())
        }
        _ => Err(
            "must be SQLAlchemy's URI of a database, such as druid://lake.example.org:8888/druid/v2/sql/?header=true",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(None, "druid://127.0.0.1:8888/druid/v2/sql/?header=true")]
    #[case(Some("https://lake.example.org/"), "druid+https://lake.example.org/druid/v2/sql/?header=true")]
    #[case(Some("http://lake:80"), "druid://lake:80/druid/v2/sql/?header=true")]
    fn superset_asks_our_own_endpoint_unless_told_otherwise(#[case] public: Option<&str>, #[case] uri: &str) {
        let mut config = Config::defaults(std::path::Path::new("p"));
        config.http.public_url = public.map(str::to_owned);
        assert_eq!(config.superset_database_uri().expose(), uri);
        if public.is_none() {
            config.http.tls.certificate = Some("c.pem".into());
            assert_eq!(
                config.superset_database_uri().expose(),
                "druid+https://127.0.0.1:8888/druid/v2/sql/?header=true"
            );
        }
        config.superset.database_uri = Some("druid://u:p@broker:8082/druid/v2/sql/".into());
        assert_eq!(config.superset_database_uri().expose(), "druid://u:p@broker:8082/druid/v2/sql/");
    }
}
