//! Increments that are processed as one: what came until an epoch of the input ends, or until it is much.
//!
//! For models each of whose runs costs as much as many rows, as on a Spark. Invariant: increments leave in their order,
//! each of their rows and files once, and with its end an epoch's are all gone.

use std::collections::VecDeque;

use vitalake_lake::Increment;

/// Bytes of rows, or of files, that are processed before their epoch ends.
const BYTES_MAX: u64 = 64 << 20;

/// What has come and is not processed.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    increments: VecDeque<Increment>,
    /// Of the last one.
    bytes: u64,
}

impl Gathered {
    pub(super) fn is_empty(&self) -> bool {
        self.increments.is_empty()
    }

    pub(super) fn push(&mut self, increment: Increment) {
        let bytes = bytes(&increment);
        match self.increments.back_mut() {
            Some(last) if can_follow(last, &increment) && self.bytes < BYTES_MAX => {
                let Increment { rows, files, seal, through, version, .. } = increment;
                last.version = last.version.or(version);
                (last.seal, last.through) = (seal, through);
                last.rows.extend(rows);
                last.files.extend(files);
                self.bytes += bytes;
            }
            _ => {
                self.increments.push_back(increment);
                self.bytes = bytes;
            }
        }
    }

    /// The first that nothing more can come to.
    pub(super) fn ripe(&mut self) -> Option<Increment> {
        let first = self.increments.front()?;
        let is_last = self.increments.len() == 1;
        let may_grow = is_last && first.seal.is_none() && first.removed.is_empty() && self.bytes < BYTES_MAX;
        if may_grow { None } else { self.increments.pop_front() }
    }

    /// The first, whatever may still come.
    pub(super) fn take(&mut self) -> Option<Increment> {
        self.increments.pop_front()
    }
}

/// Whether two increments are the same as one.
fn can_follow(last: &Increment, next: &Increment) -> bool {
    let takes_away = !last.removed.is_empty() || !next.removed.is_empty();
    let is_mixed =
        (!last.files.is_empty() && !next.rows.is_empty()) || (!last.rows.is_empty() && !next.files.is_empty());
    let one_version = last.version == next.version || last.is_empty() || next.is_empty();
    last.seal.is_none() && !takes_away && !is_mixed && one_version
}

fn bytes(increment: &Increment) -> u64 {
    let rows = increment.rows.iter().map(|batch| batch.get_array_memory_size() as u64).sum::<u64>();
    rows + increment.files.iter().map(|file| file.size_bytes()).sum::<u64>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, RecordBatch};
    use vitalake_lake::Seal;

    use super::*;

    fn at(number: u64) -> Increment {
        let mut increment = Increment::default();
        increment.through.0 = number;
        increment
    }

    fn rows(number: u64, version: Option<i64>) -> Increment {
        let column: ArrayRef = Arc::new(Int32Array::from(vec![i32::try_from(number).unwrap()]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        Increment { rows: vec![batch], version, ..at(number) }
    }

    fn ended(number: u64) -> Increment {
        let increment = at(number);
        let seal = Arc::new(Seal::committed(1, increment.through, 1));
        Increment { seal: Some(seal), ..increment }
    }

    #[test]
    fn an_epoch_is_one_increment() {
        let mut gathered = Gathered::default();
        for number in 1..4 {
            gathered.push(rows(number, None));
            assert!(gathered.ripe().is_none());
        }
        gathered.push(ended(4));
        gathered.push(rows(5, None));
        let epoch = gathered.ripe().unwrap();
        assert_eq!((epoch.rows.len(), epoch.through.0), (3, 4));
        assert!(epoch.seal.is_some());
        assert!(gathered.ripe().is_none());
        assert_eq!(gathered.take().unwrap().rows.len(), 1);
        assert!(gathered.is_empty());
    }

    #[test]
    fn what_took_rows_away_and_what_has_another_version_stand_alone() {
        let mut gathered = Gathered::default();
        gathered.push(rows(1, Some(3)));
        gathered.push(rows(2, Some(4)));
        assert_eq!(gathered.ripe().unwrap().version, Some(3));
        assert!(gathered.ripe().is_none());
        gathered.push(rows(3, Some(4)));
        assert_eq!(gathered.take().unwrap().rows.len(), 2);
    }
}
