//! `vitalake token`: makes a token for a client, and the lines that let it in.
//!
//! Nothing is kept: the project holds the token's SHA-256, and the token itself is shown once. Invariant: a token has 256
//! bits of chance, so that its hash tells nothing of it.

use std::io::Write;
use std::process::ExitCode;

use chrono::{Days, Utc};
use clap::Args;
use sha2::{Digest, Sha256};
use vitalake_runtime::config::access::TOKEN_HASH_PREFIX;
use vitalake_runtime::hex;

use crate::failure::Failure;

/// `vitalake token`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake token grafana --role analyst\n  vitalake token ada --role steward --days 30"
)]
pub struct TokenArgs {
    /// Whose it is: the name that audit and decisions will have
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A role of access.roles; may be given several times
    #[arg(long = "role", value_name = "ROLE", required = true)]
    pub roles: Vec<String>,
    /// How many days it is good
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3650))]
    pub days: u64,
}

/// Makes a token and says where its hash is written.
///
/// # Errors
/// When a name cannot be one.
pub fn run(args: &TokenArgs) -> anyhow::Result<ExitCode> {
    check_names(std::iter::once(&args.name).chain(&args.roles))?;
    let token = fresh();
    let expires = Utc::now().date_naive().checked_add_days(Days::new(args.days)).unwrap_or_default();
    let (name, roles) = (&args.name, args.roles.join(", "));
    let mut out = std::io::stdout().lock();
    writeln!(out, "The token of {name}, shown once; keep it where secrets are kept:\n\n  {token}\n")?;
    writeln!(out, "Write this into vitalake.yaml and start the platform anew:\n")?;
    writeln!(out, "access:\n  clients:\n    {name}:\n      roles: [{roles}]\n      token: {}", hash(&token))?;
    writeln!(out, "      expires: {expires}\n")?;
    writeln!(
        out,
        "A client sends it as `Authorization: Bearer TOKEN`, a tool without that as the password of {name};"
    )?;
    writeln!(out, "the command line takes it from VITALAKE_TOKEN.")?;
    Ok(ExitCode::SUCCESS)
}

/// Whether these can be names of clients and roles.
///
/// # Errors
/// The first that cannot.
pub fn check_names<'n>(names: impl Iterator<Item = &'n String>) -> anyhow::Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '@');
    for name in names {
        if name.is_empty() || !name.chars().all(fits) {
            let help = "use letters, digits and _ - . @ alone";
            return Err(Failure::usage(format!("`{name}` cannot be a name of a client or role"), help).into());
        }
    }
    Ok(())
}

/// A text that nobody can guess.
#[must_use]
pub fn fresh() -> String {
    let bytes: [u8; 32] = rand::random();
    format!("vl_{}", hex::encode(bytes))
}

/// How the project's file has a token.
fn hash(token: &str) -> String {
    format!("{TOKEN_HASH_PREFIX}{}", hex::encode(Sha256::digest(token.as_bytes())))
}
