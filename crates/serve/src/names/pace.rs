//! Slows those who guess: by the name that they guess for, and by the address that they come from.
//!
//! The first wrong proofs are free; then each doubles the time in which no further one is looked at, and what is not
//! looked at costs nothing. Whoever proved a name from an address before is not slowed by what others guess for that name,
//! nor by what others guess from that address: of the two together wrong proofs are counted apart. A proof is counted from its beginning, so that many at once are no more than many in a row. Invariant: memory is
//! bounded, and a name that there is none of is slowed as others are.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use vitalake_runtime::clock::Clock;

use super::{Peer, Refused};

/// Wrong proofs, and proofs in work, that are looked at without a wait.
const FREE: u32 = 5;
/// The longest time in which no proof is looked at.
const WAIT_MAX_MS: i64 = 60_000;
/// After so long without a wrong proof, those before are forgotten.
const FORGET_MS: i64 = 15 * 60_000;
/// Names, addresses and pairs that are remembered.
const ENTRIES_MAX: usize = 10_000;

/// A name, shortened to what is worth keeping of whatever was sent.
type Name = [u8; 16];

/// Everything that is remembered of proofs.
#[derive(Debug)]
pub(super) struct Pace {
    clock: Clock,
    held: Mutex<Held>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct Held {
    names: HashMap<Name, Tries>,
    peers: HashMap<IpAddr, Tries>,
    /// Who proved which name from where, with what was tried for that name from there since.
    good: HashMap<(Name, IpAddr), Tries>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tries {
    failed: u32,
    in_work: u32,
    last_ms: i64,
    next_ms: i64,
}

/// A proof in work; one that is dropped was neither right nor wrong.
#[derive(Debug)]
pub(super) struct Attempt {
    pace: Arc<Pace>,
    name: Option<Name>,
    peer: Option<IpAddr>,
    /// Whether it counts for the name and the address together.
    is_known: bool,
}

impl Pace {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, held: Mutex::default(), ended: Notify::new() }
    }

    /// Lets a proof be looked at; none while as many are in work as may be, of which [`Pace::ended`] tells the next end.
    pub(super) fn admit(self: &Arc<Self>, name: Option<&str>, peer: Peer) -> Result<Option<Attempt>, Refused> {
        let (name, peer, now_ms) = (name.map(key), peer.0.map(network), self.clock.now_ms());
        let mut held = self.held.lock();
        let state = held.state(name, peer, now_ms);
        match state {
            State::Paced(wait) => return Err(Refused::Paced(wait)),
            State::Full => return Ok(None),
            State::Free => {}
        }
        let known = name.zip(peer).and_then(|pair| held.good.get_mut(&pair));
        let is_known = known.is_some();
        if let Some(tries) = known {
            tries.in_work += 1;
        } else {
            if let Some(name) = name {
                entry(&mut held.names, name, now_ms).in_work += 1;
            }
            if let Some(peer) = peer {
                entry(&mut held.peers, peer, now_ms).in_work += 1;
            }
        }
        Ok(Some(Attempt { pace: Arc::clone(self), name, peer, is_known }))
    }

    /// Whether a proof would be looked at now, for one that is yet to come.
    pub(super) fn look(&self, name: Option<&str>, peer: Peer) -> Result<(), Refused> {
        match self.held.lock().state(name.map(key), peer.0.map(network), self.clock.now_ms()) {
            State::Paced(wait) => Err(Refused::Paced(wait)),
            State::Free | State::Full => Ok(()),
        }
    }

    /// When the next proof ends that is in work.
    pub(super) fn ended(&self) -> Notified<'_> {
        self.ended.notified()
    }
}

impl Held {
    fn state(&self, name: Option<Name>, peer: Option<IpAddr>, now_ms: i64) -> State {
        if let Some(tries) = name.zip(peer).and_then(|pair| self.good.get(&pair)) {
            return tries.state(now_ms);
        }
        let by_name = name.and_then(|name| self.names.get(&name));
        let by_peer = peer.and_then(|peer| self.peers.get(&peer));
        let states = [by_name, by_peer].into_iter().flatten().map(|tries| tries.state(now_ms));
        states.max().unwrap_or(State::Free)
    }
}

/// What becomes of a proof that comes now. The later, the more it holds up.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Free,
    /// It waits for another's end.
    Full,
    /// It is not looked at for so long.
    Paced(Duration),
}

