//! Acks are checked where nobody reads: their numbers, and that what they stand for is there.

use super::{Bench, round};

/// Publishers alone.
const ALONE: &str = "about = \"\"\nkind = \"closed\"\nconversations = 4\nmembers = 1\nconnections = 2\nwindow = 8\n\
                     window_of = \"connection\"\nfloors = [\"relay\"]\n";

fn alone(more: &str) -> Bench {
    let mut bench = Bench::new(&["--duration", "0.5"]);
    let profile = bench.dir.path().join("alone.toml");
    std::fs::write(&profile, format!("{ALONE}{more}")).expect("a profile");
    bench.command.arg(profile);
    bench
}

#[test]
fn what_nobody_reads_is_read_back() {
    for more in ["", "transport = \"websocket\"\n"] {
        let (output, found) = alone(more).run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let check = round(&found, "quoth").check;
        assert!(check.acks > 0 && check.checked > 0 && check.is_clean(), "{check:?}");
        let relay = round(&found, "quinn relay").check;
        assert!(relay.acks > 0 && relay.checked == 0 && relay.is_clean(), "a relay keeps nothing: {relay:?}");
    }
    let mut bench = Bench::new_without_times(&["connect.toml", "--no-floors"]);
    let profile = bench.dir.path().join("connect.toml");
    let text = "about = \"\"\nkind = \"connect\"\nconversations = 2\nconnections = 7\n";
    std::fs::write(&profile, text).expect("a profile");
    bench.command.current_dir(bench.dir.path());
    let (output, found) = bench.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let check = round(&found, "quoth").check;
    assert_eq!((check.acks, check.checked, check.is_clean()), (14, 14, true), "{check:?}");
}

#[test]
fn an_ack_with_a_wrong_number_fails_the_run() {
    for fault in ["skip", "repeat"] {
        let mut bench = alone("");
        bench.command.env("QUOTH_BENCH_FAULT", fault);
        let (output, found) = bench.run();
        assert_eq!(output.status.code(), Some(1), "{fault}");
        let check = round(&found, "quinn relay").check;
        assert!(if fault == "skip" { check.gap } else { check.duplicate } > 0, "{fault}: {check:?}");
        assert!(round(&found, "quoth").check.is_clean(), "the server is not the relay");
    }
}
