//! Values counted up in the order in which they first come: the table behind [`super::keys`].
//!
//! Invariant: a value has one index, and indices have no gap.

use std::hash::{BuildHasher, RandomState};

const EMPTY: u32 = u32::MAX;
/// So many rows are looked for at a time.
const CHUNK: usize = 512;

/// Distinct 128-bit values in the order in which they came, and where each is.
#[derive(Debug)]
pub(super) struct Numbers {
    /// Indices into `values` by hash; at most an eighth is taken, so that a look-up mostly meets its own.
    places: Vec<u32>,
    values: Vec<u128>,
    seeds: (u64, u64),
}

impl Numbers {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self { places: vec![EMPTY; 4096], values: Vec::new(), seeds: (random.hash_one(1), random.hash_one(2)) }
    }

    fn place(&self, value: u128) -> usize {
        let (low, high) = (value as u64 ^ self.seeds.0, (value >> 64) as u64 ^ self.seeds.1);
        let product = u128::from(low) * u128::from(high);
        (product as u64 ^ (product >> 64) as u64) as usize & (self.places.len() - 1)
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.values.capacity() * 16 + self.places.capacity() * 4
    }

    /// All values by their index; nothing is left.
    pub(super) fn take(&mut self) -> Vec<u128> {
        std::mem::replace(self, Self::new()).values
    }

    /// The value's index; a new one when it was not seen before.
    #[inline]
    pub(super) fn number(&mut self, value: u128) -> u32 {
        let mut place = self.place(value);
        loop {
            match self.places.get(place) {
                Some(&index) if index != EMPTY => {
                    if self.values.get(index as usize) == Some(&value) {
                        return index;
                    }
                    place = (place + 1) & (self.places.len() - 1);
                }
                _ => return self.add(place, value),
            }
        }
    }

    /// The indices of many values. Each is looked for at its first place alone, without a branch that the processor
    /// could guess wrong; the few that are elsewhere or new follow one by one.
    pub(super) fn number_all<T: Copy>(&mut self, items: &[T], value: impl Fn(T) -> u128, into: &mut Vec<u32>) {
        let (mut places, mut elsewhere) = ([0_usize; CHUNK], [0_usize; CHUNK]);
        for items in items.chunks(CHUNK) {
            for (place, item) in places.iter_mut().zip(items) {
                *place = self.place(value(*item));
            }
            let (from, mut count) = (into.len(), 0);
            into.extend(items.iter().zip(&places).enumerate().map(|(row, (item, place))| {
                let (index, value) = (self.places.get(*place).copied().unwrap_or(EMPTY), value(*item));
                if let Some(next) = elsewhere.get_mut(count) {
                    *next = row;
                }
                count += usize::from(self.values.get(index as usize).copied().unwrap_or(!value) != value);
                index
            }));
            for row in elsewhere.iter().take(count) {
                let (item, number) = (items.get(*row), into.get_mut(from + row));
                if let (Some(item), Some(number)) = (item, number) {
                    *number = self.number(value(*item));
                }
            }
        }
    }

    fn add(&mut self, place: usize, value: u128) -> u32 {
        let index = self.values.len() as u32;
        self.values.push(value);
        if let Some(empty) = self.places.get_mut(place) {
            *empty = index;
        }
        if self.values.len() * 8 > self.places.len() {
            self.grow();
        }
        index
    }

    fn grow(&mut self) {
        self.places = vec![EMPTY; self.places.len() * 2];
        for index in 0..self.values.len() {
            let mut place = self.place(self.values.get(index).copied().unwrap_or_default());
            while self.places.get(place).is_some_and(|taken| *taken != EMPTY) {
                place = (place + 1) & (self.places.len() - 1);
            }
            if let Some(empty) = self.places.get_mut(place) {
                *empty = index as u32;
            }
        }
    }
}