impl Tries {
    fn state(&self, now_ms: i64) -> State {
        let failed = if now_ms - self.last_ms > FORGET_MS { 0 } else { self.failed };
        let left_ms = self.next_ms - now_ms;
        match u64::try_from(left_ms) {
            Ok(left_ms) if failed >= FREE && left_ms > 0 => State::Paced(Duration::from_millis(left_ms)),
            // Then one at a time.
            _ if self.in_work > 0 && failed + self.in_work >= FREE => State::Full,
            _ => State::Free,
        }
    }

    fn fail(&mut self, now_ms: i64) {
        if now_ms - self.last_ms > FORGET_MS {
            self.failed = 0;
        }
        self.failed = self.failed.saturating_add(1);
        self.last_ms = now_ms;
        let doubled = self.failed.checked_sub(FREE).map(|over| 1_000_i64 << over.min(6));
        self.next_ms = now_ms + doubled.map_or(0, |wait_ms| wait_ms.min(WAIT_MAX_MS));
    }
}

impl Attempt {
    /// It was right: this name is known from there.
    pub(super) fn proved(self) {
        let now_ms = self.pace.clock.now_ms();
        if let Some(pair) = self.name.zip(self.peer) {
            let mut held = self.pace.held.lock();
            if !held.good.contains_key(&pair) {
                make_room(&mut held.good, |tries| tries.last_ms);
            }
            let tries = held.good.entry(pair).or_default();
            // Who guesses from where the name's own client is goes on to be counted.
            if tries.failed == 0 {
                tries.last_ms = now_ms;
            }
        }
    }

    /// It was wrong. The address keeps what it failed also when it proves a name of its own between.
    pub(super) fn failed(self) {
        let now_ms = self.pace.clock.now_ms();
        let mut held = self.pace.held.lock();
        if self.is_known {
            if let Some(tries) = self.name.zip(self.peer).and_then(|pair| held.good.get_mut(&pair)) {
                tries.fail(now_ms);
            }
            return;
        }
        if let Some(tries) = self.name.and_then(|name| held.names.get_mut(&name)) {
            tries.fail(now_ms);
        }
        if let Some(tries) = self.peer.and_then(|peer| held.peers.get_mut(&peer)) {
            tries.fail(now_ms);
        }
        drop(held);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut held = self.pace.held.lock();
        if self.is_known {
            if let Some(tries) = self.name.zip(self.peer).and_then(|pair| held.good.get_mut(&pair)) {
                tries.in_work = tries.in_work.saturating_sub(1);
            }
        } else {
            if let Some(name) = self.name {
                leave(&mut held.names, &name);
            }
            if let Some(peer) = self.peer {
                leave(&mut held.peers, &peer);
            }
        }
        drop(held);
        self.pace.ended.notify_waiters();
    }
}

/// Ends a proof; of whom nothing wrong is known nothing is kept.
fn leave<K: Eq + Hash>(tries: &mut HashMap<K, Tries>, key: &K) {
    let Some(entry) = tries.get_mut(key) else { return };
    entry.in_work = entry.in_work.saturating_sub(1);
    if entry.in_work == 0 && entry.failed == 0 {
        tries.remove(key);
    }
}

fn entry<K: Eq + Hash + Copy>(tries: &mut HashMap<K, Tries>, key: K, now_ms: i64) -> &mut Tries {
    if !tries.contains_key(&key) {
        // What is waited for longest, or has tried most, goes last.
        make_room(tries, |entry| entry.next_ms.max(entry.last_ms));
    }
    tries.entry(key).or_insert(Tries { last_ms: now_ms, ..Tries::default() })
}

/// Removes the older half when there is no room left.
fn make_room<K: Eq + Hash + Copy, V>(entries: &mut HashMap<K, V>, age: impl Fn(&V) -> i64) {
    if entries.len() < ENTRIES_MAX {
        return;
    }
    let mut ages: Vec<(i64, K)> = entries.iter().map(|(key, entry)| (age(entry), *key)).collect();
    let middle = ages.len() / 2;
    ages.select_nth_unstable_by_key(middle, |(age, _)| *age);
    for (_, key) in ages.iter().take(middle) {
        entries.remove(key);
    }
}

