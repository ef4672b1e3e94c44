//! What is printed: events and results on standard output, notes on standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quoth_client::{ClientEvent, Event, EventKind, MessageState, Reaction, Seq, UserId, View};
use serde::Serialize;

use crate::clock::{self, Days};
use crate::deed::deed;

/// Characters of a text that is quoted to remind of it.
const SHORTENED_CHARS: usize = 60;

/// One event as a line of JSON.
#[derive(Serialize)]
struct JsonEvent<'a> {
    seq: u64,
    time_ms: u64,
    sender: &'a str,
    origin_time_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<u64>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    mentions: &'a [UserId],
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
    /// The last event about it: what comes of it behind that is not in this line.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// What it has come to.
    #[serde(skip_serializing_if = "Option::is_none")]
    edited: Option<JsonEdit<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    reactions: &'a [Reaction],
    /// What it is instead of a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a EventKind>,
}

/// The latest edit of a message, of which the message has body and mentions, and what it said first.
#[derive(Serialize)]
struct JsonEdit<'a> {
    seq: u64,
    time_ms: u64,
    first: JsonFirst<'a>,
}

#[derive(Serialize)]
struct JsonFirst<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    mentions: &'a [UserId],
}

#[derive(Serialize)]
struct JsonUnknown<'a> {
    seq: u64,
    time_ms: u64,
    sender: &'a str,
    unknown: bool,
}

#[derive(Serialize)]
struct JsonGap {
    gap: JsonRange,
}

#[derive(Serialize)]
struct JsonRange {
    from: u64,
    to: u64,
}

/// The shape of what is printed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Format {
    /// `[HH:MM] <user> text`, for people who talk.
    Live,
    /// `SEQ [YYYY-MM-DD HH:MM] <user> text`, for people who read, and may want to find the place again.
    Full,
    /// One object a line, with every byte of the message.
    Json,
}

/// What is known besides the event that is printed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Known<'a> {
    /// What a message of history has come to.
    pub(crate) state: Option<&'a MessageState>,
    /// What was said before, for people who do not see the seqs.
    pub(crate) view: Option<&'a View>,
}

impl Known<'_> {
    /// A message that an event is about, as people find it again.
    pub(crate) fn named(&self, seq: Seq) -> String {
        match self.view.and_then(|view| view.message(seq)) {
            Some(message) => format!("\"{}\"", shortened(&message.body)),
            None => format!("message {seq}"),
        }
    }
}

impl Format {
    /// Prints an event as one line; that the reader has caught up is not printed.
    pub(crate) fn print(
        self,
        out: &mut impl Write,
        event: &ClientEvent,
        known: &Known<'_>,
    ) -> std::io::Result<()> {
        match self {
            Self::Json => json_line(out, event, known.state),
            _ => match self.text_line(event, known) {
                Some(line) => writeln!(out, "{line}"),
                None => Ok(()),
            },
        }
    }

    fn text_line(self, event: &ClientEvent, known: &Known<'_>) -> Option<String> {
        match event {
            ClientEvent::Event(event) => {
                let place = self.place(event.seq, shown_time_ms(event));
                if let Some(deed) = deed(event, known) {
                    return Some(format!("{place} * {deed}"));
                }
                let text = message_text(event, known, self)?;
                Some(format!("{place} <{}> {text}", printable(event.sender.as_str())))
            }
            ClientEvent::Unknown { seq, time_ms, sender } => Some(format!(
                "{} * {} did something that this version of quoth does not know",
                self.place(*seq, *time_ms),
                printable(sender.as_str())
            )),
            ClientEvent::Gap { from, to } if from == to => Some(format!("* {from} is gone")),
            ClientEvent::Gap { from, to } => Some(format!("* {from} to {to} are gone")),
            ClientEvent::Interrupted { code } => {
                Some(format!("* the server fails to read on: {code}; trying again, its log says more"))
            }
            _ => None,
        }
    }

    /// A moment, for people who read what was said at another one.
    fn moment(self, time_ms: u64, said_ms: u64) -> String {
        let (date, time) = (clock::date(time_ms), clock::time(time_ms));
        match self {
            Self::Live if date == clock::date(said_ms) => time,
            _ => format!("{date} {time}"),
        }
    }

    fn place(self, seq: Seq, time_ms: u64) -> String {
        match self {
            Self::Full => format!("{seq} [{} {}]", clock::date(time_ms), clock::time(time_ms)),
            _ => format!("[{}]", clock::time(time_ms)),
        }
    }
}

