//! Places among the queries that run, and who gets the next one.
//!
//! A query holds a place while it computes; where its reader takes its time, the place is another's meanwhile, so that
//! open cursors hold none. Invariant: a place that comes free goes to the client that has the fewest, and where there are
//! several places one client never has all of them.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::error::QueryError;
use crate::identity::{Door, Identity};

/// How long a place is kept for a reader that does not come.
const PATIENCE: Duration = Duration::from_millis(100);

/// Who shares: a client, whatever its proofs are good for.
type Client = (Door, String);

/// The places.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    places_max: usize,
    /// Places of one client.
    own_max: usize,
    waiting_max: usize,
    /// Places that are taken, by client; one without has no entry.
    taken: HashMap<Client, usize>,
    waiting: VecDeque<Waiter>,
    /// Queries that have begun and not ended, whether or not they have a place now.
    open: usize,
}

#[derive(Debug)]
struct Waiter {
    client: Client,
    /// Whether it has had a place before: it cannot be sent away.
    returns: bool,
    gives: oneshot::Sender<Result<Place, QueryError>>,
}

/// A place; another gets it when this is dropped.
#[derive(Debug)]
struct Place {
    turns: Turns,
    client: Client,
}

/// A query's turn to run.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Turns,
    client: Client,
    /// None while the query waits for its reader.
    place: Option<Place>,
}

fn full() -> QueryError {
    QueryError::Capacity("too many queries run and wait; try again later".to_owned())
}

