//! `quoth history`.

use std::io::{BufWriter, Write};

use anyhow::bail;
use quoth_client::{Client, ClientEvent, Conversation, FetchRange, Page, Seq};

use crate::args::HistoryArgs;
use crate::connection::{Connection, Purpose};
use crate::hint::Situation;
use crate::output::{Format, note, written};

/// Events asked for at once; the server gives no more.
const PAGE_EVENTS: u64 = 1_000;

/// Messages that are printed when nothing is said about how many.
const COUNT_DEFAULT: u64 = 100;

pub(crate) async fn run(connection: &Connection, args: HistoryArgs) -> anyhow::Result<()> {
    let format = if args.json { Format::Json } else { Format::Full };
    let print = async |client: &Client| {
        let room = client.conversation(args.conversation.as_str())?;
        let mut out = BufWriter::new(std::io::stdout().lock());
        let empty = if args.all {
            forwards(&room, Seq::ZERO, u64::MAX, format, &mut out).await?
        } else if args.after.is_some() || args.first.is_some() {
            let after = Seq(args.after.unwrap_or_default());
            forwards(&room, after, args.first.unwrap_or(COUNT_DEFAULT), format, &mut out).await?
        } else {
            let end = args.before.map_or(FetchRange::Latest, |before| FetchRange::Before(Seq(before)));
            backwards(&room, end, args.last.unwrap_or(COUNT_DEFAULT), format, &mut out).await?
        };
        match empty {
            Some(Seq::ZERO) => note(format_args!("{} has no messages", room.name())),
            Some(head) => note(format_args!("nothing there: {} ends with {head}", room.name())),
            None => {}
        }
        written(out.flush())
    };
    let print =
        async |client: &Client, _: &Situation<'_>| connection.interrupt().unless_asked(print(client)).await?;
    connection.run(Purpose::Talk(args.conversation.as_str()), print).await
}

/// Prints pages as they come. What retention has taken is told as a gap. Gives the head when there was nothing to print.
async fn forwards(
    room: &Conversation,
    after: Seq,
    limit: u64,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<Option<Seq>> {
    let (mut cursor, mut left) = (after, limit);
    while left > 0 {
        let page = room.history(FetchRange::After(cursor), page_limit(left)).await?;
        for event in &page.events {
            let (from, to) = range(event);
            tell_gap(cursor, from, format, out)?;
            written(format.print(out, event))?;
            cursor = to;
        }
        if !page.more_after {
            // Everything behind the cursor may be gone.
            let is_told = tell_gap(cursor, page.floor, format, out)?;
            return Ok(Some(page.head).filter(|_| !is_told && cursor == after));
        }
        left -= printed(&page)?.min(left);
        cursor = page.to;
    }
    Ok(None)
}

/// Collects pages from the end, since they are printed in ascending order. Gives the head when there was nothing to print.
async fn backwards(
    room: &Conversation,
    end: FetchRange,
    limit: u64,
    format: Format,
    out: &mut impl Write,
) -> anyhow::Result<Option<Seq>> {
    let (mut next, mut left, mut pages, mut empty) = (end, limit, Vec::<Vec<ClientEvent>>::new(), None);
    while left > 0 {
        let page = room.history(next, page_limit(left)).await?;
        if page.more_before {
            left -= printed(&page)?.min(left);
        } else {
            left = 0;
        }
        next = FetchRange::Before(page.from);
        pages.push(page.events);
        empty = pages.iter().all(Vec::is_empty).then_some(page.head);
    }
    for event in pages.iter().rev().flatten() {
        written(format.print(out, event))?;
    }
    Ok(empty)
}

fn page_limit(left: u64) -> u32 {
    u32::try_from(left.min(PAGE_EVENTS)).unwrap_or(u32::MAX)
}

/// How many events a page had that is not the last one. There may be none of them left in it.
fn printed(page: &Page) -> anyhow::Result<u64> {
    if page.from > page.to {
        bail!("the server says that there is more and tells of nothing");
    }
    Ok(page.known().count() as u64)
}

fn range(event: &ClientEvent) -> (Seq, Seq) {
    match event {
        ClientEvent::Event(event) => (event.seq, event.seq),
        ClientEvent::Unknown { seq, .. } => (*seq, *seq),
        ClientEvent::Gap { from, to } => (*from, *to),
        // None other is in a page.
        _ => (Seq::ZERO, Seq::ZERO),
    }
}

/// Tells what is missing between the cursor and the next readable event, if something is.
fn tell_gap(cursor: Seq, next: Seq, format: Format, out: &mut impl Write) -> anyhow::Result<bool> {
    match cursor.0.checked_add(1).map(Seq) {
        Some(from) if from < next => {
            written(format.print(out, &ClientEvent::Gap { from, to: Seq(next.0 - 1) }))?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_what_lies_between_the_cursor_and_the_next_event() {
        let told = |cursor, next| {
            let mut out = Vec::new();
            tell_gap(Seq(cursor), Seq(next), Format::Json, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(told(0, 4), "{\"gap\":{\"from\":1,\"to\":3}}\n");
        for (cursor, next) in [(0, 1), (3, 4), (9, 4), (u64::MAX, 4)] {
            assert_eq!(told(cursor, next), "", "{cursor} {next}");
        }
    }
}
