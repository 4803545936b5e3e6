//! A Superset's REST interface, as far as it is needed to keep dashboards there.
//!
//! Blocking; several threads may share one. Logs in, keeps the session, logs in again when it has expired. Invariant:
//! nothing but `import`, `adopt`, `remove` and the roles' own changes anything, and none of these is tried twice unless it
//! was refused for the session alone.

mod assets;
mod error;
pub mod form;
mod http;
mod roles;

use parking_lot::{Mutex, RwLock};
use serde_json::{Value as Json, json};

pub use self::assets::{ChartData, Listed};
pub use self::error::{Error, VERSION_MIN};
use self::http::{Answered, Ask, Csrf, Failed, Http, Session};
pub use self::roles::{Permission, READ, Role, permission_name};

/// Who logs in where.
#[derive(Clone)]
pub struct Login {
    /// Superset's address.
    pub url: String,
    /// The user's name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("url", &self.url).field("user", &self.user).finish_non_exhaustive()
    }
}

/// A Superset that let us in.
#[derive(Debug)]
pub struct Client {
    http: Http,
    login: Login,
    version: String,
    session: RwLock<Session>,
    /// Held by whoever renews the session.
    renewal: Mutex<()>,
}

impl Client {
    /// Looks whether there is a Superset that is new enough, and logs in.
    ///
    /// # Errors
    /// When there is none, it is too old, or it does not let us in.
    pub fn connect(login: Login) -> Result<Self, Error> {
        let http = Http::new(&login.url, vec![login.password.clone()])?;
        let ask = Ask { method: "GET", path: "/version", what: "say its version", body: None, shows: false };
        let answer = match http.ask(&ask, &Session::default()) {
            Ok(answer) => http.json(&ask, &answer).ok(),
            Err(Failed { status: 404, .. }) => None,
            Err(failed) => return Err(failed.error),
        };
        let version = answer.as_ref().and_then(|body| body.get("version_string")?.as_str());
        let version = version.ok_or_else(|| Error::NotSuperset(http.url.clone()))?.to_owned();
        if number_of(&version).is_some_and(|number| number < VERSION_MIN) {
            return Err(Error::TooOld { url: http.url.clone(), version: plain(&version) });
        }
        let client =
            Self { http, login, version: plain(&version), session: RwLock::default(), renewal: Mutex::default() };
        let session = client.log_in()?;
        *client.session.write() = session;
        Ok(client)
    }

