//! `quoth tail`.

use std::io::Write;

use anyhow::Context;
use quoth_client::{Client, Seq, Start};

use crate::args::TailArgs;
use crate::connection::{Connection, Role, watch_states};
use crate::output::{Format, written};

pub(crate) async fn run(connection: &Connection, args: TailArgs) -> anyhow::Result<()> {
    let start = match (args.from, args.last) {
        (Some(from), _) => Start::After(Seq(from.saturating_sub(1))),
        (None, Some(last)) => Start::Last(last),
        (None, None) => Start::Live,
    };
    let tail = async |client: &Client| {
        let states = async {
            watch_states(client).await;
            // The end of the events says why.
            std::future::pending().await
        };
        tokio::select! {
            result = print(client, &args.conversation, start, Format::new(args.json)) => result,
            interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C"),
            result = states => result,
        }
    };
    connection.run(Role::User, tail).await
}

async fn print(client: &Client, conversation: &str, start: Start, format: Format) -> anyhow::Result<()> {
    let mut events = client.conversation(conversation)?.events(start).await?;
    while let Some(event) = events.next().await {
        let (event, mut out) = (event?, std::io::stdout().lock());
        written(format.print(&mut out, &event).and_then(|()| out.flush()))?;
    }
    Ok(())
}
