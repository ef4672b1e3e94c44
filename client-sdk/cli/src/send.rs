//! `quoth send`: one message, or one for each line of standard input.

use std::io::IsTerminal as _;

use anyhow::ensure;
use indicatif::{ProgressBar, ProgressStyle};
use quoth_client::{Ack, Client, Sending};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Messages on the way ahead of their acks.
const AHEAD_MAX: usize = 256;

/// What to send.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The conversation
    conversation: String,
    /// The message; without one, or with -, each line of standard input is a message
    text: Option<String>,
}

/// Sends and prints what was acked. Fails unless everything was.
pub(crate) async fn run(client: &Client, args: Args) -> anyhow::Result<()> {
    let room = client.conversation(&args.conversation)?;
    if let Some(text) = args.text.filter(|text| text != "-") {
        let ack = room.send(text).await?;
        println!("stored as {} in {}", ack.seq, args.conversation);
        return Ok(());
    }
    let progress =
        if std::io::stderr().is_terminal() { ProgressBar::no_length() } else { ProgressBar::hidden() };
    progress.set_style(ProgressStyle::with_template("{pos} messages stored, {per_sec}")?);
    let mut input = BufReader::new(tokio::io::stdin());
    let mut ahead = std::collections::VecDeque::<Sending>::new();
    let (mut count, mut span) = (0_u64, None::<(Ack, Ack)>);
    let mut line = Vec::new();
    loop {
        line.clear();
        let is_end = input.read_until(b'\n', &mut line).await? == 0;
        if !is_end {
            let body = line.strip_suffix(b"\n").unwrap_or(&line).to_vec();
            ahead.push_back(room.send_pipelined(bytes::Bytes::from(body).into()).await?);
        }
        while ahead.len() >= AHEAD_MAX || is_end && !ahead.is_empty() {
            let Some(sending) = ahead.pop_front() else { break };
            let ack = sending.await?;
            span = Some((span.map_or(ack, |(first, _)| first), ack));
            count += 1;
            progress.inc(1);
        }
        if is_end {
            break;
        }
    }
    progress.finish_and_clear();
    ensure!(count > 0, "standard input has no lines: nothing was sent");
    if let Some((first, last)) = span {
        println!("{count} messages stored as {} to {} in {}", first.seq, last.seq, args.conversation);
    }
    Ok(())
}
