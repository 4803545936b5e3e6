//! Refusals of those who prove no name: so many a minute are written one by one, the others are counted.
//!
//! Whoever has no name may try as often as he likes, and must not fill the disk by that. Invariant: what was counted is
//! written by a later entry of the same surface, whose `rows` says for how many refusals it stands.

use std::collections::HashMap;

use super::entry::{Action, Entry, Outcome, Surface, Who};

/// Refusals of one surface that are written one by one in a minute.
const WRITTEN_MAX: u32 = 60;
const WINDOW_MS: i64 = 60_000;

/// What each surface has refused lately.
#[derive(Debug, Default)]
pub(super) struct Strangers(HashMap<Surface, Window>);

#[derive(Debug, Default)]
struct Window {
    began_ms: i64,
    written: u32,
    counted: u64,
}

impl Strangers {
    /// The entry of a refusal, where it is to be written now.
    pub(super) fn refused(&mut self, surface: Surface, now_ms: i64) -> Option<Entry> {
        let window = self.0.entry(surface).or_default();
        if window.is_over(now_ms) {
            (window.began_ms, window.written) = (now_ms, 0);
        }
        if window.written >= WRITTEN_MAX {
            window.counted += 1;
            return None;
        }
        window.written += 1;
        Some(entry(surface, std::mem::take(&mut window.counted) + 1))
    }

    /// What was counted and not written, of surfaces whose minute is over; of all of them where nothing comes any more.
    pub(super) fn counted(&mut self, now_ms: i64, is_last: bool) -> Vec<Entry> {
        let due = self.0.iter_mut().filter(|(_, window)| window.counted > 0 && (is_last || window.is_over(now_ms)));
        due.map(|(surface, window)| entry(*surface, std::mem::take(&mut window.counted))).collect()
    }
}

impl Window {
    fn is_over(&self, now_ms: i64) -> bool {
        !(self.began_ms..self.began_ms.saturating_add(WINDOW_MS)).contains(&now_ms)
    }
}

fn entry(surface: Surface, count: u64) -> Entry {
    let entry = Entry::new(Who::unknown(), surface, Action::Login).ended(Outcome::Refused, Some("no_name"));
    Entry { rows: (count > 1).then_some(count), ..entry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_counted_and_every_one_of_them_is_told() {
        let mut strangers = Strangers::default();
        let mut told = |surface, now_ms| strangers.refused(surface, now_ms).map(|entry| entry.rows);
        let written = (0..1_000).filter_map(|at| told(Surface::Http, 5_000 + at)).count();
        assert_eq!(written, 60);
        assert_eq!(told(Surface::Kafka, 5_000), Some(None), "another way is counted apart");
        assert_eq!(told(Surface::Http, 65_000), Some(Some(941)));
        let more = (0..100).filter_map(|_| told(Surface::Http, 65_001)).count();
        assert_eq!(more, 59);
        assert!(strangers.counted(124_999, false).is_empty());
        let rest: Vec<_> = strangers.counted(125_000, false).into_iter().map(|entry| entry.rows).collect();
        assert_eq!(rest, [Some(41)]);
        assert!(strangers.counted(i64::MAX, true).is_empty());
    }
}
