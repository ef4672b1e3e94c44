//! `quoth send`.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use quoth_client::protocol::limits::BODY_BYTES_MAX;
use quoth_client::{Client, Conversation, ConversationName, SendError, SendOptions, Seq};
use tokio::io::BufReader;

use crate::addressed::tell_missing;
use crate::args::SendArgs;
use crate::connection::{Connection, Purpose};
use crate::hint::{Hint, Situation};
use crate::input::{InputLine, InputLines};
use crate::interrupt::{Interrupt, Interrupted};
use crate::output::{confirm, note, printable};
use crate::pipeline::{Pipeline, Tally};
use crate::producer::producer;
use crate::progress::bar;
use crate::states::telling_states;

/// Without a terminal progress is told so often, which short inputs never reach.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) async fn run(connection: &Connection, args: SendArgs) -> anyhow::Result<()> {
    let send = async |client: &Client, situation: &Situation<'_>| {
        let pattern = SendOptions {
            reply_to: args.reply_to,
            mentions: args.mentions.clone(),
            expires_in: args.expires,
            ..SendOptions::default()
        };
        let lines =
            Lines { room: room(client, &args, situation)?, is_numbered: args.once.is_some(), pattern };
        tell_missing(client, &lines.room, args.reply_to, &args.mentions).await;
        let interrupt = connection.interrupt();
        let sent = if args.reads_input() {
            let progress = progress();
            let say = |text: &str| progress.suspend(|| note(text));
            telling_states(client, situation, say, send_lines(&lines, &progress, interrupt)).await
        } else {
            let send = send_one(&lines, args.text.join(" "), interrupt);
            telling_states(client, situation, |text| note(text), send).await
        };
        sent.map_err(|error| if lines.is_numbered { repeatable(error) } else { error })
    };
    connection.run(Purpose::Talk(args.conversation.as_str()), send).await
}

/// Where lines go to.
struct Lines {
    room: Conversation,
    /// Whether the server recognises a line by its number when it is sent again.
    is_numbered: bool,
    /// What is the same with all of them.
    pattern: SendOptions,
}

impl Lines {
    fn message(&self, line_number: u64, body: Vec<u8>) -> SendOptions {
        SendOptions { n: self.is_numbered.then_some(line_number), body: body.into(), ..self.pattern.clone() }
    }
}

fn room(client: &Client, args: &SendArgs, situation: &Situation<'_>) -> anyhow::Result<Conversation> {
    let name = args.conversation.as_str();
    let Some(key) = &args.once else { return Ok(client.conversation(name)?) };
    let user = situation.user.as_deref().unwrap_or_default();
    let parts = ["quoth send", user, name, key].map(str::as_bytes);
    Ok(client.conversation_with_producer(name, producer(&parts))?)
}

/// What to do when lines that may be sent again have no ack.
fn repeatable(error: anyhow::Error) -> anyhow::Error {
    let is_unknown = error.is::<Interrupted>()
        || matches!(error.downcast_ref(), Some(SendError::UnknownOutcome { .. } | SendError::Abandoned));
    if !is_unknown {
        return error;
    }
    error.context(Hint(
        "send the same again with the same --once: what is there already is not written twice".to_owned(),
    ))
}

async fn send_one(lines: &Lines, text: String, interrupt: &Interrupt) -> anyhow::Result<()> {
    let ack = interrupt
        .unless_asked(lines.room.send(lines.message(1, text.into_bytes())))
        .await
        .context("it is unknown whether the message is stored")??;
    let before = if lines.is_numbered && ack.duplicate { " (it was there already)" } else { "" };
    confirm(&format!("stored in {} as {}{before}", lines.room.name(), ack.seq));
    if ack.seq == FIRST && !ack.duplicate {
        tell_first(lines.room.name());
    }
    Ok(())
}

async fn send_lines(lines: &Lines, progress: &ProgressBar, interrupt: &Interrupt) -> anyhow::Result<()> {
    if std::io::stdin().is_terminal() {
        note("each line is a message; Ctrl-D ends");
    }
    let name = lines.room.name();
    let mut pipeline = Pipeline::new(lines.room.clone());
    let pumped = interrupt.unless_asked(pump(lines, &mut pipeline, progress)).await;
    let mut settled = Ok(());
    let count = pipeline.unsettled();
    let rest = settle_rest(&mut pipeline, progress, &mut settled);
    interrupt.finish(count, rest).await;
    progress.finish_and_clear();
    let tally = pipeline.tally();
    confirm(&summary(tally, name.as_str(), lines.is_numbered));
    if tally.first == Some(FIRST) && tally.duplicates == 0 {
        tell_first(name);
    }
    let unsettled = pipeline.unsettled() as u64;
    let waited = if unsettled == 0 { Ok(()) } else { Err(Interrupted.into()) };
    pumped.map_err(anyhow::Error::from).flatten().and(settled).and(waited).with_context(|| {
        match tally.unknown + unsettled {
            0 => "not everything was sent".to_owned(),
            count => format!("of {count} of the lines behind these it is unknown whether they are stored"),
        }
    })
}

