//! The index in memory and spilled, and the hashes' promises.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

use arrow::array::{Float64Array, Int64Array, StringViewArray};
use vitalake_runtime::disk::CrashDisk;

use super::*;

const HOUR: i64 = 3_600_000_000;

fn index(keys_in_memory_max: usize, horizon_hours: u64) -> DuplicateIndex {
    let disk = Arc::new(CrashDisk::new(1));
    let limits = DuplicateLimits { horizon: Duration::from_secs(horizon_hours * 3600), keys_in_memory_max };
    DuplicateIndex::new(disk, PathBuf::from("/data/keys/x"), limits).unwrap()
}

#[test]
fn duplicates_and_conflicts_are_found_in_a_batch_and_across() {
    let mut index = index(1000, 24);
    use Verdict::{Conflict, Duplicate, New};
    assert_eq!(index.check(&[1, 2, 1, 2], &[10, 20, 10, 21], &[0; 4]).unwrap(), [New, New, Duplicate, Conflict]);
    assert_eq!(index.check(&[2, 3, 1], &[20, 30, 11], &[1; 3]).unwrap(), [Duplicate, New, Conflict]);
}

#[test]
fn a_key_past_the_horizon_is_new_again() {
    let mut index = index(1000, 24);
    index.check(&[1], &[10], &[0]).unwrap();
    assert_eq!(index.check(&[1], &[10], &[24 * HOUR]).unwrap(), [Verdict::Duplicate]);
    assert_eq!(index.check(&[1], &[10], &[24 * HOUR + 1]).unwrap(), [Verdict::New]);
    assert_eq!(index.check(&[1], &[10], &[48 * HOUR]).unwrap(), [Verdict::Duplicate]);
    assert_eq!(index.known_since_us(), Some(24 * HOUR));
}

#[test]
fn what_was_spilled_is_still_known_and_goes_with_the_horizon() {
    let mut index = index(100, 2);
    let mix = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for hour in 0..5 {
        let keys: Vec<u64> = (0..1000).map(|n| mix(hour * 1000 + n)).collect();
        let values: Vec<u64> = keys.iter().map(|k| k ^ 5).collect();
        let times = vec![hour as i64 * HOUR; 1000];
        assert!(index.check(&keys, &values, &times).unwrap().iter().all(|v| *v == Verdict::New));
        assert!(index.check(&keys, &values, &times).unwrap().iter().all(|v| *v == Verdict::Duplicate));
        assert!(index.check(&keys, &keys, &times).unwrap().iter().all(|v| *v == Verdict::Conflict));
        assert!(index.recent.len() < 100);
    }
    // A run goes as a whole, when its newest key is past the horizon.
    index.check(&[mix(9_999)], &[0], &[20 * HOUR]).unwrap();
    index.finish_spilling().unwrap();
    while index.merging.is_some() {
        index.finish_merging().unwrap();
    }
    index.sweep();
    assert_eq!(index.len(), 1, "the keys of the first five hours are gone");
}

#[test]
fn what_an_earlier_process_spilled_is_removed() {
    let disk: Arc<dyn Disk> = Arc::new(CrashDisk::new(1));
    let folder = PathBuf::from("/data/keys/x");
    let limits = DuplicateLimits { keys_in_memory_max: 10, ..DuplicateLimits::default() };
    let mut index = DuplicateIndex::new(Arc::clone(&disk), folder.clone(), limits).unwrap();
    index.check(&(0..100).collect::<Vec<_>>(), &[0; 100], &[0; 100]).unwrap();
    index.finish_spilling().unwrap();
    assert!(!disk.list(&folder).unwrap().is_empty());
    drop(index);
    let index = DuplicateIndex::new(Arc::clone(&disk), folder.clone(), limits).unwrap();
    assert!(index.is_empty() && disk.list(&folder).unwrap().is_empty());
}

#[test]
fn runs_are_merged_and_new_keys_hardly_read_them() {
    let mix = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let disk: Arc<dyn Disk> = Arc::new(CrashDisk::new(1));
    let folder = PathBuf::from("/data/keys/x");
    let limits = DuplicateLimits { keys_in_memory_max: 2_000, ..DuplicateLimits::default() };
    let mut index = DuplicateIndex::new(Arc::clone(&disk), folder.clone(), limits).unwrap();
    for step in 0..200_u64 {
        let keys: Vec<u64> = (0..1_000).map(|n| mix(step * 1_000 + n)).collect();
        assert!(index.check(&keys, &keys, &[0; 1_000]).unwrap().iter().all(|v| *v == Verdict::New));
        index.finish_spilling().unwrap();
        while index.merging.is_some() {
            index.finish_merging().unwrap();
        }
    }
    assert_eq!(index.len(), 200_000);
    assert!(index.runs.len() <= 3 * MERGED_RUNS, "{} runs", index.runs.len());
    let known = index.check(&[mix(5), mix(150_000)], &[mix(5), 0], &[0; 2]).unwrap();
    assert_eq!(known, [Verdict::Duplicate, Verdict::Conflict]);
    let new = (1_000_000..1_020_000).map(mix);
    let reads: usize = new.map(|key| index.runs.iter().filter(|run| run.may_hold(key)).count()).sum();
    assert!(reads < 20_000 * index.runs.len() / 500, "{reads} blocks are read for 20,000 new keys");
    assert_eq!(disk.list(&folder).unwrap().len(), index.runs.len(), "what was merged is removed");
}

