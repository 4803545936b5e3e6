//! A verdict on texts that costs more than to know a text again, such as a pattern's: devices, units and states stand in
//! a column over and over.
//!
//! Pure. Invariant: only a text that a view holds whole is remembered, so that what is equal is the same text.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::each_text;

/// The longest text that stands in its view.
const INLINE_BYTES_MAX: u32 = 12;
/// Places in which texts are remembered, a power of two.
const PLACES_BITS: u32 = 11;
/// After so many texts that were asked about, it is seen whether to remember is worth its while.
const ASKED_AT_FIRST: usize = 2 << PLACES_BITS;

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Verdict {
    #[default]
    Unknown,
    Good,
    Bad,
}

/// The text that was asked for last of those that are remembered there, and the one before.
type Place = [(u128, Verdict); 2];

/// Calls `found` with the rows whose text is bad; false where the column is no text. A short text is asked about once for
/// as long as it is remembered; nothing is where hardly any comes again.
pub(super) fn each_text_once(array: &ArrayRef, bad: &dyn Fn(&str) -> bool, found: &mut dyn FnMut(usize)) -> bool {
    if array.data_type() != &DataType::Utf8View {
        return each_text(array, bad, found);
    }
    let texts = array.as_string_view();
    let mut memory = vec![[(0_u128, Verdict::Unknown); 2]; 1 << PLACES_BITS];
    let mut asked = 0;
    for (row, view) in texts.views().iter().enumerate().filter(|(row, _)| !texts.is_null(*row)) {
        if asked == ASKED_AT_FIRST && row < ASKED_AT_FIRST * 2 {
            memory.clear();
        }
        let mut ask = || {
            asked += 1;
            bad(texts.value(row))
        };
        if is_bad(*view, &mut ask, &mut memory) {
            found(row);
        }
    }
    true
}

fn is_bad(view: u128, ask: &mut dyn FnMut() -> bool, memory: &mut [Place]) -> bool {
    // The lowest four bytes are the length.
    let known = (view as u32 <= INLINE_BYTES_MAX).then(|| memory.get_mut(place(view))).flatten();
    let Some([last, before]) = known else { return ask() };
    let is_known = |(text, verdict): &(u128, Verdict)| *text == view && *verdict != Verdict::Unknown;
    if !is_known(last) {
        std::mem::swap(last, before);
        if !is_known(last) {
            *last = (view, if ask() { Verdict::Bad } else { Verdict::Good });
        }
    }
    last.1 == Verdict::Bad
}

/// Where a view is remembered: the upper bits of a product are those that all others have gone into.
fn place(view: u128) -> usize {
    let folded = (view as u64) ^ ((view >> 64) as u64).rotate_left(23);
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - PLACES_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use arrow_array::{StringArray, StringViewArray};
    use proptest::prelude::*;

    use super::*;

    fn bad_rows(array: &ArrayRef) -> (Vec<usize>, usize) {
        let (asked, mut rows) = (Cell::new(0), Vec::new());
        let bad = |text: &str| {
            asked.set(asked.get() + 1);
            text.len().is_multiple_of(3) || text.contains('x')
        };
        assert!(each_text_once(array, &bad, &mut |row| rows.push(row)));
        (rows, asked.get())
    }

    proptest! {
        #[test]
        fn rows_are_those_that_are_found_when_each_is_asked_about(
            texts in prop::collection::vec(prop::option::of("[a-cx]{0,3}|[a-cx]{11,14}|\u{20ac}{3,5}"), 0..200),
        ) {
            let views: ArrayRef = Arc::new(StringViewArray::from_iter(texts.iter().map(Option::as_deref)));
            let plain: ArrayRef = Arc::new(StringArray::from_iter(texts.iter().map(Option::as_deref)));
            prop_assert_eq!(bad_rows(&views).0, bad_rows(&plain).0);
        }
    }

    #[test]
    fn a_short_text_is_asked_about_once_and_a_long_one_each_time() {
        let texts = |texts: [&str; 4]| -> ArrayRef {
            Arc::new(StringViewArray::from_iter((0..4_000).map(|row| Some(texts[row % 4]))))
        };
        let (rows, asked) = bad_rows(&texts(["dev-1", "dev-2", "x", "twelve bytes"]));
        assert_eq!((rows.len(), asked), (2_000, 4));
        let (rows, asked) = bad_rows(&texts(["dev-1", "thirteen byte", "", "thirteen bytx"]));
        assert_eq!((rows.len(), asked), (2_000, 2_002));
    }

    #[test]
    fn where_no_text_comes_again_none_is_remembered_and_all_are_asked_about() {
        let texts = (0..20_000).map(|row| Some(if row < 15_000 { format!("t{row}") } else { "same".to_owned() }));
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter(texts));
        let plain: ArrayRef = Arc::new(StringArray::from_iter(texts.as_string_view().iter()));
        assert_eq!(bad_rows(&texts), bad_rows(&plain));
    }

    #[test]
    fn a_column_that_is_no_text_does_not_fit() {
        let numbers: ArrayRef = Arc::new(arrow_array::Int64Array::from(vec![1]));
        assert!(!each_text_once(&numbers, &|_| true, &mut |_| {}));
    }
}
