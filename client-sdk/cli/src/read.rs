//! `quoth tail` and `quoth history`.

use std::io::Write as _;

use quoth_client::{Client, FetchRange, Seq, Start};

use crate::show::line;

/// What to follow.
#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {
    /// The conversation
    conversation: String,
    /// Start with this seq
    #[arg(long, conflicts_with = "last")]
    from: Option<u64>,
    /// Start with the last so many
    #[arg(long)]
    last: Option<u32>,
    /// One JSON object for each event
    #[arg(long)]
    json: bool,
}

/// What to print.
#[derive(Debug, clap::Args)]
pub(crate) struct HistoryArgs {
    /// The conversation
    conversation: String,
    /// What comes behind this seq
    #[arg(long, conflicts_with_all = ["before", "all"])]
    after: Option<u64>,
    /// What comes before this seq
    #[arg(long, conflicts_with = "all")]
    before: Option<u64>,
    /// Everything
    #[arg(long)]
    all: bool,
    /// At most so many, of 1,000
    #[arg(long, default_value_t = 50)]
    limit: u32,
    /// One JSON object for each event
    #[arg(long)]
    json: bool,
}

/// Prints events until interrupted, or until nobody reads them.
pub(crate) async fn tail(client: &Client, args: TailArgs) -> anyhow::Result<()> {
    let start = match (args.from, args.last) {
        (Some(seq), _) => Start::After(Seq(seq.saturating_sub(1))),
        (None, Some(last)) => Start::Last(last),
        (None, None) => Start::Live,
    };
    let mut events = client.conversation(&args.conversation)?.events(start).await?;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = tokio::signal::ctrl_c() => return Ok(()),
        };
        let Some(event) = event else { return Ok(()) };
        if let Some(line) = line(&event?, args.json)
            && writeln!(std::io::stdout(), "{line}").is_err()
        {
            return Ok(());
        }
    }
}

/// Prints a page, or with `--all` all of them.
pub(crate) async fn history(client: &Client, args: HistoryArgs) -> anyhow::Result<()> {
    let room = client.conversation(&args.conversation)?;
    let limit = if args.all { 1_000 } else { args.limit };
    let mut range = match (args.after, args.before) {
        _ if args.all => FetchRange::After(Seq(0)),
        (Some(seq), _) => FetchRange::After(Seq(seq)),
        (None, Some(seq)) => FetchRange::Before(Seq(seq)),
        (None, None) => FetchRange::Latest,
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    loop {
        let page = room.history(range, limit).await?;
        for event in &page.events {
            if let Some(line) = line(event, args.json) {
                writeln!(out, "{line}")?;
            }
        }
        match page.known().last() {
            Some(last) if args.all && page.more => range = FetchRange::After(last.seq),
            _ => break,
        }
    }
    out.flush()?;
    Ok(())
}
