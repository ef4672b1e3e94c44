//! `quoth tail`.

use std::io::Write;

use quoth_client::{Client, ClientEvent, Seq, Start};

use crate::args::TailArgs;
use crate::clock::Days;
use crate::connection::{Connection, Purpose, telling_states};
use crate::hint::Situation;
use crate::output::{Format, day_line, note, written};

pub(crate) async fn run(connection: &Connection, args: TailArgs) -> anyhow::Result<()> {
    let start = match (args.from, args.last) {
        (Some(from), _) => Start::After(Seq(from.saturating_sub(1))),
        (None, Some(last)) => Start::Last(last),
        (None, None) => Start::Live,
    };
    let tail = async |client: &Client, _: &Situation<'_>| {
        let print = print(client, &args.conversation, start, args.json);
        // To be interrupted is how it ends.
        connection
            .interrupt()
            .unless_asked(telling_states(client, |text| note(text), print))
            .await
            .unwrap_or(Ok(()))
    };
    connection.run(Purpose::Talk(&args.conversation), tail).await
}

async fn print(client: &Client, conversation: &str, start: Start, json: bool) -> anyhow::Result<()> {
    let mut events = client.conversation(conversation)?.events(start).await?;
    let mut days = Days::from_today();
    while let Some(event) = events.next().await {
        let event = event?;
        if event == (ClientEvent::CaughtUp { head: Seq::ZERO }) {
            note(format_args!("{conversation} has no messages yet; waiting for the first one"));
        }
        let mut out = std::io::stdout().lock();
        written(print_event(&mut out, &event, json, &mut days).and_then(|()| out.flush()))?;
    }
    Ok(())
}

fn print_event(
    out: &mut impl Write,
    event: &ClientEvent,
    json: bool,
    days: &mut Days,
) -> std::io::Result<()> {
    if json {
        return Format::Json.print(out, event);
    }
    if let Some(day) = day_line(days, event) {
        writeln!(out, "{day}")?;
    }
    Format::Live.print(out, event)
}