#[test]
fn a_merged_run_holds_no_key_past_the_horizon() {
    let mix = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut index = index(20, 2);
    for step in 0..64_u64 {
        let keys: Vec<u64> = (0..10).map(|n| mix(step * 10 + n)).collect();
        index.check(&keys, &keys, &[step as i64 * HOUR / 4; 10]).unwrap();
        index.finish_spilling().unwrap();
        while index.merging.is_some() {
            index.finish_merging().unwrap();
        }
    }
    index.sweep();
    assert!(index.len() <= 400, "{} keys are kept for a horizon of 80", index.len());
    let young = mix(63 * 10);
    assert_eq!(
        index.check(&[young, mix(0)], &[young, 0], &[16 * HOUR; 2]).unwrap(),
        [Verdict::Duplicate, Verdict::New]
    );
}

fn batch(texts: Vec<Option<&str>>, numbers: Vec<Option<i64>>, reals: Vec<Option<f64>>) -> RecordBatchOf {
    use arrow::array::ArrayRef;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("t", Arc::new(texts.into_iter().collect::<StringViewArray>())),
        ("n", Arc::new(numbers.into_iter().collect::<Int64Array>())),
        ("r", Arc::new(reals.into_iter().collect::<Float64Array>())),
    ];
    arrow::array::RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

type RecordBatchOf = arrow::array::RecordBatch;

#[test]
fn what_differs_hashes_differently() {
    let texts = vec![None, Some(""), Some("a"), Some("aaaaaaaa"), Some("aaaaaaaab"), Some("0"), Some("a\0")];
    let numbers: Vec<Option<i64>> = vec![Some(0); 7];
    let (keys, _) = RowHasher::new(vec![0, 1], vec![]).hash(&batch(texts, numbers, vec![None; 7])).unwrap();
    let distinct: std::collections::HashSet<u64> = keys.iter().copied().collect();
    assert_eq!(distinct.len(), 7);
    let (keys, _) = RowHasher::new(vec![1], vec![])
        .hash(&batch(vec![None; 3], vec![None, Some(0), Some(1)], vec![None; 3]))
        .unwrap();
    assert!(keys[0] != keys[1] && keys[1] != keys[2]);
    let (swapped, _) =
        RowHasher::with_seed(vec![0, 1], vec![], 7).hash(&batch(vec![Some("a")], vec![None], vec![None])).unwrap();
    let (other, _) =
        RowHasher::with_seed(vec![1, 0], vec![], 7).hash(&batch(vec![Some("a")], vec![None], vec![None])).unwrap();
    assert_ne!(swapped, other);
}

#[test]
fn equal_numbers_hash_equally() {
    let reals = vec![Some(0.0), Some(-0.0), Some(f64::NAN), Some(-f64::NAN)];
    let (keys, values) =
        RowHasher::with_seed(vec![2], vec![2], 7).hash(&batch(vec![None; 4], vec![None; 4], reals)).unwrap();
    assert!(keys[0] == keys[1] && keys[2] == keys[3] && keys[0] != keys[2]);
    assert_eq!(keys, values);
}

#[test]
fn hashes_of_many_keys_do_not_meet() {
    let numbers: Vec<Option<i64>> = (0..100_000).map(Some).collect();
    let (keys, _) =
        RowHasher::new(vec![1], vec![]).hash(&batch(vec![None; 100_000], numbers, vec![None; 100_000])).unwrap();
    let distinct: std::collections::HashSet<u64> = keys.iter().copied().collect();
    assert_eq!(distinct.len(), 100_000);
    let low: std::collections::HashSet<u64> = keys.iter().map(|k| k & 0xffff).collect();
    assert!(low.len() > 50_000, "the low bits are spread: {}", low.len());
}

proptest::proptest! {
    /// The same rows, however they are cut and however much fits into memory: what is kept is what SELECT DISTINCT
    /// keeps, but that of several values for one key the first is kept and the others are conflicts.
    #[test]
    fn any_cut_keeps_what_select_distinct_keeps(
        rows in proptest::collection::vec((0..40_u64, 0..3_u64), 0..200),
        cut in 1..50_usize,
        keys_in_memory_max in 1..60_usize,
    ) {
        let mix = |n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut index = index(keys_in_memory_max, 24);
        let mut known: std::collections::HashMap<u64, u64> = std::collections::HashMap::new();
        for part in rows.chunks(cut) {
            let keys: Vec<u64> = part.iter().map(|(key, _)| mix(*key)).collect();
            let values: Vec<u64> = part.iter().map(|(_, value)| *value).collect();
            let verdicts = index.check(&keys, &values, &vec![7; part.len()]).unwrap();
            for ((key, value), verdict) in part.iter().zip(verdicts) {
                let wanted = match known.get(key) {
                    None => Verdict::New,
                    Some(first) if first == value => Verdict::Duplicate,
                    Some(_) => Verdict::Conflict,
                };
                known.entry(*key).or_insert(*value);
                proptest::prop_assert_eq!(verdict, wanted);
            }
        }
    }
}