fn key(name: &str) -> Name {
    let digest: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    std::array::from_fn(|index| digest.get(index).copied().unwrap_or_default())
}

/// A whole network of IPv6 is one customer's.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::*;

    const HERE: Peer = Peer(Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1))));
    const THERE: Peer = Peer(Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2))));

    fn pace() -> (Arc<Pace>, Clock) {
        let clock = Clock::manual(1_000_000);
        (Arc::new(Pace::new(clock.clone())), clock)
    }

    fn admitted(pace: &Arc<Pace>, name: &str, peer: Peer) -> Attempt {
        pace.admit(Some(name), peer).unwrap().unwrap()
    }

    #[test]
    fn wrong_proofs_wait_ever_longer_by_name_and_by_address() {
        let (pace, clock) = pace();
        for _ in 0..FREE {
            admitted(&pace, "ann", HERE).failed();
        }
        let mut waits = Vec::new();
        for _ in 0..9 {
            let Err(Refused::Paced(wait)) = pace.admit(Some("ann"), THERE) else { panic!("it is not slowed") };
            assert!(matches!(pace.admit(Some("bob"), HERE), Err(Refused::Paced(_))), "the address is slowed too");
            assert!(pace.look(Some("ann"), THERE).is_err());
            waits.push(wait.as_secs());
            clock.advance(wait);
            admitted(&pace, "ann", HERE).failed();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(pace.look(Some("bob"), THERE).is_ok());
        clock.advance(Duration::from_millis(FORGET_MS as u64 + 1));
        assert!(pace.look(Some("ann"), HERE).is_ok(), "it is forgotten");
    }

    #[test]
    fn many_at_once_are_no_more_than_many_in_a_row() {
        let (pace, clock) = pace();
        let mut in_work: Vec<_> = (0..FREE).map(|_| admitted(&pace, "ann", HERE)).collect();
        assert!(pace.admit(Some("ann"), HERE).unwrap().is_none(), "it waits for another's end");
        in_work.pop().unwrap().failed();
        assert!(pace.admit(Some("ann"), HERE).unwrap().is_none());
        in_work.pop();
        in_work.push(admitted(&pace, "ann", HERE));
        in_work.into_iter().for_each(Attempt::failed);
        assert!(pace.admit(Some("ann"), HERE).is_err());
        clock.advance(Duration::from_secs(1));
        let only = admitted(&pace, "ann", HERE);
        assert!(pace.admit(Some("ann"), HERE).unwrap().is_none(), "then one at a time");
        drop(only);
    }

    #[test]
    fn whoever_is_known_from_an_address_is_not_slowed_by_what_others_guess() {
        let (pace, _) = pace();
        admitted(&pace, "ann", HERE).proved();
        for _ in 0..FREE {
            admitted(&pace, "ann", THERE).failed();
        }
        assert!(pace.look(Some("ann"), THERE).is_err());
        assert!(pace.look(Some("ann"), HERE).is_ok());
        // Nor by what others guess from the same address, as behind one that many share.
        for _ in 0..2 * FREE {
            if let Ok(Some(attempt)) = pace.admit(Some("bob"), HERE) {
                attempt.failed();
            }
        }
        assert!(pace.look(Some("cat"), HERE).is_err());
        assert!(pace.look(Some("ann"), HERE).is_ok());
    }

    #[test]
    fn whoever_guesses_a_name_from_where_it_is_known_is_slowed_for_that_name() {
        let (pace, _) = pace();
        admitted(&pace, "ann", HERE).proved();
        let in_work: Vec<_> = (0..FREE).map(|_| admitted(&pace, "ann", HERE)).collect();
        assert!(pace.admit(Some("ann"), HERE).unwrap().is_none(), "it waits for another's end");
        in_work.into_iter().for_each(Attempt::failed);
        assert!(matches!(pace.admit(Some("ann"), HERE), Err(Refused::Paced(_))));
        assert!(pace.look(Some("bob"), HERE).is_ok() && pace.look(Some("ann"), THERE).is_ok());
    }

    #[test]
    fn memory_is_bounded_whatever_is_sent() {
        let (pace, _) = pace();
        for number in 0..3 * ENTRIES_MAX {
            admitted(&pace, &format!("name {number}"), Peer(None)).failed();
        }
        assert!(pace.held.lock().names.len() <= ENTRIES_MAX);
    }
}
