//! What the command line says of who may do what: why something was refused and what helps, what a token is good
//! for, and names that may have a slip in them.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use quoth_tests::process::{ServerProcess, binary};
use serde_json::Value;

/// Bound of a hang.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A development server, and users with tokens of any kind.
struct Site {
    server: ServerProcess,
    dir: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = ServerProcess::start(&dir.path().join("data")).unwrap();
        Self { server, dir }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A token with these options of `quoth-server token`.
    fn token(&self, options: &str) -> String {
        let mut command = Command::new(binary("quoth-server"));
        command.arg("--data-dir").arg(self.data()).arg("token").args(options.split(' '));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// A command with a token, or with none, beside the server; nothing of the machine's user is meant.
    fn runs(&self, token: Option<&str>, line: &str) -> Output {
        let mut command = Command::new(binary("quoth"));
        command.env_clear().arg("--client-file").arg(self.data().join("client.json"));
        command.args(token.iter().flat_map(|token| ["--token", token]));
        command.args(line.split(' ')).output().unwrap()
    }

    /// What it prints, of a command that succeeds, and what it notes.
    fn done(&self, token: &str, line: &str) -> (String, String) {
        let output = self.runs(Some(token), line);
        assert!(output.status.success(), "{line}: {output:?}");
        let notes = String::from_utf8(output.stderr).unwrap();
        // How the connection fares is no matter here: on a slow machine it is told.
        let notes = notes.lines().filter(|line| !line.starts_with("* ")).map(|line| format!("{line}\n"));
        (String::from_utf8(output.stdout).unwrap(), notes.collect())
    }

    /// What it notes, of a command that is told this on its standard input.
    fn says(&self, token: &str, line: &str, input: &str) -> String {
        let mut command = Command::new(binary("quoth"));
        command.env_clear().arg("--client-file").arg(self.data().join("client.json"));
        command.args(["--token", token]).args(line.split(' '));
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
    }

    /// The hint, or else the error, of one that fails.
    fn refused(&self, token: &str, line: &str) -> String {
        self.refusal(token, line).lines().last().unwrap().to_owned()
    }

    /// All that it notes, of one that fails.
    fn refusal(&self, token: &str, line: &str) -> String {
        let output = self.runs(Some(token), line);
        assert_eq!(output.status.code(), Some(1), "{line}: {output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn end(self) {
        assert!(self.server.terminate().unwrap().success());
    }
}

/// A site with conversations of all kinds that are alice's, in some of which bob is; and alice's token.
fn conversations() -> (Site, String) {
    let site = Site::start();
    let alice = site.token("--user alice");
    for line in [
        "conversation create team --member bob",
        "conversation create readers --channel --member bob",
        "conversation create secret",
        "conversation create hall --open",
        "send unmanaged hello",
    ] {
        site.done(&alice, line);
    }
    (site, alice)
}

#[test]
fn a_refusal_by_the_token_names_the_token() {
    let (site, _) = conversations();
    let reader = site.token("--user bob --read * --no-write");
    let (eve, blind) = (site.token("--user eve"), site.token("--user eve --read other --write other"));
    let writer = site.token("--user bob --read other --write team");
    for (token, line, hint) in [
        (&reader, "conversation leave team", "your token lets you only read in team"),
        (&reader, "conversation rename team x", "your token lets you only read in team"),
        (&reader, "send team hi", "your token lets you only read in team"),
        (&reader, "react team 2 x", "your token lets you only read in team"),
        (&reader, "edit team 2 x", "your token lets you only read in team"),
        (&reader, "revoke team 2", "your token lets you only read in team"),
        (&reader, "conversation join hall", "anybody may join hall, but your token does not let you join"),
        (&reader, "history hall", "anybody may join hall, but your token does not let you join"),
        (&reader, "conversation members hall", "anybody may join hall, but your token does not let you join"),
        (&reader, "conversation join secret", "your token does not let you change anything in secret"),
        (&blind, "conversation leave team", "your token does not let you change anything in team"),
        (&writer, "conversation rename team x", "so the server does not say what is missing"),
        (&blind, "history team", "the token of eve does not allow to read team: ask"),
        (&blind, "send team hi", "the token of eve does not allow to publish to team: ask"),
        // One that allows everything is not to blame.
        (&eve, "history team", "there is no team, or eve is not in it"),
        (&eve, "send team hi", "there is no team, or eve is not in it"),
    ] {
        let told = site.refused(token, line);
        assert!(told.contains(hint), "{line}: {told}");
    }
    site.end();
}

#[test]
fn a_refusal_says_what_it_takes_and_who_has_it() {
    let (site, alice) = conversations();
    let bob = site.token("--user bob");
    let direct = site.done(&alice, "conversation create --direct bob").0;
    let direct = direct.trim();
    let managed = "it takes the permission to manage, which owners and admins have, and you are member";
    let moderated = "it takes the permission to moderate, which owners and admins have, and you are member";
    let unsaid = "nothing was ever said in teem: is the name right?";
    for (line, hint) in [
        ("send readers hi", "you only read in readers: who administers it"),
        ("chat hall", "anybody may join hall, and bob has not"),
        ("send hall hi", "anybody may join hall, and bob has not"),
        ("send secret hi", "there is no secret, or bob is not in it"),
        ("history secret", "there is no secret, or bob is not in it"),
        ("conversation join secret -i wrong", "the invitation does not let you into secret"),
        ("conversation join secret", "takes an invitation"),
        ("conversation leave secret", "there is no secret, or you are not in it"),
        ("conversation members secret", "there is no secret, or you are not in it"),
        ("conversation leave hall", "you are not in hall, which anybody may join"),
        ("conversation rename team x", managed),
        ("conversation role team alice reader", managed),
        ("conversation add team eve --role admin", managed),
        ("conversation invite team --revoke", managed),
        ("retention team --age 1d", managed),
        ("conversation remove team alice", moderated),
        ("conversation ban team eve", moderated),
        ("conversation mute team alice", moderated),
        ("conversation mute team --everybody", moderated),
        ("conversation slow-mode team 1s", moderated),
        ("conversation invite team --role admin", "a role or a permission that is above one's own"),
        (
            "conversation invite readers",
            "to invite, which owners, admins and members have, and you are reader",
        ),
        ("react readers 2 x", "to write, which owners, admins and members have, and you are reader"),
        (&format!("conversation leave {direct}"), "nobody leaves a direct conversation or notes"),
        (&format!("conversation ban {direct} alice"), "a conversation of two stays as it is"),
        (&format!("conversation role {direct} eve member"), "a conversation of two stays as it is"),
        ("conversation add team alice", "who is in it already is not added again"),
        ("conversation add team eve --role reader", managed),
        ("pin teem", unsaid),
        ("retention teem --age 1d", unsaid),
        ("conversation rename teem x", unsaid),
        ("conversation members teem", unsaid),
        ("conversation join teem", unsaid),
        ("conversation add teem eve", unsaid),
        ("pin unmanaged", "has no members, and is in nobody's inbox"),
        ("conversation rename unmanaged x", "has no members, and is in nobody's inbox"),
        ("conversation create unmanaged", "in which somebody has spoken"),
        ("receipts team 1", "no message but something else that happened"),
    ] {
        let told = site.refused(&bob, line);
        assert!(told.contains(hint), "{line}: {told}");
    }
    // Who is in it is told so, and the last one who leaves a group that is not open that it is closed then.
    assert!(site.done(&alice, "conversation create secret").1.contains("it was there already"));
    let role = site.done(&alice, "conversation role team bob reader --permissions read,moderate").0;
    assert_eq!(role, "bob is reader of team (may read, moderate)\n");
    let members = site.done(&alice, "conversation members team").0;
    assert!(members.contains("bob  reader (may read, moderate), "), "{members}");
    site.done(&alice, "conversation role team bob member");
    let left = site.done(&alice, "conversation leave secret").1;
    assert!(left.contains("nobody is left in secret"), "{left}");
    let told = site.refused(&alice, "conversation create secret");
    assert!(told.contains("choose another name, or ask somebody who is in it"), "{told}");
    assert!(
        site.done(&alice, "conversation leave hall").1.lines().all(|line| !line.contains("nobody is left"))
    );
    // A reason that the server gives is not overruled by another one.
    let long = site.refused(&bob, &format!("react unmanaged 1 {}", "x".repeat(33)));
    assert!(!long.contains("has no members"), "{long}");
    site.end();
}

#[test]
fn who_has_the_permission_is_told_what_else_stands_against_it() {
    let (site, alice) = conversations();
    let bob = site.token("--user bob");
    let direct = site.done(&alice, "conversation create --direct bob").0;
    let direct = direct.trim();
    let notes = site.done(&alice, "conversation create --notes").0;
    let notes = notes.trim();
    for line in [
        format!("conversation add {notes} bob"),
        format!("conversation invite {notes}"),
        format!("conversation role {notes} bob reader"),
        format!("conversation ban {notes} bob"),
        format!("conversation mute {notes} --everybody"),
    ] {
        let told = site.refused(&alice, &line);
        assert!(told.contains("notes have one member, once and for all"), "{line}: {told}");
    }
    let rank = "nobody does that to a user whose role there is above one's own";
    site.done(&alice, "conversation role team bob admin");
    for line in ["conversation remove team alice", "conversation mute team alice"] {
        assert!(site.refused(&bob, line).contains(rank), "{line}");
    }
    site.done(&alice, "conversation role team bob admin --permissions read,write");
    assert!(site.refused(&bob, "conversation rename team x").contains("has been taken from you there"));
    // A conversation of two in which one has blocked the other has one short line for it.
    site.done(&alice, &format!("send {direct} hello"));
    site.done(&bob, "block alice");
    let blocked = site.refused(&alice, &format!("send {direct} there?"));
    assert!(blocked.contains("may have blocked you") && !blocked.contains(direct), "{blocked}");
    let group = site.refused(&alice, "conversation create --member bob");
    assert!(group.contains("may have blocked you"), "{group}");
    let edit = site.refused(&alice, &format!("edit {direct} 2 x"));
    assert!(edit.contains("in a conversation of two nobody whom the other one has blocked"), "{edit}");
    // A chat outlives what was so when it began, so its refusals claim no cause.
    let chat = site.says(&alice, &format!("chat {direct}"), "there?\n");
    assert!(chat.contains("in a conversation of two not to be blocked by the other one"), "{chat}");
    assert!(!chat.contains("does not allow to publish"), "{chat}");
    site.end();
}

#[test]
fn a_token_that_makes_no_such_conversation_says_which_one_does() {
    let site = Site::start();
    let narrow = site.token("--user alice --read * --write team-*");
    for (line, hint) in [
        ("conversation create --direct bob", "--write 'direct/*'"),
        ("conversation create --notes", "--write 'notes/*'"),
        ("conversation create", "--write 'group/*'"),
        ("conversation create other", "--write 'other'"),
    ] {
        let told = site.refused(&narrow, line);
        assert!(told.contains(hint) && !told.contains("leave the name out"), "{line}: {told}");
    }
    // As README has it.
    let wider = site.token("--user alice --read * --write team-* --write direct/*");
    let direct = site.done(&wider, "conversation create --direct bob").0;
    assert!(site.done(&wider, &format!("send {} hello", direct.trim())).0.contains("stored in direct/"));
    let unnamed = site.token("--user alice --by-membership");
    assert!(site.refused(&unnamed, "conversation create other").contains("leave the name out"));
    site.end();
}

#[test]
fn a_token_says_what_it_is_good_for_and_why_it_is_refused() {
    let site = Site::start();
    let of_lap = site.token("--user carol --device lap --read news --no-write");
    let (told, _) = site.done(&of_lap, "whoami --device lap");
    for line in ["user       carol", "device     lap", "reads      news", "writes     nothing"] {
        assert!(told.lines().any(|told| told == line), "{told}");
    }
    assert!(told.ends_with("you are carol at lap\n"), "{told}");
    let elsewhere = site.runs(Some(&of_lap), "whoami");
    let (lines, notes) =
        (String::from_utf8(elsewhere.stdout).unwrap(), String::from_utf8(elsewhere.stderr).unwrap());
    assert!(elsewhere.status.code() == Some(1) && lines.contains("device     lap"), "{lines}");
    assert!(notes.contains("another device") && notes.contains("give --device 'lap'"), "{notes}");
    // The way to a new one works as it stands.
    let none = site.refused(&of_lap.replace('.', ".x"), "send general hi");
    let command = none.split('`').nth(1).unwrap_or_else(|| panic!("{none}"));
    let programs = binary("quoth-server").parent().unwrap().display().to_string();
    let command = command.replace("NAME", "dora");
    let made = Command::new("/bin/sh").args(["-c", &command]).env("PATH", programs).output().unwrap();
    assert!(made.status.success(), "{command}: {made:?}");
    let made = String::from_utf8(made.stdout).unwrap();
    assert!(site.done(made.trim(), "whoami").0.contains("user       dora"));
    for (line, error) in
        [("whoami --token=", "--token is empty"), ("whoami --user dora", "token --user 'dora'`")]
    {
        let output = site.runs(None, line);
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && told.contains(error), "{told}");
    }
    let mut unset = Command::new(binary("quoth"));
    unset.env_clear().env("QUOTH_TOKEN", "").arg("--client-file").arg(site.data().join("client.json"));
    let output = unset.arg("whoami").output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("QUOTH_TOKEN is set and empty"));
    let mut unreadable = Command::new(binary("quoth"));
    unreadable.env_clear().arg("--client-file").arg(site.data().join("client.json"));
    let output = unreadable.args(["--token", "none", "whoami"]).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("token      cannot be read here"));
    let elsewhere = site.runs(None, "whoami --server chat.example:1 --ca nowhere.pem");
    assert!(String::from_utf8(elsewhere.stderr).unwrap().contains("--token-file FILE"));
    site.end();
}

