//! Holds by people, after the staged log beside which they were noted has been removed.
//!
//! Read from ops.gates when a life opens, before any gate decides. Invariant: a gate of which nobody can tell whether a
//! person holds it is held.

use vitalake_ops::record::{GateDecided, Recorder};
use vitalake_process::gate::{Decision, Gates};
use vitalake_runtime::error::in_full;

/// Holds again what a person held last.
pub(super) async fn hold_again(gates: &Gates, recorder: &Recorder) {
    let new = gates.without_notes();
    if new.is_empty() {
        return;
    }
    let decided = recorder.decisions_of_people().await;
    for dataset in new {
        let hold = match &decided {
            Ok(decided) => {
                let group = gates.published_with(&dataset);
                let group: Vec<String> = group.iter().map(|name| format!("serving.{name}")).collect();
                last_hold(decided, &format!("serving.{dataset}"), &group)
            }
            Err(error) => Some(Decision {
                by: "vitalake".to_owned(),
                reason: format!("nothing is staged, and nobody knows whether it was held: {}", in_full(error)),
            }),
        };
        let Some(hold) = hold else { continue };
        let by = hold.by.clone();
        match gates.hold(dataset.as_str(), hold).await {
            Ok(_) => tracing::warn!(
                dataset = format!("serving.{dataset}"),
                by,
                "what was staged is gone, and with it the note of a hold: it is held again, as ops.gates says"
            ),
            Err(error) => tracing::error!(
                dataset = format!("serving.{dataset}"),
                by,
                error = in_full(&error),
                "a hold of which ops.gates tells could not be renewed: hold it again"
            ),
        }
    }
}

/// The hold of a dataset after which nothing of its group was released.
fn last_hold(decided: &[GateDecided], dataset: &str, group: &[String]) -> Option<Decision> {
    let released = decided.iter().filter(|past| !past.is_hold && group.contains(&past.dataset));
    let released_us = released.map(|past| past.at_us).max();
    let hold = decided.iter().find(|past| past.is_hold && past.dataset == dataset)?;
    (Some(hold.at_us) > released_us).then(|| Decision { by: hold.by.clone(), reason: hold.reason.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(dataset: &str, is_hold: bool, at_us: i64) -> GateDecided {
        let (by, reason) = ("maria".to_owned(), "looks wrong".to_owned());
        GateDecided { dataset: dataset.to_owned(), is_hold, at_us, by, reason }
    }

    #[test]
    fn a_hold_counts_until_anything_of_its_group_was_released() {
        let group = ["serving.a".to_owned(), "serving.b".to_owned()];
        let of_a = |past: &[GateDecided]| last_hold(past, "serving.a", &group).is_some();
        let hold = decided("serving.a", true, 5);
        assert!(!of_a(&[]));
        assert!(of_a(std::slice::from_ref(&hold)));
        for (release, is_held) in [
            (decided("serving.a", false, 4), true),
            (decided("serving.a", false, 6), false),
            (decided("serving.b", false, 6), false),
            (decided("serving.c", false, 6), true),
        ] {
            assert_eq!(of_a(&[hold.clone(), release.clone()]), is_held, "{release:?}");
        }
    }
}
