//! The same on the command line.

use std::process::Command;

use quoth_tests::process::{ServerProcess, binary};
use quoth_tests::running::Running;

/// A server, and commands of its ready users.
struct World {
    server: ServerProcess,
    dir: tempfile::TempDir,
}

/// What a command has said.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    out: String,
    notes: String,
}

impl World {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { server: ServerProcess::start(&dir.path().join("data")).unwrap(), dir }
    }

    fn command(&self, user: &str, line: &str) -> Command {
        let mut command = Command::new(binary("quoth"));
        command.args(["--server", &self.server.address().to_string()]);
        command.args(["--token", &self.server.token(user).unwrap()]);
        command.arg("--ca").arg(self.server.ca_file()).args(line.split(' '));
        command
    }

    fn say(&self, user: &str, line: &str) -> Said {
        let output = self.command(user, line).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code(), out: text(output.stdout), notes: text(output.stderr) }
    }

    /// A command that goes well: what it prints.
    fn done(&self, user: &str, line: &str) -> String {
        let said = self.say(user, line);
        assert_eq!(said.code, Some(0), "{line}: {said:?}");
        said.out
    }

    /// A command that is refused: what it says.
    fn refused(&self, user: &str, line: &str) -> String {
        let said = self.say(user, line);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{line}: {said:?}");
        said.notes
    }
}

#[test]
fn a_group_is_made_filled_and_kept_in_order() {
    let world = World::start();
    assert_eq!(world.done("alice", "conversation create team --title Team"), "team\n");
    assert!(world.done("alice", "conversation create --channel --title News").starts_with("channel/"));
    let other = world.refused("bob", "conversation create team");
    assert!(other.contains("already_exists"), "{other}");
    let stranger = world.refused("bob", "conversation show team");
    assert!(stranger.contains("forbidden") && stranger.contains("hint: "), "{stranger}");

    let invitation = world.done("alice", "conversation invite team --for 1h --uses 1");
    let mut chat = Running::start(world.command("alice", "chat team"));
    chat.hears("* alice made an invitation for a member");
    let join = format!("conversation join team --invitation {}", invitation.trim());
    assert_eq!(world.done("bob", &join), "you are in team\n");
    assert_eq!(world.done("bob", &join), "you are in team, as before\n");
    chat.hears("* bob came with an invitation as member");
    assert_eq!(world.done("alice", "conversation role team bob admin"), "bob is admin of team\n");
    let slip = world.refused("alice", "conversation role team bbo admin");
    assert!(
        slip.contains("bbo is no member of team") && slip.contains("conversation add 'team' 'bbo'"),
        "{slip}"
    );
    assert!(!world.done("alice", "conversation members team").contains("bbo"));
    chat.hears("* alice made bob admin (member before)");
    assert_eq!(world.done("bob", "conversation add team carol"), "carol is member of team\n");
    chat.hears("* bob added carol as member");
    let members = world.done("alice", "conversation members team");
    let lines: Vec<&str> = members.lines().collect();
    assert_eq!(lines[0], "alice  owner, online");
    assert!(lines[1].starts_with("bob  admin, ") && lines[2] == "carol  member, never seen", "{members}");

    world.done("alice", "conversation slow-mode team 60s");
    world.done("alice", "conversation role team bob member");
    world.done("bob", "send team one");
    let slow = world.refused("bob", "send team two");
    assert!(slow.contains("slow_mode") && slow.contains("again in"), "{slow}");
    world.done("alice", "conversation mute team bob");
    let muted = world.refused("bob", "send team three");
    assert!(muted.contains("muted") && !muted.contains("again in"), "without an end: {muted}");
    // It is told in whole hours from two on, rounded up: of three the first one may pass meanwhile.
    world.done("alice", "conversation mute team bob --for 3h");
    assert!(world.refused("bob", "send team three").contains("again in 3 h"));
    let shown = world.done("bob", "conversation show team");
    assert_eq!(
        shown,
        "team  group \"Team\"\n3 members; you are member\nslow mode: each member writes once in 60 s\n\
         what is said there is kept for ever, by the operator's rules\n"
    );

    let tail = Running::start(world.command("bob", "tail team --last 1"));
    tail.hears("* alice muted bob until");
    assert_eq!(world.done("alice", "conversation remove team carol"), "carol is out of team\n");
    world.done("alice", "conversation add team carol");
    world.done("alice", "conversation ban team bob");
    let (code, notes) = tail.ends();
    assert!(code == Some(1) && notes.contains("forbidden"), "{notes}");
    chat.hears("* bob is out by a ban");
    assert!(world.refused("bob", &join).contains("forbidden"));
    let last = world.refused("alice", "conversation leave team");
    assert!(last.contains("last_owner"), "{last}");
    chat.types_no_more();
    assert_eq!(chat.ends().0, Some(0));
    assert!(world.server.terminate().unwrap().success());
}

#[test]
fn who_is_blocked_is_listed_and_gets_no_further() {
    let world = World::start();
    assert_eq!(world.done("bob", "block alice"), "alice is blocked\n");
    assert_eq!(world.done("bob", "block"), "alice\n");
    assert!(world.refused("alice", "conversation create --direct bob").contains("forbidden"));
    assert_eq!(world.done("bob", "block alice --lift"), "alice is not blocked any more\n");
    assert_eq!(world.done("bob", "block"), "");
    let direct = world.done("alice", "conversation create --direct bob");
    let list = world.done("bob", "conversation list");
    assert_eq!(list, format!("{}  with alice\n", direct.trim()));
    let json = world.done("bob", "conversation list --json");
    assert!(
        json.starts_with(&format!("{{\"conversation\":\"{}\",\"kind\":\"direct\"", direct.trim())),
        "{json}"
    );
    assert!(world.server.terminate().unwrap().success());
}

