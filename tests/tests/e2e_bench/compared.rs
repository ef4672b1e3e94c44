//! `quoth bench compare` on documents as runs write them: what it says last, and what it exits with.

use std::path::PathBuf;
use std::process::Command;

use quoth_bench::outcome::Outcome;
use quoth_bench::testing::sample;
use quoth_tests::process::binary;
use tempfile::TempDir;

/// The exit code, and all that was told.
fn compared(before: &Outcome, after: &Outcome) -> (Option<i32>, String) {
    let dir = TempDir::new().expect("a folder");
    let file = |name: &str, outcome: &Outcome| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, serde_json::to_string(outcome).expect("a document")).expect("it is written");
        path
    };
    let files = [file("before.json", before), file("after.json", after)];
    let output =
        Command::new(binary("quoth")).args(["bench", "compare"]).args(files).output().expect("quoth runs");
    let told = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(told).expect("text"))
}

/// The server's p50 of deliveries, in each round.
fn with_p50(rounds: [f64; 5]) -> Outcome {
    let mut outcome = sample();
    for (round, us) in outcome.systems[0].rounds.iter_mut().zip(rounds) {
        round.latencies.get_mut("delivery").expect("deliveries").p50_us = us;
    }
    outcome
}

#[test]
fn each_verdict_has_its_exit_code_and_its_last_line() {
    let before = with_p50([1_000.0, 1_100.0, 1_200.0, 1_300.0, 3_000.0]);
    assert_eq!(compared(&before, &before).0, Some(0));
    // 42 times as slow, and each round another time.
    let slow = with_p50([9_000.0, 30_000.0, 50_400.0, 90_000.0, 400_000.0]);
    let (code, told) = compared(&before, &slow);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("\nWORSE by more than a factor of 1.10: quoth delivery p50"), "{told}");
    let wide = with_p50([1_000.0, 1_800.0, 2_400.0, 2_900.0, 3_100.0]);
    let (code, told) = compared(&before, &wide);
    assert_eq!(code, Some(3), "{told}");
    let last = told.split("\nnothing is certainly worse").nth(1).expect(&told);
    assert!(last.contains("UNDECIDED") && last.trim_end().ends_with("quoth delivery p50"), "{told}");
    let mut other = before.clone();
    other.profile["shape"]["rate_per_s"] = 5.into();
    let (code, told) = compared(&before, &other);
    assert!(code == Some(2) && told.contains("different loads"), "{told}");
}

#[test]
fn a_busy_machine_is_no_regression_where_no_floor_tells_it_from_the_server() {
    let with = |us: f64, others_cpu: f64| {
        let mut outcome = with_p50([us; 5]);
        outcome.systems.truncate(1);
        outcome.surroundings.others_cpu = Some(others_cpu);
        outcome
    };
    assert_eq!(compared(&with(1_000.0, 0.0), &with(2_000.0, 0.0)).0, Some(1));
    let (code, told) = compared(&with(1_000.0, 0.0), &with(2_000.0, 1.2));
    let in_words = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(code, Some(3), "{told}");
    let why = "UNDECIDED: other programs kept 1.20 of 2 processors busy during the later run, and no floor tells that from the server: \
               quoth delivery p50; measure on a quiet machine";
    assert!(in_words.contains(why) && !told.contains("WORSE"), "{told}");
}

#[test]
fn runs_of_a_single_round_are_undecided_and_it_is_said_what_to_do() {
    let single = |us: f64| {
        let mut outcome = with_p50([us; 5]);
        outcome.systems.iter_mut().for_each(|system| system.rounds.truncate(1));
        outcome
    };
    for after in [single(1_000.0), single(42_000.0)] {
        let (code, told) = compared(&single(1_000.0), &after);
        assert_eq!(code, Some(3), "{told}");
        assert!(
            !told.contains("WORSE") && told.trim_end().ends_with("measure both with --rounds 5"),
            "{told}"
        );
    }
}

#[test]
fn help_says_the_rule() {
    let output =
        Command::new(binary("quoth")).args(["bench", "compare", "--help"]).output().expect("quoth runs");
    let told = String::from_utf8(output.stdout).expect("text");
    let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["undecided", "exit", "3", "lie apart", "fewer than three rounds", "--rounds 5"] {
        assert!(told.to_lowercase().contains(part), "no {part}: {told}");
    }
}
