//! Log-ins of browsers: who has proved a name holds a random text as a cookie until he leaves, or it is over.
//!
//! Kept in memory alone: after a restart everybody says once more who he is. Invariant: what is kept is the hash of what a
//! browser holds, and a log-in is good no longer than the proof that it was given for.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::{Client, hash_of, random};

/// How long a log-in is good at most.
pub const VISIT_MS_MAX: i64 = 8 * 3_600_000;
/// How many are kept; beyond them the oldest end.
const VISITS_MAX: usize = 10_000;

/// The log-ins of a process.
#[derive(Default)]
pub(super) struct Visits(Mutex<BTreeMap<[u8; 32], Visit>>);

struct Visit {
    client: Client,
    ends_ms: i64,
}

impl Visits {
    /// Lets somebody in who has proved who he is: what his browser has to show, and for how many milliseconds it is good.
    pub(super) fn begin(&self, client: Client, now_ms: i64) -> (String, i64) {
        let text = random();
        let latest = now_ms + VISIT_MS_MAX;
        let ends_ms = client.expires_ms().map_or(latest, |end| end.min(latest));
        let mut visits = self.0.lock();
        if visits.len() >= VISITS_MAX {
            visits.retain(|_, visit| visit.ends_ms > now_ms);
        }
        if visits.len() >= VISITS_MAX {
            let oldest = visits.iter().min_by_key(|(_, visit)| visit.ends_ms).map(|(hash, _)| *hash);
            oldest.map(|hash| visits.remove(&hash));
        }
        visits.insert(hash_of(&text), Visit { client, ends_ms });
        (text, ends_ms - now_ms)
    }

    /// Whose log-in that is.
    pub(super) fn of(&self, text: &str, now_ms: i64) -> Option<Client> {
        let mut visits = self.0.lock();
        let hash = hash_of(text);
        if visits.get(&hash)?.ends_ms <= now_ms {
            visits.remove(&hash);
            return None;
        }
        visits.get(&hash).map(|visit| visit.client.clone())
    }

    /// Ends a log-in.
    pub(super) fn end(&self, text: &str) {
        self.0.lock().remove(&hash_of(text));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::identity::Identity;

    fn client(expires_ms: Option<i64>) -> Client {
        Client { identity: Identity::client("ada", []), expires_ms }
    }

    #[test]
    fn a_log_in_ends_with_its_time_its_proof_or_its_owners_leave() {
        let visits = Visits::default();
        let (long, ms) = visits.begin(client(None), 0);
        assert_eq!(ms, VISIT_MS_MAX);
        let (short, ms) = visits.begin(client(Some(1_000)), 0);
        assert_eq!(ms, 1_000);
        assert_ne!(long, short);
        assert_eq!(visits.of(&long, 1_000).unwrap().identity().name(), "ada");
        assert!(visits.of(&short, 999).is_some() && visits.of(&short, 1_000).is_none());
        assert!(visits.of(&long, VISIT_MS_MAX).is_none());
        let (left, _) = visits.begin(client(None), 0);
        visits.end(&left);
        assert!(visits.of(&left, 1).is_none() && visits.of("", 1).is_none());
    }

    #[test]
    fn they_are_bounded_and_the_oldest_end_first() {
        let visits = Visits::default();
        let (first, _) = visits.begin(client(None), 0);
        for at in 1..=VISITS_MAX {
            visits.begin(client(None), i64::try_from(at).unwrap());
        }
        assert_eq!(visits.0.lock().len(), VISITS_MAX);
        assert!(visits.of(&first, 1).is_none());
    }
}