#[test]
fn a_name_that_may_have_a_slip_in_it_is_told() {
    let site = Site::start();
    let (alice, bob) = (site.token("--user alice"), site.token("--user bob"));
    site.done(&bob, "whoami");
    let unseen = "bobb has never signed in here: is the name right?\n";
    for (line, printed, note) in [
        ("conversation create team --member bobb --member bob", "team", unseen),
        ("conversation remove team dora", "dora is no member of team\n", ""),
        ("conversation ban team dora", "dora is banned, and was no member", ""),
        ("conversation ban team bob", "bob is banned\n", ""),
        (
            "conversation add team b*",
            "b* is member of team",
            "b* is the name of one user here, and no pattern\nb* has never signed in here: is the name right?\n",
        ),
        ("conversation create --direct bobb", "direct/", unseen),
        ("block b*", "b* is blocked", "b* is the name of one user here, and no pattern\n"),
        (
            "send teem hi",
            "stored in teem as 1\n",
            "nothing was said in teem before: this is the first message there\n",
        ),
        ("retention taem", "taem is kept", "nothing was ever said in taem: is the name right?\n"),
        ("conversation show taem", "without members", "nothing was ever said in taem: is the name right?\n"),
        // A program reads no notes.
        ("retention taem --json", "{", ""),
        ("conversation show taem --json", "{", ""),
    ] {
        let (told, notes) = site.done(&alice, line);
        assert!(told.contains(printed), "{line}: {told}");
        assert_eq!(notes, note, "{line}");
    }
    // Of what is there nothing is said.
    site.done(&alice, "conversation ban team bob --lift");
    for line in ["conversation add team bob", "send teem hi", "retention teem", "conversation show team"] {
        assert_eq!(site.done(&alice, line).1, "", "{line}");
    }
    site.end();
}