impl Turns {
    pub(crate) fn new(places_max: usize, waiting_max: usize) -> Self {
        let own_max = places_max.saturating_sub(places_max / 4).max(1);
        let (taken, waiting) = (HashMap::new(), VecDeque::new());
        Self(Arc::new(Mutex::new(State { places_max, own_max, waiting_max, taken, waiting, open: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queries that have begun and not ended.
    pub(crate) fn open(&self) -> usize {
        self.state().open
    }

    /// A turn for a query of that client; waits while others have all places, or the client has its share.
    pub(crate) async fn take(&self, owner: &Identity) -> Result<Turn, QueryError> {
        let client = (owner.door(), owner.name().to_owned());
        let place = self.place(&client, false).await?;
        self.state().open += 1;
        Ok(Turn { turns: self.clone(), client, place: Some(place) })
    }

    async fn place(&self, client: &Client, returns: bool) -> Result<Place, QueryError> {
        let (gives, given) = oneshot::channel();
        let (pushed_out, unwanted) = {
            let mut state = self.state();
            state.waiting.retain(|waiter| !waiter.gives.is_closed());
            state.waiting.push_back(Waiter { client: client.clone(), returns, gives });
            let unwanted = self.hand_out(&mut state);
            (state.push_out(), unwanted)
        };
        // Outside of the lock: a place that nobody wants takes it again.
        drop(unwanted);
        if let Some(waiter) = pushed_out {
            let _ = waiter.gives.send(Err(full()));
        }
        given.await.map_err(|_| full())?
    }

    /// Gives free places to those that wait. What comes back is of those that have stopped waiting, to be dropped outside
    /// of the lock.
    fn hand_out(&self, state: &mut State) -> Vec<Result<Place, QueryError>> {
        let mut unwanted = Vec::new();
        while let Some(waiter) = state.next() {
            *state.taken.entry(waiter.client.clone()).or_default() += 1;
            let place = Place { turns: self.clone(), client: waiter.client };
            unwanted.extend(waiter.gives.send(Ok(place)).err());
        }
        unwanted
    }
}

impl State {
    fn of(&self, client: &Client) -> usize {
        self.taken.get(client).copied().unwrap_or(0)
    }

    /// The next to have a place, where one is free for it: of the client with the fewest, the first.
    fn next(&mut self) -> Option<Waiter> {
        if self.taken.values().sum::<usize>() >= self.places_max {
            return None;
        }
        let places = self.waiting.iter().enumerate().map(|(at, waiter)| (self.of(&waiter.client), at));
        let (_, at) = places.filter(|(taken, _)| *taken < self.own_max).min()?;
        self.waiting.remove(at)
    }

    /// Who is sent away where too many wait: the last of the client that has the most waiting.
    fn push_out(&mut self) -> Option<Waiter> {
        let mut counts: HashMap<&Client, usize> = HashMap::new();
        let new = || self.waiting.iter().enumerate().filter(|(_, waiter)| !waiter.returns);
        new().for_each(|(_, waiter)| *counts.entry(&waiter.client).or_default() += 1);
        if counts.values().sum::<usize>() <= self.waiting_max {
            return None;
        }
        let count = |waiter: &Waiter| counts.get(&waiter.client).copied().unwrap_or(0);
        let (at, _) = new().max_by_key(|(at, waiter)| (count(waiter), *at))?;
        self.waiting.remove(at)
    }
}

impl Turn {
    /// Waits for a reader. One that does not come soon leaves the place to others, and when it comes the query waits for
    /// one again.
    pub(crate) async fn aside<T, E>(&mut self, reader: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        tokio::pin!(reader);
        if let Ok(done) = tokio::time::timeout(PATIENCE, &mut reader).await {
            return done;
        }
        self.place = None;
        let done = reader.await?;
        // Whoever had a place is never sent away.
        self.place = self.turns.place(&self.client, true).await.ok();
        Ok(done)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.state().open -= 1;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let unwanted = {
            let mut state = self.turns.state();
            let left = state.of(&self.client).saturating_sub(1);
            if left == 0 {
                state.taken.remove(&self.client);
            } else {
                state.taken.insert(self.client.clone(), left);
            }
            self.turns.hand_out(&mut state)
        };
        drop(unwanted);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::FutureExt as _;

    use super::*;

    fn client(name: &str) -> Identity {
        Identity::new(Door::Proof, name)
    }

    fn at_once(turns: &Turns, name: &str) -> Turn {
        turns.take(&client(name)).now_or_never().unwrap().unwrap()
    }

    #[test]
    fn one_client_leaves_places_for_the_others() {
        let turns = Turns::new(8, 64);
        let mut held: Vec<Turn> = (0..6).map(|_| at_once(&turns, "ann")).collect();
        let ann = client("ann");
        let mut seventh = Box::pin(turns.take(&ann));
        assert!((&mut seventh).now_or_never().is_none(), "ann has her share");
        held.push(at_once(&turns, "ben"));
        held.push(at_once(&turns, "ben"));
        held.remove(0);
        assert!(seventh.now_or_never().unwrap().is_ok(), "her own place is hers again");
    }

    #[test]
    fn a_free_place_goes_to_whoever_has_the_fewest() {
        let turns = Turns::new(2, 64);
        let (ann, ben) = (client("ann"), client("ben"));
        let mut held = vec![at_once(&turns, "ann"), at_once(&turns, "ann")];
        let mut third = Box::pin(turns.take(&ann));
        let mut first = Box::pin(turns.take(&ben));
        assert!((&mut third).now_or_never().is_none() && (&mut first).now_or_never().is_none());
        held.pop();
        assert!((&mut third).now_or_never().is_none(), "who waits longer and has more waits on");
        assert!(first.now_or_never().unwrap().is_ok());
    }

    #[test]
    fn whoever_fills_the_queue_is_sent_away_and_no_other() {
        let turns = Turns::new(1, 2);
        let _held = at_once(&turns, "ann");
        let (ann, ben) = (client("ann"), client("ben"));
        let mut waiting: Vec<_> = (0..2).map(|_| Box::pin(turns.take(&ann))).collect();
        waiting.iter_mut().for_each(|turn| assert!(turn.as_mut().now_or_never().is_none()));
        assert!(turns.take(&ann).now_or_never().unwrap().is_err(), "the queue is full of hers");
        let mut ben = Box::pin(turns.take(&ben));
        assert!((&mut ben).now_or_never().is_none(), "there is room for another's");
        assert!(waiting.remove(1).now_or_never().unwrap().is_err(), "her last one made it");
        assert!(waiting.remove(0).now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_reader_that_takes_its_time_leaves_the_place_to_others() {
        let turns = Turns::new(1, 64);
        let mut slow = at_once(&turns, "ann");
        let (comes, reader) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            slow.aside(reader).await.unwrap();
            slow
        });
        let other = turns.take(&client("ben")).await.unwrap();
        assert_eq!(turns.open(), 2);
        comes.send(()).unwrap();
        tokio::task::yield_now().await;
        assert!(!task.is_finished(), "it waits for a place again");
        drop(other);
        assert!(task.await.unwrap().place.is_some());
        assert_eq!(turns.open(), 0);
    }

    #[test]
    fn who_stops_waiting_keeps_no_place() {
        let turns = Turns::new(1, 64);
        let held = at_once(&turns, "ann");
        let ben = client("ben");
        let mut gone = Box::pin(turns.take(&ben));
        assert!((&mut gone).now_or_never().is_none());
        drop(held);
        drop(gone);
        at_once(&turns, "ann");
    }
}
