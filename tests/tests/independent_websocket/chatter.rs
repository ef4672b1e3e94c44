//! A chat client as a process that is told what to do line by line.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take. A bound of a hang, not a measurement.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What a client said that it has received.
#[derive(Debug, PartialEq)]
pub struct Event {
    pub seq: u64,
    pub time_ms: u64,
    pub sender: String,
    pub body: String,
}

/// An ack of one of the client's own messages.
#[derive(Debug)]
pub struct Ack {
    pub seq: u64,
    pub time_ms: u64,
    pub duplicate: bool,
    pub body: String,
}

/// A running client, with all that it has told.
#[derive(Debug)]
pub struct Chatter {
    pub user: String,
    pub events: Vec<Event>,
    pub acks: Vec<Ack>,
    pub typing: Vec<String>,
    pub go_away: Vec<u64>,
    pub lost: usize,
    roster: Value,
    said: usize,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Chatter {
    /// Starts the command.
    pub fn start(user: &str, command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client starts");
        let stdout = child.stdout.take().expect("it is piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let stdin = child.stdin.take();
        Self {
            user: user.to_owned(),
            events: Vec::new(),
            acks: Vec::new(),
            typing: Vec::new(),
            go_away: Vec::new(),
            lost: 0,
            roster: Value::Null,
            said: 0,
            child,
            stdin,
            lines,
        }
    }

    /// Gives it a command.
    pub fn tell(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("it has not left");
        writeln!(stdin, "{command}").unwrap_or_else(|error| panic!("{} is gone: {error}", self.user));
    }

    /// The text of its message of that number.
    pub fn body(&self, number: usize) -> String {
        format!("{} says {number} äöü😀 \"quoted\"", self.user)
    }

    /// Lets it send its next message.
    pub fn say_next(&mut self) {
        let command = serde_json::json!({ "send": self.body(self.said) });
        self.tell(&command.to_string());
        self.said += 1;
    }

    /// How many messages it was told to send.
    pub fn said(&self) -> usize {
        self.said
    }

    /// How many users read, as it was told.
    pub fn users(&self) -> u64 {
        self.roster["users"].as_u64().unwrap_or(0)
    }

    /// How far a user has read, as it was told.
    pub fn seen(&self, user: &str) -> Option<u64> {
        self.roster["present"][user].as_u64()
    }

    /// Takes what it tells until something is so.
    pub fn wait(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + TIMEOUT;
        while !is_so(self) {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.take(&line),
                Err(_) => panic!(
                    "{}: no {what}; {} events, {} acks, {} times lost",
                    self.user,
                    self.events.len(),
                    self.acks.len(),
                    self.lost
                ),
            }
        }
    }

    /// Lets it leave when all is acked, and waits for its end.
    pub fn leave(&mut self) {
        self.tell(r#"{"leave":true}"#);
        while let Ok(line) = self.lines.recv_timeout(TIMEOUT) {
            self.take(&line);
        }
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success(), "{} has failed", self.user);
    }

    fn take(&mut self, line: &str) {
        let told: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let (what, value) = told.as_object().and_then(|told| told.iter().next()).expect("one thing a line");
        let number = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {line}"));
        let text = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}")).to_owned();
        match what.as_str() {
            "event" => self.events.push(Event {
                seq: number("seq"),
                time_ms: number("time_ms"),
                sender: text("sender"),
                body: text("body"),
            }),
            "ack" => self.acks.push(Ack {
                seq: number("seq"),
                time_ms: number("time_ms"),
                duplicate: value["duplicate"].as_bool().expect("a flag"),
                body: text("body"),
            }),
            "typing" => self.typing.push(value.as_str().expect("a user").to_owned()),
            "roster" => self.roster = value.clone(),
            "go_away" => self.go_away.push(number("code")),
            "lost" => self.lost += 1,
            "opened" => {}
            _ => panic!("{} tells {line}", self.user),
        }
    }
}

impl Drop for Chatter {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
