//! What a view is told and what it shows then, in the files of `client-sdk/golden/views/`, which the
//! TypeScript client's tests play too.
//!
//! `QUOTH_WRITE_GOLDEN=1 cargo test -p quoth-client --lib vectors` writes `random.json`; the others are
//! written by hand. Each file is a list of `name`, `me` and `steps`. A step tells the view something, named
//! by its one key:
//!
//! | key | what |
//! |---|---|
//! | `event` | an event of a reader, as the protocol's JSON has it |
//! | `gap`, `unknown`, `caught_up` | a gap of a reader (`from`, `to`), an event of an unknown kind (`seq`, `time_ms`, `sender`), the head |
//! | `page` | `events` (of these three), `states`, `head`, `floor`, `from`, `to` |
//! | `reacted` | as many reactions of bob's as `count` says: the nth one at `from` + n, about the message `of` + n |
//! | `hide` | the user has hidden a message |
//! | `expire` | the time, in milliseconds; `next_ms` says when something expires next |
//! | `forget_before` | a seq |
//!
//! `view` is what it shows from then on, as [`shown`] has it; without it, as before.

use std::path::Path;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, from_value, json, to_value};

use super::random::{World, steps};
use super::*;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/views");

/// What a view is told.
#[derive(Debug)]
pub(super) enum Told {
    Event(ClientEvent),
    Page(Page),
    Reacted { from: u64, of: u64, count: u64 },
    Hide(Seq),
    Expire(u64),
    ForgetBefore(Seq),
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn seq(value: &Value) -> Seq {
    Seq(number(value))
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).iter()
}

fn client_event(key: &str, value: &Value) -> Option<ClientEvent> {
    Some(match key {
        "event" => ClientEvent::Event(from_value(value.clone()).unwrap()),
        "gap" => ClientEvent::Gap { from: seq(&value["from"]), to: seq(&value["to"]) },
        "unknown" => {
            let (time_ms, sender) = (number(&value["time_ms"]), from_value(value["sender"].clone()).unwrap());
            ClientEvent::Unknown { seq: seq(&value["seq"]), time_ms, sender }
        }
        "caught_up" => ClientEvent::CaughtUp { head: seq(value) },
        _ => return None,
    })
}

fn json_of(event: &ClientEvent) -> (&'static str, Value) {
    match event {
        ClientEvent::Event(event) => ("event", to_value(event).unwrap()),
        ClientEvent::Gap { from, to } => ("gap", json!({ "from": from, "to": to })),
        ClientEvent::Unknown { seq, time_ms, sender } => {
            ("unknown", json!({ "seq": seq, "time_ms": time_ms, "sender": sender }))
        }
        ClientEvent::CaughtUp { head } => ("caught_up", json!(head)),
        ClientEvent::Interrupted { .. } => panic!("a view has no use for it"),
    }
}

impl Told {
    fn of(step: &Map<String, Value>) -> Self {
        let keys: Vec<&String> =
            step.keys().filter(|key| !["view", "next_ms"].contains(&key.as_str())).collect();
        let [key] = keys[..] else { panic!("one key says what is told, not {keys:?}") };
        let value = &step[key];
        match key.as_str() {
            "page" => {
                let event = |one: &Value| {
                    let (key, value) = one.as_object().unwrap().iter().next().unwrap();
                    client_event(key, value).unwrap()
                };
                let states = list(&value["states"]).map(|state| from_value(state.clone()).unwrap());
                let (head, floor) = (seq(&value["head"]), seq(&value["floor"]));
                let (from, to) = (seq(&value["from"]), seq(&value["to"]));
                Self::Page(Page {
                    events: list(&value["events"]).map(event).collect(),
                    states: states.collect(),
                    head,
                    floor,
                    from,
                    to,
                    more_before: from > floor,
                    more_after: to < head,
                    gone_before: None,
                })
            }
            "reacted" => {
                let [from, of, count] = ["from", "of", "count"].map(|key| number(&value[key]));
                Self::Reacted { from, of, count }
            }
            "hide" => Self::Hide(seq(value)),
            "expire" => Self::Expire(number(value)),
            "forget_before" => Self::ForgetBefore(seq(value)),
            key => {
                Self::Event(client_event(key, value).unwrap_or_else(|| panic!("{key} is nothing to tell")))
            }
        }
    }

    fn json(&self) -> (&'static str, Value) {
        match self {
            Self::Event(event) => json_of(event),
            Self::Page(Page { events, states, head, floor, from, to, .. }) => {
                let events: Vec<Value> = events
                    .iter()
                    .map(|event| {
                        let (key, value) = json_of(event);
                        json!({ key: value })
                    })
                    .collect();
                let page = json!({ "events": events, "states": states, "head": head, "floor": floor, "from": from, "to": to });
                ("page", page)
            }
            Self::Reacted { from, of, count } => {
                ("reacted", json!({ "from": from, "of": of, "count": count }))
            }
            Self::Hide(seq) => ("hide", json!(seq)),
            Self::Expire(now_ms) => ("expire", json!(now_ms)),
            Self::ForgetBefore(seq) => ("forget_before", json!(seq)),
        }
    }

