//! Objects of several versions on their way, and the place that is reached when so many of them were taken.
//!
//! Pure. Invariant: a place is never past an object that was not taken, and never before one that was.

use std::collections::BTreeMap;

use super::place::Place;

/// Objects that are to be sent, and where each version among them ends.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) objects: Vec<String>,
    pub(super) bytes: usize,
    /// Each version with the number of objects through its end, and how many of its rows had been sent before.
    ends: BTreeMap<u64, (usize, usize)>,
}

impl Gathered {
    /// Adds a version's objects, but for those that had been sent before.
    pub(super) fn add(&mut self, version: u64, objects: Vec<String>, place: &Place) {
        let before = place.begun.filter(|(begun, _)| *begun == version).map_or(0, |(_, rows)| rows);
        let before = before.min(objects.len());
        self.bytes += objects.iter().map(String::len).sum::<usize>();
        self.objects.extend(objects.into_iter().skip(before));
        self.ends.insert(version, (self.objects.len(), before));
    }

    /// Moves a place on to after so many objects.
    pub(super) fn advance(&self, done: usize, place: &mut Place) {
        let mut begins = 0;
        for (version, (ends, before)) in &self.ends {
            if *ends <= done {
                (place.through, place.begun) = (*version, None);
            } else {
                if done > begins {
                    place.begun = Some((*version, before + done - begins));
                }
                return;
            }
            begins = *ends;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(through: u64, begun: Option<(u64, usize)>) -> Place {
        Place { table: "t".to_owned(), through, begun }
    }

    #[test]
    fn a_place_moves_on_by_versions_and_by_rows_within_one() {
        let (mut gathered, before) = (Gathered::default(), place(3, Some((4, 2))));
        let objects = |rows: usize| (0..rows).map(|row| row.to_string()).collect::<Vec<_>>();
        gathered.add(4, objects(5), &before);
        gathered.add(6, Vec::new(), &before);
        gathered.add(9, objects(2), &before);
        assert_eq!(gathered.objects, ["2", "3", "4", "0", "1"], "what had been sent of the fourth is left out");
        let after = |done: usize| {
            let mut now = before.clone();
            gathered.advance(done, &mut now);
            now
        };
        let wanted = [
            before.clone(),
            place(3, Some((4, 3))),
            place(3, Some((4, 4))),
            place(6, None),
            place(6, Some((9, 1))),
            place(9, None),
        ];
        assert_eq!((0..=5).map(after).collect::<Vec<_>>(), wanted);
    }
}
