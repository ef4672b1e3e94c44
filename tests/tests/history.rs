//! The history checker against histories that are right, and against the traces of bugs that are planted into
//! them.

use proptest::prelude::*;
use quoth_tests::history::generate::good;
use quoth_tests::history::plant::{Bug, plant};
use quoth_tests::history::{Step, Violation, check};

/// Several conversations, one after the other's steps.
fn history(seed: u64, actions: usize) -> Vec<Step> {
    let conversations = ["one", "two"].iter().zip(0..);
    conversations.flat_map(|(name, i)| good(name, seed ^ i, actions)).collect()
}

fn told(violations: &[Violation]) -> String {
    violations.iter().map(|violation| format!("\n  {violation}")).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_right_history_passes(seed: u64, actions in 0_usize..200) {
        let violations = check(&history(seed, actions));
        prop_assert!(violations.is_empty(), "{}", told(&violations));
    }

    #[test]
    fn every_planted_bug_is_found(seed: u64, actions in 80_usize..200, pick: usize) {
        let history = history(seed, actions);
        for bug in Bug::ALL {
            let broken = plant(&history, *bug, pick);
            prop_assert!(broken.is_some(), "{bug:?} has no place in a history of {} steps", history.len());
            let violations = check(&broken.unwrap_or_default());
            let is_found = violations.iter().any(|violation| violation.kind == bug.kind());
            prop_assert!(is_found, "{bug:?} is not called {:?}:{}", bug.kind(), told(&violations));
        }
    }
}
