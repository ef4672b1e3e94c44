//! `quoth send`.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quoth_client::protocol::limits::BODY_BYTES_MAX;
use quoth_client::{Client, Conversation};
use tokio::io::BufReader;

use crate::args::SendArgs;
use crate::connection::{Connection, Purpose};
use crate::hint::Situation;
use crate::input::{InputLine, InputLines};
use crate::interrupt::{Interrupt, Interrupted};
use crate::output::{confirm, note};
use crate::pipeline::{Pipeline, Tally};

/// Without a terminal progress is told so often, which short inputs never reach.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) async fn run(connection: &Connection, args: SendArgs) -> anyhow::Result<()> {
    let send = async |client: &Client, _: &Situation<'_>| {
        let room = client.conversation(&args.conversation)?;
        match args.text.clone().filter(|text| text != "-") {
            Some(text) => send_one(&room, text, connection.interrupt()).await,
            None => send_lines(room, connection.interrupt()).await,
        }
    };
    connection.run(Purpose::Talk(&args.conversation), send).await
}

async fn send_one(room: &Conversation, text: String, interrupt: &Interrupt) -> anyhow::Result<()> {
    let ack = interrupt
        .unless_asked(room.send(text))
        .await
        .context("it is unknown whether the message is stored")??;
    confirm(&format!("stored in {} as {}", room.name(), ack.seq));
    Ok(())
}

async fn send_lines(room: Conversation, interrupt: &Interrupt) -> anyhow::Result<()> {
    if std::io::stdin().is_terminal() {
        note("each line is a message; Ctrl-D ends");
    }
    let name = room.name().clone();
    let mut pipeline = Pipeline::new(room);
    let progress = progress();
    let pumped = interrupt.unless_asked(pump(&mut pipeline, &progress)).await;
    let mut settled = Ok(());
    let count = pipeline.unsettled();
    let rest = settle_rest(&mut pipeline, &progress, &mut settled);
    interrupt.finish(count, rest).await;
    progress.finish_and_clear();
    let Tally { acked, unknown, first, last, .. } = pipeline.tally();
    let range = match (first, last) {
        (Some(first), Some(last)) => format!(", {first} to {last}"),
        _ => String::new(),
    };
    confirm(&format!("{acked} stored in {name}{range}"));
    let unsettled = pipeline.unsettled() as u64;
    let waited = if unsettled == 0 { Ok(()) } else { Err(Interrupted.into()) };
    pumped.map_err(anyhow::Error::from).flatten().and(settled).and(waited).with_context(|| {
        match unknown + unsettled {
            0 => "not everything was sent".to_owned(),
            count => format!("of {count} of the lines behind these it is unknown whether they are stored"),
        }
    })
}

/// Sends every line of standard input. Ends early when one of them cannot be sent, with nothing behind it sent.
async fn pump(pipeline: &mut Pipeline, progress: &ProgressBar) -> anyhow::Result<()> {
    let mut input = InputLines::new(BufReader::new(tokio::io::stdin()));
    let mut line_number = 0_u64;
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
                pipeline.push(line.into()).await.with_context(|| format!("line {line_number}"))?;
            }
            _ = tick.tick(), if progress.is_hidden() => {
                note(format_args!("{} of {line_number} lines stored", pipeline.tally().acked));
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

/// A progress bar on a terminal, and a hidden one elsewhere.
fn progress() -> ProgressBar {
    if !std::io::stderr().is_terminal() || std::io::stdin().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} stored, {per_sec}, {elapsed}");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
