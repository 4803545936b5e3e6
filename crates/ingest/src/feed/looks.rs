//! Which files of a place are deliveries now: complete, and not taken before.
//!
//! Pure. A file is complete when two looks, far enough apart, found it the same, or when its marker is there. What was
//! taken is known by name, length and time of modification, so that it is not read at each look; that memory may be lost:
//! a file that is read again is known by its content. Invariant: deliveries come by date, then by name.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use chrono::NaiveDate;
use vitalake_contract::feed::{Complete, FeedFiles, marker_name};

use super::{FoundFile, Listing, Print};

/// A delivery that is there: one file, or all of a date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its business date, where names have one.
    pub date: Option<NaiveDate>,
    /// Its files, by name.
    pub files: Vec<FoundFile>,
}

impl Arrival {
    /// What it is called: the file's name, or the first's and how many there are.
    #[must_use]
    pub fn name(&self) -> String {
        match self.files.as_slice() {
            [] => String::new(),
            [file] => file.name.clone(),
            [first, rest @ ..] => format!("{} and {} more", first.name, rest.len()),
        }
    }
}

/// What a look found.
#[derive(Clone, Debug, Default)]
pub struct Look {
    /// Deliveries, in the order in which they are to be taken.
    pub arrivals: Vec<Arrival>,
    /// Files that are not complete yet.
    pub waiting: usize,
    /// When the first of these may be, by standing still.
    pub complete_in: Option<Duration>,
    /// Files whose names are those of deliveries but for a date that is no day.
    pub without_day: Vec<String>,
}

/// Files of one delivery.
#[derive(Default)]
struct Group<'a> {
    files: Vec<&'a FoundFile>,
    /// Whether one of them was not taken before.
    new: bool,
    /// Whether one of them is not complete.
    waits: bool,
}

/// A file that was taken, as it is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its name.
    pub name: String,
    /// Its content as far as it is known.
    pub print: Print,
}

/// What earlier looks found.
#[derive(Clone, Debug, Default)]
pub struct Looks {
    seen: HashMap<String, (Print, Duration)>,
    taken: HashMap<String, Print>,
}

impl Looks {
    /// What was taken in an earlier life.
    #[must_use]
    pub fn remembering(taken: impl IntoIterator<Item = Taken>) -> Self {
        let taken = taken.into_iter().map(|taken| (taken.name, taken.print)).collect();
        Self { seen: HashMap::new(), taken }
    }

    /// Looks at what lies in a place now; `now` is the time since any fixed moment.
    pub fn look(&mut self, feed: &FeedFiles, listing: &Listing, now: Duration) -> Look {
        let names: HashSet<&str> = listing.files.iter().map(|file| file.name.as_str()).collect();
        self.seen.retain(|name, _| names.contains(name.as_str()));
        self.taken.retain(|name, _| names.contains(name.as_str()));
        let markers = markers(feed, listing);
        let mut look = Look::default();
        let mut groups: BTreeMap<(Option<NaiveDate>, &str), Group<'_>> = BTreeMap::new();
        for file in &listing.files {
            let Some(date) = feed.pattern.matches(&file.name) else {
                look.without_day.extend(feed.pattern.is_without_day(&file.name).then(|| file.name.clone()));
                continue;
            };
            if markers.contains(&file.name) {
                continue;
            }
            let is_new = self.taken.get(&file.name) != Some(&file.print);
            if !is_new && !feed.gather {
                continue;
            }
            let complete = !is_new || self.is_complete(feed, file, &names, now, &mut look);
            look.waiting += usize::from(!complete);
            let key = if feed.gather { "" } else { file.name.as_str() };
            let group = groups.entry((date, key)).or_default();
            group.files.push(file);
            group.new |= is_new;
            group.waits |= !complete;
        }
        for ((date, _), mut group) in groups.into_iter().filter(|(_, group)| group.new && !group.waits) {
            group.files.sort_by(|a, b| a.name.cmp(&b.name));
            look.arrivals.push(Arrival { date, files: group.files.into_iter().cloned().collect() });
        }
        look
    }

    fn is_complete(
        &mut self,
        feed: &FeedFiles,
        file: &FoundFile,
        names: &HashSet<&str>,
        now: Duration,
        look: &mut Look,
    ) -> bool {
        match &feed.complete {
            Complete::Marker(template) => names.contains(marker_name(template, &file.name).as_str()),
            Complete::Stable(stable) => {
                let since = match self.seen.get(&file.name) {
                    Some((print, since)) if *print == file.print => *since,
                    _ => {
                        self.seen.insert(file.name.clone(), (file.print.clone(), now));
                        now
                    }
                };
                let left = stable.saturating_sub(now.saturating_sub(since));
                if !left.is_zero() {
                    look.complete_in = Some(look.complete_in.map_or(left, |least| least.min(left)));
                }
                left.is_zero()
            }
        }
    }

    /// A delivery was taken, was known, or was refused for what it is: it is not read again unless a file changes.
    pub fn taken(&mut self, arrival: &Arrival) {
        for file in &arrival.files {
            self.seen.remove(&file.name);
            self.taken.insert(file.name.clone(), file.print.clone());
        }
    }

    /// How many files were taken that are still there.
    #[must_use]
    pub fn taken_count(&self) -> usize {
        self.taken.len()
    }
}

