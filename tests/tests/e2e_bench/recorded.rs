//! What a run records of itself: which server it was, with what asked for besides the profile, and what is
//! not held to goals then.

use std::process::Command;

use quoth_bench::outcome::Goal;
use quoth_tests::process::binary;

use super::{Bench, PAIR, round};

#[test]
fn a_report_says_which_server_was_measured_and_how() {
    let arguments = ["latency", "--duration", "0.5", "--rate", "200", "--seed", "7", "--no-floors"];
    let mut bench = Bench::new(&arguments);
    bench.command.args(["--set", "limits.connections_max=500"]);
    let (output, found) = bench.run();
    let table = String::from_utf8(output.stdout).expect("text");
    let version = found.server.version.expect("it tells one");
    let of_program = Command::new(binary("quoth-server")).arg("--version").output().expect("it runs");
    assert_eq!(format!("quoth-server {version}\n"), String::from_utf8(of_program.stdout).expect("text"));
    assert!(version.contains('+') && found.build.version.contains('+'), "{version} {}", found.build.version);
    let hash = found.server.binary_sha256.expect("its file is known");
    let of_file = Command::new("sha256sum").arg(binary("quoth-server")).output().expect("sha256sum");
    assert!(String::from_utf8_lossy(&of_file.stdout).starts_with(&hash), "{hash}");
    assert!(table.contains(&format!("built: server {version}, sha256 {}", &hash[..16])), "{table}");
    let told = &found.surroundings;
    assert!(
        told.load_average_begin.is_some() && told.steal.is_some() && told.others_cpu.is_some(),
        "{told:?}"
    );
    assert!(table.contains("machine: load average "), "{table}");
    let profile = &found.profile;
    assert_eq!(profile["seed"], 7);
    assert_eq!(profile["server_settings"], serde_json::json!(["limits.connections_max=500"]));
    assert_eq!(profile["overrides"], serde_json::json!(["--rate", "--duration", "--warm-up", "--set"]));
}

#[test]
fn nothing_is_held_to_a_goal_under_another_load() {
    let run = |load_of: &str, arguments: &[&str]| {
        let mut bench = Bench::of_pair("relay", arguments);
        let profile = bench.dir.path().join("pair.toml");
        // One that no busy machine makes doubtful.
        let goal = "\"datagrams for each delivery: quoth\" = { at_most = 1000.0 }\n";
        let text = std::fs::read_to_string(&profile).expect("a profile")
            + "warm_up_s = 0.5\nduration_s = 0.5\n[goals]\n"
            + load_of
            + goal;
        std::fs::write(&profile, text).expect("a profile");
        bench.command.args(["--duration", "0.5"]);
        let (output, found) = bench.run();
        let ratio = found.ratios.into_iter().find(|ratio| ratio.goal.is_some()).expect("a goal");
        assert_eq!(ratio.goal, Some(Goal::AtMost(1000.0)));
        (ratio.not_judged, String::from_utf8(output.stdout).expect("text"))
    };
    let (why, table) = run("", &[]);
    assert!(why.is_none() && table.contains("<= 1000: reached"), "{why:?} {table}");
    let (why, table) = run("", &["--rate", "300"]);
    let reason = "--rate changes the load that the goal is for";
    assert_eq!(why.as_deref(), Some(reason));
    assert!(table.contains(&format!("\nnot judged: {reason}\n")) && !table.contains("reached"), "{table}");
    let (why, table) = run("load_of = \"latency\"\n", &[]);
    let reason = "the goals are for the load of `latency`, and this one differs in duration_s (0.5, not 5), warm_up_s (0.5, not 1)";
    assert_eq!(why.as_deref(), Some(reason));
    assert!(
        table.contains("not judged: the goals are for the load") && !table.contains("reached"),
        "{table}"
    );
}

#[test]
fn a_load_of_another_size_is_played_in_that_size() {
    let size = ["--readers", "3", "--conversations", "2", "--rate", "200", "--duration", "0.5"];
    let mut bench = Bench::new(&["latency", "--no-floors"]);
    bench.command.args(size);
    let (output, found) = bench.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let played = ["conversations", "members", "connections"].map(|key| found.profile[key].clone());
    assert_eq!(played, [2, 4, 8].map(serde_json::Value::from));
    let about = "changed by --rate, --conversations, --readers: 2 conversations of 1 publisher and 3 readers, on 8 \
                 connections; 200 messages/s of 200 bytes";
    assert_eq!(found.profile_about, about);
    // 0.5 s of warm-up and 0.5 s that count, three readers for each message.
    assert_eq!(round(&found, "quoth").check.checked, 600);
}

#[test]
fn a_replay_is_recorded_and_has_all_floors() {
    let mut bench = Bench::of_pair("relay", &["--duration", "1", "--speed", "600"]);
    let profile = bench.dir.path().join("pair.toml");
    std::fs::write(&profile, format!("{PAIR}floors = [\"relay\", \"append\"]\n")).expect("a profile");
    let logs = bench.dir.path().join("logs");
    std::fs::create_dir(&logs).expect("a folder");
    let line = |i: u32| format!("[08:{:02}] <ada{}> line {i}\n", i / 10, i % 3);
    std::fs::write(logs.join("2004-12-10.raw.txt"), (0..150).map(line).collect::<String>()).expect("a log");
    bench.command.arg("--replay").arg(&logs);
    let (output, found) = bench.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8_lossy(&output.stdout).replace("\n  ", " ");
    assert!(table.contains("replay of 150 lines in 1 log of "), "{table}");
    assert!(table.contains("logs, 600 times as fast as they were said"), "{table}");
    let replay = &found.profile["replay"];
    assert_eq!((&replay["speed"], &replay["lines"]), (&600.0.into(), &150.into()), "{replay}");
    assert!(replay["folder"].as_str().is_some_and(|folder| folder.ends_with("logs")), "{replay}");
    let acks = |system| round(&found, system).latencies["ack"].count;
    assert!(acks("quoth") > 0);
    assert_eq!(acks("append"), acks("quoth"), "the disk has the same messages");
    assert!(found.ratios.iter().any(|ratio| ratio.what == "delivery p50: quoth over (quinn relay + append)"));
}