/// What a message says now, what it answers, when it goes by itself and how users have reacted.
fn message_text(event: &Event, known: &Known<'_>, format: Format) -> Option<String> {
    let EventKind::Message { body, reply_to, expires_ms, .. } = &event.kind else { return None };
    let mut text = String::new();
    if let Some(to) = reply_to {
        let answered = known.view.and_then(|view| view.message(*to));
        let by =
            answered.map(|message| format!("{}: ", printable(message.sender.as_str()))).unwrap_or_default();
        text.push_str(&format!("(to {by}{}) ", known.named(*to)));
    }
    let edited = known.state.and_then(|state| state.edited.as_ref());
    let body = edited.map_or(body, |edit| &edit.body);
    text.push_str(&printable(&String::from_utf8_lossy(body)));
    if edited.is_some() {
        text.push_str(" (edited)");
    }
    if *expires_ms > 0 {
        text.push_str(&format!(" (until {})", format.moment(*expires_ms, event.time_ms)));
    }
    let reactions = known.state.map_or(&[][..], |state| &state.reactions);
    let shown = |of: &Reaction| {
        let mine = if of.mine { ", yours" } else { "" };
        format!("{} {}{mine}", printable(&of.reaction), of.count)
    };
    if !reactions.is_empty() {
        text.push_str(&format!(" {{{}}}", reactions.iter().map(shown).collect::<Vec<_>>().join("; ")));
    }
    Some(text)
}

/// The date as a line of its own, if it changes with this event.
pub(crate) fn day_line(days: &mut Days, event: &ClientEvent) -> Option<String> {
    let time_ms = match event {
        ClientEvent::Event(event) => shown_time_ms(event),
        ClientEvent::Unknown { time_ms, .. } => *time_ms,
        _ => return None,
    };
    days.change(time_ms).map(|date| format!("* {date}"))
}

/// A text of the user's, short enough to remind of it.
pub(crate) fn shortened(text: &[u8]) -> String {
    let text = printable(&String::from_utf8_lossy(text));
    match text.char_indices().nth(SHORTENED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Confirms on standard output what is stored. It stays stored when that cannot be told, so this is no
/// failure: a caller who took it for one would send again.
pub(crate) fn confirm(text: &str) {
    confirm_on(&mut std::io::stdout().lock(), &mut std::io::stderr().lock(), text);
}

/// Tells people something on standard error. What they cannot be told is dropped.
pub(crate) fn note(text: impl Display) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}

/// Names standard output as what cannot be written.
pub(crate) fn written(result: std::io::Result<()>) -> anyhow::Result<()> {
    result.context("cannot write to standard output")
}

/// Whether the reader of the output has gone, which is no failure (`quoth history … | head`).
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
    })
}

fn confirm_on(out: &mut impl Write, notes: &mut impl Write, text: &str) {
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            writeln!(notes, "{text}; standard output cannot be written: {error}").ok();
        }
        _ => {}
    }
}

fn json_line(out: &mut impl Write, event: &ClientEvent, state: Option<&MessageState>) -> std::io::Result<()> {
    match event {
        ClientEvent::Event(Event { seq, time_ms, sender, origin_time_ms, kind }) => {
            let mut line = JsonEvent {
                seq: seq.0,
                time_ms: *time_ms,
                sender: sender.as_str(),
                origin_time_ms: *origin_time_ms,
                body: None,
                body_base64: None,
                reply_to: None,
                mentions: &[],
                expires_ms: None,
                version: state.map(|state| state.version.0),
                edited: None,
                reactions: state.map_or(&[], |state| &state.reactions),
                kind: None,
            };
            match kind {
                EventKind::Message { body, reply_to, mentions, expires_ms } => {
                    let edit = state.and_then(|state| state.edited.as_ref());
                    (line.body, line.body_base64) = json_body(edit.map_or(body, |edit| &edit.body));
                    line.mentions = edit.map_or(mentions, |edit| &edit.mentions);
                    line.reply_to = reply_to.map(|seq| seq.0);
                    line.edited = edit.map(|edit| {
                        let (body, body_base64) = json_body(body);
                        let first = JsonFirst { body, body_base64, mentions };
                        JsonEdit { seq: edit.seq.0, time_ms: edit.time_ms, first }
                    });
                    line.expires_ms = (*expires_ms > 0).then_some(*expires_ms);
                }
                kind => line.kind = Some(kind),
            }
            serde_json::to_writer(&mut *out, &line)?;
        }
        ClientEvent::Unknown { seq, time_ms, sender } => {
            let (seq, time_ms, sender) = (seq.0, *time_ms, sender.as_str());
            serde_json::to_writer(&mut *out, &JsonUnknown { seq, time_ms, sender, unknown: true })?;
        }
        ClientEvent::Gap { from: Seq(from), to: Seq(to) } => {
            serde_json::to_writer(&mut *out, &JsonGap { gap: JsonRange { from: *from, to: *to } })?;
        }
        _ => return Ok(()),
    }
    out.write_all(b"\n")
}

