//! `quoth chat`.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use quoth_client::protocol::limits::BODY_BYTES_MAX;
use quoth_client::{Ack, Client, ClientEvent, Conversation, Event, EventKind, Events, SendError, Seq, Start};
use tokio::io::{BufReader, Stdin};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::args::ChatArgs;
use crate::clock::Days;
use crate::connection::{Connection, Purpose, telling_states};
use crate::hint::{Situation, hint};
use crate::input::{InputLine, InputLines};
use crate::interrupt::Interrupt;
use crate::output::{Format, day_line, note, shortened, written};
use crate::screen::Screen;

/// How long a chat that is left waits for its own last message to be shown.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) async fn run(connection: &Connection, args: ChatArgs) -> anyhow::Result<()> {
    let interrupt = connection.interrupt();
    let chat = async |client: &Client, situation: &Situation<'_>| {
        let room = client.conversation(&args.conversation)?;
        let screen = Screen::new(std::io::stdin().is_terminal() && std::io::stdout().is_terminal());
        let chat = async {
            let events = interrupt.unless_asked(room.events(Start::Last(args.last))).await??;
            if let Some(welcome) = client.welcome() {
                note(format_args!("* {} in {}; /quit or Ctrl-D leaves", welcome.user, room.name()));
            }
            Chat::new(room, events, interrupt.clone(), situation, &screen).run().await
        };
        telling_states(client, |text| screen.note(text), chat).await
    };
    connection.run(Purpose::Talk(&args.conversation), chat).await
}

struct Chat<'a> {
    room: Conversation,
    events: Events,
    interrupt: Interrupt,
    situation: &'a Situation<'a>,
    input: InputLines<BufReader<Stdin>>,
    screen: &'a Screen,
    days: Days,
    /// What is on its way, with its text.
    sends: JoinSet<(Vec<u8>, Result<Ack, SendError>)>,
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
        room: Conversation,
        events: Events,
        interrupt: Interrupt,
        situation: &'a Situation<'a>,
        screen: &'a Screen,
    ) -> Self {
        Self {
            room,
            events,
            interrupt,
            situation,
            input: InputLines::new(BufReader::new(tokio::io::stdin())),
            screen,
            days: Days::from_today(),
            sends: JoinSet::new(),
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
                Some(sent) = self.sends.join_next() => self.sent(sent),
                event = self.events.next() => match event {
                    Some(event) => self.show(&event?)?,
                    None => return Ok(()),
                },
                line = self.input.next() => match line.context("cannot read standard input")? {
                    None => return Ok(()),
                    Some(InputLine::Text(line)) if line == b"/quit" => return Ok(()),
                    Some(InputLine::Text(line)) if line.is_empty() => {}
                    Some(InputLine::Text(line)) => self.say(line).await,
                    Some(InputLine::TooLong) => self.failed(format_args!(
                        "a line of over {BODY_BYTES_MAX} bytes, the limit of a message, was not sent"
                    )),
                },
            }
        }
    }

    /// Waits for the acks of what was said, and shows it.
    async fn leave(&mut self) -> anyhow::Result<()> {
        let (interrupt, count) = (self.interrupt.clone(), self.sends.len());
        let acks = async {
            while let Some(sent) = self.sends.join_next().await {
                self.sent(sent);
            }
        };
        interrupt.finish(count, acks).await;
        self.failed += self.sends.len();
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
        match self.failed + self.unknown.len() {
            0 => Ok(()),
            1 => anyhow::bail!("1 message was not sent, or it is unknown whether it was"),
            count => anyhow::bail!("{count} messages were not sent, or it is unknown whether they were"),
        }
    }

    async fn say(&mut self, line: Vec<u8>) {
        self.screen.typed(&line);
        match self.room.send_pipelined(line.clone().into()).await {
            Ok(sending) => drop(self.sends.spawn(async move { (line, sending.await) })),
            Err(error) => self.not_acked(line, &error),
        }
    }

    fn sent(&mut self, sent: Result<(Vec<u8>, Result<Ack, SendError>), JoinError>) {
        match sent {
            Ok((_, Ok(ack))) => self.last_sent = self.last_sent.max(ack.seq),
            Ok((line, Err(error))) => self.not_acked(line, &error),
            Err(error) => self.failed(error),
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
        }
        let own = match event {
            ClientEvent::Event(Event { sender, kind: EventKind::Message { body }, .. })
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
        Format::Live.print(&mut text, event)?;
        if text.is_empty() {
            return Ok(());
        }
        written(self.screen.print(&String::from_utf8_lossy(&text), own))
    }
}
