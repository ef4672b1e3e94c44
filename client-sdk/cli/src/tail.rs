//! `quoth tail`.

use std::io::Write;

use anyhow::Context;
use quoth_client::{Seq, Start};

use crate::args::TailArgs;
use crate::connection::{Connection, Role, watch_states};
use crate::output::Format;

pub(crate) async fn run(connection: &Connection, args: TailArgs) -> anyhow::Result<()> {
    let client = connection.client(Role::User).await?;
    let start = match (args.from, args.last) {
        (Some(from), _) => Start::After(Seq(from.saturating_sub(1))),
        (None, Some(last)) => Start::Last(last),
        (None, None) => Start::Live,
    };
    let format = Format::new(args.json);
    let print = async {
        let mut events = client.conversation(&args.conversation)?.events(start).await?;
        while let Some(event) = events.next().await {
            let mut out = std::io::stdout().lock();
            format.print(&mut out, &event?)?;
            out.flush()?;
        }
        anyhow::Ok(())
    };
    let states = async {
        watch_states(&client).await;
        // The end of the events says why.
        std::future::pending().await
    };
    let result = tokio::select! {
        result = print => result,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C"),
        result = states => result,
    };
    client.close().await;
    result
}