/// The first thing that is ever said in a conversation without members; in others it is that they were made.
const FIRST: Seq = Seq(1);

/// Says that nothing was said there before: a name with a slip in it is taken as any other.
fn tell_first(name: &ConversationName) {
    note(format_args!(
        "nothing was said in {} before: this is the first message there",
        printable(name.as_str())
    ));
}

/// What is stored. Without numbers of an earlier run only this run's own messages can have been there
/// already, by an ack that was lost with a connection: nobody needs to know.
fn summary(tally: Tally, conversation: &str, is_numbered: bool) -> String {
    let Tally { acked, duplicates, first, last, .. } = tally;
    let range = match (first, last) {
        (Some(first), Some(last)) => format!(", {first} to {last}"),
        _ => String::new(),
    };
    let before = match duplicates {
        1.. if is_numbered => format!(" ({duplicates} were there already)"),
        _ => String::new(),
    };
    format!("{acked} stored in {conversation}{range}{before}")
}

/// Sends every line of standard input. Ends early when one of them cannot be sent, with nothing behind it
/// sent.
async fn pump(lines: &Lines, pipeline: &mut Pipeline, progress: &ProgressBar) -> anyhow::Result<()> {
    let mut input = InputLines::new(BufReader::new(tokio::io::stdin()));
    let mut line_number = 0_u64;
    let mut told = (0, 0);
    // Between lines that a person types it would be in the way.
    let is_told = progress.is_hidden() && !std::io::stdin().is_terminal();
    let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
    tick.tick().await;
    loop {
        tokio::select! {
            biased;
            settled = settle_one(pipeline, progress) => settled?,
            line = input.next(), if !pipeline.is_full() => {
                let Some(line) = line.context("cannot read standard input")? else { return Ok(()) };
                line_number += 1;
                let InputLine::Text(line) = line else {
                    bail!(
                        "line {line_number} has over {BODY_BYTES_MAX} bytes, the limit of a message; \
                         neither it nor what follows was sent"
                    );
                };
                pipeline.push(lines.message(line_number, line)).await.with_context(|| format!("line {line_number}"))?;
            }
            _ = tick.tick(), if is_told => {
                let stored = (pipeline.tally().acked, line_number);
                if std::mem::replace(&mut told, stored) != stored {
                    note(format_args!("{} of {line_number} lines stored", stored.0));
                }
            }
        }
    }
}

/// Waits for the acks of what has been sent; the first failure is the result.
async fn settle_rest(pipeline: &mut Pipeline, progress: &ProgressBar, result: &mut anyhow::Result<()>) {
    while pipeline.unsettled() > 0 {
        let settled = settle_one(pipeline, progress).await;
        if result.is_ok() {
            *result = settled;
        }
    }
}

/// Waits for the oldest ack.
async fn settle_one(pipeline: &mut Pipeline, progress: &ProgressBar) -> anyhow::Result<()> {
    let settled = pipeline.settle_one().await;
    let Tally { acked, settled: line_number, .. } = pipeline.tally();
    progress.set_position(acked);
    settled.with_context(|| format!("line {line_number}"))
}

/// Where somebody types there is none.
fn progress() -> ProgressBar {
    if std::io::stdin().is_terminal() {
        return ProgressBar::hidden();
    }
    bar(None, "{spinner} {human_pos} stored, {rate}, {elapsed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_of_this_run_are_not_told_as_those_of_another() {
        let (first, last) = (Some(Seq(1)), Some(Seq(3)));
        let tally = Tally { acked: 3, duplicates: 2, first, last, ..Tally::default() };
        assert_eq!(summary(tally, "k", true), "3 stored in k, 1 to 3 (2 were there already)");
        assert_eq!(summary(tally, "k", false), "3 stored in k, 1 to 3");
        assert_eq!(summary(Tally::default(), "k", true), "0 stored in k");
    }
}