/// The names of the markers of a place's files: none of them is a delivery itself.
fn markers(feed: &FeedFiles, listing: &Listing) -> HashSet<String> {
    match &feed.complete {
        Complete::Stable(_) => HashSet::new(),
        Complete::Marker(template) => listing.files.iter().map(|file| marker_name(template, &file.name)).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use vitalake_contract::feed::NamePattern;

    fn feed(pattern: &str, complete: Complete, gather: bool) -> FeedFiles {
        FeedFiles {
            place: "in".into(),
            pattern: NamePattern::new(pattern).unwrap(),
            complete,
            look_every: Duration::from_secs(1),
            gather,
            format: None,
        }
    }

    fn listing(files: &[(&str, u64)]) -> Listing {
        let file = |(name, bytes): &(&str, u64)| FoundFile {
            name: (*name).to_owned(),
            print: Print { bytes: *bytes, modified_us: 1, tag: None },
        };
        Listing { files: files.iter().map(file).collect(), refused: Vec::new() }
    }

    fn names(look: &Look) -> Vec<String> {
        look.arrivals.iter().map(Arrival::name).collect()
    }

    const STABLE: Complete = Complete::Stable(Duration::from_secs(30));

    #[test]
    fn a_file_is_taken_when_it_stood_still_and_once() {
        let (feed, mut looks) = (feed("*.csv", STABLE, false), Looks::default());
        let mut at = |seconds, files: &[(&str, u64)]| {
            let look = looks.look(&feed, &listing(files), Duration::from_secs(seconds));
            look.arrivals.iter().for_each(|arrival| looks.taken(arrival));
            (names(&look), look.waiting)
        };
        assert_eq!(at(0, &[("a.csv", 1)]), (vec![], 1));
        assert_eq!(at(29, &[("a.csv", 1)]), (vec![], 1));
        assert_eq!(at(40, &[("a.csv", 2)]), (vec![], 1), "it grew");
        assert_eq!(at(70, &[("a.csv", 2)]), (vec!["a.csv".into()], 0));
        assert_eq!(at(99, &[("a.csv", 2)]), (vec![], 0), "taken before");
        assert_eq!(at(100, &[("a.csv", 3)]), (vec![], 1), "another content under its name");
        assert_eq!(at(130, &[("a.csv", 3)]), (vec!["a.csv".into()], 0));
        assert_eq!(at(140, &[]), (vec![], 0), "a folder that was emptied");
        assert_eq!(at(150, &[("a.csv", 3)]), (vec![], 1), "what is gone is forgotten");
    }

    #[test]
    fn two_looks_decide_and_not_the_time_of_modification() {
        let (feed, mut looks) = (feed("*", STABLE, false), Looks::default());
        let old = listing(&[("a", 1)]);
        let look = looks.look(&feed, &old, Duration::from_secs(1_000));
        assert_eq!((look.arrivals.len(), look.complete_in), (0, Some(Duration::from_secs(30))));
    }

    #[test]
    fn a_marker_completes_its_file_and_is_no_delivery() {
        let (feed, mut looks) = (feed("*", Complete::Marker("{name}.done".into()), false), Looks::default());
        let look = looks.look(&feed, &listing(&[("a", 1), ("b", 1), ("a.done", 0)]), Duration::ZERO);
        assert_eq!((names(&look), look.waiting), (vec!["a".to_owned()], 1));
    }

    #[test]
    fn deliveries_come_by_date_then_by_name() {
        let stable = Complete::Stable(Duration::ZERO);
        let (feed, mut looks) = (feed("?_{date:yyyyMMdd}.csv", stable, false), Looks::default());
        let files = [("a_20260103.csv", 1), ("b_20260102.csv", 1), ("a_20260102.csv", 1), ("other.csv", 1)];
        let look = looks.look(&feed, &listing(&files), Duration::ZERO);
        assert_eq!(names(&look), ["a_20260102.csv", "b_20260102.csv", "a_20260103.csv"]);
        assert_eq!(look.arrivals[0].date, NaiveDate::from_ymd_opt(2026, 1, 2));
    }

    #[test]
    fn files_of_a_date_are_gathered_when_all_are_complete_and_again_when_one_comes_later() {
        let (feed, mut looks) = (feed("r_{date:yyyyMMdd}_*.csv", STABLE, true), Looks::default());
        let two = [("r_20260102_b.csv", 1), ("r_20260102_a.csv", 1)];
        looks.look(&feed, &listing(&two[..1]), Duration::ZERO);
        let look = looks.look(&feed, &listing(&two), Duration::from_secs(30));
        assert_eq!((look.arrivals.len(), look.waiting), (0, 1), "one of them is not complete");
        let look = looks.look(&feed, &listing(&two), Duration::from_secs(60));
        let files: Vec<&str> = look.arrivals[0].files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!((look.arrivals.len(), files), (1, vec!["r_20260102_a.csv", "r_20260102_b.csv"]));
        looks.taken(&look.arrivals[0]);
        assert!(looks.look(&feed, &listing(&two), Duration::from_secs(61)).arrivals.is_empty());
        let three = [two[0], two[1], ("r_20260102_c.csv", 1)];
        looks.look(&feed, &listing(&three), Duration::from_secs(62));
        let look = looks.look(&feed, &listing(&three), Duration::from_secs(92));
        assert_eq!(look.arrivals[0].files.len(), 3, "the date is delivered again, whole");
    }

    #[test]
    fn what_an_earlier_life_took_is_not_read() {
        let feed = feed("*", Complete::Stable(Duration::ZERO), false);
        let files = listing(&[("a", 1), ("b", 1)]);
        let taken = files.files.iter().map(|file| Taken { name: file.name.clone(), print: file.print.clone() });
        let mut looks = Looks::remembering(taken.take(1));
        assert_eq!(names(&looks.look(&feed, &files, Duration::ZERO)), ["b"]);
    }
}
