//! `quoth tail`.

use std::io::Write;

use quoth_client::{Client, ClientEvent, Seq, Start};

use crate::args::TailArgs;
use crate::connection::{Connection, Purpose};
use crate::hint::Situation;
use crate::output::{Format, Known, note, written};
use crate::states::telling_states;

pub(crate) async fn run(connection: &Connection, args: TailArgs) -> anyhow::Result<()> {
    let start = match (args.from, args.last) {
        (Some(from), _) => Start::After(Seq(from.saturating_sub(1))),
        (None, Some(last)) => Start::Last(last),
        (None, None) => Start::Live,
    };
    let tail = async |client: &Client, situation: &Situation<'_>| {
        let print = print(client, args.conversation.as_str(), start, args.json);
        // To be interrupted is how it ends.
        connection
            .interrupt()
            .unless_asked(telling_states(client, situation, |text| note(text), print))
            .await
            .unwrap_or(Ok(()))
    };
    connection.run(Purpose::Talk(args.conversation.as_str()), tail).await
}

async fn print(client: &Client, conversation: &str, start: Start, json: bool) -> anyhow::Result<()> {
    let mut events = client.conversation(conversation)?.events(start).await?;
    let format = if json { Format::Json } else { Format::Full };
    while let Some(event) = events.next().await {
        let event = event?;
        if event == (ClientEvent::CaughtUp { head: Seq::ZERO }) {
            note(format_args!("{conversation} has no messages yet; waiting for the first one"));
        }
        let mut out = std::io::stdout().lock();
        written(format.print(&mut out, &event, &Known::default()).and_then(|()| out.flush()))?;
    }
    Ok(())
}
