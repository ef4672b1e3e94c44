//! The command line as people and scripts meet it: two people chat over a crash of the server, lines are sent
//! in order, and output that cannot be written is no failure of what is stored.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use quoth_tests::process::{ServerProcess, binary};

/// Bound of a hang.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A command of `quoth` as one of the ready users of a development server.
fn quoth(server: &ServerProcess, user: &str, arguments: &[&str]) -> Command {
    quoth_with_token(server, &server.token(user).unwrap(), arguments)
}

fn quoth_with_token(server: &ServerProcess, token: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("quoth"));
    command.args(["--server", &server.address().to_string(), "--token", token]);
    command.arg("--ca").arg(server.ca_file()).args(arguments);
    command
}

/// Runs a command to its end with this standard input.
fn fed(command: &mut Command, input: &str) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What a command has noted, but for how its connection fares: on a slow machine that is told too.
fn noted(output: &Output) -> String {
    let notes = String::from_utf8_lossy(&output.stderr);
    notes.lines().filter(|line| !line.starts_with("* ")).map(|line| format!("{line}\n")).collect()
}

/// A `quoth chat`, killed when it is dropped.
struct Chat {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<String>,
}

impl Chat {
    fn start(server: &ServerProcess, user: &str) -> Self {
        let mut command = quoth(server, user, &["chat", "general"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, stdin, lines }
    }

    fn say(&mut self, text: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{text}").unwrap();
    }

    fn hears(&self, text: &str) {
        let line = self.lines.recv_timeout(TIMEOUT).unwrap();
        assert!(line.ends_with(text), "{line}");
    }

    fn leave(mut self) {
        self.stdin = None;
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn two_people_chat_and_a_crash_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data).unwrap();
    let (mut alice, mut bob) = (Chat::start(&server, "alice"), Chat::start(&server, "bob"));
    alice.say("hello bob");
    alice.hears("<alice> hello bob");
    bob.hears("<alice> hello bob");
    bob.say("hello alice");
    alice.hears("<bob> hello alice");
    bob.hears("<bob> hello alice");

    // The clients come back by themselves, and what was heard before is not heard again.
    let address = server.address().to_string();
    server.kill().unwrap();
    let server = ServerProcess::start_with(&data, &address, &[]).unwrap();
    alice.say("are you still there?");
    bob.hears("<alice> are you still there?");
    alice.hears("<alice> are you still there?");
    alice.leave();
    bob.leave();

    let late = Chat::start(&server, "bob");
    for text in ["<alice> hello bob", "<bob> hello alice", "<alice> are you still there?"] {
        late.hears(text);
    }
    late.leave();
    assert!(server.terminate().unwrap().success());
}

#[test]
fn lines_of_standard_input_are_sent_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("data")).unwrap();
    let mut send = quoth(&server, "alice", &["send", "general"]);
    let mut send = send.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = send.stdin.take().unwrap();
    for i in 0..5_000 {
        writeln!(stdin, "line {i}").unwrap();
    }
    drop(stdin);
    let output = send.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "5000 stored in general, 1 to 5000\n");
    let output = quoth(&server, "alice", &["history", "general", "--all"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 5_000);
    assert!(text.lines().enumerate().all(|(i, line)| line.ends_with(&format!("<alice> line {i}"))));
    assert!(server.terminate().unwrap().success());
}