    /// Gives when something expires next.
    pub(super) fn apply(&self, view: &mut View) -> Option<u64> {
        match self {
            Self::Event(event) => view.event(event),
            Self::Page(page) => view.page(page),
            Self::Reacted { from, of, count } => (0..*count).for_each(|n| {
                let kind = EventKind::Reacted { seq: Seq(of + n), reaction: "+1".into(), on: true };
                view.event(&ClientEvent::Event(event(from + n, user(1), kind)));
            }),
            Self::Hide(seq) => {
                let kind = EventKind::Hidden { conversation: view.conversation.clone(), seq: *seq };
                view.own_event(&ClientEvent::Event(event(1, view.me.clone(), kind)));
            }
            Self::Expire(now_ms) => return view.expire(*now_ms),
            Self::ForgetBefore(seq) => view.forget_before(*seq),
        }
        None
    }
}

/// What is told, what is absent, what is kept, and each message: its seq, sender and text, whether it is an
/// answer (`re`) or edited (by which event), whom it mentions, and how often it was reacted to, with a `*` at
/// what the user has reacted.
fn shown(view: &View) -> Vec<String> {
    let ranges = |ranges: &mut dyn Iterator<Item = (Seq, Seq)>| {
        ranges.map(|(from, to)| format!(" {from}-{to}")).collect::<String>()
    };
    let mut lines =
        vec![format!("told{}", ranges(&mut view.told())), format!("absent{}", ranges(&mut view.gaps()))];
    let kept = |kept: Retention| format!("kept {} s, {}, {} bytes", kept.age_s, kept.count, kept.bytes);
    lines.extend(view.retention().map(kept));
    for message in view.messages() {
        let mut line =
            format!("{} {}: {}", message.seq, message.sender, String::from_utf8_lossy(&message.body));
        line.extend(message.reply_to.map(|seq| format!(" re {seq}")));
        line.extend(message.edited.map(|edited| format!(" edited {}", edited.seq)));
        line.extend(message.mentions.iter().map(|user| format!(" @{user}")));
        let reactions = message.reactions.iter();
        line.extend(
            reactions.map(|(text, of)| format!(" {text}={}{}", of.count, if of.mine { "*" } else { "" })),
        );
        lines.push(line);
    }
    lines
}

fn play(name: &str, vector: &Value) {
    let me = from_value(vector["me"].clone()).unwrap();
    let mut view = View::new(ConversationName::new("general").unwrap(), me);
    let mut expected: Vec<String> = shown(&view);
    for step in list(&vector["steps"]) {
        let step_of = step.as_object().unwrap();
        let next_ms = Told::of(step_of).apply(&mut view);
        if let Some(view) = step_of.get("view") {
            expected = from_value(view.clone()).unwrap();
        }
        assert_eq!(shown(&view), expected, "{name}, behind {step}");
        assert_eq!(next_ms, step_of.get("next_ms").and_then(Value::as_u64), "{name}, behind {step}");
    }
}

/// Those that random steps come to, as text with a step on each line.
fn random() -> String {
    let mut runner = TestRunner::deterministic();
    let strategy = (steps(), 1_u64..20);
    let mut vectors = Vec::new();
    while vectors.len() < 16 {
        let (steps, page_seqs) = strategy.new_tree(&mut runner).unwrap().current();
        let World { told, .. } = World::of(steps, page_seqs, &mut view()).unwrap();
        if !(20..60).contains(&told.len()) {
            continue;
        }
        let (mut view, mut before) = (view(), Vec::new());
        let lines: Vec<String> = told
            .iter()
            .map(|told| {
                let next_ms = told.apply(&mut view);
                let (key, value) = told.json();
                let mut step = json!({ key: value });
                if let Some(next_ms) = next_ms {
                    step["next_ms"] = json!(next_ms);
                }
                let now = shown(&view);
                if now != before {
                    step["view"] = json!(now);
                    before = now;
                }
                step.to_string()
            })
            .collect();
        let head = format!("{{\"name\":\"random {}\",\"me\":\"alice\",\"steps\":[", vectors.len() + 1);
        vectors.push(format!("{head}\n{}\n]}}", lines.join(",\n")));
    }
    format!("[\n{}\n]\n", vectors.join(",\n"))
}

#[test]
fn views_show_what_the_vectors_say() {
    let random_file = Path::new(FOLDER).join("random.json");
    if std::env::var_os("QUOTH_WRITE_GOLDEN").is_some() {
        std::fs::write(&random_file, random()).unwrap();
    }
    let files = std::fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    assert!(files.len() > 1 && files.contains(&random_file), "{files:?}");
    for path in files {
        let vectors: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for vector in list(&vectors) {
            play(&format!("{} in {}", vector["name"], path.display()), vector);
        }
    }
}
