//! `quoth send`.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use quoth_client::{Client, Conversation, SendOptions};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::args::SendArgs;
use crate::connection::{Connection, Role};
use crate::output::{confirm, note};
use crate::pipeline::{Pipeline, Tally};

/// Without a terminal progress is told so often, which short inputs never reach.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

pub(crate) async fn run(connection: &Connection, args: SendArgs) -> anyhow::Result<()> {
    let send = async |client: &Client| {
        let room = client.conversation(&args.conversation)?;
        match args.text.filter(|text| text != "-") {
            Some(text) => send_one(&room, text).await,
            None => send_lines(room).await,
        }
    };
    connection.run(Role::User, send).await
}

async fn send_one(room: &Conversation, text: String) -> anyhow::Result<()> {
    let ack = room.send(text).await?;
    confirm(&format!("stored in {} as {}", room.name(), ack.seq));
    Ok(())
}

async fn send_lines(room: Conversation) -> anyhow::Result<()> {
    let name = room.name().clone();
    let mut pipeline = Pipeline::new(room);
    let result = pump(&mut pipeline).await;
    let Tally { acked, first, last, .. } = pipeline.tally();
    let range = match (first, last) {
        (Some(first), Some(last)) => format!(", {first} to {last}"),
        _ => String::new(),
    };
    confirm(&format!("{acked} stored in {name}{range}"));
    result.with_context(|| match pipeline.unsettled() {
        0 => "not everything was sent".to_owned(),
        count => format!("of the next {count} messages it is unknown whether they are stored"),
    })
}

/// Sends every line of standard input and waits for all acks.
async fn pump(pipeline: &mut Pipeline) -> anyhow::Result<()> {
    let mut input = BufReader::new(tokio::io::stdin());
    let (mut line, mut line_number, mut at_end) = (Vec::new(), 0_u64, false);
    let progress = progress();
    let mut tick = tokio::time::interval(PROGRESS_INTERVAL);
    tick.tick().await;
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    while !(at_end && pipeline.unsettled() == 0) {
        tokio::select! {
            biased;
            settled = pipeline.settle_one() => {
                settled?;
                progress.set_position(pipeline.tally().acked);
            }
            // What has been read of a line stays in the buffer when another branch is first.
            read = input.read_until(b'\n', &mut line), if !at_end && !pipeline.is_full() => {
                at_end = read.context("cannot read standard input")? == 0 && line.is_empty();
                if at_end {
                    continue;
                }
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                line_number += 1;
                let message = SendOptions::from(std::mem::take(&mut line));
                pipeline.push(message).await.with_context(|| format!("line {line_number}"))?;
            }
            _ = tick.tick(), if progress.is_hidden() => {
                note(format_args!("{} of {line_number} lines stored", pipeline.tally().acked));
            }
            interrupted = &mut interrupted => {
                interrupted.context("cannot wait for Ctrl-C")?;
                bail!("interrupted");
            }
        }
    }
    progress.finish_and_clear();
    Ok(())
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
