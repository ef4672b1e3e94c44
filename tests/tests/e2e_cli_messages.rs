//! The command line with what becomes of messages, receipts, the inbox and retention, as people and scripts
//! meet it.

use std::process::{Command, Output};

use quoth_tests::process::{ServerProcess, binary};
use quoth_tests::running::Running;
use serde_json::Value;

struct Site {
    server: ServerProcess,
    _dir: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ServerProcess::start(&dir.path().join("data")).unwrap();
        Self { server, _dir: dir }
    }

    fn command(&self, user: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("quoth"));
        command.args(["--server", &self.server.address().to_string(), "--token"]);
        command.arg(self.server.token(user).unwrap()).arg("--ca").arg(self.server.ca_file());
        command.args(arguments);
        command
    }

    fn output(&self, user: &str, arguments: &[&str]) -> Output {
        self.command(user, arguments).output().unwrap()
    }

    /// What it prints, of a command that succeeds.
    fn says(&self, user: &str, arguments: &[&str]) -> String {
        let output = self.output(user, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The hint of a command that fails.
    fn fails(&self, user: &str, arguments: &[&str]) -> String {
        let output = self.output(user, arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        let notes = String::from_utf8(output.stderr).unwrap();
        let hint = notes
            .lines()
            .last()
            .and_then(|line| line.strip_prefix("hint: "))
            .unwrap_or_else(|| panic!("{notes}"));
        hint.to_owned()
    }

    /// The lines of history, without when it was.
    fn history(&self, user: &str, conversation: &str, arguments: &[&str]) -> Vec<String> {
        let arguments = [&["history", conversation], arguments].concat();
        let shown = |line: &str| match line.split_once(" [") {
            Some((seq, rest)) => format!("{seq} {}", rest.split_once("] ").unwrap().1),
            None => line.to_owned(),
        };
        self.says(user, &arguments).lines().map(shown).collect()
    }

    fn end(self) {
        assert!(self.server.terminate().unwrap().success());
    }
}

#[test]
fn what_becomes_of_messages_is_done_and_shown() {
    let site = Site::start();
    let tail = Running::start(site.command("bob", &["tail", "general", "--from", "1"]));
    assert_eq!(site.says("alice", &["send", "general", "helo"]), "stored in general as 1\n");
    // It is there from here on, and sees all the rest as it happens.
    tail.shows("<alice> helo");
    site.says("bob", &["send", "general", "--reply-to", "1", "--mention", "alice", "hi", "alice"]);
    site.says("alice", &["send", "general", "oops"]);
    let edited = "message 1 of general is edited\n";
    assert_eq!(site.says("alice", &["edit", "general", "1", "hello", "all"]), edited);
    let again = site.says("alice", &["edit", "general", "1", "hello", "all"]);
    assert_eq!(again, "message 1 of general is edited, as before\n");
    site.says("alice", &["react", "general", "2", "+1"]);
    site.says("bob", &["react", "general", "2", "+1"]);
    site.says("bob", &["react", "general", "2", "heart"]);
    site.says("bob", &["react", "general", "2", "heart", "--lift"]);
    assert_eq!(
        site.says("alice", &["revoke", "general", "3"]),
        "message 3 of general is gone for everybody\n"
    );
    assert_eq!(site.says("bob", &["hide", "general", "1"]), "message 1 of general is hidden from you\n");

    let seen = [
        "1 <alice> hello all (edited)",
        "2 <bob> (to message 1) hi alice {+1 2, yours}",
        "* 3 is gone",
        "4 * alice edited message 1: hello all",
        "5 * alice reacted to message 2: +1",
        "6 * bob reacted to message 2: +1",
        "7 * bob reacted to message 2: heart",
        "8 * bob took the reaction heart to message 2 back",
        "9 * alice took message 3 back",
    ];
    assert_eq!(site.history("alice", "general", &["--all"]), seen);
    assert_eq!(site.history("alice", "general", &["--around", "4", "-n", "4"]), seen[1..5]);
    assert_eq!(site.history("alice", "general", &["--since", "1h"]), seen);
    assert_eq!(site.history("alice", "general", &["--since", "1h", "--until", "2000-01-01"]), [""; 0]);
    assert_eq!(site.history("alice", "general", &["--until", "0s", "-n", "1"]), seen[8..]);
    for end in ["<bob> (to message 1) hi alice", "<alice> oops", "* alice edited message 1: hello all"] {
        tail.shows(end);
    }
    let json = site.says("bob", &["history", "general", "--first", "2", "--json"]);
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &lines[0]["edited"]["first"]["body"];
    assert_eq!((&lines[0]["body"], first), (&"hello all".into(), &"helo".into()));
    assert_eq!((&lines[1]["reply_to"], &lines[1]["mentions"][0]), (&1.into(), &"alice".into()));
    let reaction = serde_json::json!({"reaction": "+1", "count": 2, "mine": true});
    assert_eq!(lines[1]["reactions"], serde_json::json!([reaction]));

    assert!(site.fails("bob", &["edit", "general", "1", "mine"]).contains("only who has written a message"));
    assert!(site.fails("bob", &["revoke", "general", "1"]).contains("delete-any"));
    assert!(site.fails("alice", &["edit", "general", "3", "x"]).contains("quoth history"));
    assert!(site.fails("alice", &["react", "general", "77", "x"]).contains("quoth history"));

    site.says("alice", &["send", "general", "--expires", "1s", "short"]);
    let json = site.says("alice", &["history", "general", "-n", "1", "--json"]);
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = &lines[lines.len() - 2];
    let lives_ms = last["expires_ms"].as_u64().map(|ends| ends - last["time_ms"].as_u64().unwrap());
    // It may be over by now.
    assert!(lives_ms == Some(1_000) || last["gap"]["to"] == 10, "{last}");
    site.end();
}

#[test]
fn a_chat_shows_what_happens_and_takes_commands_for_it() {
    let site = Site::start();
    let mut alice = Running::start(site.command("alice", &["chat", "general"]));
    let mut bob = Running::start(site.command("bob", &["chat", "general"]));
    alice.types("helo");
    alice.shows("<alice> helo");
    bob.shows("<alice> helo");
    bob.types("/reply who is there?");
    alice.shows("<bob> (to alice: \"helo\") who is there?");
    bob.types("/react +1");
    alice.shows("* bob reacted to \"helo\": +1");
    bob.shows("<bob> (to alice: \"helo\") who is there?");
    bob.shows("* bob reacted to \"helo\": +1");
    alice.types("/edit hello");
    bob.shows("* alice edited \"helo\": hello");
    alice.shows("* alice edited \"helo\": hello");
    alice.types("/revoke");
    bob.shows("* alice took \"hello\" back");
    site.end();
}

#[test]
fn an_inbox_tells_what_waits_until_it_is_read() {
    let site = Site::start();
    let create = |title: &str| {
        let name = site.says("alice", &["conversation", "create", "--member", "bob", "--title", title]);
        name.trim().to_owned()
    };
    let (team, quiet) = (create("Team"), create("Quiet"));
    let watch = Running::start(site.command("bob", &["inbox", "--watch"]));
    watch.comes_to(&["\"Team\""], &["unread"]);
    site.says("alice", &["send", &team, "--mention", "bob", "are", "you", "there?"]);
    watch.comes_to(&["\"Team\"", "1 unread, 1 for you", "<alice> are you there?"], &[]);
    let seq = site.says("alice", &["history", &team, "-n", "1"]);
    let seq = seq.split_once(' ').unwrap().0;

    assert_eq!(site.says("bob", &["read", &team]), format!("{team} is read up to {seq}\n"));
    for asked in ["1", "999"] {
        assert_eq!(site.says("bob", &["read", &team, asked]), format!("{team} is read up to {seq}\n"));
    }
    assert_eq!(site.says("bob", &["read", "nowhere"]), "");
    watch.comes_to(&["\"Team\"", "<alice> are you there?"], &["unread"]);
    let receipts = site.says("alice", &["receipts", &team, seq]);
    assert_eq!(receipts, "1 received it, 1 of them read it\nbob  has read it\n");
    let json: Value = serde_json::from_str(&site.says("alice", &["receipts", &team, seq, "--json"])).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"delivered": 1, "read": 1, "users": [{"user": "bob", "read": true}]})
    );

    let notes = |arguments: &[&str]| {
        let arguments = [&["send", &quiet, "hi"], arguments].concat();
        let output = site.output("alice", &arguments);
        assert!(output.status.success(), "{output:?}");
        let notes = String::from_utf8(output.stderr).unwrap();
        // How the connection fares is no matter here: on a slow machine it is told.
        let notes = notes.lines().filter(|line| !line.starts_with("* "));
        notes.map(|line| format!("{line}\n")).collect::<String>()
    };
    assert_eq!(notes(&["--mention", "bob"]), "");
    let missing = notes(&["--mention", "bob", "--mention", "dave", "--reply-to", "77"]);
    let [answered, mentioned] = missing.lines().collect::<Vec<_>>()[..] else { panic!("{missing}") };
    assert!(answered.contains("77 is no message of"), "{missing}");
    assert!(mentioned.starts_with("dave is not in"), "{missing}");

    let stands = format!("in your inbox {quiet} is");
    assert_eq!(site.says("bob", &["pin", &quiet]), format!("{stands} pinned\n"));
    assert_eq!(site.says("bob", &["pin", &quiet]), format!("{stands} pinned, as before\n"));
    assert_eq!(site.says("bob", &["mute", &quiet]), format!("{stands} muted\n"));
    let inbox = site.says("bob", &["inbox"]);
    let first = inbox.lines().next().unwrap();
    assert!(first.contains("\"Quiet\"") && first.contains("(pinned, muted)"), "{inbox}");
    watch.comes_to(&["\"Quiet\"", "(pinned, muted)"], &[]);
    assert_eq!(site.says("bob", &["archive", &quiet]), format!("{stands} archived\n"));
    watch.comes_to(&["\"Quiet\"", "(pinned, archived, muted)"], &[]);
    assert!(!site.says("bob", &["inbox"]).contains("Quiet"));
    let json = site.says("bob", &["inbox", "--archived", "--json"]);
    let row: Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((&row["archived"], &row["pinned"]), (&true.into(), &true.into()));
    site.says("bob", &["archive", &quiet, "--lift"]);
    assert!(site.says("bob", &["inbox", "--all"]).contains("Quiet"));
    assert!(site.fails("bob", &["pin", "notes/alice"]).contains("quoth inbox"));
    site.end();
}

