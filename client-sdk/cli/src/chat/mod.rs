//! `quoth chat`.

mod deeds;
mod reading;

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use quoth_client::protocol::limits::BODY_BYTES_MAX;
use quoth_client::{
    Ack, Client, ClientEvent, Conversation, Event, EventKind, Events, EventsError, SendError, SendOptions,
    Sending, Seq, Start, UserId, View,
};
use tokio::io::{BufReader, Stdin};
use tokio::time::timeout;

use self::deeds::{Deed, oldest_deed};
use self::reading::Reading;
use crate::args::ChatArgs;
use crate::clock::Days;
use crate::command::{HELP, Typed};
use crate::connection::{Connection, Purpose};
use crate::hint::{Situation, barrier_hint, hint};
use crate::input::{InputLine, InputLines};
use crate::interrupt::{Interrupt, counted};
use crate::output::{Format, Known, day_line, note, shortened, written};
use crate::rights::{self, Verb};
use crate::screen::Screen;
use crate::states::{over, telling_states, withdrawn};

/// How long a chat that is left waits for its own last message to be shown.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(2);

/// Messages of unknown outcome that a chat which is left shows. Outcome: the others are counted.
const UNKNOWN_SHOWN_MAX: usize = 10;

/// Messages that a chat remembers, to say which one an edit, a reaction or an answer is about.
const KNOWN_MAX: usize = 1_000;

pub(crate) async fn run(connection: &Connection, args: ChatArgs) -> anyhow::Result<()> {
    let interrupt = connection.interrupt();
    let chat = async |client: &Client, situation: &Situation<'_>| {
        let room = client.conversation(args.conversation.as_str())?;
        let screen = Screen::new(std::io::stdin().is_terminal() && std::io::stdout().is_terminal());
        let chat = async {
            let events = interrupt.unless_asked(room.events(Start::Last(args.last))).await??;
            if let Some(welcome) = client.welcome() {
                note(format_args!(
                    "* {} in {}{}; /quit or Ctrl-D leaves, /help tells more",
                    welcome.user,
                    room.name(),
                    over(client)
                ));
            }
            let name = room.name().as_str();
            let standing = interrupt.unless_asked(rights::standing(client, name)).await?;
            let claims = situation.claims.as_ref();
            let barrier = standing.and_then(|standing| rights::barrier(Verb::Write, name, standing, claims));
            // It is told once: later refusals may have other reasons.
            if let Some(why) = barrier_hint(Verb::Write, &Situation { barrier, ..situation.clone() }) {
                note(format_args!("* {why}"));
            }
            let me = client.welcome().map(|welcome| welcome.user.clone());
            let me = me.context("the connection was lost before the chat began: try again")?;
            let view = View::new(room.name().clone(), me.clone());
            let mut chat = Chat::new((room, view, me), events, interrupt.clone(), situation, &screen);
            chat.run().await
        };
        let chat = telling_states(client, situation, |text| screen.note(text), chat);
        unless_withdrawn(client, situation, chat).await
    };
    connection.run(Purpose::Talk(args.conversation.as_str()), chat).await
}

/// A person's token that was withdrawn is not waited out, also where it is in a file, unless that has another one
/// already: nobody puts it there later, as what keeps a `tail` running does.
async fn unless_withdrawn(
    client: &Client,
    situation: &Situation<'_>,
    chat: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let mut chat = std::pin::pin!(chat);
    let reason = tokio::select! {
        biased;
        reason = withdrawn(client, situation.token_file.as_ref()) => reason,
        done = chat.as_mut() => return done,
    };
    client.close().await;
    // It still tells what has become of each message.
    chat.await.ok();
    Err(EventsError::Closed(reason).into())
}

