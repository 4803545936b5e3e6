//! Who acts, where a command asks for it.
//!
//! Invariant: the answer is never empty.

/// As they say, else the terminal's user.
#[must_use]
pub fn who(said: Option<&str>) -> String {
    let user = || ["USER", "LOGNAME", "USERNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let name = said.map(ToOwned::to_owned).or_else(user).map(|name| name.trim().to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "somebody".to_owned())
}
