//! SASL as Kafka's clients speak it: a mechanism is chosen, then messages go to and fro until it is known who that is.
//!
//! PLAIN (RFC 4616) carries passwords and tokens, SCRAM passwords alone, OAUTHBEARER (RFC 7628) tokens. Invariant: a mechanism ends in a name or in a
//! refusal, and what comes after that is refused.

use std::sync::Arc;

use super::{Client, Credential, Names, Peer, Refused, Scram, ScramHash};

/// What becomes of a message.
#[derive(Debug)]
pub enum Said {
    /// It goes on with this.
    More(Vec<u8>),
    /// It is known who that is; this is the last answer.
    Known(Client, Vec<u8>),
    /// It is not, and will not be.
    Refused(Refused),
}

/// One client's way to prove itself.
#[derive(Debug)]
pub struct Sasl {
    names: Arc<Names>,
    peer: Peer,
    way: Way,
}

#[derive(Debug)]
enum Way {
    Plain,
    Scram(Scram, bool),
    Bearer,
    /// A token was refused, and the client has to say that it heard so.
    Refused(Refused),
    Over,
}

impl Names {
    /// The mechanisms that are spoken, the strongest first.
    #[must_use]
    pub fn mechanisms(&self) -> Vec<&'static str> {
        vec![ScramHash::Sha512.as_str(), ScramHash::Sha256.as_str(), "OAUTHBEARER", "PLAIN"]
    }

    /// Begins a mechanism; none where it is not spoken.
    #[must_use]
    pub fn sasl(self: &Arc<Self>, mechanism: &str, peer: Peer) -> Option<Sasl> {
        let scram = |hash| Way::Scram(self.scram(hash, None, None, peer), false);
        let way = match mechanism {
            "PLAIN" => Way::Plain,
            "OAUTHBEARER" => Way::Bearer,
            "SCRAM-SHA-256" => scram(ScramHash::Sha256),
            "SCRAM-SHA-512" => scram(ScramHash::Sha512),
            _ => return None,
        };
        Some(Sasl { names: Arc::clone(self), peer, way })
    }
}

impl Sasl {
    /// Takes the client's next message.
    pub async fn step(&mut self, message: &[u8]) -> Said {
        let said = match &mut self.way {
            Way::Plain => match plain(message) {
                Some((name, secret)) => known(
                    self.names.prove(Credential::Named { name, secret }, self.peer).await.map(|it| (it, Vec::new())),
                ),
                None => Said::Refused(self.names.late(Refused::Wrong).await),
            },
            Way::Scram(scram, begun) if !*begun => {
                *begun = true;
                scram.first(message).await.map_or_else(Said::Refused, |answer| Said::More(answer.into_bytes()))
            }
            Way::Scram(scram, _) => {
                known(scram.last(message).await.map(|(client, answer)| (client, answer.into_bytes())))
            }
            Way::Bearer => match self.bearer(message).await {
                Ok(client) => Said::Known(client, Vec::new()),
                Err(refused) => {
                    self.way = Way::Refused(refused);
                    Said::More(br#"{"status":"invalid_token"}"#.to_vec())
                }
            },
            Way::Refused(refused) => Said::Refused(refused.clone()),
            Way::Over => Said::Refused(Refused::Wrong),
        };
        if !matches!(said, Said::More(_)) {
            self.way = Way::Over;
        }
        said
    }
}

impl Sasl {
    async fn bearer(&self, message: &[u8]) -> Result<Client, Refused> {
        match bearer(message) {
            Some((Some(name), secret)) => self.names.prove(Credential::Named { name, secret }, self.peer).await,
            Some((None, token)) => self.names.prove(Credential::Token(token), self.peer).await,
            None => Err(self.names.late(Refused::Wrong).await),
        }
    }
}

fn known(proved: Result<(Client, Vec<u8>), Refused>) -> Said {
    proved.map_or_else(Said::Refused, |(client, answer)| Said::Known(client, answer))
}

/// `authzid NUL name NUL secret`; acting for another is not known here.
fn plain(proof: &[u8]) -> Option<(&str, &str)> {
    let mut parts = std::str::from_utf8(proof).ok()?.split('\0');
    let (acting_for, name, secret) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && !name.is_empty() && !secret.is_empty();
    (is_whole && (acting_for.is_empty() || acting_for == name)).then_some((name, secret))
}

/// `n,a=name,` and pairs, each behind a byte of 1; that of the token is `auth=Bearer TOKEN`.
fn bearer(message: &[u8]) -> Option<(Option<&str>, &str)> {
    let text = std::str::from_utf8(message).ok()?.strip_suffix("\u{1}\u{1}")?;
    let mut parts = text.split('\u{1}');
    let mut header = parts.next()?.split(',');
    let (binding, name, end) = (header.next()?, header.next()?, header.next()?);
    let is_whole = matches!(binding, "n" | "y") && end.is_empty() && header.next().is_none();
    let name = if name.is_empty() { None } else { Some(name.strip_prefix("a=")?) };
    let mut given = parts.filter_map(|pair| pair.strip_prefix("auth="));
    let (scheme, token) = given.next()?.split_once(' ')?;
    (is_whole && given.next().is_none() && scheme.eq_ignore_ascii_case("bearer")).then_some((name, token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_read_as_it_is_written_and_nothing_else_is_one() {
        assert_eq!(plain(b"\0ann\0vl_1"), Some(("ann", "vl_1")));
        assert_eq!(plain(b"ann\0ann\0vl_1"), Some(("ann", "vl_1")));
        for wrong in
            [&b""[..], b"ann\0vl_1", b"bob\0ann\0vl_1", b"\0\0vl_1", b"\0ann\0", b"\0ann\0vl_1\0", b"\0\xff\0x"]
        {
            assert_eq!(plain(wrong), None);
        }
    }

    #[test]
    fn a_bearers_message_is_read_as_rfc_7628_frames_it() {
        assert_eq!(bearer(b"n,,\x01auth=Bearer a.b.c\x01\x01"), Some((None, "a.b.c")));
        let whole = b"n,a=user@example.com,\x01host=h\x01port=1\x01auth=bearer a.b.c\x01\x01";
        assert_eq!(bearer(whole), Some((Some("user@example.com"), "a.b.c")));
        for wrong in [
            &b"n,,\x01auth=Bearer a.b.c\x01"[..],
            b"n,,\x01auth=Basic a.b.c\x01\x01",
            b"p=x,,\x01auth=Bearer a\x01\x01",
            b"n,,\x01\x01",
            b"n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01",
            b"auth=Bearer a\x01\x01",
            b"",
        ] {
            assert_eq!(bearer(wrong), None);
        }
    }
}