/// A body as text, or in base64 where it is none.
fn json_body(body: &[u8]) -> (Option<&str>, Option<String>) {
    match std::str::from_utf8(body) {
        Ok(text) => (Some(text), None),
        Err(_) => (None, Some(STANDARD.encode(body))),
    }
}

/// When a message was said, as far as its sender says so.
fn shown_time_ms(event: &Event) -> u64 {
    event.origin_time_ms.unwrap_or(event.time_ms)
}

/// A text of others with its control characters escaped, and those that turn the direction of writing: what
/// others have said, and what they call themselves, must not steer the terminal.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if (c.is_control() && c != '\t') || turns { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use quoth_client::UserId;

    use super::*;

    fn printed(format: Format, event: &ClientEvent) -> String {
        let mut out = Vec::new();
        format.print(&mut out, event, &Known::default()).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn message(body: &[u8], origin_time_ms: Option<u64>) -> ClientEvent {
        let kind = EventKind::message(body.to_vec());
        let sender = UserId::new("alice").unwrap();
        ClientEvent::Event(Event { seq: Seq(7), time_ms: 1_103_947_440_000, sender, origin_time_ms, kind })
    }

    #[test]
    fn json_has_every_byte() {
        assert_eq!(
            printed(Format::Json, &message("\"\u{1b}é".as_bytes(), None)),
            "{\"seq\":7,\"time_ms\":1103947440000,\"sender\":\"alice\",\"origin_time_ms\":null,\
             \"body\":\"\\\"\\u001bé\"}\n"
        );
        assert_eq!(
            printed(Format::Json, &message(&[0xFF, 0], Some(5))),
            "{\"seq\":7,\"time_ms\":1103947440000,\"sender\":\"alice\",\"origin_time_ms\":5,\
             \"body_base64\":\"/wA=\"}\n"
        );
        let gap = ClientEvent::Gap { from: Seq(1), to: Seq(3) };
        assert_eq!(printed(Format::Json, &gap), "{\"gap\":{\"from\":1,\"to\":3}}\n");
        assert_eq!(printed(Format::Json, &ClientEvent::CaughtUp { head: Seq(3) }), "");
    }

    #[test]
    fn what_a_message_has_come_to_is_told_with_it() {
        use quoth_client::{ConversationName, Edit};
        let user = |name: &str| UserId::new(name).unwrap();
        let kind = EventKind::Message {
            body: "hi".into(),
            reply_to: Some(Seq(3)),
            mentions: vec![user("bob")],
            expires_ms: 9,
        };
        let sender = user("alice");
        let event = ClientEvent::Event(Event { seq: Seq(7), time_ms: 0, sender, origin_time_ms: None, kind });
        let edited = Edit { seq: Seq(8), time_ms: 5, body: "h\u{1b}o".into(), mentions: vec![] };
        let reaction = |reaction: &str, count, mine| Reaction { reaction: reaction.to_owned(), count, mine };
        let reactions = vec![reaction("+1", 2, true), reaction("\u{202e}", 1, false)];
        let state = MessageState { seq: Seq(7), version: Seq(9), edited: Some(edited), reactions };
        let printed = |format: Format, known: &Known<'_>| {
            let mut out = Vec::new();
            format.print(&mut out, &event, known).unwrap();
            String::from_utf8(out).unwrap()
        };
        let known = Known { state: Some(&state), view: None };
        assert_eq!(
            printed(Format::Full, &known),
            "7 [1970-01-01 00:00] <alice> (to message 3) h\\u{1b}o (edited) (until 1970-01-01 00:00) {+1 2, yours; \\u{202e} 1}\n"
        );
        assert_eq!(
            printed(Format::Json, &known),
            "{\"seq\":7,\"time_ms\":0,\"sender\":\"alice\",\"origin_time_ms\":null,\"body\":\"h\\u001bo\",\"reply_to\":3,\
             \"expires_ms\":9,\"version\":9,\
             \"edited\":{\"seq\":8,\"time_ms\":5,\"first\":{\"body\":\"hi\",\"mentions\":[\"bob\"]}},\
             \"reactions\":[{\"reaction\":\"+1\",\"count\":2,\"mine\":true},\
             {\"reaction\":\"\u{202e}\",\"count\":1,\"mine\":false}]}\n"
        );
        let mut view = View::new(ConversationName::new("general").unwrap(), user("alice"));
        let said = EventKind::message("what was\u{1b} said");
        let said = Event { seq: Seq(3), time_ms: 0, sender: user("bob"), origin_time_ms: None, kind: said };
        view.event(&ClientEvent::Event(said));
        assert_eq!(
            printed(Format::Live, &Known { state: None, view: Some(&view) }),
            "[00:00] <alice> (to bob: \"what was\\u{1b} said\") hi (until 00:00)\n"
        );
        assert_eq!(Format::Live.moment(86_400_000, 0), "1970-01-02 00:00", "on another day");
    }

    #[test]
    fn what_is_no_message_is_told_too() {
        let (sender, kind) = (UserId::new("alice").unwrap(), EventKind::SlowMode { interval_ms: 1_500 });
        let (seq, time_ms, origin_time_ms) = (Seq(7), 1_103_947_440_000, None);
        let event = ClientEvent::Event(Event { seq, time_ms, sender, origin_time_ms, kind });
        let line = "[04:04] * alice set slow mode: one message in 1.5 s\n";
        assert_eq!(printed(Format::Live, &event), line);
        assert_eq!(
            printed(Format::Json, &event),
            "{\"seq\":7,\"time_ms\":1103947440000,\"sender\":\"alice\",\"origin_time_ms\":null,\
             \"kind\":{\"slow_mode\":{\"interval_ms\":1500}}}\n"
        );
    }

    #[test]
    fn what_is_looked_up_has_its_seq_and_date() {
        assert_eq!(printed(Format::Full, &message(b"hi", None)), "7 [2004-12-25 04:04] <alice> hi\n");
        let mut days = Days::from_today();
        let old = message(b"hi", None);
        assert_eq!(day_line(&mut days, &old).as_deref(), Some("* 2004-12-25"));
        assert_eq!(day_line(&mut days, &old), None);
    }

    #[test]
    fn a_long_text_is_quoted_by_its_beginning() {
        assert_eq!(shortened("é".repeat(60).as_bytes()), "é".repeat(60));
        assert_eq!(shortened("é".repeat(61).as_bytes()), format!("{}…", "é".repeat(60)));
        assert_eq!(shortened(b"a\x1bb"), "a\\u{1b}b");
    }

    /// Standard output as `/dev/full` and a pipe without a reader are.
    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_stored_is_told_elsewhere_when_standard_output_is_full() {
        let notes = |kind| {
            let mut notes = Vec::new();
            confirm_on(&mut Broken(kind), &mut notes, "stored in general as 7");
            String::from_utf8(notes).unwrap()
        };
        assert!(notes(ErrorKind::StorageFull).starts_with("stored in general as 7; standard output cannot"));
        assert_eq!(notes(ErrorKind::BrokenPipe), "");
    }

    #[test]
    fn text_cannot_steer_the_terminal() {
        assert_eq!(
            printed(Format::Live, &message(b"a\x1b[2J\nb\xff", None)),
            "[04:04] <alice> a\\u{1b}[2J\\nb\u{fffd}\n"
        );
        assert_eq!(
            printed(Format::Live, &message("\u{202e}x".as_bytes(), Some(0))),
            "[00:00] <alice> \\u{202e}x\n"
        );
        let sender = UserId::new("a\u{202e}b").unwrap();
        let unknown = ClientEvent::Unknown { seq: Seq(1), time_ms: 0, sender: sender.clone() };
        assert!(printed(Format::Live, &unknown).starts_with("[00:00] * a\\u{202e}b did something"));
        let kind = EventKind::message(b"hi".to_vec());
        let event = ClientEvent::Event(Event { seq: Seq(1), time_ms: 0, sender, origin_time_ms: None, kind });
        assert_eq!(printed(Format::Live, &event), "[00:00] <a\\u{202e}b> hi\n");
    }
}