#[test]
fn a_stored_message_is_no_failure_when_nobody_can_be_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("data")).unwrap();
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();

    let output = quoth(&server, "alice", &["send", "general", "one"]).stdout(full()).output().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{notes}");
    assert!(notes.contains("stored in general as 1") && notes.contains("standard output"), "{notes}");

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = quoth(&server, "alice", &["send", "general", "two"]).stdout(writer).output().unwrap();
    assert!(output.status.success() && noted(&output).is_empty(), "{output:?}");

    let mut blind = quoth(&server, "alice", &["send", "general", "three"]);
    assert!(blind.stdout(full()).stderr(full()).status().unwrap().success());

    let output = quoth(&server, "alice", &["history", "general"]).stdout(full()).output().unwrap();
    let notes = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && notes.contains("cannot write to standard output"), "{notes}");
    let output = quoth(&server, "alice", &["history", "general"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
    assert!(server.terminate().unwrap().success());
}

#[test]
fn the_ends_of_a_conversation_are_no_panic_and_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("data")).unwrap();
    assert!(quoth(&server, "alice", &["send", "general", "one"]).status().unwrap().success());
    let last = u64::MAX.to_string();
    let history = |flag: &str, seq: &str| {
        let output = quoth(&server, "alice", &["history", "general", flag, seq]).output().unwrap();
        assert!(output.status.success(), "{flag} {seq}: {output:?}");
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    assert_eq!(history("--after", &last), 0);
    assert_eq!(history("--after", "0"), 1);
    assert_eq!(history("--before", &last), 1);
    assert_eq!(history("--before", "0"), 0);

    // Nothing to show is no failure, and is said.
    let nothing =
        "{\"history\":{\"from\":null,\"to\":null,\"floor\":1,\"head\":0,\"gaps\":0,\"complete\":true}}\n";
    for (arguments, printed, told) in [
        (&["history", "elsewhere"][..], "", "elsewhere has no messages\n"),
        (&["history", "elsewhere", "--all", "--json"], nothing, "elsewhere has no messages\n"),
        (&["history", "general", "--after", "1"], "", "nothing there: general ends with 1\n"),
        (&["history", "general", "--before", "1"], "", "nothing there: general ends with 1\n"),
    ] {
        let output = quoth(&server, "alice", arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), printed);
        assert_eq!(noted(&output), told);
    }
    let mut tail = quoth(&server, "alice", &["tail", "elsewhere"]);
    let mut tail = tail.stderr(Stdio::piped()).spawn().unwrap();
    let mut notes = notes(&mut tail);
    assert!(notes.any(|note| note == "elsewhere has no messages yet; waiting for the first one"));
    press_ctrl_c(&tail);
    assert!(tail.wait().unwrap().success());

    let tail = quoth(&server, "alice", &["tail", "general", "--from", &last]).output().unwrap();
    assert_eq!(tail.status.code(), Some(1), "{tail:?}");
    assert!(server.terminate().unwrap().success());
}

#[test]
fn a_line_over_the_limit_stops_a_send_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("data")).unwrap();
    let too_long = "x".repeat(64 * 1024 + 1);
    let input = format!("one\ntwo\n{too_long}\nfour\n");
    let output = fed(&mut quoth(&server, "alice", &["send", "general", "-"]), &input);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2 stored in general, 1 to 2\n");
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && notes.contains("line 3 has over 65536 bytes"), "{notes}");

    // A chat goes on behind it, and does not leave as if all was well.
    let output = fed(&mut quoth(&server, "alice", &["chat", "general", "--last", "0"]), &input);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.lines().count() == 3 && said.ends_with("<alice> four\n"), "{said}");
    let notes = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && notes.contains("over 65536 bytes"), "{notes}");
    assert!(server.terminate().unwrap().success());
}

#[test]
fn a_command_of_a_chat_is_not_said_to_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("data")).unwrap();
    let typed = "/help\n/foo bar\n//foo bar\n\n/quit\nnot read\n";
    let output = fed(&mut quoth(&server, "alice", &["chat", "general"]), typed);
    let (said, notes) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{notes}");
    assert!(said.lines().count() == 1 && said.ends_with("<alice> /foo bar\n"), "{said}");
    assert!(
        notes.contains("\n* /quit or Ctrl-D leaves") && notes.contains("unknown command /foo,"),
        "{notes}"
    );
    assert!(server.terminate().unwrap().success());
}

/// Lines of standard error, as they come.
fn notes(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok)
}

/// A `quoth send` that has one line stored and one on its way to a server that does not answer any more.
fn send_to_a_stopped_server(
    server: &ServerProcess,
) -> (Child, ChildStdin, impl Iterator<Item = String> + use<>) {
    let mut command = quoth(server, "alice", &["send", "general"]);
    let mut send =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = send.stdin.take().unwrap();
    // Progress says that lines are stored, which is when the connection stands.
    stdin.write_all(b"hello\n").unwrap();
    let mut notes = notes(&mut send);
    assert!(notes.any(|note| note == "1 of 1 lines stored"));
    server.signal("STOP").unwrap();
    stdin.write_all(b"hello again\n").unwrap();
    (send, stdin, notes)
}