    /// What it says that it is.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its address, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.http.url
    }

    fn log_in(&self) -> Result<Session, Error> {
        let body =
            json!({"username": self.login.user, "password": self.login.password, "provider": "db", "refresh": true});
        let bytes = body.to_string().into_bytes();
        let ask = Ask {
            method: "POST",
            path: "/api/v1/security/login",
            what: "log in",
            body: Some(("application/json", &bytes)),
            shows: false,
        };
        let wrong = || Error::Password { url: self.http.url.clone(), user: self.login.user.clone() };
        let answer = self.http.ask(&ask, &Session::default()).map_err(|failed| match failed.status {
            401 => wrong(),
            _ => failed.error,
        })?;
        let body = self.http.json(&ask, &answer)?;
        let text = |key: &str| body.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
        let session = Session { token: text("access_token"), refresh: text("refresh_token"), csrf: None };
        if session.token.is_empty() { Err(self.unreadable("log in", "it holds no token")) } else { Ok(session) }
    }

    /// A new token by the refresh token; by user and password where that has expired as well.
    fn renew(&self, expired: &str) -> Result<(), Error> {
        let _one = self.renewal.lock();
        let session = self.session.read().clone();
        if session.token != expired {
            return Ok(()); // Another thread was here before.
        }
        let with_refresh = Session { token: session.refresh.clone(), ..Session::default() };
        let ask = Ask {
            method: "POST",
            path: "/api/v1/security/refresh",
            what: "renew the session",
            body: Some(("application/json", b"{}")),
            shows: false,
        };
        let answer = self.http.ask(&ask, &with_refresh).ok().and_then(|answer| self.http.json(&ask, &answer).ok());
        let token = answer.as_ref().and_then(|body| body.get("access_token")?.as_str());
        let renewed = match token {
            Some(token) => Session { token: token.to_owned(), refresh: session.refresh, csrf: None },
            None => self.log_in()?,
        };
        *self.session.write() = renewed;
        Ok(())
    }

    /// The session with a CSRF token, made when something is changed for the first time.
    fn session_to_change(&self) -> Result<Session, Failed> {
        let session = self.session.read().clone();
        if session.csrf.is_some() {
            return Ok(session);
        }
        let what = "give a token for changes";
        let ask = Ask { method: "GET", path: "/api/v1/security/csrf_token/", what, body: None, shows: false };
        let answer = self.http.ask(&ask, &session)?;
        let failed = |error| Failed { status: 200, error };
        let body = self.http.json(&ask, &answer).map_err(failed)?;
        let token = body.get("result").and_then(Json::as_str);
        let (Some(token), Some(cookie)) = (token, answer.cookie) else {
            return Err(failed(self.unreadable(what, "the token or its cookie is missing")));
        };
        let session = Session { csrf: Some(Csrf { token: token.to_owned(), cookie }), ..session };
        *self.session.write() = session.clone();
        Ok(session)
    }

    fn ask(&self, ask: &Ask<'_>) -> Result<Answered, Failed> {
        let attempt = || match ask.method {
            "GET" => self.http.ask(ask, &self.session.read().clone()),
            _ => self.http.ask(ask, &self.session_to_change()?),
        };
        let token = self.session.read().token.clone();
        match attempt() {
            Err(Failed { status: 401, .. }) => {
                self.renew(&token).map_err(|error| Failed { status: 401, error })?;
                attempt().map_err(|failed| self.forbidden(ask, failed))
            }
            other => other.map_err(|failed| self.forbidden(ask, failed)),
        }
    }

    fn forbidden(&self, ask: &Ask<'_>, failed: Failed) -> Failed {
        if !matches!(failed.status, 401 | 403) {
            return failed;
        }
        let (url, user) = (self.http.url.clone(), self.login.user.clone());
        Failed { status: failed.status, error: Error::Forbidden { url, user, what: ask.what.to_owned() } }
    }

    fn get(&self, path: &str, what: &str) -> Result<Json, Failed> {
        let ask = Ask { method: "GET", path, what, body: None, shows: true };
        let answer = self.ask(&ask)?;
        self.http.json(&ask, &answer).map_err(|error| Failed { status: 200, error })
    }

    /// As `get`; nothing where there is no such thing.
    fn find(&self, path: &str, what: &str) -> Result<Option<Json>, Error> {
        match self.get(path, what) {
            Ok(body) => Ok(Some(body)),
            Err(Failed { status: 404, .. }) => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    fn send(&self, method: &str, path: &str, what: &str, body: &Json, shows: bool) -> Result<Json, Failed> {
        let bytes = body.to_string().into_bytes();
        let ask = Ask { method, path, what, body: Some(("application/json", &bytes)), shows };
        let answer = self.ask(&ask)?;
        self.http.json(&ask, &answer).map_err(|error| Failed { status: 200, error })
    }

    fn unreadable(&self, what: &str, why: &str) -> Error {
        Error::Answer { url: self.http.url.clone(), what: what.into(), why: why.into() }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// The first two numbers of a version; none of `0.0.0-dev`, which may be anything.
fn number_of(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-', 'r']).map(|part| part.parse::<u32>().ok());
    let number = (parts.next()??, parts.next().flatten().unwrap_or(0));
    (number != (0, 0)).then_some(number)
}

fn plain(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("6.1.0", Some((6, 1)))]
    #[case("4.1.0rc2", Some((4, 1)))]
    #[case("2.0", Some((2, 0)))]
    #[case("0.0.0-dev", None)]
    #[case("unknown", None)]
    fn a_version_is_read_as_far_as_it_is_one(#[case] text: &str, #[case] number: Option<(u32, u32)>) {
        assert_eq!(number_of(text), number);
    }
}
