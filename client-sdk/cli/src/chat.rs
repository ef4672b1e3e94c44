//! `quoth chat`.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Context;
use quoth_client::protocol::limits::BODY_BYTES_MAX;
use quoth_client::{Ack, Client, ClientEvent, Conversation, Event, Events, SendError, Seq, Start};
use tokio::io::{BufReader, Stdin};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use crate::args::ChatArgs;
use crate::connection::{Connection, Purpose, telling_states};
use crate::hint::{Situation, hint};
use crate::input::{InputLine, InputLines};
use crate::interrupt::Interrupt;
use crate::output::{Format, note, written};

/// How long a chat that is left waits for its own last message to be shown.
const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(2);

/// Moves up to the line that was typed and erases it: it comes again in its place among the others'.
const ERASE_TYPED_LINE: &str = "\x1b[1A\x1b[2K\r";

pub(crate) async fn run(connection: &Connection, args: ChatArgs) -> anyhow::Result<()> {
    let interrupt = connection.interrupt();
    let chat = async |client: &Client, situation: &Situation<'_>| {
        let room = client.conversation(&args.conversation)?;
        let chat = async {
            let events = interrupt.unless_asked(room.events(Start::Last(args.last))).await??;
            if let Some(welcome) = client.welcome() {
                note(format_args!("* {} in {}; /quit or Ctrl-D leaves", welcome.user, room.name()));
            }
            Chat::new(room, events, interrupt.clone(), situation).run().await
        };
        telling_states(client, chat).await
    };
    connection.run(Purpose::Talk(&args.conversation), chat).await
}

struct Chat<'a> {
    room: Conversation,
    events: Events,
    interrupt: Interrupt,
    situation: &'a Situation<'a>,
    input: InputLines<BufReader<Stdin>>,
    sends: JoinSet<Result<Ack, SendError>>,
    /// The last of this chat's own messages that is stored, and the last message that is shown.
    last_sent: Seq,
    last_shown: Seq,
    failed: usize,
    is_terminal: bool,
}

impl<'a> Chat<'a> {
    fn new(room: Conversation, events: Events, interrupt: Interrupt, situation: &'a Situation<'a>) -> Self {
        let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        Self {
            room,
            events,
            interrupt,
            situation,
            input: InputLines::new(BufReader::new(tokio::io::stdin())),
            sends: JoinSet::new(),
            last_sent: Seq::ZERO,
            last_shown: Seq::ZERO,
            failed: 0,
            is_terminal,
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
                    Some(InputLine::Text(line)) => self.say(line).await?,
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
        match self.failed {
            0 => Ok(()),
            1 => anyhow::bail!("1 message was not sent, or it is unknown whether it was"),
            count => anyhow::bail!("{count} messages were not sent, or it is unknown whether they were"),
        }
    }

    async fn say(&mut self, line: Vec<u8>) -> anyhow::Result<()> {
        if self.is_terminal {
            let mut out = std::io::stdout().lock();
            written(out.write_all(ERASE_TYPED_LINE.as_bytes()).and_then(|()| out.flush()))?;
        }
        match self.room.send_pipelined(line.into()).await {
            Ok(sending) => drop(self.sends.spawn(sending)),
            Err(error) => self.sent(Ok(Err(error))),
        }
        Ok(())
    }

    fn sent(&mut self, sent: Result<Result<Ack, SendError>, JoinError>) {
        match sent {
            Ok(Ok(ack)) => self.last_sent = self.last_sent.max(ack.seq),
            Ok(Err(error)) => match hint(&error, self.situation) {
                Some(hint) => self.failed(format_args!("{error}\n* {hint}")),
                None => self.failed(error),
            },
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, problem: impl Display) {
        self.failed += 1;
        note(format_args!("* {problem}"));
    }

    fn show(&mut self, event: &ClientEvent) -> anyhow::Result<()> {
        if let ClientEvent::Event(Event { seq, .. }) | ClientEvent::Unknown { seq, .. } = event {
            self.last_shown = *seq;
        }
        let mut out = std::io::stdout().lock();
        written(Format::Text.print(&mut out, event).and_then(|()| out.flush()))
    }
}
