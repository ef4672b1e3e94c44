//! Clients of the WebSocket lanes that were written from `docs/PROTOCOL.md` alone, in Python and for Node,
//! against the real server.

#[path = "independent_websocket/chatter.rs"]
mod chatter;

use std::path::Path;
use std::process::Command;

use chatter::Chatter;
use quoth_tests::independent::{add_server, assert_passes, node, python, token};
use quoth_tests::process::ServerProcess;

const CONVERSATION: &str = "independent-chat";

/// Code of a server that drains.
const GOING_AWAY: u64 = 0x100;

fn scenario(subprotocol: &str) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data).unwrap();
    let mut scenario = python("websocket_scenario.py");
    scenario.args(["--token", &token(&data, "carol"), "--second-token", &token(&data, "dave")]);
    scenario.args(["--conversation", "independent-1", "--forbidden", "secret", "--subprotocol", subprotocol]);
    assert_passes(add_server(&mut scenario, &server));
}

#[test]
fn a_python_client_signs_in_sends_resumes_and_reads_in_json() {
    scenario("quoth.v1.json");
}

#[test]
fn a_python_client_signs_in_sends_resumes_and_reads_in_postcard() {
    scenario("quoth.v1.postcard");
}

/// One of each: JSON from Python and from Node, postcard over WebSocket, and QUIC.
fn everybody(server: &ServerProcess, data: &Path) -> Vec<Chatter> {
    let python_over = |transport| {
        let mut command = python("chat.py");
        command.args(["--transport", transport]);
        command
    };
    let commands: [(&str, Command); 4] = [
        ("carol", python_over("json")),
        ("dave", node("chat.mjs")),
        ("erin", python_over("quic")),
        ("frank", python_over("postcard")),
    ];
    commands
        .into_iter()
        .map(|(user, mut command)| {
            command.args(["--token", &token(data, user), "--conversation", CONVERSATION]);
            Chatter::start(user, add_server(&mut command, server))
        })
        .collect()
}

/// Everybody says so much more.
fn say(chatters: &mut [Chatter], messages: usize) {
    for _ in 0..messages {
        chatters.iter_mut().for_each(Chatter::say_next);
    }
}

/// Everybody has heard all that everybody has said.
fn wait_for_all(chatters: &mut [Chatter]) {
    let said: usize = chatters.iter().map(Chatter::said).sum();
    for chatter in chatters {
        chatter.wait(&format!("{said} events"), |chatter| chatter.events.len() >= said);
    }
}

#[test]
fn they_chat_with_a_quic_client_over_a_crash_and_a_drain_of_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data).unwrap();
    let address = server.address().to_string();
    let mut chatters = everybody(&server, &data);
    for chatter in &mut chatters {
        chatter.wait("everybody in the roster", |chatter| chatter.users() == 4);
    }
    say(&mut chatters, 20);
    wait_for_all(&mut chatters);

    chatters[0].tell(r#"{"typing":true}"#);
    for chatter in &mut chatters[1..] {
        chatter.wait("carol types", |chatter| chatter.typing == ["carol"]);
    }
    chatters[1].tell(r#"{"seen":7}"#);
    for chatter in &mut chatters {
        chatter.wait("dave has seen 7", |chatter| chatter.seen("dave") == Some(7));
    }

    say(&mut chatters, 100);
    chatters[2].wait("some of it", |chatter| chatter.events.len() >= 100);
    server.kill().unwrap();
    chatters[0].wait("the connection is lost", |chatter| chatter.lost >= 1);
    say(&mut chatters, 20);
    let server = ServerProcess::start_with(&data, &address, &[]).unwrap();
    wait_for_all(&mut chatters);

    assert!(server.terminate().unwrap().success());
    for chatter in &mut chatters {
        chatter.wait("the server goes away", |chatter| chatter.go_away == [GOING_AWAY]);
    }
    let server = ServerProcess::start_with(&data, &address, &[]).unwrap();
    say(&mut chatters, 1);
    wait_for_all(&mut chatters);

    for chatter in &mut chatters {
        chatter.leave();
    }
    drop(server);
    check(&chatters);
}

/// Everybody saw the same events in the same order, each message once, and what an ack says is so.
fn check(chatters: &[Chatter]) {
    let log = &chatters[0].events;
    for (seq, event) in (1..).zip(log) {
        assert_eq!(event.seq, seq, "a hole or a repetition");
    }
    for chatter in chatters {
        assert_eq!(&chatter.events, log, "{} saw something else", chatter.user);
        let said: Vec<&str> = log
            .iter()
            .filter(|event| event.sender == chatter.user)
            .map(|event| event.body.as_str())
            .collect();
        let expected: Vec<String> = (0..chatter.said()).map(|number| chatter.body(number)).collect();
        assert_eq!(said, expected, "what {} said is not there once and in order", chatter.user);
        assert_eq!(chatter.acks.len(), chatter.said());
        for ack in &chatter.acks {
            let event = &log[usize::try_from(ack.seq).unwrap() - 1];
            assert_eq!(
                (&event.sender, &event.body),
                (&chatter.user, &ack.body),
                "an ack has another one's seq"
            );
            assert_eq!(event.time_ms, ack.time_ms);
        }
    }
    let repeated: usize =
        chatters.iter().flat_map(|chatter| &chatter.acks).filter(|ack| ack.duplicate).count();
    println!("{} events; {repeated} acks were of messages that were stored before the crash", log.len());
}