struct Chat<'a> {
    room: Conversation,
    me: UserId,
    events: Events,
    /// What was said here lately, which later events are about.
    view: View,
    reading: Reading,
    interrupt: Interrupt,
    situation: &'a Situation<'a>,
    input: InputLines<BufReader<Stdin>>,
    screen: &'a Screen,
    days: Days,
    /// What is on its way, with its text, in the order in which it is answered.
    sends: VecDeque<(Vec<u8>, Sending)>,
    /// What is to become of messages: in the order in which it was said, one after the other.
    deeds: VecDeque<(String, Deed)>,
    /// What may be stored or not. The client goes on trying, so it may be shown yet.
    unknown: Vec<Vec<u8>>,
    /// The last of this chat's own messages that is stored, and the last message that is shown.
    last_sent: Seq,
    last_shown: Seq,
    /// Messages that are not stored.
    failed: usize,
}

impl<'a> Chat<'a> {
    fn new(
        (room, view, me): (Conversation, View, UserId),
        events: Events,
        interrupt: Interrupt,
        situation: &'a Situation<'a>,
        screen: &'a Screen,
    ) -> Self {
        Self {
            reading: Reading::of(room.clone()),
            room,
            me,
            events,
            view,
            interrupt,
            situation,
            input: InputLines::new(BufReader::new(tokio::io::stdin())),
            screen,
            days: Days::from_today(),
            sends: VecDeque::new(),
            deeds: VecDeque::new(),
            unknown: Vec::new(),
            last_sent: Seq::ZERO,
            last_shown: Seq::ZERO,
            failed: 0,
        }
    }

    async fn run(&mut self) -> anyhow::Result<()> {
        let talked = self.talk().await;
        // Whatever has ended the talk: the user hears what has become of each message.
        let left = self.leave().await;
        talked.and(left)
    }

