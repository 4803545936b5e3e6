//! When a feed is run: at the times of its calendar, and then look by look until something came.
//!
//! Pure. Invariant: however many times fell into a stop, they make one run.

use std::time::Duration;

use vitalake_contract::feed::{Feed, FeedTrigger, Missed};

/// How many missed runs are counted.
const MISSED_MAX: usize = 10_000;

/// A feed's times.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    /// The next time of its calendar.
    pub(super) next_run_ms: Option<i64>,
    /// Whether it is looked for deliveries, again and again.
    pub(super) looking: bool,
    /// When the next look is, since the clock's start.
    next_look: Duration,
    /// Runs that fell into a stop.
    pub(super) missed: u64,
}

/// What a look says of the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looked {
    /// Whether a delivery was taken.
    pub(super) came: bool,
    /// Whether something is still to come: a file that is not complete, or one that is tried again.
    pub(super) more: bool,
    /// Whether a delivery failed that is tried again: each try is a row of the ledger.
    pub(super) failed: bool,
    /// When a file may be complete.
    pub(super) complete_in: Option<Duration>,
}

impl Times {
    /// Those of a feed that was last run at some time, as far as is known.
    pub(super) fn plan(feed: &Feed, now_ms: i64, last_ms: Option<i64>) -> Self {
        let FeedTrigger::Schedule { calendar, missed } = &feed.trigger else {
            return Self { looking: true, ..Self::default() };
        };
        let count = last_ms.map_or(0, |last_ms| calendar.count_between(last_ms, now_ms, MISSED_MAX));
        let makes_up = count > 0 && *missed == Missed::Once;
        Self {
            next_run_ms: calendar.next_after_ms(now_ms),
            looking: makes_up,
            next_look: Duration::ZERO,
            missed: if makes_up { count as u64 } else { 0 },
        }
    }

    /// Whether it is to be run now.
    pub(super) fn is_due(&mut self, feed: &Feed, now_ms: i64, now: Duration) -> bool {
        if let FeedTrigger::Schedule { calendar, .. } = &feed.trigger
            && self.next_run_ms.is_some_and(|next_ms| next_ms <= now_ms)
        {
            self.next_run_ms = calendar.next_after_ms(now_ms);
            (self.looking, self.next_look) = (true, Duration::ZERO);
        }
        self.looking && self.next_look <= now
    }

    /// Goes on after a look. With a schedule, looks end when something came and no more is to come.
    pub(super) fn looked(&mut self, feed: &Feed, looked: Looked, now: Duration) {
        let every = feed.source.files().map(|files| files.look_every);
        if matches!(feed.trigger, FeedTrigger::Schedule { .. }) {
            // A database is asked once a run, and again where that failed.
            let found = looked.came || every.is_none();
            self.looking = looked.more || !found;
        }
        let every = every.unwrap_or(RETRY);
        let soonest = if looked.failed { RETRY.max(every) } else { every };
        self.next_look = now + looked.complete_in.map_or(soonest, |complete| complete.min(soonest));
    }
}

/// How long a source that failed is left before it is asked again within a run.
const RETRY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use chrono::DateTime;
    use rstest::rstest;
    use vitalake_contract::Project;

    fn feed(lines: &str) -> Feed {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("feeds")).unwrap();
        std::fs::write(folder.path().join("vitalake.yaml"), "name: x\n").unwrap();
        let text = format!("name: a\ndataset: d\nsource: {{folder: in, pattern: '*.csv'}}\n{lines}\n");
        std::fs::write(folder.path().join("feeds/a.yaml"), text).unwrap();
        let (project, _) = Project::load(folder.path());
        project.feeds[0].feed.clone()
    }

    fn ms(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[rstest]
    #[case::none_missed("missed: once", Some("2026-11-29T03:00:00Z"), 0, false)]
    #[case::one("missed: once", Some("2026-11-28T03:00:00Z"), 1, true)]
    #[case::many_are_one_run("missed: once", Some("2026-11-20T03:00:00Z"), 9, true)]
    #[case::left_out("missed: skip", Some("2026-11-20T03:00:00Z"), 0, false)]
    #[case::never_run_before("missed: once", None, 0, false)]
    fn runs_of_a_stop(#[case] missed: &str, #[case] last: Option<&str>, #[case] count: u64, #[case] runs: bool) {
        let feed = feed(&format!("schedule: 30 2 * * *\n{missed}"));
        let now_ms = ms("2026-11-29T08:00:00Z");
        let mut times = Times::plan(&feed, now_ms, last.map(ms));
        assert_eq!((times.missed, times.is_due(&feed, now_ms, Duration::ZERO)), (count, runs));
        assert_eq!(times.next_run_ms, Some(ms("2026-11-30T02:30:00Z")));
    }

    #[test]
    fn a_scheduled_feed_looks_until_something_came() {
        let feed = feed("schedule: 30 2 * * *\nlook_every: 10s");
        let start_ms = ms("2026-11-29T02:29:00Z");
        let mut times = Times::plan(&feed, start_ms, Some(start_ms));
        let at = |minutes: i64| (start_ms + minutes * 60_000, Duration::from_secs(minutes.unsigned_abs() * 60));
        let due = |times: &mut Times, minutes| times.is_due(&feed, at(minutes).0, at(minutes).1);
        assert!(!due(&mut times, 0));
        assert!(due(&mut times, 1));
        times.looked(&feed, Looked::default(), at(1).1);
        assert!(!due(&mut times, 1) && due(&mut times, 2), "it is looked again");
        times.looked(&feed, Looked { more: true, came: true, ..Looked::default() }, at(2).1);
        assert!(due(&mut times, 3), "one of two files came");
        times.looked(&feed, Looked { came: true, ..Looked::default() }, at(3).1);
        assert!(!due(&mut times, 240), "the run is over");
        assert!(due(&mut times, 1_442), "the next day");
    }

    #[test]
    fn a_feed_on_arrival_looks_for_ever() {
        let feed = feed("on: arrival\nlook_every: 10s");
        let mut times = Times::plan(&feed, 0, None);
        assert!(times.is_due(&feed, 0, Duration::ZERO));
        times.looked(&feed, Looked { came: true, ..Looked::default() }, Duration::ZERO);
        assert!(!times.is_due(&feed, 0, Duration::from_secs(9)));
        assert!(times.is_due(&feed, 0, Duration::from_secs(10)));
        let soon = Looked { complete_in: Some(Duration::from_secs(3)), more: true, ..Looked::default() };
        times.looked(&feed, soon, Duration::from_secs(10));
        assert!(times.is_due(&feed, 0, Duration::from_secs(13)), "when a file may be complete");
    }
}