/// The server makes nothing twice, so what comes with the second request would be lost without a word.
#[test]
fn who_makes_what_is_there_already_is_told_what_of_it_is_not_as_wanted() {
    let site = Site::start();
    let alice = site.token("--user alice");
    site.done(&alice, "conversation create team --title Team --member bob");
    let output = |is_operator: bool, line: &str| {
        let output = match is_operator {
            false => site.runs(Some(&alice), &format!("conversation create team {line}")),
            true => site.runs(None, &format!("admin conversation create team --owner alice {line}")),
        };
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (line, told) in [
        ("--member bob --member eve", "eve is not in it"),
        ("--title Other", "it is called otherwise"),
        ("--open", "not everybody may join it"),
    ] {
        for is_operator in [false, true] {
            let (code, notes) = output(is_operator, line);
            assert!(
                code == Some(1) && notes.contains("team was there already, and nothing of it"),
                "{notes}"
            );
            assert!(notes.contains(told) && notes.contains("hint: it takes "), "{line}: {notes}");
            assert!(!notes.contains("nothing had to change"), "{line}: {notes}");
        }
    }
    for (is_operator, told) in [(false, "it was there already"), (true, "nothing had to change")] {
        let (code, notes) = output(is_operator, "--title Team --member bob");
        assert!(code == Some(0) && notes.contains(told), "{notes}");
    }
    // What the hints say makes it so.
    let (_, notes) = output(true, "--member eve");
    assert!(notes.contains("`quoth admin member set 'team' 'eve' --role member`"), "{notes}");
    assert_eq!(site.runs(None, "admin member set team eve --role member").status.code(), Some(0));
    assert_eq!(output(true, "--member eve").0, Some(0));
    site.done(&alice, "conversation role team bob owner");
    site.done(&alice, "conversation role team alice member");
    let (code, notes) = output(true, "--title Team");
    assert!(code == Some(1) && notes.contains("alice does not own it"), "{notes}");
    site.end();
}

/// A `quoth chat` of whoever's token is in a file, killed when it is dropped.
struct Chat {
    child: Child,
    said: mpsc::Receiver<String>,
    notes: mpsc::Receiver<String>,
}

impl Chat {
    fn start(site: &Site, file: &Path) -> Self {
        let mut command = Command::new(binary("quoth"));
        command.env_clear().arg("--client-file").arg(site.data().join("client.json"));
        command.arg("--token-file").arg(file).args(["chat", "general"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that is refused may have ended before.
        let _nobody_reads = writeln!(child.stdin.as_mut().unwrap(), "hello");
        let (said, notes) = (lines_of(child.stdout.take()), lines_of(child.stderr.take()));
        Self { child, said, notes }
    }

    /// What it notes until it ends by itself, and with which code.
    fn ends(&mut self) -> (Option<i32>, String) {
        let mut told = String::new();
        loop {
            match self.notes.recv_timeout(TIMEOUT) {
                Ok(line) => told = told + &line + "\n",
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it goes on: {told}"),
            }
        }
        (self.child.wait().unwrap().code(), told)
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn lines_of(read: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(read.unwrap()).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// The id of a token, its `jti`.
fn id_of(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

/// As whoever hands out tokens does it who puts a new one in place of one that may be known to others.
#[test]
fn a_chat_whose_file_has_another_token_already_goes_on_when_the_old_one_is_withdrawn() {
    let site = Site::start();
    let file = site.dir.path().join("token");
    let old = site.token("--user bob");
    std::fs::write(&file, &old).unwrap();
    let mut chat = Chat::start(&site, &file);
    assert!(chat.said.recv_timeout(TIMEOUT).unwrap().contains("hello"));
    let new = site.token("--user bob");
    std::fs::write(&file, &new).unwrap();
    let revoke = |token: &str| site.runs(None, &format!("admin revoke --token-id {}", id_of(token)));
    assert_eq!(revoke(&old).status.code(), Some(0));
    while !chat.notes.recv_timeout(TIMEOUT).unwrap().contains("* connected again") {}
    writeln!(chat.child.stdin.as_mut().unwrap(), "it goes on").unwrap();
    while !chat.said.recv_timeout(TIMEOUT).unwrap().contains("it goes on") {}
    // And no longer than the new one is good.
    assert_eq!(revoke(&new).status.code(), Some(0));
    let (code, notes) = chat.ends();
    assert!(code == Some(1) && notes.contains("error: ") && notes.contains("token_revoked"), "{notes}");
    site.end();
}

/// Nobody puts another token into a person's file meanwhile.
#[test]
fn a_chat_whose_user_is_signed_out_tells_what_the_server_has_said_and_ends() {
    let site = Site::start();
    let file = site.dir.path().join("token");
    std::fs::write(&file, site.token("--user bob")).unwrap();
    for (line, told) in [
        ("admin kick bob --reason fired", "the server said kicked (0x309): fired"),
        ("admin revoke --of bob --for-good --reason fired", "the server said token_revoked (0x202): fired"),
    ] {
        let mut chat = Chat::start(&site, &file);
        let hello = chat.said.recv_timeout(TIMEOUT).unwrap();
        assert!(hello.contains("hello"), "{hello}");
        assert_eq!(site.runs(None, line).status.code(), Some(0), "{line}");
        let (code, notes) = chat.ends();
        let error = notes.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(code == Some(1) && error.contains(told) && notes.contains("hint: "), "{line}: {notes}");
        assert!(!notes.contains("waiting for another token"), "{line}: {notes}");
    }
    // Who is refused has had a connection.
    let (code, notes) = Chat::start(&site, &file).ends();
    let (_, refused) = notes.split_once("* not signed in: ").unwrap();
    assert!(code == Some(1) && refused.contains("error: no sign-in at "), "{notes}");
    assert!(
        refused.contains("token_revoked (0x202): fired") && !refused.contains("no connection"),
        "{notes}"
    );
    site.end();
}

/// What is done to a wrong server cannot be undone: this machine's development server stands in for no other one.
#[test]
fn an_operator_s_command_is_for_no_other_server_than_the_named_one() {
    let site = Site::start();
    let admin = |server: Option<&str>, line: &str| {
        let mut command = Command::new(binary("quoth"));
        command.env_clear().env("QUOTH_CLIENT_FILE", site.data().join("client.json"));
        command.envs(server.map(|server| ("QUOTH_SERVER", server)));
        let output = command.arg("admin").args(line.split(' ')).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, told) = admin(Some("prod.example:4433"), "user erase carol");
    assert!(code == Some(1) && told.contains("prod.example:4433") && told.contains("--api"), "{told}");
    let (code, told) = admin(None, "user erase carol --server prod.example:4433");
    assert!(code == Some(2) && told.contains("--server") && told.contains("--api"), "{told}");
    let (_, told) = admin(None, "user erasure carol");
    assert!(told.contains("not_found"), "nobody is erased: {told}");
    let (code, told) = admin(Some(&site.server.address().to_string()), "stats");
    assert_eq!(code, Some(0), "{told}");
    // Nor is one of two that are named passed over.
    let both = site.runs(None, "admin --api 127.0.0.1:1 stats");
    let told = String::from_utf8(both.stderr).unwrap();
    assert!(both.status.code() == Some(2) && told.contains("--api says already"), "{told}");
    let ca = site.data().join("keys/ca.pem");
    let line = format!("send general hi --server 127.0.0.1:1 --ca {}", ca.display());
    let told = site.refusal(&site.token("--user alice"), &line);
    assert!(told.contains("127.0.0.1:1 (--server or QUOTH_SERVER) is not the server of"), "{told}");
    site.end();
}