    /// Until the user leaves.
    async fn talk(&mut self) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                biased;
                () = self.interrupt.asked() => return Ok(()),
                (line, answer) = oldest_answer(&mut self.sends) => self.answered(line, answer),
                (what, done) = oldest_deed(&mut self.deeds) => self.done(&what, done),
                event = self.events.next() => match event {
                    Some(event) => self.show(&event?)?,
                    None => return Ok(()),
                },
                line = self.input.next() => match line.context("cannot read standard input")? {
                    None => return Ok(()),
                    Some(InputLine::Text(line)) => match Typed::parse(line) {
                        Typed::Text(text) => self.say(text, None).await,
                        Typed::Reply(text) => match self.last_of_another() {
                            Some(seq) => self.say(text, Some(seq)).await,
                            None => self.failed("nobody else has said anything here that you could answer"),
                        },
                        Typed::Edit(text) => self.edit(text),
                        Typed::Revoke => self.revoke(),
                        Typed::React(reaction) => self.react(reaction),
                        Typed::Incomplete(usage) => {
                            self.screen.note(format_args!("* it is {usage}; nothing was sent"));
                        }
                        Typed::Help => self.screen.note(format_args!("* {HELP}")),
                        Typed::Unknown(word) => {
                            self.screen.note(format_args!("* unknown command {word}, nothing was sent; {HELP}"));
                        }
                        Typed::Empty => {}
                        Typed::Quit => return Ok(()),
                    },
                    Some(InputLine::TooLong) => self.failed(format_args!(
                        "a line of over {BODY_BYTES_MAX} bytes, the limit of a message, was not sent"
                    )),
                },
            }
        }
    }

    /// Waits for the acks of what was said, and shows it.
    async fn leave(&mut self) -> anyhow::Result<()> {
        let (interrupt, count) = (self.interrupt.clone(), self.sends.len() + self.deeds.len());
        let acks = async {
            while !self.sends.is_empty() {
                let (line, answer) = oldest_answer(&mut self.sends).await;
                self.answered(line, answer);
            }
            while !self.deeds.is_empty() {
                let (what, done) = oldest_deed(&mut self.deeds).await;
                self.done(&what, done);
            }
        };
        interrupt.finish(count, acks).await;
        self.unknown.extend(self.sends.drain(..).map(|(line, _)| line));
        let last_word = async {
            while self.last_shown < self.last_sent {
                match self.events.next().await {
                    Some(event) => self.show(&event?)?,
                    None => break,
                }
            }
            anyhow::Ok(())
        };
        // Without it the messages are stored all the same, and only not shown.
        timeout(LAST_WORD_TIMEOUT, last_word).await.unwrap_or(Ok(()))?;
        for line in self.unknown.iter().take(UNKNOWN_SHOWN_MAX) {
            note(format_args!("* it is unknown whether your \"{}\" is stored", shortened(line)));
        }
        if let Some(more @ 1..) = self.unknown.len().checked_sub(UNKNOWN_SHOWN_MAX) {
            note(format_args!("* nor is it known of {} more", counted(more, "message")));
        }
        match self.failed + self.unknown.len() {
            0 => Ok(()),
            1 => anyhow::bail!("1 message was not sent, or it is unknown whether it was"),
            count => anyhow::bail!("{count} messages were not sent, or it is unknown whether they were"),
        }
    }

    async fn say(&mut self, line: Vec<u8>, reply_to: Option<Seq>) {
        self.screen.typed(&line);
        let message = SendOptions { reply_to, ..line.clone().into() };
        match self.room.send_pipelined(message).await {
            Ok(sending) => self.sends.push_back((line, sending)),
            Err(error) => self.not_acked(line, &error),
        }
    }

    fn answered(&mut self, line: Vec<u8>, answer: Result<Ack, SendError>) {
        match answer {
            Ok(ack) => self.last_sent = self.last_sent.max(ack.seq),
            Err(error) => self.not_acked(line, &error),
        }
    }

    fn not_acked(&mut self, line: Vec<u8>, error: &SendError) {
        let text = shortened(&line);
        if let SendError::UnknownOutcome { reason, .. } = error {
            self.unknown.push(line);
            self.screen.note(format_args!(
                "* it is unknown whether your \"{text}\" is stored: {reason}\n* quoth goes on trying while this chat runs, \
                 and shows it when it is stored; if you leave, look with `quoth history` before you send it again"
            ));
            return;
        }
        match hint(error, self.situation) {
            Some(hint) => self.failed(format_args!("your \"{text}\": {error}\n* {hint}")),
            None => self.failed(format_args!("your \"{text}\": {error}")),
        }
    }

    fn failed(&mut self, problem: impl Display) {
        self.failed += 1;
        self.screen.note(format_args!("* {problem}"));
    }

    fn show(&mut self, event: &ClientEvent) -> anyhow::Result<()> {
        if let ClientEvent::Event(Event { seq, .. }) | ClientEvent::Unknown { seq, .. } = event {
            self.last_shown = *seq;
            self.reading.shown(*seq);
        }
        let own = match event {
            ClientEvent::Event(Event { sender, kind: EventKind::Message { body, .. }, .. })
                if self.situation.user.as_deref() == Some(sender.as_str()) =>
            {
                Some(&body[..])
            }
            _ => None,
        };
        if let Some(index) = self.unknown.iter().position(|line| own == Some(line)) {
            self.unknown.remove(index);
        }
        let mut text = Vec::new();
        if let Some(day) = day_line(&mut self.days, event) {
            writeln!(text, "{day}")?;
        }
        Format::Live.print(&mut text, event, &Known { state: None, view: Some(&self.view) })?;
        self.view.event(event);
        let forgotten = self.view.messages().rev().nth(KNOWN_MAX).map(|message| message.seq);
        if let Some(forgotten) = forgotten {
            self.view.forget_before(forgotten.next());
        }
        if text.is_empty() {
            return Ok(());
        }
        written(self.screen.print(&String::from_utf8_lossy(&text), own))
    }
}

/// The answer to the oldest send, with its text; for ever when nothing is on its way. Cancel-safe.
async fn oldest_answer(sends: &mut VecDeque<(Vec<u8>, Sending)>) -> (Vec<u8>, Result<Ack, SendError>) {
    let Some((_, oldest)) = sends.front_mut() else { return std::future::pending().await };
    let answer = oldest.await;
    let line = sends.pop_front().map(|(line, _)| line).unwrap_or_default();
    (line, answer)
}
