//! Which topic of several with one name it is.
use super::incarnation;

#[rstest::rstest]
#[case::nothing_is_known(vec![], vec![], 10, 0)]
#[case::the_first(vec![Some(5)], vec![], 10, 0)]
#[case::made_anew_and_shorter(vec![Some(99)], vec![], 50, 1)]
#[case::its_second_has_grown_past_the_first(vec![Some(99), Some(49)], vec![], 500, 1)]
#[case::its_second_was_made_anew(vec![Some(99), Some(499)], vec![], 20, 2)]
#[case::outlived_while_it_was_read(vec![Some(5)], vec![0], 10, 1)]
#[case::outlived_before_a_commit(vec![], vec![0], 10, 1)]
#[case::the_second_outlived(vec![Some(5), Some(3)], vec![1], 10, 2)]
fn a_topic_without_an_id_is_told_from_those_before_it(
    #[case] committed: Vec<Option<i64>>,
    #[case] replaced: Vec<u32>,
    #[case] end: i64,
    #[case] expected: u32,
) {
    let known = |number: u32| {
        let last = usize::try_from(number).ok().and_then(|n| committed.get(n).copied()).flatten();
        (replaced.contains(&number), vec![last])
    };
    assert_eq!(incarnation(&[(0, end)], known), expected);
}
