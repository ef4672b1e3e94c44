//! What a run says of itself: what was spoken, what is not known, and which floors are none.

use quoth_bench::outcome::{Outcome, System};
use quoth_tests::process::ServerProcess;
use tempfile::TempDir;

use super::Bench;

fn system<'a>(found: &'a Outcome, name: &str) -> &'a System {
    found.systems.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no {name}"))
}

fn spoken(found: &Outcome, name: &str) -> String {
    system(found, name).link.as_ref().map_or_else(|| "no network".to_owned(), |link| link.told())
}

#[test]
fn the_relay_has_the_congestion_control_of_the_server() {
    for (control, told) in [("bbr", "QUIC with TLS, BBR"), ("cubic", "QUIC with TLS, CUBIC")] {
        let set = format!("server.congestion_control={control}");
        let (output, found) =
            Bench::of_pair("relay", &["--duration", "0.5", "--rate", "200", "--set", &set]).run();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!([spoken(&found, "quoth"), spoken(&found, "quinn relay")], [told; 2]);
        let table = String::from_utf8_lossy(&output.stdout);
        assert!(table.contains(&format!("floor; {told}; none: nothing is stored")), "{table}");
    }
    let (output, found) =
        Bench::of_pair("websocket", &["--duration", "0.5", "--rate", "200", "--transport", "websocket"])
            .run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(spoken(&found, "quoth").starts_with("WebSocket over TCP with TLS, "));
    assert!(spoken(&found, "websocket relay").starts_with("WebSocket over TCP without TLS, "));
}

#[test]
fn of_a_server_that_ran_already_nothing_is_made_up() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data).expect("a server");
    let run = |pid: &[&str]| {
        let mut bench = Bench::of_pair("append", &["--duration", "0.5", "--rate", "200"]);
        bench.command.arg("--client-file").arg(data.join("client.json")).args(pid);
        let html = bench.dir.path().join("report.html");
        bench.command.arg("--html").arg(&html);
        let output = bench.command.output().expect("quoth runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read = |name: &str| std::fs::read_to_string(bench.dir.path().join(name)).expect("it is written");
        let found: Outcome = serde_json::from_str(&read("found.json")).expect("an outcome");
        (String::from_utf8(output.stdout).expect("text"), read("report.html"), found)
    };
    let (table, html, found) = run(&[]);
    let at = found.server.ran_at.expect("it is told").to_string();
    assert_eq!(found.server.binary_sha256, None);
    assert_eq!(spoken(&found, "quoth"), "QUIC with TLS, congestion control unknown");
    assert!(system(&found, "quoth").durability.starts_with("stored"), "what it tells is told");
    let in_words = table.split_whitespace().collect::<Vec<_>>().join(" ");
    for told in [
        &format!("the server ran already at {at}:"),
        "the server's file system is unknown",
        "as it tells, its file unknown",
        "its program's file, its settings",
    ] {
        assert!(in_words.contains(told), "no {told}: {table}");
    }
    assert!(
        html.contains(&format!("the server ran already at {at}:")) && !table.contains("sha256"),
        "{table}"
    );
    let (table, _, found) = run(&["--server-pid", &server.pid().to_string()]);
    assert!(found.server.binary_sha256.is_some() && table.contains("as it tells, sha256 "), "{table}");
}

#[test]
fn a_disk_that_waited_is_a_doubtful_floor_wherever_it_is_shown() {
    let profile = "about = \"\"\nkind = \"open\"\nconversations = 1\nmembers = 2\nconnections = 2\nrate_per_s = 1000\n\
                   floors = [\"relay\", \"append\"]\n[goals]\n\
                   \"delivery p99: quoth over (quinn relay + append)\" = { at_most = 1000.0 }\n";
    let mut bench = Bench::new(&["--duration", "0.5"]);
    let path = bench.dir.path().join("both.toml");
    std::fs::write(&path, profile).expect("a profile");
    bench.command.arg(path).arg("--html").arg(bench.dir.path().join("report.html"));
    bench.command.env("QUOTH_BENCH_FAULT", "hold_up");
    let output = bench.command.output().expect("quoth runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| std::fs::read_to_string(bench.dir.path().join(name)).expect("it is written");
    let found: Outcome = serde_json::from_str(&read("found.json")).expect("an outcome");
    for ratio in &found.ratios {
        let stands_on_it = ratio.what.contains("append");
        // On a busy machine the bench may have been late as well, which is another doubt.
        let doubts_it = ratio.doubt.as_ref().is_some_and(|doubt| doubt.contains("of append is"));
        assert_eq!(doubts_it, stands_on_it, "{ratio:?}");
    }
    assert!(found.ratios.iter().filter(|ratio| ratio.doubt.is_some()).count() >= 2, "{:?}", found.ratios);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("append was held up") && !table.contains("reached"), "{table}");
    let html = read("report.html");
    let headline =
        html.split_once("At a glance").expect("a headline").1.split_once("</section>").expect("its end").0;
    assert!(headline.contains("append <em class=\"doubt\">doubtful</em>"), "{headline}");
    assert!(html.contains("append was held up"));
}
