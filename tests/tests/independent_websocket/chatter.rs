//! A chat client as a process that is told what to do line by line.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take. A bound of a hang, not a measurement.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Lines that a failure shows.
const LAST_LINES: usize = 20;

/// What a client said that it has received.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) seq: u64,
    pub(crate) time_ms: u64,
    pub(crate) sender: String,
    pub(crate) body: String,
}

/// An ack of one of the client's own messages.
#[derive(Debug)]
pub(crate) struct Ack {
    pub(crate) seq: u64,
    pub(crate) time_ms: u64,
    pub(crate) duplicate: bool,
    pub(crate) body: String,
}

/// A running client, with all that it has told.
#[derive(Debug)]
pub(crate) struct Chatter {
    pub(crate) user: String,
    pub(crate) events: Vec<Event>,
    pub(crate) acks: Vec<Ack>,
    pub(crate) typing: Vec<String>,
    pub(crate) go_away: Vec<u64>,
    pub(crate) lost: usize,
    roster: Value,
    said: usize,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    last_lines: VecDeque<String>,
}

impl Chatter {
    /// Starts the command.
    pub(crate) fn start(user: &str, command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the client starts");
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
            last_lines: VecDeque::new(),
        }
    }

    /// Gives it a command.
    pub(crate) fn tell(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("it has not left");
        writeln!(stdin, "{command}").unwrap_or_else(|error| panic!("{} is gone: {error}", self.user));
    }

    /// The text of its message of that number.
    pub(crate) fn body(&self, number: usize) -> String {
        format!("{} says {number} äöü😀 \"quoted\"", self.user)
    }

    /// Lets it send its next message.
    pub(crate) fn say_next(&mut self) {
        let command = serde_json::json!({ "send": self.body(self.said) });
        self.tell(&command.to_string());
        self.said += 1;
    }

    /// How many messages it was told to send.
    pub(crate) fn said(&self) -> usize {
        self.said
    }

    /// How many users read, as it was told.
    pub(crate) fn users(&self) -> u64 {
        self.roster["users"].as_u64().unwrap_or(0)
    }

    /// How far a user has read, as it was told.
    pub(crate) fn seen(&self, user: &str) -> Option<u64> {
        self.roster["present"][user].as_u64()
    }

    /// Takes what it tells until something is so.
    pub(crate) fn wait(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + TIMEOUT;
        while !is_so(self) {
            let left = end.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.take(&line),
                Err(_) => panic!(
                    "{}: no {what}; {} events, {} acks, {} times lost; the last that it told: {:#?}",
                    self.user,
                    self.events.len(),
                    self.acks.len(),
                    self.lost,
                    self.last_lines,
                ),
            }
        }
    }

    /// Lets it leave when all is acked, and waits for its end.
    pub(crate) fn leave(&mut self) {
        self.tell(r#"{"leave":true}"#);
        while let Ok(line) = self.lines.recv_timeout(TIMEOUT) {
            self.take(&line);
        }
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success(), "{} has failed", self.user);
    }

    fn take(&mut self, line: &str) {
        self.last_lines.push_back(line.to_owned());
        if self.last_lines.len() > LAST_LINES {
            self.last_lines.pop_front();
        }
        let told: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        let (what, value) = told.as_object().and_then(|told| told.iter().next()).expect("one thing a line");
        let number = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("no {name} in {line}"));
        let text =
            |name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name} in {line}")).to_owned();
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