#[test]
fn how_long_messages_are_kept_is_said_and_told() {
    let site = Site::start();
    let name = site.says("alice", &["conversation", "create", "--member", "bob"]);
    let name = name.trim();
    assert!(site.says("bob", &["retention", name]).contains("kept for ever, by the operator's rules"));
    assert!(site.fails("bob", &["retention", name, "--count", "2"]).contains("owners and admins"));
    for text in ["one", "two", "three"] {
        site.says("alice", &["send", name, text]);
    }
    let bounds = ["retention", name, "--age", "1d", "--count", "2"];
    let kept = |kept: &str, gone: &str| {
        format!("what is said in {name} {kept} for 1 day, up to 2 events: 5 events ({gone}")
    };
    let preview = site.says("alice", &[&bounds[..], &["--dry-run"]].concat());
    let gone = preview.strip_prefix(&kept("would be kept", "")).and_then(|rest| rest.split_once(')'));
    let (bytes, rest) = gone.unwrap_or_else(|| panic!("{preview}"));
    assert!(
        rest.starts_with(" would be gone for good by that") && rest.ends_with("nothing was changed\n"),
        "{rest}"
    );
    assert!(site.says("bob", &["retention", name]).contains("kept for ever"), "nothing was changed");
    let set = site.says("alice", &bounds);
    assert!(set.starts_with(&kept("is kept", &format!("{bytes}) are gone for good by that"))), "{set}");
    assert_eq!(
        site.says("alice", &bounds),
        format!("what is said in {name} is kept for 1 day, up to 2 events, as before\n")
    );
    let told = format!("{name} is kept for 1 day, up to 2 events, as set for it\n");
    assert_eq!(site.says("bob", &["retention", name]), told);
    let json: Value = serde_json::from_str(&site.says("bob", &["retention", name, "--json"])).unwrap();
    assert_eq!(json, serde_json::json!({"age_s": 86_400, "count": 2, "bytes": 0, "own": true}));
    let history = site.history("bob", name, &["--all"]);
    assert_eq!(history[..2], ["* 1 to 5 are gone", "6 <alice> three"], "{history:?}");
    assert_eq!(history.len(), 3);
    for range in [&[][..], &["--around", "6"], &["--since", "1h"], &["--before", "8"]] {
        assert_eq!(site.history("bob", name, range), history, "{range:?}");
    }
    assert_eq!(site.history("bob", name, &["--before", "3"]), ["* 1 to 2 are gone"]);
    assert_eq!(site.history("bob", name, &["-n", "1"]), history[2..], "nobody has asked for what is gone");
    let json = site.says("bob", &["history", name, "--json"]);
    let end: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    let told = serde_json::json!({"from": 1, "to": 7, "floor": 6, "head": 7, "gaps": 1, "complete": false});
    assert_eq!(end, serde_json::json!({"history": told}));
    let shown = site.says("bob", &["conversation", "show", name]);
    assert!(
        shown.contains("what is said there is kept for 1 day, up to 2 events, as set for it\n"),
        "{shown}"
    );
    assert!(site.says("alice", &["retention", name, "--for-ever"]).contains("kept for ever"));
    let back = site.says("alice", &["retention", name, "--by-class", "--json"]);
    let back: Value = serde_json::from_str(&back).unwrap();
    assert_eq!((&back["own"], &back["gone_events"]), (&false.into(), &0.into()), "{back}");
    assert!(site.says("bob", &["retention", name]).contains("kept for ever, by the operator's rules"));
    // What goes by itself is told where it is read.
    site.says("alice", &["send", name, "for a while", "--expires", "1h"]);
    assert!(site.says("bob", &["history", name]).contains("> for a while (until 20"));
    assert!(
        site.fails("bob", &["retention", "notes/alice"])
            .contains("there is no notes/alice, or you are not in it")
    );
    site.end();
}

#[test]
fn without_members_there_are_receipts_and_retention_and_no_inbox() {
    let site = Site::start();
    site.says("alice", &["send", "general", "hello"]);
    assert_eq!(site.says("bob", &["read", "general"]), "general is read up to 1\n");
    assert_eq!(
        site.says("alice", &["receipts", "general", "1"]),
        "1 received it, 1 of them read it\n",
        "and not who"
    );
    let kept = "general is kept for ever, by the operator's rules\n";
    assert_eq!(site.says("bob", &["retention", "general"]), kept);
    let shown = site.says("bob", &["conversation", "show", "general"]);
    assert!(shown.starts_with("general  without members\n"), "{shown}");
    assert!(site.fails("bob", &["pin", "general"]).contains("has no members"));
    let empty = String::from_utf8(site.output("bob", &["inbox"]).stderr).unwrap();
    assert!(empty.contains("your inbox is empty") && empty.contains("has no members"), "{empty}");
    let refused = site.output("bob", &["retention", "general", "--count", "2"]);
    let refused = (refused.status.code(), String::from_utf8(refused.stderr).unwrap());
    assert!(refused.0 == Some(1) && refused.1.contains("this conversation has no members"), "{refused:?}");
    site.end();
}
