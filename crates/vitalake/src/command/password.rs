//! `vitalake password`: takes a password, and shows the lines that let a client in with it.
//!
//! Nothing is kept, and the password is on no command line and in no environment: it is asked for without an echo, or read
//! from standard input. Invariant: nothing that is written here is the password.

use std::io::{IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use console::Term;
use vitalake_serve::names::{ScramHash, hashed};

use super::token::check_names;
use crate::failure::Failure;

/// Shorter ones are found by trying.
const CHARACTERS_MIN: usize = 12;
const BYTES_MAX: usize = 256;

/// `vitalake password`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vitalake password ada --role steward\n  pass show lake/ada | vitalake password ada --role steward"
)]
pub struct PasswordArgs {
    /// Whose it is: the name that audit and decisions will have
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A role of access.roles; may be given several times
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
}

/// Takes a password and says where its hashes are written.
///
/// # Errors
/// When a name or the password cannot be one.
pub fn run(args: &PasswordArgs) -> anyhow::Result<ExitCode> {
    check_names(std::iter::once(&args.name).chain(&args.roles))?;
    let password = if std::io::stdin().is_terminal() { asked(&args.name)? } else { read()? };
    check(&password)?;
    let hashes = [ScramHash::Sha256, ScramHash::Sha512].map(|hash| hash.verifier(&password));
    let argon = hashed(&password).context("the hash of the password could not be computed")?;
    let mut out = std::io::stdout().lock();
    let (name, roles) = (&args.name, args.roles.join(", "));
    writeln!(out, "Write this into vitalake.yaml and start the platform anew:\n")?;
    writeln!(out, "access:\n  clients:\n    {name}:\n      roles: [{roles}]\n      password:")?;
    for hash in std::iter::once(&argon).chain(&hashes) {
        writeln!(out, "        - {hash}")?;
    }
    writeln!(
        out,
        "\nThe first is for HTTP and for names with passwords in the clear under TLS; the others are for SCRAM, by"
    )?;
    writeln!(
        out,
        "Kafka's clients and PostgreSQL's. A hash may also stand elsewhere and be written here as ${{VARIABLE}}."
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Twice, so that what nobody saw is what was meant.
fn asked(name: &str) -> anyhow::Result<String> {
    let term = Term::stderr();
    let ask = |what: &str| {
        term.write_str(what)?;
        term.read_secure_line()
    };
    let once = ask(&format!("Password of {name}: ")).context("the password could not be read")?;
    let again = ask("Once more: ").context("the password could not be read")?;
    if once != again {
        return Err(Failure::input("the two passwords are not the same", "try again").into());
    }
    Ok(once)
}

/// The one line of standard input.
fn read() -> anyhow::Result<String> {
    let mut text = String::new();
    let limit = u64::try_from(BYTES_MAX + 3).unwrap_or(u64::MAX);
    std::io::stdin().take(limit).read_to_string(&mut text).context("standard input could not be read")?;
    Ok(text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)).to_owned())
}

fn check(password: &str) -> anyhow::Result<()> {
    let refused = |message: String, help: &str| Err(Failure::input(message, help).into());
    // Clients do not agree on how other characters are written (RFC 4013), and each would hash another password.
    if !password.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return refused(
            "the password has other characters than those of ASCII, or lines".to_owned(),
            "use letters, digits and signs",
        );
    }
    if password.len() < CHARACTERS_MIN || password.len() > BYTES_MAX {
        let message = format!("a password has {CHARACTERS_MIN} to {BYTES_MAX} characters");
        return refused(message, "several words that have nothing to do with each other are easily kept");
    }
    Ok(())
}