#[test]
fn what_goes_on_takes_the_token_that_its_file_has_by_then() {
    let world = World::start();
    let file = world.dir.path().join("token");
    std::fs::write(&file, world.server.token("alice").unwrap()).unwrap();
    let mut command = Command::new(binary("quoth"));
    command.args(["--server", &world.server.address().to_string(), "--ca"]).arg(world.server.ca_file());
    command.arg("--token-file").arg(&file).args(["tail", "general", "--last", "1"]);
    let tail = Running::start(command);
    world.done("bob", "send general one");
    tail.hears("<bob> one");
    std::fs::write(&file, world.server.token("bob").unwrap()).unwrap();
    let mut revoke = Command::new(binary("quoth"));
    revoke.arg("--client-file").arg(world.dir.path().join("data/client.json"));
    assert!(revoke.args(["admin", "revoke", "--of", "alice"]).status().unwrap().success());
    world.done("bob", "send general two");
    tail.hears("<bob> two");
    assert!(world.server.terminate().unwrap().success());
}

#[test]
fn a_chat_that_is_signed_out_says_why() {
    let world = World::start();
    world.done("alice", "send general hello");
    let phone = Running::start(world.command("alice", "chat general --device phone"));
    phone.hears("<alice> hello");
    let sessions = world.done("alice", "sessions");
    assert!(sessions.contains("phone  linux, online"), "{sessions}");
    let slip = world.refused("alice", "sessions end fone --device desk");
    assert!(slip.contains("you have no device fone") && slip.contains("quoth sessions"), "{slip}");
    world.done("alice", "sessions end phone --device desk");
    let (code, notes) = phone.ends();
    assert_eq!(code, Some(1));
    assert!(notes.contains("kicked") && notes.contains("desk"), "{notes}");

    // Of one device the later connection stays, and the other one leaves without a complaint.
    let first = Running::start(world.command("alice", "tail general --last 1 --device desk"));
    first.hears("<alice> hello");
    world.done("alice", "send general again --device desk");
    let (code, notes) = first.ends();
    assert_eq!(
        (code, notes.as_str()),
        (Some(0), "* this device has connected anew elsewhere, and goes on there\n")
    );
    assert!(world.server.terminate().unwrap().success());
}

/// Who opens a chat is told so before writing anything, and by whose doing it is.
#[test]
fn who_may_only_read_is_told_at_once() {
    let world = World::start();
    world.done("alice", "conversation create team");
    world.done("alice", "conversation add team bob --role reader");
    world.done("alice", "conversation add team carol");
    let carol = |rights: &str| {
        let mut command = Command::new(binary("quoth-server"));
        command.args(["token", "--user", "carol", "--data-dir"]).arg(world.dir.path().join("data"));
        let output = command.args(rights.split(' ')).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let bob = world.server.token("bob").unwrap();
    let [of_carol, by_token, by_membership] =
        ["--write * --read *", "--read * --write other", "--by-membership"].map(carol);
    for (token, conversation, told) in [
        (&bob, "team", Some("* you only read in team: who administers it can change that")),
        (&bob, "general", None),
        (&of_carol, "team", None),
        (&by_membership, "team", None),
        (&by_token, "team", Some("* your token lets you only read in team: ask the server's operator")),
        (&by_token, "general", Some("* your token lets you only read in general: ask")),
        (&by_token, "other", None),
    ] {
        let chat = |typed: &[&str]| {
            let mut command = Command::new(binary("quoth"));
            command.args(["--server", &world.server.address().to_string(), "--token", token]);
            command.arg("--ca").arg(world.server.ca_file()).args(["chat", conversation]);
            let mut chat = Running::start(command);
            typed.iter().for_each(|line| chat.types(line));
            chat.types_no_more();
            chat.ends()
        };
        let times = |notes: &str| notes.lines().filter(|line| line.contains("only read")).count();
        let (code, notes) = chat(&[]);
        assert_eq!((code, times(&notes)), (Some(0), told.iter().len()), "{conversation}: {notes}");
        assert!(notes.contains(told.unwrap_or_default()), "{conversation}: {notes}");
        // What is refused all the same says what it takes: the reason may be another one by then.
        let (code, notes) = chat(&["hi"]);
        let refused = notes.contains(&format!("to write in {conversation} it takes a token that allows it"));
        let expected = (Some(i32::from(told.is_some())), told.iter().len(), told.is_some());
        assert_eq!((code, times(&notes), refused), expected, "{conversation}: {notes}");
    }
    let nowhere = carol("--read other --write other");
    for (token, conversation, told) in [
        (&by_token, "general", "lets you only read in general: ask the server's operator"),
        (&by_token, "general", "`--write 'general'`"),
        (
            &nowhere,
            "general",
            "the token of carol does not allow to publish to general: ask the server's operator",
        ),
        (&by_membership, "general", "there is no general, or carol is not in it"),
    ] {
        let mut command = Command::new(binary("quoth"));
        command.args(["--server", &world.server.address().to_string(), "--token", token]);
        command.arg("--ca").arg(world.server.ca_file()).args(["send", conversation, "hi"]);
        let output = command.output().unwrap();
        let notes = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && notes.contains(told), "{conversation}: {notes}");
    }
    assert!(world.server.terminate().unwrap().success());
}