fn press_ctrl_c(child: &Child) {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
fn leaving_says_what_it_waits_for_and_the_second_ctrl_c_does_not_wait() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("data")).unwrap();
    let mut command = quoth(&server, "alice", &["chat", "general"]);
    let mut chat =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut notes = notes(&mut chat);
    assert!(notes.any(|note| note.starts_with("* alice in general")));
    server.signal("STOP").unwrap();
    // The chat leaves by the end of its input and is asked to hurry, so that the message has been read for
    // sure.
    chat.stdin.take().unwrap().write_all(b"hello\n").unwrap();
    assert!(notes.any(|note| note == "waiting for 1 message to be stored; Ctrl-C to leave now"));
    press_ctrl_c(&chat);
    assert!(notes.any(|note| note == "* it is unknown whether your \"hello\" is stored"));
    assert!(notes.any(|note| note.contains("1 message was not sent, or it is unknown")));
    assert_eq!(chat.wait().unwrap().code(), Some(1));

    server.signal("CONT").unwrap();
    assert!(quoth(&server, "alice", &["send", "general", "still there"]).status().unwrap().success());
    let (send, _stdin, mut notes) = send_to_a_stopped_server(&server);
    assert!(notes.any(|note| note == "1 of 2 lines stored"));
    press_ctrl_c(&send);
    assert!(notes.any(|note| note == "waiting for 1 message to be stored; Ctrl-C again to leave now"));
    press_ctrl_c(&send);
    let output = send.wait_with_output().unwrap();
    // At once: an orderly end would have told what is stored.
    assert!(output.status.code() == Some(130) && output.stdout.is_empty(), "{output:?}");

    server.signal("CONT").unwrap();
    let (mut send, stdin, mut notes) = send_to_a_stopped_server(&server);
    drop(stdin);
    assert!(notes.any(|note| note == "waiting for 1 message to be stored; Ctrl-C to leave now"));
    press_ctrl_c(&send);
    assert!(notes.any(|note| note.contains("of 1 of the lines behind these it is unknown")));
    assert_eq!(send.wait().unwrap().code(), Some(130));
    server.signal("CONT").unwrap();
    assert!(server.terminate().unwrap().success());
}

#[test]
fn ctrl_c_ends_a_command_that_finds_no_server() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("data")).unwrap();
    server.signal("STOP").unwrap();
    let mut command = quoth(&server, "alice", &["history", "general"]);
    let mut history = command
        .env("QUOTH_LOG", "quoth_client=debug,quinn=trace,quinn_proto=trace")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut notes = notes(&mut history);
    // A log that is no terminal has no colours.
    let first = notes.next().unwrap();
    assert!(!first.contains(char::is_control), "{first}");
    press_ctrl_c(&history);
    assert!(notes.any(|note| note == "error: interrupted"));
    assert_eq!(history.wait().unwrap().code(), Some(130));
    server.signal("CONT").unwrap();
    assert!(server.terminate().unwrap().success());
}

#[test]
fn an_error_says_what_can_be_done_about_it() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data).unwrap();
    let token = |rights: &[&str]| {
        let mut command = Command::new(binary("quoth-server"));
        command.arg("--data-dir").arg(&data).args(["token", "--user", "alice"]).args(rights);
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let fails = |token: &str, arguments: &[&str], hint: &str| {
        let mut command = Command::new(binary("quoth"));
        command.args(["--server", &server.address().to_string(), "--token", token, "--ca"]);
        let output = command.arg(server.ca_file()).args(arguments).output().unwrap();
        let notes = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {notes}");
        let last = notes.lines().last().unwrap_or_default();
        assert!(last.starts_with("hint: ") && last.contains(hint), "{arguments:?}: {notes}");
    };
    let (all, none) = (token(&[]), token(&["--read", "other", "--write", "other"]));
    let log = dir.path().join("a.log");
    std::fs::write(&log, "[00:00] <a> hi\n").unwrap();
    fails(&none, &["send", "general", "hi"], "not allow to publish to general: ask");
    fails(&none, &["tail", "general"], "not allow to read general: ask");
    fails(&none, &["chat", "general"], "not allow to read general: ask");
    fails(&none, &["history", "general"], "not allow to read general: ask");
    fails(&all, &["import", log.to_str().unwrap()], "--publish-as '*'");
    fails(&all, &["tail", "general", "--from", "99"], "general ends with 0: begin with 1 or less");
    fails("nonsense", &["history", "general"], "quoth-server token");
    assert!(server.terminate().unwrap().success());
}

#[test]
fn a_send_tells_when_the_connection_is_lost_and_found() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data).unwrap();
    let mut command = quoth(&server, "alice", &["send", "general"]);
    let mut send =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = send.stdin.take().unwrap();
    let mut notes = notes(&mut send);
    // Progress says that a line is stored, which is when the connection stands.
    stdin.write_all(b"one\n").unwrap();
    assert!(notes.any(|note| note == "1 of 1 lines stored"));
    let address = server.address().to_string();
    server.kill().unwrap();
    let server = ServerProcess::start_with(&data, &address, &[]).unwrap();
    // The new server says at once that it does not know the connection.
    stdin.write_all(b"two\n").unwrap();
    drop(stdin);
    assert!(notes.any(|note| note.starts_with("* disconnected: ")));
    assert!(notes.any(|note| note == "* connected again"));
    let output = send.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "2 stored in general, 1 to 2\n");
    assert!(server.terminate().unwrap().success());
}

