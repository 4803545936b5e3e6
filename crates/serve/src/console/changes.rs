//! Who is told that something changed: one look a second for all browsers, and only while one listens.
//!
//! Invariant: at most [`LISTENERS_MAX`] listen at once, and each is told once a second at most.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::Overview;

/// How many may listen at once; each holds a connection.
pub const LISTENERS_MAX: usize = 128;
/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The tables as they were at the last look, with the look in which each was last seen to be other than before.
#[derive(Debug, Clone, Default)]
struct Looks {
    look: u64,
    tables: Arc<BTreeMap<String, (u64, u64)>>,
}

/// Tells of changes. Clones are the same.
#[derive(Clone)]
pub struct Changes {
    overview: Arc<dyn Overview>,
    places: Arc<Semaphore>,
    looks: Arc<watch::Sender<Looks>>,
    /// Whether somebody looks.
    looking: Arc<Mutex<bool>>,
}

/// Somebody who listens. His place is free again when he is gone.
pub struct Listener {
    looks: watch::Receiver<Looks>,
    told: u64,
    _place: OwnedSemaphorePermit,
}

impl Changes {
    pub(super) fn new(overview: Arc<dyn Overview>) -> Self {
        let looks = Arc::new(watch::channel(Looks::default()).0);
        Self { overview, places: Arc::new(Semaphore::new(LISTENERS_MAX)), looks, looking: Arc::default() }
    }

    /// Listens from now on; none where as many listen as may.
    #[must_use]
    pub fn listen(&self) -> Option<Listener> {
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let looks = self.looks.subscribe();
        let told = looks.borrow().look;
        let mut looking = self.looking.lock();
        if !*looking {
            *looking = true;
            tokio::spawn(self.clone().look_while_heard());
        }
        Some(Listener { looks, told, _place: place })
    }

    async fn look_while_heard(self) {
        let mut due = tokio::time::interval(LOOK_EVERY);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            due.tick().await;
            {
                let mut looking = self.looking.lock();
                if self.looks.receiver_count() == 0 {
                    *looking = false;
                    return;
                }
            }
            let now = self.overview.versions();
            self.looks.send_if_modified(|looks| looks.take_in(now));
        }
    }
}

impl Looks {
    /// Takes a look in; whether something is other than before.
    fn take_in(&mut self, now: Vec<(String, u64)>) -> bool {
        let next = self.look + 1;
        let seen = |(name, version): (String, u64)| {
            let since = match self.tables.get(&name) {
                Some((known, since)) if *known == version => *since,
                _ => next,
            };
            (name, (version, since))
        };
        let tables: BTreeMap<_, _> = now.into_iter().map(seen).collect();
        let changed = tables.values().any(|(_, since)| *since == next) || tables.len() != self.tables.len();
        if changed {
            (self.look, self.tables) = (next, Arc::new(tables));
        }
        changed
    }
}

impl Listener {
    /// The tables that have changed since the last answer; none when the process has ended.
    pub async fn changed(&mut self) -> Option<Vec<String>> {
        self.looks.changed().await.ok()?;
        let looks = self.looks.borrow_and_update().clone();
        // Before the first look nothing was known, and nothing is news.
        let first = self.told == 0;
        let news = looks.tables.iter().filter(|(_, (_, since))| *since > self.told && !first);
        let news = news.map(|(name, _)| name.clone()).collect();
        self.told = looks.look;
        Some(news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_news_once_for_each_who_listens() {
        let mut looks = Looks::default();
        let of = |a: u64, b: u64| vec![("raw.a".to_owned(), a), ("raw.b".to_owned(), b)];
        assert!(looks.take_in(of(1, 1)));
        assert!(!looks.take_in(of(1, 1)));
        assert!(looks.take_in(of(1, 2)));
        assert_eq!(looks.tables.get("raw.a"), Some(&(1, 1)));
        assert_eq!(looks.tables.get("raw.b"), Some(&(2, 2)));
        assert!(looks.take_in(vec![("raw.a".to_owned(), 1)]), "a table that is gone is news");
    }
}