#[test]
fn lines_that_are_numbered_under_a_key_are_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("data")).unwrap();
    let send = |arguments: &[&str], input: &str| {
        let output = fed(quoth(&server, "alice", &["send", "general"]).args(arguments), input);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(send(&["--once", "a"], "1\n2\n"), "2 stored in general, 1 to 2\n");
    assert_eq!(send(&["--once", "a"], "1\n2\n3\n"), "3 stored in general, 1 to 3 (2 were there already)\n");
    assert_eq!(send(&["--once", "b", "hello", "world"], ""), "stored in general as 4\n");
    let again = "stored in general as 4 (it was there already)\n";
    assert_eq!(send(&["--once", "b", "hello", "world"], ""), again);
    assert_eq!(send(&["-"], "1\n"), "1 stored in general, 5 to 5\n");

    let history = |arguments: &[&str]| {
        let output = quoth(&server, "alice", &["history", "general"]).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let shown = text.lines().map(|line| {
            let (seq, rest) = line.split_once(" [").unwrap();
            format!("{seq} {}", rest.split_once("] ").unwrap().1)
        });
        shown.collect::<Vec<_>>()
    };
    assert_eq!(history(&["-n", "2"]), ["4 <alice> hello world", "5 <alice> 1"]);
    assert_eq!(history(&["--first", "1"]), ["1 <alice> 1"]);
    assert_eq!(history(&["--after", "1", "--first", "1"]), ["2 <alice> 2"]);
    assert_eq!(history(&["--before", "3", "-n", "1"]), ["2 <alice> 2"]);
    assert!(server.terminate().unwrap().success());
}

#[test]
fn a_certificate_for_another_name_needs_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("data")).unwrap();
    let send = |name: &str| {
        let command = &["send", "general", "hi", "--server-name", name];
        let output = quoth(&server, "alice", command).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, notes) = send("localhost");
    assert!(code == Some(0) && !notes.contains("hint: "), "{notes}");
    let (code, notes) = send("chat.example");
    assert!(code == Some(1) && notes.contains("hint: ") && notes.contains("with --server-name"), "{notes}");
    assert!(server.terminate().unwrap().success());
}

#[test]
fn a_rejected_token_has_its_reason_in_the_servers_log_and_is_not_in_it_itself() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let server = ServerProcess::start(&data_dir).unwrap();
    let token = server.token("alice").unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let token = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let output = quoth_with_token(&server, &token, &["send", "general", "hi"]).output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    assert!(server.terminate().unwrap().success());
    let log = ServerProcess::log(&data_dir);
    assert!(log.contains("token rejected") && log.contains("has made its signature"), "{log}");
    assert!(token.split('.').all(|part| !log.contains(part)), "{log}");
}

/// Lines of a command that goes on, killed when it is dropped.
struct Going {
    child: Child,
    notes: mpsc::Receiver<String>,
    said: mpsc::Receiver<String>,
}

impl Going {
    fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let said = lines_of(child.stdout.take().unwrap());
        let notes = lines_of(child.stderr.take().unwrap());
        Self { child, notes, said }
    }

    fn notes(&self, text: &str) -> String {
        loop {
            let line = self.notes.recv_timeout(TIMEOUT).unwrap();
            if line.contains(text) {
                return line;
            }
        }
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn lines_of(read: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(read).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

#[test]
fn a_tail_says_what_is_wrong_with_its_token_and_waits_for_another_one_in_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data).unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, "nonsense").unwrap();
    let mut command = Command::new(binary("quoth"));
    command.args(["--server", &server.address().to_string(), "--ca"]).arg(server.ca_file());
    command.arg("--token-file").arg(&file).args(["tail", "general"]);
    let tail = Going::start(command);
    let first = tail.notes("* not signed in: the server said token_rejected");
    assert!(first.ends_with(&format!("; waiting for another token in {}", file.display())), "{first}");
    std::fs::write(&file, server.token("alice").unwrap()).unwrap();
    tail.notes("general has no messages yet");
    let client = server.client_file().unwrap();
    let api = quoth_tests::http::Api::told(&client).unwrap();
    api.done("POST", "/v1/revocations", Some(&serde_json::json!({ "user": "alice" }))).unwrap();
    let lost = tail.notes("* disconnected: the server said token_revoked");
    assert!(lost.ends_with(&format!("; waiting for another token in {}", file.display())), "{lost}");
    assert!(server.terminate().unwrap().success());
}

/// Who says one thing in passing is not signed in at another desk.
#[test]
fn a_command_in_passing_puts_out_no_tail_where_each_class_of_devices_is_there_once() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start_with(
        &dir.path().join("data"),
        "127.0.0.1:0",
        &["--set", "login.policy=one_per_class"],
    )
    .unwrap();
    let tail = Going::start(quoth(&server, "alice", &["tail", "general"]));
    tail.notes("general has no messages yet");
    for text in ["one", "two"] {
        assert!(fed(&mut quoth(&server, "alice", &["send", "general", text]), "").status.success());
        let line = tail.said.recv_timeout(TIMEOUT).unwrap();
        assert!(line.ends_with(text), "{line}");
    }
    assert!(server.terminate().unwrap().success());
}
